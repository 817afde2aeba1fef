"""A predictor that needs no trained model: its session computes each row's scores from the row's inputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from data_helpers import fit_frame
from fusionzoo.serving.predictor import Predictor
from shop import shop_rows

FEATURES = ["message", "country", "price", "visits"]
INPUTS = ("tokens", "token_mask", "chunk_row", "categories", "numbers", "numbers_missing")


class SumSession:
    """Stands for an onnxruntime session: two probabilities from a sum over the row. Records the size of each batch."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []  # rows, and tokens with padding

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in INPUTS]

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        rows = len(inputs["numbers"])
        self.batches.append((rows, inputs["tokens"].size))
        position = np.arange(inputs["tokens"].shape[1]) + 1
        of_chunk = (inputs["tokens"] * inputs["token_mask"] * position).sum(axis=1)
        total = np.bincount(inputs["chunk_row"], of_chunk, rows) + 7 * inputs["categories"].sum(axis=1)
        total += inputs["numbers"].astype(np.float64) @ [11, 13] + inputs["numbers_missing"] @ [17, 19]
        yes = 0.5 + 0.5 * np.sin(total)
        return [np.stack([1 - yes, yes], axis=1).astype(np.float32)]


def make_predictor(**settings: Any) -> tuple[Predictor, SumSession]:
    """Return a predictor that was fitted on rows of the shop, with changed settings, and its session."""
    session = SumSession()
    return Predictor(fit_frame(shop_rows(80), **settings), session), session  # type: ignore[arg-type]
