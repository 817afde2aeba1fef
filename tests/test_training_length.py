"""How many epochs a job has that does not set `max_epochs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from encoder_folders import SIZES, save_encoder
from fusionzoo.architecture import BuiltModel, choose_architecture
from fusionzoo.settings import ModelSettings
from fusionzoo.training.training_length import choose_epochs
from shop import JobFolder

REQUIRED = {"id_name": "id", "label_name": "y", "num_classes": 2, "text_name": "text", "tokenizer": "word"}


def count(rows: int, tokens: int = 0, is_tuned: bool = False, **settings: Any) -> int:
    return choose_epochs(choose_architecture({**REQUIRED, "model_class": "cnn", **settings}), is_tuned, rows, tokens)


@pytest.mark.parametrize(
    ("rows", "settings", "epochs"),
    [
        (2000, {}, 7),  # 63 steps per epoch, 400 steps
        (2000, {"model_class": "lstm"}, 13),  # 800 steps
        (2000, {"batch_size": 8}, 3),
        (2000, {"accumulate_grad_batches": 2}, 13),
        (1, {}, 30),
        (10**6, {}, 3),
        (2000, {"max_epochs": 1}, 1),
        (10**6, {"max_epochs": 50}, 50),
    ],
)
def test_small_data_have_more_epochs_unless_the_user_sets_them(
    rows: int, settings: dict[str, Any], epochs: int
) -> None:
    assert count(rows, **settings) == epochs


def test_steps_of_batches_by_tokens_are_estimated_from_the_tokens() -> None:
    assert count(10**6, tokens=63 * 1000, max_batch_tokens=1000) == 7
    assert count(10**6, tokens=0, max_batch_tokens=1000) == 30


def test_a_pretrained_encoder_is_trained_for_three_epochs(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path)
    settings = {"model_class": "bert", "encoder_name": folder, "tokenizer": folder, "max_sen_len": 32}
    assert count(50, is_tuned=True, **settings) == 3
    assert count(50, **settings) == 30
    assert count(4000, **settings) == 4


@pytest.mark.parametrize(("frozen", "is_tuned"), [((), True), (("0.weight",), True), (("0.weight", "0.bias"), False)])
def test_an_encoder_is_tuned_if_any_of_its_pretrained_weights_is_trained(
    tmp_path: Path, frozen: tuple[str, ...], is_tuned: bool
) -> None:
    """The weights decide, not a setting: a plugin names its own setting for it as it likes."""
    folder, encoder = save_encoder(tmp_path), nn.Sequential(nn.Linear(1, 1))
    for name in frozen:
        encoder.get_parameter(name).requires_grad_(False)
    settings = {**REQUIRED, "model_class": "bert", "tokenizer": folder, "max_sen_len": 32}
    pretrained = choose_architecture({**settings, "encoder_name": folder})
    assert pretrained.tunes_encoder(BuiltModel(nn.Linear(1, 1), encoder)) == is_tuned
    config = {"model_type": "bert", **SIZES, "max_position_embeddings": 34}
    new = choose_architecture({**settings, "tokenizer": "word", "encoder_config": config})
    assert not new.tunes_encoder(BuiltModel(nn.Linear(1, 1), encoder))
    assert not pretrained.tunes_encoder(BuiltModel(nn.Linear(1, 1), None))


def test_a_job_without_max_epochs_trains_that_long_and_resumes(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ModelSettings, "min_steps", 38)
    job.fill(max_epochs=None, early_stop_patience=9, onnx="off")  # 10 steps per epoch
    for _ in range(2):
        assert job.run() == 0, job.failure
        training = json.loads((job.output / "metrics.json").read_text())["training"]
        assert (training["epochs"], training["steps"]) == (4, 40)
    assert "".join(capfd.readouterr()).count("up to 4 epochs of 10 batches") == 1


def test_fewer_epochs_than_before_are_an_error_if_max_epochs_is_not_set_either(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.fill(max_epochs=None, early_stop_patience=9, onnx="off")
    monkeypatch.setattr(ModelSettings, "min_steps", 38)
    assert job.run() == 0, job.failure
    monkeypatch.setattr(ModelSettings, "min_steps", 1)
    assert job.run() == 1
    assert "max_epochs was 4, is 3" in job.failure
