"""The usage of a run: time, padding, throughput and memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from fusionzoo.training.monitoring import resource_usage
from fusionzoo.training.monitoring.phases import Phases
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputReading
from fusionzoo.training.monitoring.validation_metrics import WeightedMeans
from training_helpers import fit_linear_model, make_job_settings, make_random_split


def test_each_second_belongs_to_the_phase_that_began_last() -> None:
    now = iter([0.0, 1.0, 4.0, 5.0, 9.0, 9.5])
    phases = Phases(lambda: next(now))
    for name in ("prepare", "train", "validate", "train"):
        phases.begin(name)
    assert phases.seconds == {"prepare": 3.0, "train": 1.0 + 0.5, "validate": 4.0}


def test_padding_is_counted_in_the_input_of_the_text_encoder() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.positions = nn.Embedding(9, 2), nn.Embedding(99, 2)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            embedded: torch.Tensor = self.words(tokens) + self.positions(torch.arange(tokens.shape[1]))
            return embedded

    throughput, encoder, data = Throughput(Phases()), Encoder(), make_random_split(5)
    batch = next(iter(load_batches(data)))
    trainer: Any = type("OneBatch", (), {"accumulate_grad_batches": 1})()
    loss: Any = {"loss": torch.tensor(2.0)}
    module: Any = nn.Linear(1, 1)
    with throughput.count_tokens(encoder):
        for _ in range(2):
            throughput.on_train_batch_start(trainer, module, batch, 0)
            for size in ((3, 4), (2, 30)):
                encoder(torch.zeros(size, dtype=torch.long))
            throughput.on_train_batch_end(trainer, module, loss, batch, 0)
    encoder(torch.zeros(2, 3, dtype=torch.long))
    throughput.on_train_batch_end(trainer, module, loss, batch, 0)
    reading = throughput.read()
    assert reading.computed == 3 * (3 * 4 + 2 * 30), "embeddings are not counted after the block"
    assert reading.encoded == 3 * len(data.tokens)
    assert reading.mean_loss == 2.0
    with throughput.count_tokens(encoder, in_one_graph=True):
        throughput.on_train_batch_start(trainer, module, batch, 0)
        encoder(torch.zeros(2, 3, dtype=torch.long))
        throughput.on_train_batch_end(trainer, module, loss, batch, 0)
    assert throughput.read().computed == reading.computed


def load_batches(data: Any) -> Any:
    from fusionzoo.training.datamodule import SplitsDataModule

    return SplitsDataModule(data, data, make_job_settings(batch_size=5)).val_dataloader()


def test_a_reading_counts_each_row_once_and_its_loss_ignores_accumulation() -> None:
    readings = []
    for accumulate in (1, 3):
        throughput = Throughput(Phases())
        settings = make_job_settings(lr=1e-9, batch_size=20, accumulate_grad_batches=accumulate)
        fit_linear_model(settings, make_random_split(70), [1.0, 3.0], epochs=2, throughput=throughput)
        readings.append(throughput.read())
    assert [reading.rows for reading in readings] == [140, 140]
    assert [reading.encoded for reading in readings] == [0, 0], "no text encoder runs"
    assert readings[0].padding is None
    assert readings[0].mean_loss == pytest.approx(readings[1].mean_loss, rel=1e-4)


def test_the_usage_of_several_processes_is_merged() -> None:
    reading = ThroughputReading(rows=60, batches=2, encoded=900, computed=1000, seconds=2.0, waited=0.5)
    run = resource_usage.merge_usage(
        [
            resource_usage.Usage(reading, 10, 7),
            resource_usage.Usage(replace(reading, rows=40, encoded=500, seconds=4.0), 30, None),
        ],
        {"train": 4.0},
    )
    assert (run["processes"], run["rows"], run["tokens"], run["tokens_computed"]) == (2, 100, 1400, 2000)
    assert (run["rows_per_second"], run["tokens_per_second"]) == (25, 350)
    assert run["padding"] == pytest.approx(0.3)
    assert run["waiting_for_data"] == pytest.approx(1 / 6)
    assert (run["peak_memory_bytes"], run["peak_gpu_memory_bytes"]) == (30, 7)


def test_a_run_without_training_has_no_rates() -> None:
    run = resource_usage.merge_usage([resource_usage.Usage(ThroughputReading(), 2**20, None)], {"prepare": 1.0})
    assert [run[name] for name in ("rows_per_second", "tokens_per_second", "padding", "waiting_for_data")] == [None] * 4
    assert list(resource_usage.format_usage(run)) == [
        "Time: prepare 1.0 s; total 1.0 s",
        "Peak memory of a process: 1 MiB",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.7, "60 s"), (61, "1 min 1 s"), (3599.8, "1 h 0 min"), (11520, "3 h 12 min")],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert resource_usage.format_duration(seconds) == text


def test_the_metrics_of_an_architecture_are_means_over_rows_and_a_batch_without_rows_has_none() -> None:
    means = WeightedMeans()
    means.add({"gate": torch.tensor(1.0)}, 30)
    means.add({"gate": torch.tensor(4.0), "load": torch.tensor(2.0)}, 10)
    means.add({"gate": torch.tensor(float("nan"))}, 0)
    assert {name: float(value) for name, value in means.take().items()} == {"gate": 1.75, "load": 2.0}
    assert means.take() == {}
