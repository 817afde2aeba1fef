"""Whether a job uses FSDP, and whether its settings and libraries support it."""

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
        "torch": "2.6",  # earlier versions lack torch.distributed.fsdp.fully_shard
        "lightning": "2.4",  # the oldest version that was tested
    }
)


def check_fsdp(settings: JobSettings, installed: Mapping[str, str] | None = None) -> None:
    """Raise errors.SettingError if `strategy: fsdp` does not work with the installed libraries or other settings."""
    if settings.strategy != "fsdp":
        return
    for library, min_version in MIN_VERSIONS.items():
        installed_version = version(library) if installed is None else installed[library]
        if Version(installed_version) < Version(min_version):
            raise errors.library_too_old_for_fsdp(library, installed_version, min_version)
    if settings.torch_compile:
        raise errors.setting_unsupported_by_fsdp("torch_compile", True)
    if settings.precision == "fp16" or settings.fp16:
        raise errors.setting_unsupported_by_fsdp(
            "precision" if settings.precision == "fp16" else "fp16", settings.precision
        )


def uses_fsdp(settings: JobSettings, world: World) -> bool:
    """Return whether the parameters are sharded; with one process there is nothing to shard."""
    return settings.strategy == "fsdp" and world.size > 1
