"""Values of a column that differ only in outer spaces, case or Unicode form: one warning per column."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

import pandas as pd
import pytest

from data_helpers import SETTINGS, make_rows
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.similar_values import MAX_COMPARED, warn_of_similar_values
from shop import shop_rows

DECOMPOSED = unicodedata.normalize("NFD", "Köln")


@pytest.mark.parametrize(
    ("rare", "frequent", "shown"),
    [
        ("late ", "late", "'late ' (1 row) and 'late' (7 rows)"),
        ("\u00a0late", "late", r"'\xa0late' (1 row)"),
        ("LATE", "late", "'LATE' (1 row)"),
        ("STRASSE", "Straße", r"'STRASSE' (1 row) and 'Stra\xdfe' (7 rows)"),
        (DECOMPOSED, "Köln", r"'Ko\u0308ln' (1 row) and 'K\xf6ln' (7 rows)"),
        ("x" * 50 + " ", "x" * 50, "xxx ' (1 row)"),
    ],
)
def test_the_warning_shows_both_values_with_their_counts(rare: str, frequent: str, shown: str) -> None:
    (warning,) = warn_of_similar_values("c", "class", {rare: 1, "other": 3, frequent: 7})
    assert shown in warning
    assert "Column 'c'" in warning


def test_several_values_are_one_warning_with_their_number() -> None:
    (warning,) = warn_of_similar_values("c", "category", {"a": 3, "A": 2, "a ": 1, "b": 1, "B": 1, "c": 1})
    assert "'A' (2 rows) and 'a' (3 rows)" in warning
    assert "In total, 3 values" in warning


@pytest.mark.parametrize("values", [["a", "b"], ["a b", "ab"], ["007", "7"], ["a", "á"], []])
def test_values_that_differ_in_other_ways_are_no_warning(values: list[str]) -> None:
    assert warn_of_similar_values("c", "class", dict.fromkeys(values, 1)) == []


def test_many_values_take_little_time_and_more_are_not_compared() -> None:
    values = {f"väl {i}": 1 for i in range(MAX_COMPARED)}
    start = time.process_time()
    assert warn_of_similar_values("c", "category", values) == []
    assert time.process_time() - start < 5  # measured: 0.5 s
    assert warn_of_similar_values("c", "category", {**values, "VÄL 1": 1}) == []


def fit_warnings(frame: pd.DataFrame, **changes: Any) -> list[str]:
    settings = SETTINGS.model_copy(update=changes)
    return [w for w in fit_preprocessor(settings, [make_rows(frame)]).warnings if "differ only" in w]


def test_data_preparation_warns_of_categories_and_labels() -> None:
    frame = shop_rows(60, classes=("a", "b"))
    assert fit_warnings(frame) == []
    frame.loc[::7, "country"] = "DE"
    (warning,) = fit_warnings(frame)
    assert "Column 'country'" in warning
    assert "a category of its own" in warning
    frame.loc[::5, "target"] = "a "
    warnings = fit_warnings(frame, num_classes=3)
    assert [("'target'" in w, "a class of its own" in w) for w in warnings] == [(True, True), (False, False)]


def test_data_preparation_warns_of_labels_in_lists() -> None:
    frame = shop_rows(60)
    frame["target"] = ['["late ", "rude"]' if i % 9 == 0 else '["late"]' if i % 2 else '["rude"]' for i in range(60)]
    (warning,) = fit_warnings(frame, task="multilabel", num_classes=None)
    assert "'late ' (7 rows)" in warning
    assert "a label of its own" in warning
    separated = frame.assign(target=frame["target"].str.replace(r'[\[\]"]', "", regex=True).str.replace(",", "|"))
    assert fit_warnings(separated, task="multilabel", num_classes=None, label_separator="|") == []
