"""Categories, numbers, labels, ids, and the preprocessor that holds them together."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_helpers import SETTINGS
from fusionzoo.data import fit_preprocessor
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.labels import LabelCounts, canonical_label
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.data.table import numbers
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.errors import DataError, ModelFolderError, Problem, ZooError
from shop import shop_rows


def rows(frame: pd.DataFrame, first: int = 1) -> Rows:
    table = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    columns = {n: table[n].combine_chunks() for n in table.column_names}
    columns = {n: a.chunk(0) if isinstance(a, pa.ChunkedArray) else a for n, a in columns.items()}
    return Rows(columns, "train/part-0", first, typed=True)


def column(values: Any, typed: bool = True) -> Rows:
    return Rows({"c": values if isinstance(values, pa.Array) else pa.array(values)}, "train/part-0", 1, typed)


# --- numbers


def fit_numbers(*blocks: np.ndarray) -> numbers.NumberEncoder:
    statistics = numbers.NumberStatistics("c")
    for block in blocks:
        statistics.add(block)
    return statistics.fit()


def test_missing_numbers_do_not_affect_the_statistics() -> None:
    full = fit_numbers(np.array([1.0, 2.0, 6.0]))
    holes = fit_numbers(np.array([1.0, np.nan, 2.0]), np.array([np.nan, 6.0, np.nan]))
    assert holes == full
    assert full.mean == 3.0
    value, missing = full.encode(column([3.0, None, float("nan")]))
    assert value.tolist() == [0.0, 0.0, 0.0]
    assert missing.tolist() == [False, True, True]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.integers(1, 5))
def test_statistics_do_not_depend_on_blocks_and_edges_ascend(values: list[float], parts: int) -> None:
    expected = np.array(values)
    first, many = fit_numbers(expected), fit_numbers(*np.array_split(expected, parts))
    assert first == many
    assert all(a < b for a, b in zip(first.edges, first.edges[1:], strict=False))
    assert np.isfinite([first.mean, first.std, *first.edges]).all()
    assert first.std > 0


def test_constant_and_empty_number_columns_are_encoded() -> None:
    assert fit_numbers(np.full(9, 7.0)).encode(column([7.0, 7.0]))[0].tolist() == [0.0, 0.0]
    empty = fit_numbers(np.full(9, np.nan))
    assert empty.encode(column(pa.nulls(2)))[1].tolist() == [True, True]


@pytest.mark.parametrize("bad", ["cheap", "1,000", "1 2", "0x1f", "--1", "inf"])
def test_a_text_in_a_number_column_is_named_with_its_row(bad: str) -> None:
    with pytest.raises(DataError) as error:
        numbers.column_as_numbers(column(["1", " 3.5 ", bad, "+2e3", " ", ""], typed=False), "c")
    assert "train/part-0 row 3" in str(error.value)
    assert bad in str(error.value)
    assert "1 value" in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 3], pa.int16()),
        pa.array([1.0, None, 3.0], pa.float32()),
        pa.array(["1", "", "3.0"]),
        pa.array(["1", " ", "3"]).dictionary_encode().dictionary_decode(),
    ],
)
def test_numbers_are_the_same_for_every_type(values: pa.Array) -> None:
    assert np.array_equal(numbers.column_as_numbers(column(values), "c"), [1.0, np.nan, 3.0], equal_nan=True)


# --- categories


def fit_frame(frame: pd.DataFrame, **changes: Any) -> Preprocessor:
    return fit_preprocessor.fit_preprocessor(SETTINGS.model_copy(update=changes), [rows(frame)]).preprocessor


def test_missing_unknown_and_frequent_categories_have_different_ids() -> None:
    frame = shop_rows(40)
    frame["country"] = ["de"] * 20 + ["fr"] * 10 + ["it"] + [None] * 4 + [""] * 5
    preprocessor = fit_frame(frame, min_category_count=2)
    assert preprocessor.categories[0].values == ("de", "fr")
    ids = preprocessor.categories[0].encode(rows(pd.DataFrame({"country": ["de", "fr", "it", "xx", None, ""]})))
    assert ids.tolist() == [2, 3, 1, 1, 0, 0]


@pytest.mark.parametrize(("min_count", "values"), [(1, ("c", "b", "a")), (2, ("c", "b")), (3, ("c",)), (4, ())])
def test_a_category_with_exactly_the_minimum_count_has_an_id(min_count: int, values: tuple[str, ...]) -> None:
    frame = shop_rows(6).assign(country=["a", "b", "b", "c", "c", "c"])
    encoder = fit_frame(frame, min_category_count=min_count).categories[0]
    assert encoder.values == values


def test_a_category_has_the_same_id_as_a_number_and_as_text() -> None:
    frame = shop_rows(40)
    frame["country"] = [1, 2] * 20
    encoder = fit_frame(frame).categories[0]
    result = [
        encoder.encode(Rows({"country": pa.array(v)}, "x", 1, True)).tolist() for v in ([1], [1.0], ["1"], ["1.0"])
    ]
    assert result == [result[0]] * 4
    assert result[0][0] >= 2


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
    counts = LabelCounts("c")
    counts.add(column(values, typed))
    result = counts.fit(SETTINGS.model_copy(update={"num_classes": len(classes)}))
    assert result.classes == classes
    assert [type(c) for c in result.classes] == [type(c) for c in classes]
    by_text = [str(c) for c in result.classes]
    encoded = result.encode(column(values, typed)).tolist()
    assert [by_text[i] for i in encoded] == [str(v) for v in values]


def fit_labels(values: list[Any], **changes: Any) -> Any:
    counts = LabelCounts("c")
    counts.add(column(values))
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
        fit_labels([0, 1]).encode(column([0, 7]))


def test_whole_numbers_below_num_classes_are_their_own_indices_even_if_one_is_absent() -> None:
    assert fit_labels([0, 2], num_classes=3).classes == (0, 1, 2)


def test_a_class_without_rows_is_a_warning_that_names_it() -> None:
    result = fit_preprocessor.fit_preprocessor(SETTINGS.model_copy(update={"num_classes": 3}), [rows(shop_rows(40))])
    assert result.preprocessor.labels.classes == (0, 1, 2)
    assert any("target = '2'" in warning for warning in result.warnings)
    assert not fit_preprocessor.fit_preprocessor(SETTINGS, [rows(shop_rows(40))]).warnings


# --- the preprocessor


def test_a_loaded_preprocessor_encodes_like_the_saved_one(tmp_path: Path) -> None:
    preprocessor = fit_frame(shop_rows(80))
    preprocessor.save(tmp_path)
    restored = Preprocessor.load(tmp_path)
    first, second = (
        preprocessor.encode([rows(shop_rows(30, 1))], "val"),
        restored.encode([rows(shop_rows(30, 1))], "val"),
    )
    for name in ("tokens", "chunk_starts", "row_starts", "categories", "numbers", "numbers_missing", "labels"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert restored.labels == preprocessor.labels


@pytest.mark.parametrize("changes", [{"tokenizer": "/no/folder"}, {"embeddings": "/no/file"}])
def test_a_missing_tokenizer_or_vectors_file_is_an_error_before_any_row_is_read(changes: dict[str, str]) -> None:
    def unread() -> Any:
        pytest.fail("a row was read")
        yield

    with pytest.raises(ZooError, match="/no/"):
        fit_preprocessor.fit_preprocessor(SETTINGS.model_copy(update=changes), unread())


def test_data_does_not_need_torch(tmp_path: Path) -> None:
    fit_frame(shop_rows(40)).save(tmp_path)
    code = (
        "import sys, socket\nfrom pathlib import Path\n"
        "socket.socket.connect = None\n"
        "from fusionzoo.data.preprocessor import Preprocessor\n"
        "from fusionzoo.data.reading.rows import rows_from_records\n"
        "p = Preprocessor.load(Path(sys.argv[1]))\n"
        "rows = rows_from_records([{'message': 'late'}], ['message', 'country', 'price', 'visits'])\n"
        "s = p.encode([rows], 'x', False)\n"
        "assert len(s) == 1\nassert 'torch' not in sys.modules\nassert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_problems_of_several_columns_are_reported_together() -> None:
    preprocessor, frame = fit_frame(shop_rows(40)), shop_rows(20, 1)
    frame["price"] = "x"
    frame["visits"] = "y"
    frame["target"] = [5, *frame["target"][1:]]
    with pytest.raises(DataError) as error:
        preprocessor.encode([rows(frame)], "val")
    assert len(error.value.problems) == 3


def test_ids_keep_their_type_and_duplicates_are_counted() -> None:
    preprocessor = fit_frame(shop_rows(40))
    for ids in (["007", "1e5", "x,y", "007"], [3, 1, 2, 3], [2**62, 1, 2, 2**62]):
        split = preprocessor.encode([rows(shop_rows(4, 1).assign(id=ids))], "val")
        assert split.ids.to_pylist() == ids
        assert split.duplicate_ids == 1


def test_blocks_with_different_id_types_are_concatenated_without_loss() -> None:
    preprocessor, frame = fit_frame(shop_rows(40)), shop_rows(2, 1)
    split = preprocessor.encode([rows(frame.assign(id=[1, 2])), rows(frame.assign(id=["a", "b"]))], "val")
    assert split.ids.to_pylist() == ["1", "2", "a", "b"]


def test_records_of_plain_values_may_lack_keys() -> None:
    preprocessor = fit_frame(shop_rows(40))
    split = preprocessor.encode(
        [rows_from_records([{"price": 1}, {}], ["message", "country", "price", "visits"])], "x", False
    )
    assert split.numbers_missing.tolist() == [[False, True], [True, True]]
    assert split.labels is None
    assert split.empty_texts == 2


# --- batches

SPLITS = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=9)


@settings(deadline=None)
@given(SPLITS, st.randoms())
def test_a_batch_holds_its_rows_unchanged(lengths: list[list[int]], random: Any) -> None:
    flat = [n for row in lengths for n in row]
    split = EncodedSplit(
        tokens=np.arange(1, sum(flat) + 1, dtype=np.int32),
        chunk_starts=np.concatenate([[0], np.cumsum(flat)]),
        row_starts=np.concatenate([[0], np.cumsum([len(row) for row in lengths])]),
        categories=np.arange(len(lengths))[:, None],
        numbers=np.zeros((len(lengths), 0), np.float32),
        numbers_missing=np.zeros((len(lengths), 0), bool),
        labels=np.arange(len(lengths)),
        ids=pa.array(range(len(lengths))),
        pad_id=0,
        dropped_tokens=0,
        empty_texts=0,
    )
    chosen = np.array(random.sample(range(len(lengths)), random.randint(1, len(lengths))))
    batch = split.batch(chosen)
    chunks = [c for r in chosen for c in range(split.row_starts[r], split.row_starts[r + 1])]
    expected = [split.tokens[split.chunk_starts[c] : split.chunk_starts[c + 1]].tolist() for c in chunks]
    assert [t[m].tolist() for t, m in zip(batch["tokens"], batch["token_mask"], strict=True)] == expected
    assert not batch["tokens"][~batch["token_mask"]].any()
    assert batch["chunk_row"].tolist() == [i for i, r in enumerate(chosen) for _ in lengths[r]]
    assert batch["row"].tolist() == batch["labels"].tolist() == batch["categories"][:, 0].tolist() == chosen.tolist()
    assert split.row_tokens().tolist() == [sum(row) for row in lengths]


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
    assert result.encode(column(values)).tolist() == [0, 1]
    preprocessor = fit_frame(shop_rows(40))
    replace(preprocessor, labels=result).save(tmp_path)
    assert Preprocessor.load(tmp_path).labels == result


LABELS = [st.integers(-(2**40), 2**40), st.floats(-1e6, 1e6), st.text(st.characters(codec="utf-8"), min_size=1)]


@given(st.one_of(st.sets(kind, min_size=2, max_size=7) for kind in LABELS), st.randoms())
def test_labels_make_a_round_trip(labels: set[Any], random: Any) -> None:
    distinct = list({canonical_label(label): label for label in labels}.values())
    assume(len(distinct) >= 2)
    values = distinct + [random.choice(distinct) for _ in range(9)]
    result = fit_labels(values, num_classes=len(distinct))
    assert [result.classes[i] for i in result.encode(column(values))] == values


def test_labels_of_mixed_types_get_one_type() -> None:
    counts = LabelCounts("c")
    for values in ([0, 1], ["1", "a"]):
        counts.add(column(values))
    assert counts.fit(SETTINGS.model_copy(update={"num_classes": 3})).classes == ("0", "1", "a")
    counts = LabelCounts("c")
    for floats in ([0, 1], [1.0, 0.5]):
        counts.add(column(floats))
    assert counts.fit(SETTINGS.model_copy(update={"num_classes": 3})).classes == (0.0, 0.5, 1.0)


def test_classes_may_name_a_class_that_train_lacks() -> None:
    assert fit_labels(["no", "yes"], num_classes=3, classes=["yes", "maybe", "no"]).classes == ("yes", "maybe", "no")


def test_large_whole_numbers_are_the_same_category_in_every_type() -> None:
    large = 12_345_678_901
    made = [pa.array([large]), pa.array([float(large)]), pa.array([str(large)]), pa.array([f"{large}.0"])]
    assert {canonicalize_column(column(values), "c")[0].as_py() for values in made} == {str(large)}
    assert canonicalize_column(column([0.1, float("nan"), None, -0.0]), "c").to_pylist() == ["0.1", None, None, "0"]


def test_booleans_are_numbers_in_every_format() -> None:
    for values in (pa.array([True, False]), pa.array(["True", "false"]), pa.array([1, 0])):
        assert numbers.column_as_numbers(column(values), "c").tolist() == [1.0, 0.0]


def test_decimals_equal_their_texts_as_numbers() -> None:
    texts = pa.array([f"{i * 7919 % 100_000 / 100:.2f}" for i in range(2000)])
    decimals = texts.cast(pa.decimal128(9, 2))
    assert np.array_equal(
        numbers.column_as_numbers(column(texts), "c"), numbers.column_as_numbers(column(decimals), "c")
    )


VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_a_record_is_read_the_same_alone_and_among_others(values: list[Any]) -> None:
    together = canonicalize_column(rows_from_records([{"c": value} for value in values], ["c"]), "c").to_pylist()
    assert together == [
        canonicalize_column(rows_from_records([{"c": value}], ["c"]), "c")[0].as_py() for value in values
    ]


# --- numbers at the limits


def test_statistics_do_not_depend_on_the_order_of_rows() -> None:
    values = np.random.default_rng(0).normal(1e6, 1, 5001)
    assert fit_numbers(values) == fit_numbers(values[::-1])


@pytest.mark.parametrize(
    "values", [[1e-200, 2e-200], [5e-324, 1e-323], [3e38, -3e38], [1e15, 1e15 + 0.125], [0.1] * 10, [-7.0]]
)
def test_extreme_numbers_are_standardized_to_finite_values(values: list[float]) -> None:
    encoder = fit_numbers(np.array(values))
    assert encoder.std > 0
    assert np.isfinite([encoder.mean, encoder.std, *encoder.edges]).all()
    assert np.isfinite(encoder.encode(column([*values, 3e38, -3e38, 0.0]))[0]).all()


@pytest.mark.parametrize("value", [1e39, -1e300, float("inf")])
def test_a_number_beyond_the_range_of_float32_is_named(value: float) -> None:
    with pytest.raises(DataError, match="train/part-0 row 2"):
        numbers.column_as_numbers(column([1.0, value]), "c")


def test_a_column_with_small_deviations_is_not_constant() -> None:
    assert fit_numbers(np.array([1e-14, 3e-14])).encode(column([1e-14, 3e-14]))[0].tolist() == [-1.0, 1.0]


# --- more of the preprocessor


def test_values_of_val_do_not_affect_the_fit(tmp_path: Path) -> None:
    preprocessor, val = fit_frame(shop_rows(60)), shop_rows(20, 1)
    preprocessor.save(tmp_path)
    saved = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for changed in (val, val.assign(price=1e9, country="xx", message="never seen")):
        preprocessor.encode([rows(changed)], "val")
        preprocessor.save(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == saved


def test_zero_rows_are_encoded_as_an_empty_split() -> None:
    preprocessor = fit_frame(shop_rows(40))
    split = preprocessor.encode([rows_from_records([], ["message", "country", "price", "visits"])], "x", labeled=False)
    assert len(split) == 0
    batch = split.batch(np.arange(0))
    assert {name: array.shape for name, array in batch.items()}["tokens"] == (0, 0)
    assert batch["categories"].shape == (0, 1)


def test_problems_of_reading_and_of_values_are_reported_together() -> None:
    def source() -> Any:
        yield rows(shop_rows(20).assign(price="cheap"))
        raise DataError([Problem("train/part-1", "it is cut", "write it again", "FZ-D999")])

    for read in (
        lambda: fit_preprocessor.fit_preprocessor(SETTINGS, source()),
        lambda: fit_frame(shop_rows(40)).encode(source(), "val"),
    ):
        with pytest.raises(DataError) as error:
            read()
        assert [fault.where for fault in error.value.problems] == ["train/part-0, column 'price'", "train/part-1"]


def test_a_single_class_and_missing_text_are_reported_together() -> None:
    with pytest.raises(DataError) as error:
        fit_frame(shop_rows(20).assign(target=1, message=None))
    assert len(error.value.problems) == 2


def test_all_text_columns_are_used_and_all_their_problems_reported() -> None:
    settings = {"text_name": ["message", "country"], "cat_field_list": []}
    frame = shop_rows(40)
    preprocessor = fit_frame(frame, **settings)
    assert preprocessor.text is not None
    words = preprocessor.text.tokenizer.backend.get_vocab()
    tokens = preprocessor.encode([rows(frame.iloc[[0]].assign(message="late box", country="de"))], "x").tokens
    assert [words[w] for w in ("message", ":", "late", "box", "country", ":", "de")] == tokens.tolist()
    nested = rows(frame).columns | dict.fromkeys(("message", "country"), pa.array([["a"]] * 40))
    with pytest.raises(DataError) as error:
        preprocessor.encode([Rows(nested, "x", 1, typed=True)], "x")
    assert [fault.where for fault in error.value.problems] == ["x, column 'message'", "x, column 'country'"]


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ([[1, 2], ["a"]], ["1", "2", "a"]),
        ([[12_345_678_901], [1.0, 12_345_678_902.0]], ["12345678901", "1", "12345678902"]),
        ([pa.array([2**64 - 1], pa.uint64()), [-1]], [str(2**64 - 1), "-1"]),
        ([pa.array([1], pa.int8()), pa.array([2**40])], [1, 2**40]),
        ([pa.nulls(2), [7]], [None, None, 7]),
        ([["1"], pa.array(["2"], pa.large_string())], ["1", "2"]),
        ([pa.nulls(1), pa.nulls(1)], [None, None]),
        ([[True], ["a"]], ["True", "a"]),
    ],
)
def test_ids_of_several_part_files_are_kept_without_loss(parts: list[Any], joined: list[Any]) -> None:
    preprocessor, sources = fit_frame(shop_rows(40)), []
    for ids in parts:
        plain = rows(shop_rows(9, 1)[: len(ids)])
        sources.append(Rows({**plain.columns, "id": ids if isinstance(ids, pa.Array) else pa.array(ids)}, "x", 1, True))
    split = preprocessor.encode(sources, "x", labeled=False)
    assert split.ids.to_pylist() == joined
    assert split.duplicate_ids == len(joined) - len(set(joined))


@pytest.mark.parametrize("file", ["preprocessor.json", "tokenizer.json"])
def test_a_damaged_model_folder_is_named(file: str, tmp_path: Path) -> None:
    fit_frame(shop_rows(40)).save(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:200])
    with pytest.raises(ModelFolderError, match=file):
        Preprocessor.load(tmp_path)


def test_real_reviews_are_encoded_the_same_from_parquet_and_csv(real_data: Path, minilm: str, tmp_path: Path) -> None:
    table = pq.read_table(next((real_data / "review_threads/train").glob("*.parquet"))).slice(0, 300)
    texts = [f.name for f in table.schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    frame = table.select(texts).to_pandas().assign(row=range(300), half=np.arange(300) % 2)
    for name, write in (("a", frame.to_parquet), ("b", frame.to_csv)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / ("part.parquet" if name == "a" else "part.csv"), index=False)
    use = DataSettings(id_name="row", label_name="half", text_name=texts, num_classes=2, tokenizer=minilm)
    splits = []
    for name in ("a", "b"):
        channel = open_channel("train", tmp_path / name, use.columns)
        splits.append(fit_preprocessor.fit_preprocessor(use, channel).preprocessor.encode(channel, "train"))
    assert np.array_equal(splits[0].tokens, splits[1].tokens)
    assert len(splits[0].tokens) > 300 * 3
    assert [str(i) for i in splits[0].ids.to_pylist()] == splits[1].ids.to_pylist()
