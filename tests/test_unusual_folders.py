"""A verified script may leave folders that the system refuses to examine."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fusionzoo.contracts.verification.folder_snapshot import examine, take_snapshot
from verification_helpers import find_failures, find_warnings, verify, write_input, write_script

DEEPEN = """
os.chdir(ROOT / "model")
for _ in range(60):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
open("x", "w").close()
"""


def test_folders_that_are_too_deep_for_a_path_are_a_gap(tmp_path: Path) -> None:
    report = verify(write_script(tmp_path, before=DEEPEN), input_folder=write_input(tmp_path / "input"))
    assert find_failures(report) == {}
    assert "could not be watched: File name too long" in str(find_warnings(report))


def refuse(self: Path, **options: object) -> None:
    """Fail like the system does for a file in a folder that may be listed, but not searched."""
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_file_that_cannot_be_examined_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    monkeypatch.setattr(Path, "lstat", refuse)
    (entry,) = take_snapshot(tmp_path, hash_files=True).values()
    assert (entry.kind, entry.content) == ("a path that cannot be examined", "unreadable: Permission denied")


def test_a_path_that_cannot_be_examined_fails_each_test(tmp_path: Path) -> None:
    assert examine(tmp_path, Path.is_dir)
    assert not examine(tmp_path / ("d" * 5000), Path.is_dir)
