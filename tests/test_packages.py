"""Every distribution as users get it: a wheel that holds what it should, declares what it needs, and works alone.

The third-party plugin `docs/film` is tested in the same way as the first-party ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PathDistribution, requires
from pathlib import Path
from typing import Any, get_args

import build
import numpy as np
import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic.fields import FieldInfo
from pyproject_hooks import quiet_subprocess_runner

from fusionzoo import __version__
from fusionzoo.demo.data_set import generate_demo_data, write_hyperparameters
from fusionzoo.demo.shop import ID
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP
from fusionzoo.serving.predictor import Predictor
from fusionzoo.settings import ModelSettings

ROOT = Path(__file__).parents[1]
CORE, FILM = ROOT / "core", ROOT / "docs/film"
OURS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
EVERY_PLUGIN = pytest.mark.parametrize("source", [pytest.param(path, id=path.name) for path in [*OURS, FILM]])
EVERY_PACKAGE = pytest.mark.parametrize("source", [pytest.param(path, id=path.name) for path in [CORE, *OURS, FILM]])

SMALL_JOB = {"tokenizer": "word", "embedding_dim": 8, "hidden_common_dim": 16, "max_epochs": 1, "max_sen_len": 64}
SMALL_CNN = {"num_channels": [8], "kernel_size": [3]}
SMALL_BERT = {
    "encoder_config": {
        "model_type": "bert",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
}


def project(source: Path) -> dict[str, Any]:
    """The [project] table of a distribution's pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def entry_points(source: Path) -> list[EntryPoint]:
    groups = project(source)["entry-points"].items()
    return [EntryPoint(name, value, group) for group, points in groups for name, value in points.items()]


def provider(text_encoder: str) -> str:
    """The one of our distributions that has this text encoder."""
    points = [(project(source)["name"], point) for source in OURS for point in entry_points(source)]
    (name,) = [name for name, point in points if (point.group, point.name) == (TEXT_ENCODERS_GROUP, text_encoder)]
    return str(name)


@pytest.fixture
def settings(source: Path, monkeypatch: pytest.MonkeyPatch) -> list[type[ModelSettings]]:
    """The settings classes of all that a plugin provides, whether it is installed or not."""
    monkeypatch.syspath_prepend(str(source))
    found = [point.load().settings_class() for point in entry_points(source)]
    if source == FILM:
        monkeypatch.delitem(sys.modules, "fusionzoo_film")
    return found


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


# --- what is in a wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """The wheel of each distribution's folder, as `python -m build --wheel --no-isolation` makes it."""
    folder = tmp_path_factory.mktemp("wheels")
    return {
        source: Path(build.ProjectBuilder(source, runner=quiet_subprocess_runner).build("wheel", folder))
        for source in [CORE, *OURS, FILM]
    }


def metadata(wheel: Path) -> PathDistribution:
    name, version, *_ = wheel.name.split("-")
    return PathDistribution(zipfile.Path(wheel, f"{name}-{version}.dist-info/"))


def requirements(wheel: Path) -> dict[str, Requirement]:
    """What a wheel needs without extras, by normalized name."""
    needed = [Requirement(line) for line in metadata(wheel).requires or ()]
    return {canonicalize_name(r.name): r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})}


@EVERY_PACKAGE
def test_a_wheel_holds_the_code_and_its_metadata_and_nothing_else(source: Path, wheels: dict[Path, Path]) -> None:
    if source == CORE:
        files = [path for path in (CORE / "fusionzoo").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    else:
        files = [path for path in source.rglob("*.py") if "tests" not in path.relative_to(source).parts]
        assert [path.name for path in files] == [f"fusionzoo_{source.name}.py"]
    held = zipfile.ZipFile(wheels[source]).namelist()
    code = [name for name in held if ".dist-info/" not in name]
    assert sorted(code) == sorted(path.relative_to(source).as_posix() for path in files)
    about = {name.rpartition("/")[2] for name in held if ".dist-info/" in name}
    own_license = set() if source == FILM else {"LICENSE"}
    assert about == {"METADATA", "WHEEL", "RECORD", "entry_points.txt"} | own_license
    for name in held:
        if name.endswith("LICENSE"):
            assert zipfile.ZipFile(wheels[source]).read(name) == (ROOT / "LICENSE").read_bytes()


@EVERY_PACKAGE
def test_a_wheel_says_what_it_is(source: Path, wheels: dict[Path, Path]) -> None:
    declared, about = project(source), metadata(wheels[source])
    fields = about.metadata
    assert fields["Name"] == ("fusionzoo" if source == CORE else f"fusionzoo-{source.name.replace('_', '-')}")
    assert re.fullmatch(r"\d+\.\d+\.\d+", about.version)
    assert about.version == declared.get("version", __version__)
    assert fields["Summary"] == declared["description"]
    assert fields["License"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["Description-Content-Type"] == "text/markdown"
    assert fields.get_payload().strip() == (source / "README.md").read_text("utf-8").strip() != ""  # type: ignore[attr-defined]


@EVERY_PLUGIN
def test_a_wheels_entry_points_are_those_of_its_project_and_their_names_are_snake_case(
    source: Path, wheels: dict[Path, Path]
) -> None:
    points = metadata(wheels[source]).entry_points
    assert sorted(points) == sorted(entry_points(source)) != []
    for point in points:
        assert point.group in (MODELS_GROUP, TEXT_ENCODERS_GROUP)
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", point.name)
        assert point.module == f"fusionzoo_{source.name}"


def test_no_name_is_provided_twice() -> None:
    provided = [(point.group, point.name) for source in [*OURS, FILM] for point in entry_points(source)]
    assert len(provided) == len(set(provided))


# --- what a package declares


@EVERY_PLUGIN
def test_a_plugin_bounds_what_it_needs_of_us_on_both_sides_and_all_else_from_below(
    source: Path, wheels: dict[Path, Path]
) -> None:
    needed = requirements(wheels[source])
    assert "fusionzoo" in needed
    for name, requirement in needed.items():
        operators = {part.operator for part in requirement.specifier}
        assert operators & {">=", ">", "~=", "=="}, f"'{requirement}' has no lower bound"
        if name.startswith("fusionzoo"):
            assert requirement.specifier.contains(__version__)
            assert not requirement.specifier.contains(_next_minor(__version__)), "before 1.0, a minor version may break"


def _next_minor(version: str) -> str:
    major, minor, *_ = version.split(".")
    return f"{major}.{int(minor) + 1}"


@EVERY_PLUGIN
def test_a_plugin_requires_the_text_encoder_that_it_takes_by_default(
    source: Path, wheels: dict[Path, Path], settings: list[type[ModelSettings]]
) -> None:
    assert _default_encoders(settings) <= {*requirements(wheels[source]), project(source)["name"]}


def _default_encoders(settings: list[type[ModelSettings]]) -> set[str]:
    """The distributions of the text encoders that a plugin's models take by default."""
    fields = [kind.model_fields.get("text_encoder") for kind in settings]
    return {provider(field.default) for field in fields if field is not None}


@EVERY_PLUGIN
def test_a_plugin_imports_what_it_declares_and_declares_what_it_imports(
    source: Path, settings: list[type[ModelSettings]], tmp_path: Path
) -> None:
    through_core = "|".join(_default_encoders(settings))  # required for its entry point, and imported by core alone
    assert _deptry(source, tmp_path, "--per-rule-ignores", f"DEP002={through_core}") == []


def test_core_declares_what_it_imports_or_the_library_that_always_brings_it(tmp_path: Path) -> None:
    brought = {"PIL": ("matplotlib", "pillow"), "pydantic_core": ("pydantic", "pydantic-core")}
    for library, needed in brought.values():
        names = {canonicalize_name(Requirement(line).name) for line in requires(library) or ()}
        assert needed in names, f"{library} no longer requires {needed}: declare it"
    transitive = f"DEP003={'|'.join(brought)}"
    for_authors = "DEP004=pytest"  # conformance.parametrize_with_checks runs within an author's pytest
    found = _deptry(CORE, tmp_path, "--ignore", "DEP002", "--per-rule-ignores", f"{transitive},{for_authors}")
    assert found == []  # DEP002, a declared package that is not imported, is for its users


def _deptry(source: Path, tmp_path: Path, *options: str) -> list[str]:
    """DEP001: imported, not installed; DEP002: declared, not imported; DEP003: imported, declared by others only."""
    report = tmp_path / "report.json"
    done = run(sys.executable, "-m", "deptry", ".", "--json-output", report, *options, cwd=source)
    assert report.exists(), done.stderr
    return [f"{found['error']['code']} {found['error']['message']}" for found in json.loads(report.read_text())]


# --- what a plugin's README says


@EVERY_PLUGIN
def test_a_readme_has_the_paper_an_equation_and_every_name_that_is_provided(
    source: Path, settings: list[type[ModelSettings]]
) -> None:
    readme = (source / "README.md").read_text("utf-8")
    papers = [kind.paper or "" for kind in settings]
    references = set(re.findall(r"(arXiv|doi) ([^\s;]+)", " ".join(papers)))
    assert all(papers)
    assert references
    for kind, number in references:
        place = {"arXiv": "arxiv.org/abs", "doi": "doi.org"}[kind]
        assert f"[{kind} {number}](https://{place}/{number})" in readme
    assert re.search(r"`[^`]+ = [^`]+`|^ {4}.+ = ", readme, re.MULTILINE), "no equation, in backticks or indented"
    assert {f"`{point.name}`" for point in entry_points(source)} <= set(re.findall(r"`[^`]+`", readme))


@EVERY_PLUGIN
def test_a_readme_has_every_setting_and_its_default(source: Path, settings: list[type[ModelSettings]]) -> None:
    fields = {name: field for kind in settings for name, field in kind.model_fields.items()}
    described = dict(_described(source / "README.md"))
    assert {name for name, field in fields.items() if not _is_fixed(field)} <= set(described) <= set(fields)
    for name, default in described.items():
        assert default in (None, _plain(fields[name].default)), name


def _is_fixed(field: FieldInfo) -> bool:
    """Whether it has one value only, as the text encoder of a model that is made for it."""
    return get_args(field.annotation) == (field.default,)


def _plain(default: Any) -> str:
    return default if isinstance(default, str) else json.dumps(default)


def _described(readme: Path) -> Iterator[tuple[str, str | None]]:
    """Each setting in a README's table with its default there; None where that is said in words."""
    for line in readme.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        names = re.findall(r"`([^`]+)`", cells[1]) if len(cells) > 3 else []
        defaults = re.findall(r"`([^`]+)`", cells[2]) if names else []
        said = ", ".join(f"`{default}`" for default in defaults) == cells[2] if names else False
        if said:
            assert len(defaults) == len(names), line
        yield from ((name, defaults[i] if said else None) for i, name in enumerate(names))


# --- new environments


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds the libraries we need and, at first, nothing of ours."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Environment:
        """Made without downloading anything.

        Installing torch and the rest anew would take minutes and a network. So each library of the running environment
        is linked into the new one, with its metadata: Python and pip see them as installed there. Whatever is ours is
        left out, and so are .pth files, through which editable installs would come in.
        """
        venv.create(folder, with_pip=False, symlinks=True)
        made = cls(folder)
        for site in {Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))}:
            for entry in site.iterdir():
                if not _is_ours(entry) and entry.suffix != ".pth" and entry.name != "__pycache__":
                    (made.site / entry.name).symlink_to(entry)
        return made

    @property
    def site(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder), "platbase": str(self.folder)}))

    @property
    def ours(self) -> set[str]:
        """The distributions that pip installed here."""
        return {path.name.split("-")[0] for path in self.site.glob("*.dist-info") if not path.is_symlink()}

    def __call__(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs in its folder, without the running Python's and pip's own variables."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
        plain = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        program, *arguments = command
        return run(self.folder / "bin" / program, *arguments, cwd=self.folder, env={**kept, **plain, **variables})

    def pip_install(self, name: str, wheels: Mapping[Path, Path]) -> None:
        """Install a distribution and what it requires of us from wheels alone, as pip itself resolves it."""
        found = next(iter(wheels.values())).parent
        done = self("python", "-m", "pip", "install", "--no-index", "--find-links", found, name)
        assert done.returncode == 0, done.stdout + done.stderr

    def train(self, root: Path, model_class: str, **settings: Any) -> tuple[int, str]:
        """Run train.py on a small demo job in `root`; its exit status, and the failure file's text or the log."""
        generate_demo_data(root, 400)
        write_hyperparameters(root, model_class, {**SMALL_JOB, **settings})
        shutil.copy(ROOT / "train.py", self.folder)
        done = self("python", "train.py", SAGEMAKER_BASE_DIR=str(root))
        failure = root / "output/failure"
        return done.returncode, failure.read_text("utf-8") if failure.exists() else done.stdout + done.stderr


def _is_ours(entry: Path) -> bool:
    """Whether an entry of site-packages belongs to core, or to a plugin of anybody's."""
    points = entry / "entry_points.txt"
    provides = points.is_file() and any(
        group in points.read_text("utf-8") for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP)
    )
    return provides or re.match(r"_*(editable_+)?(impl_)?fusionzoo", entry.name) is not None


@pytest.fixture(scope="module")
def cnn_alone(wheels: dict[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Core and the plugin cnn, and no other."""
    environment = Environment.make(tmp_path_factory.mktemp("cnn-alone"))
    assert environment.ours == set()
    environment.pip_install("fusionzoo-cnn", wheels)
    assert environment.ours == {"fusionzoo", "fusionzoo_cnn"}
    return environment


def test_a_plugin_alone_with_core_is_all_that_is_listed(cnn_alone: Environment) -> None:
    listed = json.loads(cnn_alone("fusionzoo", "list", "--json").stdout)
    found = [(row["kind"], row["name"], row["distribution"]) for row in listed]
    models = [("model_class", name, "fusionzoo-cnn") for name in ("cnn", "multimodal_cnn")]
    assert sorted(found) == [*models, ("text_encoder", "cnn", "fusionzoo-cnn")]


def test_a_plugin_alone_with_core_trains(cnn_alone: Environment, tmp_path: Path) -> None:
    status, log = cnn_alone.train(tmp_path, "multimodal_cnn", **SMALL_CNN)
    assert status == 0, log
    assert_scores_as_in_training(tmp_path)


def test_a_model_without_its_plugin_is_an_error_that_names_the_package(cnn_alone: Environment, tmp_path: Path) -> None:
    status, failure = cnn_alone.train(tmp_path, "multimodal_bert")
    assert status == 1
    assert failure == (
        "No installed plugin provides model_class 'multimodal_bert'.\n"
        "Installed: cnn, multimodal_cnn.\n"
        "Fix: pip install fusionzoo-bert [FZ-P001]"
    )


def test_a_third_party_plugin_trains_by_model_class_and_is_unknown_after_uninstalling_it(
    wheels: dict[Path, Path], tmp_path: Path
) -> None:
    environment, root = Environment.make(tmp_path / "environment"), tmp_path / "ml"
    environment.pip_install("fusionzoo-film", wheels)
    assert environment.ours == {"fusionzoo", "fusionzoo_bert", "fusionzoo_film"}  # with the encoder it defaults to

    status, log = environment.train(root, "multimodal_film", **SMALL_BERT)
    assert status == 0, log
    assert_scores_as_in_training(root)
    assert json.loads((root / "model/hyperparameters.json").read_text("utf-8"))["num_layers"] == 1

    environment.pip_install("fusionzoo-cnn", wheels)
    shutil.rmtree(root / "checkpoints")
    status, log = environment.train(root, "multimodal_film", text_encoder="cnn", **SMALL_CNN)
    assert status == 0, log
    assert_scores_as_in_training(root)

    environment("python", "-m", "pip", "uninstall", "-y", "fusionzoo-film").check_returncode()
    status, failure = environment.train(root, "multimodal_film", text_encoder="cnn", **SMALL_CNN)
    assert status == 1
    assert failure.startswith("No installed plugin provides model_class 'multimodal_film'.\n")
    assert "\nInstalled: bert, cnn, multimodal_bert, multimodal_cnn.\n" in failure


def assert_scores_as_in_training(root: Path) -> None:
    """The job's folder scores raw test rows, here and without its plugin, to the probabilities that the job wrote."""
    names = ("model.pth", "model_artifacts.pth", "model.onnx", "preprocessor.json", "tokenizer.json")
    assert all((root / "model" / name).exists() for name in names)
    rows = pq.read_table(root / "input/data/test").slice(0, 20).to_pylist()
    written = pq.read_table(root / "output/data/test_predictions.parquet").slice(0, 20)
    assert written[ID].to_pylist() == [row[ID] for row in rows]
    scored = Predictor.load(root / "model").predict_records(rows)
    np.testing.assert_allclose(scored[:, 1], written["prob_1"].to_numpy(), atol=1e-5)
