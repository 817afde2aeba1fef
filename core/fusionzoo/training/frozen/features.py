"""Get the features of a frozen text encoder, from the cache or by running it once per row.

The encoder itself stays in the model, in every checkpoint and in every artifact. Only training replaces its forward.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from fusionzoo import __version__, errors
from fusionzoo.atomic_files import free_space
from fusionzoo.data import array_store
from fusionzoo.data.cache import Cache, cache_key
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.schema import Batch, TextFeatures
from fusionzoo.training import precision
from fusionzoo.training.frozen import probe
from fusionzoo.training.frozen.encoder_run import EncoderRun
from fusionzoo.training.frozen.feature_batches import SplitFeatures, to_array, to_tensor

log = logging.getLogger(__name__)


def is_frozen(encoder: nn.Module) -> bool:
    """Return whether no parameter of the encoder is trainable."""
    return not any(parameter.requires_grad for parameter in encoder.parameters())


def prepare_features(
    run: EncoderRun, splits: Mapping[str, EncodedSplit], cache: Cache, identity: Mapping[str, Any]
) -> dict[str, SplitFeatures]:
    """Return the features of each split; warn and return none if the encoder has to run in each epoch.

    The features are those of a training step, without padding. A run on a few rows of `train` decides whether features
    of tokens are needed. If the cache cannot be written, pooled features stay in memory, and features of tokens are not
    computed.

    Args:
        splits: includes `train`; every split has text.
        identity: what the features depend on besides the encoder's weights, as JSON values; with hashes of its code.
    """
    train, rows = splits["train"], probe.sample_rows(splits["train"])
    with isolate_rng(), run.prepare(), torch.no_grad():
        probed = _probe(run, train, rows)
        if probed is None:
            return {}
        with_tokens, sample = probed
        key = {**_make_encoder_key(run, identity), "tokens": with_tokens}
        features = {}
        for name, split in splits.items():
            arrays = _load_or_encode(run, name, split, sample, cache, key)
            if arrays is None:
                return {}
            features[name] = SplitFeatures(split, arrays["pooled"], arrays.get("tokens"))
    stored = to_tensor(features["train"].pooled[rows])
    if probe.differ(stored, sample.pooled.cpu(), precision.DTYPES[run.precision]):
        _warn_encoder_runs_each_epoch(
            f"the features in {cache.folder} are not what it computes now; delete that folder"
        )
        return {}
    return features


def _probe(run: EncoderRun, split: EncodedSplit, rows: np.ndarray) -> tuple[bool, TextFeatures] | None:
    """Return whether the model reads features of tokens, and the features of these rows.

    Return None, with a warning, if stored features cannot replace the encoder.
    """
    batch, *single_rows = (
        Batch.from_arrays(split.batch(part)).to(run.device) for part in (rows, *np.split(rows, len(rows)))
    )
    if (reason := probe.find_obstacle(run.encoder, batch, single_rows)) is None:
        sample = run.encode(batch)
        with precision.autocast(run.precision, run.device):
            reads = probe.probe_model(run.model, run.encoder, batch, sample)
        if reads.passes_batch:
            return reads.reads_tokens, sample
        reason = probe.MODEL_CHANGES_BATCH
    _warn_encoder_runs_each_epoch(reason)
    return None


def _load_or_encode(
    run: EncoderRun, name: str, split: EncodedSplit, sample: TextFeatures, cache: Cache, key: Mapping[str, Any]
) -> dict[str, np.ndarray] | None:
    """Return the features of a split; None, with a warning, if there is no room to store them."""
    with_tokens = key["tokens"]
    size = len(split) * to_array(sample.pooled[0]).nbytes
    if with_tokens:
        size += len(split.tokens) * to_array(sample.tokens[0, 0]).nbytes
    megabytes = f"{size / 2**20:,.1f}"
    dtype = str((sample.tokens if with_tokens else sample.pooled).dtype).removeprefix("torch.")

    def build(folder: Path) -> None:
        log.info(
            "%s: the frozen text encoder runs once; features of its %s take %s MB on disk, as %s",
            *(name, "rows and tokens" if with_tokens else "rows", megabytes, dtype),
        )
        free = free_space(folder)
        if free is not None and free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        array_store.write_arrays(folder, run.encode_blocks(split, with_tokens))

    try:
        return cache.get_or_build(cache_key({**key, "split": _hash_text(split)}), build, array_store.read_arrays)
    except errors.CacheError as error:
        effect = "it runs in each epoch" if with_tokens else "they stay in memory, and the next job computes them again"
        log.warning(
            "%s The frozen text encoder's features of '%s' take %s MB: %s. Fix: %s",
            *(error.message, name, megabytes, effect, error.fix),
        )
        if with_tokens:
            return None
    blocks = list(run.encode_blocks(split, with_tokens))
    return {array: np.concatenate([block[array] for block in blocks]) for array in blocks[0]}


def _make_encoder_key(run: EncoderRun, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that features depend on, except the rows."""
    weights = {**dict(run.encoder.named_parameters()), **dict(run.encoder.named_buffers())}
    return {
        "what": "text features",
        "fusionzoo": __version__,
        "libraries": [str(torch.__version__), version("transformers"), np.__version__],
        "run": [run.precision, run.device.type],
        "encoder": dict(identity),
        "weights": _hash_arrays(
            (f"{name} {tensor.dtype} {tuple(tensor.shape)}", _view_bytes(tensor))
            for name, tensor in sorted(weights.items(), key=itemgetter(0))
        ),
    }


def _view_bytes(tensor: Tensor) -> np.ndarray:
    """Return the content of a tensor of any dtype [bytes] uint8."""
    array: np.ndarray = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return array


def _hash_text(split: EncodedSplit) -> str:
    return _hash_arrays((str(a.dtype), a) for a in (split.tokens, split.chunk_starts, split.row_starts))


def _hash_arrays(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Return a hash of named arrays, in their order."""
    digest = hashlib.sha256()
    for name, array in arrays:
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _warn_encoder_runs_each_epoch(reason: str) -> None:
    log.warning("The frozen text encoder runs in each epoch instead of once, because %s", reason)
