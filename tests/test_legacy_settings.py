"""The setting names of the predecessor: translated with a warning, or rejected with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from fusionzoo.hyperparameters import parse_model_class
from fusionzoo.hyperparameters.legacy_names import UNSUPPORTED_SETTINGS
from parsing_helpers import (
    REQUIRED,
    Fusion,
    parse,
    parse_changed,
    parse_error,
)


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
def test_legacy_names_are_accepted_with_a_warning(old: dict[str, Any], now: dict[str, Any]) -> None:
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


@pytest.mark.parametrize("key", sorted(UNSUPPORTED_SETTINGS))
def test_legacy_names_without_a_meaning_are_rejected_with_the_reason(key: str) -> None:
    assert UNSUPPORTED_SETTINGS[key] in parse_error(**{key: "0"})
    assert f"remove {key}" in parse_error(**{key: "0"})


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
def test_a_legacy_name_with_an_invalid_value_is_rejected(changes: dict[str, Any], says: str) -> None:
    assert says in parse_error(**changes)


def test_a_legacy_name_and_a_new_name_with_equal_values_are_accepted() -> None:
    found = parse_changed(run_scheduler="false", schedule='"Constant"', chunk_trancate="false", max_total_chunks="null")
    assert (found.job.schedule, found.job.max_total_chunks) == ("constant", None)
    assert len(found.warnings) == 2


def test_null_under_a_legacy_name_counts_as_not_given() -> None:
    assert parse_changed(run_scheduler="null", multiclass_categories=None, chunk_trancate="None") == parse_changed()


def test_a_plugin_may_use_a_legacy_name_for_its_own_setting() -> None:
    class Own(Fusion):
        embed_size: int = 3
        dropout_keep: float = 0.5

    found = parse_changed(Own, embed_size="7", dropout_keep=0.9)
    assert (found.model.embed_size, found.model.dropout_keep, found.model.dropout) == (7, 0.9, 0.1)  # type: ignore[attr-defined]
    assert found.warnings == ()
