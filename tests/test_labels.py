"""Labels: classes, their values and types, and labels that are errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from data_helpers import SETTINGS, fit_frame, make_column, make_rows
from fusionzoo.data import fit_preprocessor
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.targets.class_labels import ClassLabelScan, LabelMap, canonical_label
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.errors import DataError
from shop import shop_rows

# --- labels


@pytest.mark.parametrize(
    ("values", "typed", "classes"),
    [
        ([1, 0, 1], True, (0, 1)),
        ([1.0, 0.0], True, (0.0, 1.0)),
        ([True, False], True, (False, True)),
        (["b", "a"], True, ("a", "b")),
        (["1", "0"], True, ("0", "1")),
        (["1", "0"], False, (0, 1)),
        (["0.5", "-1.5"], False, (-1.5, 0.5)),
        (["007", "8"], False, ("007", "8")),
        (["1.0", "0.0"], False, (0.0, 1.0)),
        (["2.00", "1.50"], False, ("1.50", "2.00")),
        (["10.0", "9.5", "2"], False, ("2", "9.5", "10.0")),
        (["TRUE", "FALSE"], False, ("FALSE", "TRUE")),
        (["true", "false"], True, ("false", "true")),
        (["1e5", "2e5"], False, ("1e5", "2e5")),
        ([5, 10, 9], True, (5, 9, 10)),
        (["10", "9", "5"], False, (5, 9, 10)),
    ],
)
def test_classes_have_the_values_and_types_of_the_labels(
    values: list[Any], typed: bool, classes: tuple[Any, ...]
) -> None:
    counts = ClassLabelScan("c")
    counts.add(make_column(values, typed))
    result = counts.fit(SETTINGS.model_copy(update={"num_classes": len(classes)}))
    assert result.classes == classes
    assert [type(c) for c in result.classes] == [type(c) for c in classes]
    by_text = [str(c) for c in result.classes]
    encoded = result.encode(make_column(values, typed)).tolist()
    assert [by_text[i] for i in encoded] == [str(v) for v in values]


@pytest.mark.parametrize(
    ("values", "changes", "is_ordered"),
    [
        ([3, 1, 2], {}, True),
        (["3", "10", "2"], {}, True),  # numbers as text are sorted as numbers
        ([1.5, -1.5, 0.0], {}, True),
        (["low", "high", "middle"], {}, False),
        (["low", "high", "middle"], {"classes": ["low", "middle", "high"]}, True),
        (["007", "8", "9"], {}, False),  # codes
    ],
)
def test_classes_are_ordered_if_they_are_numbers_or_the_setting_lists_them(
    values: list[Any], changes: dict[str, Any], is_ordered: bool
) -> None:
    settings = SETTINGS.model_copy(update={"num_classes": len(values), **changes})
    counts = ClassLabelScan("c")
    counts.add(make_column(values))
    label_map = counts.fit(settings)
    assert label_map.is_ordered == is_ordered
    assert choose_target(settings).restore({"name": "c", "classes": list(label_map.classes)}) == label_map


def fit_labels(values: list[Any], **changes: Any) -> Any:
    counts = ClassLabelScan("c")
    counts.add(make_column(values))
    return counts.fit(SETTINGS.model_copy(update=changes))


def test_classes_decide_the_order_and_other_labels_are_an_error() -> None:
    assert fit_labels(["no", "yes"], classes=["yes", "no"]).classes == ("yes", "no")
    with pytest.raises(DataError, match="'maybe'"):
        fit_labels(["no", "yes", "maybe"], classes=["yes", "no"])


@pytest.mark.parametrize(
    ("values", "changes", "says"),
    [
        ([0, 1, 2], {"num_classes": 2}, "num_classes is 2, but train has 3 labels"),
        (["a", "b"], {"num_classes": 3}, "num_classes is 3, but train has 2 labels"),
        ([1, 1, 1], {}, "one class only: '1' in 3 rows"),
        ([1, None, 0], {}, "train/part-0 row 2"),
        ([1.0, float("nan"), 0.0], {}, "train/part-0 row 2"),
        (["a", "", "b"], {}, "train/part-0 row 2"),
    ],
)
def test_invalid_labels_are_named(values: list[Any], changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as error:
        fit_labels(values, **changes)
    assert says in str(error.value)


def test_a_label_never_seen_in_train_names_its_rows() -> None:
    with pytest.raises(DataError, match=r"'7'.*train has '0', '1'"):
        fit_labels([0, 1]).encode(make_column([0, 7]))


def test_whole_numbers_below_num_classes_are_their_own_indices_even_if_one_is_absent() -> None:
    assert fit_labels([0, 2], num_classes=3).classes == (0, 1, 2)


def test_a_class_without_rows_is_a_warning_that_names_it() -> None:
    result = fit_preprocessor.fit_preprocessor(
        SETTINGS.model_copy(update={"num_classes": 3}), [make_rows(shop_rows(40))]
    )
    assert result.preprocessor.target.classes == (0, 1, 2)
    assert any("target = '2'" in warning for warning in result.warnings)
    assert not fit_preprocessor.fit_preprocessor(SETTINGS, [make_rows(shop_rows(40))]).warnings


# --- the same value in every type


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["1.0", "2.0"], ("1.0", "2.0")),
        (pa.array([0.1, 0.2], pa.float32()), (0.1, 0.2)),
        ([1e-05, 12345678901.0], (1e-05, 12345678901.0)),
        ([1e16, 2e16], (1e16, 2e16)),
        ([-0.0, 1.0], (0.0, 1.0)),
        (pa.array([10957, 10958], pa.date32()), ("2000-01-01", "2000-01-02")),
        (pa.array(["7.00", "9.00"]).cast(pa.decimal128(9, 2)), ("7.00", "9.00")),
        (pa.array(["7", "9"]).cast(pa.decimal128(9, 0)), (7, 9)),
        (pa.array(["7.25", "9.50"]).cast(pa.decimal128(9, 2)), ("7.25", "9.50")),
    ],
)
def test_labels_of_any_type_are_encoded_and_saved(values: Any, classes: tuple[Any, ...], tmp_path: Path) -> None:
    result = fit_labels(values)
    assert result.classes == classes
    assert result.encode(make_column(values)).tolist() == [0, 1]
    preprocessor = fit_frame(shop_rows(40))
    replace(preprocessor, target=result).save(tmp_path)
    assert Preprocessor.load(tmp_path).target == result


LABELS = [st.integers(-(2**40), 2**40), st.floats(-1e6, 1e6), st.text(st.characters(codec="utf-8"), min_size=1)]


@given(st.one_of(st.sets(kind, min_size=2, max_size=7) for kind in LABELS), st.randoms())
def test_labels_make_a_round_trip(labels: set[Any], random: Any) -> None:
    distinct = list({canonical_label(label): label for label in labels}.values())
    assume(len(distinct) >= 2)
    values = distinct + [random.choice(distinct) for _ in range(9)]
    result = fit_labels(values, num_classes=len(distinct))
    assert [result.classes[i] for i in result.encode(make_column(values))] == values


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("classes", [("inf", "sup"), ("-inf", "0", "max"), ("Infinity", "none")])
def test_a_text_that_spells_infinity_is_a_class_next_to_other_texts(classes: tuple[str, ...], typed: bool) -> None:
    counts = ClassLabelScan("c")
    counts.add(make_column(list(classes), typed))
    assert counts.fit(SETTINGS.model_copy(update={"num_classes": len(classes)})).classes == classes


@pytest.mark.parametrize(
    ("values", "typed"),
    [
        ([0.0, float("inf")], True),
        ([0.5, float("-inf"), 1.0], True),
        (["0", "inf"], False),
        (["1", "0", "-Infinity"], False),
    ],
)
def test_an_infinite_number_is_not_a_class(values: list[Any], typed: bool) -> None:
    counts = ClassLabelScan("c")
    counts.add(make_column(values, typed))
    with pytest.raises(DataError, match="1 label is infinite: train/part-0 row"):
        counts.fit(SETTINGS.model_copy(update={"num_classes": len(values)}))


def test_labels_of_mixed_types_get_one_type() -> None:
    counts = ClassLabelScan("c")
    for values in ([0, 1], ["1", "a"]):
        counts.add(make_column(values))
    assert counts.fit(SETTINGS.model_copy(update={"num_classes": 3})).classes == ("0", "1", "a")
    counts = ClassLabelScan("c")
    for floats in ([0, 1], [1.0, 0.5]):
        counts.add(make_column(floats))
    assert counts.fit(SETTINGS.model_copy(update={"num_classes": 3})).classes == (0.0, 0.5, 1.0)


def test_classes_may_name_a_class_that_train_lacks() -> None:
    assert fit_labels(["no", "yes"], num_classes=3, classes=["yes", "maybe", "no"]).classes == ("yes", "maybe", "no")


def test_null_and_unseen_labels_of_a_split_are_reported_together() -> None:
    with pytest.raises(DataError) as error:
        LabelMap("c", (0, 1)).encode(make_column([0, None, 7, 1], True))
    assert [(problem.code, problem.rows) for problem in error.value.problems] == [("FZ-D113", (2,)), ("FZ-D115", (3,))]
