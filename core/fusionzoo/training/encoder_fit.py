"""Fit the statistics of a text encoder on the training split, in the first process for all."""

from __future__ import annotations

import logging
from typing import Any

from fusionzoo.architecture import Architecture, BuiltModel
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.training.distributed import collectives

log = logging.getLogger(__name__)


def fit_text_encoder(architecture: Architecture, built: BuiltModel, train: EncodedSplit) -> bool:
    """Fit the text encoder on train if its plugin fits statistics; return whether it does.

    Only the first process computes them, and every process gets them.
    """
    encoder = built.text_encoder
    if encoder is None:
        return False

    def fit() -> dict[str, Any] | None:
        return encoder.state_dict() if architecture.fit_text_encoder(built, train) else None

    state = collectives.broadcast_from_first(fit)
    if state is None:
        return False
    encoder.load_state_dict(state)
    log.info("Fitted the text encoder on train")
    return True
