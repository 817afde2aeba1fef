"""The settings of every plugin: each value is accepted or is an error with a fix, before any data is read."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from extreme_values import VALUES, check_message
from fusionzoo import errors
from fusionzoo.architecture import Architecture, choose_architecture
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.nn import encoder_probe
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from fusionzoo.settings import FusionSettings, ModelSettings
from fusionzoo.training.distributed.world import SINGLE_PROCESS
from fusionzoo.training.guards.model_memory import check_model_memory, smallest_spec

JOB = {
    "text_name": "text",
    "label_name": "label",
    "cat_field_list": ["country"],
    "tab_field_list": ["price"],
    "num_classes": 2,
    "tokenizer": "word",
    "max_sen_len": 16,
}
TINY = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
}
ENCODER_SETTINGS = {"bert": {"encoder_config": TINY}}
SIZES = st.sampled_from([0, 1, -1, 2, 7, 4096, 65_536, 10**6, 10**9])
NOT_A_NUMBER_SETTING = ("encoder_config", "encoder_name", "text_encoder")


def names(group: str) -> list[str]:
    return sorted(name for name in Registry.discover(group) if ":" not in name)


def settings_class(group: str, name: str) -> type[ModelSettings]:
    return Registry.discover(group).load(name).settings_class


def choose(model: str, encoder: str | None, changes: dict[str, Any]) -> Architecture:
    """Do all that a job does with its settings before it reads data."""
    chosen = {} if encoder is None else {"text_encoder": encoder, **ENCODER_SETTINGS.get(encoder, {})}
    architecture = choose_architecture({**JOB, "model_class": model, **chosen, **changes})
    check_model_memory(architecture, smallest_spec(architecture.data_settings), SINGLE_PROCESS)
    return architecture


def encoder_of(model: str) -> str | None:
    field = settings_class(MODELS_GROUP, model).model_fields.get("text_encoder")
    if field is None:
        return None
    return (
        model.removeprefix("multimodal_") if model.removeprefix("multimodal_") in names(TEXT_ENCODERS_GROUP) else "cnn"
    )


@pytest.mark.parametrize("model", names(MODELS_GROUP))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_settings_of_a_plugin_are_accepted_or_an_error_with_a_fix(model: str, data: st.DataObject) -> None:
    encoder = encoder_of(model)
    fields = [*settings_class(MODELS_GROUP, model).model_fields]
    if encoder is not None:
        fields += settings_class(TEXT_ENCODERS_GROUP, encoder).model_fields
    fields = [name for name in fields if name not in NOT_A_NUMBER_SETTING]
    values = VALUES | SIZES | st.lists(SIZES, max_size=3)
    changes = data.draw(st.dictionaries(st.sampled_from(fields), values, min_size=1, max_size=3))
    try:
        choose(model, encoder, changes)
    except errors.ZooError as error:
        check_message(error)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from([*TINY, "vocab_size", "max_position_embeddings"]), VALUES | SIZES, max_size=2))
def test_any_configuration_of_an_encoder_is_accepted_or_an_error_with_a_fix(changes: dict[str, Any]) -> None:
    try:
        choose("bert", "bert", {"encoder_config": {**TINY, **changes}})
    except errors.ZooError as error:
        check_message(error)


def number_fields() -> list[tuple[str, str, str]]:
    """Return the group, plugin and field of each setting that is a number or a list of numbers."""
    found = []
    for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP):
        for name in names(group):
            for field, info in settings_class(group, name).model_fields.items():
                if "int" in str(info.annotation) or "float" in str(info.annotation):
                    found.append((group, name, field))
    return found


@pytest.mark.parametrize(("group", "name", "field"), number_fields())
def test_every_number_of_a_plugin_has_bounds(group: str, name: str, field: str) -> None:
    is_list = "list" in str(settings_class(group, name).model_fields[field].annotation)
    model, encoder = (name, encoder_of(name)) if group == MODELS_GROUP else ("multimodal_gate_fusion", name)
    for number in (1e300, -1e300, 10**30, -(10**30), float("inf"), float("nan"), 2**63):
        with pytest.raises(errors.ZooError, match=field):
            choose(model, encoder, {field: [number] if is_list else number})
    if is_list:
        with pytest.raises(errors.ZooError, match=field):
            choose(model, encoder, {field: [1] * 1000})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_hidden_layers": -3}, "num_hidden_layers is -3"),
        ({"num_hidden_layers": 10**9}, r"num_hidden_layers is 1000000000.*1 to 1,000 layers"),
        ({"hidden_size": 10**6}, r"one layer and the embeddings of the encoder need [\d,.]+ GB"),
        ({"max_position_embeddings": 10**12}, "lower the sizes of encoder_config"),
        ({"num_attention_heads": 0}, "Fix: "),
    ],
)
def test_an_encoder_of_absurd_size_is_refused_before_it_is_built(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "heads" not in str(changes):
        monkeypatch.setattr(encoder_probe, "_run_small", None)  # must not be called
    with pytest.raises(errors.ZooError, match=message):
        choose("bert", "bert", {"encoder_config": {**TINY, **changes}})


class Gate(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate: float = 0.5


class Kind(enum.Enum):
    SUM = "sum"
    MEAN = "mean"


class NestedSettings(FusionSettings):
    gate: Gate | None = None
    gates: list[Gate] = Field(default_factory=list)
    kind: Kind = Kind.SUM
    other_kind: Kind | None = None


@pytest.mark.parametrize("encode", [json.dumps, lambda value: value])
def test_optional_nested_settings_and_enumerations_are_read_in_both_encodings(encode: Callable[[Any], Any]) -> None:
    given = {"gate": {"rate": 0.1}, "gates": [{"rate": 0.2}], "kind": "Mean", "other_kind": "sum"}
    draft = SettingsDraft("nested", NestedSettings)
    draft.fill({name: encode(value) for name, value in given.items()})
    assert draft.problems == []
    settings = draft.settings
    assert (settings.gate, settings.gates) == (Gate(rate=0.1), [Gate(rate=0.2)])
    assert (settings.kind, settings.other_kind) == (Kind.MEAN, Kind.SUM)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gate", {"rat": 0.1}, "gate"),
        ("gate", 3, 'an object with the key rate, like {"rate": 0.5} or null'),
        ("kind", "median", 'one of "sum", "mean"'),
        ("other_kind", "median", '"sum", "mean" or null'),
    ],
)
def test_wrong_nested_settings_and_enumerations_are_named(name: str, value: Any, message: str) -> None:
    draft = SettingsDraft("nested", NestedSettings)
    draft.fill({name: value})
    (problem,) = draft.problems
    assert problem.where.startswith(name)
    assert message in str(problem)
