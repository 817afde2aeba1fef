"""Count rows, tokens, padding, and the time spent waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler
from torch import nn

from fusionzoo.tasks.objective import find_labeled
from fusionzoo.training.monitoring.phases import TRAIN, VALIDATE, Phases

if TYPE_CHECKING:
    from typing_extensions import Self

NEXT_BATCH_ACTION = "[_TrainingEpochLoop].train_dataloader_next"  # Lightning's name in its profilers


@dataclass(frozen=True)
class ThroughputReading:
    """What one process trained so far in this run. The difference of two readings is what it trained in between.

    Padding is counted in the tokens that reach the text encoder's embedding, that is, after the encoder grouped chunks
    of similar length. The token counts stay 0 if no text encoder runs.
    """

    rows: int = 0
    batches: int = 0
    loss: float = 0.0  # sum over the batches
    encoded: int = 0  # real tokens in the input of the text encoder
    computed: int = 0  # tokens that the text encoder computed, including padding; 0 if unknown
    seconds: float = 0.0  # of the training phase, including its checkpoints
    waited: float = 0.0  # the part of `seconds` spent waiting for the next batch

    def __sub__(self, earlier: ThroughputReading) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self)})

    @property
    def rows_per_second(self) -> float:
        """Rows per second of training."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Real tokens per second of training, without padding."""
        return self.encoded / self.seconds if self.seconds else 0.0

    @property
    def padding(self) -> float | None:
        """The share of padding in the computed tokens; None if their number is unknown."""
        return 1 - self.encoded / self.computed if self.computed else None

    @property
    def mean_loss(self) -> float | None:
        """The mean loss of a batch; None before the first batch."""
        return self.loss / self.batches if self.batches else None


class Throughput(Callback):
    """Counts what is trained, and begins the phases of training and validation.

    The sums stay on the device until `read`, so that the CPU does not wait for the GPU in every step. `read` waits for
    the GPU, so that the seconds of a reading include all of its batches.
    """

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self.data_wait = DataWait()
        self._has_text_encoder = False
        self._embedded_tokens: dict[nn.Module, int] = {}  # in the current batch, by embedding
        self._counts, self._loss = torch.zeros(2, dtype=torch.int64), torch.zeros(())  # since the last `read`
        self._total, self._batches, self._computed = ThroughputReading(), 0, 0

    @contextmanager
    def count_tokens(self, text_encoder: nn.Module | None, in_one_graph: bool = False) -> Iterator[None]:
        """Count the tokens that this text encoder computes during the block.

        Args:
            text_encoder: None if no text encoder runs.
            in_one_graph: whether the encoder is part of a compiled graph, where hooks do not run.
        """
        self._has_text_encoder = text_encoder is not None
        with ExitStack() as stack:
            for module in () if text_encoder is None or in_one_graph else text_encoder.modules():
                if isinstance(module, nn.Embedding):
                    stack.callback(module.register_forward_pre_hook(self._count_embedded).remove)
            yield

    def _count_embedded(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if args:
            self._embedded_tokens[module] = self._embedded_tokens.get(module, 0) + args[0].numel()

    def read(self) -> ThroughputReading:
        """Return what this run trained up to now."""
        (rows, encoded), loss = self._counts.tolist(), self._loss.item()
        self._counts, self._loss = torch.zeros_like(self._counts), torch.zeros_like(self._loss)
        self._total = ThroughputReading(
            rows=self._total.rows + rows,
            batches=self._batches,
            loss=self._total.loss + loss,
            encoded=self._total.encoded + encoded,
            computed=self._computed,
            seconds=self._phases.seconds.get(TRAIN, 0.0),
            waited=self.data_wait.seconds,
        )
        return self._total

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._counts, self._loss = self._counts.to(pl_module.device), self._loss.to(pl_module.device)
        self._phases.begin(TRAIN)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._embedded_tokens.clear()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        encoded = batch.token_mask.sum() if self._has_text_encoder else batch.row.new_zeros(())
        self._counts += torch.stack([find_labeled(batch.labels).sum(), encoded])
        self._loss += outputs["loss"] * trainer.accumulate_grad_batches  # Lightning divides the loss by it
        self._batches += 1
        self._computed += max(self._embedded_tokens.values(), default=0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.read()  # the time until the GPU is done belongs to training
        self._phases.begin(VALIDATE)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._phases.begin(TRAIN)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.read()


class ThroughputInterval:
    """Reads a throughput in intervals: each `read` returns what was trained since the one before."""

    def __init__(self, throughput: Throughput) -> None:
        self._throughput, self._last = throughput, ThroughputReading()

    def read(self) -> ThroughputReading:
        """Return what was trained since the last call."""
        reading = self._throughput.read()
        difference, self._last = reading - self._last, reading
        return difference


class DataWait(Profiler):
    """Sums the seconds that training waits for its next batch.

    A GPU may still compute during that time, so this is an upper bound of how long it idles. Lightning's SimpleProfiler
    measures the same, but stores every duration of every action for the whole training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self._started = 0.0, 0.0

    def start(self, action_name: str) -> None:
        if action_name == NEXT_BATCH_ACTION:
            self._started = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name == NEXT_BATCH_ACTION:
            self.seconds += time.perf_counter() - self._started
