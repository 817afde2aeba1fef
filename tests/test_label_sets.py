"""Label sets: reading label columns and lists, the fit on train, strata, and the search for leaks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.leakage import ColumnChecks
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.data.row_digests import compute_row_digests
from fusionzoo.data.splitting import split_channel
from fusionzoo.data.targets.class_labels import ClassLabelReader, ClassLabelScan
from fusionzoo.data.targets.label_sets import LabelSets
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.errors import DataError

LISTS: list[list[Any]] = [["b", "a"], [], ["b", "c", "b"]]
ENCODED = [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


def make_settings(**changes: Any) -> DataSettings:
    return DataSettings(**{"task": "multilabel", "label_name": "tags", "text_name": "t", **changes})


def make_rows(typed: bool = True, **columns: Any) -> Rows:
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    return Rows(arrays, "train/a.csv", 1, typed)


def fit(rows: Rows, **changes: Any) -> LabelSets:
    settings = make_settings(**changes)
    scan = choose_target(settings).scan(optional=False)
    scan.add(rows)
    target = scan.fit(settings)
    assert isinstance(target, LabelSets)
    assert choose_target(settings).restore(json.loads(json.dumps(target.as_json()))) == target
    return target


FORMS: dict[str, tuple[Rows, dict[str, Any], list[Any]]] = {
    "lists": (make_rows(tags=LISTS), {}, [["a", "b"], [], ["b", "c"]]),
    "large lists": (make_rows(tags=pa.array(LISTS, pa.large_list(pa.string()))), {}, [["a", "b"], [], ["b", "c"]]),
    "records": (rows_from_records([{"tags": labels} for labels in LISTS], ["tags"]), {}, [["a", "b"], [], ["b", "c"]]),
    "JSON": (make_rows(tags=list(map(json.dumps, LISTS))), {}, ['["a", "b"]', "[]", '["b", "c"]']),
    "Python": (make_rows(tags=list(map(str, LISTS))), {}, ['["a", "b"]', "[]", '["b", "c"]']),
    "separator": (make_rows(tags=["b | a", "[]", "b||c|b|"]), {"label_separator": "|"}, ["a|b", "[]", "b|c"]),
    "separator alone": (make_rows(tags=["b, a", " ,", "c, b"]), {"label_separator": ","}, ["a,b", "[]", "b,c"]),
    "separator and JSON": (make_rows(tags=["b;a", "[]", '["b", "c"]']), {"label_separator": ";"}, ["a;b", "[]", "b;c"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_lists_in_every_form_have_the_same_labels_and_are_written_as_they_were_read(form: str) -> None:
    rows, changes, written = FORMS[form]
    target = fit(rows, **changes)
    assert target.labels == ("a", "b", "c")
    assert target.encode(rows).tolist() == ENCODED
    assert target.decode(np.array(ENCODED, np.int8))[0].to_pylist() == written
    assert target.decode(np.array(ENCODED, np.int8))[0].type == target.column_type
    (text,) = choose_target(make_settings(**changes)).texts(rows)
    assert text.to_pylist() == ['["a", "b"]', "[]", '["b", "c"]']


@pytest.mark.parametrize(
    ("lists", "labels"),
    [
        ([[2, 10], [2], []], (2, 10)),
        ([[2.5, 10.0], [2.5]], (2.5, 10.0)),
        ([["1.50", "x"], ["1.5"]], ("1.50", "x")),
        ([["TRUE", "b"], ["true"]], ("TRUE", "b")),
    ],
    ids=str,
)
def test_labels_are_compared_and_sorted_as_those_of_a_classification(lists: list[Any], labels: tuple[Any, ...]) -> None:
    rows = make_rows(tags=lists)
    assert fit(rows).labels == labels
    assert fit(make_rows(typed=False, tags=list(map(json.dumps, lists)))).labels == labels
    counts = ClassLabelScan("y")
    counts.add(make_rows(y=pa.array([label for labels in lists for label in labels])))
    assert counts.fit(make_settings(label_name="y", num_classes=2)).classes == labels


def test_records_and_data_frames_may_mix_types_in_a_list() -> None:
    rows = rows_from_records([{"tags": ["a", 1]}, {"tags": [1.0, np.int64(7)]}, {"tags": ["7"]}], ["tags"])
    assert fit(rows).labels == ("1", "7", "a")
    assert fit(rows).encode(rows).tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 0]]


def test_long_lists_of_records_are_not_cut() -> None:
    labels = [f"label number {k}" for k in range(60)]
    rows = rows_from_records([{"tags": labels}, {"tags": []}], ["tags"])
    assert fit(rows).encode(rows).sum(axis=1).tolist() == [60, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["a"], None, ["b"]], r"1 value is null: train/a.csv row 2.*write \[\] where no label applies"),
        (["a", "b", "a"], r"3 values are not lists of labels: train/a.csv row 1 'a'.*label_separator.*classification"),
        ([0, 1, 1], "3 values are not lists of labels: .*set task: classification and num_classes"),
        (["['a' 'b']", "[]"], r"1 value is not a list of labels.*write arrays such as \[\"a\", \"b\"\]"),
        ([["a", None], ["b"]], "1 list has an element that is empty, null or nested: train/a.csv row 1"),
        ([["a", ""], ["b"]], "1 list has an element that is empty, null or nested: train/a.csv row 1"),
        ([["b"], [float("nan")]], "convert|element"),
        ([[["a"]], [["b"]]], "2 lists have an element that is empty, null or nested"),
        ([[b"a"], [b"b"]], "2 lists have an element that is empty, null or nested"),
        (['["a", {"b": 1}]', "[]"], "1 list has an element that is empty, null or nested: train/a.csv row 1"),
        ([["a"], ["a"], []], "one label only: 'a', and task multilabel needs two.*num_classes: 2"),
        ([[], []], "no label in any row"),
        ([["a", "b"], ["b", "a"]], "every label applies to all rows or to none"),
    ],
    ids=str,
)
def test_a_column_without_usable_lists_is_an_error_with_a_fix(values: list[Any], message: str) -> None:
    try:
        rows = make_rows(tags=values)
    except pa.ArrowException:
        rows = rows_from_records([{"tags": value} for value in values], ["tags"])
    with pytest.raises(DataError, match=f"(?s){message}"):
        fit(rows)


def test_a_value_that_is_no_list_among_lists_of_records_is_not_taken_for_a_missing_one() -> None:
    rows = rows_from_records([{"tags": ["a", "c"]}, {"tags": "b"}, {"tags": None}], ["tags"])
    target = fit(make_rows(tags=LISTS))
    with pytest.raises(DataError, match=r"1 value is not a list of labels: records\[1\]"):
        target.encode(rows, optional=True)
    separated = fit(rows_from_records([{"tags": ["a"]}, {"tags": "a; b"}], ["tags"]), label_separator=";")
    assert separated.labels == ("a", "b")


def test_a_missing_list_differs_from_an_empty_one_and_may_occur_where_labels_are_optional() -> None:
    target = fit(make_rows(tags=LISTS))
    encoded = target.encode(make_rows(tags=[None, [], ["a"]]), optional=True)
    assert encoded.tolist() == [[-1, -1, -1], [0, 0, 0], [1, 0, 0]]
    assert target.decode(encoded)[0].to_pylist() == [None, [], ["a"]]
    records = rows_from_records([{"tags": value} for value in (float("nan"), (), np.array(["a"]))], ["tags"])
    assert target.encode(records, optional=True).tolist() == encoded.tolist()


def test_a_label_that_train_lacks_is_an_error_with_its_row() -> None:
    settings = make_settings()
    target, scan = fit(make_rows(tags=LISTS)), choose_target(settings).scan(optional=True)
    rows = make_rows(tags=[["a"], ["b", "new"]])
    with pytest.raises(DataError, match=r"1 label was not seen in train: train/a.csv row 2 'new'"):
        target.encode(rows)
    scan.add(rows)
    with pytest.raises(DataError, match=r"test, column 'tags': 1 label was not seen in train: train/a.csv row 2 'new'"):
        target.check(scan, "test")


def test_classes_set_the_order_and_may_name_labels_that_train_lacks() -> None:
    settings = make_settings(classes=["c", "d", "b", "a"], num_classes=4)
    scan = choose_target(settings).scan(optional=False)
    scan.add(make_rows(tags=LISTS))
    target = scan.fit(settings)
    assert target.encode(make_rows(tags=[["a", "c"]])).tolist() == [[1, 0, 0, 1]]
    assert scan.warnings(target) == ["Train has no row with label 'd': the model cannot learn when to predict it."]
    with pytest.raises(DataError, match="num_classes is 2, but train has 3 labels"):
        fit(make_rows(tags=LISTS), num_classes=2)
    with pytest.raises(DataError, match="labels that are not in classes"):
        fit(make_rows(tags=LISTS), classes=["a", "b"])


def test_a_separator_that_no_row_has_is_reported() -> None:
    scan = choose_target(make_settings(label_separator=",")).scan(optional=False)
    scan.add(make_rows(tags=["a;b", "b", "a"]))
    (warning,) = scan.warnings(scan.fit(make_settings(label_separator=",")))
    assert "No row of train has two labels in column 'tags': check label_separator" in warning


# --- columns of 0 and 1


@pytest.mark.parametrize(
    ("x", "y", "values"),
    [
        ([1, 0, 1], [0, 0, 1], [0, 1]),
        ([1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0]),
        ([True, False, True], [False, False, True], [False, True]),
        (["1", " 0", "1"], ["0", "0", "1"], [0, 1]),
        (["1.0", "0.0", "1.0"], ["0.0", "0.0", "1.0"], [0.0, 1.0]),
        (["TRUE", "FALSE", "TRUE"], ["FALSE", "FALSE", "TRUE"], ["FALSE", "TRUE"]),
        ([True, False, True], [0, 0, 1], [0, 1]),
        (["true", "0", "1.0"], ["False", "0", "TRUE"], [0, 1]),
    ],
    ids=str,
)
def test_columns_of_0_and_1_in_every_notation_are_labels_and_are_written_as_they_were_read(
    x: list[Any], y: list[Any], values: list[Any]
) -> None:
    rows = make_rows(x=x, y=y)
    target = fit(rows, label_name=["x", "y"])
    assert target.labels == ("x", "y")
    assert target.encode(rows).tolist() == [[1, 0], [0, 0], [1, 1]]
    decoded = target.decode(np.array([[0, 1], [1, -1]], np.int8))
    assert [column.to_pylist() for column in decoded] == [values, [values[1], None]]
    assert all(type(column[0].as_py()) is type(values[0]) for column in decoded)
    (text,) = choose_target(make_settings(label_name=["x", "y"])).texts(rows)
    assert text.to_pylist() == ['["x"]', "[]", '["x", "y"]']


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 2, 1], "1 value is neither 0, 1, true nor false: train/a.csv row 2 '2'.*task: regression"),
        (["yes", "no", "1"], "2 values are neither 0, 1, true nor false.*set task: classification"),
        ([0.5, 0.0, 1.0], "1 value is neither 0, 1, true nor false: train/a.csv row 1 '0.5'"),
        ([None, 0, 1], r"1 value is null: train/a.csv row 1\. Fix: write 0 where the label does not apply"),
        ([["a"], [], ["b"]], "the column holds arrays"),
        ([1, 1, 1], "every label applies to all rows or to none"),
    ],
    ids=str,
)
def test_another_value_in_a_label_column_is_an_error_with_its_row(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(make_rows(x=values, y=[0, 0, 0]), label_name=["x", "y"])


def test_a_constant_label_column_is_reported() -> None:
    settings = make_settings(label_name=["x", "y", "z"])
    scan = choose_target(settings).scan(optional=False)
    scan.add(make_rows(x=[0, 0], y=[1, 1], z=[0, 1]))
    absent, always = scan.warnings(scan.fit(settings))
    assert "no row with label 'x'" in absent
    assert "Every row of train has label 'y'" in always


# --- labels that need another task


def test_lists_under_classification_name_the_task_multilabel() -> None:
    settings = DataSettings(label_name="y", text_name="t", num_classes=2)
    with pytest.raises(DataError, match=r"the column holds arrays.*set task: multilabel"):
        ClassLabelReader(settings).scan(optional=False).add(make_rows(y=[["a"], ["b", "c"]]))
    counts = ClassLabelReader(settings).scan(optional=False)
    counts.add(make_rows(y=['["a"]', "[]", '["b", "c"]']))
    with pytest.raises(DataError, match=r"every label is an array.*set task: multilabel and remove num_classes"):
        counts.fit(settings)


def test_lists_under_regression_name_the_task_multilabel() -> None:
    settings = DataSettings(task="regression", label_name="y", text_name="t")
    with pytest.raises(DataError, match=r"the column holds arrays.*for several labels per row task: multilabel"):
        choose_target(settings).scan(optional=False).add(make_rows(y=[["a"], ["b", "c"]]))


# --- strata


RATES = dict(zip("abcdefghijkl", [0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.08, 0.06, 0.04, 0.02], strict=True))


def count_labels(tags: Iterable[Iterable[str]]) -> Counter[str]:
    return Counter(tag for row in tags for tag in row)


def split_tags(folder: Path, tags: list[list[str]], fractions: Mapping[str, float], **options: Any) -> dict[str, Any]:
    """Write a channel with these labels, split it, and return the labels of each row of each part."""
    groups = np.random.default_rng(1).integers(0, len(tags) // 3, len(tags))
    pd.DataFrame({"tags": tags, "who": groups}).to_parquet(folder / "part.parquet")
    channel, strata = open_channel("train", folder, ["tags"]), choose_target(make_settings()).strata()
    parts = split_channel(channel, fractions, strata, **{"seed": 0, **options})
    return {name: [row for rows in part for row in rows.columns["tags"].to_pylist()] for name, part in parts.items()}


@pytest.mark.parametrize("group", [None, "who"])
def test_each_part_has_closer_to_its_share_of_every_label_than_a_random_one(group: str | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tags = [[name for name, rate in RATES.items() if rng.random() < rate] for _ in range(900)]
    total, fractions = count_labels(tags), {"val": 0.2, "test": 0.3}

    def deviation(part: list[list[str]], fraction: float) -> float:
        counts = count_labels(part)
        return sum(abs(counts[label] - fraction * rows) for label, rows in total.items())

    parts = split_tags(tmp_path, tags, fractions, group=group)
    for name, fraction in fractions.items():
        sizes = [rng.permutation(900)[: round(900 * fraction)] for _ in range(50)]
        random = np.mean([deviation([tags[row] for row in rows], fraction) for rows in sizes])
        assert len(parts[name]) == pytest.approx(900 * fraction, abs=1 if group is None else 9)
        assert deviation(parts[name], fraction) < (0.6 if group is None else 0.8) * random
        assert all(count_labels(parts[name])[label] for label in RATES)


def test_every_label_stays_in_train(tmp_path: Path) -> None:
    """Each row with `often` has a rarer label, most rows of which are without `often`."""
    tags = [["often", f"rare {k}"] if row == 0 else [f"rare {k}"] for k in range(6) for row in range(4)]
    tags += [["single", "other"], *([["other"]] * 20)]
    for seed in range(12):
        parts = split_tags(tmp_path, tags, {"val": 0.45, "test": 0.45}, seed=seed)
        assert count_labels(parts["train"]).keys() == count_labels(tags).keys()


# --- leaks and digests


@pytest.mark.parametrize("form", ["lists", "columns"])
def test_a_column_that_equals_a_label_is_found_as_a_leak(form: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((1500, 3)) < 0.4
    columns = {"label_name": "tags" if form == "lists" else ["a", "b", "c"]}
    settings = make_settings(cat_field_list=["copy"], tab_field_list=["noise"], **columns)
    rows = make_rows(
        tags=[[name for name, is_set in zip("abc", row, strict=True) if is_set] for row in labels],
        **{name: labels[:, k] for k, name in enumerate("abc")},
    )
    checks = ColumnChecks(settings)
    copy = pa.array(np.where(labels[:, 1], "yes", "no"))
    checks.add(
        choose_target(settings).scan(optional=False).add(rows),
        {"copy": copy},
        {"noise": rng.normal(size=1500)},
        {"t": pa.array(["x", "y", "z"] * 500)},
    )
    leaks = [warning for warning in checks.warnings() if "almost perfectly" in warning]
    assert [(leak.split("'")[1], leak.split("'")[3]) for leak in leaks] == [("copy", "b")]


def test_the_digest_of_a_row_does_not_depend_on_the_order_and_the_form_of_its_labels() -> None:
    settings = make_settings()
    first, second, other = (
        compute_row_digests(settings, make_rows(tags=tags, t=["x"] * 2), [])
        for tags in ([["a", "b"], []], ['["b", "a", "b"]', "[]"], [["a", "b"], ["a"]])
    )
    assert first.tolist() == second.tolist()
    assert (first == other).tolist() == [True, False]


def test_all_problems_of_a_label_column_are_reported_together() -> None:
    for rows, name, codes in (
        (make_rows(tags=["a", None, '["b", ""]', "[1]"]), "tags", ["FZ-D168", "FZ-D176", "FZ-D169"]),
        (make_rows(a=["1", "2", None], b=["0", "1", "1"]), ["a", "b"], ["FZ-D167", "FZ-D175"]),
    ):
        with pytest.raises(DataError) as error:
            fit(rows, label_name=name)
        assert [problem.code for problem in error.value.problems] == codes
