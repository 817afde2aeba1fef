"""Score a split with all processes of a job; the result is bit-identical to that of a single process."""

from __future__ import annotations

import numpy as np
from torch import nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.nn.inference import predict_batches
from fusionzoo.settings import JobSettings
from fusionzoo.training.distributed import collectives
from fusionzoo.training.distributed.world import World


def score_split(
    model: nn.Module, link: nn.Module, split: EncodedSplit, settings: JobSettings, world: World
) -> np.ndarray:
    """Return scores [rows, outputs] float32 in every process; each process computes its share of the batches."""
    sizes = RowSizes.of(split)
    batches = make_scoring_batches(sizes, settings.batch_size, settings.max_batch_tokens, world.rank, world.size)
    local_batches = [rows for rows in batches if len(rows)]
    parts = collectives.all_gather_flat(predict_batches(model, link, split, local_batches))
    scores = np.full((len(split), parts[0][1].shape[1]), np.nan, np.float32)
    for rows, batch_scores in parts:
        scores[rows] = batch_scores
    return scores
