"""Every distribution as users get it: a wheel with the right content and requirements that works alone.

The third-party plugin `docs/film` is tested in the same way as the first-party ones.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import PathDistribution, requires
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
from fusionzoo.demo.shop import ID
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP
from fusionzoo.serving.predictor import Predictor
from fusionzoo.settings import ModelSettings
from package_helpers import (
    CORE,
    FILM,
    OURS,
    ROOT,
    Environment,
    find_provider,
    read_entry_points,
    read_project,
    run_command,
)

EVERY_PLUGIN = pytest.mark.parametrize("source", [pytest.param(path, id=path.name) for path in [*OURS, FILM]])
EVERY_PACKAGE = pytest.mark.parametrize("source", [pytest.param(path, id=path.name) for path in [CORE, *OURS, FILM]])
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


@pytest.fixture
def settings(source: Path, monkeypatch: pytest.MonkeyPatch) -> list[type[ModelSettings]]:
    """The settings classes of all models and encoders of a plugin, installed or not."""
    monkeypatch.syspath_prepend(str(source))
    found = [point.load().settings_class() for point in read_entry_points(source)]
    if source == FILM:
        del sys.modules["fusionzoo_film"]  # other tests install another version of it
    return found


# --- the content of a wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """The wheel of each folder of a distribution, as `python -m build --wheel --no-isolation` builds it."""
    folder = tmp_path_factory.mktemp("wheels")
    return {
        source: Path(build.ProjectBuilder(source, runner=quiet_subprocess_runner).build("wheel", folder))
        for source in [CORE, *OURS, FILM]
    }


def read_metadata(wheel: Path) -> PathDistribution:
    name, version, *_ = wheel.name.split("-")
    return PathDistribution(zipfile.Path(wheel, f"{name}-{version}.dist-info/"))


def read_requirements(wheel: Path) -> dict[str, Requirement]:
    """Return the requirements of a wheel without extras, by normalized name."""
    found = [Requirement(line) for line in read_metadata(wheel).requires or ()]
    return {canonicalize_name(r.name): r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})}


@EVERY_PACKAGE
def test_a_wheel_contains_only_code_and_metadata(source: Path, wheels: dict[Path, Path]) -> None:
    if source == CORE:
        files = [path for path in (CORE / "fusionzoo").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    else:
        files = [path for path in source.rglob("*.py") if "tests" not in path.relative_to(source).parts]
        assert [path.name for path in files] == [f"fusionzoo_{source.name}.py"]
    names = zipfile.ZipFile(wheels[source]).namelist()
    code = [name for name in names if ".dist-info/" not in name]
    assert sorted(code) == sorted(path.relative_to(source).as_posix() for path in files)
    metadata = {name.rpartition("/")[2] for name in names if ".dist-info/" in name}
    own_license = set() if source == FILM else {"LICENSE"}
    assert metadata == {"METADATA", "WHEEL", "RECORD", "entry_points.txt"} | own_license
    for name in names:
        if name.endswith("LICENSE"):
            assert zipfile.ZipFile(wheels[source]).read(name) == (ROOT / "LICENSE").read_bytes()


@EVERY_PACKAGE
def test_the_metadata_of_a_wheel_is_that_of_its_project(source: Path, wheels: dict[Path, Path]) -> None:
    declared, metadata = read_project(source), read_metadata(wheels[source])
    fields = metadata.metadata
    assert fields["Name"] == ("fusionzoo" if source == CORE else f"fusionzoo-{source.name.replace('_', '-')}")
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata.version)
    assert metadata.version == declared.get("version", __version__)
    assert fields["Summary"] == declared["description"]
    assert fields["License"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.10"
    assert fields["Description-Content-Type"] == "text/markdown"
    assert fields.get_payload().strip() == (source / "README.md").read_text("utf-8").strip() != ""  # type: ignore[attr-defined]


@EVERY_PLUGIN
def test_the_entry_points_of_a_wheel_are_those_of_its_project_in_snake_case(
    source: Path, wheels: dict[Path, Path]
) -> None:
    points = read_metadata(wheels[source]).entry_points
    assert sorted(points) == sorted(read_entry_points(source)) != []
    for point in points:
        assert point.group in (MODELS_GROUP, TEXT_ENCODERS_GROUP)
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", point.name)
        assert point.module == f"fusionzoo_{source.name}"


def test_no_name_is_provided_twice() -> None:
    provided = [(point.group, point.name) for source in [*OURS, FILM] for point in read_entry_points(source)]
    assert len(provided) == len(set(provided))


# --- requirements


@EVERY_PLUGIN
def test_a_plugin_requires_a_range_of_fusionzoo_and_a_minimum_of_every_other_library(
    source: Path, wheels: dict[Path, Path]
) -> None:
    requirements = read_requirements(wheels[source])
    assert "fusionzoo" in requirements
    for name, requirement in requirements.items():
        operators = {part.operator for part in requirement.specifier}
        assert operators & {">=", ">", "~=", "=="}, f"'{requirement}' has no lower bound"
        if name.startswith("fusionzoo"):
            assert requirement.specifier.contains(__version__)
            assert not requirement.specifier.contains(next_minor_version(__version__)), (
                "before 1.0, a minor version may break plugins"
            )


def next_minor_version(version: str) -> str:
    major, minor, *_ = version.split(".")
    return f"{major}.{int(minor) + 1}"


@EVERY_PLUGIN
def test_a_plugin_requires_its_default_text_encoder(
    source: Path, wheels: dict[Path, Path], settings: list[type[ModelSettings]]
) -> None:
    assert find_default_encoders(settings) <= {*read_requirements(wheels[source]), read_project(source)["name"]}


def find_default_encoders(settings: list[type[ModelSettings]]) -> set[str]:
    """Return the distributions of the default text encoders of a plugin's models."""
    fields = [kind.model_fields.get("text_encoder") for kind in settings]
    return {find_provider(field.default) for field in fields if field is not None}


@EVERY_PLUGIN
def test_a_plugin_imports_what_it_declares_and_declares_what_it_imports(
    source: Path, settings: list[type[ModelSettings]], tmp_path: Path
) -> None:
    encoders = "|".join(find_default_encoders(settings))  # required for the entry point; only core imports it
    assert run_deptry(source, tmp_path, "--per-rule-ignores", f"DEP002={encoders}") == []


def test_core_declares_what_it_imports_or_the_library_that_requires_it(tmp_path: Path) -> None:
    transitive = {"PIL": ("matplotlib", "pillow"), "pydantic_core": ("pydantic", "pydantic-core")}
    for library, needed in transitive.values():
        names = {canonicalize_name(Requirement(line).name) for line in requires(library) or ()}
        assert needed in names, f"{library} no longer requires {needed}: declare it"
    rules = f"DEP003={'|'.join(transitive)},DEP004=pytest"  # parametrize_with_checks runs in the pytest of an author
    assert run_deptry(CORE, tmp_path, "--ignore", "DEP002", "--per-rule-ignores", rules) == []


def run_deptry(source: Path, tmp_path: Path, *options: str) -> list[str]:
    """Return the problems that deptry finds.

    DEP001 is a package that is imported and not installed, DEP002 one that is declared and not imported, and DEP003 one
    that is imported and declared only by a requirement.
    """
    report = tmp_path / "report.json"
    done = run_command(sys.executable, "-m", "deptry", ".", "--json-output", report, *options, cwd=source)
    assert report.exists(), done.stderr
    return [f"{found['error']['code']} {found['error']['message']}" for found in json.loads(report.read_text())]


# --- the README of a plugin


@EVERY_PLUGIN
def test_a_readme_has_the_paper_an_equation_and_every_name_of_the_plugin(
    source: Path, settings: list[type[ModelSettings]]
) -> None:
    readme = (source / "README.md").read_text("utf-8")
    papers = [kind.paper or "" for kind in settings]
    references = set(re.findall(r"(arXiv|doi|ACL) ([^\s;]+)", " ".join(papers)))
    assert all(papers)
    assert references
    for kind, number in references:
        host = {"arXiv": "arxiv.org/abs", "doi": "doi.org", "ACL": "aclanthology.org"}[kind]
        assert f"[{kind} {number}](https://{host}/{number})" in readme
    assert re.search(r"`[^`]+ = [^`]+`|^ {4}.+ = ", readme, re.MULTILINE), "no equation in backticks or indented"
    assert {f"`{point.name}`" for point in read_entry_points(source)} <= set(re.findall(r"`[^`]+`", readme))


@EVERY_PLUGIN
def test_a_readme_has_every_setting_and_its_default(source: Path, settings: list[type[ModelSettings]]) -> None:
    fields = {name: field for kind in settings for name, field in kind.model_fields.items()}
    described = dict(read_described_settings(source / "README.md"))
    assert {name for name, field in fields.items() if not has_one_value(field)} <= set(described) <= set(fields)
    for name, default in described.items():
        assert default in (None, format_default(fields[name].default)), name


def has_one_value(field: FieldInfo) -> bool:
    """Return whether a setting has only one value, like the text encoder of a model with a fixed one."""
    return get_args(field.annotation) == (field.default,)


def format_default(default: Any) -> str:
    return default if isinstance(default, str) else json.dumps(default)


def read_described_settings(readme: Path) -> Iterator[tuple[str, str | None]]:
    """Yield each setting in the table of a README with its default, or None if words describe the default."""
    for line in readme.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        names = re.findall(r"`([^`]+)`", cells[1]) if len(cells) > 3 else []
        defaults = re.findall(r"`([^`]+)`", cells[2]) if names else []
        is_literal = ", ".join(f"`{default}`" for default in defaults) == cells[2] if names else False
        if is_literal:
            assert len(defaults) == len(names), line
        yield from ((name, defaults[i] if is_literal else None) for i, name in enumerate(names))


# --- new environments


@pytest.fixture(scope="module")
def cnn_alone(wheels: dict[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with core, the plugin cnn, and no other plugin."""
    environment = Environment.make(tmp_path_factory.mktemp("cnn-alone"))
    assert environment.installed == set()
    environment.pip_install("fusionzoo-cnn", wheels)
    assert environment.installed == {"fusionzoo", "fusionzoo_cnn"}
    return environment


def test_list_shows_only_the_installed_plugin(cnn_alone: Environment) -> None:
    listed = json.loads(cnn_alone("fusionzoo", "list", "--json").stdout)
    found = [(row["kind"], row["name"], row["distribution"]) for row in listed]
    models = [("model_class", name, "fusionzoo-cnn") for name in ("cnn", "multimodal_cnn")]
    assert sorted(found) == [*models, ("text_encoder", "cnn", "fusionzoo-cnn")]


def test_a_plugin_trains_with_core_and_no_other_plugin(cnn_alone: Environment, tmp_path: Path) -> None:
    status, log = cnn_alone.train(tmp_path, "multimodal_cnn", **SMALL_CNN)
    assert status == 0, log
    assert_scores_equal_written_probabilities(tmp_path)


def test_a_model_without_its_plugin_is_an_error_that_names_the_package(cnn_alone: Environment, tmp_path: Path) -> None:
    status, failure = cnn_alone.train(tmp_path, "multimodal_bert")
    assert status == 1
    assert failure == (
        "No installed plugin provides model_class 'multimodal_bert'.\n"
        "Installed: cnn, multimodal_cnn.\n"
        "Fix: pip install fusionzoo-bert [FZ-P001]"
    )


def test_a_third_party_plugin_trains_until_it_is_uninstalled(wheels: dict[Path, Path], tmp_path: Path) -> None:
    environment, root = Environment.make(tmp_path / "environment"), tmp_path / "ml"
    environment.pip_install("fusionzoo-film", wheels)
    assert environment.installed == {"fusionzoo", "fusionzoo_bert", "fusionzoo_film"}  # and its default encoder

    status, log = environment.train(root, "multimodal_film", **SMALL_BERT)
    assert status == 0, log
    assert_scores_equal_written_probabilities(root)
    assert json.loads((root / "model/hyperparameters.json").read_text("utf-8"))["num_layers"] == 1

    environment.pip_install("fusionzoo-cnn", wheels)
    shutil.rmtree(root / "checkpoints")
    status, log = environment.train(root, "multimodal_film", text_encoder="cnn", **SMALL_CNN)
    assert status == 0, log
    assert_scores_equal_written_probabilities(root)

    environment("python", "-m", "pip", "uninstall", "-y", "fusionzoo-film").check_returncode()
    status, failure = environment.train(root, "multimodal_film", text_encoder="cnn", **SMALL_CNN)
    assert status == 1
    assert failure.startswith("No installed plugin provides model_class 'multimodal_film'.\n")
    assert "\nInstalled: bert, cnn, multimodal_bert, multimodal_cnn.\n" in failure


def assert_scores_equal_written_probabilities(root: Path) -> None:
    """Assert that the model folder scores raw test rows, without the plugin, as the job did."""
    names = ("model.pth", "model_artifacts.pth", "model.onnx", "preprocessor.json", "tokenizer.json")
    assert all((root / "model" / name).exists() for name in names)
    rows = pq.read_table(root / "input/data/test").slice(0, 20).to_pylist()
    written = pq.read_table(root / "output/data/test_predictions.parquet").slice(0, 20)
    assert written[ID].to_pylist() == [row[ID] for row in rows]
    scored = Predictor.load(root / "model").predict_proba(rows)
    np.testing.assert_allclose([row[1] for row in scored], written["prob_1"].to_numpy(), atol=1e-5)
