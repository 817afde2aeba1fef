"""Models and plugins that were made apart: other versions, absent plugins, names of several packages, word vectors."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from conformance_runs import run_one_check
from conftest import Installer
from correct_plugins import BOUNDED
from folder_damage import write_valid_manifest
from fusionzoo import errors
from fusionzoo.architecture import BuiltModel, choose_architecture
from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.nn.schema import InputSpec, TextSpec
from fusionzoo.training import score_checks
from fusionzoo.training.training_run import TrainingRun
from process_helpers import read_log, run_in_child
from shop import JobFolder

Json = dict[str, Any]


@pytest.fixture
def folder(trained_job: JobFolder, tmp_path: Path) -> Path:
    """A copy of a model folder."""
    return Path(shutil.copytree(trained_job.model, tmp_path / "model"))


def change_plugins(folder: Path, **versions: str) -> str:
    """Write other versions of all plugins into the manifest, and the given ones; return the name of one plugin."""
    manifest = json.loads((folder / "manifest.json").read_text())
    write_valid_manifest(folder, lambda m: m.update(plugins=dict.fromkeys(manifest["plugins"], "9.9.9") | versions))
    return str(next(iter(manifest["plugins"])))


def change_settings(folder: Path, change: Callable[[Json], object]) -> None:
    path = folder / "hyperparameters.json"
    settings = json.loads(path.read_text())
    change(settings)
    path.write_text(json.dumps(settings))
    write_valid_manifest(folder)


def test_a_model_of_another_plugin_version_loads_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugin = change_plugins(folder)
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        load_model(folder)
    assert f"was written with {plugin} 9.9.9" in caplog.text
    assert f"install {plugin}==9.9.9" in caplog.text


def test_a_model_of_the_installed_version_loads_without_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_model(folder)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings.update(model_class="of_a_plugin_that_is_absent"),
        lambda settings: settings.update(a_setting_of_another_version=1),
        lambda settings: settings.update(hidden_common_dim=24),
    ],
)
def test_a_model_that_the_installed_plugins_cannot_build_names_those_that_wrote_it(
    folder: Path, change: Callable[[Json], object]
) -> None:
    change_settings(folder, change)
    with pytest.raises(errors.ZooError) as same_version:
        load_model(folder)
    plugin = change_plugins(folder)
    with pytest.raises(errors.ModelFolderError) as other_version:
        load_model(folder)
    message = str(other_version.value)
    assert "FZ-O242" in message
    assert "FZ-O242" not in str(same_version.value)
    assert f"{folder}" in str(same_version.value)
    assert f"'{plugin}==9.9.9'" in message


def test_a_model_of_a_package_that_is_not_installed_is_an_error_although_another_one_has_the_name(folder: Path) -> None:
    change_plugins(folder, **{"acme-gone": "1.2"})
    with pytest.raises(
        errors.ModelFolderError, match=r"(?s)acme-gone 1\.2 \(not installed\).*'acme-gone==1\.2'.*FZ-O242"
    ):
        load_model(folder)


def test_code_that_changed_without_its_version_is_named(folder: Path, tmp_path: Path) -> None:
    change_settings(folder, lambda settings: settings.update(hidden_common_dim=24))
    with pytest.raises(errors.ModelFolderError, match=r"(?s)fusionzoo-cnn .*the code of a plugin has changed.*FZ-O243"):
        load_model(folder)
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1, init_from=str(folder))
    change_settings(folder, lambda settings: settings.update(a_setting_that_was_removed=1))
    assert job.run() == 1
    assert str(folder) in job.failure
    assert "[FZ-O243]" in job.failure


def test_a_folder_is_loaded_by_the_packages_that_wrote_it_although_others_have_their_names(
    folder: Path, install: Installer, tmp_path: Path
) -> None:
    settings = json.loads((folder / "hyperparameters.json").read_text())
    install("acme-other", models=[settings["model_class"]], text_encoders=[settings["text_encoder"]])
    with pytest.raises(errors.AmbiguousModelError):
        choose_architecture(settings)
    load_model(folder)
    name = f"fusionzoo-cnn:{settings['model_class']}"
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1, init_from=str(folder), model_class=name)
    assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)


def test_a_job_resumes_with_a_name_that_has_become_ambiguous(
    trained_job: JobFolder, install: Installer, tmp_path: Path
) -> None:
    job = JobFolder(Path(shutil.copytree(trained_job.root, tmp_path / "ml")))
    path = job.root / "input/config/hyperparameters.json"
    settings = json.loads(path.read_text())
    name = settings["model_class"].strip('"')
    install("acme-other", models=[name])
    path.write_text(json.dumps({**settings, "model_class": f"fusionzoo-cnn:{name}"}))
    assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)
    assert "training has already finished" in read_log(job)


def test_a_job_that_starts_from_a_model_of_another_version_warns(folder: Path, tmp_path: Path) -> None:
    plugin = change_plugins(folder)
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1, init_from=str(folder))
    assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)
    assert f"was written with {plugin} 9.9.9" in read_log(job)


def test_a_model_means_the_text_encoder_of_its_own_package(install: Installer) -> None:
    settings = {"id_name": "id", "text_name": "t", "label_name": "y", "num_classes": 2, "tab_field_list": ["n"]}
    install("acme-cnn", text_encoders=["cnn"])
    chosen = choose_architecture({**settings, "model_class": "multimodal_cnn"})
    assert chosen.encoder is not None
    assert chosen.encoder.distribution == "fusionzoo-cnn"
    with pytest.raises(errors.AmbiguousModelError, match="acme-cnn"):
        choose_architecture({**settings, "model_class": "multimodal_moe", "text_encoder": "cnn"})
    named = choose_architecture({**settings, "model_class": "multimodal_moe", "text_encoder": "fusionzoo-cnn:cnn"})
    assert named.encoder is not None


# --- word vectors, which a model folder does not have


def from_vectors(text: TextSpec) -> nn.Module:
    assert text.embeddings is not None, "no vectors"
    return nn.Embedding.from_pretrained(text.embeddings)


def from_vectors_or_narrow(text: TextSpec) -> nn.Module:
    return nn.Embedding(text.vocab_size, 3 if text.embeddings is None else text.embeddings.shape[1])


def from_sizes(text: TextSpec) -> nn.Module:
    return nn.Embedding(text.vocab_size, text.embedding_dim or 3)


def make_run(build: Callable[[TextSpec], nn.Module]) -> TrainingRun:
    spec = InputSpec(TextSpec(7, 0, 9, None, "word", 5, torch.ones(7, 5)), (), (), 2)

    def build_model(spec: InputSpec) -> BuiltModel:
        assert spec.text is not None
        return BuiltModel(build(spec.text), None)

    plugin = SimpleNamespace(
        claim=errors.Claim("text_encoder", "vectors", "acme-vectors", "1.0", "acme_vectors:encoder")
    )
    architecture = SimpleNamespace(encoder=plugin, model=plugin, build=build_model)
    job = SimpleNamespace(seed=0)
    run = SimpleNamespace(architecture=architecture, data=SimpleNamespace(spec=spec), built=build_model(spec), job=job)
    return cast("TrainingRun", run)


@pytest.mark.parametrize("build", [from_vectors, from_vectors_or_narrow])
def test_a_model_that_cannot_be_built_without_word_vectors_stops_the_job_before_the_training(
    build: Callable[[TextSpec], nn.Module],
) -> None:
    with pytest.raises(errors.PluginContractError, match="acme-vectors") as raised:
        score_checks.rebuild_model(make_run(build))
    assert "embedding_dim" in str(raised.value)


def test_another_reason_is_not_blamed_on_word_vectors() -> None:
    widths = itertools.count(2)
    with pytest.raises(errors.PluginContractError, match="size mismatch") as raised:
        score_checks.rebuild_model(make_run(lambda text: nn.Embedding(text.vocab_size, next(widths))))
    assert "[FZ-P075]" in str(raised.value)


def test_a_model_that_is_sized_by_the_spec_can_be_built_without_word_vectors() -> None:
    score_checks.rebuild_model(make_run(from_sizes))


VECTORS = """
from pydantic import Field
from torch import nn

from fusionzoo.nn.pooling import token_mean
from fusionzoo.nn.recipes import Encoder
from fusionzoo.nn.schema import TextFeatures
from fusionzoo.settings import ModelSettings


class VectorSettings(ModelSettings):
    needs = reads = frozenset({"text"})
    width: int = Field(8, ge=1, le=64, description="Width of the features.")


class Vectors(nn.Module):
    def __init__(self, spec, settings):
        super().__init__()
        self.dim = settings.width
        self.words = nn.Embedding.from_pretrained(spec.text.embeddings)
        self.project = nn.Linear(spec.text.embedding_dim, self.dim)

    def forward(self, batch):
        tokens = self.project(self.words(batch.tokens)).tanh()
        pooled = token_mean(tokens, batch.token_mask, batch.chunk_row, batch.rows)
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, pooled)


encoder = Encoder(VectorSettings, Vectors)
"""


def test_the_kit_finds_an_encoder_that_needs_word_vectors(install: Installer) -> None:
    install("acme-vectors", source=VECTORS, text_encoders={"vectors": "acme_vectors:encoder"}, requires=BOUNDED)
    found = run_one_check("vectors", "check_state_dict_is_complete")
    assert not found.ok
    assert "`spec.text.embeddings` is None when its folder is loaded" in found.detail
