"""Which arithmetic a training uses, chosen by the setting and by what the hardware has."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch

from fusionzoo import errors
from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
DTYPES: Mapping[Precision, torch.dtype] = MappingProxyType(
    {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
)
CPU_BF16 = frozenset({"avx512_bf16", "amx_bf16"})
AMPERE = 8  # compute capability of the first NVIDIA GPUs with bf16; older ones only emulate it


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision of a training, by Lightning's name, what was asked for, and why it is this one."""

    precision: Precision
    asked: str
    why: str
    missed: bool  # what was asked for is not to be had

    def told(self) -> dict[str, str]:
        """The choice as metrics.json has it."""
        return {"precision": self.precision, "precision_asked": self.asked, "precision_why": self.why}


def choose_precision(settings: JobSettings, cpu_flags: frozenset[str] | None = None) -> Precision:
    """Lightning's name of the precision. Where the hardware lacks what was asked for, the next best, with a warning."""
    choice = decide_precision(settings, cpu_flags)
    if choice.missed:
        log.warning(errors.precision_missed(choice.asked, choice.why, choice.precision))
    else:
        log.info("Precision %s, where %s was asked for: %s", choice.precision, choice.asked, choice.why)
    return choice.precision


def decide_precision(settings: JobSettings, cpu_flags: frozenset[str] | None = None) -> PrecisionChoice:
    """What `choose` chooses, and why; says nothing."""
    asked: str = settings.precision
    if settings.fp16 is not None and asked == "auto":
        asked = "fp16" if settings.fp16 else "32"
    bf16 = has_bf16(cpu_flags)
    if asked == "32":
        return PrecisionChoice("32-true", asked, errors.PRECISION_ASKED_FOR, missed=False)
    if asked == "fp16" and torch.cuda.is_available():
        return PrecisionChoice("16-mixed", asked, errors.PRECISION_ASKED_FOR, missed=False)
    best: Precision = "bf16-mixed" if bf16 else "32-true"
    if asked == "auto":
        return PrecisionChoice(best, asked, errors.precision_had(_hardware(), bf16), missed=False)
    if asked == "bf16" and bf16:
        return PrecisionChoice(best, asked, errors.PRECISION_ASKED_FOR, missed=False)
    return PrecisionChoice(best, asked, errors.precision_not_had(_hardware(), asked, bf16), missed=True)


def has_bf16(cpu_flags: frozenset[str] | None = None) -> bool:
    """Whether the hardware itself computes in bf16: NVIDIA GPUs from Ampere, AMD's, CPUs with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return torch.version.hip is not None or torch.cuda.get_device_capability()[0] >= AMPERE
    return bool((_cpu_flags() if cpu_flags is None else cpu_flags) & CPU_BF16)


def _hardware() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "this CPU"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which Lightning runs a model at this precision on this device."""
    mixed = precision != "32-true"
    kind = DTYPES[precision] if mixed else None  # autocast refuses float32, even where it is off
    return torch.autocast(device.type, dtype=kind, enabled=mixed, cache_enabled=False)


def _cpu_flags() -> frozenset[str]:
    """The processor's features as Linux names them; none elsewhere."""
    source = Path("/proc/cpuinfo")
    if not source.exists():
        return frozenset()
    lines = [line for line in source.read_text().splitlines() if line.startswith("flags")]
    return frozenset(lines[0].split()) if lines else frozenset()
