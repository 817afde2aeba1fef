"""Which prediction files of a folder are finished, so that a run that was stopped continues where it was."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fusionzoo.atomic_files import delete_leftovers, translate_write_errors, write_text_atomically
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.prediction.output_files import OutputPlan, PredictionFile, convert_list_errors

STATE_FOLDER = "_predict"  # readers of a folder skip names that begin with "_"
RUN_FILE, LOCK_FILE = "run.json", "in_use.lock"
RECORD_SUFFIX, PROBLEMS_SUFFIX = ".json", ".errors.csv"


@dataclass(frozen=True)
class PartRecord:
    """What is known about a finished prediction file: its rows, and the rows that could not be scored."""

    rows: int
    rejected: int


@dataclass(frozen=True)
class FinishedParts:
    """The records of an output folder, each written after its prediction file."""

    folder: Path

    @classmethod
    def open(cls, plan: OutputPlan, folder: Path, run: Mapping[str, Any]) -> FinishedParts:
        """Prepare the output folder for a new run, or continue an earlier one.

        Args:
            plan: all prediction files of the run, of every shard.
            folder: the output folder.
            run: the model, input and options that all files of the folder have in common, as plain values.

        Raises:
            PredictionJobError: the folder has other files, or the predictions of another run.
            errors.OutputError: the folder cannot be written.
        """
        parts = cls(folder)
        earlier = _read_json(parts.run_file)
        if earlier is None:
            _check_empty(folder)
        elif differences := _compare(earlier, run):
            raise PredictionJobError.other_run(folder, differences)
        parts._check_stale(plan)
        if earlier is None:
            _write_json(parts.run_file, run)
        return parts

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Mark the folder as in use during the block. First delete what killed processes left, if no other one uses it.

        Several processes, such as shards, may use the folder at the same time.

        Raises:
            errors.OutputError: the folder cannot be written.
        """
        path = self.folder / STATE_FOLDER / LOCK_FILE
        with translate_write_errors(path):
            file = path.open("ab")
        with file:
            if _try_lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                for folder in [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]:
                    delete_leftovers(folder)
            _try_lock(file, fcntl.LOCK_SH)
            yield

    @property
    def run_file(self) -> Path:
        """The file that describes the run."""
        return self.folder / STATE_FOLDER / RUN_FILE

    def problem_file(self, part: PredictionFile) -> Path:
        """Return the file with the row problems of a part."""
        return self._locate(part, PROBLEMS_SUFFIX)

    def find(self, part: PredictionFile) -> PartRecord | None:
        """Return the record of a prediction file; None if it is not finished, or one of the two files has changed."""
        record = _read_json(self._locate(part, RECORD_SUFFIX))
        if record is None or part.path is None or not part.path.is_file():
            return None
        if record.get("input") != _describe_input(part) or record.get("bytes") != part.path.stat().st_size:
            return None
        return PartRecord(record["rows"], record["rejected"])

    def add(self, part: PredictionFile, record: PartRecord) -> None:
        """Record that a prediction file is finished."""
        if part.path is None:
            raise ValueError("standard output has no record")
        content = {
            "input": _describe_input(part),
            "bytes": part.path.stat().st_size,
            "rows": record.rows,
            "rejected": record.rejected,
        }
        _write_json(self._locate(part, RECORD_SUFFIX), content)

    def _locate(self, part: PredictionFile, suffix: str) -> Path:
        return self.folder / STATE_FOLDER / "parts" / f"{part.name}{suffix}"

    def _check_stale(self, plan: OutputPlan) -> None:
        root = self.folder / STATE_FOLDER / "parts"
        recorded = {path.relative_to(root).as_posix() for path in root.rglob(f"*{RECORD_SUFFIX}")}
        current = {f"{part.name}{RECORD_SUFFIX}" for part in plan.files}
        if stale := sorted(name.removesuffix(RECORD_SUFFIX) for name in recorded - current):
            raise PredictionJobError.stale_parts(self.folder, stale)


def _try_lock(file: BinaryIO, operation: int) -> bool:
    """Lock a file and return whether it is locked: not if others use it, or on a file system without locks."""
    try:
        fcntl.flock(file, operation)
    except OSError:
        return False
    return True


def _check_empty(folder: Path) -> None:
    with convert_list_errors(folder):
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in names if name != STATE_FOLDER and not name.startswith(".")]:
        raise PredictionJobError.foreign_folder(folder, others)


def _compare(earlier: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    names = sorted({*earlier, *run})
    return {name: (earlier.get(name), run.get(name)) for name in names if earlier.get(name) != run.get(name)}


def _describe_input(part: PredictionFile) -> Sequence[Sequence[Any]]:
    """Return what changes when a part file is replaced or written to, without reading it."""
    return [[file.name, file.path.stat().st_size, file.path.stat().st_mtime_ns] for file in part.files]


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file of this package; None if there is no such file, or it is damaged.

    Raises:
        PredictionJobError: it cannot be read, and may be intact.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    except OSError as cause:
        raise PredictionJobError.unusable_output("--output", path, cause) from cause
    return content if isinstance(content, dict) else None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text_atomically(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
