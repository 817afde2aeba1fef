"""The cache of encoded data: built once, shared, checked, whole or not there, and never larger than its limit."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.data.cache import BUILDING, REMOVED, SEAL, Cache, cache_key
from fusionzoo.errors import CacheError, DataError, Problem


class Work:
    """A build that counts how often it was done."""

    def __init__(self, text: str = "made", size: int = 0) -> None:
        self.text, self.size, self.times = text, size, 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "one.bin").write_bytes(self.text.encode() + bytes(self.size))
        (folder / "two.bin").write_bytes(b"")


def read(folder: Path) -> str:
    return (folder / "one.bin").read_bytes().rstrip(b"\0").decode()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10**9)


def never(folder: Path) -> None:
    raise AssertionError("nothing was to be built")


def test_an_entry_is_built_once_and_used_by_every_later_job(cache: Cache) -> None:
    work = Work()
    assert cache.fetch("k", work, read) == "made"
    assert cache.fetch("k", work, read) == "made"
    assert Cache(cache.folder, 0).fetch("k", never, read) == "made"
    assert work.times == 1
    assert cache.fetch("other", Work("else"), read) == "else"


def test_keys_tell_contents_apart_and_not_the_order_of_their_names() -> None:
    assert cache_key({"a": 1, "b": [1, "é"]}) == cache_key({"b": [1, "é"], "a": 1})
    assert len({cache_key({"a": a}) for a in (1, "1", None, [1], 1.5, {"a": 1})}) == 6


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("file", ["one.bin", SEAL])
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_a_damaged_entry_is_found_and_made_anew(
    file: str, damage: Callable[[Path], Any], cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work("a long enough text")
    cache.fetch("k", work, read)
    damage(cache.folder / "k" / file)
    assert cache.fetch("k", work, read) == "a long enough text"
    assert work.times == 2
    assert cache.fetch("k", never, read) == "a long enough text"
    assert not list(cache.folder.glob(f"{REMOVED}*"))
    assert ("damaged" in caplog.text) == ((file, damage) != (SEAL, Path.unlink))


def test_a_file_that_is_longer_than_it_was_is_damage(cache: Cache) -> None:
    work = Work()
    cache.fetch("k", work, read)
    with (cache.folder / "k/two.bin").open("ab") as file:
        file.write(b"x")
    cache.fetch("k", work, read)
    assert work.times == 2


def test_a_build_that_fails_leaves_nothing_and_its_own_error(cache: Cache) -> None:
    def fails(folder: Path) -> None:
        (folder / "one.bin").write_text("half")
        raise DataError([Problem("train", "it is bad", "mend it")])

    with pytest.raises(DataError, match="it is bad"):
        cache.fetch("k", fails, read)
    assert [path.name for path in cache.folder.iterdir() if path.is_dir()] == []
    assert cache.fetch("k", Work(), read) == "made"


KILLED = """
import sys, time
from pathlib import Path
from fusionzoo.data.cache import Cache

def build(folder):
    (folder / "one.bin").write_text("half")
    print("begun", flush=True)
    time.sleep(60)

Cache(Path(sys.argv[1]), 10**9).fetch(sys.argv[2], build, lambda folder: None)
"""


def begin_and_kill(cache: Cache, key: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, cache.folder, key], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_killed_build_is_not_mistaken_for_a_whole_one_and_is_cleared_away(cache: Cache) -> None:
    begin_and_kill(cache, "k")
    assert (cache.folder / f"{BUILDING}k/one.bin").read_text() == "half"
    assert cache.fetch("k", Work(), read) == "made"
    begin_and_kill(cache, "of-a-job-that-never-comes-back")
    cache.fetch("other", Work(), read)
    assert sorted(path.name for path in cache.folder.iterdir() if path.is_dir()) == ["k", "other"]


SHARED = """
import os, sys, time
from pathlib import Path
from fusionzoo.data.cache import Cache

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (folder / "one.bin").write_text("made")

print(Cache(Path(sys.argv[1]), 10**9).fetch("k", build, lambda folder: (folder / "one.bin").read_text()))
"""


def test_of_several_processes_one_builds_and_the_others_wait_for_it(cache: Cache, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARED, cache.folder, tmp_path / "log"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in processes] == ["made\n"] * 4
    assert (tmp_path / "log").read_text() == "built\n"


def test_threads_share_a_cache_too(cache: Cache) -> None:
    work = Work()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: cache.fetch("k", work, read), range(8))) == ["made"] * 8
    assert work.times == 1


def age(cache: Cache, **seconds: int) -> None:
    for key, ago in seconds.items():
        at = time.time() - ago
        os.utime(cache.folder / key / SEAL, (at, at))


def test_the_least_recently_used_entries_go_where_the_limit_is_reached(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 25_000)
    for key in ("a", "b"):
        cache.fetch(key, Work(size=10_000), read)
    age(cache, a=100, b=200)
    cache.fetch("b", never, read)  # used now, so that "a" is the oldest
    cache.fetch("c", Work(size=10_000), read)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["b", "c"]
    assert Cache(tmp_path, 0).fetch("d", Work(size=10_000), read) == "made"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["d"]


def test_an_entry_that_is_removed_while_it_is_loaded_is_made_anew(cache: Cache) -> None:
    work, times = Work(), 0

    def load(folder: Path) -> str:
        nonlocal times
        times += 1
        if times == 1:
            shutil.rmtree(folder)
        return read(folder)

    cache.fetch("k", work, read)
    assert cache.fetch("k", work, load) == "made"
    assert (work.times, times) == (2, 2)


def test_an_entry_that_another_process_is_at_work_on_is_not_removed(tmp_path: Path) -> None:
    from filelock import FileLock

    cache = Cache(tmp_path, 0)
    cache.fetch("a", Work(), read)
    with FileLock(tmp_path / "a.lock"):
        cache.fetch("b", Work(), read)
        assert (tmp_path / "a" / SEAL).exists()
    cache.fetch("c", Work(), read)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_cannot_be_written_is_a_cache_error_and_leaves_nothing(number: int, cache: Cache) -> None:
    def full(folder: Path) -> None:
        (folder / "one.bin").write_text("half")
        raise OSError(number, os.strerror(number), str(folder / "one.bin"))

    with pytest.raises(CacheError, match="FUSIONZOO_CACHE") as error:
        cache.fetch("k", full, read)
    assert os.strerror(number) in str(error.value)
    assert not list(cache.folder.glob(f"{BUILDING}*"))


def test_a_file_in_the_place_of_the_cache_is_a_cache_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(CacheError):
            Cache(folder, 10**9).fetch("k", Work(), read)


def test_another_error_of_the_build_passes_as_it_is(cache: Cache) -> None:
    def bug(folder: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "a bug", "nowhere")

    with pytest.raises(FileNotFoundError, match="a bug"):
        cache.fetch("k", bug, read)


def mounted_read_only(folder: Path) -> bool:
    """Mounts a folder read-only in this process's own mount namespace; False where that cannot be done."""
    made = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if made.returncode:
        return False
    return not subprocess.run(["mount", "-o", "remount,ro,bind", folder], capture_output=True, check=False).returncode


def test_a_cache_that_can_only_be_read_gives_what_it_has(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    cache.fetch("k", Work(), read)
    if not mounted_read_only(cache.folder):
        pytest.skip("a read-only folder needs the right to mount")
    try:
        with caplog.at_level(logging.WARNING):
            assert cache.fetch("k", never, read) == "made"
        assert not caplog.text
        with pytest.raises(CacheError, match="Read-only file system"):
            cache.fetch("other", Work(), read)
    finally:
        subprocess.run(["umount", cache.folder], check=True)
