"""Checks of what a text encoder returns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.conformance.forward import TOLERANCE
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows
from fusionzoo.nn.schema import Batch, TextFeatures

ROWS = 12


def check_encoder_dim(subject: Subject) -> None:
    """A text encoder has an int attribute `dim`, 1 or more, and its features are that wide."""
    encoder = _encoder(subject)
    width = getattr(encoder, "dim", None)
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise ConformanceError(f"`dim` is {width!r}, not the width of the features as an int of 1 or more")
    found = _features(encoder, _batch(subject))
    for name, tensor in (("tokens", found.tokens), ("pooled", found.pooled)):
        if tensor.shape[-1:] != (width,):
            raise ConformanceError(f"`dim` is {width}, but {name} has shape {list(tensor.shape)}")


def check_encoder_features(subject: Subject) -> None:
    """Features are finite: tokens [chunks, length, dim], pooled [rows, dim]; also for one row, and for none."""
    encoder, whole = _encoder(subject), _batch(subject)
    spec = subject.spec
    for batch in (whole, make_batch(spec, make_rows(spec, 1, seed=1)), make_batch(spec, [])):
        found = _features(encoder, batch)
        _check_leading("tokens", found.tokens, (batch.tokens.shape[0],) if not batch.rows else batch.tokens.shape)
        _check_leading("pooled", found.pooled, (batch.rows,))


def _check_leading(name: str, found: Tensor, expected: tuple[int, ...]) -> None:
    dimensions = {"tokens": 3, "pooled": 2}[name]
    if found.ndim != dimensions or tuple(found.shape[: len(expected)]) != expected or not found.is_floating_point():
        raise ConformanceError(
            f"{name} is {found.dtype} of shape {list(found.shape)}, where {[*expected, 'dim']} floats were expected"
        )
    if not bool(found.isfinite().all()):
        raise ConformanceError(f"{name} is not finite")


def check_encoder_mask_and_chunk_row(subject: Subject) -> None:
    """`mask` and `chunk_row` of the features are those of the batch: a fusion finds each token's row by them."""
    batch = _batch(subject)
    found = _features(_encoder(subject), batch)
    for name, given, expected in (
        ("mask", found.mask, batch.token_mask),
        ("chunk_row", found.chunk_row, batch.chunk_row),
    ):
        if not isinstance(given, Tensor) or given.dtype != expected.dtype or not torch.equal(given, expected):
            raise ConformanceError(f"{name} of TextFeatures is not that of the batch: hand it on as it came")


def check_encoder_rows_are_independent(subject: Subject) -> None:
    """The features of a row's tokens are the same alone, in a batch, and with more padding; so is `pooled`."""
    encoder, spec = _encoder(subject), subject.spec
    rows = make_rows(spec, ROWS, seed=2)
    batch = make_batch(spec, rows)
    whole = _features(encoder, batch)
    wider = replace(batch, tokens=F.pad(batch.tokens, (0, 3), value=1), token_mask=F.pad(batch.token_mask, (0, 3)))
    padded = _features(encoder, wider)
    ones = [make_batch(spec, [row]) for row in rows]
    alone = [_features(encoder, one) for one in ones]
    own = [found.tokens[one.token_mask] for found, one in zip(alone, ones, strict=True)]
    for name, found, expected in (
        ("tokens with more padding", padded.tokens[wider.token_mask], whole.tokens[batch.token_mask]),
        ("pooled with more padding", padded.pooled, whole.pooled),
        ("tokens of a row alone", torch.cat(own), whole.tokens[batch.token_mask]),
        ("pooled of a row alone", torch.cat([found.pooled for found in alone]), whole.pooled),
    ):
        if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise ConformanceError(
                f"{name} differs by {float((found - expected).abs().max()):.2g} (allowed {TOLERANCE:.0e}): is there a "
                "norm over the batch, or attention without the mask?"
            )


def _encoder(subject: Subject) -> nn.Module:
    settings = subject.architecture(subject.spec).hyperparameters.encoder
    if settings is None:
        raise ValueError("only a text encoder has features")
    torch.manual_seed(0)
    return subject.plugin.build_text_encoder(subject.spec, settings).eval()


def _batch(subject: Subject) -> Batch:
    return make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))


def _features(encoder: nn.Module, batch: Batch) -> TextFeatures:
    with torch.no_grad():
        found = encoder(batch)
    if not isinstance(found, TextFeatures):
        raise ConformanceError(f"forward returned {type(found).__name__}, not TextFeatures")
    return found
