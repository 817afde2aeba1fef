"""Choose the floating-point precision of a training from the setting and the hardware."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch

from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
DTYPES: Mapping[Precision, torch.dtype] = MappingProxyType(
    {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
)
BF16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
MIN_BF16_CAPABILITY = 8  # NVIDIA Ampere; older GPUs only emulate bf16
REQUESTED = "it was requested"


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision of a training under Lightning's name, the requested one, and the reason for the choice."""

    precision: Precision
    requested: str
    reason: str
    is_fallback: bool  # the hardware does not support the requested precision

    def as_metrics(self) -> dict[str, str]:
        """Return the entries of metrics.json that describe the choice."""
        return {
            "precision": self.precision,
            "precision_requested": self.requested,
            "precision_reason": self.reason,
        }


def choose_precision(settings: JobSettings, cpu_flags: frozenset[str] | None = None) -> Precision:
    """Return Lightning's name of the precision to train in, and log why.

    If the hardware does not support the requested precision, the best supported one is chosen, with a warning.
    """
    choice = resolve_precision(settings, cpu_flags)
    if choice.is_fallback:
        log.warning(
            "Precision %s is not supported on this machine (%s). Training in %s.",
            *(choice.requested, choice.reason, choice.precision),
        )
    else:
        log.info("Precision %s (requested: %s): %s", choice.precision, choice.requested, choice.reason)
    return choice.precision


def resolve_precision(settings: JobSettings, cpu_flags: frozenset[str] | None = None) -> PrecisionChoice:
    """Return the choice of `choose_precision` with its reason, and log nothing."""
    requested: str = settings.precision
    if settings.fp16 is not None and requested == "auto":
        requested = "fp16" if settings.fp16 else "32"
    bf16 = has_bf16(cpu_flags)
    if requested == "32":
        return PrecisionChoice("32-true", requested, REQUESTED, is_fallback=False)
    if requested == "fp16" and torch.cuda.is_available():
        return PrecisionChoice("16-mixed", requested, REQUESTED, is_fallback=False)
    best: Precision = "bf16-mixed" if bf16 else "32-true"
    if requested == "bf16" and bf16:
        return PrecisionChoice(best, requested, REQUESTED, is_fallback=False)
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else "this CPU"
    if requested == "auto":
        reason = f"{hardware} supports bf16" if bf16 else f"{hardware} does not support bf16"
        return PrecisionChoice(best, requested, reason, is_fallback=False)
    if requested == "bf16":
        reason = f"{hardware} does not support bf16"
    elif bf16:
        reason = f"{hardware} supports bf16, but not {requested}"
    else:
        reason = f"{hardware} supports neither {requested} nor bf16"
    return PrecisionChoice(best, requested, reason, is_fallback=True)


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


def _read_cpu_flags() -> frozenset[str]:
    """Return the CPU's feature flags on Linux; none on other systems."""
    source = Path("/proc/cpuinfo")
    if not source.exists():
        return frozenset()
    lines = [line for line in source.read_text().splitlines() if line.startswith("flags")]
    return frozenset(lines[0].split()) if lines else frozenset()
