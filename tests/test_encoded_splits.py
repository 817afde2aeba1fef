"""Encoded splits: files, batches, digests, and texts of any script."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_helpers import ARRAYS, SETTINGS, are_equal, difficult_rows, encode_folder, write_part
from fusionzoo.data import array_store, fit_preprocessor
from fusionzoo.data.encoded import EncodedSplit, concatenate_splits
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.rows import rows_from_records
from fusionzoo.data.row_digests import compute_row_digests
from fusionzoo.errors import DataError
from shop import shop_rows

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


# --- independent of the files, and fitted on train alone


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl", "csv.gz"])
@pytest.mark.parametrize("files", [1, 50])
def test_splits_do_not_depend_on_format_or_number_of_files(suffix: str, files: int, tmp_path: Path) -> None:
    frame = pd.concat([difficult_rows(), difficult_rows().iloc[::-1]], ignore_index=True)
    write_part(frame, tmp_path / "one/data/train/part-0.parquet")
    for i, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        write_part(frame.iloc[rows], tmp_path / f"other/data/train/part-{i}.{suffix}")
    first, second = encode_folder(tmp_path / "one/data"), encode_folder(tmp_path / "other/data")
    one_split, other_split = first.splits["train"], second.splits["train"]
    assert all(np.array_equal(getattr(one_split, name), getattr(other_split, name)) for name in ARRAYS)
    assert [str(i) for i in one_split.ids.to_pylist()] == [str(i) for i in other_split.ids.to_pylist()]
    assert first.preprocessor.numbers == second.preprocessor.numbers
    assert first.preprocessor.categories == second.preprocessor.categories
    assert first.preprocessor.text is not None
    assert second.preprocessor.text is not None
    assert np.array_equal(first.preprocessor.text.vectors, second.preprocessor.text.vectors)


def test_a_problem_of_many_blocks_is_reported_once_with_its_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 10)
    write_part(shop_rows(60).assign(price="cheap"), tmp_path / "data/train/part-0.csv")
    with pytest.raises(DataError) as error:
        encode_folder(tmp_path / "data")
    assert len(error.value.problems) == 1
    assert "60 values" in str(error.value)
    assert "row 1 'cheap'" in str(error.value)


# --- rows that are in two splits


def test_a_digest_depends_on_every_field_of_a_row_except_its_id() -> None:
    base = {"id": "a", "message": "it was late", "country": "de", "price": 1.5, "visits": 2.0, "target": 1}
    changes: list[dict[str, Any]] = [
        {},
        {"message": "it was  late"},
        {"message": "it was latf"},
        {"message": None},
        {"message": "it was late\x1fde", "country": None},
        {"country": "never seen in train"},
        {"country": "nor this"},
        {"country": None},
        {"price": 2.0, "visits": 1.5},
        {"price": None},
        {"price": fitted_mean()},
        {"target": 0},
    ]
    fitted = fit_preprocessor.fit_preprocessor(
        SETTINGS, [rows_from_records(shop_rows(40).to_dict("records"), SETTINGS.columns)]
    ).preprocessor
    rows = rows_from_records([{**base, **change} for change in [*changes, {"id": "other"}]], SETTINGS.columns)
    result = fitted.encode([rows], "x").digests
    assert result is not None
    assert len(set(result)) == len(changes)
    assert result[-1] == result[0]


def test_a_digest_depends_on_the_order_of_number_columns() -> None:
    rows = rows_from_records(shop_rows(3).to_dict("records"), SETTINGS.columns)
    first, second = np.float32([1, 2, 3]), np.float32([3, 2, 1])
    result = [compute_row_digests(SETTINGS, rows, numbers) for numbers in ([first, second], [second, first])]
    assert (result[0] == result[1]).tolist() == [False, True, False]


def fitted_mean() -> float:
    """Return the price that has the same standardized value as a missing one."""
    fitted = fit_preprocessor.fit_preprocessor(
        SETTINGS, [rows_from_records(shop_rows(40).to_dict("records"), SETTINGS.columns)]
    ).preprocessor
    return fitted.numbers[0].mean


# --- files of encoded splits


IDS = [
    st.integers(-(2**62), 2**62),
    st.text(st.characters(codec="utf-8"), max_size=9),
    st.none(),
    st.booleans(),
    st.floats(-1e6, 1e6),
]


@settings(deadline=None, max_examples=60)
@given(ids=st.lists(st.one_of(st.lists(kind, min_size=1, max_size=5) for kind in IDS), min_size=1, max_size=5))
def test_a_split_read_from_files_equals_the_one_in_memory(
    ids: list[list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split")
    fitted = fit_preprocessor.fit_preprocessor(
        SETTINGS, [rows_from_records(shop_rows(40).to_dict("records"), SETTINGS.columns)]
    ).preprocessor
    rows = shop_rows(5, 1).to_dict("records")
    sources = [
        rows_from_records([{**row, "id": value} for row, value in zip(rows, part, strict=False)], SETTINGS.columns)
        for part in ids
    ]
    array_store.write_split(folder, fitted.encode_blocks(sources, "train"))
    assert are_equal(array_store.read_split(folder), fitted.encode(sources, "train"))
    assert array_store.read_split(folder).ids.type == fitted.encode(sources, "train").ids.type


def test_a_split_without_text_fields_or_labels_is_stored_in_files_too(tmp_path: Path) -> None:
    use = SETTINGS.model_copy(update={"text_name": None, "cat_field_list": [], "tab_field_list": ["price"]})
    rows = [rows_from_records(shop_rows(20).to_dict("records"), use.columns)]
    fitted = fit_preprocessor.fit_preprocessor(use, rows).preprocessor
    array_store.write_split(tmp_path, fitted.encode_blocks(rows, "x", labeled=False))
    result = array_store.read_split(tmp_path)
    assert are_equal(result, fitted.encode(rows, "x", labeled=False))
    assert result.labels is None
    assert result.batch(np.array([3, 1]))["tokens"].shape == (0, 0)


def test_blocks_are_released_one_after_the_other(tmp_path: Path) -> None:
    """Memory does not grow with the rows: while a block is written, at most the one before it still exists."""
    fitted = fit_preprocessor.fit_preprocessor(
        SETTINGS, [rows_from_records(shop_rows(40).to_dict("records"), SETTINGS.columns)]
    ).preprocessor
    alive: list[weakref.ref[Any]] = []
    max_alive = 0

    def source() -> Iterator[Any]:
        nonlocal max_alive
        for seed in range(12):
            rows = rows_from_records(shop_rows(30, seed).to_dict("records"), SETTINGS.columns)
            alive.append(weakref.ref(rows))
            gc.collect()
            max_alive = max(max_alive, sum(ref() is not None for ref in alive))
            yield rows
            del rows

    def blocks() -> Iterator[EncodedSplit]:
        for block in fitted.encode_blocks(source(), "train"):
            alive.append(weakref.ref(block))
            yield block
            del block

    array_store.write_split(tmp_path, blocks())
    assert len(array_store.read_split(tmp_path)) == 360
    assert max_alive <= 4  # the block that is read, the one before it, and the encoded forms of either


# --- difficult texts


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "word " * 400_000,
        "\0" * 1000 + "after",
        "مرحبا بالعالم " * 50 + "\u202eright to left\u202c",
        "👩‍👩‍👧‍👦🏳️‍🌈" * 5000 + "family",
        "漢" * 500_000,
        "[bom]" * 200_000 + "deep",
        "é" * 100_000 + "e\u0301" * 100_000,
    ],
    ids=lambda text: f"{text[:6]!r} of {len(text)}",
)
@pytest.mark.parametrize("name", ["minilm", "word"])
def test_texts_of_any_script_and_length_are_encoded(name: str, text: str, minilm: str) -> None:
    """Steps that need quadratic time would take hours for these texts."""
    use = SETTINGS.model_copy(update={"tokenizer": minilm if name == "minilm" else "word", "word_min_count": 1})
    frame = shop_rows(20)
    rows = [rows_from_records([*frame.to_dict("records")[:-1], {**frame.iloc[-1], "message": text}], use.columns)]
    fitted = fit_preprocessor.fit_preprocessor(use, rows).preprocessor
    split = fitted.encode(rows, "train")
    assert len(split) == 20
    assert fitted.text is not None
    chunks = np.diff(split.row_starts)[-1]
    assert 1 <= chunks <= (use.max_total_chunks or 0)
    assert np.diff(split.chunk_starts).max() <= use.max_sen_len


def test_concatenated_blocks_equal_the_split(tmp_path: Path) -> None:
    fitted = fit_preprocessor.fit_preprocessor(
        SETTINGS, [rows_from_records(shop_rows(40).to_dict("records"), SETTINGS.columns)]
    ).preprocessor
    records = shop_rows(31, 3).to_dict("records")
    expected = fitted.encode([rows_from_records(records, SETTINGS.columns)], "x")
    parts = [rows_from_records(records[i : i + 7], SETTINGS.columns) for i in range(0, 31, 7)]
    assert are_equal(concatenate_splits(fitted.encode_blocks(parts, "x")), expected)
    assert isinstance(fitted, Preprocessor)
