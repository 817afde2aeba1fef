"""Hyperparameters in SageMaker's two encodings are decoded by the declared type of each setting."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.errors import HyperparametersError
from parsing_helpers import (
    CONTRACT,
    REQUIRED,
    Encoder,
    TableOrText,
    encode_v2,
    encode_v3,
    parse,
    parse_changed,
)


@pytest.mark.parametrize("encode", [encode_v2, encode_v3, dict, lambda values: encode_v2(encode_v2(values))])
def test_every_key_of_the_contract_has_the_same_value_in_every_encoding(encode: Any) -> None:
    found = parse(encode(CONTRACT)).as_flat_dict()
    assert {key: found[key] for key in CONTRACT} == CONTRACT


@pytest.mark.parametrize("encode", [encode_v2, encode_v3, dict])
@pytest.mark.parametrize("key", ["HyperParameters", "hyperparameters"])
def test_settings_inside_of_an_object_are_an_error_that_says_so(encode: Any, key: str) -> None:
    with pytest.raises(HyperparametersError) as error:
        parse(encode({key: CONTRACT}))
    assert str(error.value).count("\n- ") == 1
    assert f"write the settings at the top level of the file, without '{key}'" in str(error.value)


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
def test_both_encodings_native_json_and_a_round_trip_give_the_same_settings(**values: Any) -> None:
    weights, lr = values.pop("weights"), values.pop("lr")
    whole = {**REQUIRED, **values, "class_weights": weights, "lr": lr, "text_name": "a text", "tab_field_list": ["t 1"]}
    if len({whole["id_name"], whole["label_name"], "a text", "t 1"}) < 4:
        return
    found = [parse(e) for e in (encode_v2(whole), encode_v3(whole), whole)]
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
        "gradient_clip_val": st.floats(0, 1e9) | st.integers(0, 10**6),
        "early_stop_metric": st.sampled_from(["val_loss", "val/auroc", "val/log_loss"]),
        "hidden_common_dim": st.integers(1, 65_536),
        "reinit_layers": st.integers(0, 12),
        "warm": st.booleans(),
    },
)


@settings(max_examples=35, deadline=None)
@given(ANY_SETTINGS)
def test_any_settings_are_preserved_by_every_encoding_and_by_the_saved_file(values: dict[str, Any]) -> None:
    whole = {**REQUIRED, "id_name": "id", "text_name": "text", "tab_field_list": ["number"], **values}
    text = whole["text_name"]
    columns = [text] if isinstance(text, str) else text
    if set(columns) & set(whole.get("cat_field_list", [])):
        return
    native = parse(whole)
    written = json.loads(json.dumps(native.as_flat_dict()))
    for again in (encode_v2(whole), encode_v3(whole), written, encode_v2(written), encode_v3(written)):
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


def test_each_key_is_passed_to_every_class_that_declares_it() -> None:
    found = parse_changed(gate="0.25", reinit_layers="3", hidden_common_dim="8", warm="true")
    assert (found.model.gate, found.model.hidden_common_dim) == (0.25, 8)  # type: ignore[attr-defined]
    assert found.encoder == Encoder(reinit_layers=3, warm=True)


def test_the_default_tokenizer_is_the_text_encoders() -> None:
    assert parse_changed().job.tokenizer == "their-tokenizer"
    assert parse_changed(tokenizer="mine").job.tokenizer == "mine"
