"""Where predictions are written: one file, standard output, or one file for each part file in a folder."""

from __future__ import annotations

import gzip
import stat
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import pyarrow as pa

from fusionzoo.atomic_files import write_atomically
from fusionzoo.data.reading.file_type import GZIP_SUFFIXES
from fusionzoo.data.reading.formats import FORMATS, format_from_suffix, known_suffixes
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.errors.output_errors import OutputError
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.errors.wording import describe_file_kind
from fusionzoo.local_paths import to_local_path
from fusionzoo.prediction.input_files import FORMAT_NAMES, InputFiles
from fusionzoo.prediction.standard_streams import STREAM, StandardOutput

COMPRESSED_SUFFIXES = frozenset(
    ".7z .br .bz .bz2 .lz .lz4 .lzma .lzo .rar .snappy .sz .tar .tbz2 .tgz .txz .xz .z .zip .zst .zstd".split()
)
"""The suffixes of compressed files and archives that are not written."""
OTHER_FORMAT_SUFFIXES = frozenset(
    (
        ".arff .arrow .avro .db .dbf .dta .fea .feather .h5 .hdf .hdf5 .htm .html .ipc .md .msgpack .npy .npz .ods "
        ".orc .parq .pickle .pkl .psv .pt .pth .rds .sas7bdat .sav .sqlite .sqlite3 .tfrecord .xls .xlsb .xlsm .xlsx "
        ".xml .yaml .yml"
    ).split()
)
"""The suffixes of files with rows, in formats that are not written."""


@dataclass(frozen=True)
class PredictionFile:
    """One prediction file.

    `files` are the part files with its rows, and `name` is its path below the output folder. `path` is None for
    standard output.
    """

    files: tuple[PartFile, ...]
    name: str
    path: Path | None
    format: str
    gzipped: bool

    @property
    def input_bytes(self) -> int:
        """The size of the part files; 0 for standard input."""
        return sum(file.path.stat().st_size for file in self.files if file.path.exists())

    def write(self, write: Callable[[BinaryIO], None]) -> None:
        """Let `write` fill the file, which then exists completely or not at all; standard output is written directly.

        Raises:
            errors.OutputError: the file cannot be written.
            PredictionJobError: the format cannot hold an id or a carried value.
        """
        try:
            self._write(write)
        except pa.ArrowException as cause:  # errors of reading are already converted
            raise PredictionJobError.unwritable_values(self.name, self.format, cause) from cause

    def _write(self, write: Callable[[BinaryIO], None]) -> None:
        def compress(file: BinaryIO) -> None:
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
                write(cast("BinaryIO", compressed))

        write_content = compress if self.gzipped else write
        if self.path is not None:
            write_atomically(self.path, write_content)
            return
        if sys.stdout is None:
            raise OutputError.closed_standard_output()
        output = cast("BinaryIO", StandardOutput(sys.stdout.buffer))
        write_content(output)
        output.flush()


@dataclass(frozen=True)
class OutputPlan:
    """The prediction files of a run. `folder` has one for each part file; None if there is only one file."""

    files: tuple[PredictionFile, ...]
    folder: Path | None


def plan_output(inputs: InputFiles, output: str, format: str | None) -> OutputPlan:
    """Return which prediction files are written, and check that they do not mix with the input.

    An output with the suffix of a format or of gzip, standard output, and the output of a file that is no folder, are
    one file. Otherwise each part file of an input folder has a prediction file of the same name in the output folder.

    Args:
        inputs: the files to score.
        output: a file, a folder, or "-" for standard output.
        format: the format to write, as `FORMAT_NAMES` has it; None for that of the output's suffix or of the input.

    Raises:
        PredictionJobError: the output exists, is part of the input, or has a suffix of another format or of one that is
            not written.
        errors.PathError: the output is a URL.
    """
    chosen = None if format is None else FORMAT_NAMES[format]
    if output == STREAM:
        return OutputPlan((PredictionFile(inputs.files, STREAM, None, chosen or inputs.format, False),), None)
    path = to_local_path("--output", output)
    check_apart("--output", path, "--input", inputs.path)
    is_folder_name = output.endswith("/")
    named, gzipped = (None, False) if is_folder_name else _read_suffixes(path.name)
    is_folder = is_existing_folder("--output", path)
    if not is_folder_name and not is_folder:
        _check_suffixes(path, has_format=format is not None)
    if inputs.folder is not None and named is None and (is_folder or not gzipped):
        files = tuple(_plan_part(inputs, file, path, chosen) for file in inputs.files)
        _check_distinct(files)
        return OutputPlan(files, path)
    if is_folder or is_folder_name:
        raise PredictionJobError.folder_as_file("--output", path)
    if chosen is not None and named is not None and named != chosen:
        raise PredictionJobError.output_format(path, named, format or chosen)
    file = PredictionFile(inputs.files, path.name, path, chosen or named or inputs.format, gzipped)
    return OutputPlan((file,), None)


def is_existing_folder(option: str, path: Path) -> bool:
    """Return whether the path of an output is a folder; False if nothing is there yet.

    Raises:
        PredictionJobError: something else is there, or where a folder above it has to be.
    """
    mode = read_output_mode(option, path)
    if mode is not None and not stat.S_ISDIR(mode):
        raise PredictionJobError.output_exists(path)
    return mode is not None


def read_output_mode(option: str, path: Path) -> int | None:
    """Return `st_mode` of the file, folder or dangling link at the path of an output; None if nothing is there yet.

    Raises:
        PredictionJobError: it is a device, pipe or socket, or a folder above it is a file.
    """
    try:
        mode = path.stat().st_mode if path.exists() else path.lstat().st_mode
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise PredictionJobError.unusable_output(option, path, cause) from cause
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise PredictionJobError.output_not_a_file(option, path, describe_file_kind(mode))
    return mode


@contextmanager
def convert_list_errors(folder: Path) -> Iterator[None]:
    """In the block, which reads an output folder, turn the failure into a PredictionJobError."""
    try:
        yield
    except OSError as cause:
        raise PredictionJobError.unusable_output("--output", folder, cause) from cause


def check_apart(option: str, path: Path, other_option: str, other: str) -> None:
    """Raise PredictionJobError if a path that will be written is another path, or is inside it, or contains it."""
    if other == STREAM:
        return
    output, source = path.resolve(), Path(other).resolve()
    if output == source or output.is_relative_to(source):
        raise PredictionJobError.overlapping(option, path, other_option, Path(other) if output != source else path)
    if source.is_relative_to(output):
        raise PredictionJobError.overlapping(other_option, Path(other), option, path)


def _check_suffixes(path: Path, *, has_format: bool) -> None:
    """Raise PredictionJobError if the name of the output shows a format or compression that is not written.

    With --output-format, the user has decided which format is written under such a name.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in GZIP_SUFFIXES:
        suffixes.pop()
    if not suffixes:
        return
    if suffixes[-1] in COMPRESSED_SUFFIXES:
        raise PredictionJobError.other_compression(path, suffixes[-1])
    if suffixes[-1] in OTHER_FORMAT_SUFFIXES and not has_format:
        raise PredictionJobError.other_file_format(path, suffixes[-1], known_suffixes())


def _read_suffixes(name: str) -> tuple[str | None, bool]:
    """Return the format that a file name shows, None if it shows none, and whether it is compressed with gzip."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    gzipped = bool(suffixes) and suffixes[-1] in GZIP_SUFFIXES
    if gzipped:
        suffixes.pop()
    return (format_from_suffix(suffixes[-1]) if suffixes else None), gzipped


def _plan_part(inputs: InputFiles, file: PartFile, folder: Path, format: str | None) -> PredictionFile:
    """Return the prediction file of a part file. It has the same name, with the suffix of its own format."""
    name = PurePosixPath(inputs.relative_name(file))
    suffixes = [suffix for suffix in name.suffixes if suffix.lower() in GZIP_SUFFIXES or format_from_suffix(suffix)]
    stem = name.name
    for suffix in reversed(suffixes):
        stem = stem.removesuffix(suffix)
    named, gzipped = _read_suffixes(name.name)
    chosen = format or file.format
    is_same = named == chosen and not name.name.lower().endswith((".json", ".json.gz", ".json.gzip"))
    new_name = name if is_same else name.with_name(f"{stem}{FORMATS[chosen].suffixes[0]}{'.gz' if gzipped else ''}")
    return PredictionFile((file,), new_name.as_posix(), folder / new_name, chosen, gzipped)


def _check_distinct(files: tuple[PredictionFile, ...]) -> None:
    by_name = defaultdict(list)
    for file in files:
        by_name[file.name].append(file.files[0].name)
    for name, sources in by_name.items():
        if len(sources) > 1:
            raise PredictionJobError.same_output(name, sources)
