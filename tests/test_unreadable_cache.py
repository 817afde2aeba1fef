"""A cache entry that the system refuses to read may be intact: it is reported, not deleted and not built again."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from data_helpers import CountingBuild, read_entry
from fusionzoo.data.cache import SEAL_FILE, Cache
from fusionzoo.errors import CacheError
from fusionzoo.local_paths import NO_FOLDER
from fusionzoo.sagemaker import Paths

REFUSALS = [errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache", 10**9)
    cache.get_or_build("k", CountingBuild(), read_entry)
    return cache


def build_never(folder: Path) -> None:
    raise AssertionError("the entry was built again")


def refuse(monkeypatch: pytest.MonkeyPatch, method: str, part: str, number: int) -> None:
    """Let a method of paths fail with an error of the system, for paths that contain `part`."""
    real = getattr(Path, method)

    def fail(self: Path, *arguments: Any, **options: Any) -> Any:
        if part in str(self):
            raise OSError(number, os.strerror(number), str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, method, fail)


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("method", "part"),
    [("exists", SEAL_FILE), ("read_text", SEAL_FILE), ("iterdir", "cache/k"), ("open", "one.bin"), ("stat", "one.bin")],
)
def test_an_entry_that_cannot_be_read_is_an_error_and_stays(
    number: int, method: str, part: str, cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = {path: path.read_bytes() for path in (cache.folder / "k").iterdir()}
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        refuse(patch, method, part, number)
        with pytest.raises(CacheError) as caught:
            cache.get_or_build("k", build_never, read_entry)
    assert f"{cache.folder / 'k'} cannot be read: {os.strerror(number)}" in str(caught.value)
    assert "FUSIONZOO_CACHE" in caught.value.fix
    assert "damaged" not in caplog.text
    assert {path: path.read_bytes() for path in (cache.folder / "k").iterdir()} == files


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
def test_an_entry_that_cannot_be_loaded_is_an_error_and_stays(number: int, cache: Cache) -> None:
    def load(folder: Path) -> None:
        raise OSError(number, os.strerror(number), str(folder / "one.bin"))

    with pytest.raises(CacheError, match="cannot be read"):
        cache.get_or_build("k", build_never, load)
    assert cache.get_or_build("k", build_never, read_entry) == "built"


def test_whether_an_unreadable_entry_exists_is_not_an_error(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.contains("k")
    refuse(monkeypatch, "exists", SEAL_FILE, errno.EACCES)
    assert not cache.contains("k")


def test_an_entry_of_another_user_does_not_stop_the_eviction(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "iterdir", "cache/k", errno.EACCES)
    assert Cache(cache.folder, 0).get_or_build("other", CountingBuild("else"), read_entry) == "else"
    assert (cache.folder / "k" / SEAL_FILE).exists()


def test_a_folder_that_this_user_may_not_enter_is_not_called_damaged(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch, "exists", SEAL_FILE, errno.EACCES)
    with pytest.raises(CacheError, match="let this user read it"):
        cache.get_or_build("no such entry", build_never, read_entry)
    assert not caplog.records


def test_without_a_home_folder_the_cache_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", fail)
    folder = Paths.from_environment({}).cache
    assert folder.is_relative_to(NO_FOLDER)
    with pytest.raises(CacheError, match="this user has no home folder, and FUSIONZOO_CACHE is not set") as caught:
        Cache(folder, 10**9).get_or_build("k", CountingBuild(), read_entry)
    assert str(NO_FOLDER) not in str(caught.value)
