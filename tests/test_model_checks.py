"""What is checked of a built model before it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import Installer
from fusionzoo.training import model_checks
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.training_run import TrainingRun
from plugin_helpers import write_fusion
from shop import JobFolder


def fill_job(install: Installer, tmp_path: Path, returned: str) -> JobFolder:
    install("acme-odd", source=write_fusion(returned), models=["odd"])
    return JobFolder(tmp_path / "ml").fill(model_class="odd", onnx="off", max_epochs=1)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("(logits, 1)", "forward() returned tuple, but"),
        ("{'logits': logits}", "forward() returned dict, but"),
        ("logits.detach().numpy()", "forward() returned ndarray, but"),
        ("None", "forward() returned NoneType, but"),
        ("logits[:, :1]", "forward() returned float32 logits of shape [2, 1] where [rows, outputs] is [2, 2], but"),
        ("logits[0]", "forward() returned float32 logits of shape [2] where [rows, outputs] is [2, 2], but"),
        ("logits.argmax(dim=1)", "forward() returned int64 logits of shape [2] where [rows, outputs] is [2, 2], but"),
        ("(logits > 0)", "forward() returned bool logits of shape [2, 2] where [rows, outputs] is [2, 2], but"),
    ],
)
def test_a_forward_that_returns_no_logits_is_an_error_of_the_plugin_before_the_training(
    returned: str, message: str, install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fill_job(install, tmp_path, returned)
    monkeypatch.setattr(TrainingModule, "training_step", lambda *_: pytest.fail("the training began"))
    assert job.run() == 1
    assert "acme-odd 1.0" in job.failure
    assert message in job.failure
    assert "[FZ-P071]" in job.failure


@pytest.mark.parametrize("condition", ["True", "self.training", "not self.training"])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ("{'p': 0.1}", "penalties['p'] as a value of the type float"),
        ("{'p': logits.pow(2).mean(dim=1)}", "penalties['p'] as a tensor of shape [2]"),
        ("{}, {'m': 3}", "metrics['m'] as a value of the type int"),
        ("{}, {'m': logits.mean(dim=0, keepdim=True)}", "metrics['m'] as a tensor of shape [1, 2]"),
    ],
)
def test_a_penalty_or_metric_that_is_no_number_is_an_error_before_the_training(
    parts: str, message: str, condition: str, install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned = f"ModelOutput(logits, {parts}) if {condition} else logits"
    source = write_fusion(returned, imports="from fusionzoo.nn.schema import ModelOutput")
    install("acme-odd", source=source, models=["odd"])
    job = JobFolder(tmp_path / "ml").fill(model_class="odd", onnx="off", max_epochs=1)
    monkeypatch.setattr(TrainingModule, "training_step", lambda *_: pytest.fail("the training began"))
    assert job.run() == 1
    assert f"model_class 'odd' from acme-odd 1.0 (acme_odd) is broken: forward() returned {message}" in job.failure
    assert "[FZ-P077]" in job.failure


@pytest.mark.parametrize("before", ["torch.set_grad_enabled(False)", "pass"])
def test_logits_without_a_gradient_are_an_error_of_the_plugin(before: str, install: Installer, tmp_path: Path) -> None:
    source = write_fusion("logits.detach()", before=before)
    install("acme-odd", source=source, models=["odd"])
    job = JobFolder(tmp_path / "ml").fill(model_class="odd", onnx="off", max_epochs=1)
    try:
        assert job.run() == 1
    finally:
        torch.set_grad_enabled(True)
    assert "have no gradient, so nothing would be trained" in job.failure
    assert "acme-odd 1.0" in job.failure
    assert "[FZ-P078]" in job.failure


def test_a_model_that_computes_gradients_in_training_only_is_trained(install: Installer, tmp_path: Path) -> None:
    job = fill_job(install, tmp_path, "logits if self.training else logits.detach()")
    assert job.run() == 0, job.failure


def test_a_model_that_reads_labels_in_predictions_fails_before_the_training(install: Installer, tmp_path: Path) -> None:
    job = fill_job(install, tmp_path, "logits + batch.labels.float()[:, None]")
    assert job.run() == 1
    assert "'NoneType' object has no attribute 'float'" in job.failure
    assert "This happened in forward() of acme-odd 1.0, which provides model_class 'odd'." in job.failure


def test_a_folder_without_space_for_a_checkpoint_is_an_error_before_the_training(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.fill(max_epochs=1)
    monkeypatch.setattr(TrainingModule, "training_step", lambda *_: pytest.fail("the training began"))
    monkeypatch.setattr(model_checks, "free_space", lambda path: 20_000)
    assert job.run() == 1
    assert f"{job.root / 'checkpoints'} has 0 MB of free space, and one checkpoint needs" in job.failure
    assert "[FZ-O051]" in job.failure


def test_the_required_space_is_that_of_a_checkpoint(job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    size = {"embedding_dim": 256, "hidden_common_dim": 512}
    job.fill(max_epochs=1, **size)
    assert job.run() == 0
    written = (job.root / "checkpoints/last.ckpt").stat().st_size
    job.settings(max_epochs=2, **size)
    monkeypatch.setattr(model_checks, "free_space", lambda path: int(0.9 * written))
    assert job.run() == 1
    monkeypatch.setattr(model_checks, "free_space", lambda path: written)
    assert job.run() == 0


def test_the_check_draws_no_random_number_of_the_training(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, states, check = fill_job(install, tmp_path, "logits + 0 * torch.rand(1)"), [], model_checks.check_output

    def record_states(run: TrainingRun) -> None:
        states.append(torch.get_rng_state())
        check(run)
        states.append(torch.get_rng_state())
        assert run.built.model.training

    monkeypatch.setattr(model_checks, "check_output", record_states)
    assert job.run() == 0
    assert torch.equal(*states)


def test_the_check_leaves_the_state_of_the_model_as_it_is(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = "self.calls, self.mean = getattr(self, 'calls', 0) + 1, getattr(self, 'mean', 0) + 1"
    source = write_fusion(before=count).replace(
        "    return Fusion(spec, settings, text_encoder)",
        "    model = Fusion(spec, settings, text_encoder)\n"
        "    model.register_buffer('mean', torch.zeros(2), persistent=False)\n    return model",
    )
    install("acme-odd", source=source, models=["odd"])
    job, check, checked = (
        JobFolder(tmp_path / "ml").fill(model_class="odd", max_epochs=1),
        model_checks.check_output,
        [],
    )

    def check_state(run: TrainingRun) -> None:
        check(run)
        checked.append(run)
        assert not hasattr(run.built.model, "calls")
        assert not run.built.model.mean.any()

    monkeypatch.setattr(model_checks, "check_output", check_state)
    assert job.run() == 0, job.failure
    assert checked
