"""The distributions of this repository, and virtual environments to install them in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distribution
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fusionzoo.demo.data_set import generate_demo_data, write_hyperparameters
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP

ROOT = Path(__file__).parents[1]
CORE, FILM = ROOT / "core", ROOT / "docs/film"
OURS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
SMALL_JOB = {"tokenizer": "word", "embedding_dim": 8, "hidden_common_dim": 16, "max_epochs": 1, "max_sen_len": 64}


def read_project(source: Path) -> dict[str, Any]:
    """Return the [project] table of the pyproject.toml of a distribution."""
    table: dict[str, Any] = tomli.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def read_entry_points(source: Path) -> list[EntryPoint]:
    groups = read_project(source)["entry-points"].items()
    return [EntryPoint(name, value, group) for group, points in groups for name, value in points.items()]


def find_provider(text_encoder: str) -> str:
    """Return the first-party distribution that provides this text encoder."""
    points = [(read_project(source)["name"], point) for source in OURS for point in read_entry_points(source)]
    (name,) = [name for name, point in points if (point.group, point.name) == (TEXT_ENCODERS_GROUP, text_encoder)]
    return str(name)


def run_command(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the required libraries, and at first without fusionzoo and plugins."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, packages: Iterable[str] | None = None) -> Environment:
        """Create an environment without a download.

        A new installation of torch and other libraries would take minutes and a network. Instead, each library of the
        current environment is linked into the new one, with its metadata, so that Python and pip find it there.
        fusionzoo, plugins and .pth files, which editable installations use, are not linked.

        Args:
            folder: where to create the environment.
            packages: requirements such as those of a wheel; only these, what they require, and pip are linked.
        """
        wanted = None if packages is None else set(list_files([*packages, "pip"]))
        venv.create(folder, with_pip=False, symlinks=True)
        environment = cls(folder)
        for site in {Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))}:
            for entry in site.iterdir():
                if belongs_to_fusionzoo(entry) or entry.suffix == ".pth" or entry.name == "__pycache__":
                    continue
                if wanted is None or entry.name in wanted:
                    (environment.site / entry.name).symlink_to(entry)
        return environment

    @property
    def site(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder), "platbase": str(self.folder)}))

    @property
    def installed(self) -> set[str]:
        """Return the distributions that pip installed in this environment."""
        return {path.name.split("-")[0] for path in self.site.glob("*.dist-info") if not path.is_symlink()}

    def __call__(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in its folder, without the variables of the current Python and pip."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
        fixed = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        program, *arguments = command
        return run_command(
            self.folder / "bin" / program, *arguments, cwd=self.folder, env={**inherited, **fixed, **variables}
        )

    def pip_install(self, name: str, wheels: Mapping[Path, Path]) -> None:
        """Install a distribution and the first-party distributions that it requires from wheels alone, with pip."""
        found = next(iter(wheels.values())).parent
        done = self("python", "-m", "pip", "install", "--no-index", "--find-links", found, name)
        assert done.returncode == 0, done.stdout + done.stderr

    def train(self, root: Path, model_class: str, **settings: Any) -> tuple[int, str]:
        """Run train.py on a small demo job in `root`; return its exit status, and the failure file or the log."""
        generate_demo_data(root, 400)
        write_hyperparameters(root, model_class, {**SMALL_JOB, **settings})
        shutil.copy(ROOT / "train.py", self.folder)
        done = self("python", "train.py", SAGEMAKER_BASE_DIR=str(root))
        failure = root / "output/failure"
        return done.returncode, failure.read_text("utf-8") if failure.exists() else done.stdout + done.stderr


def list_files(packages: Iterable[str]) -> Iterator[str]:
    """Yield the entries of site-packages that belong to installed packages and to what they require."""
    waiting, seen = [Requirement(package) for package in packages], set()
    while waiting:
        needed = waiting.pop()
        key = (canonicalize_name(needed.name), frozenset(needed.extras))
        if key in seen:
            continue
        seen.add(key)
        dist = distribution(needed.name)
        yield from {path.parts[0] for path in dist.files or () if path.parts[0] != ".."}
        for requirement in map(Requirement, dist.requires or ()):
            extras = needed.extras or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(requirement)


def belongs_to_fusionzoo(entry: Path) -> bool:
    """Return whether an entry of site-packages belongs to core or to a plugin."""
    points = entry / "entry_points.txt"
    provides = points.is_file() and any(
        group in points.read_text("utf-8") for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP)
    )
    return provides or re.match(r"_*(editable_+)?(impl_)?fusionzoo", entry.name) is not None
