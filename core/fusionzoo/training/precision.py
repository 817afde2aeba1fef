"""Choose the floating-point precision of a training from the setting, the hardware, and a measurement of its speed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn

from fusionzoo.settings import JobSettings
from fusionzoo.training.device import find_device
from fusionzoo.training.distributed import collectives
from fusionzoo.training.matrix_rates import MatrixRates, find_main_weight_shape, measure_matrix_rates

log = logging.getLogger(__name__)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
DTYPES: Mapping[Precision, torch.dtype] = MappingProxyType(
    {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
)
BF16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
MATRIX_CPU_FLAGS = BF16_CPU_FLAGS | {"avx2", "avx512f", "amx_tile"}
MIN_BF16_CAPABILITY = 8  # NVIDIA Ampere; older GPUs only emulate bf16
MIN_BF16_SPEEDUP = 1.25  # of matrix products, which are a part of a training step
MIN_CPU_WIDTH = 256  # of matrix products; narrow ones take too small a share of a training step on a CPU
REQUESTED = "it was requested"


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision of a training under Lightning's name, the requested one, and the reason for the choice."""

    precision: Precision
    requested: str
    reason: str
    is_fallback: bool  # the hardware does not support the requested precision
    rates: str | None = None  # what was measured, if a measurement decided

    def as_metrics(self) -> dict[str, str]:
        """Return the entries of metrics.json that describe the choice."""
        return {
            "precision": self.precision,
            "precision_requested": self.requested,
            "precision_reason": self.reason,
        }


def choose_precision(
    settings: JobSettings,
    measure_rates: Callable[[], MatrixRates | None],
    stored: PrecisionChoice | None = None,
    cpu_flags: frozenset[str] | None = None,
) -> PrecisionChoice:
    """Return the precision to train in, the same in all processes for `auto`, and log why. Call it in every process.

    `auto` selects bf16 if the hardware of every process supports it and the first process measures that it is faster
    than float32. If the hardware does not support the requested precision, the best supported one is chosen, with a
    warning.

    Args:
        measure_rates: called in the first process, only if rates decide; None: the model's layers are too narrow.
        stored: the choice in the checkpoint that the job resumes from; it replaces the measurement.
        cpu_flags: the feature flags of the CPU; by default those of this machine.
    """
    choice = _choose(settings, measure_rates, stored, cpu_flags)
    if choice.is_fallback:
        log.warning(
            "Precision %s is not supported on this machine (%s). Training in %s.",
            *(choice.requested, choice.reason, choice.precision),
        )
    else:
        reason = choice.reason if choice.rates is None else f"{choice.reason} ({choice.rates})"
        origin = ", chosen before the checkpoint was written" if choice is stored else ""
        log.info("Precision %s (requested: %s%s): %s", choice.precision, choice.requested, origin, reason)
    return choice


def choose_job_precision(
    settings: JobSettings, model: nn.Module, stored: PrecisionChoice | None = None
) -> PrecisionChoice:
    """Return `choose_precision` with rates that are measured on this machine with the shapes of this model."""
    device = find_device()

    def measure() -> MatrixRates | None:
        if device.type == "cpu" and min(find_main_weight_shape(model)) < MIN_CPU_WIDTH:
            return None
        return measure_matrix_rates(model, settings, device)

    return choose_precision(settings, measure, stored)


def _choose(
    settings: JobSettings,
    measure_rates: Callable[[], MatrixRates | None],
    stored: PrecisionChoice | None,
    cpu_flags: frozenset[str] | None,
) -> PrecisionChoice:
    requested: str = settings.precision
    if settings.fp16 is not None and requested == "auto":
        requested = "fp16" if settings.fp16 else "32"
    if requested == "32" or (requested == "fp16" and torch.cuda.is_available()):
        return PrecisionChoice("32-true" if requested == "32" else "16-mixed", requested, REQUESTED, is_fallback=False)
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else "this CPU"
    bf16 = has_bf16(cpu_flags)
    if requested == "auto":
        if not all(collectives.all_gather(bf16)):
            owner = "the hardware of another process" if bf16 else hardware
            return PrecisionChoice("32-true", requested, f"{owner} does not support bf16", is_fallback=False)
        return stored or collectives.broadcast_from_first(lambda: _choose_faster(measure_rates(), hardware))
    best: Precision = "bf16-mixed" if bf16 else "32-true"
    if requested == "bf16" and bf16:
        return PrecisionChoice(best, requested, REQUESTED, is_fallback=False)
    if requested == "bf16":
        reason = f"{hardware} does not support bf16"
    elif bf16:
        reason = f"{hardware} supports bf16, but not {requested}"
    else:
        reason = f"{hardware} supports neither {requested} nor bf16"
    return PrecisionChoice(best, requested, reason, is_fallback=True)


def _choose_faster(rates: MatrixRates | None, hardware: str) -> PrecisionChoice:
    if rates is None:
        reason = f"most layers of this model are narrower than {MIN_CPU_WIDTH}, too narrow for bf16 on {hardware}"
        return PrecisionChoice("32-true", "auto", reason, is_fallback=False)
    is_faster = rates.bf16 >= MIN_BF16_SPEEDUP * rates.float32
    faster: Precision = "bf16-mixed" if is_faster else "32-true"
    comparison = "faster" if is_faster else "not faster"
    reason = f"bf16 is {comparison} on {hardware}"
    return PrecisionChoice(faster, "auto", reason, is_fallback=False, rates=str(rates))


def has_bf16(cpu_flags: frozenset[str] | None = None) -> bool:
    """Return whether the hardware supports bf16: NVIDIA GPUs since Ampere, AMD GPUs, CPUs with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return torch.version.hip is not None or torch.cuda.get_device_capability()[0] >= MIN_BF16_CAPABILITY
    return bool((_read_cpu_flags() if cpu_flags is None else cpu_flags) & BF16_CPU_FLAGS)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which Lightning runs a model at this precision on this device."""
    is_mixed = precision != "32-true"
    dtype = DTYPES[precision] if is_mixed else None  # autocast rejects float32 even if it is disabled
    return torch.autocast(device.type, dtype=dtype, enabled=is_mixed, cache_enabled=False)


def describe_cpu() -> str:
    """Return which of the features that matter for the speed of matrix products this CPU has, in words."""
    features = sorted(_read_cpu_flags() & MATRIX_CPU_FLAGS)
    return f"CPU with {', '.join(features)}" if features else "CPU without AVX2, AVX-512 and AMX"


def _read_cpu_flags() -> frozenset[str]:
    """Return the CPU's feature flags on Linux; none on other systems."""
    source = Path("/proc/cpuinfo")
    if not source.exists():
        return frozenset()
    lines = [line for line in source.read_text().splitlines() if line.startswith("flags")]
    return frozenset(lines[0].split()) if lines else frozenset()
