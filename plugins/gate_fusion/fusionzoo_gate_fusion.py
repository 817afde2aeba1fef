"""Gated multimodal unit: a gate per dimension between text and table (Arevalo et al. 2017, arXiv 1702.01992)."""

from __future__ import annotations

import torch
from torch import nn

from fusionzoo import hookimpl
from fusionzoo.nn.heads import ClassifierHead
from fusionzoo.nn.schema import Batch, InputSpec, ModelOutput
from fusionzoo.nn.towers import Towers
from fusionzoo.settings import FusionSettings


class GateFusionSettings(FusionSettings):
    """Settings of `multimodal_gate_fusion`."""

    paper = "Arevalo et al. 2017, arXiv 1702.01992"


class GateFusion(nn.Module):
    """`gate * tanh(text) + (1 - gate) * tanh(table)`, where both sides together make the gate."""

    def __init__(self, spec: InputSpec, settings: GateFusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.towers = Towers(spec, settings, text_encoder)
        width = self.towers.dim
        self.gate = nn.Sequential(nn.Linear(2 * width, width), nn.Sigmoid())
        self.classify = ClassifierHead(width, width, spec.num_classes, settings.dropout)

    def forward(self, batch: Batch) -> ModelOutput:
        text, table = self.towers(batch)
        gate = self.gate(torch.cat([text, table], dim=-1))  # [rows, width]; 1 is text alone
        fused = gate * text.tanh() + (1 - gate) * table.tanh()
        share = gate.detach().float().mean()
        return ModelOutput(self.classify(fused), metrics={"gate_text": share, "gate_table": 1 - share})


@hookimpl
def settings_class() -> type[GateFusionSettings]:
    return GateFusionSettings


@hookimpl
def build_model(spec: InputSpec, settings: GateFusionSettings, text_encoder: nn.Module) -> GateFusion:
    return GateFusion(spec, settings, text_encoder)
