"""Delimited files of other tools: their delimiters, quotes, escapes and headers."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_helpers import SETTINGS
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.errors import DataError
from parsing_helpers import REQUIRED, encode_v2, encode_v3, parse, parse_error
from predictor_helpers import make_predictor

COLUMNS = ["id", "text", "cat", "label"]
ROWS = [[f"r{i}", f"a text {i}", "a", str(i % 2)] for i in range(20)]


def read(folder: Path, columns: list[str] = COLUMNS, **options: Any) -> list[list[str | None]]:
    channel = open_channel("train", folder, columns, ReadOptions(**options))
    return [list(row) for rows in channel for row in zip(*(rows.columns[c].to_pylist() for c in columns), strict=True)]


def read_problem(folder: Path, columns: list[str] = COLUMNS, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        read(folder, columns, **options)
    return str(error.value)


def write(path: Path, rows: list[list[str]], delimiter: str = ",", header: bool = True) -> None:
    """Write rows as they are, without quoting."""
    lines = [delimiter.join(row) for row in ([COLUMNS] if header else []) + rows]
    path.write_text("\n".join(lines) + "\n")


def with_texts(texts: dict[int, str]) -> list[list[str]]:
    return [[row[0], texts.get(i, row[1]), *row[2:]] for i, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    "texts",
    [
        {3: '"great screen', 8: 'a screen of 5"'},
        {3: '"great screen', 4: 'a screen of 5"'},
        {0: '"Quoted" start'},
        {19: '"'},
        {3: '"open', 5: '"open', 9: 'close"'},
        {2: '"all of it"', 7: '"only a start'},
        {4: 'a "word" inside', 5: '5" and 6"'},
    ],
)
def test_quotes_are_ordinary_characters_in_a_tsv_file_without_quoting(texts: dict[int, str], tmp_path: Path) -> None:
    write(tmp_path / "part.tsv", with_texts(texts), "\t")
    assert read(tmp_path) == with_texts(texts)


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize(
    "text", ['say "hi"', "two\nlines", "a\ttab", '"', '""', '"all of it"', "one\n\nparagraph\tmore"]
)
def test_a_tsv_file_with_quoting_is_read_as_its_writer_means_it(text: str, quoting: Any, tmp_path: Path) -> None:
    rows = with_texts({5: text, 6: 'b "c" d'})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.to_csv(tmp_path / "part.tsv", sep="\t", index=False, quoting=quoting)
    assert read(tmp_path) == rows


def test_values_in_quotes_that_may_be_text_or_quoting_are_a_problem_until_csv_quote_says_which(tmp_path: Path) -> None:
    write(tmp_path / "part.tsv", with_texts({2: '"all of it"', 7: '"say ""hi"""'}), "\t")
    message = read_problem(tmp_path)
    assert "train/part.tsv: line 9 uses quotes to enclose a value, but in line 4" in message
    assert "csv_quote" in message
    assert read(tmp_path, quote='"')[2][1] == "all of it"
    assert read(tmp_path, quote="")[2][1] == '"all of it"'


@pytest.mark.parametrize("column", [0, 1, 3])
@pytest.mark.parametrize(("first", "last"), [(3, 8), (3, 4), (0, 19)])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_stray_quote_never_joins_rows_silently(
    suffix: str, first: int, last: int, column: int, tmp_path: Path
) -> None:
    rows = [list(row) for row in ROWS]
    rows[first][column] = '"' + rows[first][column]
    rows[last][column] += '"'
    write(tmp_path / f"part.{suffix}", rows, "\t" if suffix == "tsv" else ",")
    message = read_problem(tmp_path, quote='"')
    assert f"begins in line {first + 2} and ends in line {last + 2}" in message
    assert "csv_quote" in message
    assert read(tmp_path, quote="") == rows


def test_a_stray_quote_that_ends_in_another_column_is_named_with_both_lines(tmp_path: Path) -> None:
    rows = [list(row) for row in ROWS]
    rows[3][1], rows[8][2] = '"great screen', 'a"'
    write(tmp_path / "part.csv", rows)
    assert "lines 5 to 10 (3)" in read_problem(tmp_path)


@pytest.mark.parametrize("text", ["Hello all,\nthis, too, is one\n\ntext", "a,b,c\nd", "one, two, three\nfour, five"])
def test_a_text_of_several_lines_is_no_stray_quote(text: str, tmp_path: Path) -> None:
    rows = with_texts({4: text})
    with (tmp_path / "part.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    assert read(tmp_path) == rows


def test_backslash_escapes_of_spark_are_suggested_and_read(tmp_path: Path) -> None:
    texts = {1: 'she said "hi", twice', 2: "C:\\new\\table", 3: 'ends with 5"', 4: 'a\\"b', 5: '"', 6: "two\nlines"}
    rows = with_texts(texts)
    escaped = {i: '"{}"'.format(text.replace('\\"', '\\\\"').replace('"', '\\"')) for i, text in texts.items()}
    escaped[4] = '"a\\\\\\"b"'
    write(tmp_path / "part.csv", with_texts(escaped))
    assert 'set csv_escape to "\\\\"' in read_problem(tmp_path)
    assert read(tmp_path, escape="\\") == rows


def test_escapes_of_a_file_without_quotes_are_read_as_mysql_writes_them(tmp_path: Path) -> None:
    write(tmp_path / "part.tsv", with_texts({1: r"tab\tline\nback\\nslash", 2: "\\N", 3: "a\\\tb"}), "\t")
    result = read(tmp_path, escape="\\", quote="")
    assert [result[i][1] for i in (1, 2, 3)] == ["tab\tline\nback\\nslash", "\\N", "a\tb"]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolon"), ("|", "pipe"), ("\t", "tab")])
def test_another_delimiter_is_suggested_and_read(delimiter: str, name: str, tmp_path: Path) -> None:
    write(tmp_path / "part.csv", ROWS, delimiter)
    message = read_problem(tmp_path)
    assert f"the delimiter of the file is a {name}: set csv_delimiter" in message
    assert read(tmp_path, delimiter=delimiter) == ROWS


def test_a_tsv_file_with_commas_is_a_problem_that_says_so(tmp_path: Path) -> None:
    write(tmp_path / "part.tsv", ROWS)
    assert "the delimiter of the file is a comma: rename the file to .csv" in read_problem(tmp_path)


@pytest.mark.parametrize("rows", [ROWS, [["r", "a text", "b", "yes"], ["s", "b", "c", "no"]]])
def test_a_missing_header_is_suggested_and_names_may_be_given(rows: list[list[str]], tmp_path: Path) -> None:
    write(tmp_path / "part.csv", rows, header=False)
    assert 'csv_header to the list of the 4 column names, such as ["id", "text", "cat", ...]' in read_problem(tmp_path)
    assert read(tmp_path, header=tuple(COLUMNS)) == rows
    assert read(tmp_path, ["0", "3"], header=False) == [[row[0], row[3]] for row in rows]


def test_a_line_with_fewer_values_than_columns_is_no_row_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text("texts,1\na,2\n")
    message = read_problem(tmp_path)
    assert "csv_header" not in message
    assert "column 'text' does not exist. Fix: did you mean 'texts'?" in message


def test_names_given_for_a_file_with_a_header_or_another_width_are_problems(tmp_path: Path) -> None:
    write(tmp_path / "part.csv", ROWS)
    assert "the first line is a header" in read_problem(tmp_path, header=tuple(COLUMNS))
    assert "21 rows with another number of columns" in read_problem(tmp_path, header=(*COLUMNS[:3], "x", "label"))


def test_an_unnamed_index_column_of_pandas_can_be_used(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    frame.to_csv(tmp_path / "part.csv")
    assert read(tmp_path, ["Unnamed: 0", "text"])[7] == ["7", "a text 7"]


def test_the_dialect_is_checked_and_reaches_the_files(tmp_path: Path) -> None:
    text = io.StringIO()
    pd.DataFrame(ROWS, columns=COLUMNS).to_csv(text, sep=";", index=False, quotechar="'")
    (tmp_path / "part.csv").write_text(text.getvalue())
    settings = SETTINGS.model_copy(update={"csv_delimiter": ";", "csv_quote": "'", "csv_header": True})
    channel = open_channel("train", tmp_path, COLUMNS, ReadOptions.from_settings(settings))
    assert sum(map(len, channel)) == 20


@pytest.mark.parametrize("encode", [dict, encode_v2, encode_v3])
def test_the_dialect_settings_are_decoded_as_they_are_written(encode: Any) -> None:
    dialect = {"csv_delimiter": "\t", "csv_quote": "", "csv_escape": "\\", "csv_header": ["id", "b"]}
    job = parse(encode({**REQUIRED, **dialect})).job
    assert ReadOptions.from_settings(job) == ReadOptions("\t", "", "\\", ("id", "b"))
    assert parse(encode({**REQUIRED, "csv_quote": '"', "csv_header": False})).job.csv_quote == '"'


def test_characters_that_contradict_each_other_are_a_problem() -> None:
    assert "csv_delimiter is the same character" in parse_error(csv_delimiter=";", csv_quote=";")
    assert "the character ends a line" in parse_error(csv_delimiter="\n")
    assert "csv_delimiter" in parse_error(csv_delimiter="::")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("csv_delimiter", "||", "one character"),
        ("csv_quote", "''", 'one character, "" or null'),
        ("csv_escape", "", "one character or null"),
    ],
)
def test_a_character_of_another_length_is_a_problem_that_says_the_length(name: str, value: str, allowed: str) -> None:
    assert f"Fix: give {allowed}." in parse_error(**{name: value})


@pytest.mark.parametrize(
    ("above", "delimiter", "advice"),
    [
        ("sep=,\n", ",", "remove line 1, which is above the column names: 'sep=,'"),
        (
            "sep=;\n",
            ";",
            "remove line 1, which is above the column names: 'sep=;'; the delimiter of the file is a semi",
        ),
        ("# exported, in 2024\n", ",", "remove line 1, which is above the column names: '# exported, in 2024'"),
        ("Report\n\n# note\n", ",", "remove lines 1 to 3, which are above the column names: 'Report'"),
    ],
)
def test_lines_above_the_column_names_are_named(tmp_path: Path, above: str, delimiter: str, advice: str) -> None:
    header = delimiter.join(COLUMNS)
    (tmp_path / "a.csv").write_text(f"{above}{header}\n{delimiter.join('1' for _ in COLUMNS)}\n")
    with pytest.raises(DataError) as caught:
        open_channel("train", tmp_path, COLUMNS)
    assert f"Fix: {advice}" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["part-0", "a.csv"])
def test_text_of_another_unicode_encoding_is_named_with_and_without_a_suffix(
    tmp_path: Path, encoding: str, name: str
) -> None:
    (tmp_path / name).write_bytes(f"{','.join(COLUMNS)}\n".encode(encoding))
    with pytest.raises(DataError, match=f"Fix: the file looks like {encoding.upper()}: save it as UTF-8"):
        open_channel("train", tmp_path, COLUMNS)


SETTING_NAMES = ("csv_", "null_values", "_field_list", "label_name", "settings", "max_", "task:", "label_separator")


@pytest.mark.parametrize(
    ("name", "content", "settings", "code", "fix"),
    [
        ("r.csv", "id,message,country,price,visits\n1,a,de,1,2\n", {"csv_delimiter": ";"}, "FZ-D304", 'delimiter ";"'),
        ("r.tsv", "id,message,country,price,visits\n1,a,de,1,2\n", {"csv_delimiter": ";"}, "FZ-D304", 'delimiter ";"'),
        ("r.csv", "7,a,de,1,2\n", {}, "FZ-D304", "write the 5 column names above it"),
        ("r.csv", "message,country,visits\na,de,2\n", {}, "FZ-O221", "add the column"),
        ("r.csv", 'message,country,price,visits\na,de,"$1,200",2\n', {}, "FZ-D106", "number such as 1200.5"),
        ("r.csv", "message,country,price,visits\na,de,2024-02-29,2\n", {}, "FZ-D106", "convert it to numbers"),
        ("r.csv", "message,country,price,visits\na,de,1e39,2\n", {}, "FZ-D130", "below 3.4e38"),
        ("r.csv", 'message,country,price,visits\n"a\\"b",de,1,2\n', {}, "FZ-D013", "double each quote"),
        ("r.csv", "message,country,price,visits\na,b,de,1,2\n", {"csv_quote": ""}, "FZ-D012", "write them without"),
        ("r.jsonl", '{"message": "a", "country": ["de"], "price": 1, "visits": 2}', {}, "FZ-D103", "write one text"),
        ("r.csv", 'message,country,price,visits\n"a,de,1,2\nb",de,1,2\n', {}, "FZ-D301", "double the stray quote"),
    ],
)
def test_the_fix_of_rows_to_score_names_no_setting_of_the_training(
    tmp_path: Path, name: str, content: str, settings: dict[str, Any], code: str, fix: str
) -> None:
    predictor, _ = make_predictor(**settings)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        predictor.predict(tmp_path / name)
    (problem,) = error.value.problems
    assert problem.code == code
    assert fix in problem.fix
    assert not [word for word in SETTING_NAMES if word in problem.fix]
