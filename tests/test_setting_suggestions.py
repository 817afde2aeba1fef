"""An unknown setting gets a suggestion: a synonym, a similar name, or a role that no setting of the file has."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from fusionzoo.errors.setting_errors import unknown_setting
from fusionzoo.errors.setting_synonyms import COLUMN_ROLES, SYNONYMS, suggest_settings
from fusionzoo.settings import FusionSettings, JobSettings
from parsing_helpers import parse_error

KNOWN = JobSettings.model_fields.keys() | FusionSettings.model_fields.keys()
ENCODER_SETTINGS = {"encoder_name", "freeze_text_encoder"}


def test_synonyms_belong_to_one_existing_setting_and_are_not_settings_themselves() -> None:
    synonyms = Counter(word for words in SYNONYMS.values() for word in words.split())
    assert [word for word, count in synonyms.items() if count > 1] == []
    assert SYNONYMS.keys() - ENCODER_SETTINGS <= KNOWN
    assert COLUMN_ROLES.keys() <= KNOWN
    assert not synonyms.keys() & KNOWN


@pytest.mark.parametrize(
    ("key", "value", "setting"),
    [
        *((key, "churn", "label_name") for key in ("label", "target", "y", "label_column", "labelCol", "Target Name")),
        *((key, "churn", "label_name") for key in ("TARGET", "label-field", "target_field", "labels", "outcome")),
        ("labels", ["no", "yes"], "classes"),
        ("class_names", ["no", "yes"], "classes"),
        *((key, ["title"], "text_name") for key in ("text_columns", "text", "textColumns", "text_cols", "text_fields")),
        ("text_field", "title", "text_name"),
        *((key, "id", "id_name") for key in ("id", "id_column", "id_field", "row_id", "idCol")),
        *((key, ["a"], "cat_field_list") for key in ("categorical_columns", "cat_cols", "categories", "catFeatures")),
        *((key, ["a"], "tab_field_list") for key in ("numerical_features", "numeric_cols", "num_features", "tab_cols")),
        ("continuous_columns", ["a"], "tab_field_list"),
        ("num_labels", 2, "num_classes"),
        ("n_classes", 2, "num_classes"),
        ("learning_rate", 1e-4, "lr"),
        ("learningRate", 1e-4, "lr"),
        ("lerning_rate", 1e-4, "lr"),
        ("epochs", 3, "max_epochs"),
        ("validation_split", 0.1, "val_fraction"),
        ("class_weight", {"a": 2}, "class_weights"),
        ("batchsize", 32, "batch_size"),
        ("max_epoch", 3, "max_epochs"),
        ("hidden_size", 64, "hidden_common_dim"),
        ("model", "bert", "model_class"),
    ],
)
def test_the_suggestion_is_the_setting_that_the_user_meant(key: str, value: Any, setting: str) -> None:
    assert suggest_settings(key, value, KNOWN) == [setting]
    assert unknown_setting(key, value, KNOWN).fix == f"write {setting}, or remove {key}"


def test_a_setting_that_this_job_does_not_have_is_not_suggested() -> None:
    assert suggest_settings("pretrained_model_name_or_path", "x", KNOWN) == []
    assert suggest_settings("pretrained_model_name_or_path", "x", KNOWN | ENCODER_SETTINGS) == ["encoder_name"]


@pytest.mark.parametrize("encode", [json.dumps, lambda value: value])
def test_a_column_under_an_unknown_name_is_suggested_for_the_roles_that_are_absent(encode: Any) -> None:
    message = parse_error(xq=encode("churn"), label_name=...)
    assert "if it names columns, write label_name (the label column); otherwise remove xq" in message
    message = parse_error(xq=encode(["a", "b"]), tab_field_list=...)
    assert "write cat_field_list (categorical columns) or tab_field_list (numeric columns)" in message
    assert "Fix: remove xq." in parse_error(xq=encode(7), label_name=...)


def test_settings_in_a_nested_object_are_an_error() -> None:
    assert unknown_setting("model", {"lr": 1}, KNOWN).fix == "write its keys at the top level of the file"
