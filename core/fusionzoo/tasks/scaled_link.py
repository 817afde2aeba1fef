"""The link of a calibrated model: the outputs are scaled before they become scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.targets.score_rules import OutputScaling
from fusionzoo.tasks.objective import Link


class ScaledLink(Link):
    """Scale * output + bias, and then the link of the task."""

    scales: Tensor
    biases: Tensor

    def __init__(self, scaling: OutputScaling, link: Link) -> None:
        super().__init__()
        self.link, self.output = link, link.output
        for name, values in (("scales", scaling.scales), ("biases", scaling.biases)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, outputs: Tensor) -> Tensor:
        scores: Tensor = self.link(outputs.float() * self.scales + self.biases)
        return scores

    def difference(self, scores: np.ndarray, expected: np.ndarray) -> float:
        return self.link.difference(scores, expected)
