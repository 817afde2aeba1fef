"""What a job fits on val after the training: how outputs are calibrated, and how scores become decisions.

It is saved with the preprocessor.
"""

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
class DecisionRule:
    """How probabilities become decisions, if not as the task does it by default. It has thresholds or costs.

    Attributes:
        thresholds: class 1 of two classes, or each label, is predicted if its probability is greater. Both are compared
            as float32.
        costs: [true class][predicted class]. The class with the lowest expected cost is predicted, computed in float64;
            of equal ones the class with the lower index.
    """

    thresholds: tuple[float, ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()

    @property
    def name(self) -> str:
        """The name of the rule in manifest.json."""
        return "lowest_cost" if self.costs else "thresholds"


@dataclass(frozen=True)
class ScoreRules:
    """How outputs become scores, beyond what the task says.

    Attributes:
        scaling: None if outputs are not calibrated.
        decision: None for the default rule of the task.
    """

    scaling: OutputScaling | None = None
    decision: DecisionRule | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what `restore_score_rules` needs, as plain values."""
        return asdict(self)


NO_RULES = ScoreRules()


def restore_score_rules(saved: Mapping[str, Any]) -> ScoreRules:
    """Return the rules that `ScoreRules.as_json` describes."""
    scaling, decision = saved["scaling"], saved["decision"]
    return ScoreRules(
        None if scaling is None else OutputScaling(tuple(scaling["scales"]), tuple(scaling["biases"])),
        None if decision is None else DecisionRule(tuple(decision["thresholds"]), tuple(map(tuple, decision["costs"]))),
    )
