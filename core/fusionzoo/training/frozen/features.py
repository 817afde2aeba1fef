"""A frozen text encoder runs once per row: its features are kept in files, and the rest of the model trains from them.

The encoder stays where it is in the model, and in every checkpoint and artifact; only its forward is another one while
the model trains.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from fusionzoo import __version__, errors
from fusionzoo.atomic_files import free_space
from fusionzoo.data import array_store
from fusionzoo.data.cache import Cache, cache_key
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.hashing import hash_file
from fusionzoo.data.ragged import concatenate_ranges
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.nn.schema import Batch, TextFeatures
from fusionzoo.training import precision
from fusionzoo.training.frozen import probe
from fusionzoo.training.precision import Precision

log = logging.getLogger(__name__)

BLOCK_TOKENS = 2**16  # encoded between two writes
NOTHING = cast(Tensor, None)  # in the place of what the model does not read: if it does after all, it fails there


@dataclass
class FeatureBatch(Batch):
    """A batch whose text is encoded already; fields of the text that the model does not read are None."""

    pooled: Tensor  # [rows, dim]
    features: Tensor  # [chunks, length, dim], zero on padding


@dataclass(frozen=True)
class SplitFeatures:
    """What a frozen encoder made of a split's rows, in the encoder's own precision; bfloat16 has int16's bits."""

    split: EncodedSplit
    pooled: np.ndarray  # [rows, dim]
    tokens: np.ndarray | None  # [all tokens, dim]; None where the model does not read them
    text: bool  # whether a batch needs its tokens all the same

    def attach(self, batch: Batch) -> FeatureBatch:
        """The batch with the features of its rows; without `text`, it has come without tokens."""
        rows = batch.row.numpy()
        given = {**vars(batch), "pooled": _tensor(self.pooled[rows]), "features": NOTHING}
        if not self.text:
            given |= dict.fromkeys(probe.TEXT, NOTHING)
        elif self.tokens is not None:
            mask, (begins, lengths) = batch.token_mask.numpy(), _row_tokens(self.split, rows)
            found = np.zeros((*mask.shape, self.tokens.shape[1]), self.tokens.dtype)
            found[mask] = self.tokens[concatenate_ranges(begins, lengths)]
            given["features"] = _tensor(found)
        return FeatureBatch(**given)


@dataclass(frozen=True)
class EncoderRun:
    """A model with its frozen encoder, and how a training runs them; `max_tokens` goes before `batch_size`."""

    model: nn.Module
    encoder: nn.Module
    precision: Precision
    device: torch.device
    batch_size: int
    max_tokens: int | None


def is_frozen(encoder: nn.Module) -> bool:
    """Whether no parameter of the encoder learns."""
    return not any(parameter.requires_grad for parameter in encoder.parameters())


@contextmanager
def replaced_encoder(encoder: nn.Module | None) -> Iterator[None]:
    """Has the encoder, if there is one, give the features that come with a `FeatureBatch` instead of running."""
    if encoder is None:
        yield
        return
    with probe.replaced_forward(encoder, _given):
        yield


def _given(batch: Batch) -> TextFeatures:
    if not isinstance(batch, FeatureBatch):
        raise TypeError("the model gives its text encoder another batch than it was given, which it did not when tried")
    return TextFeatures(batch.features, batch.token_mask, batch.chunk_row, batch.pooled)


def prepare_features(
    run: EncoderRun, splits: Mapping[str, EncodedSplit], cache: Cache, identity: Mapping[str, Any]
) -> dict[str, SplitFeatures]:
    """The features of each split, from the cache or made now; none, with a warning, where they cannot stand in.

    They are what the encoder makes of the rows in a training step, padding apart. Which of them are kept is found by
    running the model on a few rows of `train`. Where the cache cannot be written, `pooled` is held in memory, and
    features of tokens are not made.

    Args:
        splits: `train` among them; all with text.
        identity: what the encoder's features depend on beside its weights, in plain JSON values.
    """
    train, rows = splits["train"], probe.sample_rows(splits["train"])
    with isolate_rng(), _on(run.device, run.model), torch.no_grad():
        tried = _try_out(run, train, rows)
        if tried is None:
            return {}
        read, example = tried
        with_tokens = "tokens" in read.features
        text = with_tokens or bool((read.batch | read.features) & {*probe.TEXT, "mask"})
        made_by = {**_circumstances(run, identity), "tokens": with_tokens}
        found = {}
        for name, split in splits.items():
            arrays = _fetch(run, name, split, example, cache, made_by)
            if arrays is None:
                return {}
            found[name] = SplitFeatures(split, arrays["pooled"], arrays.get("tokens"), text)
    kept = _tensor(found["train"].pooled[rows])
    if probe.differ(kept, example.pooled.cpu(), precision.DTYPES[run.precision]):
        _warn_encoder_runs_each_epoch(
            f"the features in {cache.folder} are not what it computes now; delete that folder"
        )
        return {}
    return found


def _try_out(run: EncoderRun, split: EncodedSplit, rows: np.ndarray) -> tuple[probe.FieldReads, TextFeatures] | None:
    """What the model reads of these rows, and their features; None, with a warning, where features cannot stand in."""
    together, *alone = (
        Batch.from_arrays(split.batch(some)).to(run.device) for some in (rows, *np.split(rows, len(rows)))
    )
    if (reason := probe.find_obstacle(run.encoder, alone, together)) is None:
        example = _encode(run, together)
        with precision.autocast(run.precision, run.device):
            read = probe.probe_reads(run.model, run.encoder, together, example)
        if read.passes_on:
            return read, example
        reason = probe.MODEL_CHANGES_THE_BATCH
    _warn_encoder_runs_each_epoch(reason)
    return None


def _fetch(
    run: EncoderRun, name: str, split: EncodedSplit, example: TextFeatures, cache: Cache, made_by: Mapping[str, Any]
) -> dict[str, np.ndarray] | None:
    """The arrays of a split; None, with a warning, where there is no place for them."""
    with_tokens = made_by["tokens"]
    sizes = [len(split) * example.pooled[0].nbytes]
    sizes += [len(split.tokens) * example.tokens[0, 0].nbytes] if with_tokens else []
    kinds = " and ".join(["rows", "tokens"][: len(sizes)])
    kind = str((example.tokens if with_tokens else example.pooled).dtype).removeprefix("torch.")

    def build(folder: Path) -> None:
        free = free_space(folder)
        log.info(
            "%s: the frozen text encoder runs once; features of its %s take %s MB on disk, as %s",
            *(name, kinds, f"{sum(sizes) / 2**20:,.1f}", kind),
        )
        if free is not None and free < sum(sizes):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        array_store.write_arrays(folder, _blocks(run, split, with_tokens))

    try:
        return cache.get_or_build(cache_key({**made_by, "split": _content(split)}), build, array_store.read_arrays)
    except errors.CacheError as cause:
        then = "it runs in each epoch" if with_tokens else "they stay in memory, and the next job computes them again"
        log.warning(
            "%s The frozen text encoder's features of '%s' take %s MB: %s. Fix: %s",
            *(cause.message, name, f"{sum(sizes) / 2**20:,.1f}", then, cause.fix),
        )
        if with_tokens:
            return None
    blocks = list(_blocks(run, split, with_tokens))
    return {array: np.concatenate([block[array] for block in blocks]) for array in blocks[0]}


def _circumstances(run: EncoderRun, identity: Mapping[str, Any]) -> dict[str, Any]:
    """All that features depend on but the rows."""
    source = getattr(sys.modules[type(run.encoder).__module__], "__file__", None)
    return {
        "what": "text features",
        "fusionzoo": __version__,
        "libraries": [str(torch.__version__), version("transformers"), np.__version__],
        "run": [run.precision, run.device.type],
        "encoder": dict(identity),
        "source": hash_file(Path(source)) if source else None,  # an author does not count versions up
        "weights": _fingerprint(run.encoder),
    }


def _fingerprint(module: nn.Module) -> str:
    """A hash of all parameters and buffers, with their names."""
    found = hashlib.sha256()
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()], key=lambda named: named[0]):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _content(split: EncodedSplit) -> str:
    """A hash of the text of all rows, in their order."""
    found = hashlib.sha256()
    for array in (split.tokens, split.chunk_starts, split.row_starts):
        found.update(f"{array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


# --- running the encoder


def _encode(run: EncoderRun, batch: Batch) -> TextFeatures:
    with precision.autocast(run.precision, run.device):
        features: TextFeatures = run.encoder(batch)
    return features


def _blocks(run: EncoderRun, split: EncodedSplit, with_tokens: bool) -> Iterator[dict[str, np.ndarray]]:
    """The features of neighbouring rows, some of them at a time; batches within are of similar length."""
    sizes = RowSizes.of(split)
    for rows in _neighbours(split):
        first, _ = _row_tokens(split, rows[:1])
        block: dict[str, np.ndarray] = {}
        for chosen in make_scoring_batches(sizes.take(rows), run.batch_size, run.max_tokens):
            batch = Batch.from_arrays(split.batch(rows[chosen]))
            features = _encode(run, batch.to(run.device))
            _put(block, "pooled", len(rows), chosen, features.pooled)
            if with_tokens:
                begins, lengths = _row_tokens(split, rows[chosen])
                count = int(np.sum(_row_tokens(split, rows)[1]))
                _put(
                    block, "tokens", count, concatenate_ranges(begins - first, lengths), features.tokens[features.mask]
                )
        yield block


def _put(block: dict[str, np.ndarray], name: str, length: int, at: np.ndarray, values: Tensor) -> None:
    array = _array(values)
    if name not in block:
        block[name] = np.empty((length, *array.shape[1:]), array.dtype)
    block[name][at] = array


def _neighbours(split: EncodedSplit) -> list[np.ndarray]:
    """All rows in their order, in blocks that begin where another `BLOCK_TOKENS` tokens have gone by."""
    begins, _ = _row_tokens(split, np.arange(len(split)))
    cuts = np.flatnonzero(np.diff(begins // BLOCK_TOKENS)) + 1
    return np.split(np.arange(len(split)), cuts)


def _row_tokens(split: EncodedSplit, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each row's tokens begin among all tokens, and how many they are, int64."""
    begins = split.chunk_starts[split.row_starts[rows]]
    return begins, split.chunk_starts[split.row_starts[rows + 1]] - begins


def _array(values: Tensor) -> np.ndarray:
    """numpy has no bfloat16: its bits stand in an int16."""
    array: np.ndarray = (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).cpu().numpy()
    return array


def _tensor(array: np.ndarray) -> Tensor:
    values = torch.from_numpy(array)
    return values.view(torch.bfloat16) if array.dtype == np.int16 else values


@contextmanager
def _on(device: torch.device, model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode on another device for a while."""
    home, modes = next(model.parameters()).device, [(part, part.training) for part in model.modules()]
    model.to(device).eval()
    try:
        yield
    finally:
        model.to(home)
        for part, mode in modes:
            part.training = mode


def _warn_encoder_runs_each_epoch(reason: str) -> None:
    log.warning("The frozen text encoder runs in each epoch instead of once, because %s", reason)
