"""One training channel divided into train, val and test."""

from __future__ import annotations

import gzip
import logging
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionzoo.data.reading.channel import Channel, open_channel
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.splitting import SplitPart, split_channel
from fusionzoo.errors import DataError


def write(folder: Path, frame: pd.DataFrame, cuts: Sequence[int] = (), suffix: str = "parquet") -> Channel:
    """A channel of the frame's rows, in part files that begin at these cuts, of which some may hold no row."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = [0, *sorted(cuts), len(frame)]
    for i, (start, end) in enumerate(pairwise(edges)):
        path, part = folder / f"part-{i}.{suffix}", frame[start:end]
        match suffix:
            case "parquet":
                pq.write_table(
                    pa.Table.from_pandas(part, preserve_index=False), path, row_group_size=max(7, len(part) // 10)
                )
            case "jsonl":
                part.to_json(path, orient="records", lines=True)
            case "csv.gz":
                path.write_bytes(gzip.compress(part.to_csv(index=False).encode()))
            case _:
                part.to_csv(path, index=False)
    return open_channel("train", folder, ["id"])


def table(labels: Sequence[Any], groups: Sequence[Any] | None = None) -> pd.DataFrame:
    columns: dict[str, Any] = {"id": range(len(labels)), "y": pd.Series(list(labels), dtype=object)}
    if groups is not None:
        columns["who"] = pd.Series(list(groups), dtype=object)
    return pd.DataFrame(columns)


def ids(parts: Mapping[str, SplitPart]) -> dict[str, list[int]]:
    return {name: [int(i) for rows in part for i in rows.columns["id"].to_pylist()] for name, part in parts.items()}


def split(
    frame: pd.DataFrame, shares: Mapping[str, float], seed: int = 0, cuts: Sequence[int] = (), suffix: str = "parquet"
) -> dict[str, list[int]]:
    """The ids of each part."""
    with tempfile.TemporaryDirectory() as folder:
        channel = write(Path(folder), frame, cuts, suffix)
        return ids(split_channel(channel, shares, "y", seed, "who" if "who" in frame else None))


def refused(frame: pd.DataFrame, shares: Mapping[str, float]) -> str:
    with pytest.raises(DataError) as error:
        split(frame, shares)
    return str(error.value)


FRACTIONS = st.sampled_from([{"val": 0.1}, {"val": 0.3, "test": 0.2}, {"val": 0.55, "test": 0.39}, {"test": 0.29}])
LABELS = st.lists(st.sampled_from("aaaaabbc"), min_size=30, max_size=90)
CUTS = st.lists(st.integers(0, 30), max_size=4)


@settings(max_examples=40, deadline=None)
@given(labels=LABELS, shares=FRACTIONS, seed=st.integers(0, 2**32 - 1), cuts=CUTS)
def test_each_row_is_in_one_part_in_order_and_each_class_has_its_share_to_within_a_row(
    labels: list[str], shares: dict[str, float], seed: int, cuts: list[int]
) -> None:
    frame = table(labels)
    found = split(frame, shares, seed, cuts)
    assert list(found) == ["train", *shares]
    assert sorted(i for part in found.values() for i in part) == list(range(len(labels)))
    assert all(part == sorted(part) for part in found.values())
    capped = False
    for label, number in frame["y"].value_counts().items():
        counts = {name: int((frame["y"][part] == label).sum()) for name, part in found.items()}
        assert all(abs(counts[name] - number * share) < 1 for name, share in shares.items())
        assert counts["train"] >= 1
        capped |= counts["train"] == 1
    if not capped:
        assert all(abs(len(found[name]) - len(labels) * share) < 1 for name, share in shares.items())


@settings(max_examples=40, deadline=None)
@given(
    labels=LABELS,
    sizes=st.lists(st.integers(1, 4), min_size=90, max_size=90),
    seed=st.integers(0, 99),
    cuts=CUTS,
    random=st.randoms(use_true_random=False),
)
def test_rows_of_one_group_never_stand_in_two_parts(
    labels: list[str], sizes: list[int], seed: int, cuts: list[int], random: Any
) -> None:
    groups = [None if i % 11 == 0 else i for i, size in enumerate(sizes) for _ in range(size)][: len(labels)]
    random.shuffle(groups)
    frame = table(labels, groups)
    found = split(frame, {"val": 0.2, "test": 0.2}, seed, cuts)
    assert sorted(i for part in found.values() for i in part) == list(range(len(labels)))
    owners = [set(frame["who"][part].dropna()) for part in found.values()]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert set(frame["y"][found["train"]]) == set(labels)


@pytest.mark.parametrize("group", [False, True])
def test_the_same_rows_are_chosen_whatever_the_files_the_blocks_and_the_format(
    group: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    frame = table(rng.choice([1, 2, 30], 90).tolist(), rng.integers(0, 20, 90).tolist() if group else None)
    shares = {"val": 0.2, "test": 0.1}
    whole = split(frame, shares)
    for suffix in ("parquet", "csv", "csv.gz", "jsonl"):
        assert split(frame, shares, 0, [3, 3, 50], suffix) == whole
    assert split(frame.astype({"y": float}), shares) == whole
    assert split(frame.astype({"y": str}), shares) == whole
    if group:
        assert split(frame.astype({"who": float}), shares) == whole
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 4)
    assert split(frame, shares, 0, [41], "csv") == split(frame, shares) == whole


def test_the_same_seed_gives_the_same_rows_and_another_seed_gives_others() -> None:
    rng = np.random.default_rng(2)
    labels = rng.choice(["a", "b"], 200)
    every_size_once = np.repeat(np.arange(20), np.arange(1, 21))[:200].tolist()
    for frame in (table(labels), table(labels, rng.integers(0, 60, 200).tolist()), table(labels, every_size_once)):
        assert split(frame, {"val": 0.2}, 7) == split(frame, {"val": 0.2}, 7)
        assert split(frame, {"val": 0.2}, 7) != split(frame, {"val": 0.2}, 8)


def test_rows_are_chosen_over_the_whole_channel_and_not_from_its_beginning() -> None:
    val = split(table(["a", "b"] * 500), {"val": 0.1})["val"]
    assert min(val) < 50
    assert max(val) > 950
    assert 400 < np.mean(val) < 600


def test_a_class_with_few_rows_stays_in_train_first() -> None:
    labels = ["a"] * 96 + ["b", "b", "c", "d"]
    for seed in range(5):
        found = split(table(labels), {"val": 0.45, "test": 0.45}, seed)
        assert {labels[i] for i in found["train"]} == {"a", "b", "c", "d"}
        assert not {"c", "d"} & {labels[i] for i in found["val"] + found["test"]}


def test_the_last_rows_of_a_share_come_from_the_classes_that_miss_most_of_a_row() -> None:
    for seed in range(5):
        val = split(table(["a"] * 96 + ["b"] * 4), {"val": 0.1}, seed)["val"]
        assert (len(val), max(val) < 96) == (10, True)  # of 9.6 and 0.4
        assert len(split(table("a" * 10 + "bcdef"), {"val": 0.1}, seed)["val"]) == 1  # of 1.0, and five of 0.1


def test_labels_and_groups_are_the_same_however_a_file_writes_them() -> None:
    whole, mixed = ["3", "3.0"] * 10 + ["4"] * 20, ["3"] * 20 + ["4"] * 20
    assert split(table(whole), {"val": 0.3}) == split(table(mixed), {"val": 0.3})
    groups = [f"{i}{'.0' * (k % 2)}" for i in range(15) for k in range(4)]
    found = split(table(["a", "b"] * 30, groups), {"val": 0.3}, suffix="csv")
    assert len(found["val"]) % 4 == 0


def test_large_and_uneven_groups_leave_every_share_near_what_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        sizes = (5000 / np.arange(1, 201) / 5.88).astype(int) + 1  # Zipf's law
        owner = np.repeat(np.arange(200), sizes)
        taste = rng.dirichlet([3, 1.5, 0.5], 200)
        frame = table([rng.choice(3, p=taste[g]) for g in owner], owner.tolist())
        found = split(frame, {"val": 0.1, "test": 0.1}, seed)
        for name in ("val", "test"):
            assert len(found[name]) / len(frame) == pytest.approx(0.1, abs=0.003)
            for label, number in frame["y"].value_counts().items():
                share = (frame["y"][found[name]] == label).sum() / number
                assert share == pytest.approx(0.1, abs=0.03), (label, name)
    assert not caplog.records


def test_null_and_empty_groups_are_groups_of_one_row() -> None:
    frame = table(["a", "b"] * 50, [None, ""] * 50)
    found = split(frame, {"val": 0.2})
    assert len(found["val"]) == 20


def test_a_user_is_warned_where_a_group_makes_a_part_much_larger(caplog: pytest.LogCaptureFixture) -> None:
    frame = table(["a", "b"] * 50, ["big"] * 60 + ["middle"] * 25 + list("abcdefghijklmno"))
    with caplog.at_level(logging.WARNING):
        found = split(frame, {"val": 0.2})
    assert len(found["val"]) not in range(16, 25)
    assert f"val has {len(found['val'])} of 100 rows" in caplog.text
    assert "20.0% as val_fraction asks: rows of the same 'who' stay together" in caplog.text
    caplog.clear()
    split(table(["a", "b"] * 50), {"val": 0.2})
    assert not caplog.records


NEITHER = {"val": 0.05, "test": 0.05}


@pytest.mark.parametrize(
    ("frame", "shares", "says"),
    [
        (table(["a", "b"] * 3), NEITHER, ["val_fraction = 0.05 of its 6 rows is none", "test_fraction = 0.05"]),
        (table(range(40)), NEITHER, ["val_fraction", "keeps a row in train"]),
        (table("ab" * 50, ["x"] * 100), {"val": 0.2}, ["there is 1 group of 100 to 100 of the 100 rows", "'who'"]),
        (table("ab" * 50, ["x"] * 90 + ["y"] * 10), {"val": 1e-6}, ["there are 2 groups of 10 to 90"]),
        (table("ab" * 50, ["x"] * 98 + [None] * 2), {"val": 1e-6}, ["there are 3 groups of 1 to 98"]),
        (table("a" * 50 + "b" * 50, "x" * 50 + "y" * 50), {"val": 0.5}, ["2 groups of 50 to 50", "group_field"]),
    ],
)
def test_too_few_rows_or_groups_are_refused_with_a_way_out(
    frame: pd.DataFrame, shares: dict[str, float], says: list[str]
) -> None:
    message = refused(frame, shares)
    for words in [*says, "channel 'train'", "or mount a channel 'val'"]:
        assert words in message


def test_a_channel_without_rows_is_refused() -> None:
    assert "no row" in refused(table([]), {"val": 0.5})


def test_null_labels_of_every_file_are_named_together_with_files_that_cannot_be_read(tmp_path: Path) -> None:
    channel = write(tmp_path, table(["a", None, "b"] * 20, range(60)), [20, 40], "csv")
    (tmp_path / "part-1.csv").write_text("id,y,who\n1,a,b\n1,2\n")
    with pytest.raises(DataError) as error:
        split_channel(channel, {"val": 0.1}, "y", 0, "who")
    message = str(error.value)
    assert "train/part-0.csv, column 'y': 7 labels null: train/part-0.csv row 2" in message
    assert "train/part-2.csv, column 'y'" in message
    assert "train/part-1.csv: 1 row with another number of columns" in message


def test_a_label_or_group_column_that_a_file_lacks_is_named_and_need_not_be_among_the_channels_own(
    tmp_path: Path,
) -> None:
    channel = write(tmp_path, table(["a", "b"] * 30, range(60)), [30], "csv")
    parts = split_channel(channel, {"val": 0.1}, "y", 0, "who")
    assert parts["val"].columns == ("id",)
    text = (tmp_path / "part-1.csv").read_text()
    (tmp_path / "part-1.csv").write_text(text.replace("who", "whom"))
    with pytest.raises(DataError, match=r"train/part-1\.csv: there is no column 'who'"):
        split_channel(channel, {"val": 0.1}, "y", 0, "who")


def test_a_nested_group_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "y": [0, 1], "who": [[1], [2]]}), tmp_path / "part.parquet")
    with pytest.raises(DataError, match="column 'who'"):
        split_channel(open_channel("train", tmp_path, ["id"]), {"val": 0.5}, "y", 0, "who")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_row_of_a_part_is_named_by_its_number_in_its_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 8)
    channel = write(tmp_path, table(["a", "b"] * 50), [37], suffix)
    for part in split_channel(channel, {"val": 0.3}, "y", 0).values():
        for rows in part:
            for i, value in enumerate(rows.columns["id"].to_pylist()):
                file, row = (0, int(value) + 1) if int(value) < 37 else (1, int(value) - 36)
                assert rows.locate(i) == f"train/part-{file}.{suffix} row {row}"


def test_rows_left_out_twice_keep_their_numbers_and_their_values() -> None:
    rows = Rows({"c": pa.array([10, None, 30, 40])}, "x", 5, typed=True)
    twice = rows.filter(np.array([True, False, True, True])).filter(np.array([False, True, True]))
    assert twice.columns["c"].to_pylist() == [30, 40]
    assert [twice.locate(i) for i in range(2)] == ["x row 7", "x row 8"]
    assert len(rows) == 4
    assert rows.locate(2) == "x row 7"


def test_a_part_reads_like_a_channel_as_often_as_wanted(tmp_path: Path) -> None:
    channel = write(tmp_path, table(["a", "b"] * 50), [50])
    parts = split_channel(channel, {"val": 0.2, "test": 0.2}, "y", 0)
    assert ids(parts) == ids(parts)
    for name, part in parts.items():
        assert (part.name, part.files, part.format, part.columns) == (name, channel.files, "parquet", ("id",))
    assert len({id(part.sides) for part in parts.values()}) == 1
    assert parts["val"].sides.nbytes == 100


def test_a_parts_identity_is_that_of_its_rows(tmp_path: Path) -> None:
    channel = write(tmp_path, table(["a", "b"] * 50))
    first, again, other = (split_channel(channel, {"val": 0.2, "test": 0.2}, "y", seed) for seed in (0, 0, 1))
    assert [part.identity for part in first.values()] == [part.identity for part in again.values()]
    assert len({part.identity for parts in (first, other) for part in parts.values()}) == 6


@pytest.mark.parametrize("rows", [99, 101, 130])
def test_files_that_change_after_the_division_are_noticed(rows: int, tmp_path: Path) -> None:
    parts = split_channel(write(tmp_path, table(["a", "b"] * 50)), {"val": 0.2}, "y", 0)
    write(tmp_path, table(["a"] * rows))
    with pytest.raises(DataError, match="its rows changed"):
        ids(parts)
