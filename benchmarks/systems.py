"""Compare training steps of a job with a bare loop and with Hugging Face's Trainer on the same real reviews."""

from __future__ import annotations

import gc
import resource
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from data_sets import DataSet, Size
from lightning.pytorch import Callback, LightningModule, Trainer
from reviews import minilm
from steps import BareLoop, describe_machine, device, format_ratio, make_paths, say
from stopwatch import PluginWithStopwatch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers import Trainer as HuggingFaceTrainer
from workload import Mark, StepTimer, Workload

from fusionzoo.architecture import Architecture, choose_architecture
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training import precision, prepare_data
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.fit import fit
from fusionzoo.training.row_defaults import resolve_job_settings
from fusionzoo.training.training_run import TrainingRun

JOB, BARE, HUGGING_FACE = "job", "bare loop", "Hugging Face"  # the systems
BARE_GOAL = 0.93
HUGGING_FACE_GOALS = {"cpu": 2.5, "cuda": 2.0}
MATRIX, PRODUCTS = {"cpu": 1024, "cuda": 8192}, {"cpu": 1, "cuda": 10}  # rows of a square matrix; products per round
RATE_ROUNDS = 3
RATES: Mapping[str, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class EncodedRows:
    """The encoded rows of a turn, the architecture, and the folders of the job."""

    workload: Workload
    architecture: Architecture
    paths: Paths
    data: prepare_data.TrainingData

    @classmethod
    def load(cls, model_class: str, workload: Workload, folder: Path) -> EncodedRows:
        """Load the rows of a turn, including those of the warm-up."""
        data_set, paths = DataSet.load(workload.data), make_paths(folder)
        architecture = choose_architecture(workload.make_hyperparameters(data_set.columns, model_class))
        data_set.write(paths, 0, Size(workload.rows, workload.batch_size))
        return cls(workload, architecture, paths, prepare_data.prepare_data(paths, architecture))

    @property
    def train(self) -> EncodedSplit:
        return self.data.splits["train"]

    @property
    def tokens_per_row(self) -> float:
        return len(self.train.tokens) / len(self.train)


# --- the systems


@dataclass
class Speed:
    """The speed of a system after its warm-up steps."""

    rows_per_second: float
    waiting_for_data: float | None = None  # share of the time, if it was measured


class TimedSteps(Callback):
    """Measures the steps of a job, and the seconds in which it waits for batches."""

    def __init__(self, timer: StepTimer) -> None:
        self.timer, self.waited = timer, 0.0
        self._waited_before = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.timer.step_done(batch.rows)
        waited = trainer.profiler.seconds  # type: ignore[attr-defined]  # `DataWait`
        if not self.timer.rows:
            self._waited_before = waited
        self.waited = waited - self._waited_before


def measure_job(rows: EncodedRows) -> Speed:
    timer = StepTimer(rows.workload.warmup_steps)
    steps = TimedSteps(timer)
    fit_job(rows, steps)
    return Speed(timer.rows_per_second, steps.waited / timer.seconds)


def fit_job(rows: EncodedRows, callback: Callback) -> None:
    """Train like a job, with one more callback."""
    architecture = replace(rows.architecture, model=PluginWithStopwatch(rows.architecture.model, callback))
    seed_everything(0)
    built = architecture.build(rows.data.spec, pretrained=True)
    chosen = precision.choose_job_precision(architecture.job, built.model)
    job = resolve_job_settings(architecture, rows.data.task, rows.data.splits, architecture.tunes_encoder(built))
    fit(TrainingRun(rows.paths, architecture, job, built, rows.data, chosen))
    gc.collect()  # trainer and model refer to each other


def measure_bare_loop(rows: EncodedRows) -> Speed:
    loop, timer = BareLoop(rows.architecture, rows.data.spec), StepTimer(rows.workload.warmup_steps)
    splits = SplitsDataModule(rows.train, rows.data.splits["val"], rows.architecture.job)
    for batch in list(splits.train_dataloader()):
        loop.step(batch)
        timer.step_done(batch.rows)
    return Speed(timer.rows_per_second)


def measure_hugging_face(rows: EncodedRows) -> Speed:
    """Measure the Trainer with its defaults: random order, dynamic padding, AdamW, clipping at 1.0, float32 on CPU.

    The encoder has the attention implementation that transformers chooses.
    """
    seed_everything(0)
    built = rows.architecture.build(rows.data.spec, pretrained=True)
    if built.text_encoder is None:
        raise ValueError("the model has no text encoder")
    built.text_encoder.backbone._forward_pre_hooks.clear()  # of `create_encoder`, which chooses another attention
    model = MeanClassifier(built.text_encoder.backbone, built.text_encoder.dim, rows.data.spec.num_outputs)
    timer, batch_size = StepTimer(rows.workload.warmup_steps), rows.workload.batch_size
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=batch_size,
            num_train_epochs=1,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=device().type == "cuda",
            bf16=device().type == "cuda",
        )
        train = make_row_list(rows.train)
        collator, callback = (
            DataCollatorWithPadding(AutoTokenizer.from_pretrained(minilm())),
            StepClock(timer, batch_size),
        )
        trainer = HuggingFaceTrainer(model, arguments, collator, train_dataset=train, callbacks=[callback])  # type: ignore[arg-type]
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Speed(timer.rows_per_second)


class MeanClassifier(nn.Module):
    """A linear layer on the mean of an encoder's real tokens."""

    def __init__(self, encoder: nn.Module, dim: int, num_classes: int) -> None:
        super().__init__()
        self.encoder, self.classify = encoder, nn.Linear(dim, num_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        features = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        real = attention_mask.unsqueeze(-1)
        logits = self.classify((features * real).sum(dim=1) / real.sum(dim=1))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class StepClock(TrainerCallback):
    """Counts each step of Hugging Face's Trainer, including its data loading, with a timer."""

    def __init__(self, timer: StepTimer, batch_size: int) -> None:
        self._timer, self._batch_size = timer, batch_size

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: object
    ) -> None:
        self._timer.step_done(self._batch_size)


def make_row_list(split: EncodedSplit) -> list[dict[str, Any]]:
    """Return the tokens and labels of a job as a list of rows."""
    if len(split.chunk_starts) != len(split.row_starts) or split.labels is None:
        raise ValueError("a row has no label or more than one chunk")
    tokens = [split.tokens[a:b].tolist() for a, b in zip(split.chunk_starts[:-1], split.chunk_starts[1:], strict=True)]
    return [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(label)}
        for ids, label in zip(tokens, split.labels, strict=True)
    ]


SYSTEMS = {JOB: measure_job, BARE: measure_bare_loop, HUGGING_FACE: measure_hugging_face}


# --- two systems taking turns


def compare(part: str, model_class: str, other: str, workload: Workload, turns: int) -> None:
    """Print rows per second of a job and of another system, and their ratio."""
    goal = BARE_GOAL if other == BARE else HUGGING_FACE_GOALS[device().type]
    speeds: dict[str, list[float]] = {JOB: [], other: []}
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        encoded = EncodedRows.load(model_class, workload, Path(folder))
        for _ in range(turns):
            for side, found in speeds.items():
                found.append(SYSTEMS[side](encoded).rows_per_second)
        machine = describe_machine(encoded.architecture.build(encoded.data.spec).model, encoded.architecture.job)
    say(f"{part}, {model_class} over {workload}: rows per second, {turns} turns of {workload.steps} steps")
    say(f"  {machine}")
    for side, found in speeds.items():
        say(f"  {side:14}{statistics.median(found):8.1f}")
    say(f"  {format_ratio(speeds[JOB], speeds[other])}; goal {goal} or more")


# --- the use of the hardware


@dataclass(frozen=True)
class Measurement:
    """Measurements of one system; memory in bytes, rates in floating-point operations per second."""

    system: str
    precision: str
    rows_per_second: float
    tokens_per_second: float
    waiting_for_data: float | None
    parameters: int  # of the encoder, without its embeddings
    memory: int
    gpu_memory: int | None
    rates: dict[str, float] = field(default_factory=dict)  # of the product of large matrices, by precision

    @property
    def operations_per_second(self) -> float:
        """Floating-point operations that the real tokens need: 6 per token and parameter outside embedding tables."""
        return 6 * self.parameters * self.tokens_per_second

    @property
    def utilization(self) -> float:
        """Return the operations per second, relative to the faster matrix product, float32 or bf16."""
        return self.operations_per_second / max(self.rates.values())


def measure_system(system: str, workload: Workload) -> Measurement:
    """Measure one system on a text-only model. The peak memory is that of the whole process."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        encoded = EncodedRows.load("bert", workload, Path(folder))
        speed = SYSTEMS[system](encoded)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        gpu_memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        built = encoded.architecture.build(encoded.data.spec)
        if built.text_encoder is None:
            raise ValueError("the model has no text encoder")
        chosen = precision.choose_job_precision(encoded.architecture.job, built.model).precision
    if system == HUGGING_FACE:
        chosen = "bf16-mixed" if device().type == "cuda" else "32-true"
    return Measurement(
        system,
        chosen,
        speed.rows_per_second,
        speed.rows_per_second * encoded.tokens_per_row,
        speed.waiting_for_data,
        count_non_embedding_parameters(built.text_encoder),
        memory,
        gpu_memory,
        measure_rates(),
    )


def count_non_embedding_parameters(encoder: nn.Module) -> int:
    """Return the number of parameters outside embedding tables."""
    tables = sum(m.weight.numel() for m in encoder.modules() if isinstance(m, nn.Embedding))
    return sum(p.numel() for p in encoder.parameters()) - tables


def measure_rates() -> dict[str, float]:
    """Return the floating-point operations per second of the product of two square matrices, by precision.

    The precisions take turns, and the fastest round counts. One that is several times slower gets a single round: a CPU
    without instructions for bf16 needs seconds for a product.
    """
    size = MATRIX[device().type]
    matrices = {name: torch.randn(size, size, device=device()).to(kind) for name, kind in RATES.items()}
    rates = dict.fromkeys(matrices, 0.0)
    for _ in range(RATE_ROUNDS):
        for name, one in matrices.items():
            if 0 < rates[name] < max(rates.values()) / 4:
                continue
            one @ one  # loads the kernel, and raises the clock of the processor
            first = Mark()
            for _ in range(PRODUCTS[device().type]):
                one @ one
            seconds = Mark().seconds_since(first)
            rates[name] = max(rates[name], 2 * size**3 * PRODUCTS[device().type] / seconds)
    return rates
