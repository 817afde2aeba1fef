"""Whether a training's model is in parts (FSDP), and whether it can be."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType

from packaging.version import Version

from fusionzoo import errors
from fusionzoo.settings import JobSettings
from fusionzoo.training.distributed.world import World

MIN_VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        "torch": "2.6",  # earlier ones have `fully_shard` elsewhere, and not for every optimiser
        "lightning": "2.4",  # the oldest that was tried
    }
)


def check_fsdp(settings: JobSettings, installed: Mapping[str, str] | None = None) -> None:
    """Raises errors.SettingError where `strategy: fsdp` cannot work with these libraries, or with other settings."""
    if settings.strategy != "fsdp":
        return
    for library, since in MIN_VERSIONS.items():
        found = version(library) if installed is None else installed[library]
        if Version(found) < Version(since):
            raise errors.library_too_old_for_fsdp(library, found, since)
    if settings.torch_compile:
        raise errors.setting_unsupported_by_fsdp("torch_compile", True)
    if settings.precision == "fp16" or settings.fp16:
        raise errors.setting_unsupported_by_fsdp(
            "precision" if settings.precision == "fp16" else "fp16", settings.precision
        )


def uses_fsdp(settings: JobSettings, world: World) -> bool:
    """Whether the training's model is in parts; one process has nothing to share."""
    return settings.strategy == "fsdp" and world.size > 1
