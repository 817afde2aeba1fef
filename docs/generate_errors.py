"""Write docs/errors.md from the errors package: each code with its message, cause and fix.

Usage: `python docs/generate_errors.py`. `tests/test_errors.py` fails while the page is out of date.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.errors.wording import pluralize_verb

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "core/fusionzoo/errors"
PAGE = ROOT / "docs/errors.md"
CODE = re.compile(r"FZ-[A-Z]\d{3}")
SECTIONS = {
    "setting_errors": "Settings: the file and each setting",
    "consistency_errors": "Settings that contradict each other",
    "channel_errors": "Data: channels, files and lines",
    "file_errors": "Data: dialects, bytes and sizes of files",
    "column_errors": "Data: columns, values, labels and texts",
    "target_errors": "Data and settings: what the model predicts",
    "decision_errors": "Settings: how probabilities become decisions",
    "resource_errors": "Tokenizer, word vectors, cache, demo data",
    "pretrained_errors": "Pretrained models",
    "plugin_errors": "Plugins",
    "plugin_contract_errors": "Plugins that contradict their contract",
    "metric_errors": "Metrics of plugins",
    "library_errors": "Libraries",
    "process_errors": "Processes and hosts",
    "checkpoint_errors": "Checkpoints",
    "warm_start_errors": "Starting from a trained model",
    "training_errors": "Training",
    "output_errors": "Container files, exports and output files",
    "stream_errors": "Standard output of commands",
    "model_folder_errors": "Model folders",
    "archive_errors": "Model archives",
    "contract_errors": "Script contracts",
    "verification_errors": "Run-time verification of script contracts",
    "step_errors": "Steps of a pipeline",
    "score_errors": "Scores",
    "predictor_errors": "Rows given to Predictor",
    "path_errors": "Paths in options and environment variables",
    "prediction_errors": "Files and options of predict and evaluate",
    "baseline_errors": "Predictions of a baseline",
    "argument_errors": "Arguments of preprocess.py and evaluate.py",
    "preprocess_errors": "Preprocessing: folders and columns",
    "request_errors": "Requests to the server",
}
INTRODUCTION = """# Errors

<!-- Written by docs/generate_errors.py from core/fusionzoo/errors; do not edit. -->

Each message ends with a code. This page lists every code with its message, its cause and its fix; `{name}` stands for
a value of the job. A code keeps its meaning in later versions and is never used again for another one.
"""

PREFIXES = {"_at": "Training diverged in {where}: ", "_in_plugin": "{claim} is broken: "}
"""What a class adds before the messages of its constructors."""

Function = ast.FunctionDef
Texts = dict[str, list[ast.expr]]


@dataclass(frozen=True)
class Entry:
    """One code and what the page says about it."""

    code: str
    module: str
    message: str
    cause: str
    fix: str


def read_entries() -> list[Entry]:
    """Return the entry of every code in the errors package, in the order of the sections."""
    entries = [entry for module in SECTIONS for entry in _read_module(module)]
    return sorted(entries, key=lambda entry: (list(SECTIONS).index(entry.module), entry.code))


def render_page(entries: list[Entry]) -> str:
    """Return docs/errors.md."""
    lines = [INTRODUCTION]
    for module, title in SECTIONS.items():
        lines += [f"## {title}", "", "| code | message | cause | fix |", "| --- | --- | --- | --- |"]
        for entry in entries:
            if entry.module == module:
                cells = (entry.code, entry.message, entry.cause, entry.fix)
                lines.append(f"| {' | '.join(_escape(cell) for cell in cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _read_module(module: str) -> Iterator[Entry]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))
    constants = _collect_assignments(tree.body)
    for node in tree.body:
        if isinstance(node, Function):
            yield from _read_function(module, node, ast.get_docstring(node), constants)
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, Function):
                    owner = node if method.name == "__init__" else method
                    yield from _read_function(module, method, ast.get_docstring(owner), constants)


def _read_function(module: str, function: Function, docstring: str | None, constants: Texts) -> Iterator[Entry]:
    """Yield an entry for each call, or default of a parameter, that holds a literal code.

    The cause is the docstring's first paragraph; a paragraph that begins with "Fix: " replaces the fix.
    """
    local = {**constants, **_collect_assignments(list(ast.walk(function)))}
    cause, *paragraphs = [" ".join(part.split()) for part in (docstring or "").split("\n\n")]
    fixes = [part.removeprefix("Fix: ") for part in paragraphs if part.startswith("Fix: ")]
    for default in function.args.defaults:
        if isinstance(default, ast.Constant) and CODE.fullmatch(str(default.value)):
            yield Entry(str(default.value), module, "{setting} = {value}: {message}", cause, *fixes)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[-1], ast.Constant):
            code = str(node.args[-1].value)
            if CODE.fullmatch(code):
                texts = [_render(argument, local) for argument in node.args[:-1]]
                yield Entry(code, module, _render_message(node, texts, local), cause, *(fixes or texts[-1:]))


def _collect_assignments(nodes: Sequence[ast.AST]) -> Texts:
    """Return all values that each name gets."""
    found: Texts = {}
    for node in nodes:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.setdefault(node.target.id, []).append(node.value)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
            for target, value in zip(getattr(node.targets[0], "elts", ()), node.value.elts, strict=False):
                found.setdefault(getattr(target, "id", ""), []).append(value)
    return found


def _render_message(call: ast.Call, texts: list[str], local: Texts) -> str:
    """Return the message as a template: where the problem is, and what is wrong."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "Problem":
        return f"{texts[0]}: {texts[1]}"
    if name in ("setting_problem", "SettingError"):
        return f"{texts[0]} = {texts[1]}: {texts[2]}"
    if name == "of_column":
        source, column, message = texts[:3]
        return f"{source}, column '{column}': {message}" if source else f"column '{column}': {message}"
    if name == "of" and isinstance(call.args[0], ast.Tuple):
        source, column = (_render(part, local) for part in call.args[0].elts)
        what = local[call.args[1].id][0] if isinstance(call.args[1], ast.Name) else call.args[1]
        noun, description, *plurals = (_render(part, local) for part in getattr(what, "elts", ()))
        plural = plurals[0] if plurals else pluralize_verb(description)
        return f"{source}, column '{column}': {{count}} {noun}s {plural}: {{examples}}"
    return PREFIXES.get(name, "") + texts[-2]


def _render(node: ast.expr, local: Texts) -> str:
    """Return an expression as text, with the parts that only a job knows in braces; " / " separates alternatives."""
    if isinstance(node, ast.Constant):
        return str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_render(part, local) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _render(node.value, local)
    if isinstance(node, ast.IfExp):
        return _join_alternatives([node.body, node.orelse], local)
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and isinstance(node.right.value, str):
        return _render(node.left, local) + _render(node.right, local)
    if isinstance(node, ast.BoolOp):
        return _render(node.values[-1], local)
    if isinstance(node, ast.Tuple):
        return " ".join(_render(element, local) for element in node.elts)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "pluralize":
        noun = f"{_render(node.args[1], local)}s" if len(node.args) == 2 else _render(node.args[2], local)
        return f"{{{_name_of(node.args[0])}}} {noun}"
    name = node.value.id if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) else ""
    tables = [child for value in local.get(name, []) for child in ast.walk(value) if isinstance(child, ast.Dict)]
    if tables:
        return _join_alternatives(tables[0].values, local)
    if isinstance(node, ast.Name) and (values := local.get(node.id)) and all(map(_is_text, values)):
        return _join_alternatives(values, {key: value for key, value in local.items() if key != node.id})
    return f"{{{_name_of(node)}}}"


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    if isinstance(node, ast.Tuple):
        return all(map(_is_text, node.elts))
    return isinstance(node, ast.Constant | ast.JoinedStr)


def _join_alternatives(values: Sequence[ast.expr], local: Texts) -> str:
    texts = dict.fromkeys(_render(value, local) for value in values)
    return " / ".join(text for text in texts if text)


def _name_of(node: ast.expr) -> str:
    """Return the name of the value that an expression is about."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return "type" if node.attr == "__name__" else node.attr
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        return _name_of(node.generators[0].iter)
    if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Name) and isinstance(node.right, ast.Constant):
        return ast.unparse(node) if isinstance(node.op, ast.Add | ast.Sub) else node.left.id
    if isinstance(node, ast.Call) and node.args:
        if isinstance(node.func, ast.Attribute):
            return _name_of(node.func.value if isinstance(node.args[-1], ast.Constant) else node.args[-1])
        return "count" if ast.unparse(node.func) == "len" else _name_of(node.args[0])
    called = {child.func for child in ast.walk(node) if isinstance(child, ast.Call)}
    if any(ast.unparse(function) == "len" for function in called):
        return "count"
    names = [child.id for child in ast.walk(node) if isinstance(child, ast.Name) and child not in called]
    return names[0] if names else "..."


def _escape(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(render_page(read_entries()), "utf-8")
