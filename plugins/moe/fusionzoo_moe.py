"""Sparse mixture of experts over text and table (Shazeer et al. 2017, arXiv 1701.06538; Fedus et al. 2021)."""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo import hookimpl
from fusionzoo.nn.heads import ClassifierHead
from fusionzoo.nn.schema import Batch, InputSpec, ModelOutput
from fusionzoo.nn.towers import Towers
from fusionzoo.settings import FusionSettings

QUIET = -2.0  # of the noise's first bias: softplus makes it a deviation of 0.13
ALONE = ("text", "table")  # the experts that see one modality


class MoeSettings(FusionSettings):
    """Settings of `multimodal_moe`."""

    paper = "Shazeer et al. 2017, arXiv 1701.06538; Fedus et al. 2021, arXiv 2101.03961"

    num_experts: int = Field(4, ge=1, le=256, description="Experts over both modalities, beside one for each alone.")
    top_k: int = Field(2, ge=1, le=258, description="Experts that each row is sent to.")
    load_balance: float = Field(0.05, ge=0, le=10, description="Weight of the penalty on unequal use of the experts.")
    router_noise: bool = Field(True, description="Whether learned noise on the router lets it explore while training.")

    @model_validator(mode="after")
    def _enough_experts(self) -> Self:
        experts = self.num_experts + len(ALONE)
        if self.top_k > experts:
            raise ValueError(f"top_k is {self.top_k}, but there are {experts} experts (num_experts + {len(ALONE)})")
        return self


class Router(nn.Module):
    """Noisy top-k gating: a weight per row and expert, zero but for the k best of each row."""

    def __init__(self, width: int, experts: int, settings: MoeSettings) -> None:
        super().__init__()
        self.top_k = settings.top_k
        self.clean = nn.Linear(width, experts)
        nn.init.zeros_(self.clean.bias)  # which expert is best should depend on the row from the start
        self.noise = nn.Linear(width, experts) if settings.router_noise else None
        if self.noise is not None:
            nn.init.constant_(self.noise.bias, QUIET)

    def forward(self, joint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights; and without the noise, as when scoring, which experts are chosen and their probabilities.

        All three [rows, experts] float32.
        """
        scores: Tensor = self.clean(joint).float()
        probabilities, chosen = scores.softmax(dim=-1), self._best(scores)
        if self.noise is None or not self.training:
            return self._weigh(probabilities, chosen), chosen, probabilities
        noisy = scores + torch.randn_like(scores) * F.softplus(self.noise(joint).float())
        return self._weigh(noisy.softmax(dim=-1), self._best(noisy)), chosen, probabilities

    def _best(self, scores: Tensor) -> Tensor:
        return torch.zeros_like(scores).scatter(-1, scores.topk(self.top_k, dim=-1).indices, 1.0)

    def _weigh(self, probabilities: Tensor, chosen: Tensor) -> Tensor:
        weights = probabilities * chosen
        if self.top_k == 1:  # the probability itself is the weight: otherwise the router could not learn
            return weights
        return weights / weights.sum(dim=-1, keepdim=True)


class MixtureOfExperts(nn.Module):
    """A shared classifier, and experts on both modalities or on one alone, of which a router adds `top_k` for each row.

    What all rows have in common, the shared one learns from all of them (Dai et al. 2024, arXiv 2401.06066). All
    experts are computed and weighted: they are small beside the text encoder, and every parameter then has a gradient
    on every process.
    """

    def __init__(self, spec: InputSpec, settings: MoeSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.towers = Towers(spec, settings, text_encoder)
        width = self.towers.dim
        self.names = [*ALONE, *(f"joint_{i}" for i in range(settings.num_experts))]
        seen = [width] * len(ALONE) + [2 * width] * settings.num_experts
        self.shared = ClassifierHead(2 * width, width, spec.num_classes, settings.dropout)
        experts = [ClassifierHead(w, width, spec.num_classes, settings.dropout) for w in seen]
        for expert in experts:  # what they add begins at zero: late fusion, and then what it leaves open
            for parameter in expert[-1].parameters():
                nn.init.zeros_(parameter)
        self.experts = nn.ModuleList(experts)
        self.router = Router(2 * width, len(self.names), settings)
        self.load_balance = settings.load_balance

    def forward(self, batch: Batch) -> ModelOutput:
        text, table = self.towers(batch)
        joint = torch.cat([text, table], dim=-1)
        weights, chosen, probabilities = self.router(joint)
        seen = [text, table, *[joint] * (len(self.names) - len(ALONE))]
        logits = torch.stack([expert(x) for expert, x in zip(self.experts, seen, strict=True)], dim=1)
        mixed = self.shared(joint) + (weights.unsqueeze(-1) * logits).sum(dim=1)
        load = _mean(chosen)  # [experts], the share of rows that each is given
        metrics = {f"expert_load_{name}": share for name, share in zip(self.names, load.unbind(), strict=True)}
        balance = len(self.names) / self.router.top_k * (load * _mean(probabilities)).sum()  # 1 where all are equal
        return ModelOutput(mixed, {"load_balance": self.load_balance * balance}, metrics)


def _mean(values: Tensor) -> Tensor:
    """The mean over rows [experts]; zero without rows."""
    return values.sum(dim=0) / max(1, values.shape[0])


@hookimpl
def settings_class() -> type[MoeSettings]:
    return MoeSettings


@hookimpl
def build_model(spec: InputSpec, settings: MoeSettings, text_encoder: nn.Module) -> MixtureOfExperts:
    return MixtureOfExperts(spec, settings, text_encoder)
