"""Every problem and error has a unique, stable code, ends with it, and is listed in docs/errors.md."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from fusionzoo import errors
from fusionzoo.errors.prediction_errors import PredictionJobError

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "core/fusionzoo/errors"
RECORD = Path(__file__).parent / "error_codes.txt"
WITHOUT_OWN_CODE = {
    "CacheError.no_inodes",  # calls CacheError.unwritable, which has one
    "CacheError.damaged_after_write",  # as above
    "HyperparametersError",
    "DataError",
    "ProblemsError",
    "ZooError",
    "RequestError",  # its constructors have codes
    "ProcessLostError.reported",  # its text ends with the code that it has in the other process
    "setting_problem",
    "Problem.of_column",
    "ValuesProblem.of",
    "ValuesProblem.merge",
}


def load_generator() -> Any:
    """Return the module docs/generate_errors.py."""
    spec = importlib.util.spec_from_file_location("generate_errors", ROOT / "docs/generate_errors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


def literal_codes(node: ast.AST) -> list[str]:
    """Return the codes that occur as literals in a function."""
    constants = [child.value for child in ast.walk(node) if isinstance(child, ast.Constant)]
    return [value for value in constants if isinstance(value, str) and GENERATOR.CODE.fullmatch(value)]


def code_owners() -> dict[str, list[str]]:
    """Return the codes of each problem function and error constructor, by qualified name."""
    owners: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.glob("*.py")):
        module = importlib.import_module(f"fusionzoo.errors.{path.stem}")
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or ast.Constant("")) in (
                "Problem",
                "ValuesProblem",
                "SettingError",
            ):
                owners[node.name] = literal_codes(node)
            elif isinstance(node, ast.ClassDef) and is_error_class(getattr(module, node.name, None)):
                owners |= constructor_codes(node)
    return owners


def is_error_class(found: object) -> bool:
    """Return whether an object is a class of errors or problems."""
    return inspect.isclass(found) and issubclass(found, errors.ZooError | errors.Problem)


def constructor_codes(node: ast.ClassDef) -> dict[str, list[str]]:
    """Return the codes of each constructor of an error class."""
    codes: dict[str, list[str]] = {}
    for method in (child for child in node.body if isinstance(child, ast.FunctionDef)):
        is_classmethod = "classmethod" in [ast.unparse(decorator) for decorator in method.decorator_list]
        if method.name == "__init__":
            codes[node.name] = literal_codes(method)
        elif is_classmethod and not method.name.startswith("_"):
            codes[f"{node.name}.{method.name}"] = literal_codes(method)
    return codes


OWNERS = code_owners()


@pytest.mark.parametrize("owner", sorted(OWNERS.keys() - WITHOUT_OWN_CODE))
def test_every_problem_and_error_has_a_code(owner: str) -> None:
    assert OWNERS[owner], f"{owner} has no code: add a new one at its message"


def test_a_code_is_used_once() -> None:
    codes = [code for owner in OWNERS.values() for code in owner]
    assert sorted(codes) == sorted(set(codes))


def test_a_code_keeps_its_meaning() -> None:
    """`error_codes.txt` records each code with its function; a removed code stays there, marked "retired"."""
    recorded = dict(line.split() for line in RECORD.read_text("utf-8").splitlines())
    current = {code: owner for owner, codes in OWNERS.items() for code in codes}
    assert current.keys() <= recorded.keys(), "record the new codes in tests/error_codes.txt"
    retired = {code for code, owner in recorded.items() if owner == "retired"}
    assert not retired & current.keys(), "a retired code is used again: choose a new one"
    assert recorded.keys() - retired == current.keys(), "mark a removed code as retired"
    assert {code: recorded[code] for code in current} == current, "rename the function here if its meaning is the same"


def test_docs_list_every_code_and_are_up_to_date() -> None:
    entries = GENERATOR.read_entries()
    assert {entry.code for entry in entries} == {code for codes in OWNERS.values() for code in codes}
    page = (ROOT / "docs/errors.md").read_text("utf-8")
    assert page == GENERATOR.render_page(entries), "run `python docs/generate_errors.py`"


@pytest.mark.parametrize("entry", GENERATOR.read_entries(), ids=lambda entry: entry.code)
def test_the_docs_of_a_code_have_a_message_a_cause_and_a_fix(entry: Any) -> None:
    assert entry.message
    assert entry.cause.endswith(".")
    assert entry.fix
    assert not set(re.findall(r"\{([^{}]*)\}", entry.message)) & {"str", "len", "quote_name", "..."}
    assert " : " not in entry.message
    assert entry.fix != "{fix}", "write the fix as a literal, or as a paragraph `Fix: ...` of the docstring"


def test_an_error_ends_with_its_fix_and_code() -> None:
    error = errors.ReportEntryError(["loss"])
    assert str(error) == "metrics.json already has 'loss'.\nFix: give the extra entries other names. [FZ-O017]"
    assert error.parts == ("metrics.json already has 'loss'.", "give the extra entries other names. [FZ-O017]")
    assert error.code == "FZ-O017"


def test_each_line_of_a_list_of_problems_ends_with_its_code() -> None:
    problems = [errors.channel_without_rows("val"), errors.empty_channel("test", Path("/data/test"))]
    heading, *lines = str(errors.DataError(problems)).splitlines()
    assert heading == "The data cannot be used: 2 problems."
    assert [line[-9:] for line in lines] == ["[FZ-D004]", "[FZ-D003]"]


def test_a_single_problem_is_counted_in_the_singular() -> None:
    assert str(errors.DataError([errors.channel_without_rows("val")])).startswith("The data cannot be used: 1 problem.")


def test_sagemaker_shows_the_fix_and_the_code_of_a_long_message() -> None:
    error = errors.AnotherJobError(Path("/checkpoints/" + "x" * 2000), {"lr": ("1", "2")})
    assert len(str(error)) <= 1024
    assert str(error).endswith("to another folder. [FZ-C002]")
    assert "\nFix: restore these to resume" in str(error)


def test_a_setting_error_carries_its_problem() -> None:
    error = errors.SettingError("width", 8, "the width is even", "give 7")
    assert str(error) == "width = 8: the width is even.\nFix: give 7. [FZ-S001]"
    assert error.problem == errors.Problem("width = 8", "the width is even", "give 7", "FZ-S001")


def test_the_package_exports_its_names_explicitly() -> None:
    imports = ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body
    names = [(alias.name, alias.asname) for node in imports if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert len(names) == len(set(names)) > 100
    assert [name for name, exported_as in names if exported_as != name] == []


def test_messages_are_written_in_the_errors_package_only() -> None:
    """Only SettingError is raised with a text elsewhere, because plugins raise it."""
    for path in (ROOT / "core/fusionzoo").rglob("*.py"):
        if PACKAGE in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if name in ("Problem", "setting_problem", "ZooError"):
                pytest.fail(f"{path}: {name} is called outside the errors package")


def test_a_setting_that_another_job_did_not_set_is_called_not_set() -> None:
    changes = {"lr": ("None", "0.1"), "seed": ("1", "None"), "data of test": (None, "7")}
    message = str(errors.AnotherJobError(Path("/checkpoints"), changes))
    for line in ("- lr: was not set, is 0.1", "- seed: was 1, is not set", "- data of test: was absent, is 7"):
        assert line in message
    run = str(PredictionJobError.other_run(Path("out"), {"output format": (None, "csv")}))
    assert "output format was not set, now csv" in run
