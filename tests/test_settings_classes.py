"""The settings class of a plugin is checked when it is loaded, and what its `resolve` returns before data is read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import Field

from cli_helpers import invoke
from fusionzoo.architecture import BuiltModel, choose_architecture
from fusionzoo.conformance.check_settings import check_default_settings
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.errors import BrokenPluginError, HyperparametersError, PluginContractError
from fusionzoo.registry import MODELS_GROUP, Registry
from fusionzoo.registry.doctor import examine_environment
from fusionzoo.settings import ModelSettings
from registry_helpers import ENCODER_HOOK, HEAD, SETTINGS_HOOK, VALID

if TYPE_CHECKING:
    from conftest import Installer

JOB: dict[str, Any] = {
    "model_class": "bad",
    "text_name": "t",
    "cat_field_list": ["c"],
    "label_name": "y",
    "num_classes": 2,
}
IMPORTS = """
from typing import Any
from pydantic import Field, computed_field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from fusionzoo.errors import SettingError
"""


def declare(body: str) -> str:
    """Return the source of a model whose settings class has this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return IMPORTS + VALID.replace("    width: int = 8", lines)


def class_error(group: str = MODELS_GROUP) -> BrokenPluginError:
    """Return the error that the settings class of the plugin `bad` raises."""
    plugin = Registry.discover(group).load("bad")
    with pytest.raises(BrokenPluginError) as caught:
        _ = plugin.settings_class
    assert len(str(caught.value)) <= 1024
    return caught.value


def resolve_error(install: Installer, body: str) -> str:
    """Return the message with which a job is refused whose model has a settings class with this body."""
    install("acme-bad", models=["bad"], source=declare(body))
    with pytest.raises(PluginContractError) as caught:
        choose_architecture(JOB)
    assert len(str(caught.value)) <= 1024
    return str(caught.value)


# --- the class


@pytest.mark.parametrize(
    ("found", "shown"),
    [("dict", "<class 'dict'>"), ("Settings()", "Settings(width=8)"), ("None", "None"), ("fusionzoo", "<module")],
)
def test_a_settings_class_that_is_not_a_model_settings_class_is_an_error(
    install: Installer, found: str, shown: str
) -> None:
    install("acme-bad", models=["bad"], source=VALID.replace("return Settings", f"return {found}"))
    plugin = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(BrokenPluginError) as caught:
        plugin.settings_class  # noqa: B018 - a property that checks
    assert "from acme-bad 1.0 (acme_bad) is broken: settings_class() returned " + shown in str(caught.value)
    assert "fusionzoo.settings.ModelSettings" in str(caught.value)


def test_settings_with_names_of_core_are_an_error(install: Installer) -> None:
    fields = "lr: float = 1.0; label_name: str = ''"
    install("acme-bad", models=["bad"], source=VALID.replace("width: int = 8", f"width: int = 8; {fields}"))
    plugin = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(BrokenPluginError) as caught:
        plugin.settings_class  # noqa: B018 - a property that checks
    message = str(caught.value)
    assert (
        "acme-bad 1.0 (acme_bad) is broken: its settings have names that belong to fusionzoo: label_name, lr."
        in message
    )
    assert "width" not in message


@pytest.mark.parametrize("name", ["needs", "reads"])
@pytest.mark.parametrize("value", ["frozenset({'texts'})", "'text'", "['text']", "None"])
def test_a_job_of_a_plugin_with_a_wrong_modality_is_refused(install: Installer, name: str, value: str) -> None:
    install("acme-bad", models=["bad"], source=declare(f"{name} = {value}"))
    with pytest.raises(BrokenPluginError, match="FZ-P019") as caught:
        choose_architecture(JOB)
    message = str(caught.value)
    assert f"from acme-bad 1.0 (acme_bad) is broken: `{name}` of its settings is " in message
    assert "not a subset of 'text' and 'table'" in message


# --- defaults


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("depth: int = Field(0, ge=1)", "depth = 0: the value is not allowed"),
        ("depth: int = 'deep'", 'depth = "deep": '),
        ("depth: int = 1.5", "depth = 1.5: "),
        ("depth: list[int] = Field(default_factory=lambda: [1, 'x'])", 'depth = [1, "x"]: item 2'),
        ("depth: float = float('nan')", "depth = NaN: the value is not finite"),
        ("depth: Any = object()", "PydanticSerializationError"),
        ("depth: int = Field(default_factory=lambda: 1 // 0)", "ZeroDivisionError"),
    ],
)
def test_an_invalid_default_is_an_error_of_the_plugin(install: Installer, field: str, shown: str) -> None:
    install("acme-bad", models=["bad"], source=declare(f"{field}\nwidth: int = Field(8, ge=1)"))
    error = class_error()
    assert error.code == "FZ-P056"
    message = str(error)
    assert "(acme_bad) is broken: defaults of its settings Settings are not valid: " in message
    assert shown in message
    assert "width" not in message
    assert "Fix: in acme-bad 1.0, give each setting a default that its own type, bounds and validators" in message


def test_a_default_that_a_validator_rejects_is_an_error_of_the_plugin(install: Installer) -> None:
    body = """
depth: int = 2
@field_validator("depth")
@classmethod
def check(cls, value):
    if value == 2:
        raise ValueError("depth may not be 2")
    return value
"""
    install("acme-bad", models=["bad"], source=declare(body))
    assert "are not valid: depth = 2: depth may not be 2." in str(class_error())


def test_train_and_commands_refuse_an_invalid_default(install: Installer) -> None:
    source = declare("depth: int = Field(0, ge=1)")
    words = source.replace(VALID[len(HEAD) + len(SETTINGS_HOOK) :], ENCODER_HOOK)
    install("acme-bad", models=["bad"], source=source, requires=["fusionzoo>=0.1,<0.2"])
    install("acme-words", text_encoders=["worse"], source=words, requires=["fusionzoo>=0.1,<0.2"])
    with pytest.raises(PluginContractError, match="depth = 0"):
        choose_architecture({**JOB, "depth": 3})
    for name in ("bad", "worse"):
        for command in ("show", "check"):
            done = invoke(command, name)
            assert done.exit_code == 1
            assert done.stderr.count("depth = 0") == 1
            assert "FZ-P056" in done.stderr
    diagnoses = examine_environment(120.0, [str(install.folder)])
    findings = [finding for diagnosis in diagnoses for finding in diagnosis.findings]
    assert [finding.name for finding in findings] == ["bad", "worse"]
    assert all("depth = 0" in finding.problem for finding in findings)


@pytest.mark.parametrize(
    "body",
    [
        "depth: int = Field(ge=1)",  # required
        "depth: int | None = Field(None, ge=1)",
        "depth: float = Field(1, ge=0)",
        "depth: tuple[int, ...] = (1, 2)",
        "depth: int = 1\n@model_validator(mode='after')\ndef check(self): raise ValueError('choose a depth')",
    ],
    ids=["required", "null", "int for float", "tuple", "together"],
)
def test_a_default_that_a_user_must_or_may_change_is_no_error_of_the_plugin(install: Installer, body: str) -> None:
    install("acme-good", models=["good"], source=declare(body))
    assert "depth" in Registry.discover(MODELS_GROUP).load("good").settings_class.model_fields


class InvalidDefault(ModelSettings):
    depth: int = Field(0, ge=1)


def test_the_check_of_default_settings_validates_the_defaults() -> None:
    subject: Any = SimpleNamespace(plugin=SimpleNamespace(settings_class=InvalidDefault))
    with pytest.raises(
        ConformanceError, match=r"InvalidDefault\(\) is not valid \(depth: .*greater than or equal to 1"
    ):
        check_default_settings(subject)


def test_a_computed_field_is_an_error_of_the_plugin(install: Installer) -> None:
    body = "width: int = 8\n@computed_field\n@property\ndef double(self) -> int: return 2 * self.width"
    install("acme-bad", models=["bad"], source=declare(body))
    assert "its settings Settings have computed fields, which cannot be read back: double." in str(class_error())


@pytest.mark.parametrize(
    "body",
    [
        "model_config = {'populate_by_name': True}\nwide: int = Field(8, alias='width')",
        "wide: int = Field(8, validation_alias='width')",
        "wide: int = Field(8, serialization_alias='width')",
        "model_config = {'alias_generator': str.upper}\nwide: int = 8",
    ],
)
def test_an_alias_is_an_error_of_the_plugin(install: Installer, body: str) -> None:
    install("acme-bad", models=["bad"], source=declare(body))
    error = class_error()
    assert error.code == "FZ-P062"
    assert "its settings Settings have fields with an alias: " in str(error)
    assert "wide" in str(error)


def test_settings_without_a_schema_are_an_error_of_the_plugin_in_a_job_too(install: Installer) -> None:
    body = "model_config = {'arbitrary_types_allowed': True}\nodd: type(Field) = Field"
    install("acme-bad", models=["bad"], source=declare(body))
    assert class_error().code == "FZ-P018"


# --- validators


@pytest.mark.parametrize(
    "check",
    [
        "if value is not None: raise ValueError('depth may not be 2')",
        "assert value is None, 'depth may not be 2'",
        "if value is not None: raise PydanticCustomError('odd', 'depth may not be 2')",
    ],
)
@pytest.mark.parametrize(("kind", "value"), [("int", 2), ("list[int]", [2])])
def test_the_message_of_a_validator_is_not_contradicted_by_the_fix(
    install: Installer, check: str, kind: str, value: object
) -> None:
    body = f"""
depth: {kind} | None = None
@field_validator("depth")
@classmethod
def check(cls, value):
    {check}
"""
    install("acme-bad", models=["bad"], source=declare(body))
    with pytest.raises(HyperparametersError) as caught:
        choose_architecture({**JOB, "depth": value})
    (problem,) = caught.value.problems
    assert str(problem) == (
        f"depth = {value}: depth may not be 2. Fix: change the settings that this message names. [FZ-S015]"
    )


# --- resolve


def test_a_resolve_without_return_is_an_error_of_the_plugin(install: Installer) -> None:
    message = resolve_error(install, "def resolve(self, job): self.model_copy()")
    assert "model_class 'bad' from acme-bad 1.0 (acme_bad) is broken: resolve() of its settings Settings" in message
    assert "returned None.\nFix: in acme-bad 1.0, return self, or a copy of it" in message


@pytest.mark.parametrize("value", ["{}", "job", "ModelSettings()", "type(self)"])
def test_a_resolve_that_returns_something_else_is_an_error_of_the_plugin(install: Installer, value: str) -> None:
    assert "[FZ-P058]" in resolve_error(install, f"def resolve(self, job): return {value}")


@pytest.mark.parametrize("raised", ["ValueError('cannot use this job')", "SystemExit('cannot use this job')"])
def test_an_exception_in_resolve_names_the_plugin_its_line_and_the_error_to_raise(
    install: Installer, raised: str
) -> None:
    message = resolve_error(install, f"def resolve(self, job): raise {raised}")
    kind = raised.partition("(")[0]
    assert f"is broken: resolve() of its settings Settings raised {kind}: cannot use this job." in message
    assert "acme_bad.py, line " in message
    assert "to refuse a value, raise fusionzoo.errors.SettingError. [FZ-P057]" in message


def test_resolved_values_that_the_class_rejects_are_an_error_of_the_plugin(install: Installer) -> None:
    body = "depth: int = Field(1, ge=1)\ndef resolve(self, job): return self.model_copy(update={'depth': 0})"
    message = resolve_error(install, body)
    assert "resolve() of its settings Settings returned invalid values: depth = 0: the value is not allowed" in message
    assert "model_copy(update=...) does not validate. [FZ-P059]" in message


def test_resolved_values_that_json_does_not_have_are_an_error_of_the_plugin(install: Installer) -> None:
    body = "depth: Any = None\ndef resolve(self, job): return self.model_copy(update={'depth': object()})"
    assert "returned invalid values: PydanticSerializationError" in resolve_error(install, body)


def test_settings_that_reading_changes_are_an_error_of_the_plugin(install: Installer) -> None:
    body = "depth: int = 3\n@field_validator('depth')\n@classmethod\ndef double(cls, depth): return 2 * depth"
    install("acme-bad", models=["bad"], source=declare(body))
    with pytest.raises(PluginContractError) as caught:
        choose_architecture({**JOB, "depth": 5})
    assert caught.value.code == "FZ-P063"
    assert "its settings Settings change when a model folder with them is read: depth from 10 to 20." in str(
        caught.value
    )


def test_a_setting_error_of_resolve_is_reported_as_it_is(install: Installer) -> None:
    body = "def resolve(self, job): raise SettingError('width', 8, 'it is even', 'give 7')"
    install("acme-bad", models=["bad"], source=declare(body))
    with pytest.raises(HyperparametersError, match=r"width = 8: it is even\. Fix: give 7\. \[FZ-S001\]"):
        choose_architecture(JOB)


def test_resolve_of_a_text_encoder_is_checked_too(install: Installer) -> None:
    source = declare("def resolve(self, job): ...").replace(VALID[len(HEAD) + len(SETTINGS_HOOK) :], ENCODER_HOOK)
    install("acme-bad", text_encoders=["bad"], source=source)
    with pytest.raises(PluginContractError, match=r"text_encoder 'bad' from acme-bad 1\.0 .* returned None"):
        choose_architecture({**JOB, "model_class": "multimodal_gate_fusion", "text_encoder": "bad"})


# --- pretrained weights


@pytest.mark.parametrize(
    ("is_pretrained", "hook", "says"),
    [
        (True, "", "is not defined, or it did not return True. FZ-P054"),
        (True, "...", "is not defined, or it did not return True. FZ-P054"),
        (True, "return False", "is not defined, or it did not return True. FZ-P054"),
        (False, "return True", "but `pretrained` of its settings Settings is False FZ-P055"),
        (True, "return True", ""),
        (False, "return False", ""),
        (False, "", ""),
    ],
)
def test_load_pretrained_must_agree_with_the_settings(
    install: Installer, is_pretrained: bool, hook: str, says: str
) -> None:
    source = declare(f"@property\ndef pretrained(self): return {is_pretrained}")
    source = source.replace(VALID[len(HEAD) + len(SETTINGS_HOOK) :], ENCODER_HOOK)
    if hook:
        source += f"@hookimpl\ndef load_pretrained(): {hook}\n"
    install("acme-bad", text_encoders=["bad"], source=source)
    architecture = choose_architecture({**JOB, "model_class": "multimodal_gate_fusion", "text_encoder": "bad"})
    built: Any = BuiltModel("model", "encoder")  # type: ignore[arg-type]
    if not says:
        architecture.load_pretrained(built)
        return
    with pytest.raises(PluginContractError) as caught:
        architecture.load_pretrained(built)
    message, _, code = says.rpartition(" ")
    assert "text_encoder 'bad' from acme-bad 1.0 (acme_bad) is broken: " in str(caught.value)
    assert message in str(caught.value)
    assert caught.value.code == code
