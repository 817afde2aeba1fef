"""Files of encoded splits: any content is either read as written or reported as damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fusionzoo.data.array_store import ARRAYS_FILE, IDS_FILE, SPLIT_FILE, read_arrays, read_split, write_split
from fusionzoo.data.cache import Cache, DamagedEntryError
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.errors import CacheError
from shop import made_split

Change = Callable[[dict[str, Any]], object]


def make_split() -> EncodedSplit:
    return made_split(np.array([0, 1, 3, 3]), np.array([0, 2, 5, 9]))


def set_array(name: str, **values: Any) -> Change:
    return lambda description: description["arrays"][name].update(values)


def set_entry(name: str, value: Any) -> Change:
    return lambda description: description.update({name: value})


CHANGES: Mapping[str, Change] = {
    "objects": set_array("tokens", dtype="|O"),
    "objects of the right size": set_array("labels", dtype="O"),
    "a structure": set_array("tokens", dtype="i4,O"),
    "a subarray": set_array("tokens", dtype="(2,)O"),
    "text": set_array("tokens", dtype="<U1"),
    "dates": set_array("labels", dtype="<M8[s]"),
    "bytes": set_array("tokens", dtype="V4"),
    "no dtype": set_array("tokens", dtype=None),
    "an unknown dtype": set_array("tokens", dtype="q17"),
    "a dtype that is a list": set_array("tokens", dtype=[["a", "O"]]),
    "a longer array": set_array("tokens", shape=[10]),
    "a shorter array": set_array("tokens", shape=[8]),
    "a huge array": set_array("tokens", shape=[2**62, 2**62]),
    "an empty array of a full file": set_array("tokens", shape=[0]),
    "a negative length": set_array("tokens", shape=[-9]),
    "a length that is text": set_array("tokens", shape=["9"]),
    "a length that is a fraction": set_array("tokens", shape=[9.0]),
    "no shape": set_array("tokens", shape=None),
    "the wrong rank": set_array("categories", shape=[9]),
    "an array of another field": lambda description: description["arrays"].update(
        {"../tokens": description["arrays"]["tokens"]}
    ),
    "an array less": lambda description: description["arrays"].pop("numbers"),
    "no arrays": set_entry("arrays", None),
    "arrays in a list": set_entry("arrays", []),
    "a count that is text": set_entry("pad_id", "0"),
    "an unknown entry": set_entry("other", 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_description_of_another_content_is_reported_as_damaged(name: str, tmp_path: Path) -> None:
    write_split(tmp_path, [make_split()])
    description = json.loads((tmp_path / SPLIT_FILE).read_text())
    CHANGES[name](description)
    (tmp_path / SPLIT_FILE).write_text(json.dumps(description))
    with pytest.raises(DamagedEntryError):
        read_split(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '"arrays"', "{}", "[" * 100_000])
def test_json_of_another_shape_is_reported_as_damaged(text: str, tmp_path: Path) -> None:
    write_split(tmp_path, [make_split()])
    (tmp_path / SPLIT_FILE).write_text(text)
    (tmp_path / ARRAYS_FILE).write_text(text)
    with pytest.raises(DamagedEntryError):
        read_split(tmp_path)
    if text != "{}":
        with pytest.raises(DamagedEntryError):
            read_arrays(tmp_path)


@pytest.mark.parametrize("name", ["row_starts", "chunk_starts", "labels", "tokens"])
def test_arrays_that_do_not_belong_together_are_reported_as_damaged(name: str, tmp_path: Path) -> None:
    split = make_split()
    write_split(tmp_path, [split])
    array = getattr(split, name)[:-1]
    (tmp_path / f"{name}.bin").write_bytes(array.tobytes())
    description = json.loads((tmp_path / SPLIT_FILE).read_text())
    description["arrays"][name]["shape"] = [len(array)]
    (tmp_path / SPLIT_FILE).write_text(json.dumps(description))
    with pytest.raises(DamagedEntryError, match="lengths"):
        read_split(tmp_path)


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"x" * 1000])
def test_ids_that_are_not_an_arrow_file_are_reported_as_damaged(content: bytes, tmp_path: Path) -> None:
    write_split(tmp_path, [make_split()])
    (tmp_path / IDS_FILE).write_bytes(content)
    with pytest.raises(DamagedEntryError):
        read_split(tmp_path)


def test_ids_with_text_outside_of_their_buffer_are_reported_as_damaged(tmp_path: Path) -> None:
    write_split(tmp_path, [make_split()])
    with pa.ipc.new_file(str(tmp_path / IDS_FILE), pa.schema([("id", pa.string())])) as writer:
        writer.write_batch(pa.record_batch([pa.array(["a", "b", "c"])], ["id"]))
    content = (tmp_path / IDS_FILE).read_bytes()
    offsets, beyond = (np.array(values, "<i4").tobytes() for values in ([0, 1, 2, 3], [0, 10**6, 2, 3]))
    assert content.count(offsets) == 1
    (tmp_path / IDS_FILE).write_bytes(content.replace(offsets, beyond))
    with pytest.raises(DamagedEntryError):
        read_split(tmp_path)


POINTERS = """
import sys
from pathlib import Path
from fusionzoo.data.array_store import read_split
from fusionzoo.data.cache import DamagedEntryError

try:
    print(read_split(Path(sys.argv[1])).labels[0])
except DamagedEntryError as error:
    print(error)
"""


def test_bytes_of_a_file_are_never_used_as_pointers(tmp_path: Path) -> None:
    write_split(tmp_path, [make_split()])
    description = json.loads((tmp_path / SPLIT_FILE).read_text())
    description["arrays"]["labels"]["dtype"] = "|O"
    (tmp_path / SPLIT_FILE).write_text(json.dumps(description))
    (tmp_path / "labels.bin").write_bytes(bytes(range(1, 25)))
    done = subprocess.run([sys.executable, "-c", POINTERS, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "the interpreter crashed"
    assert "labels.bin has the type |O, not a plain number" in done.stdout


def test_a_damaged_split_with_a_valid_seal_is_built_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, split, builds = Cache(tmp_path, 10**9), make_split(), []

    def build(folder: Path) -> None:
        builds.append(folder)
        write_split(folder, [split])
        if len(builds) == 1:
            text = (folder / SPLIT_FILE).read_text()
            (folder / SPLIT_FILE).write_text(text.replace('"<i4"', '"|O"'))

    with pytest.raises(CacheError, match="does not read back"):
        cache.get_or_build("k", build, read_split)
    assert np.array_equal(cache.get_or_build("k", build, read_split).tokens, split.tokens)
    assert len(builds) == 2
    assert "not a plain number" in caplog.text
