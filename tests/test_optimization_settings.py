"""The optimization settings: which ones are rejected, and what each changes in a whole job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from fusionzoo.errors import HyperparametersError
from fusionzoo.settings import FusionSettings, JobSettings, ModelSettings
from fusionzoo.training.checkpointing import greedy_soup
from parsing_helpers import parse_with_classes
from shop import TINY_BERT, JobFolder


class Fusion(FusionSettings):
    pass


class TextOnly(FusionSettings):
    needs = reads = frozenset({"text"})


class Encoder(ModelSettings):
    needs = reads = frozenset({"text"})


class Pretrained(Encoder):
    @property
    def pretrained(self) -> bool:
        return True


def parsed(model: type[ModelSettings] = Fusion, encoder: type[ModelSettings] = Encoder, **changes: Any) -> JobSettings:
    given = {"model_class": "m", "id_name": "i", "text_name": "t", "label_name": "y", "num_classes": 2}
    raw = {**given, "tab_field_list": ["a"], **changes}
    return parse_with_classes(raw, model, encoder).job


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "focal", "label_smoothing": 0.1}, ["label_smoothing = 0.1", "loss is focal"]),
        ({"focal_gamma": 3}, ["focal_gamma = 3", "loss is cross_entropy"]),
        ({"layer_decay": 0.9}, ["layer_decay = 0.9", "does not fine-tune"]),
        ({"layer_decay": 1}, ["layer_decay = 1", "below 1"]),
        ({"class_weights": "balance"}, ['class_weights = "balance"', "not a list"]),
        ({"class_weights": '["balanced"]'}, ["item 1"]),
        ({"accumulate_grad_batches": 0}, ["accumulate_grad_batches = 0"]),
        ({"schedule": "cosin"}, ["schedule", "cosine"]),
        ({"average_checkpoints": -1}, ["average_checkpoints = -1"]),
        ({"modality_dropout": 1}, ["modality_dropout = 1", "below 1"]),
    ],
)
def test_settings_that_do_not_work_are_one_problem_each(changes: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(HyperparametersError, match="1 problem") as refused:
        parsed(**changes)
    for words in says:
        assert words in str(refused.value)


def test_modality_dropout_with_one_modality_is_an_error() -> None:
    with pytest.raises(HyperparametersError, match="reads only the text"):
        parsed(TextOnly, modality_dropout=0.1)
    assert parsed(modality_dropout="0.1").modality_dropout == 0.1


@pytest.mark.parametrize("written", ["balanced", '"balanced"', '"Balanced"'])
def test_balanced_class_weights_are_accepted_in_every_encoding(written: str) -> None:
    assert parsed(class_weights=written).class_weights == "balanced"


def test_settings_that_work_together_are_accepted() -> None:
    found = parsed(encoder=Pretrained, layer_decay="0.8", loss='"focal"', focal_gamma="1.5", average_checkpoints="3")
    assert (found.layer_decay, found.loss, found.focal_gamma, found.average_checkpoints) == (0.8, "focal", 1.5, 3)


# --- whole jobs


def read_predictions(folder: JobFolder) -> Tensor:
    probabilities: Tensor = torch.load(folder.output / "predict_results.pth", weights_only=True)["y_pred"]
    return probabilities


def read_summary(folder: JobFolder) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder.output / "metrics.json").read_text())["training"]
    return summary


SMALL: dict[str, Any] = {"rows": 70, "max_epochs": 2, "lr": 0.01, "batch_size": 10, "classes": ("calm", "tense", "odd")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A finished job with the default optimization settings."""
    folder = JobFolder(tmp_path_factory.mktemp("plain")).fill(**SMALL)
    assert folder.run() == 0, folder.failure
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine"},
        {"accumulate_grad_batches": 3},
        {"loss": "focal"},
        {"loss": "focal", "focal_gamma": 0.5},
        {"label_smoothing": 0.3},
        {"class_weights": "balanced"},
        {"modality_dropout": 0.5},
    ],
)
def test_each_setting_changes_the_scores(plain: JobFolder, job: JobFolder, changes: dict[str, Any]) -> None:
    job.fill(**SMALL, **changes)
    assert job.run() == 0, job.failure
    assert float((read_predictions(job) - read_predictions(plain)).abs().max()) > 1e-4
    training = read_summary(job)
    assert training["steps"] == (6 if "accumulate_grad_batches" in changes else 14)
    assert (training["class_weights"] != [1.0] * 3) == ("class_weights" in changes)


def test_a_job_ships_and_reports_the_average_of_its_best_checkpoints(plain: JobFolder, job: JobFolder) -> None:
    job.fill(**SMALL, average_checkpoints=3, val_check_interval=0.25)
    assert job.run() == 0, job.failure
    training = read_summary(job)
    names = [entry["file"] for entry in training["top_checkpoints"]]
    assert len(names) == 3
    assert {path.name for path in (job.root / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", *names}
    averaged, shipped = training["averaging"]["averaged"], torch.load(job.model / "model.pth", weights_only=True)
    states = [torch.load(job.root / "checkpoints" / name, weights_only=True)["state_dict"] for name in averaged]
    for name, value in shipped.items():
        mean = torch.stack([state[f"model.{name}"].double() for state in states]).mean(0)
        assert torch.allclose(value.double(), mean, atol=1e-6)
    assert training["averaging"]["gain"] >= 0
    assert averaged[0] == names[0]
    best = torch.load(job.root / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, states[0][name]) for name, value in best.items())
    assert read_summary(plain)["top_checkpoints"] == []
    assert "averaging" not in read_summary(plain)
    assert greedy_soup.delete_top_checkpoints(job.root / "checkpoints") == sorted(names)
    assert {path.name for path in (job.root / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_a_pretrained_encoder_trains_with_layer_decay(job: JobFolder, tmp_path: Path) -> None:
    changes = {"num_channels": None, "embedding_dim": None, "model_class": "bert", "max_epochs": 1, "lr": 0.01}
    config = {**TINY_BERT, "vocab_size": 5000}
    AutoModel.from_config(AutoConfig.for_model(**config)).save_pretrained(tmp_path / "tiny")
    scores = []
    for decay in (None, 0.01):
        job.fill(rows=70, encoder_name=str(tmp_path / "tiny"), layer_decay=decay, **changes)
        assert job.run() == 0, job.failure
        scores.append(read_predictions(job))
    assert not torch.allclose(scores[0], scores[1], atol=1e-5)


def test_a_warm_up_is_counted_in_optimizer_steps(job: JobFolder) -> None:
    job.fill(rows=70, batch_size=10, max_epochs=2, accumulate_grad_batches=4, warmup_steps=4)
    assert job.run() == 1
    assert "only 4 steps" in job.failure
