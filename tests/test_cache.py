"""The cache: entries are built once, shared, verified, complete or absent, and bounded in size."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from data_helpers import CountingBuild, read_entry
from fusionzoo.data.cache import BUILDING_PREFIX, REMOVED_PREFIX, SEAL_FILE, Cache, cache_key
from fusionzoo.errors import CacheError, DataError, Problem


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10**9)


def build_never(folder: Path) -> None:
    raise AssertionError("the entry was built again")


def test_an_entry_is_built_once_and_used_by_every_later_job(cache: Cache) -> None:
    build = CountingBuild()
    assert cache.get_or_build("k", build, read_entry) == "built"
    assert cache.get_or_build("k", build, read_entry) == "built"
    assert Cache(cache.folder, 0).get_or_build("k", build_never, read_entry) == "built"
    assert build.count == 1
    assert cache.get_or_build("other", CountingBuild("else"), read_entry) == "else"


def test_keys_depend_on_the_content_and_not_on_the_order_of_its_names() -> None:
    assert cache_key({"a": 1, "b": [1, "é"]}) == cache_key({"b": [1, "é"], "a": 1})
    assert len({cache_key({"a": a}) for a in (1, "1", None, [1], 1.5, {"a": 1})}) == 6


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("file", ["one.bin", SEAL_FILE])
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_damaged_entry_is_detected_and_built_again(
    file: str, damage: Callable[[Path], Any], cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    build = CountingBuild("a long enough text")
    cache.get_or_build("k", build, read_entry)
    damage(cache.folder / "k" / file)
    assert cache.get_or_build("k", build, read_entry) == "a long enough text"
    assert build.count == 2
    assert cache.get_or_build("k", build_never, read_entry) == "a long enough text"
    assert not list(cache.folder.glob(f"{REMOVED_PREFIX}*"))
    assert ("damaged" in caplog.text) == ((file, damage) != (SEAL_FILE, Path.unlink))


SEALS = {
    "a list": [],
    "a number": 3,
    "nothing": None,
    "text": "one.bin",
    "no files": {},
    "another file": {"other.bin": [5, 0]},
    "a file outside": {"../../secret": [5, 0]},
    "a size only": {"one.bin": 5},
    "one number": {"one.bin": [5]},
    "three numbers": {"one.bin": [5, 0, 0]},
    "text for numbers": {"one.bin": ["5", "0"]},
    "an object": {"one.bin": {"size": 5}},
    "nested": {"one.bin": [[5], [0]]},
    "huge numbers": {"one.bin": [1e300, 10**300]},
}


@pytest.mark.parametrize("text", [*map(json.dumps, SEALS.values()), "[" * 100_000, "NaN", '{"one.bin": [1e999, 0]}'])
def test_a_seal_of_another_shape_is_not_trusted(text: str, cache: Cache) -> None:
    build = CountingBuild()
    cache.get_or_build("k", build, read_entry)
    (cache.folder / "k" / SEAL_FILE).write_text(f"{text}\n{zlib.crc32(text.encode())}\n")
    assert cache.get_or_build("k", build, read_entry) == "built"
    assert build.count == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b"\n\n", bytes(1000)])
def test_a_seal_of_any_bytes_is_not_trusted(content: bytes, cache: Cache) -> None:
    build = CountingBuild()
    cache.get_or_build("k", build, read_entry)
    (cache.folder / "k" / SEAL_FILE).write_bytes(content)
    assert cache.get_or_build("k", build, read_entry) == "built"
    assert build.count == 2


def add_file(entry: Path) -> None:
    (entry / "added.bin").write_bytes(b"x")


def add_folder(entry: Path) -> None:
    (entry / "added").mkdir()


def replace_with_folder(entry: Path) -> None:
    (entry / "one.bin").unlink()
    (entry / "one.bin").mkdir()


@pytest.mark.parametrize("change", [add_file, add_folder, replace_with_folder])
def test_the_seal_covers_every_file_of_an_entry(change: Callable[[Path], None], cache: Cache) -> None:
    build = CountingBuild()
    cache.get_or_build("k", build, read_entry)
    change(cache.folder / "k")
    assert cache.get_or_build("k", build, read_entry) == "built"
    assert build.count == 2


@pytest.mark.parametrize(
    "number", [errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOLCK, errno.EACCES, errno.EROFS, errno.ENOTSUP]
)
@pytest.mark.parametrize("step", ["mkdir", "acquire"])
def test_a_cache_folder_that_cannot_be_created_or_locked_is_a_cache_error(
    number: int, step: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "/somewhere")

    monkeypatch.setattr(Path if step == "mkdir" else FileLock, step, fail)
    with pytest.raises(CacheError, match="FUSIONZOO_CACHE"):
        cache.get_or_build("k", CountingBuild(), read_entry)


def test_an_entry_with_a_longer_file_is_built_again(cache: Cache) -> None:
    build = CountingBuild()
    cache.get_or_build("k", build, read_entry)
    with (cache.folder / "k/two.bin").open("ab") as file:
        file.write(b"x")
    cache.get_or_build("k", build, read_entry)
    assert build.count == 2


def test_a_failed_build_leaves_no_entry_and_raises_its_own_error(cache: Cache) -> None:
    def fails(folder: Path) -> None:
        (folder / "one.bin").write_text("half")
        raise DataError([Problem("train", "it is bad", "write it again", "FZ-D999")])

    with pytest.raises(DataError, match="it is bad"):
        cache.get_or_build("k", fails, read_entry)
    assert [path.name for path in cache.folder.iterdir() if path.is_dir()] == []
    assert cache.get_or_build("k", CountingBuild(), read_entry) == "built"


KILLED = """
import sys, time
from pathlib import Path
from fusionzoo.data.cache import Cache

def build(folder):
    (folder / "one.bin").write_text("half")
    print("started", flush=True)
    time.sleep(60)

Cache(Path(sys.argv[1]), 10**9).get_or_build(sys.argv[2], build, lambda folder: None)
"""


def start_and_kill(cache: Cache, key: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, cache.folder, key], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_killed_build_is_not_used_and_is_removed_later(cache: Cache) -> None:
    start_and_kill(cache, "k")
    assert (cache.folder / f"{BUILDING_PREFIX}k/one.bin").read_text() == "half"
    assert cache.get_or_build("k", CountingBuild(), read_entry) == "built"
    start_and_kill(cache, "of-a-job-that-never-comes-back")
    cache.get_or_build("other", CountingBuild(), read_entry)
    assert sorted(path.name for path in cache.folder.iterdir() if path.is_dir()) == ["k", "other"]


SHARED = """
import os, sys, time
from pathlib import Path
from fusionzoo.data.cache import Cache

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (folder / "one.bin").write_text("built")

print(Cache(Path(sys.argv[1]), 10**9).get_or_build("k", build, lambda folder: (folder / "one.bin").read_text()))
"""


def test_one_of_several_processes_builds_and_the_others_wait(cache: Cache, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARED, cache.folder, tmp_path / "log"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in processes] == ["built\n"] * 4
    assert (tmp_path / "log").read_text() == "built\n"


def test_one_of_several_threads_builds_and_the_others_wait(cache: Cache) -> None:
    build = CountingBuild()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: cache.get_or_build("k", build, read_entry), range(8))) == ["built"] * 8
    assert build.count == 1


def age(cache: Cache, **seconds: int) -> None:
    for key, ago in seconds.items():
        at = time.time() - ago
        os.utime(cache.folder / key / SEAL_FILE, (at, at))


def test_the_least_recently_used_entries_are_evicted_at_the_limit(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 25_000)
    for key in ("a", "b"):
        cache.get_or_build(key, CountingBuild(size=10_000), read_entry)
    age(cache, a=100, b=200)
    cache.get_or_build("b", build_never, read_entry)  # used now, so that "a" is the oldest
    cache.get_or_build("c", CountingBuild(size=10_000), read_entry)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["b", "c"]
    assert Cache(tmp_path, 0).get_or_build("d", CountingBuild(size=10_000), read_entry) == "built"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["d"]


def test_an_entry_that_is_removed_while_it_is_loaded_is_built_again(cache: Cache) -> None:
    build, times = CountingBuild(), 0

    def load(folder: Path) -> str:
        nonlocal times
        times += 1
        if times == 1:
            shutil.rmtree(folder)
        return read_entry(folder)

    cache.get_or_build("k", build, read_entry)
    assert cache.get_or_build("k", build, load) == "built"
    assert (build.count, times) == (2, 2)


def test_an_entry_that_another_process_locks_is_not_evicted_and_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path, 0)
    cache.get_or_build("a", CountingBuild(), read_entry)
    (tmp_path / f"{BUILDING_PREFIX}a").mkdir()  # the other process builds it
    with FileLock(tmp_path / "a.lock"), caplog.at_level(logging.INFO):
        cache.get_or_build("b", CountingBuild(), read_entry)
        assert (tmp_path / "a" / SEAL_FILE).exists()
        assert (tmp_path / f"{BUILDING_PREFIX}a").exists()
        assert not caplog.records
    cache.get_or_build("c", CountingBuild(), read_entry)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_failing_disk_is_a_cache_error_and_leaves_no_entry(number: int, cache: Cache) -> None:
    def full(folder: Path) -> None:
        (folder / "one.bin").write_text("half")
        raise OSError(number, os.strerror(number), str(folder / "one.bin"))

    with pytest.raises(CacheError, match="FUSIONZOO_CACHE") as error:
        cache.get_or_build("k", full, read_entry)
    assert os.strerror(number) in str(error.value)
    assert not list(cache.folder.glob(f"{BUILDING_PREFIX}*"))


def test_a_file_at_the_path_of_the_cache_is_a_cache_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(CacheError):
            Cache(folder, 10**9).get_or_build("k", CountingBuild(), read_entry)


def test_other_errors_of_the_build_pass_unchanged(cache: Cache) -> None:
    def bug(folder: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "a bug", "nowhere")

    with pytest.raises(FileNotFoundError, match="a bug"):
        cache.get_or_build("k", bug, read_entry)


def mount_read_only(folder: Path) -> bool:
    """Mount a folder read-only; return False if that is not permitted."""
    result = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if result.returncode:
        return False
    return not subprocess.run(["mount", "-o", "remount,ro,bind", folder], capture_output=True, check=False).returncode


def test_entries_of_a_read_only_cache_are_used(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    cache.get_or_build("k", CountingBuild(), read_entry)
    if not mount_read_only(cache.folder):
        pytest.skip("a read-only folder needs the permission to mount")
    try:
        with caplog.at_level(logging.WARNING):
            assert cache.get_or_build("k", build_never, read_entry) == "built"
        assert not caplog.text
        with pytest.raises(CacheError, match="Read-only file system"):
            cache.get_or_build("other", CountingBuild(), read_entry)
    finally:
        subprocess.run(["umount", cache.folder], check=True)
