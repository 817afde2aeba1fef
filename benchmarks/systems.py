"""Compare training steps of a job with a bare loop and with Hugging Face's Trainer on the same real reviews."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from data_sets import DataSet, Size
from reviews import minilm
from steps import (
    BATCH_SIZE,
    BareLoop,
    describe_machine,
    device,
    format_ratio,
    get_encoder_name,
    make_hyperparameters,
    make_paths,
    say,
    synchronize,
    timed,
)
from stopwatch import PluginWithStopwatch, Stopwatch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from fusionzoo.architecture import Architecture, choose_architecture
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training import precision, prepare_data
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.fit import fit
from fusionzoo.training.training_run import TrainingRun

DATA = "womens_clothing"
JOB, BARE, HUGGING_FACE = "job", "bare loop", "Hugging Face"  # the systems
BARE_GOAL, HUGGING_FACE_GOAL = 0.93, 2.5
MATRIX, PRODUCTS = {"cpu": 2048, "cuda": 8192}, 10  # rows of a square matrix, and number of products


@dataclass(frozen=True)
class EncodedRows:
    """The encoded rows of a turn, the architecture, and the folders of the job."""

    architecture: Architecture
    paths: Paths
    data: prepare_data.TrainingData

    @classmethod
    def load(cls, model_class: str, rows: int, folder: Path) -> EncodedRows:
        """Load `rows` rows, plus one batch for the warm-up."""
        architecture, paths = choose_architecture(make_hyperparameters(DATA, model_class)), make_paths(folder)
        DataSet.load(DATA).write(paths, 0, Size(rows + BATCH_SIZE, BATCH_SIZE))
        return cls(architecture, paths, prepare_data.prepare_data(paths, architecture))

    @property
    def train(self) -> EncodedSplit:
        return self.data.splits["train"]

    @property
    def tokens_per_row(self) -> float:
        return len(self.train.tokens) / len(self.train)


# --- the systems: rows per second after one warm-up step


def measure_job(rows: EncodedRows) -> float:
    watch = Stopwatch(warmup_steps=1)
    architecture = replace(rows.architecture, model=PluginWithStopwatch(rows.architecture.model, watch))
    seed_everything(0)
    built = architecture.build(rows.data.spec, pretrained=True)
    chosen = precision.choose_job_precision(architecture.job, built.model)
    fit(TrainingRun(rows.paths, architecture, built, rows.data, chosen))
    return watch.rows_per_second


def measure_bare_loop(rows: EncodedRows) -> float:
    loop = BareLoop(rows.architecture, rows.data.spec)
    splits = SplitsDataModule(rows.train, rows.data.splits["val"], rows.architecture.job)
    first, *batches = splits.train_dataloader()
    loop.step(first)
    with timed() as clock:
        for batch in batches:
            loop.step(batch)
    return sum(batch.rows for batch in batches) / clock.seconds


def measure_hugging_face(rows: EncodedRows) -> float:
    """Measure the Trainer with its defaults: random order, dynamic padding, AdamW, clipping at 1.0, float32 on CPU."""
    seed_everything(0)
    built = rows.architecture.build(rows.data.spec, pretrained=True)
    if built.text_encoder is None:
        raise ValueError("the model has no text encoder")
    model = MeanClassifier(built.text_encoder.backbone, built.text_encoder.dim, rows.data.spec.num_outputs)
    clock = StepClock()
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=BATCH_SIZE,
            num_train_epochs=1,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=device().type == "cuda",
            bf16=device().type == "cuda",
        )
        train = make_row_list(rows.train)
        collator = DataCollatorWithPadding(AutoTokenizer.from_pretrained(minilm()))
        trainer = Trainer(model, arguments, collator, train_dataset=train, callbacks=[clock])  # type: ignore[arg-type]
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return (clock.steps - 1) * BATCH_SIZE / clock.seconds


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
    """Measure the seconds from the end of the first step to the end of the last, including data loading."""

    def __init__(self) -> None:
        self.steps, self.seconds, self._began = 0, 0.0, 0.0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: object
    ) -> None:
        synchronize()
        now = time.perf_counter()
        if not self.steps:
            self._began = now
        self.steps, self.seconds = self.steps + 1, now - self._began


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


def compare(part: str, model_class: str, other: str, goal: float, rows: int, turns: int) -> None:
    """Print rows per second of a job and of another system, and their ratio."""
    speeds: dict[str, list[float]] = {JOB: [], other: []}
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        encoded = EncodedRows.load(model_class, rows, Path(folder))
        for _ in range(turns):
            for side, found in speeds.items():
                found.append(SYSTEMS[side](encoded))
        machine = describe_machine(encoded.architecture.build(encoded.data.spec).model, encoded.architecture.job)
    say(f"{part}, {DATA}, {model_class} over {get_encoder_name()}: rows per second, {turns} turns of {rows} rows")
    say(f"  {machine}")
    for side, found in speeds.items():
        say(f"  {side:14}{statistics.median(found):8.1f}")
    say(f"  {format_ratio(speeds[JOB], speeds[other])}; goal {goal} or more")


def compare_with_bare_loop(rows: int, turns: int) -> None:
    compare("product", "multimodal_bert", BARE, BARE_GOAL, rows, turns)


def compare_with_hugging_face(rows: int, turns: int) -> None:
    compare("huggingface", "bert", HUGGING_FACE, HUGGING_FACE_GOAL, rows, turns)


# --- hardware utilization, each system in separate processes


@dataclass(frozen=True)
class Measurement:
    """Measurements of one system; memory in bytes, rates in floating-point operations per second."""

    precision: str
    tokens_per_second: float
    parameters: int  # of the encoder, without its embeddings
    matrix_rate: float
    memory: int
    gpu_memory: int
    machine: str

    @property
    def utilization(self) -> float:
        """Return 6 x non-embedding parameters x real tokens per second, relative to the rate of a matrix product."""
        return 6 * self.parameters * self.tokens_per_second / self.matrix_rate


def print_utilization(script: Path, rows: int, turns: int) -> None:
    """Print the utilization of each system; `script` is the file that calls `measure_in_child`."""
    measurements: Mapping[str, list[Measurement]] = {side: [] for side in SYSTEMS}
    for _ in range(turns):
        for side, found in measurements.items():
            command = [sys.executable, str(script), "--child", side, "--rows", str(rows)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found.append(Measurement(**json.loads(output.splitlines()[-1])))
    say(f"utilization, {DATA}, bert over {get_encoder_name()}: medians of {turns} processes of {rows} rows each")
    for machine in sorted({u.machine for found in measurements.values() for u in found}):
        say(f"  {machine}")
    say("                  precision   tokens/s   of the matrix rate   peak memory   of the GPU's")
    for side, found in measurements.items():
        tokens, used, memory, of_gpu = (
            statistics.median(values)
            for values in zip(
                *((u.tokens_per_second, u.utilization, u.memory, u.gpu_memory) for u in found), strict=True
            )
        )
        shown = f"{tokens:11,.0f}{used:21.1%}{memory / 2**20:10,.0f} MiB{of_gpu / 2**20:11,.0f} MiB"
        say(f"  {side:14}{found[0].precision:>11}{shown}")
    rates = {u.precision: u.matrix_rate for found in measurements.values() for u in found}
    say(f"  matrix products: {', '.join(f'{kind} {rate / 1e9:,.0f} GFLOP/s' for kind, rate in rates.items())}")


def measure_in_child(side: str, rows: int) -> None:
    """Measure one system in this process and print a `Measurement` as JSON."""
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        encoded = EncodedRows.load("bert", rows, Path(folder))
        rows_per_second = SYSTEMS[side](encoded)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        gpu_memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        built = encoded.architecture.build(encoded.data.spec)
        if built.text_encoder is None:
            raise ValueError("the model has no text encoder")
        chosen = precision.choose_job_precision(encoded.architecture.job, built.model).precision
        if side == HUGGING_FACE:
            chosen = "bf16-mixed" if device().type == "cuda" else "32-true"
        measurement = Measurement(
            chosen,
            rows_per_second * encoded.tokens_per_row,
            count_non_embedding_parameters(built.text_encoder),
            measure_matrix_rate(precision.DTYPES[chosen]),
            memory,
            gpu_memory,
            describe_machine(built.model, encoded.architecture.job),
        )
    say(json.dumps(asdict(measurement)))


def count_non_embedding_parameters(encoder: nn.Module) -> int:
    """Return the number of parameters outside embedding tables."""
    tables = sum(m.weight.numel() for m in encoder.modules() if isinstance(m, nn.Embedding))
    return sum(p.numel() for p in encoder.parameters()) - tables


def measure_matrix_rate(kind: torch.dtype) -> float:
    """Return the floating-point operations per second of the product of two large square matrices."""
    size = MATRIX[device().type]
    one = torch.randn(size, size, device=device()).to(kind)
    one @ one
    with timed() as clock:
        for _ in range(PRODUCTS):
            one @ one
    return 2 * size**3 * PRODUCTS / clock.seconds
