"""An input that the system refuses to read gets a fix for the reason; its content is not blamed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fusionzoo import errors
from fusionzoo.data.reading.folder_walk import list_files
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.errors.prediction_errors import PredictionJobError

FIXES = {
    errno.ENOENT: "create it",
    errno.ENOTDIR: "create it",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "fs.file-max",
    errno.EIO: "check the disk",
    errno.ESTALE: "mount the file system again",
    errno.ELOOP: "correct what the message names",
}


def make_error(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/somewhere")


@pytest.mark.parametrize(("number", "words"), FIXES.items(), ids=map(errno.errorcode.get, FIXES))
def test_the_fix_of_an_unreadable_folder_is_that_of_the_reason(number: int, words: str) -> None:
    problem = errors.unreadable_folder("train", make_error(number))
    assert os.strerror(number) in problem.message
    assert words in problem.fix
    assert ("permission" in problem.fix) == (number in (errno.EACCES, errno.EPERM))


def test_a_missing_folder_is_not_a_matter_of_permissions(tmp_path: Path) -> None:
    (problem,) = list_files(tmp_path / "nope", "nope").problems
    assert problem.fix == "create it there, or correct the path"


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.EACCES])
def test_a_file_that_cannot_be_read_is_not_to_be_written_again(number: int) -> None:
    file = PartFile(Path("a.csv"), "train/a.csv", "csv", False)
    with pytest.raises(errors.DataError) as caught, file.convert_read_errors():
        raise make_error(number)
    assert os.strerror(number) in str(caught.value)
    assert FIXES[number] in str(caught.value)
    assert "write the file again" not in str(caught.value)


def test_a_damaged_file_is_to_be_written_again() -> None:
    file = PartFile(Path("a.csv"), "train/a.csv", "csv", False)
    with pytest.raises(errors.DataError, match="write the file again"), file.convert_read_errors():
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_the_fix_of_an_unreadable_input_of_predict_is_that_of_the_reason(number: int) -> None:
    words = "let this user read it" if number == errno.EACCES else FIXES[number]
    assert words in PredictionJobError.unreadable_input(Path("a.csv"), make_error(number)).fix
