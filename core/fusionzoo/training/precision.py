"""Which arithmetic a training uses, chosen by the setting and by what the hardware has."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch

from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
ARITHMETIC: Mapping[Precision, torch.dtype] = MappingProxyType(
    {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
)


def choose(settings: JobSettings, cpu_flags: frozenset[str] | None = None) -> Precision:
    """Lightning's name of the precision. Where the hardware lacks what was asked for, the next best, with a warning."""
    wanted = settings.precision
    if settings.fp16 is not None and wanted == "auto":
        wanted = "fp16" if settings.fp16 else "32"
    gpu = torch.cuda.is_available()
    flags = _cpu_flags() if cpu_flags is None else cpu_flags
    bf16 = torch.cuda.is_bf16_supported() if gpu else bool(flags & {"avx512_bf16", "amx_bf16"})
    if wanted == "32":
        return "32-true"
    if wanted == "fp16" and gpu:
        return "16-mixed"
    chosen: Precision = "bf16-mixed" if bf16 else "32-true"
    if wanted == "fp16" or (wanted == "bf16" and not bf16):
        log.warning("precision %s is not to be had on this machine: training in %s.", wanted, chosen)
    return chosen


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which Lightning runs a model at this precision on this device."""
    mixed = precision != "32-true"
    kind = ARITHMETIC[precision] if mixed else None  # autocast refuses float32, even where it is off
    return torch.autocast(device.type, dtype=kind, enabled=mixed, cache_enabled=False)


def _cpu_flags() -> frozenset[str]:
    """The processor's features as Linux names them; none elsewhere."""
    source = Path("/proc/cpuinfo")
    if not source.exists():
        return frozenset()
    lines = [line for line in source.read_text().splitlines() if line.startswith("flags")]
    return frozenset(lines[0].split()) if lines else frozenset()
