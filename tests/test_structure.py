"""The structure of the code: small files and functions, no import cycles, and one module per base name."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "core/fusionzoo"
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 350, 50, 6
ROOT_MODULES = {
    "__init__": "the version and the hookimpl marker",
    "settings": "the settings classes that plugins import",
    "hookspecs": "the hooks that plugins implement",
    "architecture": "joins plugins and settings",
    "atomic_files": "data, artifacts and training write files with it",
    "local_paths": "the command line, scripts and predictions read paths with it",
    "process_exit": "the command line, train.py and the processes that it starts end with it",
    "container_limits": "training, models and serving count cores and memory with it",
    "library_environment": "jobs, exports and serving import onnxruntime with it",
}
MANY_PARAMETERS = {
    "core/fusionzoo/data/sampling.py:__init__",  # TrainingOrder: four keyword-only options with defaults
    "core/fusionzoo/cli/verify_command.py:verify",  # each parameter is an option of the command line
    "core/fusionzoo/cli/predict_command.py:predict",  # as above
    "core/fusionzoo/cli/evaluate_command.py:evaluate",  # as above
    "core/fusionzoo/cli/preprocess_command.py:preprocess",  # as above
    "core/fusionzoo/cli/serve_command.py:serve",  # as above
}
PACKAGES = sorted(str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("__init__.py"))
NO_MODULES = {
    "contracts": {"train"},  # the script train.py
    "sagemaker": {"train"},  # the script train.py
    "data/text": {"word"},  # a tokenizer
    "server": {"serve"},  # an extra
    "training/warm_start": {"init_from"},  # a setting
}
"""Names in the docstring of a package that are not modules of it, by folder."""
SHARED_BASE_NAMES: dict[str, str] = {}  # a base name that sibling folders share on purpose, and the reason

Function = ast.FunctionDef | ast.AsyncFunctionDef


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def source_files() -> list[Path]:
    """Return every file that ships or shows how to write a plugin; not tests and benchmarks."""
    return [*package_files(), *sorted(ROOT.glob("plugins/*/*.py")), *sorted(ROOT.glob("docs/*/*.py"))]


def list_test_files() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def functions() -> Iterator[tuple[str, Function]]:
    """Yield `file:name` and the syntax tree of every function and method of the sources."""
    for path in source_files():
        for node in ast.walk(parse(path)):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def find_imports(tree: ast.Module, modules: set[str]) -> set[str]:
    """Return the modules among `modules` that a file imports, also lazily and under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in modules else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the nodes of one cycle of the graph in order, the first one repeated at the end; [] without a cycle."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_is_too_long() -> None:
    files = [*source_files(), *list_test_files(), *sorted(ROOT.glob("benchmarks/*.py"))]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in files}
    assert {file: lines for file, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {name: (node.end_lineno or node.lineno) - node.lineno + 1 for name, node in functions()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_no_function_has_too_many_parameters() -> None:
    counts = {
        name: len({a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]} - {"self", "cls"})
        for name, node in functions()
    }
    assert {
        name: count for name, count in counts.items() if count > MAX_PARAMETERS and name not in MANY_PARAMETERS
    } == {}


def test_no_modules_import_each_other_in_a_cycle() -> None:
    names = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in package_files()}
    modules = {name.removesuffix(".__init__"): path for name, path in names.items()}
    assert find_cycle({name: find_imports(parse(path), set(modules)) for name, path in modules.items()}) == []


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, {"b", "c"}),
    ],
)
def test_a_cycle_is_found_where_there_is_one(graph: dict[str, set[str]], cycle: set[str]) -> None:
    assert set(find_cycle(graph)) == cycle


def test_lazy_and_type_checking_imports_count_as_imports() -> None:
    source = (
        "import a.b\nif TYPE_CHECKING:\n    from a import c\ndef f():\n    from a.d import name\n    import torch\n"
    )
    assert find_imports(ast.parse(source), {"a", "a.b", "a.c", "a.d"}) == {"a.b", "a.c", "a.d"}


def test_no_base_name_is_used_twice_in_the_package() -> None:
    places = defaultdict(list)
    for path in package_files():
        if path.stem not in ("__init__", "__main__"):
            places[path.stem].append(str(path.relative_to(PACKAGE)))
    assert {base for base, files in places.items() if len(files) > 1} == set(SHARED_BASE_NAMES), dict(places)


def test_the_package_root_holds_the_agreed_modules_only() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(ROOT_MODULES)


def list_modules(folder: Path) -> set[str]:
    """Return the names of the modules and packages in a folder."""
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


@pytest.mark.parametrize("folder", PACKAGES)
def test_the_docstring_of_a_package_names_modules_that_exist(folder: str) -> None:
    """The names in backticks are modules, or names that the package imports; `module.name` begins with a module."""
    tree = parse(PACKAGE / folder / "__init__.py")
    names = re.findall(r"`([a-z]\w*)(?:/|\.py|\.\w+)?`", ast.get_docstring(tree) or "")
    imported = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*names} - list_modules(PACKAGE / folder) - imported - {Path(folder).name} == NO_MODULES.get(folder, set())


@pytest.mark.parametrize("folder", ["data", "data/reading"])
def test_the_docstring_of_a_package_that_lists_its_modules_is_complete(folder: str) -> None:
    names = re.findall(r"`(\w+)/?`", ast.get_docstring(parse(PACKAGE / folder / "__init__.py")) or "")
    assert list_modules(PACKAGE / folder) - {*names} == set()


def test_the_docstring_of_the_training_lists_its_folders() -> None:
    docstring = ast.get_docstring(parse(PACKAGE / "training/__init__.py")) or ""
    folders = {path.parent.name for path in (PACKAGE / "training").glob("*/__init__.py")}
    assert folders - {*re.findall(r"`(\w+)`", docstring)} == set()


def test_no_test_module_imports_from_another_test_module() -> None:
    modules = {path.stem for path in list_test_files() if path.stem.startswith("test_")}
    offenders = {path.name: find_imports(parse(path), modules) for path in list_test_files()}
    assert {name: imported for name, imported in offenders.items() if imported} == {}


def test_no_module_imports_a_star() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*source_files(), *list_test_files()]
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert offenders == []
