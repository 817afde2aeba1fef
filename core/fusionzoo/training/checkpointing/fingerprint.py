"""The job fingerprint: what determines a training's results. A checkpoint of a job with another one cannot be resumed.

A job fingerprint maps the name of each setting, version, data file and source file to its value or hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import torch

from fusionzoo import __version__
from fusionzoo.architecture import Architecture
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.settings import JobSettings
from fusionzoo.training.precision import PrecisionChoice

# These settings change when and where a job runs, but not its results.
SETTINGS_THAT_DO_NOT_AFFECT_RESULTS = frozenset(
    {
        "cache_limit_gb",
        "checkpoint_every_n_steps",
        "checkpoint_every_n_minutes",
        "devices",
        "init_from",  # its content does: see `fingerprint_source`
        "max_expansion",
        "max_file_gb",
        "max_minutes",
        "max_row_mb",
        "onnx",
        "ship_on_stop",
        "ship_on_stop_seconds",
    }
)
# A finished training is only evaluated and written again with other values.
SETTINGS_APPLIED_AFTER_TRAINING = frozenset(
    {"calibration", "cost_matrix", "decision_threshold", "min_precision", "min_recall"}
)
# A finished or interrupted training may continue with a larger value: each checkpoint holds it next to the fingerprint.
SETTINGS_THAT_MAY_GROW = frozenset({"max_epochs"})
SOURCE_ENTRY = "model of init_from"


def list_settings(architecture: Architecture) -> dict[str, str]:
    """Return every setting of the job as text, by its name. Names of plugins are without their distributions."""
    values = architecture.hyperparameters.as_flat_dict()
    values["model_class"] = architecture.model.name
    if architecture.encoder is not None:
        values["text_encoder"] = architecture.encoder.name
    return {name: repr(value) for name, value in values.items()}


def fingerprint_settings(architecture: Architecture) -> dict[str, str]:
    """Return the part of the fingerprint that is known before the data is read: settings and versions."""
    left_out = SETTINGS_THAT_DO_NOT_AFFECT_RESULTS | SETTINGS_APPLIED_AFTER_TRAINING | SETTINGS_THAT_MAY_GROW
    settings = {name: value for name, value in list_settings(architecture).items() if name not in left_out}
    versions = {
        "fusionzoo": __version__,
        **architecture.versions(),
        "torch": str(torch.__version__),
        "lightning": version("lightning"),
    }
    named_versions = {f"version of {name}": value for name, value in versions.items()}
    return {**settings, **named_versions}


def fingerprint_precision(choice: PrecisionChoice) -> dict[str, str]:
    """Return the part of the fingerprint that says in which precision the job trains."""
    return {"effective precision": choice.precision}


def fingerprint_data(contents: Mapping[str, str], splits: Mapping[str, EncodedSplit]) -> dict[str, str]:
    """Return the number of rows and a hash of the files of each split, and a hash of the tokenizer's files."""
    rows = {name: f"{len(split):,} rows, " for name, split in splits.items()}
    return {f"data of {name}": f"{rows.get(name, '')}{content[:8]}" for name, content in contents.items()}


def fingerprint_source(job: JobSettings, digest: str | None, stored: Mapping[str, str] | None) -> dict[str, str]:
    """Return the part of the fingerprint that says which model the training started from.

    Args:
        job: with `init_from`.
        digest: a hash of the model of `init_from`; None if it is absent, in a job that resumes.
        stored: the fingerprint of the checkpoint that the job resumes from, which then replaces the hash.
    """
    known = digest or (stored or {}).get(SOURCE_ENTRY, "none")
    return {SOURCE_ENTRY: "none" if job.init_from is None else known}


def compare_fingerprints(reference: Mapping[str, str], current: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """Return (reference value or None, current value) for each entry of `current` that differs from `reference`."""
    return {name: (reference.get(name), value) for name, value in current.items() if reference.get(name) != value}
