"""Reading a channel: part files, formats, and damaged files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_helpers import SETTINGS, encode_train, read_problem, write_part
from fusionzoo.data.reading.channel import open_channel
from shop import shop_rows


def test_part_files_are_read_in_numeric_order_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    frame = shop_rows(40)
    for start, number in ((0, 0), (10, 2), (20, 10), (30, 1000)):
        write_part(frame[start : start + 10], tmp_path / f"part-{number}.csv")
    for name in ("_SUCCESS", ".part-0.csv.crc", "_temporary/part-3.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("junk")
    assert encode_train(tmp_path).ids.to_pylist() == frame["id"].tolist()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_an_empty_part_file_or_one_with_only_a_header_has_no_rows(suffix: str, tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / f"part-0.{suffix}")
    (tmp_path / f"part-1.{suffix}").write_bytes(b"")
    write_part(shop_rows(20)[:0], tmp_path / f"part-2.{suffix}")
    assert len(encode_train(tmp_path)) == 20


def test_a_channel_without_rows_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "part-0.csv").write_bytes(b"")
    assert "no row" in read_problem(tmp_path)


def truncate(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)]) and None


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("part-1.parquet", truncate(0.7)),
        ("part-1.parquet", truncate(0)),
        ("part-1.csv.gz", truncate(0.7)),
        ("part-1.parquet.gz", truncate(0.7)),
        ("part-1.csv", lambda path: path.write_text(path.read_text().rstrip().rsplit(",", 2)[0])),
        ("part-1.csv", lambda path: path.write_text(path.read_text() + 'x,"a text that never ends')),
        ("part-1.jsonl", lambda path: path.write_text(path.read_text().rstrip()[:-9])),
        ("part-1.jsonl", lambda path: path.write_text(path.read_text() + "[1]\n")),
        ("part-1.csv", lambda path: path.write_bytes(bytes(range(256)) * 9)),
        ("part-1.csv", lambda path: path.write_bytes(path.read_bytes().replace(b"order", b"\xe4rder"))),
        ("part-1.parquet", lambda path: path.write_text("id,message\n1,2\n")),
        ("part-1.csv", lambda path: shutil.copy(path.parent / "good.parquet", path)),
        ("part-1.csv.gz", lambda path: path.write_text("id,message\n1,2\n")),
    ],
)
def test_a_truncated_or_mislabeled_part_file_is_named(
    name: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    write_part(shop_rows(60), tmp_path / "good.parquet")
    write_part(shop_rows(60, 1), tmp_path / name)
    assert len(encode_train(tmp_path)) == 120
    damage(tmp_path / name)
    assert f"train/{name}" in read_problem(tmp_path)


def test_byte_order_mark_and_windows_line_endings_are_read(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write_part(frame, tmp_path / "a/part.csv")
    text = (tmp_path / "a/part.csv").read_text().replace("\n", "\r\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/part.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert np.array_equal(encode_train(tmp_path / "a").tokens, encode_train(tmp_path / "b").tokens)


def test_a_missing_column_of_one_part_is_named_with_the_nearest_names(tmp_path: Path) -> None:
    for i in range(9):
        frame = shop_rows(20, i)
        write_part(frame.rename(columns={"country": "contry"}) if i == 7 else frame, tmp_path / f"part-{i}.jsonl")
    message = read_problem(tmp_path)
    assert "train/part-7.jsonl: column 'country' does not exist" in message
    assert "'contry'" in message


def test_part_files_may_have_their_columns_in_different_orders(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write_part(frame[:10], tmp_path / "part-0.csv")
    write_part(frame[10:][frame.columns[::-1]], tmp_path / "part-1.csv")
    assert encode_train(tmp_path).ids.to_pylist() == frame["id"].tolist()


def test_a_repeated_column_and_rows_of_another_width_are_problems(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text("id,id,message,country,price,visits,target\n1,2,a,b,1,2,0\n")
    assert "'id' occurs more than once" in read_problem(tmp_path)
    (tmp_path / "part.csv").write_text("id,message,country,price,visits,target\n1,a,b,1,2,0\n2,a,b,1\n3,b,c,1,2,1,9\n")
    message = read_problem(tmp_path)
    assert "3" in message
    assert "4" in message
    assert "part.csv" in message


def test_an_unknown_format_is_a_problem_that_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "part-0.xlsx").write_bytes(b"PK")
    (tmp_path / "part-1").write_bytes(b"PK")
    message = read_problem(tmp_path)
    assert "part-0.xlsx" in message
    assert "part-1" in message
    assert ".parquet" in message


def test_a_text_of_thirty_megabytes_is_read(tmp_path: Path) -> None:
    frame = shop_rows(10)
    frame.loc[5, "message"] = "word, " * 5_000_000
    frame.to_csv(tmp_path / "part.csv", index=False)
    channel = open_channel("train", tmp_path, SETTINGS.columns)
    assert max(len(t) for rows in channel for t in rows.columns["message"].to_pylist()) == 30_000_000


def test_problems_of_files_and_of_values_are_reported_together(tmp_path: Path) -> None:
    for i in range(4):
        frame = shop_rows(20, i)
        write_part(frame.assign(price="cheap") if i == 2 else frame, tmp_path / f"part-{i}.csv")
    for i in (0, 3):
        with (tmp_path / f"part-{i}.csv").open("a") as file:
            file.write("only,three,columns\n")
    message = read_problem(tmp_path)
    assert "train/part-0.csv: 1 row with another number of columns than the header's 6: line 22 (3)" in message
    assert "train/part-3.csv: 1 row with" in message
    assert "train/part-2.csv row 1 'cheap'" in message


def test_an_unclosed_quote_is_named_with_the_line_where_it_starts(tmp_path: Path) -> None:
    frame = shop_rows(20)
    frame.loc[2, "message"] = "two\nlines"
    write_part(frame, tmp_path / "part-0.csv")
    with (tmp_path / "part-0.csv").open("a") as file:
        file.write('x,"a text\nthat never,ends\n')
    assert "train/part-0.csv line 23: a quoted text does not end" in read_problem(tmp_path)


def test_a_header_without_line_ending_and_folders_named_like_part_files_are_no_problem(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write_part(frame, tmp_path / "part-1.csv/part-0.csv")
    (tmp_path / "part-0.csv").write_text(",".join(frame.columns))
    (tmp_path / "part-2.csv").mkdir()
    assert encode_train(tmp_path).ids.to_pylist() == frame["id"].tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"price": 1%s, "target": 1}' % ("0" * 5000), "it must be below 3.4e38"),
        ("[" * 100_000, "line 21: the line is not valid JSON"),
        ('{"id": 1, "message": "\ufffd', "line 21: the line is not valid JSON"),
        ("null", "line 21: the line is not a JSON object"),
        ('{"country": ["de"], "target": 1}', "column 'country'"),
        ('{"price": {"amount": 1}, "target": 1}', "column 'price'"),
        ('{"price": Infinity, "target": 1}', "train/part.jsonl row 21 'inf'"),
        ('{"price": 1, "target": 1, "price": 1}', "train/part.jsonl row 21: the key 'price' occurs more than once"),
    ],
)
def test_an_invalid_json_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / "part.jsonl")
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write(line + "\n")
    assert message in read_problem(tmp_path)
