"""Find the channel of each split: under its name or an alias, and mounted as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.sagemaker.paths import Paths

ALIASES = {"train": ("train", "training"), "val": ("val", "validation", "valid", "eval"), "test": ("test", "testing")}


@dataclass(frozen=True)
class ChannelFolder:
    """The name and folder of a split's channel, and the content type that SageMaker declares for it."""

    name: str
    path: Path
    content_type: str | None
    is_pipe: bool


def find_channel_folders(paths: Paths, problems: ProblemLog) -> dict[str, ChannelFolder]:
    """Return the channel of each split that has one. Two channels for a split, and pipes, are problems."""
    declared = paths.read_channel_configs() or {}
    folders: dict[str, ChannelFolder] = {}
    for split, aliases in ALIASES.items():
        names = [name for name in aliases if name in declared or paths.channel(name).exists() or _is_pipe(paths, name)]
        if len(names) > 1:
            problems.add(errors.several_channels(split, names))
        for name in names[:1]:
            config: Mapping[str, Any] = declared[name] if isinstance(declared.get(name), dict) else {}
            is_pipe = str(config.get("TrainingInputMode")).lower() == "pipe" or _is_pipe(paths, name)
            if is_pipe:
                problems.add(errors.pipe_mode(name, paths.channel(f"{name}_0")))
            folders[split] = ChannelFolder(name, paths.channel(name), config.get("ContentType"), is_pipe)
    return folders


def list_unused_channels(paths: Paths, used: Mapping[str, ChannelFolder]) -> list[str]:
    """Return the names below the folder of all channels that belong to no split."""
    root = paths.channel("train").parent
    known = {"config", *(folder.name for folder in used.values())}
    return sorted(path.name for path in root.iterdir() if path.name not in known) if root.is_dir() else []


def _is_pipe(paths: Paths, name: str) -> bool:
    return paths.channel(f"{name}_0").is_fifo() and not paths.channel(name).exists()
