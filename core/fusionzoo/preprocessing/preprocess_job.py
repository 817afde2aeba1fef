"""The job of preprocess.py: split raw rows into channels, and report their columns. Writes all outputs or none."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fusionzoo.atomic_files import staged_folder
from fusionzoo.contracts import TABULAR_PREPROCESS_CONTRACT
from fusionzoo.data.null_words import NullWords
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.column_text import has_text_form
from fusionzoo.data.reading.folder_walk import list_files
from fusionzoo.data.reading.parquet import UNTYPED_KEY
from fusionzoo.data.splitting import TRAIN
from fusionzoo.data.targets.target import Target
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.errors.preprocess_errors import PreprocessError
from fusionzoo.errors.wording import pluralize
from fusionzoo.preprocessing.channel_writer import ChannelWriter
from fusionzoo.preprocessing.column_statistics import ColumnStatistics
from fusionzoo.preprocessing.column_types import ColumnTypes, convert_rows
from fusionzoo.preprocessing.duplicate_rows import DuplicateRows
from fusionzoo.preprocessing.label_statistics import SplitLabels, fit_target
from fusionzoo.preprocessing.raw_rows import SplitRows, open_raw_data, split_rows
from fusionzoo.preprocessing.suggested_roles import suggest_hyperparameters, suggest_role
from fusionzoo.sagemaker.hosts import check_single_host
from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)

CHANNELS: Mapping[str, str] = {"train": "train_data", "val": "val_data", "test": "test_data"}
"""The logical name of the output of each split."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class CheckedRows:
    """Rows that training can read: the type of each column, and the target as training will fit it."""

    rows: SplitRows
    schema: pa.Schema
    target: Target


def preprocess(root: Path, settings: JobSettings) -> None:
    """Split the raw data below SageMaker's root folder, and write the channels and the report.

    Everything is read and checked before anything is written. Reads the data three times (JSON Lines up to six times).
    Memory: about 100 bytes per row, and statistics of bounded size.

    Raises:
        errors.ProcessesError: the job has several hosts.
        PreprocessError: an output folder has other files.
        errors.DataError: the data cannot be used; all problems together.
        errors.OutputError: an output cannot be written.
    """
    contract = TABULAR_PREPROCESS_CONTRACT
    folders = {name: root / contract.relative_path(output) for name, output in CHANNELS.items()}
    report = root / contract.relative_path("report")
    check_single_host(root, contract)
    _check_empty(folders)
    channel = open_raw_data(root / contract.relative_path("raw_data"), settings)
    checked = _check_rows(split_rows(channel, settings), settings)
    with ExitStack() as stack:
        report_staging = stack.enter_context(staged_folder(report, "schema.json"))
        staged = {name: stack.enter_context(staged_folder(folders[name])) for name in checked.rows.names}
        documents = _write_channels(checked, staged, settings)
        for name, document in documents.items():
            (report_staging / name).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "utf-8")
    for name, rows in checked.rows.count_rows().items():
        log.info("%s: %s in %s", name, pluralize(rows, "row"), folders[name])
    log.info("The report is in %s.", report)


def _check_empty(folders: Mapping[str, Path]) -> None:
    """Check that the folders of the channels have no file that a training job would read as part of them.

    Raises:
        PreprocessError: a folder has such files.
    """
    for folder in folders.values():
        files = list_files(folder, str(folder)).files if folder.is_dir() else []
        if files:
            raise PreprocessError.folder_not_empty(folder, [str(file) for file in files])


def _check_rows(rows: SplitRows, settings: JobSettings) -> CheckedRows:
    """Read all rows and labels once.

    Raises:
        errors.DataError: a value cannot be read, training would refuse the labels, or a column mixes types.
    """
    types, problems = ColumnTypes(), ProblemLog()
    scan = choose_target(settings).scan(optional=False)
    train = rows.names.index(TRAIN)
    for block, assignment in rows:
        types.add(block)
        if (mask := assignment == train).any():
            with problems.collect():
                scan.add(block.filter(mask))
    problems.raise_if_any()
    target = fit_target(scan, settings)
    for warning in scan.warnings(target):
        log.warning(warning)
    schema = types.make_schema(rows.channel.columns, settings.id_name)
    return CheckedRows(rows, schema if types.is_typed else schema.with_metadata({UNTYPED_KEY: b"1"}), target)


def _write_channels(
    checked: CheckedRows, folders: Mapping[str, Path], settings: JobSettings
) -> dict[str, dict[str, Any]]:
    """Write each split to its folder, and return the documents of the report by file name."""
    rows, schema = checked.rows, checked.schema
    columns = [ColumnStatistics(field) for field in schema]
    labels = {name: SplitLabels(checked.target, settings.label_columns) for name in rows.names}
    duplicates = DuplicateRows(settings, schema, rows.names)
    features = {f.name for f in schema if has_text_form(f.type)} - {settings.id_name, *settings.label_columns}
    null_words = NullWords(tuple(sorted(features)), tuple(settings.null_values))
    with ExitStack() as stack:
        writers = {name: stack.enter_context(ChannelWriter(folders[name], schema)) for name in rows.names}
        for block, assignment in rows:
            converted = convert_rows(block, schema)
            for position, name in enumerate(rows.names):
                part = converted.filter(assignment == position)
                if len(part):
                    labels[name].add(part)
                    writers[name].add(pa.RecordBatch.from_arrays(list(part.columns.values()), schema=schema))
            duplicates.add(converted, np.array(assignment))
            with_nulls = null_words.replace(converted)
            for column in columns:
                column.add(with_nulls)
    splits = _describe_splits(rows.count_rows(), labels)
    return _make_documents(columns, checked, settings, {"splits": splits, **duplicates.report()})


def _describe_splits(counts: Mapping[str, int], labels: Mapping[str, SplitLabels]) -> dict[str, Any]:
    total = sum(counts.values())
    return {
        name: {"rows": rows, "share": rows / total, "labels": labels[name].as_json()} for name, rows in counts.items()
    }


def _make_documents(
    columns: list[ColumnStatistics], checked: CheckedRows, settings: JobSettings, statistics: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the documents of the report by file name."""
    roles = [(column.name, suggest_role(column, settings)) for column in columns]
    described = [
        {
            "name": column.name,
            "type": str(column.type),
            "nullable": bool(column.missing),
            "suggested_role": role.setting,
            "reason": role.reason,
        }
        for column, (_, role) in zip(columns, roles, strict=True)
    ]
    has_types = UNTYPED_KEY not in (checked.schema.metadata or {})
    return {
        "statistics.json": {
            "format_version": FORMAT_VERSION,
            "rows": len(checked.rows.assignment),
            "seed": settings.seed,
            **statistics,
            "columns": {column.name: column.as_json() for column in columns},
        },
        "suggested_hyperparameters.json": suggest_hyperparameters(roles, settings, checked.target),
        "schema.json": {"format_version": FORMAT_VERSION, "has_types": has_types, "columns": described},
    }
