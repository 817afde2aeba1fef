"""A split's probabilities from all processes of a job: the same, to the last bit, as from one."""

from __future__ import annotations

import numpy as np
from torch import nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes, scoring_batches
from fusionzoo.nn.inference import predict_batches
from fusionzoo.settings import JobSettings
from fusionzoo.training.distributed import process_group
from fusionzoo.training.distributed.process_group import World


def score_split(model: nn.Module, split: EncodedSplit, settings: JobSettings, world: World) -> np.ndarray:
    """Probabilities [rows, classes] float32, in every process; each of them does its share of the batches."""
    sizes, budget = RowSizes.of(split), settings.max_batch_tokens
    batches = scoring_batches(sizes, settings.batch_size, budget, world.rank, world.size)
    own = [rows for rows in batches if len(rows)]
    parts = [part for parts in process_group.all_gather(list(predict_batches(model, split, own))) for part in parts]
    scores = np.full((len(split), parts[0][1].shape[1]), np.nan, np.float32)
    for rows, values in parts:
        scores[rows] = values
    return scores
