"""What a user gives to `fusionzoo predict` and `fusionzoo evaluate`: paths, formats, columns and options."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.machine_fixes import READ_FIXES
from fusionzoo.errors.value_problems import RowPlace
from fusionzoo.errors.wording import join_first, list_names, note_lookalikes, pluralize, quoted, short


class PredictionJobError(ZooError):
    """The files or options of `fusionzoo predict` or `fusionzoo evaluate` cannot be used."""

    @classmethod
    def missing_input(cls, path: Path) -> PredictionJobError:
        """There is no file or folder at the path of the input."""
        nearest = path.absolute().parent
        while not nearest.exists():
            nearest = nearest.parent
        message = f"The input {path} does not exist."
        return cls(
            message, f"give the path of a file or folder; the last folder of it that exists is {nearest}.", "FZ-J001"
        )

    @classmethod
    def unreadable_input(cls, path: Path, cause: OSError) -> PredictionJobError:
        """The file of the input cannot be opened, or is neither a file nor a folder.

        Fix: give the path of a file or folder that this user may read.
        """
        message = f"The input {path} cannot be read ({cause.strerror or cause})."
        fix = READ_FIXES.get(cause.errno or 0, "give the path of a file or folder that this user may read")
        return cls(message, f"{fix}.", "FZ-J002")

    @classmethod
    def empty_input(cls, path: str) -> PredictionJobError:
        """The file of the input has no bytes, or the folder has no file with rows."""
        message = f"The input {path} is empty: it has no rows."
        fix = "check the step that wrote it. In a folder, names that begin with '.' or '_' do not count."
        return cls(message, fix, "FZ-J003")

    @classmethod
    def format_needed(cls) -> PredictionJobError:
        """Standard input has no file name that would show its format."""
        return cls("--input - needs --format.", "add --format csv, tsv, jsonl, json or parquet.", "FZ-J004")

    @classmethod
    def closed_standard_input(cls) -> PredictionJobError:
        """The program was started without standard input, although it has to read it."""
        return cls("Standard input is closed.", "give a file as --input, or do not close standard input.", "FZ-J042")

    @classmethod
    def other_format(cls, name: str, format: str, option: str) -> PredictionJobError:
        """The suffix of a file names another format than --format."""
        message = f"{name} is {format} by its suffix, but --format is {option}."
        return cls(message, "leave --format out, or rename the file.", "FZ-J005")

    @classmethod
    def output_exists(cls, path: Path) -> PredictionJobError:
        """The file of an output option exists."""
        return cls(f"{path} already exists.", "delete it, or give another path.", "FZ-J006")

    @classmethod
    def output_not_a_file(cls, option: str, path: Path, kind: str) -> PredictionJobError:
        """The path of an output option is a device, pipe or socket: files are written completely or not at all."""
        message = f"{option} {path} is {kind}, but an output is a new file or a folder."
        return cls(message, "give the path of a new file or folder, or - for standard output.", "FZ-J043")

    @classmethod
    def unusable_output(cls, option: str, path: Path, cause: OSError) -> PredictionJobError:
        """A folder above an output, or in it, is a file, or this user may not look into it.

        Fix: give another path, or let this user read and write there
        """
        place = cause.filename or path
        message = f"{option} {path} cannot be used: {place}: {os.strerror(cause.errno or 0)}."
        fix = READ_FIXES.get(cause.errno or 0, "move the file that is in the way")
        return cls(message, f"{fix}, or give another path.", "FZ-J044")

    @classmethod
    def other_compression(cls, path: Path, suffix: str) -> PredictionJobError:
        """The suffix of the output is that of a compression or archive that is not written."""
        message = f"--output {path} has the suffix {suffix}, but a compressed output is always .gz."
        return cls(
            message, "give it the suffix .gz, or none of a compression; end the name of a folder with '/'.", "FZ-O048"
        )

    @classmethod
    def other_file_format(cls, path: Path, suffix: str, known: Sequence[str]) -> PredictionJobError:
        """The suffix of the output is that of a format that is not written."""
        message = f"--output {path} has the suffix {suffix} of a format that is not written."
        fix = f"give it one of {', '.join(known)}; or add --output-format; or end the name of a folder with '/'."
        return cls(message, fix, "FZ-O049")

    @classmethod
    def foreign_folder(cls, folder: Path, names: Sequence[str]) -> PredictionJobError:
        """The folder of --output has files that this command did not write."""
        message = f"The folder {folder} is not empty, and its files are not of an earlier run: {join_first(names, 5)}."
        return cls(message, "give an empty or a new folder.", "FZ-J007")

    @classmethod
    def other_run(cls, folder: Path, differences: Mapping[str, tuple[object, object]]) -> PredictionJobError:
        """The folder of --output has the predictions of another model, input or options."""
        shown = {name: ["not set" if value is None else value for value in pair] for name, pair in differences.items()}
        changes = "; ".join(f"{name} was {old}, now {new}" for name, (old, new) in shown.items())
        message = f"The folder {folder} has predictions of another run: {changes}."
        return cls(message, "give another folder, or delete this one; or run with the same options.", "FZ-J008")

    @classmethod
    def stale_parts(cls, folder: Path, names: Sequence[str]) -> PredictionJobError:
        """The folder of --output has predictions of part files that the input no longer has."""
        message = f"{folder} has predictions of part files that --input no longer has: {list_names(names, 200)}."
        return cls(message, f"delete {folder}, or give another folder.", "FZ-J009")

    @classmethod
    def overlapping(cls, option: str, path: Path, other_option: str, other: Path) -> PredictionJobError:
        """One path is the other one, or is inside it, so that reading and writing would mix."""
        relation = "is the same as" if path == other else "is inside"
        message = f"{option} {path} {relation} {other_option} {other}."
        return cls(message, f"give {option} a path outside of it.", "FZ-J010")

    @classmethod
    def folder_as_file(cls, option: str, path: Path) -> PredictionJobError:
        """A folder exists where a file is to be written."""
        message = f"{option} {path} is a folder, but one file is written."
        return cls(message, "give the path of a file, such as predictions.csv.", "FZ-J011")

    @classmethod
    def output_format(cls, path: Path, format: str, option: str) -> PredictionJobError:
        """The suffix of the output file names another format than --output-format."""
        message = f"--output {path} has the suffix of {format}, but --output-format is {option}."
        return cls(message, "give the file another suffix, or leave --output-format out.", "FZ-J012")

    @classmethod
    def same_output(cls, name: str, files: Sequence[str]) -> PredictionJobError:
        """Two part files differ only in the suffix, so that their prediction files would have one name."""
        message = f"The part files {quoted(files)} would have the same prediction file {name}."
        return cls(message, "rename one of them, or score them separately.", "FZ-J013")

    @classmethod
    def carried_clash(cls, names: Sequence[str]) -> PredictionJobError:
        """A column of --columns has the name of another column of the prediction file."""
        message = f"--columns names {quoted(names)}, which a prediction file has for another purpose."
        return cls(message, "leave it out, or rename the column in the input.", "FZ-J014")

    @classmethod
    def carried_nested(cls, where: str, column: str, kind: str) -> PredictionJobError:
        """A column of --columns holds arrays, objects or durations, which prediction files cannot hold."""
        message = f"{where}: column '{column}' of --columns holds {kind}, not plain values."
        return cls(message, "leave it out of --columns, and join it with the predictions by their id.", "FZ-J015")

    @classmethod
    def mixed_types(cls, column: str, types: Sequence[str]) -> PredictionJobError:
        """A column has values of types that one column of a prediction file cannot hold."""
        message = f"Column '{column}' holds values of incompatible types: {', '.join(types)}."
        return cls(message, "write all values of the column with one type, or use --output-format jsonl.", "FZ-J016")

    @classmethod
    def folder_needed(cls, output: str) -> PredictionJobError:
        """--shard divides part files, and each of them has its own prediction file in a folder."""
        message = f"--shard divides the part files of a folder, but --output {output} is one file."
        return cls(message, "give --input and --output a folder each.", "FZ-J017")

    @classmethod
    def no_label_column(cls, names: Sequence[str], similar: Mapping[str, str]) -> PredictionJobError:
        """`fusionzoo evaluate` compares predictions with labels, and the input has none.

        `similar` has the column of the input that is most like a label column.
        """
        message = f"The input has no label column {quoted(names)}{note_lookalikes(similar, similar.values())}."
        fix = "add the labels, or run fusionzoo predict, which needs none."
        if similar:
            renames = [f"'{found}' to '{name}'" for name, found in similar.items()]
            fix = f"rename {join_first(renames, 5)} if it is the same; otherwise {fix}"
        return cls(message, fix, "FZ-J018")

    @classmethod
    def late_column(cls, where: RowPlace, column: str, rows: int) -> PredictionJobError:
        """The first rows of JSON on standard input lack the ids or labels, and a later row has them."""
        message = f"{where} has the column '{column}', but none of the first {rows:,} rows has it, so it is not read."
        fix = f"write '{column}' into the first row, with null if it has no value, or give --input a file."
        return cls(message, fix, "FZ-J050")

    @classmethod
    def unlabeled_rows(cls, count: int, examples: Sequence[RowPlace]) -> PredictionJobError:
        """Rows have no label, so that the metrics would not be those of all rows."""
        verb = "has" if count == 1 else "have"
        message = f"{pluralize(count, 'row')} {verb} no label: {join_first([str(row) for row in examples], 3)}."
        return cls(message, "add the labels; or add --skip-unlabeled to evaluate the other rows.", "FZ-J019")

    @classmethod
    def no_labels(cls) -> PredictionJobError:
        """All labels are missing."""
        return cls("No row has a label.", "add the labels, or run fusionzoo predict, which needs none.", "FZ-J020")

    @classmethod
    def invalid_labels(cls, cause: ZooError) -> PredictionJobError:
        """The label column has values that the model does not know; scores do not need labels."""
        message = f"The labels of the input cannot be used. {cause.parts[0]}"
        return cls(message, "correct them, or add --no-labels to leave them out of the predictions.", "FZ-J023")

    @classmethod
    def labels_in_some_files(cls, names: Sequence[str]) -> PredictionJobError:
        """Some part files have the label columns, and others have not."""
        message = f"Some part files of the input have no label column {quoted(names)}, and others have it."
        fix = "score them separately; or add --no-labels to leave the labels out of the predictions."
        return cls(message, fix, "FZ-J026")

    @classmethod
    def unwritable_values(cls, name: str, format: str, cause: Exception) -> PredictionJobError:
        """The format cannot hold an id or a carried value, such as bytes that are not text in CSV."""
        message = f"The predictions {name} cannot be written as {format} ({short(cause)})."
        fix = "use --output-format parquet, or write the ids and the columns of --columns as text or numbers."
        return cls(message, fix, "FZ-J025")

    @classmethod
    def unwritable_stream(cls, cause: OSError) -> PredictionJobError:
        """Standard output cannot be written, for example because it is a file on a full disk."""
        message = f"Standard output cannot be written ({cause.strerror or cause})."
        return cls(
            message,
            "check where it leads, or give --output a file, which is written completely or not at all.",
            "FZ-J024",
        )

    @classmethod
    def ray_missing(cls, cause: ImportError) -> PredictionJobError:
        """The package ray is not installed."""
        message = f"--engine ray needs the package ray ({short(cause)})."
        return cls(message, "run: pip install 'fusionzoo[ray]'.", "FZ-J021")

    @classmethod
    def no_cluster(cls, address: str | None, cause: BaseException) -> PredictionJobError:
        """There is no Ray cluster at RAY_ADDRESS, it has another version, or an embedded one cannot start."""
        where = "The Ray cluster of this command" if address is None else f"The Ray cluster of RAY_ADDRESS '{address}'"
        message = f"{where} cannot be used ({type(cause).__name__}: {short(cause)})."
        fix = "set RAY_ADDRESS to HOST:PORT of a running cluster, unset it, or use --engine local."
        return cls(message, fix, "FZ-J060")

    @classmethod
    def worker_failed(cls, cause: BaseException) -> PredictionJobError:
        """A process of the Ray cluster ended, or cannot load the model."""
        message = f"A Ray worker failed ({type(cause).__name__}: {short(cause)})."
        fix = "check that each machine of the cluster has fusionzoo, the model folder under the same path, and memory."
        return cls(message, fix, "FZ-J022")
