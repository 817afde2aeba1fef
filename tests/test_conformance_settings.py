"""Settings of unusual types: what the conformance kit reports, and what it accepts."""

from __future__ import annotations

import pytest

from conformance_runs import install_model, run_one_check
from conftest import Installer
from correct_plugins import MODEL
from fusionzoo.conformance import CheckResult, check_setting_values
from mutant_changes import WIDTH

NESTED = """
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union
from pydantic import BaseModel, field_serializer


class Inner(BaseModel, extra="forbid"):
    {inner}


class Outer(BaseModel, extra="forbid"):
    inner: Optional[Inner] = Field(None, description="Nothing, by default.")
    {outer}

"""


def check_settings(
    install: Installer,
    check: str,
    field: str,
    inner: str = "rate: float = 0.5",
    outer: str = "",
    *more: tuple[str, str],
) -> CheckResult:
    """Install the correct model with another field, whose type may be Inner or Outer, and run one check."""
    classes = NESTED.format(inner=inner, outer=outer) + "\nclass Settings(FusionSettings):"
    changes = (("class Settings(FusionSettings):", classes), (WIDTH, f"{WIDTH}\n    {field}"))
    install_model(install, MODEL, *changes, *more)
    return run_one_check("mutant", check)


# --- sets

SETS = {
    "tags: frozenset[str] = Field(frozenset('ab'), description='Tags.')": "tags",
    "tags: set[int] = Field(default_factory=set, description='Tags.')": "tags",
    "tags: Optional[set[str]] = Field(None, description='Tags.')": "tags",
    "tags: Union[int, frozenset[str]] = Field(1, description='Tags.')": "tags",
    "tags: tuple[int, frozenset[str]] = Field((1, frozenset()), description='Tags.')": "tags",
    "tags: list[set[str]] = Field([], description='Tags.')": "tags",
    "tags: dict[str, set[str]] = Field({}, description='Tags.')": "tags",
    "table: Inner = Field(Inner(), description='Table.')": "table.names",
    "table: Optional[Inner] = Field(None, description='Table.')": "table.names",
    "table: list[Outer] = Field([], description='Table.')": "table.inner.names",
}


@pytest.mark.parametrize("field", SETS)
def test_a_setting_that_holds_a_set_is_named_with_the_fix(install: Installer, field: str) -> None:
    inner = "names: set[str] = Field(default_factory=set)" if "names" in SETS[field] else "rate: float = 0.5"
    result = check_settings(install, "check_settings_json_round_trip", field, inner)
    assert result.status == "failed"
    assert result.detail.startswith(f"Settings has a set in {SETS[field]}. A set has no order")
    assert "Fix: declare a tuple, such as tuple[str, ...], or a list" in result.detail


WITHOUT_SETS = [
    "tags: tuple[str, ...] = Field(('a', 'b'), description='Tags.')",
    "tags: Literal['a', 'b'] = Field('a', description='Tags.')",
    "table: Inner = Field(Inner(), description='Table.')",
    "table: Optional[Outer] = Field(None, description='Table.')",
    """tags: frozenset[str] = Field(frozenset('ab'), description='Tags.')

    @field_serializer('tags')
    def write(self, tags):
        return sorted(tags)""",
    """tags: frozenset[str] = Field(frozenset(), description='Tags.')

    @field_serializer('tags')
    def write(self, tags) -> list[str]:
        return sorted(tags)""",
]


@pytest.mark.parametrize("field", WITHOUT_SETS)
def test_a_setting_that_is_written_in_order_passes(install: Installer, field: str) -> None:
    result = check_settings(install, "check_settings_json_round_trip", field)
    assert result.status == "passed", result.detail


# --- values of nested settings

FAILING = {  # declarations of Inner and of the setting, the value with which the model fails, its name
    "choice": ("kind: Literal['mean', 'max'] = 'mean'", "table: Inner = Inner()", "max", "table.kind='max'"),
    "switch": ("kind: bool = False", "table: Inner = Inner()", True, "table.kind=True"),
    "number": ("kind: float = 0.5", "table: Inner = Inner()", -1.0, "table.kind=-1.0"),
    "annotated": ("kind: bool = False", "table: Annotated[Inner, 'x'] = Inner()", True, "table.kind=True"),
    "list": ("kind: bool = False", "table: list[Inner] = [Inner()]", True, "table.0.kind=True"),
    "dict": ("kind: bool = False", "table: dict[str, Inner] = {'a': Inner()}", True, "table.a.kind=True"),
    "inside": ("kind: bool = False", "table: Outer = Outer(inner=Inner())", True, "table.inner.kind=True"),
    "empty": ("kind: bool = False", "table: Outer = Outer()", True, "table.inner.kind=True"),
}
RECORD = """
def find_kinds(value):
    if isinstance(value, Inner):
        return [value.kind]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    parts = [value.inner] if isinstance(value, Outer) else parts
    return [kind for part in parts for kind in find_kinds(part)]


class LateSum(nn.Module):"""


def reject(value: object) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return changes after which the model fails with this value of Inner.kind."""
    width = "width, self.pad_id = settings.width"
    failing = f"assert {value!r} not in find_kinds(settings.table)\n        {width}"
    return ("class LateSum(nn.Module):", RECORD), (width, failing)


@pytest.mark.parametrize("case", FAILING)
def test_a_value_of_a_nested_setting_with_which_the_model_fails_is_named(install: Installer, case: str) -> None:
    inner, field, value, name = FAILING[case]
    declaration, _, default = field.rpartition(" = ")
    field = f"{declaration} = Field({default}, description='Table.')"
    result = check_settings(install, "check_setting_values", field, inner, "", *reject(value))
    assert result.status == "failed"
    assert f"the model fails with {name}, which Settings accepts" in result.detail


def test_values_that_the_class_of_a_nested_setting_rejects_are_not_used(install: Installer) -> None:
    field = "table: Inner = Field(Inner(), description='Table.')"
    result = check_settings(
        install, "check_setting_values", field, "kind: float = Field(0.5, gt=0, lt=1)", "", *reject(-1.0)
    )
    assert result.status == "passed", result.detail


def test_a_nested_setting_that_may_be_none_is_not_refused(install: Installer) -> None:
    field = "table: Optional[Inner] = Field(None, description='Table.')"
    result = check_settings(install, "check_setting_values", field, "kind: bool = False")
    assert result.status == "passed", result.detail


def test_the_choices_of_another_class_of_a_nested_setting_are_used(install: Installer) -> None:
    field = "table: Union[Outer, Inner] = Field(Outer(), description='Table.')"
    result = check_settings(install, "check_setting_values", field, "kind: Literal['a', 'b'] = 'a'", "", *reject("a"))
    assert "={'kind': 'a'}, which Settings accepts" in result.detail


def test_the_number_of_values_of_nested_settings_is_bounded(
    install: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(check_setting_values, "_find_error", lambda subject, changes=None: built.append(changes))
    inner = "".join(f"    f{i}: bool = False\n" for i in range(500)).strip()
    field = "table: Inner = Field(Inner(), description='Table.')"
    assert check_settings(install, "check_setting_values", field, inner).status == "passed"
    assert sum("table" in (changes or {}) for changes in built) == check_setting_values.MAX_NESTED_VARIANTS


def test_settings_that_contain_themselves_are_checked_once(install: Installer) -> None:
    outer = "kind: bool = False\n    parts: list['Outer'] = []"
    result = check_settings(
        install, "check_setting_values", "table: Outer = Field(Outer(), description='T.')", outer=outer
    )
    assert result.status == "passed", result.detail
