"""What the measurements of training steps share: the work, a bare loop over it, and the clock."""

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
from reviews import COLUMNS, minilm
from torch import Tensor
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
from fusionzoo.training import optimizers, precision
from fusionzoo.training.checkpointing.resume_point import seed_everything

BATCH_SIZE = 32
BERT_BASE = {
    "model_type": "bert",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
WORKS = {
    "womens_clothing": COLUMNS,
    "review_threads": {
        "id_name": "id",
        "text_name": "thread",
        "label_name": "unhappy",
        "cat_field_list": ["division", "department"],
        "tab_field_list": ["n_reviews", "mean_age", "feedback"],
        "num_classes": 2,
        "max_sen_len": 128,
        "max_total_chunks": 10,
    },
}


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def encoder_name() -> str:
    """Which encoder this machine is measured with."""
    return "BERT-base, random, bf16" if device().type == "cuda" else "MiniLM"


def hyperparameters(name: str, model_class: str) -> dict[str, object]:
    """A job's settings; on a GPU, a random encoder of BERT-base's size in the place of MiniLM."""
    base = {"encoder_config": BERT_BASE, "precision": "bf16"} if device().type == "cuda" else {}
    common = {"model_class": model_class, "tokenizer": minilm(), "batch_size": BATCH_SIZE, "max_epochs": 1}
    return {**WORKS[name], **common, **base}


def data_folder() -> Path:
    """Where the data sets are."""
    if not os.environ.get("FUSIONZOO_DATA"):
        raise SystemExit(f"FUSIONZOO_DATA is not set.\nFix: let it name the folder of {'/ and '.join(WORKS)}/.")
    return Path(os.environ["FUSIONZOO_DATA"])


def paths_in(folder: Path) -> Paths:
    """A job's folders, all below this one."""
    return Paths(folder, folder / "checkpoints", folder / "cache")


@dataclass(frozen=True)
class Work:
    """A model over the encoder, and the training split that it is fed."""

    name: str
    architecture: Architecture
    preprocessor: Preprocessor
    train: EncodedSplit

    @classmethod
    def load(cls, name: str, model_class: str) -> Work:
        architecture = choose_architecture(hyperparameters(name, model_class))
        settings = architecture.data_settings
        channel = open_channel("train", data_folder() / name / "train", settings.columns)
        preprocessor = fit_preprocessor(settings, channel).preprocessor
        return cls(name, architecture, preprocessor, preprocessor.encode(channel, "train"))

    def order(self, grouped: bool) -> TrainingOrder:
        """The batches of a job, with rows grouped by length or at random."""
        return TrainingOrder(RowSizes.of(self.train), BATCH_SIZE, 0, group_by_length=grouped)

    def batch(self, rows: np.ndarray) -> Batch:
        return Batch.from_arrays(self.train.batch(rows))


class BareLoop:
    """Forward, backward, clip, step, and nothing else; `forward` is the model unless another is given."""

    def __init__(self, architecture: Architecture, spec: InputSpec) -> None:
        seed_everything(0)
        self.built: BuiltModel = architecture.build(spec, pretrained=True)
        self.model = self.built.model.to(device()).train()
        groups = optimizers.parameter_groups(self.model, self.built.text_encoder, architecture.job, [])
        self._optimizer = optimizers.build_optimizer(groups, architecture.job)
        self._clip = architecture.job.gradient_clip_val
        self._precision = precision.choose_precision(architecture.job)

    def step(self, batch: Batch, forward: Callable[[Batch], Tensor] | None = None) -> None:
        batch = batch.to(device(), non_blocking=True)
        mixed, kind = self._precision != "32-true", precision.DTYPES[self._precision]
        with torch.autocast(device().type, kind if mixed else None, enabled=mixed):
            logits = get_logits((forward or self.model)(batch))
        F.cross_entropy(logits.float(), labels_of(batch)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad()


def labels_of(batch: Batch) -> Tensor:
    if batch.labels is None:
        raise ValueError("training rows have labels")
    return batch.labels


@dataclass
class Clock:
    """Seconds so far."""

    seconds: float = 0.0


@contextmanager
def timed(clock: Clock | None = None) -> Iterator[Clock]:
    """Adds the seconds of the block to the clock, until a GPU has done what the block asked of it."""
    clock = clock or Clock()
    synchronise()
    began = time.perf_counter()
    yield clock
    synchronise()
    clock.seconds += time.perf_counter() - began


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(one: Iterable[float], other: Iterable[float]) -> str:
    """The median of the turns' ratios, and the outermost."""
    found = [a / b for a, b in zip(one, other, strict=True)]
    return f"ratio {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def say(line: str) -> None:
    print(line, flush=True)
