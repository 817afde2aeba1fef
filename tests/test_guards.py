"""Leakage checks: leaks and columns in the wrong role cause a warning with a measured value, other columns do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.data import fit_preprocessor, leakage
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.leakage import ColumnChecks, error_reduction_of_category
from fusionzoo.data.reading.channel import open_channel

NAN = float("nan")


def find_warnings(
    labels: Sequence[object],
    categories: Mapping[str, Sequence[object]] | None = None,
    numbers: Mapping[str, Any] | None = None,
    texts: Mapping[str, Sequence[str | None]] | None = None,
    blocks: int = 1,
) -> list[str]:
    """Return the warnings about these columns, with their rows added in this many blocks."""
    columns = [
        text_arrays({"label": labels}),
        text_arrays(categories or {}),
        dict(numbers or {}),
        text_arrays(texts or {}),
    ]
    checks = ColumnChecks(
        DataSettings(
            id_name="id",
            label_name="label",
            num_classes=2,
            cat_field_list=list(columns[1]),
            tab_field_list=list(columns[2]),
            text_name=list(columns[3]) or None,
        )
    )
    ends = np.linspace(0, len(labels), blocks + 1).astype(int)
    for start, end in pairwise(ends):
        label, *others = [{name: column[start:end] for name, column in group.items()} for group in columns]
        checks.add([label["label"]], *others)
    return checks.warnings()


def text_arrays(columns: Mapping[str, Sequence[object]]) -> dict[str, Any]:
    return {name: pa.array([None if v is None else str(v) for v in c], pa.string()) for name, c in columns.items()}


def make_rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- leaks


@pytest.mark.parametrize(
    ("rows", "classes", "share"), [(60, 2, 0.5), (2000, 2, 0.01), (3000, 7, 0.2), (20_000, 400, 0)]
)
def test_a_column_that_predicts_the_label_is_named_with_its_error_reduction(
    rows: int, classes: int, share: float
) -> None:
    labels = make_rng().integers(0, classes, rows)
    if classes == 2:
        labels = (make_rng().random(rows) < share).astype(int)
    warnings = find_warnings(labels, {"status": [f"s{label}" for label in labels]}, {"refund": labels * 3.5 + 1e15})
    assert len(warnings) == 2
    assert "Column 'status' alone predicts 'label'" in warnings[0]
    assert "Column 'refund' alone predicts 'label'" in warnings[1]
    assert all("100.0%" in warning and "Leave it out" in warning for warning in warnings)


def test_the_error_reduction_is_the_share_of_errors_that_the_column_avoids() -> None:
    labels = np.repeat([0, 1], [900, 100])
    status = np.repeat([0, 1, 0], [900, 97, 3])  # 3 of 100 errors remain
    (warning,) = find_warnings(labels, {"status": status})
    assert "97.0%" in warning
    assert "1,000 rows" in warning
    assert find_warnings(labels, {"status": np.repeat([0, 1, 0], [900, 90, 10])}) == []


def test_a_column_with_missing_values_that_predict_the_label_is_named() -> None:
    labels = (make_rng().random(3000) < 0.1).astype(int)
    values = np.where(labels == 1, NAN, make_rng(1).normal(size=3000))
    warnings = find_warnings(labels, {"closed_by": [None if label else "x" for label in labels]}, {"paid": values})
    assert [warning.split("'")[1] for warning in warnings] == ["closed_by", "paid"]
    assert len(find_warnings(labels, {}, {"paid": np.where(labels == 0, NAN, 5.0)})) == 1


def test_a_number_that_predicts_the_label_in_several_ranges_is_named() -> None:
    values = make_rng().normal(size=5000)
    assert "'amount'" in find_warnings(np.abs(values) < 0.7, {}, {"amount": values})[0]


def test_numbers_that_differ_beyond_float32_precision_are_distinct() -> None:
    values = 1.7e9 + make_rng().permutation(2000) / 8  # seconds since 1970
    assert len(find_warnings(values > np.median(values), {}, {"time": values})) == 1


def test_ids_noise_and_few_rows_are_not_leaks() -> None:
    rows = 4000
    labels = (make_rng().random(rows) < 0.02).astype(int)
    ids = make_rng(1).permutation(rows)
    assert compute_reduction(labels, [str(i) for i in ids]) <= 0
    warnings = find_warnings(labels, {"noise": make_rng(2).integers(0, 5, rows)}, {"id": ids.astype(float)})
    assert warnings == []
    few = [0] * 25 + [1] * 25
    assert len(find_warnings(few, {"status": few}, {"refund": np.array(few, float)})) == 2
    assert find_warnings(few[1:], {"status": few[1:]}, {"refund": np.array(few[1:], float)}) == []
    rare = [0] * 400 + [1] * (leakage.MIN_CLASS_ROWS - 1)
    assert find_warnings(rare, {"status": rare}, {"refund": np.array(rare, float)}) == []


@pytest.mark.parametrize("rows", [leakage.MIN_ROWS, 300])
def test_noise_columns_cause_no_false_alarm(rows: int) -> None:
    for seed in range(40):
        labels = make_rng(seed).permutation(np.arange(rows) < 6).astype(int)
        noise = make_rng(seed + 1000).integers(0, 4, rows)
        assert find_warnings(labels, {"noise": noise}, {"noise too": make_rng(seed).normal(size=rows)}) == []


def test_a_single_class_is_not_a_leak() -> None:
    assert find_warnings(["yes"] * 200, {"status": ["a", "b"] * 100}, {"refund": np.arange(200.0)}) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=leakage.MIN_ROWS, max_size=70))
@settings(max_examples=40, deadline=None)
def test_each_row_is_predicted_from_the_other_rows_with_its_value(rows: list[tuple[int, int]]) -> None:
    frequency = [label for label, _ in Counter(label for _, label in rows).most_common()]
    values = np.array([value for value, _ in rows])
    classes = np.array([frequency.index(label) for _, label in rows])
    correct = 0
    for i in range(len(rows)):
        others = np.bincount(np.delete(classes, i)[np.delete(values, i) == values[i]], minlength=4)
        correct += int(np.argmax(others) == classes[i])  # ties go to the more frequent class of all rows
    counts = np.bincount(classes)
    share = error_reduction_of_category(values, classes)
    if len(counts) < 2 or counts[1] < leakage.MIN_CLASS_ROWS:
        assert share is None
    else:
        assert share == pytest.approx((correct - counts[0]) / (len(rows) - counts[0]))


def compute_reduction(labels: np.ndarray, values: Sequence[str]) -> float:
    codes = np.unique(values, return_inverse=True)[1]
    share = error_reduction_of_category(codes, labels)
    assert share is not None
    return share


# --- blocks


def test_warnings_do_not_depend_on_how_rows_are_divided_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "SAMPLE_ROWS", 400)
    labels = make_rng().integers(0, 3, 3000)
    columns = (
        labels,
        {"status": np.where(make_rng().random(3000) < 0.02, 0, labels), "key": np.arange(3000)},
        {"refund": np.where(make_rng(1).random(3000) < 0.02, 0.5, labels)},
        {"note": [f"note {i % 13}" for i in range(3000)]},
    )
    expected = find_warnings(*columns)
    assert len(expected) == 4
    assert all("400 rows" in warning for warning in expected[:2])
    for blocks in (2, 7, 50, 1000):
        assert find_warnings(*columns, blocks=blocks) == expected


def test_only_the_sample_is_held_in_memory() -> None:
    checks = ColumnChecks(DataSettings(id_name="id", label_name="label", num_classes=2, tab_field_list=["n"]))
    for _ in range(10):
        checks.add([pa.array(["a"] * 10_000)], {}, {"n": np.zeros(10_000)}, {})
        assert checks._sample._held <= 1.25 * leakage.SAMPLE_ROWS


# --- categories


@pytest.mark.parametrize(("value", "role"), [("order-{}", "an id"), ("please send number {} back", "free text")])
def test_a_category_with_values_that_rarely_repeat_is_named(value: str, role: str) -> None:
    labels = make_rng().integers(0, 2, 200)
    values = [value.format(i) if i < 150 else None for i in range(200)]
    (warning,) = find_warnings(labels, {"ref": values})
    assert f"Category column 'ref' looks like {role}: 150 of 150 examined values" in warning
    assert f"with {len(value.split()):.1f} words" in warning
    assert ("text_name" in warning) == (role == "free text")
    assert find_warnings(labels[:99], {"ref": values[:99]}) == []  # too few values
    assert find_warnings(labels, {"ref": [i // 2 for i in range(200)]}) == []


def test_all_words_of_a_long_category_are_counted() -> None:
    (warning,) = find_warnings(["a", "b"] * 100, {"ref": [f"{i} " + "word " * 500 for i in range(200)]})
    assert "with 501.0 words" in warning


def test_a_category_of_many_repeating_values_is_not_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "SAMPLE_ROWS", 500)
    labels = make_rng().integers(0, 2, 50_000)
    products = make_rng(1).integers(0, 5000, 50_000)  # 10 rows each; in 500 sampled rows, almost all are distinct
    assert find_warnings(labels, {"product": products}) == []
    assert "'key'" in find_warnings(labels, {"key": np.arange(50_000)})[0]


# --- texts


@pytest.mark.parametrize(
    ("rows", "distinct", "named"),
    [(1000, 20, True), (1000, 21, False), (999, 20, False), (100, 5, True), (99, 5, False)],
)
def test_a_text_column_with_few_distinct_texts_is_named_as_a_category(rows: int, distinct: int, named: bool) -> None:
    texts = {"note": [f"note number {i % distinct}" for i in range(rows)] + [None] * 50}
    warnings = find_warnings(["a", "b"] * (rows // 2) + ["a"] * (rows % 2) + ["a"] * 50, texts=texts, blocks=rows + 50)
    assert bool(warnings) == named
    if named:
        assert f"'note' looks like a category: it has only {distinct} distinct texts in {rows:,} rows" in warnings[0]


def test_a_text_column_that_is_constant_or_empty_is_named() -> None:
    warnings = find_warnings(
        ["a", "b", "a"], texts={"same": ["hello", None, "hello"], "none": [None] * 3, "good": [*"abc"]}
    )
    assert [warning.split(":")[0] for warning in warnings] == [
        "Text column 'same' has the same text in all 2 rows of train that have one",
        "Text column 'none' has no text in train",
    ]


def test_long_texts_that_differ_only_at_the_end_are_distinct() -> None:
    assert find_warnings(["a", "b"] * 500, texts={"note": [f"{'x' * 5000}{i}" for i in range(1000)]}) == []


def test_without_rows_there_are_no_warnings() -> None:
    assert find_warnings([], {"c": []}, {"n": np.empty(0)}, {"t": []}) == []


# --- real data


@pytest.mark.parametrize(
    ("folder", "columns"),
    [
        (
            "womens_clothing",
            {
                "label_name": "recommended",
                "text_name": ["title", "review_text"],
                "cat_field_list": ["division_name", "department_name", "class_name", "clothing_id"],
                "tab_field_list": ["age", "positive_feedback_count", "rating"],
            },
        ),
        (
            "review_threads",
            {
                "label_name": "unhappy",
                "text_name": "thread",
                "cat_field_list": ["division", "department"],
                "tab_field_list": ["n_reviews", "mean_age", "feedback"],
            },
        ),
    ],
)
def test_real_columns_cause_no_false_alarm(real_data: Path, minilm: str, folder: str, columns: dict[str, Any]) -> None:
    use = DataSettings(id_name="id", num_classes=2, tokenizer=minilm, **columns)
    fit = fit_preprocessor.fit_preprocessor(use, open_channel("train", real_data / folder / "train", use.columns))
    assert fit.warnings == ()
    leaking = use.model_copy(update={"cat_field_list": [use.label_name, "id"]})
    result = fit_preprocessor.fit_preprocessor(
        leaking, open_channel("train", real_data / folder / "train", leaking.columns)
    ).warnings
    assert [first.split("'")[1] for first in result] == [use.label_name, "id"]
