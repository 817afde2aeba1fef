"""The temporary folders of one run: SageMaker's root folder, and a home, working and temporary folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
from fusionzoo.contracts.verification.folder_snapshot import examine
from fusionzoo.contracts.verification.recorded_variables import install_recorder
from fusionzoo.contracts.verification.watched_run import Command

ROOT_VARIABLE = "SAGEMAKER_BASE_DIR"
REMOVED_PREFIXES = ("SAGEMAKER_", "SM_", "FUSIONZOO_", "XDG_", "TORCHELASTIC_", "SLURM_")
REMOVED_VARIABLES = frozenset(
    "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK ROLE_RANK MASTER_ADDR MASTER_PORT NODE_RANK".split()
)
CACHE_FOLDER = ".cache"  # of the home folder; the only place there that a script may write to
# Makes $1 appear as $2 in a mount namespace, and runs the rest. The folder $2 may be missing: then its parent is
# replaced by a copy that has it, with the entries of the original mounted in it, so that the real one is not changed.
MOUNT_SCRIPT = """
set -e
source=$1 target=$2 hold=$3; shift 3
parent=$(dirname "$target")
if [ ! -d "$target" ]; then
    mkdir "$hold"
    mount --rbind "$parent" "$hold"
    mount -t tmpfs none "$parent"
    for entry in "$hold"/* "$hold"/.[!.]*; do
        copy="$parent/$(basename "$entry")"
        if [ -L "$entry" ]; then cp -P "$entry" "$copy"
        elif [ -d "$entry" ]; then mkdir "$copy"; mount --rbind "$entry" "$copy"
        elif [ -e "$entry" ]; then touch "$copy"; mount --bind "$entry" "$copy"
        fi
    done
    mkdir "$target"
fi
mount --bind "$source" "$target"
exec "$@"
"""


class RootKind(Enum):
    """How a script finds the temporary root folder."""

    NAMESPACE = "namespace"  # it is mounted as SageMaker's root folder, for the script only
    VARIABLE = "variable"  # SAGEMAKER_BASE_DIR names it


@dataclass(frozen=True)
class Workspace:
    """The folders of one run. `top` contains all others."""

    top: Path
    root_kind: RootKind

    @property
    def root(self) -> Path:
        """The folder that is SageMaker's root folder."""
        return self.top / "root"

    @property
    def home(self) -> Path:
        """The home folder of the run."""
        return self.top / "home"

    @property
    def work(self) -> Path:
        """The working directory of the run."""
        return self.top / "work"

    @property
    def temporary(self) -> Path:
        """The folder of temporary files of the run."""
        return self.top / "tmp"

    @property
    def recorder(self) -> Path:
        """The folder of the environment recorder."""
        return self.top / "recorder"

    def locate(self, contract_path: str) -> Path:
        """Return where a path of the contract is in this workspace."""
        return self.root / PurePosixPath(contract_path).relative_to(SAGEMAKER_ROOT)

    def visible(self, contract_path: str) -> Path:
        """Return where the script sees a path of the contract."""
        return Path(contract_path) if self.root_kind is RootKind.NAMESPACE else self.locate(contract_path)

    def contract_path(self, path: Path) -> str:
        """Return a path as the contract writes it; below ~, . or $TMPDIR if it is not in the root folder."""
        if path.is_relative_to(self.root):
            return str(PurePosixPath(SAGEMAKER_ROOT, path.relative_to(self.root)))
        for folder, name in ((self.home, "~"), (self.work, "."), (self.temporary, "$TMPDIR")):
            if path.is_relative_to(folder):
                return str(PurePosixPath(name, path.relative_to(folder)))
        return str(path)

    def make_command(self, arguments: Sequence[str], environ: Mapping[str, str]) -> Command:
        """Return the command that runs a Python script with its arguments in this workspace.

        `environ` adds variables to those of this process, from which everything that describes a job is removed.
        """
        command = [sys.executable, *arguments]
        variables = {name: value for name, value in os.environ.items() if not _describes_job(name)}
        variables |= {"HOME": str(self.home), "TMPDIR": str(self.temporary), "PWD": str(self.work), **environ}
        search_path = [str(self.recorder), *filter(None, [variables.get("PYTHONPATH")])]
        variables["PYTHONPATH"] = os.pathsep.join(search_path)
        if self.root_kind is RootKind.VARIABLE:
            variables[ROOT_VARIABLE] = str(self.root)
        else:
            command = [*_mount_command(self), *command]
        return Command(command, variables, self.work)


@contextmanager
def make_workspace(root_kind: RootKind) -> Iterator[Workspace]:
    """Make the folders of one run, and delete them at the end of the block."""
    top = Path(tempfile.mkdtemp(prefix="fusionzoo-verify-")).resolve()
    workspace = Workspace(top, root_kind)
    try:
        for folder in (workspace.root, workspace.home, workspace.work, workspace.temporary):
            folder.mkdir()
        install_recorder(workspace.recorder)
        yield workspace
    finally:
        if top.exists():  # a script may have deleted it
            delete_tree(top)


def choose_root_kind() -> RootKind:
    """Return NAMESPACE if this user may mount folders, otherwise VARIABLE."""
    return RootKind.VARIABLE if find_namespace_problem() else RootKind.NAMESPACE


def find_namespace_problem() -> str:
    """Return why no folder can be mounted as SageMaker's root folder; "" if it can."""
    if shutil.which("unshare") is None:
        return "the program unshare is not installed"
    with make_workspace(RootKind.NAMESPACE) as workspace:
        result = subprocess.run([*_mount_command(workspace), "true"], capture_output=True, text=True, check=False)
    return (result.stderr.strip() or f"exit status {result.returncode}") if result.returncode else ""


def delete_tree(folder: Path) -> None:
    """Delete a folder, also if a script has taken away the permissions of folders in it.

    Raises:
        OSError: something cannot be deleted.
    """
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            if examine(path, _is_real_folder):
                path.chmod(0o700)
    shutil.rmtree(folder)


def _is_real_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _mount_command(workspace: Workspace) -> list[str]:
    hold = workspace.top / "original"
    namespace = ["unshare", "--mount", "--propagation", "private"]
    return [*namespace, "sh", "-c", MOUNT_SCRIPT, "sh", str(workspace.root), SAGEMAKER_ROOT, str(hold)]


def _describes_job(name: str) -> bool:
    return name.startswith(REMOVED_PREFIXES) or name in REMOVED_VARIABLES
