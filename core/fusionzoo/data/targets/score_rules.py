"""What a job fits on val after the training: how outputs are calibrated. It is saved with the preprocessor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OutputScaling:
    """The calibration of the outputs of a network, before the link: scale * output + bias.

    `scales` and `biases` have one number for all outputs (temperature scaling), or one for each (vector scaling).
    """

    scales: tuple[float, ...]
    biases: tuple[float, ...]

    def apply(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated outputs [rows, outputs] float64."""
        scaled: NDArray[np.float64] = outputs * np.array(self.scales) + np.array(self.biases)
        return scaled


@dataclass(frozen=True)
class ScoreRules:
    """How outputs become scores, beyond what the task says.

    Attributes:
        scaling: None if outputs are not calibrated.
    """

    scaling: OutputScaling | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what `restore_score_rules` needs, as plain values."""
        return {"scaling": None if self.scaling is None else asdict(self.scaling)}


NO_RULES = ScoreRules()


def restore_score_rules(saved: Mapping[str, Any]) -> ScoreRules:
    """Return the rules that `ScoreRules.as_json` describes."""
    scaling = saved["scaling"]
    return ScoreRules(scaling and OutputScaling(tuple(scaling["scales"]), tuple(scaling["biases"])))
