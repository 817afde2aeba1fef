"""The tables about contracts in the docs, and the contract's requirements file, are those of the contract objects."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fusionzoo.contracts import CONTRACTS, PYTORCH_TRAIN_CONTRACT

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "constraints-contract.txt").read_text("utf-8")


def load_generator() -> Any:
    """Return the module docs/generate_contracts.py."""
    spec = importlib.util.spec_from_file_location("generate_contracts", ROOT / "docs/generate_contracts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


def read_requirements(text: str) -> dict[str, Requirement]:
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    requirements = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.mark.parametrize("page", GENERATOR.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_up_to_date(page: Path) -> None:
    """Run `python docs/generate_contracts.py` to write them."""
    text = page.read_text("utf-8")
    assert GENERATOR.BLOCK.search(text)
    assert GENERATOR.render_page(text) == text


def test_the_page_of_contracts_has_the_tables_of_each_contract() -> None:
    page = (ROOT / "docs/contracts.md").read_text("utf-8")
    assert set(re.findall(r"<!-- contracts: ([A-Z_]+) -->", page)) == CONTRACTS.keys()


def test_the_requirements_of_the_contract_are_up_to_date() -> None:
    """Run `python docs/generate_contracts.py` to write them."""
    text = (ROOT / "requirements-contract.txt").read_text("utf-8")
    assert text == GENERATOR.render_requirements()
    stated = {**PYTORCH_TRAIN_CONTRACT.framework_requirements, **PYTORCH_TRAIN_CONTRACT.version_constraints}
    assert {name: str(found.specifier) for name, found in read_requirements(text).items()} == stated


def test_the_versions_that_are_tested_include_those_of_the_contract() -> None:
    """constraints-contract.txt includes requirements-contract.txt and contradicts none of its versions."""
    assert "-c requirements-contract.txt" in LOCK.splitlines()
    stated = read_requirements((ROOT / "requirements-contract.txt").read_text("utf-8"))
    locked = read_requirements(LOCK)
    assert len(locked) > 100
    for name in stated.keys() & locked.keys():
        (pin,) = locked[name].specifier
        assert pin.version in stated[name].specifier, name
    exact = {name for name, found in stated.items() if str(found.specifier).startswith("==")}
    assert exact & locked.keys() == set(), "one file states each exact version"


def test_fusionzoo_accepts_every_version_of_the_contract() -> None:
    """An installation with exactly these versions satisfies core/pyproject.toml."""
    stated = read_requirements((ROOT / "requirements-contract.txt").read_text("utf-8"))
    project = tomli.loads((ROOT / "core/pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    required = read_requirements("\n".join([*project["dependencies"], *extras["evaluate"], *extras["train"]]))
    assert required.keys() & stated.keys() >= {"torch", "lightning", "pyarrow"}
    for name in required.keys() & stated.keys():
        (pin,) = stated[name].specifier
        assert pin.version in required[name].specifier, name
