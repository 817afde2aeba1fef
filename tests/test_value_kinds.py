"""Messages about values of the wrong kind use the words of JSON, name the first row, and say what to write."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import rows_from_records
from fusionzoo.data.reading.value_kinds import describe_type, wrong_type
from fusionzoo.errors import DataError
from predictor_helpers import rows_from_data_frame
from shop import shop_rows

ROLES = {"id": "id", "text": "message", "category": "country", "number": "price", "label": "target"}
NESTED: list[tuple[str, Any]] = [
    ("arrays", ["a", "b"]),
    ("arrays", []),
    ("arrays", [1, 2]),
    ("arrays", [{"a": 1}]),
    ("arrays", [["a"]]),
    ("objects", {}),
    ("objects", {"a": 1, "b": None}),
    ("objects", {"a": {"b": [1]}}),
]
WORDS_OF_ARROW = (
    "list<",
    "struct<",
    "item:",
    "binary",
    "duration[",
    "timestamp[",
    "date32",
    "time64",
    "large_",
    "map<",
)


def write_json(rows: list[dict[str, Any]], folder: Path) -> None:
    (folder / "part.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(rows: list[dict[str, Any]], folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / "part.parquet")


def read_error(rows: list[dict[str, Any]], folder: Path, write: Any) -> str:
    folder.mkdir()
    write(rows, folder)
    with pytest.raises(DataError) as error:
        fit_preprocessor(SETTINGS, open_channel("train", folder, SETTINGS.columns))
    return str(error.value)


@pytest.mark.parametrize("write", [write_json, write_parquet])
@pytest.mark.parametrize("role", ROLES)
def test_a_nested_value_in_any_role_is_an_array_or_object_in_the_message(role: str, write: Any, tmp_path: Path) -> None:
    for number, (words, value) in enumerate(NESTED):
        if write is write_parquet and value == {}:
            continue  # Parquet has no structs without fields
        rows = json.loads(shop_rows(6).to_json(orient="records"))
        for row in rows[:2]:
            row[ROLES[role]] = None
        for row in rows[2:] if write is write_parquet else rows[2:4]:
            row[ROLES[role]] = value
        message = read_error(rows, tmp_path / str(number), write)
        assert f"column '{ROLES[role]}': the column holds {words}, not" in message
        assert f"row 3 has {json.dumps(value)}" in message
        fix = "set task: multilabel" if (role, words) == ("label", "arrays") else "give each"
        assert fix in message.split("Fix: ")[1]
        assert not [word for word in WORDS_OF_ARROW if word in message]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"ab", "bytes"),
        (datetime.timedelta(1), "durations"),
        (datetime.date(2024, 1, 2), "dates"),
        (datetime.datetime(2024, 1, 2, 3), "dates with times"),
        (datetime.time(3), "times"),
    ],
)
def test_a_number_column_of_another_kind_says_what_to_write(value: Any, words: str) -> None:
    rows = rows_from_records([{"price": None}, {"price": value}], ["price"])
    problem = wrong_type(rows, "price", "numbers")
    assert problem.message.startswith(f"the column holds {words}, not numbers")
    assert "number" in problem.fix or "decode" in problem.fix


def test_an_object_among_arrays_and_plain_values_is_named() -> None:
    for values, words, first in (
        (["a", {"k": 1}, [2]], "objects", 'records[1] has {"k": 1}'),
        (["a", [2], {"k": 1}], "arrays", "records[1] has [2]"),
    ):
        rows = rows_from_records([{"c": value} for value in values], ["c"])
        problem = wrong_type(rows, "c", "text or plain values")
        assert f"holds {words}" in problem.message
        assert first in problem.message
    frame = pd.DataFrame({"c": ["a", {"k": 1}]})
    assert "row 2 has" in wrong_type(rows_from_data_frame(frame, ["c"]), "c", "numbers").message


@pytest.mark.parametrize(
    ("arrow_type", "words"),
    [
        (pa.string(), "strings"),
        (pa.large_string(), "strings"),
        (pa.int8(), "integers"),
        (pa.uint64(), "integers"),
        (pa.float32(), "numbers"),
        (pa.decimal128(5, 2), "numbers"),
        (pa.bool_(), "true and false"),
        (pa.binary(3), "bytes"),
        (pa.large_binary(), "bytes"),
        (pa.duration("s"), "durations"),
        (pa.date64(), "dates"),
        (pa.time32("s"), "times"),
        (pa.timestamp("ns", "UTC"), "dates with times"),
        (pa.list_(pa.int8(), 2), "arrays"),
        (pa.large_list(pa.int8()), "arrays"),
        (pa.struct([("a", pa.int8())]), "objects"),
        (pa.map_(pa.string(), pa.int8()), "objects"),
    ],
)
def test_every_type_has_a_plain_name(arrow_type: pa.DataType, words: str) -> None:
    assert describe_type(arrow_type) == words
