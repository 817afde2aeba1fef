"""The versions of Python and of libraries: the metadata, the code and the checks agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import tomli
from importlib_metadata import PackageNotFoundError
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fusionzoo.errors import LibraryVersionsError
from fusionzoo.registry import doctor
from fusionzoo.registry.library_versions import NEEDED_VERSIONS, find_version_conflicts

ROOT = Path(__file__).parent.parent
OLDEST_PYTHON = (3, 10)
CODE = [ROOT / folder for folder in ("core/fusionzoo", "plugins", "docs", "tests", "benchmarks", "train.py")]
AWS_IMAGE = {"torch": "2.1.2+cu121", "numpy": "1.26.4", "transformers": "4.37.2", "pyarrow": "14.0.2"}
TRANSFORMERS = {  # what some versions require
    "4.57.1": ["numpy>=1.17", 'torch>=2.2; extra == "torch"'],
    "5.12.0": ["numpy>=1.17", 'torch>=2.4; extra == "torch"', 'torch>=9; extra == "other"'],
}


def find_conflicts(versions: Mapping[str, str]) -> list[LibraryVersionsError]:
    def read_version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    return list(find_version_conflicts(read_version, lambda name: TRANSFORMERS.get(read_version(name))))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"numpy": "2.2.0"}, ["numpy 2.2.0 does not work with torch 2.1.2+cu121", "with pyarrow 14.0.2"]),
        ({"numpy": "2.2.0", "torch": "2.3.0+cpu", "pyarrow": "16.0"}, []),
        ({"numpy": "2.2.0", "torch": "2.3.0", "pyarrow": "16.0", "onnxruntime": "1.18.1"}, ["onnxruntime 1.18.1"]),
        ({"transformers": "5.12.0"}, ["transformers 5.12.0 does not work with torch 2.1.2+cu121: it needs torch>=2.4"]),
        ({"transformers": "5.12.0", "torch": "2.4.0"}, []),
        ({"transformers": "4.57.1"}, ["transformers 4.57.1 does not work with torch 2.1.2+cu121: it needs torch>=2.2"]),
        ({"transformers": "4.57.1", "torch": "2.2.0"}, []),
        ({"gensim": "4.3.1", "scipy": "1.13.0"}, ["scipy 1.13.0 does not work with gensim 4.3.1"]),
        ({"gensim": "4.3.1", "scipy": "1.12.0"}, []),
    ],
)
def test_libraries_that_do_not_work_together_are_named_with_a_fix(changes: dict[str, str], named: list[str]) -> None:
    found = find_conflicts({**AWS_IMAGE, **changes})
    assert len(found) == len(named)
    for error, words in zip(found, named, strict=True):
        assert words in str(error)
        assert "Fix: pip install '" in str(error)


def test_absent_libraries_are_no_conflict() -> None:
    assert find_conflicts({"numpy": "2.2.0", "transformers": "5.12.0"}) == []


def test_the_installed_libraries_work_together() -> None:
    assert [str(error) for error in find_version_conflicts()] == []


def test_doctor_reports_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    conflicts = find_conflicts({"torch": "2.1.2+cu121", "numpy": "2.0"})
    monkeypatch.setattr(doctor.library_versions, "find_version_conflicts", lambda: iter(conflicts))
    (diagnosis,) = [report for report in doctor.examine_environment(60, []) if report.findings]
    assert diagnosis.subject == "numpy 2.0"
    assert "does not work with torch 2.1.2+cu121" in diagnosis.findings[0].problem
    assert "fusionzoo[torch21]" in diagnosis.findings[0].remedy


def test_the_extra_for_old_torch_excludes_what_does_not_work_with_it() -> None:
    project = tomli.loads((ROOT / "core/pyproject.toml").read_text("utf-8"))["project"]
    extra = {r.name: r.specifier for r in map(Requirement, project["optional-dependencies"]["torch21"])}
    assert extra["torch"].contains("2.1.2")
    assert extra["torch"].contains("2.2.2")
    of_torch = [Requirement(one) for one, other in NEEDED_VERSIONS if other == "torch>=2.3"]
    for needed in [*of_torch, Requirement("transformers>=4.56")]:
        for version in ("1.26.4", "2.0.0", "4.37.2", "4.57.1", "5.0.0"):
            assert not (needed.specifier.contains(version) and extra[needed.name].contains(version)), needed
    assert not extra["torch"].contains("2.3.0")


def python_files() -> list[Path]:
    return [path for root in CODE for path in ([root] if root.is_file() else sorted(root.rglob("*.py")))]


def is_valid(source: str) -> bool:
    """Return whether source code has the syntax of the oldest Python."""
    try:
        ast.parse(source, feature_version=OLDEST_PYTHON)
    except SyntaxError:
        return False
    return True


def test_every_file_is_valid_in_the_oldest_python() -> None:
    files = python_files()
    assert len(files) > 100
    assert [str(path) for path in files if not is_valid(path.read_text("utf-8"))] == []
    assert not is_valid("def first[T](values: list[T]) -> T: ...")
    assert not is_valid("try:\n    pass\nexcept* ValueError:\n    pass")


def test_every_file_uses_only_what_the_oldest_python_has() -> None:
    vermin = pytest.importorskip("vermin", reason="needs vermin, see the dev extra")
    config = vermin.Config()
    config.set_eval_annotations(True)
    config.set_ignore_incomp(True)
    too_new = {}
    for path in python_files():
        visitor = vermin.visit(path.read_text("utf-8"), config)
        if max((minimum for minimum in visitor.minimum_versions() if minimum), default=(3, 0)) > OLDEST_PYTHON:
            too_new[str(path.relative_to(ROOT))] = visitor.output_text().strip()
    assert too_new == {}


def find_patterns(source: str) -> Iterator[str]:
    """Yield the regular expressions in calls of the module `re`; a letter replaces what an f-string inserts."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.") and node.args:
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            texts = [part.value if isinstance(part, ast.Constant) else "x" for part in parts]
            yield "".join(text for text in texts if isinstance(text, str))


def is_old_pattern(pattern: str) -> bool:
    """Return whether the oldest Python can compile it: it has no possessive quantifiers and no atomic groups."""
    tokens = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern, flags=re.DOTALL)  # without escapes and sets
    return re.search(r"[*+?}]\+|\(\?>", tokens) is None


def test_every_regular_expression_is_valid_in_the_oldest_python() -> None:
    patterns = [(path, pattern) for path in python_files() for pattern in find_patterns(path.read_text("utf-8"))]
    assert len(patterns) > 100
    assert [(str(path), pattern) for path, pattern in patterns if not is_old_pattern(pattern)] == []
    for too_new in ("a*+", "(?:[^<]|b)*+c", "a{2}+", "(?>a|b)"):
        assert list(find_patterns(f"re.compile({too_new!r})")) == [too_new]
        assert not is_old_pattern(too_new)
    assert is_old_pattern(r"a\++[*+]+\*+(b*)+")


@pytest.mark.parametrize(
    "path",
    [ROOT / "core/pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))],
    ids=lambda path: path.parent.name,
)
def test_every_distribution_states_the_oldest_python(path: Path) -> None:
    requires = SpecifierSet(tomli.loads(path.read_text("utf-8"))["project"]["requires-python"])
    assert requires.contains("3.10.0")
    assert not requires.contains("3.9.19")
    assert requires.contains("3.14")


def test_ruff_writes_code_for_the_oldest_python() -> None:
    tools = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert tools["ruff"]["target-version"] == "py310"
