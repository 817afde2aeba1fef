"""Sparse mixture of experts over text and table (Shazeer et al. 2017, arXiv 1701.06538; Fedus et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.nn.heads import ResidualHead
from fusionzoo.nn.recipes import Fusion
from fusionzoo.nn.schema import Batch, InputSpec, ModelOutput
from fusionzoo.nn.towers import Towers
from fusionzoo.settings import FusionSettings

if TYPE_CHECKING:
    from typing_extensions import Self

INITIAL_ROUTER_STD = 1e-3  # the scores differ by some hundredths, which is less than the noise
INITIAL_NOISE_BIAS = -2.0  # softplus(-2) is a standard deviation of 0.13
SINGLE_MODALITY_EXPERTS = ("text", "table")


class MoeSettings(FusionSettings):
    """Settings of `multimodal_moe`."""

    paper = "Shazeer et al. 2017, arXiv 1701.06538; Fedus et al. 2021, arXiv 2101.03961"

    num_experts: int = Field(
        4, ge=1, le=256, description="Number of experts over both modalities, in addition to one for each modality."
    )
    top_k: int = Field(2, ge=1, le=258, description="Number of experts that each row is routed to.")
    load_balance: float = Field(
        0.05, ge=0, le=10, description="Weight of the load-balancing penalty on unequal use of the experts."
    )
    router_noise: bool = Field(True, description="Add learned noise to the router's scores during training.")

    @model_validator(mode="after")
    def _check_top_k(self) -> Self:
        experts = self.num_experts + len(SINGLE_MODALITY_EXPERTS)
        if self.top_k > experts:
            raise ValueError(
                f"top_k is {self.top_k}, but there are {experts} experts (num_experts + {len(SINGLE_MODALITY_EXPERTS)})"
            )
        return self


class Router(nn.Module):
    """Noisy top-k gating: a weight per row and expert, zero except for the k best experts of each row."""

    def __init__(self, width: int, experts: int, settings: MoeSettings) -> None:
        super().__init__()
        self.top_k = settings.top_k
        self.clean = nn.Linear(width, experts)
        nn.init.zeros_(self.clean.bias)  # so that no expert is preferred from the start
        self.noise = nn.Linear(width, experts) if settings.router_noise else None
        if self.noise is not None:
            nn.init.constant_(self.noise.bias, INITIAL_NOISE_BIAS)
            # Noise chooses first, so that all experts get rows. Zeros would be ties, which runtimes break differently.
            nn.init.normal_(self.clean.weight, std=INITIAL_ROUTER_STD)

    def forward(self, joint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the experts' weights, and the choice and probabilities without noise, as in evaluation mode.

        All three are [rows, experts] float32; the choice is 1 for the top-k experts and 0 for others.
        """
        scores: Tensor = self.clean(joint).float()
        probabilities, choice = scores.softmax(dim=-1), self._top_k_mask(scores)
        if self.noise is None or not self.training:
            return self._weigh(probabilities, choice), choice, probabilities
        noisy = scores + torch.randn_like(scores) * F.softplus(self.noise(joint).float())
        return self._weigh(noisy.softmax(dim=-1), self._top_k_mask(noisy)), choice, probabilities

    def _top_k_mask(self, scores: Tensor) -> Tensor:
        return torch.zeros_like(scores).scatter(-1, scores.topk(self.top_k, dim=-1).indices, 1.0)

    def _weigh(self, probabilities: Tensor, choice: Tensor) -> Tensor:
        weights = probabilities * choice
        if self.top_k == 1:  # normalized, the only weight would always be 1 and the router would get no gradient
            return weights
        return weights / weights.sum(dim=-1, keepdim=True)


class MixtureOfExperts(nn.Module):
    """Late fusion, plus the logits of the `top_k` experts that a router chooses for each row.

    An expert reads both modalities, or one of them. Late fusion is the shared expert: it learns from all rows what they
    have in common (Dai et al. 2024, arXiv 2401.06066). All experts are computed and then weighted: they are small
    compared to the text encoder, and this way every parameter has a gradient on every process.
    """

    def __init__(self, spec: InputSpec, settings: MoeSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.towers = Towers(spec, settings, text_encoder)
        width = self.towers.dim
        self.names = [*SINGLE_MODALITY_EXPERTS, *(f"joint_{i}" for i in range(settings.num_experts))]
        input_widths = [width] * len(SINGLE_MODALITY_EXPERTS) + [2 * width] * settings.num_experts
        self.shared = ResidualHead(2 * width, width, spec.num_outputs, settings.dropout)
        self.experts = nn.ModuleList(ResidualHead(w, width, spec.num_outputs, settings.dropout) for w in input_widths)
        self.router = Router(2 * width, len(self.names), settings)
        self.load_balance = settings.load_balance

    def forward(self, batch: Batch) -> ModelOutput:
        text, table, alone = self.towers(batch)
        joint = torch.cat([text, table], dim=-1)
        weights, choice, probabilities = self.router(joint)
        inputs = [text, table, *[joint] * (len(self.names) - len(SINGLE_MODALITY_EXPERTS))]
        logits = torch.stack([expert(x) for expert, x in zip(self.experts, inputs, strict=True)], dim=1)
        mixed = alone + self.shared(joint) + (weights.unsqueeze(-1) * logits).sum(dim=1)
        load = _mean_over_rows(choice)  # [experts], the share of rows that each expert receives
        metrics = {f"expert_load_{name}": share for name, share in zip(self.names, load.unbind(), strict=True)}
        balance = len(self.names) / self.router.top_k * (load * _mean_over_rows(probabilities)).sum()  # 1 if all equal
        return ModelOutput(mixed, {"load_balance": self.load_balance * balance}, metrics)


def _mean_over_rows(values: Tensor) -> Tensor:
    """Average [rows, experts] to [experts]; zero for an empty batch."""
    return values.sum(dim=0) / max(1, values.shape[0])


plugin = Fusion(MoeSettings, MixtureOfExperts)
