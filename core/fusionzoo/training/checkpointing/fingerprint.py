"""What makes a training what it is: one that differs in any of it cannot go on from another's checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from fusionzoo import __version__
from fusionzoo.architecture import Architecture
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.hashing import hash_file
from fusionzoo.training.precision import Precision

# Settings that change when and where a job works, and nothing of what comes out.
SETTINGS_THAT_DO_NOT_AFFECT_RESULTS = frozenset(
    {"cache_limit_gb", "checkpoint_every_n_steps", "checkpoint_every_n_minutes", "devices"}
)
EXTERNAL_PACKAGES = ("torch.", "transformers.", "builtins")  # their versions tell them


def fingerprint_settings(architecture: Architecture, precision: Precision) -> dict[str, str]:
    """What is known before any data is read, by name: each setting, and the versions of the code."""
    settings = architecture.hyperparameters.as_flat_dict()
    found = {name: repr(value) for name, value in settings.items() if name not in SETTINGS_THAT_DO_NOT_AFFECT_RESULTS}
    versions = {
        "fusionzoo": __version__,
        **architecture.versions(),
        "torch": str(torch.__version__),
        "lightning": version("lightning"),
    }
    return {**found, **{f"version of {name}": value for name, value in versions.items()}, "arithmetic": precision}


def fingerprint_data(contents: Mapping[str, str], splits: Mapping[str, EncodedSplit]) -> dict[str, str]:
    """What was read: a hash of each split's files, with the number of its rows, and of the tokenizer's."""
    rows = {name: f"{len(split):,} rows, " for name, split in splits.items()}
    return {f"data of {name}": f"{rows.get(name, '')}{content[:8]}" for name, content in contents.items()}


def fingerprint_code(model: nn.Module) -> dict[str, str]:
    """A hash of each file that the model's modules are written in: an author does not count versions up."""
    names = {type(part).__module__ for part in model.modules()}
    files = {
        name: getattr(sys.modules.get(name), "__file__", None)
        for name in names
        if not name.startswith(EXTERNAL_PACKAGES)
    }
    return {f"code of {name}": hash_file(Path(file))[:8] for name, file in sorted(files.items()) if file}


def fingerprint_differences(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """What of `now` was otherwise, or not at all, `then`: the value then, and now."""
    return {name: (then.get(name), value) for name, value in now.items() if then.get(name) != value}
