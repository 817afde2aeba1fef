"""A checkpoint is that of the code which trained it: every file of a plugin counts, wherever it comes from."""

from __future__ import annotations

import importlib
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from torch import nn

from conftest import Installer
from fusionzoo.registry import MODELS_GROUP, Registry
from fusionzoo.registry.plugin import Plugin
from fusionzoo.training.checkpointing.plugin_code import fingerprint_code
from plugin_helpers import write_fusion
from process_helpers import read_log, run_in_child
from shop import JobFolder

PLUGIN = write_fusion("squash(logits)", imports="from acme_math import squash")
SQUASH = "def squash(logits):\n    return logits.tanh()\n"


def forget(*names: str) -> None:
    for name in names:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def load(install: Installer) -> Plugin:
    forget("acme_squash", "acme_math")
    install.modules.append("acme_math")
    return Registry.discover(MODELS_GROUP).load("squash")


@pytest.fixture
def plugin(install: Installer) -> Plugin:
    """A plugin of two files; one defines no module of torch. There is no list of its files."""
    install("acme-squash", source=PLUGIN, models=["squash"])
    (install.folder / "acme_math.py").write_text(SQUASH)
    return load(install)


def test_a_file_that_defines_no_module_counts(plugin: Plugin, install: Installer) -> None:
    before = fingerprint_code(nn.Linear(1, 1), [plugin])
    assert before.keys() == {"code of acme_squash", "code of acme_math"}
    (install.folder / "acme_math.py").write_text(SQUASH.replace("tanh", "sigmoid"))
    after = fingerprint_code(nn.Linear(1, 1), [load(install)])
    assert {name for name in before if before[name] != after[name]} == {"code of acme_math"}


def test_files_of_other_distributions_in_the_folder_do_not_count(install: Installer) -> None:
    info = install("acme-squash", source=PLUGIN, models=["squash"])
    (install.folder / "acme_math.py").write_text(SQUASH)
    (install.folder / "other_library.py").write_text("")
    install.modules.append("other_library")
    (info / "RECORD").write_text("acme_squash.py,,\nacme_math.py,,\n")
    importlib.import_module("other_library")
    assert fingerprint_code(nn.Linear(1, 1), [load(install)]).keys() == {"code of acme_squash", "code of acme_math"}


def test_a_plugin_in_a_zip_archive_has_a_hash(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-squash", source=PLUGIN, models=["squash"])
    (install.folder / "acme_math.py").write_text(SQUASH)
    archive = tmp_path / "acme_squash-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as file:
        for path in install.folder.rglob("*"):
            file.write(path, path.relative_to(install.folder))
    shutil.rmtree(install.folder)
    monkeypatch.syspath_prepend(str(archive))
    hashes = fingerprint_code(nn.Linear(1, 1), [load(install)])
    assert set(map(len, hashes.values())) == {8}
    assert hashes.keys() == {"code of acme_squash", "code of acme_math"}


def test_a_finished_job_with_other_code_of_its_plugin_is_not_written_again(
    plugin: Plugin, install: Installer, tmp_path: Path
) -> None:
    job = JobFolder(tmp_path / "ml").fill(model_class="squash", onnx="off", max_epochs=1)
    assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)
    forget("acme_squash", "acme_math")
    (install.folder / "acme_math.py").write_text(SQUASH.replace("logits.tanh()", "-3 * logits"))
    assert run_in_child(job.run, job.root / "log.txt") == 1
    assert "- code of acme_math: was " in job.failure
