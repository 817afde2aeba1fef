"""Check before a training that a model scores a row the same in every batch, and when its folder is loaded."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from fusionzoo import errors
from fusionzoo.architecture import BuiltModel
from fusionzoo.artifacts import onnx_export
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.inference import predict_scores
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.training.frozen import probe
from fusionzoo.training.training_run import TrainingRun

CHECKED_ROWS = 4
TOLERANCE = 1e-4  # of a score; rounding is smaller, and what the training makes of it is checked with the model folder
MAX_BYTES = 2**31  # of weights; a larger model is checked with its folder only: its rows take minutes on a CPU


def check_scores(run: TrainingRun) -> None:
    """Score a few rows of train in one batch, alone, and with a model that is built again and gets the same weights.

    Raises:
        errors.PluginContractError: the scores differ, or the model cannot be built again.
        errors.ExportError: the scores differ each time.
    """
    model, rows = run.built.model, _choose_rows(run.data.splits["train"])
    is_large = sum(tensor.nbytes for tensor in model.state_dict().values()) > MAX_BYTES
    with isolate_rng():
        if is_large:
            if _has_word_vectors(run.data.spec):
                rebuild_model(run)
            return
        expected = _score(run, model, rows, len(rows))
        is_finite = not onnx_export.count_nonfinite_rows(expected)  # the export and the end of the job report others
        if is_finite:
            _check_rows_are_independent(run, rows, expected)
        rebuilt = rebuild_model(run)
        if not is_finite:
            return
        difference = run.objective.link.difference(_score(run, rebuilt.model, rows, len(rows)), expected)
        if not difference <= TOLERANCE:
            claim = _find_responsible(run, rows, rebuilt.text_encoder, len(rows))
            found = f"computes scores that differ by {difference:.1e} with the same weights"
            raise errors.PluginContractError.other_after_loading(claim, found)


def _choose_rows(split: EncodedSplit) -> np.ndarray:
    """Return a few rows of different lengths, none longer than the median [rows] int64."""
    by_length = np.argsort(split.row_tokens(), kind="stable")
    rows: np.ndarray = by_length[np.unique(np.linspace(0, len(by_length) // 2, CHECKED_ROWS).astype(int))]
    return rows


def _score(run: TrainingRun, model: nn.Module, rows: np.ndarray, batch_size: int) -> np.ndarray:
    try:
        return predict_scores(model, run.objective.link, run.data.splits["train"], batch_size, rows)
    except Exception as error:
        errors.add_note(error, errors.hook_note(run.architecture.model.claim, "forward"))
        raise


def _check_rows_are_independent(run: TrainingRun, rows: np.ndarray, expected: np.ndarray) -> None:
    model, link = run.built.model, run.objective.link
    difference = link.difference(_score(run, model, rows, 1), expected)
    if difference <= TOLERANCE:
        return
    change = link.difference(_score(run, model, rows, len(rows)), expected)
    if not change <= TOLERANCE:
        raise errors.ExportError.not_deterministic(onnx_export.name_class(model), change)
    claim = _find_responsible(run, rows, run.built.text_encoder, 1)
    raise errors.PluginContractError.mixes_rows(claim, difference)


def _find_responsible(run: TrainingRun, rows: np.ndarray, encoder: nn.Module | None, batch_size: int) -> errors.Claim:
    """Return the claim of the text encoder if its features differ from those of one batch, else that of the model."""
    model, own = run.architecture.model.claim, run.built.text_encoder
    if run.architecture.encoder is None or encoder is None or own is None:
        return model
    expected, actual = _encode(run, own, [rows]), _encode(run, encoder, np.split(rows, len(rows) // batch_size))
    return run.architecture.encoder.claim if probe.features_differ(actual, expected) else model


def _encode(run: TrainingRun, encoder: nn.Module, parts: Sequence[np.ndarray]) -> list[TextFeatures]:
    with torch.no_grad():
        split = run.data.splits["train"]
        return [encoder.eval()(Batch.from_arrays(split.batch(part))) for part in parts]


def rebuild_model(run: TrainingRun) -> BuiltModel:
    """Return the model as it is when its folder is loaded, without word vectors.

    Raises:
        errors.PluginContractError: it cannot be built, or has other tensors.
    """
    spec, weights = run.data.spec, run.built.model.state_dict()
    try:
        return _rebuild(run, spec.without_vectors(), weights)
    except Exception as cause:
        if _has_word_vectors(spec):
            _rebuild(run, spec, weights)  # raises its own error if word vectors are not the reason
            plugin = run.architecture.encoder or run.architecture.model
            raise errors.PluginContractError.needs_word_vectors(plugin.claim, cause) from cause
        raise


def _rebuild(run: TrainingRun, spec: InputSpec, weights: dict[str, Tensor]) -> BuiltModel:
    seed = (run.job.seed + 1) % 2**31  # other random numbers than before, as when the folder is loaded
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    built = run.architecture.build(spec)
    if run.built.adapters:
        built = run.architecture.add_adapters(built)
    try:
        built.model.load_state_dict(weights)
    except RuntimeError as cause:
        claim, found = run.architecture.model.claim, f"cannot load its weights ({errors.describe_exception(cause)})"
        raise errors.PluginContractError.other_after_loading(claim, found) from cause
    return built


def _has_word_vectors(spec: InputSpec) -> bool:
    return spec.text is not None and spec.text.embeddings is not None
