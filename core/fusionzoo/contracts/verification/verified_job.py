"""What is verified: a script, its contract, and the input of the job that it is run on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT, is_inside
from fusionzoo.contracts.script_contract import (
    InferenceScriptContract,
    ProcessingScriptContract,
    ScriptContract,
    TrainingScriptContract,
)
from fusionzoo.contracts.verification import hosting_driver
from fusionzoo.contracts.verification.sample_job import SAMPLE_PATHS, write_sample_job
from fusionzoo.contracts.verification.workspace import RootKind, Workspace
from fusionzoo.errors.verification_errors import VerificationError

DEFAULT_TIMEOUT = 600.0  # seconds for each run
REQUEST_PATTERN, REQUEST_EXAMPLE = "request.*", "request.csv"


@dataclass(frozen=True)
class VerifiedJob:
    """A script and the job that verifies it.

    Attributes:
        script: the script; it may have another name than the contract's entry point.
        input_folder: a folder with SageMaker's layout that holds the inputs; None generates a small training job. A
            file such as request.csv in it is the request that an inference script scores; it must be there.
        arguments: command-line arguments of the script.
        environ: environment variables of the job, in addition to those of this process that describe no job.
        timeout: time limit of each run, in seconds.
    """

    script: Path
    contract: ScriptContract
    root_kind: RootKind
    input_folder: Path | None = None
    arguments: Sequence[str] = ()
    environ: Mapping[str, str] | None = None
    timeout: float = DEFAULT_TIMEOUT

    def check(self) -> None:
        """Check that the script can be run.

        Raises:
            VerificationError: the script, a required variable, a required input or the request is missing.
        """
        if not self.script.is_file():
            raise VerificationError.script_missing(self.script)
        if missing := [name for name in self.contract.required_env_vars if name not in (self.environ or {})]:
            raise VerificationError.variables_missing(missing)
        self._check_inputs({name: self.contract.relative_path(name) for name in self.required_inputs})

    def _check_inputs(self, paths: Mapping[str, str]) -> None:
        """Check the required inputs, by name and by path below the root folder."""
        needs_request = isinstance(self.contract, InferenceScriptContract)
        if self.input_folder is None:
            if needs_request or not SAMPLE_PATHS.issuperset(paths.values()):
                needed = [*paths.values(), *([REQUEST_EXAMPLE] if needs_request else [])]
                raise VerificationError.no_sample(self.script.name, needed, _describe_arguments(self.contract))
            return
        for name, path in paths.items():
            if not (self.input_folder / path).exists():
                raise VerificationError.input_missing(name, self.input_folder / path)
        if needs_request and not self._requests:
            raise VerificationError.request_missing(self.input_folder / REQUEST_PATTERN)

    @property
    def required_inputs(self) -> list[str]:
        """The logical names of the inputs that a job must have."""
        return [name for name in self.contract.expected_input_paths if name not in self.contract.optional_inputs]

    @property
    def _requests(self) -> list[Path]:
        """The files that an inference script may score."""
        return sorted(self.input_folder.glob(REQUEST_PATTERN)) if self.input_folder is not None else []

    @property
    def failure_file(self) -> str | None:
        """The file in which the script must report why it failed; None if it does not have to."""
        file = self.contract.job_kind.failure_file
        is_declared = file in self.contract.expected_output_paths.values()
        return file if is_declared or isinstance(self.contract, TrainingScriptContract) else None

    def list_arguments(self, workspace: Workspace) -> list[str]:
        """Return the arguments of Python that run the script; a driver calls the functions of an inference script."""
        script = str(self.script.absolute())
        if not isinstance(self.contract, InferenceScriptContract):
            return [script, *self.arguments]
        models = [str(workspace.visible(path)) for path in self.contract.expected_input_paths.values()]
        # The copies: the script runs in another working directory, and a namespace hides the folder that it replaces.
        requests = [str(workspace.visible(f"{SAGEMAKER_ROOT}/{path.name}")) for path in self._requests]
        return [hosting_driver.__file__, script, *models[:1], *requests[:1]]

    def fill(self, workspace: Workspace) -> None:
        """Write the inputs, and the empty folders of the outputs, into a workspace.

        Raises:
            VerificationError: an input cannot be copied.
        """
        if self.input_folder is None:
            write_sample_job(workspace.root)
        else:
            self._copy_inputs(self.input_folder, workspace.root)
        for path in self.contract.expected_output_paths.values():
            folder = workspace.locate(path)
            (folder.parent if is_file_path(path, self.contract) else folder).mkdir(parents=True, exist_ok=True)

    def _copy_inputs(self, source: Path, root: Path) -> None:
        """Copy everything but outputs. Links are replaced by what they point to, so that nothing outside changes."""
        outputs = self.contract.expected_output_paths.values()

        def list_outputs(folder: str, names: list[str]) -> list[str]:
            place = PurePosixPath(SAGEMAKER_ROOT, Path(folder).relative_to(source))
            return [name for name in names if any(is_inside(str(place / name), output) for output in outputs)]

        try:
            shutil.copytree(source, root, ignore=list_outputs, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            raise VerificationError.input_unreadable(source, error) from error


def is_file_path(path: str, contract: ScriptContract) -> bool:
    """Return whether a path of a contract is a file, and not a folder: it has a suffix, or reports a failure."""
    return path == contract.job_kind.failure_file or bool(PurePosixPath(path).suffix)


def _describe_arguments(contract: ScriptContract) -> str:
    """Return the end of a command line with the arguments that a script requires; empty if there are none."""
    arguments = contract.arguments if isinstance(contract, ProcessingScriptContract) else {}
    required = [f"--{name} VALUE" for name, default in arguments.items() if default is None]
    return " ".join([" --", *required]) if required else ""
