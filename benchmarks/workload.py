"""What the benchmarks of whole training steps train, and the clock of its steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from reviews import minilm
from steps import BERT_BASE

TINY = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
ENCODERS: Mapping[str, dict[str, Any]] = {  # and the settings that they need
    "MiniLM": {},
    "BERT-base, random": {"encoder_config": BERT_BASE, "precision": "bf16"},
    "tiny, random": {"encoder_config": TINY, "max_total_chunks": 1},
}


@dataclass(frozen=True)
class Workload:
    """A data set, an encoder, and the batches of a turn."""

    data: str
    encoder: str
    batch_size: int
    steps: int
    warmup_steps: int

    @classmethod
    def choose(cls, is_tiny: bool) -> Workload:
        """Return BERT-base with large batches on a GPU, MiniLM on a CPU, or a tiny workload."""
        if is_tiny:
            return cls("demo", "tiny, random", 8, 3, 1)
        if torch.cuda.is_available():
            return cls("womens_clothing", "BERT-base, random", 256, 40, 5)
        return cls("womens_clothing", "MiniLM", 32, 6, 1)

    @property
    def rows(self) -> int:
        """The rows of a turn, including the warm-up."""
        return (self.steps + self.warmup_steps) * self.batch_size

    def make_hyperparameters(self, columns: Mapping[str, Any], model_class: str) -> dict[str, Any]:
        """Return the settings of a job of one epoch."""
        common = {"model_class": model_class, "tokenizer": minilm(), "batch_size": self.batch_size, "max_epochs": 1}
        no_validation_between_steps = {"val_check_interval": 1.0}
        return {**columns, **common, **no_validation_between_steps, **ENCODERS[self.encoder]}

    def __str__(self) -> str:
        return f"{self.encoder}, {self.data}, batches of {self.batch_size} rows"


class Mark:
    """A moment in the work of the GPU; without a GPU, the time of the CPU.

    With one thread, it counts CPU time of this process, so that other programs on the machine matter little.
    """

    def __init__(self) -> None:
        if torch.cuda.is_available():
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record()
        else:
            self._seconds = time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()

    def seconds_since(self, earlier: Mark) -> float:
        """Return the seconds between two moments; waits until the GPU has reached this one."""
        if torch.cuda.is_available():
            self._event.synchronize()
            return float(earlier._event.elapsed_time(self._event)) / 1e3
        return self._seconds - earlier._seconds


class StepTimer:
    """Counts the rows and seconds of the steps after the warm-up. Call `step_done` at the end of each step."""

    def __init__(self, warmup_steps: int) -> None:
        self.rows, self.steps = 0, 0
        self._warmup_steps = warmup_steps
        self._first = self._last = Mark()

    def step_done(self, rows: int) -> None:
        if self._warmup_steps:
            self._warmup_steps -= 1
            self._first = self._last = Mark()
        else:
            self.rows, self.steps, self._last = self.rows + rows, self.steps + 1, Mark()

    @property
    def is_warm(self) -> bool:
        return not self._warmup_steps

    @property
    def seconds(self) -> float:
        return self._last.seconds_since(self._first)

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds
