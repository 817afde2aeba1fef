"""How much is trained in which time: rows, tokens, padding, and waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler
from torch import nn

from fusionzoo.training.monitoring.phases import TRAIN, VALIDATE, Phases

NEXT_BATCH = "[_TrainingEpochLoop].train_dataloader_next"  # as Lightning calls it


@dataclass(frozen=True)
class ThroughputReading:
    """What one process has trained so far in this run; the difference of two is what it has in between.

    Padding is counted where it costs: in the tokens that the text encoder's embedding is given, after an encoder has
    put chunks of similar length together. Tokens stay 0 where no text encoder runs.
    """

    rows: int = 0
    batches: int = 0
    loss: float = 0.0  # the sum of the batches' losses
    encoded: int = 0  # real tokens that the text encoder was given
    computed: int = 0  # tokens that it computed, padding among them; 0 where it shows none
    seconds: float = 0.0  # of the training phase, checkpoints written in it included
    waited: float = 0.0  # seconds of those, in which the next batch was made

    def __sub__(self, earlier: ThroughputReading) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self)})

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Real tokens, padding apart."""
        return self.encoded / self.seconds if self.seconds else 0.0

    @property
    def padding(self) -> float | None:
        """The share of padding in the tokens computed; None where the text encoder computed none, or shows none."""
        return 1 - self.encoded / self.computed if self.computed else None

    @property
    def mean_loss(self) -> float | None:
        return self.loss / self.batches if self.batches else None

    @property
    def waiting(self) -> float:
        """The share of the time that went by while the next batch was made."""
        return self.waited / self.seconds if self.seconds else 0.0


class Throughput(Callback):
    """Counts what is trained, and begins the phases of training and validation.

    Sums stay on the device until somebody reads them: a GPU is not waited for in every step, and a reading waits
    until it has done what was asked of it, so that its seconds are true.
    """

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self.wait = DataWait()
        self._encodes = False
        self._embedded: dict[nn.Module, int] = {}  # tokens that each embedding was given in this step
        self._counts, self._loss = torch.zeros(2, dtype=torch.int64), torch.zeros(())  # not yet read
        self._total, self._batches, self._computed = ThroughputReading(), 0, 0

    @contextmanager
    def watching(self, text_encoder: nn.Module | None, in_one_graph: bool = False) -> Iterator[None]:
        """For a while, sees how many tokens this text encoder computes, if one runs; not within a compiled graph."""
        self._encodes = text_encoder is not None
        with ExitStack() as stack:
            for module in () if text_encoder is None or in_one_graph else text_encoder.modules():
                if isinstance(module, nn.Embedding):
                    stack.callback(module.register_forward_pre_hook(self._see).remove)
            yield

    def _see(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        if given:
            self._embedded[module] = self._embedded.get(module, 0) + given[0].numel()

    def read(self) -> ThroughputReading:
        """All that this run has trained up to now."""
        (rows, encoded), loss = self._counts.tolist(), self._loss.item()
        self._counts, self._loss = torch.zeros_like(self._counts), torch.zeros_like(self._loss)
        total = self._total
        self._total = ThroughputReading(
            total.rows + rows,
            self._batches,
            total.loss + loss,
            total.encoded + encoded,
            self._computed,
            self._phases.seconds.get(TRAIN, 0.0),
            self.wait.seconds,
        )
        return self._total

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._counts, self._loss = self._counts.to(pl_module.device), self._loss.to(pl_module.device)
        self._phases.begin(TRAIN)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._embedded.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        real = batch.token_mask.sum() if self._encodes else batch.row.new_zeros(())
        self._counts += torch.stack([(batch.labels >= 0).sum(), real])
        # Lightning's is a part of the mean over the batches that a step joins
        self._loss += outputs["loss"] * trainer.accumulate_grad_batches
        self._batches += 1
        self._computed += max(self._embedded.values(), default=0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.read()  # the time until a GPU is done belongs to training
        self._phases.begin(VALIDATE)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._phases.begin(TRAIN)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.read()


class DataWait(Profiler):
    """The seconds in which training waits for its next batch.

    On a GPU, which computes meanwhile, that is the most it can have been waiting itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self._since = 0.0, 0.0

    def start(self, action_name: str) -> None:
        if action_name == NEXT_BATCH:
            self._since = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name == NEXT_BATCH:
            self.seconds += time.perf_counter() - self._since
