"""Every installed fusion starts as the text-only model: the table and the fusion are added to it, from zero."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionzoo.conformance.forward import run_model
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.subject_request import SubjectRequest
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows
from fusionzoo.nn.heads import ResidualHead
from fusionzoo.nn.towers import Towers
from fusionzoo.registry import MODELS_GROUP

FUSIONS = ["multimodal_cnn", "multimodal_cross_attn", "multimodal_gate_fusion", "multimodal_lstm", "multimodal_moe"]
ROWS = 12


def find_towers(model: nn.Module) -> Towers:
    (towers,) = [module for module in model.modules() if isinstance(module, Towers)]
    return towers


@pytest.mark.parametrize("name", FUSIONS)
def test_a_fusion_starts_as_the_text_only_model(name: str) -> None:
    subject = Subject(SubjectRequest(MODELS_GROUP, name))
    model, batch = subject.build().eval(), make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    towers = find_towers(model)
    with torch.no_grad():
        of_text = towers.text_head(batch, towers.text_encoder(batch).pooled)
        logits, _ = run_model(model, batch)
    assert of_text.std(dim=0).min() > 0
    torch.testing.assert_close(logits, of_text, rtol=0, atol=0)


@pytest.mark.parametrize("name", FUSIONS)
def test_one_step_is_enough_for_the_table_and_the_fusion_to_leave_zero(name: str) -> None:
    subject = Subject(SubjectRequest(MODELS_GROUP, name))
    model, batch = subject.build().train(), make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    logits, _ = run_model(model, batch)
    nn.functional.cross_entropy(logits, batch.labels).backward()  # type: ignore[arg-type]
    heads = {key: module for key, module in model.named_modules() if isinstance(module, ResidualHead)}
    reached = [key for key, head in heads.items() if all(bool(p.grad.any()) for p in head[-1].parameters())]
    assert len(heads) >= 2
    assert {key for key in heads if "expert" not in key} <= set(reached)


def test_the_logits_of_a_residual_head_are_zero_and_its_hidden_layer_is_not() -> None:
    head = ResidualHead(5, 7, 3)
    assert torch.equal(head(torch.randn(4, 5)), torch.zeros(4, 3))
    assert bool(head[0].weight.any())
