"""hyperparameters.json: decoding by declared type, checks alone and together, the predecessor's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, field_validator

from fusionzoo.errors import NAMES_ELSEWHERE, WITHOUT_MEANING, HyperparametersError, SettingError
from fusionzoo.hyperparameters import Hyperparameters, PluginSettings, parse_model_class, parse_text_encoder
from fusionzoo.hyperparameters.consistency import check_warmup
from fusionzoo.hyperparameters.reading import read_hyperparameters
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import FusionSettings, JobSettings, ModelSettings
from parsing_helpers import parse_with_classes


class Encoder(ModelSettings):
    needs = reads = frozenset({"text"})
    default_tokenizer = "their-tokenizer"
    reinit_layers: int = Field(0, ge=0, le=12)
    warm: bool = False


class Fusion(FusionSettings):
    gate: float = Field(0.5, ge=0, le=1)


class TableOrText(Fusion):
    needs = frozenset()


class TextOnly(FusionSettings):
    needs = reads = frozenset({"text"})


REQUIRED: dict[str, Any] = {
    "model_class": "multimodal_bert",
    "id_name": "id",
    "text_name": "text_field",
    "label_name": "target",
    "num_classes": 2,
    "tab_field_list": ["feature1", "feature2"],
}
CONTRACT: dict[str, Any] = {
    **REQUIRED,
    "is_binary": True,
    "tab_field_list": ["feature1", "feature2", "feature3"],
    "cat_field_list": ["category1", "category2"],
    "tokenizer": "bert-base-uncased",
    "max_sen_len": 512,
    "max_total_chunks": 10,
    "batch_size": 32,
    "max_epochs": 10,
    "lr": 2e-5,
    "optimizer": "adamw",
    "early_stop_patience": 3,
    "warmup_steps": 1000,
    "hidden_common_dim": 256,
    "class_weights": [1.0, 2.0],
    "fp16": True,
    "gradient_clip_val": 1.0,
    "reinit_layers": 2,
}


def v2(values: dict[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in values.items()}


def v3(values: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def parse(raw: Mapping[str, Any], model: type[ModelSettings] = Fusion) -> Hyperparameters:
    return parse_with_classes(raw, model, Encoder)


def parse_changed(model: type[ModelSettings] = Fusion, /, **changes: Any) -> Hyperparameters:
    """Parse the required settings with changes; `...` removes a setting."""
    return parse({key: value for key, value in {**REQUIRED, **changes}.items() if value is not ...}, model)


def parse_error(model: type[ModelSettings] = Fusion, /, **changes: Any) -> str:
    with pytest.raises(HyperparametersError) as error:
        parse_changed(model, **changes)
    return str(error.value)


def test_names_of_other_trainers_lead_to_settings_that_there_are() -> None:
    assert set(NAMES_ELSEWHERE.values()) <= JobSettings.model_fields.keys()
    assert not NAMES_ELSEWHERE.keys() & JobSettings.model_fields.keys()


@pytest.mark.parametrize("encode", [v2, v3, dict, lambda values: v2(v2(values))])
def test_every_key_of_the_contract_means_what_it_says_in_every_encoding(encode: Any) -> None:
    found = parse(encode(CONTRACT)).as_flat_dict()
    assert {key: found[key] for key in CONTRACT} == CONTRACT


TEXTS = st.text(min_size=1).filter(lambda text: text.strip() and text not in ("null", "None"))


@settings(max_examples=35, deadline=None)
@given(
    id_name=TEXTS.filter(lambda t: not t.lstrip().startswith('"')),
    label_name=st.sampled_from(["007", "1e5", "True", "[a]", "nan"]),
    lr=st.floats(1e-9, 1, exclude_min=True),
    batch_size=st.integers(1, 1000),
    fp16=st.none() | st.booleans(),
    weights=st.none() | st.lists(st.floats(0.5, 9), min_size=2, max_size=2),
    classes=st.none() | st.just(["a", "b"]) | st.just([1, 0]) | st.just(["1", "0"]),
    gate=st.floats(0, 1),
)
def test_both_encodings_and_native_json_give_the_same_settings_and_so_does_a_round_trip(**values: Any) -> None:
    weights, lr = values.pop("weights"), values.pop("lr")
    whole = {**REQUIRED, **values, "class_weights": weights, "lr": lr, "text_name": "a text", "tab_field_list": ["t 1"]}
    if len({whole["id_name"], whole["label_name"], "a text", "t 1"}) < 4:
        return
    found = [parse(e) for e in (v2(whole), v3(whole), whole)]
    assert found[0] == found[1] == found[2]
    assert found[0].job.id_name == whole["id_name"]
    assert found[0].job.label_name == whole["label_name"]
    again = parse(found[0].as_flat_dict())
    assert (again.job, again.model, again.encoder) == (found[0].job, found[0].model, found[0].encoder)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9).map(lambda text: f"c{text}")
ANY_SETTINGS = st.fixed_dictionaries(
    {"num_classes": st.just(3)},
    optional={
        "text_name": NAMES | st.lists(NAMES, min_size=1, max_size=3, unique=True),
        "cat_field_list": st.lists(NAMES, max_size=3, unique=True),
        "classes": st.lists(st.integers() | st.text(min_size=1), min_size=3, max_size=3, unique_by=str),
        "text_processing_steps": st.lists(st.sampled_from(["html_normalizer", "emoji_remover"])),
        "max_total_chunks": st.none() | st.integers(1, 10**6),
        "max_sen_len": st.integers(4, 10**6),
        "seed": st.integers(0, 2**32 - 1),
        "optimizer": st.sampled_from(["adamw", "adam", "sgd"]),
        "precision": st.sampled_from(["auto", "32", "bf16", "fp16"]),
        "warmup_steps": st.none() | st.integers(0, 10**6),
        "weight_decay": st.floats(0, 1),
        "gradient_clip_val": st.floats(0, 1e300) | st.integers(0, 10**6),
        "early_stop_metric": st.sampled_from(["val_loss", "val/auroc", "val/log_loss"]),
        "hidden_common_dim": st.integers(1, 65_536),
        "reinit_layers": st.integers(0, 12),
        "warm": st.booleans(),
    },
)


@settings(max_examples=35, deadline=None)
@given(ANY_SETTINGS)
def test_any_settings_come_through_every_encoding_and_the_saved_file(values: dict[str, Any]) -> None:
    whole = {**REQUIRED, "id_name": "id", "text_name": "text", "tab_field_list": ["number"], **values}
    text = whole["text_name"]
    columns = [text] if isinstance(text, str) else text
    if set(columns) & set(whole.get("cat_field_list", [])):
        return
    native = parse(whole)
    written = json.loads(json.dumps(native.as_flat_dict()))
    for again in (v2(whole), v3(whole), written, v2(written), v3(written)):
        assert parse(again) == native
    for key, value in values.items():
        assert written[key] == value


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        # the table of shared/sagemaker.md: version 2 and the AWS containers, version 3, boto3
        ("tokenizer", '"bert"', "bert"),
        ("tokenizer", "bert", "bert"),
        ("fp16", "true", True),
        ("tokenizer", '"null"', "their-tokenizer"),
        ("cat_field_list", '["1.0", "f 2"]', ["1.0", "f 2"]),
        ("id_name", '"\\"007\\""', "007"),
        ("id_name", 7, "7"),
        ("fp16", '"True"', True),
        ("fp16", '"\\"true\\""', True),
        ("fp16", True, True),
        ("class_weights", '"[1.0, 2.0]"', [1.0, 2.0]),
        ("lr", 1, 1.0),
        ("lr", "null", None),
        ("batch_size", "3e1", 30),
        ("batch_size", 32.0, 32),
        ("batch_size", "None", 32),
        ("text_name", "[a]", "[a]"),
        ("text_name", "null", None),
        ("cat_field_list", "[1, 2]", ["1", "2"]),
        ("classes", '["1", "0"]', ["1", "0"]),
        ("classes", "[true, false]", [True, False]),
        ("precision", "16-mixed", "fp16"),
        ("precision", "BF16-mixed", "bf16"),
        ("precision", "32-true", "32"),
        ("precision", "16", "fp16"),
        ("early_stop_metric", "AUROC", "val/auroc"),
        ("text_processing_steps", "['HTML_normalizer']", ["html_normalizer"]),
        ("text_processing_steps", "[]", []),
        ("max_total_chunks", None, None),
        ("id_name", "007", "007"),
        ("id_name", '"007"', "007"),
        ("id_name", "1e5", "1e5"),
        ("text_name", '["a", "b"]', ["a", "b"]),
        ("text_name", '"[a"', "[a"),
        ("fp16", "True", True),
        ("fp16", "FALSE", False),
        ("fp16", "null", None),
        ("batch_size", "32", 32),
        ("batch_size", "32.0", 32),
        ("lr", "2e-05", 2e-5),
        ("lr", "None", None),
        ("class_weights", "[1.0, 2]", [1.0, 2.0]),
        ("class_weights", "(1.0, 2.0)", [1.0, 2.0]),
        ("cat_field_list", "['a', 'b']", ["a", "b"]),
        ("optimizer", "AdamW", "adamw"),
        ("optimizer", '"SGD"', "sgd"),
        ("precision", 32, "32"),
        ("precision", "bf16-mixed", "bf16"),
        ("max_total_chunks", "null", None),
        ("batch_size", "null", 32),
        ("early_stop_metric", "val_auroc", "val/auroc"),
        ("early_stop_metric", "val/f1_score", "val/f1_score"),
        ("early_stop_metric", "val_loss", "val_loss"),
    ],
)
def test_a_value_is_decoded_by_the_declared_type_of_its_field(key: str, given: Any, meant: Any) -> None:
    found = getattr(parse_changed(TableOrText, **{key: given}).job, key)
    assert found == meant
    assert type(found) is type(meant)


def test_each_key_goes_to_every_class_that_declares_it() -> None:
    found = parse_changed(gate="0.25", reinit_layers="3", hidden_common_dim="8", warm="true")
    assert (found.model.gate, found.model.hidden_common_dim) == (0.25, 8)  # type: ignore[attr-defined]
    assert found.encoder == Encoder(reinit_layers=3, warm=True)


def test_the_encoder_brings_its_tokenizer_where_none_is_given() -> None:
    assert parse_changed().job.tokenizer == "their-tokenizer"
    assert parse_changed(tokenizer="mine").job.tokenizer == "mine"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"btach_size": 3}, ["btach_size", "write batch_size"]),
        ({"learning_rate": 1e-4}, ["learning_rate", "write lr,"]),
        ({"lerning_rate": 1e-4}, ["lerning_rate", "write lr,"]),
        ({"reinit_layer": 3}, ["reinit_layer", "write reinit_layers"]),
        ({"batch_size": 0}, ["batch_size = 0", "whole number from 1 to 65536"]),
        ({"batch_size": "many"}, ['batch_size = "many"', "whole number"]),
        ({"batch_size": 2.5}, ["batch_size = 2.5"]),
        ({"batch_size": True}, ["batch_size = true", "whole number"]),
        ({"batch_size": "1e999"}, ["batch_size", "NaN and Infinity"]),
        ({"lr": "true"}, ["lr = true", "a number above 0"]),
        ({"lr": 10**400}, ["lr", "NaN and Infinity"]),
        ({"lr": "-Infinity"}, ["lr", "NaN and Infinity"]),
        ({"is_binary": "yes"}, ["is_binary", "true or false"]),
        ({"class_weights": "[nan, 1.0]"}, ["class_weights", "NaN and Infinity"]),
        ({"class_weights": ["a", 1.0]}, ["class_weights", 'its item 1, "a"', "numbers"]),
        ({"class_weights": "1.0, 2.0"}, ["class_weights", "not a list", "[1.0, 2.0]"]),
        ({"class_weights": 1.0}, ["class_weights = 1.0", "not a list"]),
        ({"class_weights": "[0, 0]"}, ["class_weights", "every weight is 0"]),
        ({"class_weights": "[" * 900 + "]" * 900}, ["class_weights", "nested too deeply"]),
        ({"class_weights": "[" * 9000}, ["class_weights", "not a list"]),
        ({"cat_field_list": "a"}, ["cat_field_list", 'write ["a"]']),
        ({"tab_field_list": ["a", ""]}, ["tab_field_list", 'its item 2, ""']),
        ({"label_name": "\ud800"}, ["label_name", "surrogate"]),
        ({"label_name": ""}, ['label_name = ""', "not empty"]),
        ({"label_name": {"a": 1}}, ["label_name", "object within the object"]),
        ({"label_name": 1.5}, ["label_name = 1.5", "a text"]),
        ({"tokenizer": "x" * 5000, "lr": -1}, ["lr = -1"]),
        ({"seed": 2**32}, ["seed", "below 4294967296"]),
        ({"cat_field_list": ["text_field"]}, ["text_field", "text_name", "cat_field_list"]),
        ({"fp16": False, "precision": "fp16"}, ["fp16 = false", "precision is fp16"]),
        ({"fp16": True, "precision": "bf16-mixed"}, ["fp16 = true", "precision is bf16"]),
        ({"zzzzqqqq": 1}, ["zzzzqqqq = 1", "remove it"]),
        ({"tab_field_list": [], "text_name": ...}, ["it needs table", "it needs text"]),
        ({"optimizer": "adagrad"}, ["optimizer", '"adamw", "adam", "sgd"']),
        ({"gate": 2}, ["gate = 2", "from 0"]),
        ({"lr": "nan"}, ["lr", "NaN"]),
        ({"class_weights": "[1.0, Infinity]"}, ["class_weights"]),
        ({"cat_field_list": "a,b"}, ["cat_field_list", 'write ["a", "b"]']),
        ({"id_name": ...}, ["id_name", "required"]),
        ({"model_class": ...}, ["model_class", "required"]),
        ({"num_classes": "null"}, ["num_classes", "required"]),
        ({"is_binary": True, "num_classes": 3}, ["is_binary = true", "num_classes is 3"]),
        ({"is_binary": False}, ["is_binary = false", "num_classes is 2"]),
        ({"class_weights": [1.0]}, ["class_weights", "length is 1"]),
        ({"class_weights": [1.0, 2.0, 3.0]}, ["class_weights", "length is 3"]),
        ({"class_weights": [1.0, -2.0]}, ["class_weights", "negative"]),
        ({"classes": ["a"]}, ["classes", "length is 1"]),
        ({"classes": [1, "1"]}, ["classes", "more than once"]),
        ({"label_name": "id"}, ["label_name", "id_name too"]),
        ({"cat_field_list": ["feature1"]}, ["feature1", "cat_field_list", "tab_field_list"]),
        ({"tab_field_list": ["a", "a"]}, ["tab_field_list", "named twice"]),
        ({"early_stop_metric": "val/aucroc"}, ["early_stop_metric", "val/auroc"]),
        ({"fp16": True, "precision": "32"}, ["fp16", "precision is 32"]),
        ({"tab_field_list": []}, ["multimodal_bert", "it needs table"]),
        ({"text_name": ...}, ["multimodal_bert", "it needs text"]),
        ({"model": {"lr": 1}}, ["model", "top level"]),
        ({"val_fraction": 0.95}, ["val_fraction = 0.95", "leaves train too little", "below 0.95"]),
        ({"val_fraction": "0.3", "test_fraction": 0.65}, ["test_fraction = 0.65", "together are 0.95"]),
        ({"val_fraction": 1.0}, ["val_fraction = 1.0", "below 1"]),
        ({"group_field": "customer"}, ['group_field = "customer"', "give one of these"]),
        ({"group_field": "target", "val_fraction": 0.1}, ['group_field = "target"', "label_name too"]),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_value_and_a_remedy(
    changes: dict[str, Any], says: list[str]
) -> None:
    message = parse_error(**changes)
    for words in says:
        assert words in message, message
    assert "Fix:" in message


def test_all_faults_of_a_file_are_reported_at_once() -> None:
    wrong = {"btach_size": 3, "lr": -1, "gate": 7, "reinit_layers": 99, "class_weights": [1.0], "header": 0}
    wrong |= {"early_stop_metric": "x", "text_name": ..., "cat_field_list": "a", "fp16": True, "precision": "32"}
    message = parse_error(**wrong)
    for key in (*(wrong.keys() - {"text_name", "precision"}), "it needs text", "precision is 32"):
        assert key in message
    assert "10 problems" in message


def test_faults_come_in_the_same_order_every_time() -> None:
    keys = [fault.split(" ")[1] for fault in parse_error(seed=-1, lr=-1, batch_size=0, gate=7).splitlines()[1:]]
    assert keys == ["batch_size", "seed", "lr", "gate"]


def test_without_a_usable_model_class_the_other_settings_of_core_are_checked_all_the_same() -> None:
    message = parse_error(model_class=..., lr=-1, label_name="id", something_of_a_plugin=1)
    for words in ("model_class: it is required", "lr = -1", "id_name too"):
        assert words in message
    assert "something_of_a_plugin" not in message  # it may be right


def test_a_text_only_model_warns_of_columns_that_it_does_not_read() -> None:
    assert "'feature1', 'feature2'" in parse_changed(TextOnly).warnings[0]
    assert parse_changed().warnings == ()


def test_what_resolve_refuses_is_reported_like_any_other_fault() -> None:
    class Choosy(Fusion):
        def resolve(self, job: JobSettings) -> Choosy:
            raise SettingError("gate", self.gate, "it cannot work here", "choose another")

    assert "gate = 0.5: it cannot work here. Fix: choose another." in parse_error(Choosy)


def test_train_may_be_divided_in_whole_groups_of_any_column_but_the_label() -> None:
    job = parse_changed(val_fraction="0.44", test_fraction=0.5, group_field="customer").job
    assert (job.val_fraction, job.test_fraction, job.group_field) == (0.44, 0.5, "customer")
    for column in ("id", "feature1", "text_field"):
        assert parse_changed(test_fraction=0.1, group_field=column).job.group_field == column


def test_where_a_fraction_has_a_fault_of_its_own_nothing_more_is_said_of_the_group() -> None:
    message = parse_error(group_field="customer", val_fraction=-1)
    assert "val_fraction = -1" in message
    assert "group_field" not in message


def test_a_warm_up_must_end_before_the_training_does() -> None:
    job = parse_changed(warmup_steps=10).job
    check_warmup(job, 11)
    with pytest.raises(HyperparametersError, match="only 10 steps"):
        check_warmup(job, 10)


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ({"chunk_trancate": "true"}, {"max_total_chunks": 10}),
        ({"chunk_trancate": False}, {"max_total_chunks": None}),
        ({"categorical_features_to_encode": '["c"]', "cat_field_list": ["a"]}, {"cat_field_list": ["a", "c"]}),
        ({"multiclass_categories": "[1, 0]"}, {"classes": [1, 0]}),
        ({"run_scheduler": "false"}, {"schedule": "constant"}),
        ({"pretrained_embedding": False}, {"embeddings": "random"}),
        ({"count_threshold": 0}, {"min_category_count": 1}),
        ({"metric_choices": ["auroc", "f1_score"]}, {}),
        (
            {"text_processing_steps": '["dialogue_splitter", "dialogue_chunker", "tokenizer"]'},
            {"text_processing_steps": ["dialogue_splitter"]},
        ),
    ],
)
def test_the_predecessors_names_stay_valid_with_a_warning(old: dict[str, Any], now: dict[str, Any]) -> None:
    found = parse_changed(**old)
    assert {key: getattr(found.job, key) for key in now} == now
    assert any(next(iter(old)) in warning for warning in found.warnings)


def test_dropout_keep_and_bimodal_names_are_translated() -> None:
    raw = {**REQUIRED, "model_class": "bimodal_bert", "dropout_keep": "0.3"}
    assert parse_model_class(raw) == "multimodal_bert"
    found = parse(raw)
    assert found.job.model_class == "multimodal_bert"
    assert found.model.dropout == 0.3  # type: ignore[attr-defined]
    assert len(found.warnings) == 2


@pytest.mark.parametrize("key", sorted(WITHOUT_MEANING))
def test_the_predecessors_names_that_mean_nothing_are_refused_with_the_reason(key: str) -> None:
    assert WITHOUT_MEANING[key] in parse_error(**{key: "0"})
    assert "remove it" in parse_error(**{key: "0"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"multiclass_categories": [0, 1], "classes": [1, 0]}, "it means classes = [0, 1], but classes is [1, 0]"),
        ({"run_scheduler": True, "schedule": "constant"}, 'it means schedule = "linear"'),
        ({"dropout_keep": 0.3, "dropout": "0.1"}, "it means dropout = 0.3"),
        ({"chunk_trancate": False, "max_total_chunks": 5}, "it means max_total_chunks = null"),
        ({"chunk_trancate": True, "max_total_chunks": "null"}, "no cap"),
        ({"run_scheduler": "sometimes"}, "not true or false"),
        ({"chunk_trancate": 3}, "not true or false"),
        ({"categorical_features_to_encode": "a"}, "not a list of columns"),
        ({"metric_choices": '["auroc", "acuracy"]'}, "acuracy"),
        ({"metric_choices": 5}, "not a list of metrics"),
        ({"dropout_keep": 7}, "dropout = 7"),
    ],
)
def test_an_old_name_with_a_value_that_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    assert says in parse_error(**changes)


def test_an_old_and_a_new_name_that_agree_are_accepted() -> None:
    found = parse_changed(run_scheduler="false", schedule='"Constant"', chunk_trancate="false", max_total_chunks="null")
    assert (found.job.schedule, found.job.max_total_chunks) == ("constant", None)
    assert len(found.warnings) == 2


def test_null_under_an_old_name_counts_as_not_given() -> None:
    assert parse_changed(run_scheduler="null", multiclass_categories=None, chunk_trancate="None") == parse_changed()


def test_a_plugin_may_have_a_name_of_the_predecessors_for_itself() -> None:
    class Own(Fusion):
        embed_size: int = 3
        dropout_keep: float = 0.5

    found = parse_changed(Own, embed_size="7", dropout_keep=0.9)
    assert (found.model.embed_size, found.model.dropout_keep, found.model.dropout) == (7, 0.9, 0.1)  # type: ignore[attr-defined]
    assert found.warnings == ()


# --- what plugins declare


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


def test_a_model_that_needs_nothing_must_still_be_given_something() -> None:
    assert "it needs table or text" in parse_error(TableOrText, text_name=..., tab_field_list=[])


def test_a_type_of_the_plugins_own_is_decoded_and_its_validators_reason_is_reported() -> None:
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
    for encode in (dict, v2):
        model: Any = parse_changed(Own, **encode(given)).model
        assert (model.side, model.sizes, model.config, model.depth) == (Side.RIGHT, (2, 3), {"a": [1]}, "auto")
    assert parse_changed(Own, depth="3").model.depth == 3  # type: ignore[attr-defined]
    assert "gate = 0.1: a tenth is too little" in parse_error(Own, gate=0.1)


def test_a_name_that_two_classes_declare_keeps_each_ones_default_through_a_round_trip() -> None:
    class Shared(Fusion):
        warm: bool = True

    apart, given = parse_changed(Shared), parse_changed(Shared, warm="true")
    for found in (apart, given):
        again = parse(found.as_flat_dict(), Shared)
        assert (again.job, again.model, again.encoder) == (found.job, found.model, found.encoder)
    assert apart.encoder != given.encoder


def test_a_name_that_two_classes_resolve_to_different_values_is_refused() -> None:
    class Shared(Fusion):
        warm: bool = False

        def resolve(self, job: JobSettings) -> Shared:
            return self.model_copy(update={"warm": True})

    assert "warm: one name would stand for two values" in parse_error(Shared)


# --- where they are read from


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_the_main_file_goes_before_the_channel_and_the_code_counts_only_without_both(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.code_hyperparameters, '{"lr": 3}')
    assert read_hyperparameters(paths) == {"lr": 3}
    write(paths.channel_hyperparameters, '{"lr": 2, "seed": 5}')
    assert read_hyperparameters(paths) == {"lr": 2, "seed": 5}
    write(paths.hyperparameters, '{"lr": "1", "sagemaker_program": "x", "_tuning_objective_metric": "y"}')
    assert read_hyperparameters(paths) == {"lr": "1", "seed": 5}


def test_without_any_file_the_three_places_are_named(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    with pytest.raises(HyperparametersError) as error:
        read_hyperparameters(paths)
    for path in (paths.hyperparameters, paths.channel_hyperparameters, paths.code_hyperparameters):
        assert str(path) in str(error.value)


def test_a_main_file_that_holds_nothing_but_sagemakers_own_keys_is_empty(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.hyperparameters, '{"sagemaker_program": "train.py", "_tuning_objective_metric": "x"}')
    with pytest.raises(HyperparametersError):
        read_hyperparameters(paths)
    write(paths.code_hyperparameters, '{"lr": 3}')
    assert read_hyperparameters(paths) == {"lr": 3}


def test_a_byte_order_mark_is_no_part_of_the_file_and_another_encoding_is_named(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.hyperparameters, '\ufeff{"id_name": "é"}')
    assert read_hyperparameters(paths) == {"id_name": "é"}
    paths.hyperparameters.write_bytes('{"lr": 1}'.encode("utf-16"))
    with pytest.raises(HyperparametersError, match="UTF-8"):
        read_hyperparameters(paths)


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    paths.hyperparameters.mkdir(parents=True)
    with pytest.raises(HyperparametersError, match=r"hyperparameters\.json: it cannot be read"):
        read_hyperparameters(paths)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": 1,\n "b": }', "line 2 column 7"),
        ('{"fine": 1, "lr": [1e999]}', "lr = [Infinity]"),
        (f'{{"a": {"1" * 5000}}}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": 1,}', "line 1 column"),
        ("[1]", "not an object"),
        ('{"a": 1, "a": 2}', "more than once"),
        ('{"a": NaN}', "NaN"),
        ("", "not JSON"),
    ],
)
def test_a_file_that_is_no_flat_json_object_is_named(tmp_path: Path, content: str, says: str) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.hyperparameters, content)
    with pytest.raises(HyperparametersError) as error:
        read_hyperparameters(paths)
    assert says in str(error.value)
    assert str(paths.hyperparameters) in str(error.value)
