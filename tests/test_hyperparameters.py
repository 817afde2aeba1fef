"""Settings are checked alone and together, and all problems are reported together."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import field_validator

from fusionzoo.errors import HyperparametersError, SettingError
from fusionzoo.hyperparameters import PluginSettings, parse_text_encoder
from fusionzoo.hyperparameters.consistency import check_warmup
from fusionzoo.settings import JobSettings, ModelSettings
from parsing_helpers import (
    REQUIRED,
    Fusion,
    TableOrText,
    TextOnly,
    encode_v2,
    parse,
    parse_changed,
    parse_error,
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"btach_size": 3}, ["btach_size", "write batch_size"]),
        ({"learning_rate": 1e-4}, ["learning_rate", "write lr,"]),
        ({"lerning_rate": 1e-4}, ["lerning_rate", "write lr,"]),
        ({"reinit_layer": 3}, ["reinit_layer", "write reinit_layers"]),
        ({"batch_size": 0}, ["batch_size = 0", "integer from 1 to 65536"]),
        ({"batch_size": "many"}, ['batch_size = "many"', "an integer"]),
        ({"batch_size": 2.5}, ["batch_size = 2.5"]),
        ({"batch_size": True}, ["batch_size = true", "an integer"]),
        ({"batch_size": "1e999"}, ["batch_size", "not finite"]),
        ({"lr": "true"}, ["lr = true", "a number above 0"]),
        ({"lr": 10**400}, ["lr", "not finite"]),
        ({"lr": "-Infinity"}, ["lr", "not finite"]),
        ({"lr": "nan"}, ["lr = NaN", "not finite"]),
        ({"lr": "-inf"}, ["lr = -Infinity", "not finite"]),
        ({"lr": "--nan"}, ['lr = "--nan"', "Fix: give a number"]),
        ({"is_binary": "yes"}, ["is_binary", "true or false"]),
        ({"class_weights": "[nan, 1.0]"}, ["class_weights", "not finite"]),
        ({"class_weights": ["a", 1.0]}, ["class_weights", 'item 1, "a"', "numbers"]),
        ({"class_weights": "1.0, 2.0"}, ["class_weights", "not a list", "[1.0, 2.0]"]),
        ({"class_weights": 1.0}, ["class_weights = 1.0", "not a list"]),
        ({"class_weights": "[0, 0]"}, ["class_weights", "all weights are 0"]),
        ({"class_weights": "[" * 900 + "]" * 900}, ["class_weights", "nested too deeply"]),
        ({"class_weights": "[" * 9000}, ["class_weights", "not a list"]),
        ({"cat_field_list": "a"}, ["cat_field_list", 'write ["a"]']),
        ({"tab_field_list": ["a", ""]}, ["tab_field_list", 'item 2, ""']),
        ({"label_name": "\ud800"}, ["label_name", "surrogate"]),
        ({"label_name": ""}, ['label_name = ""', "non-empty"]),
        ({"label_name": {"a": 1}}, ["label_name", "nested object"]),
        ({"label_name": 1.5}, ["label_name = 1.5", "string"]),
        ({"tokenizer": "x" * 5000, "lr": -1}, ["lr = -1"]),
        ({"seed": 2**32}, ["seed", "below 4294967296"]),
        ({"cat_field_list": ["text_field"]}, ["text_field", "text_name", "cat_field_list"]),
        ({"fp16": False, "precision": "fp16"}, ["fp16 = false", "precision is fp16"]),
        ({"fp16": True, "precision": "bf16-mixed"}, ["fp16 = true", "precision is bf16"]),
        ({"zzzzqqqq": 1}, ["zzzzqqqq = 1", "remove zzzzqqqq"]),
        ({"tab_field_list": [], "text_name": ...}, ["needs table", "needs text"]),
        ({"optimizer": "adagrad"}, ["optimizer", '"adamw", "adam", "sgd"']),
        ({"gate": 2}, ["gate = 2", "from 0"]),
        ({"lr": "nan"}, ["lr", "not finite"]),
        ({"class_weights": "[1.0, Infinity]"}, ["class_weights"]),
        ({"cat_field_list": "a,b"}, ["cat_field_list", 'write ["a", "b"]']),
        ({"model_class": ...}, ["model_class", "required"]),
        ({"num_classes": "null"}, ["num_classes", "required"]),
        ({"is_binary": True, "num_classes": 3}, ["is_binary = true", "num_classes is 3"]),
        ({"is_binary": False}, ["is_binary = false", "num_classes is 2"]),
        ({"class_weights": [1.0]}, ["class_weights", "1 entry"]),
        ({"class_weights": [1.0, 2.0, 3.0]}, ["class_weights", "3 entries"]),
        ({"class_weights": [1.0, -2.0]}, ["class_weights", "negative"]),
        ({"classes": ["a"]}, ["classes", "1 entry"]),
        ({"classes": [1, "1"]}, ["classes", "duplicate"]),
        ({"classes": ["1.10", "1.1"]}, ["classes", 'duplicate classes "1.10", "1.1"']),
        ({"classes": [True, "true"]}, ["classes", 'duplicate classes true, "true"']),
        ({"classes": ["2024-02-29", "2024-02-29T00:00:00"]}, ["classes", "duplicate"]),
        ({"label_name": "id"}, ["label_name", "also in id_name"]),
        ({"cat_field_list": ["feature1"]}, ["feature1", "cat_field_list", "tab_field_list"]),
        ({"tab_field_list": ["a", "a"]}, ["tab_field_list", "listed twice"]),
        ({"early_stop_metric": "val/aucroc"}, ["early_stop_metric", "val/auroc"]),
        ({"fp16": True, "precision": "32"}, ["fp16", "precision is 32"]),
        ({"tab_field_list": []}, ["multimodal_bert", "needs table"]),
        ({"text_name": ...}, ["multimodal_bert", "needs text"]),
        ({"model": {"lr": 1}}, ["model", "top level"]),
        ({"val_fraction": 0.95}, ["val_fraction = 0.95", "leaves too few rows", "below 0.95"]),
        ({"val_fraction": "0.3", "test_fraction": 0.65}, ["test_fraction = 0.65", "add up to 0.95"]),
        ({"val_fraction": 1.0}, ["val_fraction = 1.0", "below 1"]),
        ({"group_field": "customer"}, ['group_field = "customer"', "set one of them"]),
        ({"group_field": "target", "val_fraction": 0.1}, ['group_field = "target"', "also label_name"]),
    ],
)
def test_an_invalid_setting_is_reported_with_its_value_and_a_fix(changes: dict[str, Any], says: list[str]) -> None:
    message = parse_error(**changes)
    for words in says:
        assert words in message, message
    assert "Fix:" in message


def test_all_problems_of_a_file_are_reported_together() -> None:
    wrong = {"btach_size": 3, "lr": -1, "gate": 7, "reinit_layers": 99, "class_weights": [1.0], "header": 0}
    wrong |= {"early_stop_metric": "x", "text_name": ..., "cat_field_list": "a", "fp16": True, "precision": "32"}
    message = parse_error(**wrong)
    for key in (*(wrong.keys() - {"text_name", "precision"}), "needs text", "precision is 32"):
        assert key in message
    assert "10 problems" in message


def test_problems_are_reported_in_a_fixed_order() -> None:
    keys = [fault.split(" ")[1] for fault in parse_error(seed=-1, lr=-1, batch_size=0, gate=7).splitlines()[1:]]
    assert keys == ["batch_size", "seed", "lr", "gate"]


def test_core_settings_are_checked_even_if_model_class_is_invalid() -> None:
    message = parse_error(model_class=..., lr=-1, label_name="id", something_of_a_plugin=1)
    for words in ("model_class: the setting is required", "`fusionzoo list` prints them", "lr = -1", "also in id_name"):
        assert words in message
    assert "something_of_a_plugin" not in message  # it may be right


def test_a_text_only_model_warns_about_columns_that_it_does_not_read() -> None:
    assert "feature1, feature2" in parse_changed(TextOnly).warnings[0]
    assert parse_changed().warnings == ()


def test_an_error_of_resolve_is_reported_like_any_other_problem() -> None:
    class Choosy(Fusion):
        def resolve(self, job: JobSettings) -> Choosy:
            raise SettingError("gate", self.gate, "it cannot work here", "choose another")

    assert "gate = 0.5: it cannot work here. Fix: choose another. [FZ-S001]" in parse_error(Choosy)


def test_train_can_be_split_by_groups_of_any_column_except_the_label() -> None:
    job = parse_changed(val_fraction="0.44", test_fraction=0.5, group_field="customer").job
    assert (job.val_fraction, job.test_fraction, job.group_field) == (0.44, 0.5, "customer")
    for column in ("id", "feature1", "text_field"):
        assert parse_changed(test_fraction=0.1, group_field=column).job.group_field == column


def test_an_invalid_fraction_causes_no_second_problem_about_the_group() -> None:
    message = parse_error(group_field="customer", val_fraction=-1)
    assert "val_fraction = -1" in message
    assert "group_field" not in message


def test_the_warm_up_must_end_before_training_ends() -> None:
    job = parse_changed(warmup_steps=10).job
    check_warmup(job, 11)
    with pytest.raises(HyperparametersError, match="only 10 steps"):
        check_warmup(job, 10)


def test_a_text_encoder_that_the_model_does_not_accept_is_an_error_and_is_not_loaded() -> None:
    class OnlyBert(Fusion):
        text_encoder: Literal["bert"] = "bert"

    raw = {**REQUIRED, "text_encoder": "cnn", "reinit_layers": 99}
    assert parse_text_encoder(raw, PluginSettings("multimodal_bert", OnlyBert)) == "bert"
    with pytest.raises(HyperparametersError, match=r'text_encoder = "cnn".*give "bert"') as error:
        parse(raw, OnlyBert)
    assert "reinit_layers = 99" in str(error.value)
    assert parse({**REQUIRED, "text_encoder": '"BERT"'}, OnlyBert).model == OnlyBert()


def test_a_model_without_a_text_encoder_loads_none() -> None:
    class WithoutEncoder(ModelSettings):
        width: int = 1

    class OptionalEncoder(ModelSettings):
        text_encoder: str | None = None

    for model in (WithoutEncoder, OptionalEncoder):
        assert parse_text_encoder(REQUIRED, PluginSettings("multimodal_bert", model)) is None
        assert parse(REQUIRED, model).encoder is None
        with pytest.raises(HyperparametersError, match="widht"):
            parse({**REQUIRED, "widht": 1}, model)


def test_a_model_that_needs_no_modality_still_requires_one() -> None:
    assert "needs table or text" in parse_error(TableOrText, text_name=..., tab_field_list=[])


def test_a_plugins_own_types_are_decoded_and_its_validators_reasons_are_reported() -> None:
    class Side(Enum):
        LEFT = "left"
        RIGHT = "right"

    class Own(Fusion):
        side: Side = Side.LEFT
        sizes: tuple[int, ...] = (1,)
        config: dict[str, Any] | None = None
        depth: int | Literal["auto"] = "auto"

        @field_validator("gate")
        @classmethod
        def no_tenth(cls, gate: float) -> float:
            if gate == 0.1:
                raise ValueError("a tenth is too little")
            return gate

    given = {"side": "right", "sizes": "[2, 3]", "config": '{"a": [1]}', "depth": "Auto"}
    for encode in (dict, encode_v2):
        model: Any = parse_changed(Own, **encode(given)).model
        assert (model.side, model.sizes, model.config, model.depth) == (Side.RIGHT, (2, 3), {"a": [1]}, "auto")
    assert parse_changed(Own, depth="3").model.depth == 3  # type: ignore[attr-defined]
    assert "gate = 0.1: a tenth is too little" in parse_error(Own, gate=0.1)


def test_a_name_declared_by_two_classes_keeps_each_default_in_a_round_trip() -> None:
    class Shared(Fusion):
        warm: bool = True

    apart, given = parse_changed(Shared), parse_changed(Shared, warm="true")
    for found in (apart, given):
        again = parse(found.as_flat_dict(), Shared)
        assert (again.job, again.model, again.encoder) == (found.job, found.model, found.encoder)
    assert apart.encoder != given.encoder


def test_a_name_that_two_classes_resolve_to_different_values_is_an_error() -> None:
    class Shared(Fusion):
        warm: bool = False

        def resolve(self, job: JobSettings) -> Shared:
            return self.model_copy(update={"warm": True})

    assert "warm: two plugins use this name" in parse_error(Shared)
