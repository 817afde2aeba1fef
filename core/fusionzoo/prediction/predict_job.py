"""`fusionzoo predict`, from the input to the prediction files. `predict_files` is the table of contents."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fusionzoo import errors
from fusionzoo.artifacts.file_names import MANIFEST_FILE
from fusionzoo.artifacts.prediction_stream import write_prediction_blocks
from fusionzoo.artifacts.predictions import Predictions, prediction_columns
from fusionzoo.atomic_files import write_atomically
from fusionzoo.data.hashing import hash_file
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.prediction.finished_parts import FinishedParts, PartRecord
from fusionzoo.prediction.input_files import ColumnsRead, choose_columns, open_input
from fusionzoo.prediction.local_engine import Engine
from fusionzoo.prediction.output_files import (
    OutputPlan,
    PredictionFile,
    check_apart,
    plan_output,
    read_output_mode,
)
from fusionzoo.prediction.prediction_blocks import BlockMaker
from fusionzoo.prediction.progress_display import Display, show_progress
from fusionzoo.prediction.row_problems import ProblemFile, RowFilter
from fusionzoo.prediction.shards import Shard
from fusionzoo.serving.predictor import Predictor

StartEngine = Callable[[Predictor], AbstractContextManager[Engine]]


@dataclass(frozen=True)
class PredictOptions:
    """What the user gives to `fusionzoo predict`.

    Attributes:
        model: the model folder.
        input: a file, a folder, or "-" for standard input.
        output: a file, a folder, or "-" for standard output.
        input_format: the format of standard input and of files without a known suffix.
        output_format: the format to write; None for that of the output's suffix or of the input.
        columns: the columns of the input to carry through.
        labels: whether the predictions have the labels, if the input has them.
        problem_file: the file for rows that cannot be scored; None if they are an error.
        shard: the part files to score; None for the share of the host.
        host: the share of this host of a processing job, which then has one file or standard output in the first host
            only; None if it scores all files.
    """

    model: Path
    input: str
    output: str
    input_format: str | None = None
    output_format: str | None = None
    columns: tuple[str, ...] = ()
    labels: bool = True
    problem_file: Path | None = None
    shard: Shard | None = None
    host: Shard | None = None


@dataclass(frozen=True)
class PredictSummary:
    """What a run did.

    Attributes:
        written: the prediction files of this run.
        kept: those of earlier runs.
        rows: the rows that this run scored.
        kept_rows: the rows in the files of earlier runs.
        rejected: the rows without scores, of all files.
    """

    written: int
    kept: int
    rows: int
    kept_rows: int
    rejected: int


@errors.scoring_fixes()
def predict_files(options: PredictOptions, start_engine: StartEngine) -> PredictSummary:
    """Score the rows of the input and write their predictions, in bounded memory.

    Everything that can be checked before rows are read is checked first.

    Args:
        options: what to do.
        start_engine: returns the engine for a predictor; it is stopped at the end.

    Raises:
        errors.ZooError: something that a user can fix. A prediction file exists completely or not at all.
    """
    predictor = Predictor.load(options.model)
    settings = predictor.preprocessor.settings
    reject_rows = options.problem_file is not None
    with open_input(options.input, options.input_format, settings, reject_rows=reject_rows) as inputs:
        plan = plan_output(inputs, options.output, options.output_format)
        columns = choose_columns(inputs, settings, options.columns, labels=options.labels)
        check_options(options, plan)
        columns = check_carried(predictor, columns)
        finished = open_finished_parts(options, plan)
        if options.problem_file is not None and finished is None and options.problem_file.exists():
            raise PredictionJobError.output_exists(options.problem_file)
        shard = options.shard or options.host
        parts = plan.files if shard is None else shard.select(plan.files)
        with nullcontext() if finished is None else finished.in_use(), start_engine(predictor) as engine:
            run = _Run(predictor, BlockMaker(predictor.task, columns, engine), options.problem_file, finished)
            return run.write_parts(parts)


def check_options(options: PredictOptions, plan: OutputPlan) -> None:
    """Check how the options fit each other.

    Raises:
        PredictionJobError: they do not.
    """
    outputs = [("--output", plan.folder or plan.files[0].path), ("--errors", options.problem_file)]
    for option, path in outputs:
        if path is not None:
            check_apart(option, path, "--model", str(options.model))
    if options.problem_file is not None:
        check_apart("--errors", options.problem_file, "--input", options.input)
        check_apart("--errors", options.problem_file, "--output", options.output)
        mode = read_output_mode("--errors", options.problem_file)
        if mode is not None and stat.S_ISDIR(mode):
            raise PredictionJobError.folder_as_file("--errors", options.problem_file)
    if options.shard is not None and plan.folder is None:
        raise PredictionJobError.folder_needed(options.output)


def check_carried(predictor: Predictor, columns: ColumnsRead) -> ColumnsRead:
    """Return the columns without carried ones that a prediction file has anyway: the id and the labels.

    Raises:
        PredictionJobError: a carried column has the name of a score or decision.
    """
    own = {columns.id_name, *columns.labels}
    carried = tuple(name for name in columns.carried if name not in own)
    id_name = columns.id_name or predictor.preprocessor.settings.id_column
    names = prediction_columns(id_name, predictor.task, has_labels=bool(columns.labels))
    if clashing := [name for name in carried if name in names]:
        raise PredictionJobError.carried_clash(clashing)
    return replace(columns, carried=carried)


def open_finished_parts(options: PredictOptions, plan: OutputPlan) -> FinishedParts | None:
    """Return the records of the output folder; None if the output is one file.

    Raises:
        PredictionJobError: the folder has other files, or the predictions of another run.
    """
    if plan.folder is None:
        return None
    run = {
        "model": hash_file(options.model / MANIFEST_FILE),  # which has the hash of every other file
        "input": str(Path(options.input).resolve()),
        "output format": options.output_format,
        "columns": list(options.columns),
        "labels": options.labels,
        "errors": options.problem_file is not None,
    }
    return FinishedParts.open(plan, plan.folder, run)


@dataclass(frozen=True)
class _Run:
    """Writes prediction files one after the other."""

    predictor: Predictor
    maker: BlockMaker
    problem_file: Path | None
    finished: FinishedParts | None

    def write_parts(self, parts: Sequence[PredictionFile]) -> PredictSummary:
        """Write the prediction files that are not finished, and then the list of row problems."""
        written: list[PartRecord] = []
        kept: list[PartRecord] = []
        sizes = {part.name: part.input_bytes for part in parts}
        with show_progress(len(parts), sum(sizes.values())) as display:
            for part in parts:
                record = None if self.finished is None else self.finished.find(part)
                if record is None:
                    written.append(self._write_part(part, display))
                else:
                    kept.append(record)
                display.finish_part(sizes[part.name])
        if self.finished is not None and self.problem_file is not None:
            write_atomically(self.problem_file, lambda file: self._join_problems(file, parts))
        rows, kept_rows = (sum(record.rows for record in records) for records in (written, kept))
        rejected = sum(record.rejected for record in (*written, *kept))
        return PredictSummary(len(written), len(kept), rows, kept_rows, rejected)

    def _write_part(self, part: PredictionFile, display: Display) -> PartRecord:
        records: list[PartRecord] = []

        def write_content(file: BinaryIO) -> None:
            path = self.problem_file if self.finished is None else self.finished.problem_file(part)
            if self.problem_file is None or path is None:
                records.append(PartRecord(self._write_rows(part, file, display, None), 0))
            else:
                write_atomically(path, lambda problems: write_with_problems(file, problems))

        def write_with_problems(file: BinaryIO, problems: BinaryIO) -> None:
            row_filter = RowFilter(self.predictor.preprocessor, bool(self.maker.columns.labels), ProblemFile(problems))
            records.append(PartRecord(self._write_rows(part, file, display, row_filter), row_filter.rejected))

        part.write(write_content)
        if self.finished is not None:
            self.finished.add(part, records[0])
        return records[0]

    def _write_rows(self, part: PredictionFile, file: BinaryIO, display: Display, row_filter: RowFilter | None) -> int:
        """Write the predictions of a prediction file, and return the number of rows."""
        rows = 0

        def count(blocks: Iterator[Predictions]) -> Iterator[Predictions]:
            nonlocal rows
            for block in blocks:
                yield block
                rows += len(block)
                display.add_rows(len(block))

        write_prediction_blocks(file, part.format, count(self.maker.make(part, row_filter)))
        return rows

    def _join_problems(self, file: BinaryIO, parts: Sequence[PredictionFile]) -> None:
        """Write the problems of all parts into one file, with one heading."""
        ProblemFile(file)
        for part in parts:
            if self.finished is not None:
                with self.finished.problem_file(part).open("rb") as source:
                    source.readline()
                    shutil.copyfileobj(source, file)
