"""Missing, unknown and clipped values of a split are counted per column, and cause a warning above a threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from data_helpers import SETTINGS
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.rows import rows_from_records
from fusionzoo.data.split_report import SplitReport, report_split, warn_of_shares
from shop import shop_rows

TRAIN = shop_rows(200)


def fit(frame: pd.DataFrame, **changes: Any) -> tuple[Preprocessor, tuple[str, ...]]:
    rows = rows_from_records(frame.to_dict("records"), SETTINGS.columns)
    result = fit_preprocessor(SETTINGS.model_copy(update=changes), [rows])
    return result.preprocessor, result.warnings


def report(preprocessor: Preprocessor, frame: pd.DataFrame) -> SplitReport:
    rows = rows_from_records(frame.to_dict("records"), SETTINGS.columns)
    return report_split(preprocessor.encode([rows], "val"), preprocessor)


def warnings(val: pd.DataFrame, train: pd.DataFrame = TRAIN, **changes: Any) -> list[str]:
    preprocessor, _ = fit(train, **changes)
    return list(warn_of_shares("val", report(preprocessor, val), report(preprocessor, train)))


def test_shares_are_counted_per_column() -> None:
    preprocessor, _ = fit(TRAIN)
    val = shop_rows(10, 1).assign(
        country=["de", "fr", "DE", None, "de", "de", "de", "de", "de", "de"],
        price=[1.0, 1e25, None, None, 1, 1, 1, 1, 1, -1e30],
        visits=1.0,
        message=["order was fine", "fine zzz", None, *["order"] * 7],
    )
    result = report(preprocessor, val)
    assert result.as_json() == {
        "categories": {"country": {"missing": 0.1, "unknown": pytest.approx(1 / 9)}},
        "numbers": {"price": {"missing": 0.2, "clipped": 0.25}, "visits": {"missing": 0.0, "clipped": 0.0}},
        "text": {"missing": 0.1, "unknown_tokens": pytest.approx(1 / 12), "dropped_tokens": 0.0},
    }


def test_a_split_like_train_causes_no_warning() -> None:
    assert warnings(shop_rows(100, 1)) == []


@pytest.mark.parametrize("change", [str.upper, lambda value: f"{value} ", lambda value: f"x{value}"])
def test_categories_with_another_spelling_than_train_cause_a_warning(change: Callable[[str], str]) -> None:
    val = shop_rows(100, 1)
    val["country"] = [change(value) if isinstance(value, str) else value for value in val["country"]]
    (warning,) = warnings(val)
    assert warning.startswith("val: 100.0% of the values of category column 'country' are UNKNOWN")


@pytest.mark.parametrize("text", ["rouge bleu petit grand", "สินค้าดีมากค่ะ", "ORDERWASFINE"])
def test_texts_of_unknown_words_cause_a_warning(text: str) -> None:
    (warning,) = warnings(shop_rows(100, 1).assign(message=text))
    assert warning.startswith("val: 100.0% of the tokens are unknown")


@pytest.mark.parametrize("column", ["country", "price", "visits", "message"])
def test_a_column_that_is_missing_in_val_but_not_in_train_causes_a_warning(column: str) -> None:
    (warning,) = warnings(shop_rows(100, 1).assign(**{column: None}))
    name = "the text" if column == "message" else f"column '{column}'"
    assert warning.startswith(f"val: 100.0% of the values of {name} are missing")
    assert warnings(TRAIN.assign(price=None), TRAIN.assign(price=None)) == []


def test_clipped_values_cause_a_warning_in_every_split() -> None:
    assert any("'price'" in warning and "clipped" in warning for warning in warnings(TRAIN.assign(price=1e9)))
    preprocessor, _ = fit(TRAIN)
    shares = report(preprocessor, TRAIN.assign(visits=1e7))
    assert any("train: 100.00%" in warning for warning in warn_of_shares("train", shares, shares))


def test_rare_categories_and_words_of_train_cause_a_warning() -> None:
    train = TRAIN.assign(country=[f"c{i}" for i in range(len(TRAIN))])
    preprocessor, _ = fit(train, word_min_count=30)
    shares = report(preprocessor, train)
    found = list(warn_of_shares("train", shares, shares))
    assert found[0].startswith("train: 100.0% of the values of category column 'country' are UNKNOWN")


def test_a_category_column_without_values_in_train_causes_a_warning_as_a_number_column_does() -> None:
    for column, kind in (("country", "Category"), ("price", "Number")):
        _, found = fit(TRAIN.assign(**{column: None}))
        assert f"{kind} column '{column}' has no value in train: the model can only use that it is missing." in found
