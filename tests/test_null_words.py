"""A word for null is missing in every role, file format, record and data frame, and stays a value in ids and labels."""

from __future__ import annotations

import datetime
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS, write_part
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.null_words import MAX_COMPARED
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.errors import DataError
from predictor_helpers import rows_from_data_frame
from shop import shop_rows

WORDS = ["\\N", "NULL", "null", "NA", "n/a", "#N/A", "NaN", "nan", "-nan", "None", "none", "NaT", "<NA>", "", " NULL "]
FORMATS = [".csv", ".tsv", ".parquet", ".jsonl", ".csv.gz"]


def fit(frame: pd.DataFrame, **changes: Any) -> Preprocessor:
    settings = SETTINGS.model_copy(update=changes)
    return fit_preprocessor(settings, [rows_from_records(frame.to_dict("records"), settings.columns)]).preprocessor


def encoded(split: EncodedSplit) -> list[Any]:
    batch = split.batch(split.row_starts[:-1] * 0 + range(len(split)))
    return [batch[name].tolist() for name in ("tokens", "categories", "numbers", "numbers_missing")]


def with_value(value: Any, rows: int = 3) -> pd.DataFrame:
    columns = {name: pd.Series([value] * rows, dtype=object) for name in ("message", "country", "price", "visits")}
    return shop_rows(rows, 1).assign(**columns)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_null_is_missing_in_every_role_and_format(word: str, tmp_path: Path) -> None:
    preprocessor = fit(shop_rows(60))
    columns = SETTINGS.columns
    expected = encoded(preprocessor.encode([rows_from_records(with_value(None).to_dict("records"), columns)], "val"))
    assert expected[1:] == [[[0]] * 3, [[0.0, 0.0]] * 3, [[True, True]] * 3]
    frame = with_value(word)
    sources = [[rows_from_records(frame.to_dict("records"), columns)], [rows_from_data_frame(frame, columns)]]
    for suffix in FORMATS:
        write_part(frame, tmp_path / suffix / f"part{suffix}")
        sources.append(list(open_channel("val", tmp_path / suffix, columns)))
    for source in sources:
        split = preprocessor.encode(source, "val")
        assert encoded(split) == expected
        assert split.empty_texts == 3


def test_training_with_words_for_null_is_training_with_nulls(tmp_path: Path) -> None:
    frame = shop_rows(80)
    words = frame.assign(
        **{
            name: frame[name].astype(object).where(frame[name].notna(), "\\N")
            for name in ("country", "price", "message")
        }
    )
    fit(frame).save(tmp_path)
    expected = (tmp_path / "preprocessor.json").read_bytes()
    fit(words).save(tmp_path)
    assert (tmp_path / "preprocessor.json").read_bytes() == expected
    assert Preprocessor.load(tmp_path).settings.null_values == SETTINGS.null_values


def test_null_values_replace_the_default_words() -> None:
    train = shop_rows(60).assign(country=["NA", "de", "none"] * 20)
    assert fit(train).categories[0].values == ("de",)
    assert fit(train, null_values=[]).categories[0].values == ("NA", "de", "none")
    assert fit(train, null_values=["none"]).categories[0].values == ("NA", "de")


@pytest.mark.parametrize("value", [-999, -999.0, "-999", "-999.00", "-999.", " -999"])
def test_a_number_can_be_a_word_for_null_in_every_type(value: Any) -> None:
    preprocessor = fit(shop_rows(60), null_values=["-999"])
    rows = rows_from_records(with_value(value).to_dict("records"), SETTINGS.columns)
    assert encoded(preprocessor.encode([rows], "val"))[1:] == [[[0]] * 3, [[0.0, 0.0]] * 3, [[True, True]] * 3]


VALUES_AND_TEXTS = {  # a word, the typed value, other texts of the value
    "false": (False, ["FALSE", "False", " false"]),
    "TRUE": (True, ["true"]),
    "1900-01-01": (datetime.date(1900, 1, 1), ["1900-01-01T00:00:00", "1900-01-01 00:00"]),
    "1900-01-01T00:00:00": (datetime.datetime(1900, 1, 1), ["1900-01-01", "1900-01-01 00:00:00.000"]),
    "1900-01-01T00:00:00Z": (
        datetime.datetime(1900, 1, 1, tzinfo=datetime.timezone.utc),
        ["1900-01-01 00:00:00+00:00", "1900-01-01T01:00:00+01:00"],
    ),
    "23:59:59": (datetime.time(23, 59, 59), [" 23:59:59 "]),
    "inf": (float("inf"), ["INF"]),
    "-999.5": (Decimal("-999.50"), ["-999.50"]),
}


@pytest.mark.parametrize("word", VALUES_AND_TEXTS)
def test_a_value_of_any_type_can_be_a_word_for_null(word: str, tmp_path: Path) -> None:
    """So a row has one score, as text in CSV, as a typed value in Parquet and in a block with other types."""
    preprocessor, frame = fit(shop_rows(60), null_values=[word]), shop_rows(3, 1)
    typed, texts = VALUES_AND_TEXTS[word]
    blocks = []
    for i, value in enumerate([typed, word, *texts]):
        (tmp_path / str(i)).mkdir()
        columns = {name: pd.Series(frame[name]) for name in frame} | {"country": pd.Series([value] * 3, dtype=object)}
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        pq.write_table(table, tmp_path / str(i) / "part.parquet")
        blocks.append(list(open_channel("val", tmp_path / str(i), SETTINGS.columns)))
    for block in blocks:
        assert encoded(preprocessor.encode(block, "val"))[1] == [[0]] * 3
    other = fit(shop_rows(60), null_values=["-998"])
    assert encoded(other.encode(blocks[0], "val"))[1] == [[1]] * 3  # an unknown value


@pytest.mark.parametrize("words", [["NA"], ["-999"]])
def test_a_time_zone_that_the_machine_does_not_know_is_a_problem_of_the_column(words: list[str]) -> None:
    frame = shop_rows(3, 1)
    times = pa.array([0, 1, 2], pa.timestamp("us", "Nowhere/City"))
    columns = {name: pa.array(frame[name]) for name in SETTINGS.columns} | {"country": times}
    with pytest.raises(DataError, match=r"column .country.: the column holds dates with times.* convert the values"):
        fit(shop_rows(60), null_values=words).encode([Rows(columns, "rows", 1, typed=True)], "val")


def test_ids_and_labels_may_be_words_for_null(tmp_path: Path) -> None:
    frame = shop_rows(60).assign(target=["NA", "none"] * 30)
    frame["id"] = ["NULL", "\\N", *frame["id"][2:]]
    (tmp_path / "c").mkdir()
    (tmp_path / "c/a.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    channel = open_channel("c", tmp_path / "c", SETTINGS.columns)
    preprocessor = fit_preprocessor(SETTINGS, channel).preprocessor
    assert preprocessor.target.classes == ("NA", "none")
    assert preprocessor.encode(channel, "c").ids.to_pylist()[:2] == ["NULL", "\\N"]


def test_a_long_text_that_contains_a_word_for_null_is_a_text() -> None:
    preprocessor = fit(shop_rows(60))
    for text in ("null and void", "NA" * 40, f"{' ' * 99}order"):
        rows = rows_from_records(with_value(None).assign(message=text).to_dict("records"), SETTINGS.columns)
        assert preprocessor.encode([rows], "val").empty_texts == 0


def test_a_row_is_encoded_the_same_in_a_small_and_in_a_large_block() -> None:
    preprocessor = fit(shop_rows(60), null_values=["-999", "n/a"])
    assert preprocessor.text is not None
    tokenizer, frame = preprocessor.text.tokenizer, shop_rows(300, 1)
    frame["country"] = frame["country"].astype(object)
    frame["message"] = [f"{' ' * (i % 60)}n/a" if i % 2 else "late " * i for i in range(300)]
    frame.loc[:5, "country"] = ["-999.0", "n/a", "unknown", "de ", "7.00", None]
    block = rows_from_data_frame(frame, SETTINGS.columns)
    assert block.columns["message"].nbytes > MAX_COMPARED
    whole = preprocessor.encode_unlabeled(block, tokenizer)
    for i in range(0, 300, 3):
        part = preprocessor.encode_unlabeled(block.slice(i, i + 3), tokenizer)
        for name, values in part.batch(np.arange(3)).items():
            if name in ("categories", "numbers", "numbers_missing"):
                np.testing.assert_array_equal(values, whole.batch(np.arange(i, i + 3))[name])
        assert part.row_tokens().tolist() == whole.row_tokens()[i : i + 3].tolist()
