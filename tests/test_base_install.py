"""`pip install fusionzoo` scores a model folder; the extra `train` trains.

An environment with the packages that the wheel of core requires, and with no others, scores as the training job did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import build
import numpy as np
import pyarrow.parquet as pq
import pytest
from importlib_metadata import PackageNotFoundError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pyproject_hooks import quiet_subprocess_runner

from fusionzoo import errors
from fusionzoo.registry.extras import check_extra, find_missing_packages
from package_helpers import CORE, OURS, ROOT, Environment, read_project
from shop import JobFolder

TRAINING_PACKAGES = {"torch", "lightning", "transformers", "gensim", "scikit-learn", "matplotlib", "onnx"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment as `pip install fusionzoo` makes it."""
    folder = tmp_path_factory.mktemp("base")
    wheel = Path(build.ProjectBuilder(CORE, runner=quiet_subprocess_runner).build("wheel", folder / "wheels"))
    environment = Environment.make(folder / "environment", read_project(CORE)["dependencies"])
    environment.pip_install("fusionzoo", {CORE: wheel})
    return environment


def test_the_base_install_has_no_package_that_only_training_needs(base: Environment) -> None:
    linked = {canonicalize_name(path.name.split("-")[0]) for path in base.site.glob("*.dist-info")}
    assert {"fusionzoo", "onnxruntime", "pyarrow"} <= linked
    assert linked & TRAINING_PACKAGES == set()


def test_the_base_install_writes_the_prediction_file_of_the_training_job(base: Environment, job: JobFolder) -> None:
    assert job.fill(max_epochs=1, onnx="required").run() == 0
    source, output = job.root / "input/data/test/part-00000.parquet", job.root / "predictions.parquet"
    done = base("fusionzoo", "predict", "--model", job.model, "--input", source, "--output", output)
    assert done.returncode == 0, done.stderr
    predicted, written = pq.read_table(output), pq.read_table(job.output / "test_predictions.parquet")
    assert predicted.schema == written.schema
    for name in written.column_names:
        if name.startswith("prob_"):
            np.testing.assert_allclose(predicted[name].to_numpy(), written[name].to_numpy(), atol=1e-6)
        else:
            assert predicted[name].equals(written[name]), name

    done = base("fusionzoo", "package", "--model", job.model, "--output", job.root / "model.tar.gz", "--json")
    assert done.returncode == 0, done.stderr
    assert "code/inference.py" in json.loads(done.stdout)["files"]

    done = base("fusionzoo", "evaluate", "--model", job.model, "--input", source, "--output", job.root / "evaluation")
    assert done.returncode == 1
    assert "Evaluation needs packages that are not installed: matplotlib, scikit-learn, scipy." in done.stderr


@pytest.mark.parametrize("command", [("train", "--root", "ml"), ("demo", "--root", "ml"), ("check", "cnn")])
def test_training_without_its_packages_is_an_error_with_the_command_that_installs_them(
    base: Environment, command: tuple[str, ...]
) -> None:
    (base.folder / "ml").mkdir(exist_ok=True)
    done = base("fusionzoo", *command)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "torch" in done.stdout + done.stderr
    assert "Fix: pip install 'fusionzoo[train]'." in done.stdout + done.stderr


def test_train_py_without_its_packages_writes_the_failure_file(base: Environment, tmp_path: Path) -> None:
    done = base("python", ROOT / "train.py", SAGEMAKER_BASE_DIR=str(tmp_path))
    assert done.returncode == 1
    failure = (tmp_path / "output/failure").read_text("utf-8")
    assert re.match(r"Training needs packages that are not installed: .*\btorch\b", failure), failure
    assert failure.endswith("[FZ-P028]")


@pytest.mark.parametrize(
    "command",
    [("list", "--json"), ("doctor", "--json"), ("contract", "show"), ("contract", "validate", str(ROOT / "train.py"))],
)
def test_the_base_install_runs_the_commands_that_train_nothing(base: Environment, command: tuple[str, ...]) -> None:
    done = base("fusionzoo", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    if "--json" in command:
        assert json.loads(done.stdout) is not None


def test_every_plugin_requires_what_training_needs() -> None:
    for source in OURS:
        (core,) = [r for r in map(Requirement, read_project(source)["dependencies"]) if r.name == "fusionzoo"]
        assert core.extras == {"train"}, source.name


def find_missing(extra: str, installed: Mapping[str, str]) -> list[str]:
    lines = [
        "numpy>=1",
        'fusionzoo[evaluate]; extra == "train"',
        'torch>=2; extra == "train"',
        'scipy; extra == "evaluate"',
        'old; extra == "train" and python_version < "3"',
    ]

    def read_version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    return list(find_missing_packages(extra, lambda name: lines, read_version))


def test_an_extra_includes_the_packages_of_the_extras_that_it_requires() -> None:
    assert find_missing("train", {}) == ["scipy", "torch"]
    assert find_missing("train", {"torch": "2.1"}) == ["scipy"]
    assert find_missing("evaluate", {}) == ["scipy"]
    assert find_missing("train", {"torch": "2.1", "scipy": "1"}) == []


def test_code_that_pip_did_not_install_misses_nothing() -> None:
    def no_metadata(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    assert list(find_missing_packages("train", no_metadata)) == []


@pytest.mark.parametrize("extra", sorted(read_project(CORE)["optional-dependencies"]))
def test_the_error_names_the_packages_and_the_extra(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionzoo.registry.extras.find_missing_packages", lambda extra: iter(["torch", "gensim"]))
    with pytest.raises(errors.MissingPackagesError) as caught:
        check_extra(extra)
    assert "not installed: torch, gensim." in str(caught.value)
    assert f"pip install 'fusionzoo[{extra}]'" in str(caught.value)
