"""Run-time verification of script contracts: what prevents a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import list_names, quoted, short

if TYPE_CHECKING:
    from typing_extensions import Self


class VerificationError(ZooError):
    """The script cannot be run under watch."""

    @classmethod
    def script_missing(cls, script: Path) -> Self:
        """The script is a file that this user can read."""
        return cls(f"There is no script {script}.", "give the path of a Python script.", "FZ-K030")

    @classmethod
    def input_missing(cls, name: str, path: Path) -> Self:
        """A job needs the input, so that no run without it can succeed."""
        fix = "put the input there; the folder has SageMaker's layout, such as input/data/train."
        return cls(f"The input '{name}' is missing: there is no {path}.", fix, "FZ-K031")

    @classmethod
    def no_sample(cls, script: str, paths: Sequence[str], arguments: str) -> Self:
        """The generated job has the channels train, val and test, and hyperparameters.json, and nothing else."""
        message = f"No job can be generated for {script}, which needs {list_names(paths)}."
        fix = f"create it in a folder, and run 'fusionzoo contract verify {script} --run --input FOLDER{arguments}'."
        return cls(message, fix, "FZ-K032")

    @classmethod
    def request_missing(cls, path: Path) -> Self:
        """Without a request, the functions of an inference script that read, score and answer it are not called."""
        fix = "add a file such as request.csv, .json, .jsonl or .parquet with rows that the model can score."
        return cls(f"There is no request to score: no file {path}.", fix, "FZ-K037")

    @classmethod
    def variables_missing(cls, names: Sequence[str]) -> Self:
        """The contract requires the variables, and their values are not known."""
        message = f"The contract requires the environment variables {quoted(names)}."
        return cls(message, "give each value with --env NAME=VALUE.", "FZ-K033")

    @classmethod
    def input_unreadable(cls, folder: Path, cause: Exception) -> Self:
        """Each run gets a copy of the input folder."""
        fix = "check the permissions of the folder and the free space in the folder of temporary files."
        return cls(f"The input {folder} cannot be copied ({short(cause)}).", fix, "FZ-K034")

    @classmethod
    def no_watch(cls, cause: Exception | str) -> Self:
        """File accesses are recorded with inotify, which Linux has."""
        fix = "run it on Linux; if the system has no free inotify instance, raise fs.inotify.max_user_instances."
        return cls(f"File accesses cannot be watched on this machine ({short(cause)}).", fix, "FZ-K035")

    @classmethod
    def no_namespace(cls, cause: str) -> Self:
        """A mount namespace makes a temporary folder appear as SageMaker's root folder."""
        fix = "run as root with the program unshare of util-linux; or verify with --root variable."
        return cls(f"A temporary root folder cannot be mounted on this machine ({short(cause)}).", fix, "FZ-K036")
