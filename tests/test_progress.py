"""What a user sees while a model trains: lines, a bar, TensorBoard, and what a run of a job took."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
import threading
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from fusionzoo.registry import Plugin
from fusionzoo.training import gradient_norms, optimizers
from fusionzoo.training.monitoring import log_lines, progress_bar, resource_usage
from fusionzoo.training.monitoring.phases import Phases
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputReading
from fusionzoo.training.monitoring.validation_metrics import WeightedMeans
from shop import TINY_BERT, JobFolder
from training_helpers import EncoderWithHead, fit_linear_model, make_job_settings, make_random_split

ROWS, EPOCHS = 160, 2


class Tells(Callback):
    """A plugin's callback that logs a value of its own."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        pl_module.log("train/told", 7.0)


def run(folder: JobFolder) -> str:
    """What a job logs where nobody watches."""
    with redirect_stdout(io.StringIO()) as output:
        status = folder.run()
    assert status == 0, output.getvalue()
    return output.getvalue()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, str]:
    """A finished job over a tiny BERT, with a line after every batch, and its log."""
    folder = JobFolder(tmp_path_factory.mktemp("job")).fill(
        rows=ROWS, max_epochs=EPOCHS, model_class="multimodal_bert", encoder_config=TINY_BERT, num_channels=None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_lines, "SECONDS_BETWEEN_LINES", 0.0)
        patch.setattr(Plugin, "callbacks", lambda self, settings: [Tells()])
        return folder, run(folder)


def report(folder: JobFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.output / "metrics.json").read_text())
    return found


# --- the log


def test_each_figure_stands_in_a_line_of_its_own_that_a_tuning_job_can_read(done: tuple[JobFolder, str]) -> None:
    folder, log = done
    found: dict[str, list[float]] = {}
    for line in log.splitlines():
        if "#metric" in line:
            match = re.fullmatch(r"\S+ \S+ INFO #metric (\w+)=(-?\d+\.\d+);", line)
            assert match, line
            found.setdefault(match[1], []).append(float(match[2]))
    assert len(found["train_loss"]) == EPOCHS
    assert len(found["val_auroc"]) == EPOCHS + 1, "once more at the end, with the weights that ship"
    for split_name in ("val", "test"):
        wanted = report(folder)["splits"][split_name]["metrics"]
        last = {name: values[-1] for name, values in found.items() if name.startswith(split_name)}
        assert all(last[f"{split_name}_{name}"] == pytest.approx(value, abs=1e-6) for name, value in wanted.items())
    assert "\r" not in log
    assert "\x1b" not in log


def test_a_line_says_where_the_training_stands_how_fast_it_is_and_what_is_left(done: tuple[JobFolder, str]) -> None:
    pattern = (
        r"Epoch (\d) of 2, batch (\d+) of 10, step (\d+): train_loss \d\.\d{4}, [\d,]+ rows/s, [\d,]+ tokens/s, "
        r"padding \d+\.\d%, (\S+ \w+) left"
    )
    lines = re.findall(pattern, done[1])
    assert [(int(epoch), int(batch), int(step)) for epoch, batch, step, _ in lines] == [
        (epoch, batch, 10 * (epoch - 1) + batch) for epoch in (1, 2) for batch in range(1, 11)
    ]
    assert lines[-1][3] == "0.0 s"
    assert lines[0][3] != "0.0 s"


def test_the_log_begins_with_what_is_trained_and_ends_with_what_came_out(done: tuple[JobFolder, str]) -> None:
    folder, log = done
    learning = sum(value.numel() for value in torch.load(folder.model / "model.pth", weights_only=True).values())
    size = re.search(r"Model multimodal_bert: ([\d,]+) parameters, of which ([\d,]+) learn", log)
    assert size
    assert 0 < int(size[2].replace(",", "")) <= int(size[1].replace(",", "")) <= learning
    assert re.search(r"160 training rows: 0: \d\d\.\d%, 1: \d\d\.\d%\n", log)
    assert "Training on 1 process, CPU, precision" in log
    assert "up to 2 epochs of 10 batches" in log
    best = report(folder)["training"]["best"]
    assert f"best validation: val_loss {best['value']:.4f} in epoch {best['epoch']}, step {best['step']}\n" in log
    assert "Time: prepare " in log
    assert "Peak memory of a process: " in log


def test_the_best_validation_is_that_of_the_checkpoint(done: tuple[JobFolder, str]) -> None:
    folder, log = done
    best = report(folder)["training"]["best"]
    values = [float(value) for value in re.findall(r"#metric val_loss=(\S+);", log)]
    assert best["value"] == pytest.approx(min(values), abs=1e-6)
    assert best["step"] == 10 * (values.index(min(values)) + 1) == 10 * best["epoch"]


def test_a_validation_is_judged_by_what_came_before() -> None:
    stopping = EarlyStopping("val_loss", patience=2)
    assert log_lines.format_verdict(stopping, 0.5) == "val_loss 0.5000, the best so far"
    stopping.best_score, stopping.wait_count = torch.tensor(0.4), 1
    assert "best 0.4000; 1 of 2 validations without a better one" in log_lines.format_verdict(stopping, 0.5)
    assert not log_lines.format_verdict(stopping, 0.5).endswith("the training stops")
    stopping.wait_count = 2
    assert log_lines.format_verdict(stopping, 0.5).endswith("the training stops")


# --- a bar


def test_on_a_terminal_there_is_one_bar_and_log_lines_stand_above_it(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_FIGURES", 0.0)
    job.fill(rows=1600)
    terminal, stdout = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                seen.append(os.read(terminal, 4096))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(stdout, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        status = job.run()
        monkeypatch.undo()
    reader.join()
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(seen).decode())
    assert status == 0, text
    assert re.search(r"epoch 1/2 .* rows/s  padding \d+\.\d%  \S+ s left", text)
    assert re.search(r"[\r\n]\S+ \S+ INFO #metric val_auroc=\d\.\d+;\r\n", text)
    assert not re.search(r"Epoch \d of 2, batch", text), "the bar says it"


@pytest.mark.parametrize(
    ("tty", "term", "wanted"), [(True, "xterm", True), (False, "xterm", False), (True, "dumb", False)]
)
def test_a_bar_is_shown_only_where_it_can_be_drawn(
    tty: bool, term: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty, raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert progress_bar.can_show_progress_bar() == wanted


# --- TensorBoard


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events*")):
        read = EventAccumulator(str(file))
        read.Reload()
        for tag in read.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in read.Scalars(tag))
    return found


def test_tensorboard_has_losses_rates_gradients_throughput_validations_and_plugins_values(
    done: tuple[JobFolder, str],
) -> None:
    folder, log = done
    found = events(folder.output / "tensorboard")
    for tag in ("train_loss", "lr/model", "gradient_norm", "throughput/rows_per_second", "throughput/padding"):
        assert [step for step, _ in found[tag]] == list(range(20)), tag
    rates = [rate for _, rate in found["lr/model"]]
    assert 0 < rates[0] < max(rates)
    assert rates[-1] == min(rates[3:])
    assert all(norm > 0 for _, norm in found["gradient_norm"])
    assert all(0 <= share < 1 for _, share in found["throughput/padding"])
    shown = [float(loss) for loss in re.findall(r"step \d+: train_loss (\S+),", log)]
    assert [loss for _, loss in found["train_loss"]] == pytest.approx(shown, abs=1e-4)
    assert [step for step, _ in found["val/auroc"]] == [9, 19]
    assert {value for _, value in found["train/told"]} == {7.0}


def test_groups_of_parameters_are_named_by_what_they_are() -> None:
    net = EncoderWithHead()
    names = {group["name"] for group in optimizers.parameter_groups(net, net.encoder, make_job_settings(lr=1e-4), [])}
    assert names == {"encoder", "head"}
    own = [{"params": [net.head.weight], "lr_scale": 0.5}]
    assert [group["name"] for group in optimizers.parameter_groups(net, None, make_job_settings(), own)][:2] == [
        "plugin_0",
        "model",
    ]


def test_the_gradient_norm_is_what_clipping_measures() -> None:
    net = EncoderWithHead()
    net.head(torch.ones(3, 4)).sum().backward()
    found = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(gradient_norms.compute_norms(found))
    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(net.parameters(), 0.1)))
    assert norm > 0.1
    assert gradient_norms.compute_norms([]).tolist() == []


# --- what a run took


def test_metrics_json_says_what_the_run_took(done: tuple[JobFolder, str]) -> None:
    folder, log = done
    took = report(folder)["run"]
    tokens = int(re.search(r"train: 160 rows, \d+ chunks, (\d+) tokens", log)[1])  # type: ignore[index]
    assert (took["rows"], took["tokens"]) == (EPOCHS * ROWS, EPOCHS * tokens)
    assert took["tokens_computed"] >= took["tokens"]
    assert took["padding"] == 1 - took["tokens"] / took["tokens_computed"]
    assert took["rows_per_second"] == pytest.approx(took["rows"] / took["seconds"]["train"], rel=1e-6)
    assert set(took["seconds"]) == {"prepare", "build", "train", "validate", "evaluate"}
    assert all(value > 0 for value in took["seconds"].values())
    assert 0 < took["waiting_for_data"] < 1
    assert 50e6 < took["peak_memory_bytes"] < 50e9
    assert took["peak_gpu_memory_bytes"] is None or torch.cuda.is_available()


def test_each_second_belongs_to_the_phase_that_was_begun_last() -> None:
    now = iter([0.0, 1.0, 4.0, 5.0, 9.0, 9.5])
    phases = Phases(lambda: next(now))
    for name in ("prepare", "train", "validate", "train"):
        phases.begin(name)
    assert phases.seconds == {"prepare": 3.0, "train": 1.0 + 0.5, "validate": 4.0}


def test_padding_is_counted_in_what_the_text_encoder_computes() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(9, 2), nn.Embedding(99, 2)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
            return found

    throughput, encoder, data = Throughput(Phases()), Encoder(), make_random_split(5)
    batch = next(iter(batches(data)))
    trainer: Any = type("OneBatch", (), {"accumulate_grad_batches": 1})()
    loss: Any = {"loss": torch.tensor(2.0)}
    module: Any = nn.Linear(1, 1)
    with throughput.watching(encoder):
        for _ in range(2):
            throughput.on_train_batch_start(trainer, module, batch, 0)
            for size in ((3, 4), (2, 30)):
                encoder(torch.zeros(size, dtype=torch.long))
            throughput.on_train_batch_end(trainer, module, loss, batch, 0)
    encoder(torch.zeros(2, 3, dtype=torch.long))
    throughput.on_train_batch_end(trainer, module, loss, batch, 0)
    reading = throughput.read()
    assert reading.computed == 3 * (3 * 4 + 2 * 30), "embeddings are not watched any more, and the batch stands"
    assert reading.encoded == 3 * len(data.tokens)
    assert reading.mean_loss == 2.0
    with throughput.watching(encoder, in_one_graph=True):
        throughput.on_train_batch_start(trainer, module, batch, 0)
        encoder(torch.zeros(2, 3, dtype=torch.long))
        throughput.on_train_batch_end(trainer, module, loss, batch, 0)
    assert throughput.read().computed == reading.computed


def batches(data: Any) -> Any:
    from fusionzoo.training.datamodule import SplitsDataModule

    return SplitsDataModule(data, data, make_job_settings(batch_size=5)).val_dataloader()


def test_a_reading_counts_each_row_once_and_the_loss_is_that_of_whole_batches() -> None:
    found = []
    for every in (1, 3):
        throughput = Throughput(Phases())
        settings = make_job_settings(lr=1e-9, batch_size=20, accumulate_grad_batches=every)
        fit_linear_model(settings, make_random_split(70), [1.0, 3.0], epochs=2, throughput=throughput)
        found.append(throughput.read())
    assert [reading.rows for reading in found] == [140, 140]
    assert [reading.encoded for reading in found] == [0, 0], "no text encoder runs"
    assert found[0].padding is None
    assert found[0].mean_loss == pytest.approx(found[1].mean_loss, rel=1e-4)


def test_figures_of_several_processes_are_joined() -> None:
    one = ThroughputReading(rows=60, batches=2, encoded=900, computed=1000, seconds=2.0, waited=0.5)
    found = resource_usage.merge_usage(
        [
            resource_usage.Usage(one, 10, 7),
            resource_usage.Usage(replace(one, rows=40, encoded=500, seconds=4.0), 30, None),
        ],
        {"train": 4.0},
    )
    assert (found["processes"], found["rows"], found["tokens"], found["tokens_computed"]) == (2, 100, 1400, 2000)
    assert (found["rows_per_second"], found["tokens_per_second"]) == (25, 350)
    assert found["padding"] == pytest.approx(0.3)
    assert found["waiting_for_data"] == pytest.approx(1 / 6)
    assert (found["peak_memory_bytes"], found["peak_gpu_memory_bytes"]) == (30, 7)


def test_a_run_that_trains_nothing_has_no_rates() -> None:
    found = resource_usage.merge_usage([resource_usage.Usage(ThroughputReading(), 2**20, None)], {"prepare": 1.0})
    assert [found[name] for name in ("rows_per_second", "tokens_per_second", "padding", "waiting_for_data")] == [
        None
    ] * 4
    assert list(resource_usage.format_usage(found)) == [
        "Time: prepare 1.0 s; together 1.0 s",
        "Peak memory of a process: 1 MiB",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.7, "60 s"), (61, "1 min 1 s"), (3599.8, "1 h 0 min"), (11520, "3 h 12 min")],
)
def test_a_time_is_shown_as_a_reader_wants_it(seconds: float, shown: str) -> None:
    assert resource_usage.format_duration(seconds) == shown


def test_an_architectures_figures_are_means_over_rows() -> None:
    means = WeightedMeans()
    means.add({"gate": torch.tensor(1.0)}, 30)
    means.add({"gate": torch.tensor(4.0), "load": torch.tensor(2.0)}, 10)
    assert {name: float(value) for name, value in means.take().items()} == {"gate": 1.75, "load": 2.0}
    assert means.take() == {}
