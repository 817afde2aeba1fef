"""docs/architecture.md, the decisions and the contributor pages describe the code as it is."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from fusionzoo.contracts import CONTRACTS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "core/fusionzoo"
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")
DECISIONS = sorted((ROOT / "docs/decisions").glob("[!R]*.md"))
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/decisions/*.md"),
        *ROOT.glob("*/README.md"),
    ]
)
BASES = (ROOT, PACKAGE, ROOT / "docs", ROOT / "tests", ROOT / "benchmarks")


@cache
def defined_names(path: Path) -> set[str]:
    """Return the functions and classes of a file, methods as `Class.method`, and its top-level variables."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def top_level(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported_packages() -> set[tuple[str, str]]:
    """Return (importer, imported) of the packages and root modules of fusionzoo, without the root itself."""
    edges = set()
    for path in PACKAGE.rglob("*.py"):
        importer = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fusionzoo":
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
                edges |= {(importer, top_level(module)) for module in modules}
    packages = {path.stem for path in PACKAGE.iterdir()} - {"__init__", "__pycache__", "py"}
    return {(a, b) for a, b in edges if a != b and {a, b} <= packages}


def reachable(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the transitive closure of the edges."""
    closure = set(edges)
    while more := {(a, d) for a, b in closure for c, d in closure if b == c} - closure:
        closure |= more
    return closure


def drawn_edges() -> set[tuple[str, str]]:
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```$", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^  (\w+) --> (\w+)$", picture, re.MULTILINE))


def test_the_picture_allows_every_import_between_packages() -> None:
    assert imported_packages() - reachable(drawn_edges()) == set()


def test_the_picture_has_no_arrow_against_the_imports_and_no_cycle() -> None:
    closure = reachable(drawn_edges())
    assert [pair for pair in closure if pair[0] == pair[1]] == []
    packages = {name for edge in imported_packages() for name in edge}
    assert {name for edge in drawn_edges() for name in edge} == packages


def test_the_walks_name_functions_that_exist() -> None:
    steps = re.findall(r"`([\w/]+\.py):([\w.]+)`", ARCHITECTURE)
    assert len(steps) > 20
    missing = [f"{file}:{name}" for file, name in steps if name not in defined_names(PACKAGE / file)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_files_that_exist(page: str) -> None:
    """Code files in backticks, relative to the repository, the package, or a folder of pages, tests or benchmarks."""
    text = (ROOT / page).read_text("utf-8")
    files = set(re.findall(r"`((?:[\w.-]+/)*\w+\.py)\b[^`]*`", text)) - {"plugin.py", "module.py"}
    bases = [*BASES, (ROOT / page).parent]
    if page in ("docs/write-a-plugin.md", "docs/plugin-reference.md"):
        bases += [ROOT / "docs/film"]
        files -= {"fusionzoo_word_set.py"}  # a file that the reader writes
    if page in ("docs/contracts.md", "docs/pipelines.md"):
        files -= {contract.entry_point for contract in CONTRACTS.values()}  # some are scripts that the user writes
    assert [file for file in sorted(files) if not any((base / file).exists() for base in bases)] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_files_that_exist(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", (ROOT / page).read_text("utf-8"))
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text("utf-8")
    assert re.findall(r"^\| \[([\w-]+)\]\(\1\.md\)", index, re.MULTILINE) == [page.stem for page in DECISIONS]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_four_sections(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)
    assert headings == ["Context", "Decision", "Measured", "Consequences"]


def test_the_readme_of_the_tests_lists_every_test_file_once() -> None:
    readme = (ROOT / "tests/README.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "tests").glob("*.py")}
    rows = "\n".join(line for line in readme.splitlines() if line.startswith("|"))
    assert sorted(re.findall(r"`(\w+\.py)`", rows)) == sorted(files)
