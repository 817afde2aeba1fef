"""Shared parts of the training-step benchmarks: the work, a bare training loop, and the clock."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from reviews import COLUMNS, THREAD_COLUMNS, minilm
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.architecture import Architecture, BuiltModel, choose_architecture
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.sampling import RowSizes, TrainingOrder
from fusionzoo.nn.inference import get_logits
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import optimizers, precision
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.matrix_rates import measure_matrix_rates

BATCH_SIZE = 32
BERT_BASE = {
    "model_type": "bert",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
WORKS = {"womens_clothing": COLUMNS, "review_threads": {**THREAD_COLUMNS, "max_sen_len": 128}}


def device() -> torch.device:
    """Return the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def get_encoder_name() -> str:
    """Return the name of the encoder for this machine."""
    return "BERT-base, random, bf16" if device().type == "cuda" else "MiniLM"


def make_hyperparameters(name: str, model_class: str) -> dict[str, object]:
    """Return the settings of a job; on a GPU with a random encoder of the size of BERT-base instead of MiniLM."""
    base = {"encoder_config": BERT_BASE, "precision": "bf16"} if device().type == "cuda" else {}
    common = {"model_class": model_class, "tokenizer": minilm(), "batch_size": BATCH_SIZE, "max_epochs": 1}
    return {**WORKS[name], **common, **base}


def find_data_folder() -> Path:
    """Return the folder of the data sets."""
    if not os.environ.get("FUSIONZOO_DATA"):
        raise SystemExit(
            f"FUSIONZOO_DATA is not set.\nFix: set it to the folder that contains {'/ and '.join(WORKS)}/."
        )
    return Path(os.environ["FUSIONZOO_DATA"])


def make_paths(folder: Path) -> Paths:
    """Return the folders of a job, all below `folder`."""
    return Paths(folder, folder / "checkpoints", folder / "cache")


@dataclass(frozen=True)
class Work:
    """A model over the encoder, and its training split."""

    name: str
    architecture: Architecture
    preprocessor: Preprocessor
    train: EncodedSplit

    @classmethod
    def load(cls, name: str, model_class: str) -> Work:
        architecture = choose_architecture(make_hyperparameters(name, model_class))
        settings = architecture.data_settings
        channel = open_channel("train", find_data_folder() / name / "train", settings.columns)
        preprocessor = fit_preprocessor(settings, channel).preprocessor
        return cls(name, architecture, preprocessor, preprocessor.encode(channel, "train"))

    def order(self, grouped: bool) -> TrainingOrder:
        """Return the batches of a job, grouped by length or in random order."""
        return TrainingOrder(RowSizes.of(self.train), BATCH_SIZE, 0, group_by_length=grouped)

    def batch(self, rows: np.ndarray) -> Batch:
        return Batch.from_arrays(self.train.batch(rows))


class BareLoop:
    """Run forward, backward, clipping and the optimizer step only; `forward` is the model by default."""

    def __init__(self, architecture: Architecture, spec: InputSpec) -> None:
        seed_everything(0)
        self.built: BuiltModel = architecture.build(spec, pretrained=True)
        self.model = self.built.model.to(device()).train()
        groups = optimizers.parameter_groups(self.model, self.built.text_encoder, architecture.job, [])
        self._optimizer = optimizers.build_optimizer(groups, architecture.job)
        self._clip = architecture.job.gradient_clip_val
        self._precision = precision.choose_job_precision(architecture.job, self.model).precision

    def step(self, batch: Batch, forward: Callable[[Batch], Tensor] | None = None) -> None:
        batch = batch.to(device(), non_blocking=True)
        mixed, kind = self._precision != "32-true", precision.DTYPES[self._precision]
        with torch.autocast(device().type, kind if mixed else None, enabled=mixed):
            logits = get_logits((forward or self.model)(batch))
        F.cross_entropy(logits.float(), get_labels(batch)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad()


def get_labels(batch: Batch) -> Tensor:
    if batch.labels is None:
        raise ValueError("the batch has no labels")
    return batch.labels


@dataclass
class Clock:
    """Seconds measured until now."""

    seconds: float = 0.0


@contextmanager
def timed(clock: Clock | None = None) -> Iterator[Clock]:
    """Add the seconds of the block to the clock, including the GPU work that the block started."""
    clock = clock or Clock()
    synchronize()
    began = time.perf_counter()
    yield clock
    synchronize()
    clock.seconds += time.perf_counter() - began


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def format_ratio(one: Iterable[float], other: Iterable[float]) -> str:
    """Return the median, minimum and maximum of the ratio over the turns as text."""
    found = [a / b for a, b in zip(one, other, strict=True)]
    return f"ratio {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def describe_machine(model: nn.Module, settings: JobSettings) -> str:
    """Return the threads, the CPU's features or the GPU, and the rates of the model's matrix products in both types."""
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else precision.describe_cpu()
    rates = measure_matrix_rates(model, settings, device())
    return f"{hardware}, {torch.get_num_threads()} threads, torch {torch.__version__}, {rates}"


def say(line: str) -> None:
    print(line, flush=True)
