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
from fusionzoo.data.targets.class_labels import ClassStrata
from fusionzoo.errors import DataError


def write_channel(folder: Path, frame: pd.DataFrame, cuts: Sequence[int] = (), suffix: str = "parquet") -> Channel:
    """Write a channel of the frame's rows in part files that start at these cuts; some may be empty."""
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


def make_frame(labels: Sequence[Any], groups: Sequence[Any] | None = None) -> pd.DataFrame:
    columns: dict[str, Any] = {"id": range(len(labels)), "y": pd.Series(list(labels), dtype=object)}
    if groups is not None:
        columns["who"] = pd.Series(list(groups), dtype=object)
    return pd.DataFrame(columns)


def ids_of_parts(parts: Mapping[str, SplitPart]) -> dict[str, list[int]]:
    return {name: [int(i) for rows in part for i in rows.columns["id"].to_pylist()] for name, part in parts.items()}


def split_ids(
    frame: pd.DataFrame, shares: Mapping[str, float], seed: int = 0, cuts: Sequence[int] = (), suffix: str = "parquet"
) -> dict[str, list[int]]:
    """Split the rows and return the ids of each part."""
    with tempfile.TemporaryDirectory() as folder:
        channel = write_channel(Path(folder), frame, cuts, suffix)
        return ids_of_parts(split_channel(channel, shares, ClassStrata("y"), seed, "who" if "who" in frame else None))


def error_message(frame: pd.DataFrame, shares: Mapping[str, float]) -> str:
    with pytest.raises(DataError) as error:
        split_ids(frame, shares)
    return str(error.value)


FRACTIONS = st.sampled_from([{"val": 0.1}, {"val": 0.3, "test": 0.2}, {"val": 0.55, "test": 0.39}, {"test": 0.29}])
LABELS = st.lists(st.sampled_from("aaaaabbc"), min_size=30, max_size=90)
CUTS = st.lists(st.integers(0, 30), max_size=4)


@settings(max_examples=40, deadline=None)
@given(labels=LABELS, shares=FRACTIONS, seed=st.integers(0, 2**32 - 1), cuts=CUTS)
def test_each_row_is_in_one_part_in_order_and_each_class_has_its_share_to_within_one_row(
    labels: list[str], shares: dict[str, float], seed: int, cuts: list[int]
) -> None:
    frame = make_frame(labels)
    parts = split_ids(frame, shares, seed, cuts)
    assert list(parts) == ["train", *shares]
    assert sorted(i for part in parts.values() for i in part) == list(range(len(labels)))
    assert all(part == sorted(part) for part in parts.values())
    capped = False
    for label, number in frame["y"].value_counts().items():
        counts = {name: int((frame["y"][part] == label).sum()) for name, part in parts.items()}
        assert all(abs(counts[name] - number * share) < 1 for name, share in shares.items())
        assert counts["train"] >= 1
        capped |= counts["train"] == 1
    if not capped:
        assert all(abs(len(parts[name]) - len(labels) * share) < 1 for name, share in shares.items())


@settings(max_examples=40, deadline=None)
@given(
    labels=LABELS,
    sizes=st.lists(st.integers(1, 4), min_size=90, max_size=90),
    seed=st.integers(0, 99),
    cuts=CUTS,
    random=st.randoms(use_true_random=False),
)
def test_rows_of_one_group_are_never_in_two_parts(
    labels: list[str], sizes: list[int], seed: int, cuts: list[int], random: Any
) -> None:
    groups = [None if i % 11 == 0 else i for i, size in enumerate(sizes) for _ in range(size)][: len(labels)]
    random.shuffle(groups)
    frame = make_frame(labels, groups)
    parts = split_ids(frame, {"val": 0.2, "test": 0.2}, seed, cuts)
    assert sorted(i for part in parts.values() for i in part) == list(range(len(labels)))
    owners = [set(frame["who"][part].dropna()) for part in parts.values()]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert set(frame["y"][parts["train"]]) == set(labels)


@pytest.mark.parametrize("group", [False, True])
def test_the_selected_rows_do_not_depend_on_files_blocks_or_format(
    group: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    frame = make_frame(rng.choice([1, 2, 30], 90).tolist(), rng.integers(0, 20, 90).tolist() if group else None)
    shares = {"val": 0.2, "test": 0.1}
    expected = split_ids(frame, shares)
    for suffix in ("parquet", "csv", "csv.gz", "jsonl"):
        assert split_ids(frame, shares, 0, [3, 3, 50], suffix) == expected
    assert split_ids(frame.astype({"y": float}), shares) == expected
    assert split_ids(frame.astype({"y": str}), shares) == expected
    if group:
        assert split_ids(frame.astype({"who": float}), shares) == expected
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 4)
    assert split_ids(frame, shares, 0, [41], "csv") == split_ids(frame, shares) == expected


def test_the_same_seed_selects_the_same_rows_and_another_seed_selects_others() -> None:
    rng = np.random.default_rng(2)
    labels = rng.choice(["a", "b"], 200)
    every_size_once = np.repeat(np.arange(20), np.arange(1, 21))[:200].tolist()
    for frame in (
        make_frame(labels),
        make_frame(labels, rng.integers(0, 60, 200).tolist()),
        make_frame(labels, every_size_once),
    ):
        assert split_ids(frame, {"val": 0.2}, 7) == split_ids(frame, {"val": 0.2}, 7)
        assert split_ids(frame, {"val": 0.2}, 7) != split_ids(frame, {"val": 0.2}, 8)


def test_rows_are_selected_from_the_whole_channel() -> None:
    val = split_ids(make_frame(["a", "b"] * 500), {"val": 0.1})["val"]
    assert min(val) < 50
    assert max(val) > 950
    assert 400 < np.mean(val) < 600


def test_a_class_with_few_rows_stays_in_train_first() -> None:
    labels = ["a"] * 96 + ["b", "b", "c", "d"]
    for seed in range(5):
        parts = split_ids(make_frame(labels), {"val": 0.45, "test": 0.45}, seed)
        assert {labels[i] for i in parts["train"]} == {"a", "b", "c", "d"}
        assert not {"c", "d"} & {labels[i] for i in parts["val"] + parts["test"]}


def test_the_last_rows_of_a_part_come_from_the_classes_with_the_largest_remainders() -> None:
    for seed in range(5):
        val = split_ids(make_frame(["a"] * 96 + ["b"] * 4), {"val": 0.1}, seed)["val"]
        assert (len(val), max(val) < 96) == (10, True)  # of 9.6 and 0.4
        assert len(split_ids(make_frame("a" * 10 + "bcdef"), {"val": 0.1}, seed)["val"]) == 1  # of 1.0, and five of 0.1


def test_labels_and_groups_are_compared_in_canonical_form() -> None:
    texts, mixed = ["3", "3.0"] * 10 + ["4"] * 20, ["3"] * 20 + ["4"] * 20
    assert split_ids(make_frame(texts), {"val": 0.3}) == split_ids(make_frame(mixed), {"val": 0.3})
    groups = [f"{i}{'.0' * (k % 2)}" for i in range(15) for k in range(4)]
    parts = split_ids(make_frame(["a", "b"] * 30, groups), {"val": 0.3}, suffix="csv")
    assert len(parts["val"]) % 4 == 0


def test_with_large_and_uneven_groups_every_share_is_near_the_requested_one(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        sizes = (5000 / np.arange(1, 201) / 5.88).astype(int) + 1  # Zipf's law
        owner = np.repeat(np.arange(200), sizes)
        taste = rng.dirichlet([3, 1.5, 0.5], 200)
        frame = make_frame([rng.choice(3, p=taste[g]) for g in owner], owner.tolist())
        parts = split_ids(frame, {"val": 0.1, "test": 0.1}, seed)
        for name in ("val", "test"):
            assert len(parts[name]) / len(frame) == pytest.approx(0.1, abs=0.003)
            for label, number in frame["y"].value_counts().items():
                share = (frame["y"][parts[name]] == label).sum() / number
                assert share == pytest.approx(0.1, abs=0.03), (label, name)
    assert not caplog.records


def test_null_and_empty_groups_are_groups_of_one_row() -> None:
    frame = make_frame(["a", "b"] * 50, [None, ""] * 50)
    parts = split_ids(frame, {"val": 0.2})
    assert len(parts["val"]) == 20


def test_a_warning_says_that_a_group_makes_a_part_much_larger(caplog: pytest.LogCaptureFixture) -> None:
    frame = make_frame(["a", "b"] * 50, ["big"] * 60 + ["middle"] * 25 + list("abcdefghijklmno"))
    with caplog.at_level(logging.WARNING):
        parts = split_ids(frame, {"val": 0.2})
    assert len(parts["val"]) not in range(16, 25)
    assert f"val has {len(parts['val'])} of 100 rows" in caplog.text
    assert "instead of 20.0 % as set by val_fraction, because rows of the same 'who' stay together" in caplog.text
    caplog.clear()
    split_ids(make_frame(["a", "b"] * 50), {"val": 0.2})
    assert not caplog.records


NEITHER = {"val": 0.05, "test": 0.05}


@pytest.mark.parametrize(
    ("frame", "shares", "says"),
    [
        (make_frame(["a", "b"] * 3), NEITHER, ["0.05 of 6 rows leaves no row for val", "test_fraction = 0.05"]),
        (make_frame(range(40)), NEITHER, ["val_fraction", "keeps at least one row in train"]),
        (make_frame("ab" * 50, ["x"] * 100), {"val": 0.2}, ["the 100 rows have 1 group of 100 to 100 rows", "'who'"]),
        (make_frame("ab" * 50, ["x"] * 90 + ["y"] * 10), {"val": 1e-6}, ["2 groups of 10 to 90 rows"]),
        (make_frame("ab" * 50, ["x"] * 98 + [None] * 2), {"val": 1e-6}, ["3 groups of 1 to 98 rows"]),
        (make_frame("a" * 50 + "b" * 50, "x" * 50 + "y" * 50), {"val": 0.5}, ["2 groups of 50 to 50", "group_field"]),
        (make_frame(range(40)), {"val": 0.2}, ["Fix: add rows, because a class needs at least two"]),
        (
            make_frame("a" * 50 + "b" * 50, "x" * 50 + "y" * 50),
            {"val": 0.5},
            ["Fix: add groups, because a class needs"],
        ),
        (make_frame(["a", "b"] * 3), NEITHER, ["Fix: raise val_fraction"]),
        (make_frame("ab" * 50, ["x"] * 90 + ["y"] * 10), {"val": 1e-6}, ["Fix: raise val_fraction"]),
    ],
)
def test_too_few_rows_or_groups_are_an_error_with_a_fix(
    frame: pd.DataFrame, shares: dict[str, float], says: list[str]
) -> None:
    message = error_message(frame, shares)
    for words in [*says, "channel 'train'", "or mount a channel 'val'"]:
        assert words in message


def test_a_channel_without_rows_cannot_be_divided() -> None:
    assert "no row" in error_message(make_frame([]), {"val": 0.5})


def test_null_labels_of_all_files_are_reported_together_with_unreadable_files(tmp_path: Path) -> None:
    channel = write_channel(tmp_path, make_frame(["a", None, "b"] * 20, range(60)), [20, 40], "csv")
    (tmp_path / "part-1.csv").write_text("id,y,who\n1,a,b\n1,2\n")
    with pytest.raises(DataError) as error:
        split_channel(channel, {"val": 0.1}, ClassStrata("y"), 0, "who")
    message = str(error.value)
    assert "train/part-0.csv, column 'y': 7 labels are null: train/part-0.csv row 2" in message
    assert "train/part-2.csv, column 'y'" in message
    assert "train/part-1.csv: 1 row with another number of columns" in message


def test_a_missing_label_or_group_column_is_named_and_need_not_be_a_column_of_the_channel(
    tmp_path: Path,
) -> None:
    channel = write_channel(tmp_path, make_frame(["a", "b"] * 30, range(60)), [30], "csv")
    parts = split_channel(channel, {"val": 0.1}, ClassStrata("y"), 0, "who")
    assert parts["val"].columns == ("id",)
    text = (tmp_path / "part-1.csv").read_text()
    (tmp_path / "part-1.csv").write_text(text.replace("who", "whom"))
    with pytest.raises(DataError, match=r"train/part-1\.csv: column 'who' does not exist"):
        split_channel(channel, {"val": 0.1}, ClassStrata("y"), 0, "who")


def test_a_nested_group_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "y": [0, 1], "who": [[1], [2]]}), tmp_path / "part.parquet")
    with pytest.raises(DataError, match="column 'who'"):
        split_channel(open_channel("train", tmp_path, ["id"]), {"val": 0.5}, ClassStrata("y"), 0, "who")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_row_of_a_part_is_located_by_its_number_in_its_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 8)
    channel = write_channel(tmp_path, make_frame(["a", "b"] * 50), [37], suffix)
    for part in split_channel(channel, {"val": 0.3}, ClassStrata("y"), 0).values():
        for rows in part:
            for i, value in enumerate(rows.columns["id"].to_pylist()):
                file, row = (0, int(value) + 1) if int(value) < 37 else (1, int(value) - 36)
                assert str(rows.locate(i)) == f"train/part-{file}.{suffix} row {row}"


def test_rows_that_are_filtered_twice_keep_their_numbers_and_values() -> None:
    rows = Rows({"c": pa.array([10, None, 30, 40])}, "x", 5, typed=True)
    twice = rows.filter(np.array([True, False, True, True])).filter(np.array([False, True, True]))
    assert twice.columns["c"].to_pylist() == [30, 40]
    assert [str(twice.locate(i)) for i in range(2)] == ["x row 7", "x row 8"]
    assert len(rows) == 4
    assert str(rows.locate(2)) == "x row 7"


def test_a_part_can_be_read_repeatedly_like_a_channel(tmp_path: Path) -> None:
    channel = write_channel(tmp_path, make_frame(["a", "b"] * 50), [50])
    parts = split_channel(channel, {"val": 0.2, "test": 0.2}, ClassStrata("y"), 0)
    assert ids_of_parts(parts) == ids_of_parts(parts)
    for name, part in parts.items():
        assert (part.name, part.files, part.format, part.columns) == (name, channel.files, "parquet", ("id",))
    assert len({id(part.assignment) for part in parts.values()}) == 1
    assert parts["val"].assignment.nbytes == 100


def test_the_selection_hash_of_a_part_depends_on_its_rows(tmp_path: Path) -> None:
    channel = write_channel(tmp_path, make_frame(["a", "b"] * 50))
    first, restored, second = (
        split_channel(channel, {"val": 0.2, "test": 0.2}, ClassStrata("y"), seed) for seed in (0, 0, 1)
    )
    assert [part.selection_hash for part in first.values()] == [part.selection_hash for part in restored.values()]
    assert len({part.selection_hash for parts in (first, second) for part in parts.values()}) == 6


@pytest.mark.parametrize("rows", [99, 101, 130])
def test_files_that_change_after_the_split_are_an_error(rows: int, tmp_path: Path) -> None:
    parts = split_channel(write_channel(tmp_path, make_frame(["a", "b"] * 50)), {"val": 0.2}, ClassStrata("y"), 0)
    write_channel(tmp_path, make_frame(["a"] * rows))
    with pytest.raises(DataError, match="its rows changed"):
        ids_of_parts(parts)
