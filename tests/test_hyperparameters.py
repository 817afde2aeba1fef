"""hyperparameters.json: decoding by declared type, checks alone and together, the predecessor's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from fusionzoo.errors import HyperparametersError, SettingFault
from fusionzoo.hyperparameters import Hyperparameters, check_warmup, parse, read
from fusionzoo.sagemaker import Paths
from fusionzoo.settings import FusionSettings, JobSettings, ModelSettings


class Encoder(ModelSettings):
    needs = reads = frozenset({"text"})
    default_tokenizer = "their-tokenizer"
    reinit_layers: int = Field(0, ge=0, le=12)
    warm: bool = False


class Fusion(FusionSettings):
    gate: float = Field(0.5, ge=0, le=1)


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


def parsed(model: type[ModelSettings] = Fusion, /, **changes: Any) -> Hyperparameters:
    raw = {key: value for key, value in {**REQUIRED, **changes}.items() if value is not ...}
    return parse(raw, lambda name: model, lambda name: Encoder)


def refused(model: type[ModelSettings] = Fusion, /, **changes: Any) -> str:
    with pytest.raises(HyperparametersError) as error:
        parsed(model, **changes)
    return str(error.value)


@pytest.mark.parametrize("encode", [v2, v3, dict, lambda values: v2(v2(values))])
def test_every_key_of_the_contract_means_what_it_says_in_every_encoding(encode: Any) -> None:
    found = parse(encode(CONTRACT), lambda name: Fusion, lambda name: Encoder).as_flat_dict()
    assert {key: found[key] for key in CONTRACT} == CONTRACT


TEXTS = st.text(min_size=1).filter(lambda text: text.strip() and text not in ("null", "None"))


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
    found = [parse(e, lambda name: Fusion, lambda name: Encoder) for e in (v2(whole), v3(whole), whole)]
    assert found[0] == found[1] == found[2]
    assert found[0].job.id_name == whole["id_name"]
    assert found[0].job.label_name == whole["label_name"]
    again = parse(found[0].as_flat_dict(), lambda name: Fusion, lambda name: Encoder)
    assert (again.job, again.model, again.encoder) == (found[0].job, found[0].model, found[0].encoder)


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
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
    assert getattr(parsed(**{key: given}).job, key) == meant


def test_each_key_goes_to_every_class_that_declares_it() -> None:
    found = parsed(gate="0.25", reinit_layers="3", hidden_common_dim="8", warm="true")
    assert (found.model.gate, found.model.hidden_common_dim) == (0.25, 8)  # type: ignore[attr-defined]
    assert found.encoder == Encoder(reinit_layers=3, warm=True)


def test_the_encoder_brings_its_tokenizer_where_none_is_given() -> None:
    assert parsed().job.tokenizer == "their-tokenizer"
    assert parsed(tokenizer="mine").job.tokenizer == "mine"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"btach_size": 3}, ["btach_size", "write batch_size"]),
        ({"reinit_layer": 3}, ["reinit_layer", "write reinit_layers"]),
        ({"batch_size": 0}, ["batch_size = 0", "whole number from 1 to 65536"]),
        ({"batch_size": "many"}, ['batch_size = "many"', "whole number"]),
        ({"batch_size": 2.5}, ["batch_size = 2.5"]),
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
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_value_and_a_remedy(
    changes: dict[str, Any], says: list[str]
) -> None:
    message = refused(**changes)
    for words in says:
        assert words in message, message
    assert "Fix:" in message


def test_all_faults_of_a_file_are_reported_at_once() -> None:
    message = refused(btach_size=3, lr=-1, gate=7, reinit_layers=99, class_weights=[1.0], early_stop_metric="x")
    for key in ("btach_size", "lr", "gate", "reinit_layers"):
        assert key in message


def test_a_text_only_model_warns_of_columns_that_it_does_not_read() -> None:
    assert "'feature1', 'feature2'" in parsed(TextOnly).warnings[0]
    assert parsed().warnings == ()


def test_what_resolve_refuses_is_reported_like_any_other_fault() -> None:
    class Choosy(Fusion):
        def resolve(self, job: JobSettings) -> Choosy:
            raise SettingFault("gate", self.gate, "it cannot work here", "choose another")

    assert "gate = 0.5: it cannot work here. Fix: choose another." in refused(Choosy)


def test_a_warm_up_must_end_before_the_training_does() -> None:
    job = parsed(warmup_steps=10).job
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
    found = parsed(**old)
    assert {key: getattr(found.job, key) for key in now} == now
    assert any(next(iter(old)) in warning for warning in found.warnings)


def test_dropout_keep_and_bimodal_names_are_translated() -> None:
    asked: list[str] = []

    def load(name: str) -> type[ModelSettings]:
        asked.append(name)
        return Fusion

    found = parse({**REQUIRED, "model_class": "bimodal_bert", "dropout_keep": "0.3"}, load, lambda name: Encoder)
    assert asked == ["multimodal_bert"]
    assert found.model.dropout == 0.3  # type: ignore[attr-defined]
    assert len(found.warnings) == 2


@pytest.mark.parametrize("key", ["header", "full_field_list", "input_tab_dim", "smooth_factor", "lr_decay", "device"])
def test_the_predecessors_names_that_mean_nothing_are_refused_with_the_reason(key: str) -> None:
    assert key in refused(**{key: "0"})
    assert "remove it" in refused(**{key: "0"})


def test_an_old_and_a_new_name_that_differ_are_refused() -> None:
    assert "multiclass_categories" in refused(multiclass_categories=[0, 1], classes=[1, 0])


# --- where they are read from


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_the_main_file_goes_before_the_channel_and_the_code_counts_only_without_both(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.code_hyperparameters, '{"lr": 3}')
    assert read(paths) == {"lr": 3}
    write(paths.channel_hyperparameters, '{"lr": 2, "seed": 5}')
    assert read(paths) == {"lr": 2, "seed": 5}
    write(paths.hyperparameters, '{"lr": "1", "sagemaker_program": "x", "_tuning_objective_metric": "y"}')
    assert read(paths) == {"lr": "1", "seed": 5}


def test_without_any_file_the_three_places_are_named(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    with pytest.raises(HyperparametersError) as error:
        read(paths)
    for path in (paths.hyperparameters, paths.channel_hyperparameters, paths.code_hyperparameters):
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
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
        read(paths)
    assert says in str(error.value)
    assert str(paths.hyperparameters) in str(error.value)
