"""Guards: leaks and columns in the wrong role are named with a figure, and honest columns are not."""

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


def warnings(
    labels: Sequence[object],
    categories: Mapping[str, Sequence[object]] | None = None,
    numbers: Mapping[str, Any] | None = None,
    texts: Mapping[str, Sequence[str | None]] | None = None,
    blocks: int = 1,
) -> list[str]:
    """The warnings about these columns, each row given in one of so many blocks."""
    columns = [text({"label": labels}), text(categories or {}), dict(numbers or {}), text(texts or {})]
    guard = ColumnChecks(
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
        label, *others = [{name: column[start:end] for name, column in some.items()} for some in columns]
        guard.add(label["label"], *others)
    return guard.warnings()


def text(columns: Mapping[str, Sequence[object]]) -> dict[str, Any]:
    return {name: pa.array([None if v is None else str(v) for v in c], pa.string()) for name, c in columns.items()}


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- leaks


@pytest.mark.parametrize(
    ("rows", "classes", "share"), [(60, 2, 0.5), (2000, 2, 0.01), (3000, 7, 0.2), (20_000, 400, 0)]
)
def test_a_column_that_tells_the_label_is_named_with_the_figure(rows: int, classes: int, share: float) -> None:
    labels = random().integers(0, classes, rows)
    if classes == 2:
        labels = (random().random(rows) < share).astype(int)
    found = warnings(labels, {"status": [f"s{label}" for label in labels]}, {"refund": labels * 3.5 + 1e15})
    assert len(found) == 2
    assert "Column 'status' alone tells 'label'" in found[0]
    assert "Column 'refund' alone tells 'label'" in found[1]
    assert all("100.0%" in one and "Leave it out" in one for one in found)


def test_the_figure_is_the_share_of_errors_that_the_column_takes_away() -> None:
    labels = np.repeat([0, 1], [900, 100])
    status = np.repeat([0, 1, 0], [900, 97, 3])  # 3 of 100 errors stay
    (found,) = warnings(labels, {"status": status})
    assert "97.0%" in found
    assert "1,000 rows" in found
    assert warnings(labels, {"status": np.repeat([0, 1, 0], [900, 90, 10])}) == []


def test_a_column_whose_absence_tells_the_label_is_named() -> None:
    labels = (random().random(3000) < 0.1).astype(int)
    values = np.where(labels == 1, NAN, random(1).normal(size=3000))
    found = warnings(labels, {"closed_by": [None if label else "x" for label in labels]}, {"paid": values})
    assert [one.split("'")[1] for one in found] == ["closed_by", "paid"]
    assert len(warnings(labels, {}, {"paid": np.where(labels == 0, NAN, 5.0)})) == 1


def test_a_number_that_tells_the_label_in_several_ranges_is_named() -> None:
    values = random().normal(size=5000)
    assert "'amount'" in warnings(np.abs(values) < 0.7, {}, {"amount": values})[0]


def test_numbers_that_differ_beyond_float32_are_told_apart() -> None:
    values = 1.7e9 + random().permutation(2000) / 8  # seconds since 1970
    assert len(warnings(values > np.median(values), {}, {"time": values})) == 1


def test_ids_and_noise_and_few_rows_are_no_leaks() -> None:
    rows = 4000
    labels = (random().random(rows) < 0.02).astype(int)
    ids = random(1).permutation(rows)
    assert reduction(labels, [str(i) for i in ids]) <= 0
    found = warnings(labels, {"noise": random(2).integers(0, 5, rows)}, {"id": ids.astype(float)})
    assert found == []
    few = [0] * 25 + [1] * 25
    assert len(warnings(few, {"status": few}, {"refund": np.array(few, float)})) == 2
    assert warnings(few[1:], {"status": few[1:]}, {"refund": np.array(few[1:], float)}) == []
    rare = [0] * 400 + [1] * (leakage.MIN_CLASS_ROWS - 1)
    assert warnings(rare, {"status": rare}, {"refund": np.array(rare, float)}) == []


@pytest.mark.parametrize("rows", [leakage.MIN_ROWS, 300])
def test_columns_of_noise_are_hardly_ever_called_leaks(rows: int) -> None:
    for seed in range(40):
        labels = random(seed).permutation(np.arange(rows) < 6).astype(int)
        noise = random(seed + 1000).integers(0, 4, rows)
        assert warnings(labels, {"noise": noise}, {"noise too": random(seed).normal(size=rows)}) == []


def test_one_class_alone_is_no_leak() -> None:
    assert warnings(["yes"] * 200, {"status": ["a", "b"] * 100}, {"refund": np.arange(200.0)}) == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=leakage.MIN_ROWS, max_size=70))
@settings(max_examples=40, deadline=None)
def test_each_row_is_guessed_from_the_other_rows_with_its_value(rows: list[tuple[int, int]]) -> None:
    frequency = [label for label, _ in Counter(label for _, label in rows).most_common()]
    values = np.array([value for value, _ in rows])
    classes = np.array([frequency.index(label) for _, label in rows])
    right = 0
    for i in range(len(rows)):
        others = np.bincount(np.delete(classes, i)[np.delete(values, i) == values[i]], minlength=4)
        right += int(np.argmax(others) == classes[i])  # the first of the commonest, which is the commoner of all
    counts = np.bincount(classes)
    share = error_reduction_of_category(values, classes)
    if len(counts) < 2 or counts[1] < leakage.MIN_CLASS_ROWS:
        assert share is None
    else:
        assert share == pytest.approx((right - counts[0]) / (len(rows) - counts[0]))


def reduction(labels: np.ndarray, values: Sequence[str]) -> float:
    codes = np.unique(values, return_inverse=True)[1]
    share = error_reduction_of_category(codes, labels)
    assert share is not None
    return share


# --- blocks


def test_warnings_do_not_depend_on_how_rows_are_spread_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "SAMPLE_ROWS", 400)
    labels = random().integers(0, 3, 3000)
    columns = (
        labels,
        {"status": np.where(random().random(3000) < 0.02, 0, labels), "key": np.arange(3000)},
        {"refund": np.where(random(1).random(3000) < 0.02, 0.5, labels)},
        {"note": [f"note {i % 13}" for i in range(3000)]},
    )
    whole = warnings(*columns)
    assert len(whole) == 4
    assert all("400 rows" in one for one in whole[:2])
    for blocks in (2, 7, 50, 1000):
        assert warnings(*columns, blocks=blocks) == whole


def test_no_more_rows_are_held_than_the_sample_has() -> None:
    guard = ColumnChecks(DataSettings(id_name="id", label_name="label", num_classes=2, tab_field_list=["n"]))
    for _ in range(10):
        guard.add(pa.array(["a"] * 10_000), {}, {"n": np.zeros(10_000)}, {})
        assert guard._sample._held <= 1.25 * leakage.SAMPLE_ROWS


# --- categories


@pytest.mark.parametrize(("value", "looks"), [("order-{}", "an id"), ("please send number {} back", "free text")])
def test_a_category_whose_values_hardly_come_again_is_named(value: str, looks: str) -> None:
    labels = random().integers(0, 2, 200)
    values = [value.format(i) if i < 150 else None for i in range(200)]
    (found,) = warnings(labels, {"ref": values})
    assert f"Category column 'ref' looks like {looks}: 150 of 150 values" in found
    assert f"with {len(value.split()):.1f} words" in found
    assert ("text_name" in found) == (looks == "free text")
    assert warnings(labels[:99], {"ref": values[:99]}) == []  # too few to tell
    assert warnings(labels, {"ref": [i // 2 for i in range(200)]}) == []


def test_words_of_a_long_category_are_all_counted() -> None:
    (found,) = warnings(["a", "b"] * 100, {"ref": [f"{i} " + "word " * 500 for i in range(200)]})
    assert "with 501.0 words" in found


def test_a_category_of_many_values_that_come_again_is_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "SAMPLE_ROWS", 500)
    labels = random().integers(0, 2, 50_000)
    products = random(1).integers(0, 5000, 50_000)  # 10 rows each; of 500 rows, nearly all differ
    assert warnings(labels, {"product": products}) == []
    assert "'key'" in warnings(labels, {"key": np.arange(50_000)})[0]


# --- texts


@pytest.mark.parametrize(
    ("rows", "distinct", "named"),
    [(1000, 20, True), (1000, 21, False), (999, 20, False), (100, 5, True), (99, 5, False)],
)
def test_a_text_with_few_values_is_named_as_a_category(rows: int, distinct: int, named: bool) -> None:
    texts = {"note": [f"note number {i % distinct}" for i in range(rows)] + [None] * 50}
    found = warnings(["a", "b"] * (rows // 2) + ["a"] * (rows % 2) + ["a"] * 50, texts=texts, blocks=rows + 50)
    assert bool(found) == named
    if named:
        assert f"'note' looks like a category: it has only {distinct} different texts in {rows:,} rows" in found[0]


def test_a_text_that_is_always_the_same_or_never_there_is_named() -> None:
    found = warnings(["a", "b", "a"], texts={"same": ["hello", None, "hello"], "none": [None] * 3, "good": [*"abc"]})
    assert [one.split(":")[0] for one in found] == [
        "Text column 'same' holds one text only, in 2 rows of train",
        "Text column 'none' has no text in train",
    ]


def test_long_texts_that_differ_at_their_end_are_different() -> None:
    assert warnings(["a", "b"] * 500, texts={"note": [f"{'x' * 5000}{i}" for i in range(1000)]}) == []


def test_no_rows_give_no_warning() -> None:
    assert warnings([], {"c": []}, {"n": np.empty(0)}, {"t": []}) == []


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
def test_real_columns_give_no_false_alarm(real_data: Path, minilm: str, folder: str, columns: dict[str, Any]) -> None:
    use = DataSettings(id_name="id", num_classes=2, tokenizer=minilm, **columns)
    fit = fit_preprocessor.fit_preprocessor(use, open_channel("train", real_data / folder / "train", use.columns))
    assert fit.warnings == ()
    leaking = use.model_copy(update={"cat_field_list": [use.label_name, "id"]})
    found = fit_preprocessor.fit_preprocessor(
        leaking, open_channel("train", real_data / folder / "train", leaking.columns)
    ).warnings
    assert [one.split("'")[1] for one in found] == [use.label_name, "id"]
