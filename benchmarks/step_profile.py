"""Where the time of a job's training step goes: shares of kinds of work that add up to 1."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from steps import synchronize
from systems import EncodedRows, fit_job
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from workload import StepTimer, Workload

MAX_STEPS = 6  # with the profiler, which stores every operation
ELEMENTWISE, DATA, OVERHEAD = "other elementwise operations and copies", "waiting for data", "Python and the framework"
IDLE = "the GPU idles"
# The kind of an operation, by its name; operations inside another one count as that one if they have no kind.
KINDS: Mapping[str, str] = {
    "embedding tables": r"embedding",
    "attention products": r"attention|bmm|matmul",
    "matrix products of linear layers": r"aten::mm$|addmm|linear",
    "softmax and dropout": r"softmax|dropout|bernoulli",
    "GELU and LayerNorm": r"gelu|layer_?norm",
    "optimizer": r"_fused_(adam|sgd)",
    "gradient norms and clipping": r"_foreach_norm|linalg_vector_norm|_foreach_mul_|clip",
}


class ProfiledSteps(Callback):
    """Profiles the steps after the warm-up. `timer` counts them; `seconds` and `waited` are wall-clock time."""

    def __init__(self, warmup_steps: int) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self.timer, self.profiler, self.waited = StepTimer(warmup_steps), profile(activities=activities), 0.0
        self.seconds, self._is_profiling, self._waited_before, self._began = 0.0, False, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.timer.steps == MAX_STEPS:
            return
        waited: float = trainer.profiler.seconds  # type: ignore[attr-defined]  # `DataWait`
        is_first = not self.timer.is_warm
        self.timer.step_done(batch.rows)
        if is_first and self.timer.is_warm:
            self._waited_before = waited
            self.profiler.start()
            self._is_profiling = True
            self.timer, self._began = StepTimer(warmup_steps=0), time.perf_counter()  # starting it took time
        elif self.timer.steps == MAX_STEPS:
            self.stop(waited)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop(trainer.profiler.seconds)  # type: ignore[attr-defined]

    def stop(self, waited: float) -> None:
        if self._is_profiling:
            synchronize()
            self.seconds = time.perf_counter() - self._began
            self.profiler.stop()
            self._is_profiling, self.waited = False, waited - self._waited_before


def measure_shares(workload: Workload, seconds_per_step: float | None) -> dict[str, float]:
    """Return the share of each kind of work in the time of a job's step; their sum is 1.

    On a GPU, these are the shares of the kernels, and of the time in which it idles.

    Args:
        seconds_per_step: without the profiler, which slows down Python; None to take the profiled seconds.
    """
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        encoded = EncodedRows.load("bert", workload, Path(folder))
        steps = ProfiledSteps(workload.warmup_steps)
        fit_job(encoded, steps)
    events = steps.profiler.events()
    if events is None or not steps.timer.steps:
        raise ValueError("no step was profiled")
    if torch.cuda.is_available():
        total = seconds_per_step * steps.timer.steps if seconds_per_step else steps.seconds
        return complete(sum_kinds(events, "self_device_time_total"), total, IDLE)
    operations = [event for event in events if event.name.startswith("aten::")]
    return complete({**sum_kinds(operations, "self_cpu_time_total"), DATA: steps.waited}, steps.seconds, OVERHEAD)


def sum_kinds(events: Iterable[Any], attribute: str) -> dict[str, float]:
    """Return the seconds of each kind of operation in the events of a profiler."""
    seconds: Counter[str] = Counter()
    for event in events:
        if event.device_type == DeviceType.CPU and not event.is_async:  # each kernel belongs to the CPU's event
            seconds[find_kind(list_names(event))] += getattr(event, attribute) / 1e6
    return dict(seconds)


def list_names(event: Any) -> Iterator[str]:
    """Yield the name of an operation, and those of the operations around it, from inside to outside."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def find_kind(names: Iterable[str]) -> str:
    """Return the kind of an operation from its name and those of the operations around it."""
    for name in names:
        for kind, pattern in KINDS.items():
            if re.search(pattern, name.lower()):
                return kind
    return ELEMENTWISE


def complete(seconds: Mapping[str, float], total: float, rest: str) -> dict[str, float]:
    """Return shares of the total, the largest first, and the share of the rest."""
    total = max(total, sum(seconds.values()))
    shares = {kind: found / total for kind, found in sorted(seconds.items(), key=lambda item: -item[1])}
    return {**shares, rest: 1 - sum(shares.values())}
