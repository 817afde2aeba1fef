"""Blank lines of CSV and TSV: rows with a missing value in files of one column, and no rows in others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from fusionzoo.data.reading import blocks, limits
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.errors import DataError
from predictor_helpers import make_predictor
from serve_helpers import CSV, Server

NAMED = ReadOptions(header=("text",))


def read(folder: Path, content: str, options: ReadOptions | None = None, name: str = "text") -> list[str | None]:
    """Return the values of a column of a CSV file, and check the numbers of its rows."""
    folder.mkdir(exist_ok=True)
    (folder / "part.csv").write_bytes(content.encode())
    values: list[str | None] = []
    for rows in open_channel("test", folder, [name], options):
        assert [rows.row_number(i) for i in range(len(rows))] == list(
            range(len(values) + 1, len(values) + len(rows) + 1)
        )
        values += column_as_text(rows, name).to_pylist()
    return values


def test_a_column_that_pyarrow_writes_is_read_with_its_missing_values(tmp_path: Path) -> None:
    texts = ["good", None, None, "bad", None]
    table = pa.table({"text": pa.array(texts)})
    for has_header, options in ((True, None), (False, NAMED)):
        pacsv.write_csv(table, tmp_path / "x.csv", pacsv.WriteOptions(include_header=has_header))
        assert read(tmp_path / "data", (tmp_path / "x.csv").read_text(), options) == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("lines", "options", "values"),
    [
        (["text", "a", "", "b", ""], None, ["a", None, "b"]),
        (["text", "", "a"], None, [None, "a"]),
        (["", "text", "", "a"], None, [None, "a"]),  # blank lines before the header
        (["text", "a", "", "", ""], None, ["a", None, None]),  # the last line end is that of the last row
        (["a", "", "b"], NAMED, ["a", None, "b"]),
        (["", "", "b", ""], NAMED, [None, None, "b"]),
        (["", "", ""], NAMED, [None, None]),
        (["", "a,1", "", "b,2", "", ""], ReadOptions(header=("text", "n")), ["a", "b"]),
        (["text,n", "", "a,1", "", "b,2", ""], None, ["a", "b"]),
        (["", "a", ""], ReadOptions(header=("text", "label"), optional_names=("label",)), [None, "a"]),
    ],
)
def test_a_blank_line_is_a_row_of_a_single_column_only(
    lines: list[str], options: ReadOptions | None, values: list[str | None], end: str, tmp_path: Path
) -> None:
    assert read(tmp_path / "data", end.join(lines), options) == values


def test_a_numbered_column_is_read_alike(tmp_path: Path) -> None:
    assert read(tmp_path / "data", "\na\n\nb\n", ReadOptions(header=False), "0") == [None, "a", None, "b"]


def test_rows_are_numbered_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    assert read(tmp_path / "data", "text\n" + "a\n\n" * 9) == ["a", None] * 9


def test_a_file_that_was_filled_with_line_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BLANK_LINES", 100)
    assert len(read(tmp_path / "allowed", "text\n" + "\n" * 100)) == 100
    with pytest.raises(DataError, match="FZ-D320"):
        read(tmp_path / "data", "text\n" + "\n" * 101)


def text_server() -> Server:
    frame = pd.DataFrame({"id": ["1", "2"] * 20, "message": ["fine", "late"] * 20, "target": [0, 1] * 20})
    predictor, session = make_predictor(frame=frame, cat_field_list=[], tab_field_list=[])
    session.scores = lambda rows: np.full((rows, 2), 0.5, np.float32)
    return Server(predictor)


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ("fine\n\nlate\n", 3),
        ("\nfine", 2),
        ("\n", 1),  # a batch transform that sends each line alone
        ("\r\n\r\n", 2),
        ("message\nfine\n\n", 2),
        ("message,id\nfine,1\n\n", 1),
        ("fine", 1),
    ],
)
def test_each_line_of_a_request_has_its_line_in_the_response(body: str, rows: int) -> None:
    response = text_server().post(body, CSV)
    assert response.status_code == 200, response.text
    assert len(response.text.splitlines()) == rows + body.startswith("message")


@pytest.mark.parametrize(("body", "content_type"), [("", CSV), ("\n", f"{CSV}; header=present"), ("message\n", CSV)])
def test_a_request_without_rows_is_refused(body: str, content_type: str) -> None:
    assert text_server().post(body, content_type).status_code == 400


def test_a_blank_body_is_no_row_of_several_columns() -> None:
    assert Server().post("\n\n", CSV).status_code == 400
