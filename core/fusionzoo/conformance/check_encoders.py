"""Checks of what a text encoder returns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.conformance.check_export import check_onnx_export
from fusionzoo.conformance.check_shapes import check_empty_batch
from fusionzoo.conformance.check_training import check_gradients_reach_all_parameters
from fusionzoo.conformance.forward import TOLERANCE
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import ADDED_PADDING, make_batch, make_rows, make_short_rows
from fusionzoo.nn.schema import Batch, TextFeatures

ROWS = 12


def check_encoder_dim(subject: Subject) -> None:
    """A text encoder has a positive int attribute `dim`, the width of its features."""
    encoder = _build_encoder(subject)
    dim = getattr(encoder, "dim", None)
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
        raise ConformanceError(
            f"`dim` is {dim!r}, not a positive int; fusions size their layers by it. "
            "Fix: set self.dim to the width of the features"
        )
    features = _encode(encoder, _make_batch(subject))
    for name, tensor in (("tokens", features.tokens), ("pooled", features.pooled)):
        if tensor.shape[-1:] != (dim,):
            raise ConformanceError(
                f"`dim` is {dim}, but {name} has shape {list(tensor.shape)}. Fix: make the last dimension equal to dim"
            )


def check_encoder_features(subject: Subject) -> None:
    """Features are finite floats: tokens [chunks, length, dim], pooled [rows, dim]; also for one row and no rows."""
    encoder, full_batch = _build_encoder(subject), _make_batch(subject)
    spec = subject.spec
    for batch in (full_batch, make_batch(spec, make_rows(spec, 1, seed=1)), make_batch(spec, [])):
        features = _encode(encoder, batch)
        leading = tuple(batch.tokens.shape) if batch.rows else (batch.tokens.shape[0],)
        _check_features("tokens", features.tokens, leading)
        _check_features("pooled", features.pooled, (batch.rows,))


def _check_features(name: str, features: Tensor, leading: tuple[int, ...]) -> None:
    dimensions = {"tokens": 3, "pooled": 2}[name]
    has_shape = features.ndim == dimensions and tuple(features.shape[: len(leading)]) == leading
    if not has_shape or not features.is_floating_point():
        raise ConformanceError(
            f"{name} is {features.dtype} of shape {list(features.shape)}, but float of shape {[*leading, 'dim']} was "
            "expected"
        )
    if not bool(features.isfinite().all()):
        raise ConformanceError(f"{name} is not finite. Fix: look for a division by the mask or by zero")


def check_encoder_mask_and_chunk_row(subject: Subject) -> None:
    """`mask` and `chunk_row` of the features equal those of the batch; fusions use them to find each token's row."""
    batch = _make_batch(subject)
    features = _encode(_build_encoder(subject), batch)
    for name, value, expected in (
        ("mask", features.mask, batch.token_mask),
        ("chunk_row", features.chunk_row, batch.chunk_row),
    ):
        if not isinstance(value, Tensor) or value.dtype != expected.dtype or not torch.equal(value, expected):
            source = "token_mask" if name == "mask" else name
            raise ConformanceError(
                f"TextFeatures.{name} differs from batch.{source}, so fusions would mix up tokens. "
                f"Fix: pass batch.{source} on unchanged"
            )


def check_encoder_rows_are_independent(subject: Subject) -> None:
    """The features of a row's tokens, and `pooled`, are the same alone, in a batch, and with more padding."""
    encoder, spec = _build_encoder(subject), subject.spec
    rows = make_short_rows(spec, ROWS, seed=2)
    batch = make_batch(spec, rows)
    expected = _encode(encoder, batch)
    padding = (0, ADDED_PADDING)
    wider = replace(batch, tokens=F.pad(batch.tokens, padding, value=1), token_mask=F.pad(batch.token_mask, padding))
    padded = _encode(encoder, wider)
    single_batches = [make_batch(spec, [row]) for row in rows]
    single = [_encode(encoder, single_batch) for single_batch in single_batches]
    single_tokens = [f.tokens[b.token_mask] for f, b in zip(single, single_batches, strict=True)]
    for name, actual, wanted in (
        ("tokens with more padding", padded.tokens[wider.token_mask], expected.tokens[batch.token_mask]),
        ("pooled with more padding", padded.pooled, expected.pooled),
        ("tokens of a row alone", torch.cat(single_tokens), expected.tokens[batch.token_mask]),
        ("pooled of a row alone", torch.cat([f.pooled for f in single]), expected.pooled),
    ):
        if not torch.allclose(actual, wanted, rtol=TOLERANCE, atol=TOLERANCE):
            raise ConformanceError(
                f"{name} differs by {float((actual - wanted).abs().max()):.2g} (tolerance {TOLERANCE:.0e}) from the "
                "features in a batch. Fix: look for a norm over the batch, or attention without the mask"
            )


def check_encoder_tokens_in_a_model(subject: Subject) -> None:
    """A model that reads only the tokens trains every parameter that affects them, and exports to ONNX."""
    encoder = _build_encoder(subject)
    tokens = _encode(encoder, _make_batch(subject)).tokens
    if tokens.shape[-1:] != (getattr(encoder, "dim", None),) or not bool(tokens.isfinite().all()):
        return  # the checks before this one report it
    classifier = subject.with_token_classifier()
    for check in (check_empty_batch, check_gradients_reach_all_parameters, check_onnx_export):
        try:
            check(classifier)
        except ConformanceError as error:
            raise ConformanceError(f"in a model that reads only the tokens, not `pooled`: {error}") from error


def _build_encoder(subject: Subject) -> nn.Module:
    settings = subject.architecture(subject.spec).hyperparameters.encoder
    if settings is None:
        raise ValueError("the subject has no text encoder")
    torch.manual_seed(0)
    return subject.plugin.build_text_encoder(subject.spec, settings).eval()


def _make_batch(subject: Subject) -> Batch:
    return make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))


def _encode(encoder: nn.Module, batch: Batch) -> TextFeatures:
    with torch.no_grad():
        features = encoder(batch)
    if not isinstance(features, TextFeatures):
        raise ConformanceError(f"forward returned {type(features).__name__}. Fix: return TextFeatures")
    return features
