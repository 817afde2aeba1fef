"""Gated multimodal unit: a gate per dimension between text and table (Arevalo et al. 2017, arXiv 1702.01992)."""

from __future__ import annotations

import torch
from torch import nn

from fusionzoo.nn.heads import ResidualHead
from fusionzoo.nn.recipes import Fusion
from fusionzoo.nn.schema import Batch, InputSpec, ModelOutput
from fusionzoo.nn.towers import Towers
from fusionzoo.settings import FusionSettings


class GateFusionSettings(FusionSettings):
    """Settings of `multimodal_gate_fusion`."""

    paper = "Arevalo et al. 2017, arXiv 1702.01992"


class GateFusion(nn.Module):
    """Classify `gate * tanh(text) + (1 - gate) * tanh(table)`, and add the logits of text and table each alone.

    The gate depends on both modalities.
    """

    def __init__(self, spec: InputSpec, settings: GateFusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.towers = Towers(spec, settings, text_encoder)
        width = self.towers.dim
        self.gate = nn.Sequential(nn.Linear(2 * width, width), nn.Sigmoid())
        self.classify = ResidualHead(width, width, spec.num_outputs, settings.dropout)

    def forward(self, batch: Batch) -> ModelOutput:
        text, table, logits = self.towers(batch)
        gate = self.gate(torch.cat([text, table], dim=-1))  # [rows, width]; 1 = text only, 0 = table only
        fused = gate * text.tanh() + (1 - gate) * table.tanh()
        mean_gate = gate.detach().float().mean()
        return ModelOutput(logits + self.classify(fused), metrics={"gate_text": mean_gate, "gate_table": 1 - mean_gate})


plugin = Fusion(GateFusionSettings, GateFusion)
