"""A text encoder and a fusion that pass the checks alone also pass together."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from conformance_runs import run_checks, run_one_check
from conftest import Installer
from correct_plugins import BOUNDED, Mutant
from fusionzoo.conformance import CheckResult

pytestmark = pytest.mark.usefixtures("forked_checks")

Change = tuple[str, str]
CHECKS = {
    "check_empty_batch",
    "check_gradients_reach_all_parameters",
    "check_distributed_training",
    "check_state_dict_is_complete",
}
ENCODER_CHECKS = CHECKS | {"check_encoder_features", "check_encoder_tokens_in_a_model"}
MEAN = "pooled = token_mean(tokens, mask, chunk_row, batch.rows)"
DIM = "self.dim = settings.width\n"
POOLING_LAYER: tuple[Change, ...] = (
    ("import token_mean", "import AttentionPooling"),
    (DIM, f"{DIM}        self.attention = AttentionPooling(self.dim)\n"),
    (MEAN, "pooled = self.attention(tokens, mask, chunk_row, batch.rows)"),
)
TOKEN_LAYER: tuple[Change, ...] = (
    (DIM, f"{DIM}        self.last = nn.Linear(self.dim, self.dim)\n"),
    ("TextFeatures(tokens,", "TextFeatures(self.last(tokens),"),
)
FROZEN: tuple[Change, ...] = ((DIM, f"{DIM}        self.requires_grad_(False)\n"),)
FIRST_LINE = "        mask, chunk_row ="
RETURN_EMPTY = "        if not len(batch.tokens):\n            return TextFeatures.empty(batch, self.dim)\n"
EMPTY: tuple[Change, ...] = ((FIRST_LINE, RETURN_EMPTY + FIRST_LINE),)
ENCODERS = {
    "plain": (),
    "layer_before_pooled": POOLING_LAYER,
    "layer_before_tokens": TOKEN_LAYER,
    "layer_before_each": POOLING_LAYER + TOKEN_LAYER,
    "frozen": FROZEN,
    "empty_of_length_1": EMPTY,
}
POOLED = "pooled = token_mean(tokens, mask, chunk_row, rows)"
FUSIONS = {
    "reads_tokens": (),
    "reads_pooled": ((POOLED, "pooled = features.pooled"),),
    "reads_both": ((POOLED, f"{POOLED} + features.pooled"),),
}


def install_encoder(install: Installer, name: str, changes: tuple[Change, ...]) -> None:
    source = Mutant(name, frozenset(), changes, is_encoder=True).source
    install("acme-words", source=source, text_encoders={name: "acme_words:encoder"}, requires=BOUNDED)


def install_fusion(install: Installer, name: str, changes: tuple[Change, ...]) -> None:
    install("acme-fusion", source=Mutant(name, frozenset(), changes).source, models=[name], requires=BOUNDED)


def find_failures(results: Iterable[CheckResult]) -> dict[str, str]:
    return {f"{result.subject}: {result.check}": result.detail for result in results if not result.ok}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_encoder_passes_alone(encoder: str, install: Installer) -> None:
    install_encoder(install, encoder, ENCODERS[encoder])
    assert find_failures(run_checks(encoder, ENCODER_CHECKS)) == {}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_fusion_passes_alone(fusion: str, install: Installer) -> None:
    install_fusion(install, fusion, FUSIONS[fusion])
    assert find_failures(run_checks(fusion, CHECKS)) == {}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_encoder_and_a_fusion_that_pass_alone_pass_together(encoder: str, fusion: str, install: Installer) -> None:
    install_encoder(install, encoder, ENCODERS[encoder])
    install_fusion(install, fusion, FUSIONS[fusion])
    assert find_failures(run_checks(fusion, CHECKS, text_encoder=encoder)) == {}


FAULTS = {
    "a_dead_layer": ("TextFeatures(tokens,", "TextFeatures(tokens + 0.0 * self.dead(tokens),"),
    "an_unused_layer": ("TextFeatures(tokens,", "TextFeatures( tokens,"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_layer_of_an_encoder_that_affects_nothing_is_found(fault: str, install: Installer) -> None:
    layer = (DIM, f"{DIM}        self.dead = nn.Linear(self.dim, self.dim)\n")
    install_encoder(install, "words", (layer, FAULTS[fault]))
    assert run_one_check("words", "check_encoder_tokens_in_a_model").status == "failed"


@pytest.mark.parametrize("reads", ["features.pooled", POOLED.partition(" = ")[2]])
def test_a_fusion_that_does_not_train_its_encoder_is_found(reads: str, install: Installer) -> None:
    install_encoder(install, "words", POOLING_LAYER + TOKEN_LAYER)
    install_fusion(install, "detached", ((POOLED, f"pooled = ({reads}).detach()"),))
    for encoder in (None, "words"):
        check = "check_gradients_reach_all_parameters"
        assert run_one_check("detached", check, text_encoder=encoder).status == "failed"
