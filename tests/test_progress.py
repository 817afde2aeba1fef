"""What a user sees while a model trains: log lines, a progress bar, and TensorBoard."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import nn

from fusionzoo.contracts.steps import define_metrics
from fusionzoo.registry.discovery import Plugin
from fusionzoo.training import gradient_norms, optimizers
from fusionzoo.training.monitoring import log_lines, progress_bar
from fusionzoo.training.monitoring.learning_curve import LearningCurve
from plot_rendering import plots_rendered
from process_helpers import read_metrics
from shop import TINY_BERT, JobFolder, made_split
from training_helpers import EncoderWithHead, make_job_settings

ROWS, EPOCHS = 160, 2


class LogsOwnValue(Callback):
    """A plugin's callback that logs its own value."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        pl_module.log("train/own_value", 7.0)


def run_and_capture_log(folder: JobFolder) -> str:
    """Run a job whose stdout is not a terminal, and return its log."""
    with redirect_stdout(io.StringIO()) as output:
        status = folder.run()
    assert status == 0, output.getvalue()
    return output.getvalue()


@pytest.fixture(scope="module")
def finished_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, str]:
    """A finished job with a tiny BERT that logged a line after every batch, and its log."""
    folder = JobFolder(tmp_path_factory.mktemp("job")).fill(
        rows=ROWS, max_epochs=EPOCHS, model_class="multimodal_bert", encoder_config=TINY_BERT, num_channels=None
    )
    with plots_rendered(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_lines, "SECONDS_BETWEEN_LINES", 0.0)
        patch.setattr(Plugin, "callbacks", lambda self, settings: [LogsOwnValue()])
        return folder, run_and_capture_log(folder)


# --- the log


def test_the_metric_definitions_of_a_pipeline_find_every_metric_in_the_log(finished_job: tuple[JobFolder, str]) -> None:
    _, log = finished_job
    names = re.findall(r"#metric (\w+)=", log)
    found = [entry["Name"] for entry in define_metrics({}) for _ in re.findall(entry["Regex"], log)]
    assert "val_auroc" in found
    assert sorted(found) == sorted(names)


def test_each_metric_has_its_own_line_that_a_tuning_job_can_parse(finished_job: tuple[JobFolder, str]) -> None:
    folder, log = finished_job
    values_by_name: dict[str, list[float]] = {}
    for line in log.splitlines():
        if "#metric" in line:
            match = re.fullmatch(r"\S+ \S+ INFO #metric (\w+)=(-?\d+\.\d+);", line)
            assert match, line
            values_by_name.setdefault(match[1], []).append(float(match[2]))
    assert len(values_by_name["train_loss"]) == EPOCHS
    assert len(values_by_name["val_auroc"]) == EPOCHS + 1, "once more at the end, with the weights of the artifacts"
    for split_name in ("val", "test"):
        expected = read_metrics(folder)["splits"][split_name]["metrics"]
        last = {name: values[-1] for name, values in values_by_name.items() if name.startswith(split_name)}
        assert all(last[f"{split_name}_{name}"] == pytest.approx(value, abs=1e-6) for name, value in expected.items())
    assert "\r" not in log
    assert "\x1b" not in log


def test_an_interval_line_has_position_loss_speed_and_remaining_time(finished_job: tuple[JobFolder, str]) -> None:
    pattern = (
        r"Epoch (\d) of 2, batch (\d+) of 10, step (\d+): train_loss \d[\d.e-]+, [\d,]+ rows/s, [\d,]+ tokens/s, "
        r"padding \d+\.\d%, (\S+ \w+) left"
    )
    lines = re.findall(pattern, finished_job[1])
    assert [(int(epoch), int(batch), int(step)) for epoch, batch, step, _ in lines] == [
        (epoch, batch, 10 * (epoch - 1) + batch) for epoch in (1, 2) for batch in range(1, 11)
    ]
    assert lines[-1][3] == "0.0 s"
    assert lines[0][3] != "0.0 s"


def test_the_log_starts_with_the_model_and_ends_with_the_result(finished_job: tuple[JobFolder, str]) -> None:
    folder, log = finished_job
    stored = sum(value.numel() for value in torch.load(folder.model / "model.pth", weights_only=True).values())
    size = re.search(r"Model multimodal_bert: ([\d,]+) parameters, ([\d,]+) trainable", log)
    assert size
    assert 0 < int(size[2].replace(",", "")) <= int(size[1].replace(",", "")) <= stored
    assert re.search(r"160 training rows: 0: \d\d\.\d%, 1: \d\d\.\d%\n", log)
    assert "Training on 1 process, CPU, precision" in log
    assert "up to 2 epochs of 10 batches" in log
    best = read_metrics(folder)["training"]["best"]
    assert f"best validation: {log_lines.format_best(best)}\n" in log
    assert "Time: prepare " in log
    assert "Peak memory of a process: " in log


def test_the_logged_best_validation_is_that_of_the_best_checkpoint(finished_job: tuple[JobFolder, str]) -> None:
    folder, log = finished_job
    best = read_metrics(folder)["training"]["best"]
    values = [float(value) for value in re.findall(r"#metric val_loss=(\S+);", log)]
    assert best["value"] == pytest.approx(min(values), abs=1e-6)
    assert best["step"] == 10 * (values.index(min(values)) + 1) == 10 * best["epoch"]


def test_a_validation_is_compared_with_the_best_one_so_far() -> None:
    stopping = EarlyStopping("val_loss", patience=2)
    assert log_lines.format_verdict(stopping, 0.5) == "val_loss 0.5000, the best so far"
    stopping.best_score, stopping.wait_count = torch.tensor(0.4), 1
    assert "best 0.4000; 1 of 2 validations without improvement" in log_lines.format_verdict(stopping, 0.5)
    assert not log_lines.format_verdict(stopping, 0.5).endswith("stopping early")
    stopping.wait_count = 2
    assert log_lines.format_verdict(stopping, 0.5).endswith("stopping early")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1e-5, "1.000e-05"), (0.000123456, "0.0001235"), (-0.01234567, "-0.01235"), (0.0, "0.0000"), (0.5, "0.5000")],
)
def test_small_metrics_keep_four_significant_digits(value: float, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    metrics = {"train/penalty_norm": torch.tensor(value)}
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=3, callback_metrics=metrics)
    with caplog.at_level("INFO"):
        log_lines.ValidationLogger(LearningCurve("val_loss")).on_train_epoch_end(trainer, LightningModule())
    assert caplog.messages == [f"Epoch 1 of 3: penalty_norm {shown}"]
    best = {"metric": "val_loss", "value": value, "epoch": 2, "step": 20}
    assert log_lines.format_best(best) == f"val_loss {shown} in epoch 2, step 20"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, ["1 training row: ", "Training on 1 process, ", "up to 1 epoch of 1 batch"]),
        (2, ["2 training rows: ", "Training on 2 processes, ", "up to 2 epochs of 2 batches"]),
    ],
)
def test_the_first_lines_of_a_training_use_the_singular_for_one(
    count: int, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings: Any = SimpleNamespace(
        max_epochs=count,
        early_stop_metric="val_loss",
        average_checkpoints=1,
        count_batches_between_validations=lambda batches: batches,
    )
    task: Any = SimpleNamespace(describe_labels=lambda labels: "all")
    train = made_split(np.arange(count + 1), np.arange(count + 1))
    with caplog.at_level("INFO"):
        log_lines.log_training_start(settings, train, task, count, "32-true", count)
    first, second, _ = caplog.messages
    assert first.startswith(expected[0])
    assert second.startswith(expected[1])
    assert second.endswith(expected[2])


# --- the progress bar


def test_a_terminal_shows_one_bar_with_log_lines_above_it(job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_UPDATES", 0.0)
    job.fill(rows=1600)
    terminal, stdout = pty.openpty()
    chunks: list[bytes] = []

    def read_terminal() -> None:
        while True:
            try:
                chunks.append(os.read(terminal, 4096))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read_terminal)
    reader.start()
    with os.fdopen(stdout, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        status = job.run()
        monkeypatch.undo()
    reader.join()
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(chunks).decode())
    assert status == 0, text
    assert re.search(r"epoch 1/2 .* rows/s  padding \d+\.\d%  \S+ s left", text)
    assert re.search(r"[\r\n]\S+ \S+ INFO #metric val_auroc=\d\.\d+;\r\n", text)
    assert not re.search(r"Epoch \d of 2, batch", text), "the bar shows it instead"


@pytest.mark.parametrize(
    ("tty", "term", "expected"), [(True, "xterm", True), (False, "xterm", False), (True, "dumb", False)]
)
def test_the_bar_is_shown_only_on_a_terminal_that_can_draw_it(
    tty: bool, term: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty, raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert progress_bar.can_show_progress_bar() == expected


# --- TensorBoard


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    scalars: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events*")):
        events = EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            scalars.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return scalars


def test_tensorboard_has_losses_learning_rates_gradient_norms_throughput_metrics_and_values_of_plugins(
    finished_job: tuple[JobFolder, str],
) -> None:
    folder, log = finished_job
    scalars = read_scalars(folder.output / "tensorboard")
    for tag in ("train_loss", "lr/model", "gradient_norm", "throughput/rows_per_second", "throughput/padding"):
        assert [step for step, _ in scalars[tag]] == list(range(1, 21)), tag
    rates = [rate for _, rate in scalars["lr/model"]]
    assert 0 < rates[0] < max(rates)
    assert rates[-1] == min(rates[3:])
    assert all(norm > 0 for _, norm in scalars["gradient_norm"])
    assert all(0 <= share < 1 for _, share in scalars["throughput/padding"])
    logged = [float(loss) for loss in re.findall(r"step \d+: train_loss (\S+),", log)]
    assert [loss for _, loss in scalars["train_loss"]] == pytest.approx(logged, abs=1e-4)
    assert [step for step, _ in scalars["val/auroc"]] == [10, 20]
    assert {step: epoch for step, epoch in scalars["epoch"] if step in (1, 10, 11, 20)} == {1: 1, 10: 1, 11: 2, 20: 2}
    assert {value for _, value in scalars["train/own_value"]} == {7.0}


def test_steps_of_tensorboard_are_those_of_the_log_with_accumulation_and_validations_within_it(job: JobFolder) -> None:
    job.fill(rows=160, batch_size=8, accumulate_grad_batches=3, val_check_interval=0.25, max_epochs=1)
    log = run_and_capture_log(job)
    steps = [int(step) for step in re.findall(r"Epoch 1 of 1, step (\d+): val_loss", log)]
    assert steps == [1, 3, 5, 7], "after batches 5, 10, 15 and 20 of 20"
    assert [step for step, _ in read_scalars(job.output / "tensorboard")["val_loss"]] == steps
    assert [validation["step"] for validation in read_metrics(job)["training"]["validations"]] == steps


def test_tensorboard_has_the_settings_and_the_names_of_the_metrics(finished_job: tuple[JobFolder, str]) -> None:
    folder = finished_job[0].output / "tensorboard"
    events = EventAccumulator(str(folder)).Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["batch_size"].number_value == 16
    assert settings["model_class"].string_value == "multimodal_bert"
    assert settings["cat_field_list"].string_value == '["country"]'
    assert yaml.safe_load((folder / "hparams.yaml").read_text())["tab_field_list"] == ["price", "visits"]
    experiment = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert [m.name.tag for m in HParamsPluginData.FromString(experiment).experiment.metric_infos] == ["val_loss"]


def test_metrics_json_and_the_log_have_the_same_learning_curve(finished_job: tuple[JobFolder, str]) -> None:
    folder, log = finished_job
    validations = read_metrics(folder)["training"]["validations"]
    assert [(v["epoch"], v["step"]) for v in validations] == [(1, 10), (2, 20)]
    for name in ("train_loss", "val_loss"):
        logged = [float(value) for value in re.findall(rf"#metric {name}=(\S+);", log)][:EPOCHS]
        assert [v[name] for v in validations] == pytest.approx(logged, abs=1e-6)
    assert (folder.output / "plots/training_learning_curve.png").stat().st_size > 10_000


def test_an_interrupted_learning_curve_continues_with_the_same_mean_loss() -> None:
    trainer: Any = SimpleNamespace(
        accumulate_grad_batches=2, current_epoch=0, global_step=3, callback_metrics={"val_loss": torch.tensor(0.5)}
    )
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    curve = LearningCurve("val_loss")
    for loss in (0.1, 0.2, 0.4):
        state = json.loads(json.dumps(curve.state_dict()))
        curve = LearningCurve("val_loss")
        curve.load_state_dict(state)
        curve.on_train_start(trainer, module)
        curve.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, 0)
    curve.on_validation_end(trainer, module)
    expected = {"epoch": 1, "step": 3, "train_loss": pytest.approx(2 * 0.7 / 3), "val_loss": 0.5}
    assert curve.state_dict() == {"validations": [expected], "loss": 0.0, "batches": 0}


def test_parameter_groups_are_named_encoder_head_plugin_and_model() -> None:
    net = EncoderWithHead()
    names = {group["part"] for group in optimizers.parameter_groups(net, net.encoder, make_job_settings(lr=1e-4), [])}
    assert names == {"encoder", "head"}
    plugin_groups = [{"params": [net.head.weight], "lr_scale": 0.5}]
    groups = optimizers.parameter_groups(net, None, make_job_settings(), plugin_groups)
    assert [group["part"] for group in groups][:2] == ["plugin_0", "model"]


def test_the_gradient_norm_equals_that_of_clip_grad_norm() -> None:
    net = EncoderWithHead()
    net.head(torch.ones(3, 4)).sum().backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(gradient_norms.compute_norms(gradients))
    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(net.parameters(), 0.1)))
    assert norm > 0.1
    assert gradient_norms.compute_norms([]).tolist() == []


# --- the usage of a run


def test_metrics_json_has_the_usage_of_the_run(finished_job: tuple[JobFolder, str]) -> None:
    folder, log = finished_job
    usage = read_metrics(folder)["run"]
    tokens = int(re.search(r"train: 160 rows, \d+ chunks, (\S+) tokens", log)[1].replace(",", ""))  # type: ignore[index]
    assert (usage["rows"], usage["tokens"]) == (EPOCHS * ROWS, EPOCHS * tokens)
    assert usage["tokens_computed"] >= usage["tokens"]
    assert usage["padding"] == 1 - usage["tokens"] / usage["tokens_computed"]
    assert usage["rows_per_second"] == pytest.approx(usage["rows"] / usage["seconds"]["train"], rel=1e-6)
    assert set(usage["seconds"]) == {"prepare", "build", "train", "validate", "evaluate"}
    assert all(value > 0 for value in usage["seconds"].values())
    assert 0 < usage["waiting_for_data"] < 1
    assert 50e6 < usage["peak_memory_bytes"] < 50e9
    assert usage["peak_gpu_memory_bytes"] is None or torch.cuda.is_available()
