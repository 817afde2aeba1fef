"""A model that scores a row differently in another batch, or when it is loaded, is refused before it is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from conftest import Installer
from fusionzoo.training import score_checks
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.training_run import TrainingRun
from plugin_helpers import write_fusion
from shop import JobFolder

STEEP = "logits + torch.linspace(-1, 1, logits.shape[1])"
KEPT = "self.scale = 1 + 0.5 * getattr(self, 'scale', 1.0)"
ENCODER = """
from torch import nn
from fusionzoo.nn.pooling import token_mean
from fusionzoo.nn.recipes import Encoder
from fusionzoo.nn.schema import TextFeatures
from fusionzoo.nn.word_embedding import WordEmbedding
from fusionzoo.settings import ModelSettings

class Settings(ModelSettings):
    needs = reads = frozenset({"text"})

class Words(nn.Module):
    def __init__(self, spec, settings):
        super().__init__()
        self.words = WordEmbedding(spec.text, default_dim=8)
        self.dim = self.words.dim

    def forward(self, batch):
        tokens = self.words(batch.tokens, batch.token_mask)
        tokens = tokens - tokens.mean(dim=0, keepdim=True)
        pooled = token_mean(tokens, batch.token_mask, batch.chunk_row, batch.rows)
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, pooled)

encoder = Encoder(Settings, Words)
"""


def fill_job(install: Installer, folder: Path, source: str, **settings: object) -> JobFolder:
    install("acme-odd", source=source, models=["odd"])
    return JobFolder(folder / "ml").fill(model_class="odd", max_epochs=1, **{"onnx": "off", **settings})


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingModule, "training_step", lambda *_: pytest.fail("the training began"))


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    "returned",
    [
        "logits + logits.softmax(dim=0)",
        "logits * logits.std(dim=0)",
        "logits * batch.tokens.shape[1]",
        "logits + (batch.tokens * batch.tokens.new_tensor([[1, -1] * 99])[:, :1]).float().mean() * logits",
    ],
)
def test_scores_that_depend_on_other_rows_or_padding_are_an_error_before_the_training(
    returned: str, install: Installer, tmp_path: Path
) -> None:
    job = fill_job(install, tmp_path, write_fusion(returned))
    assert job.run() == 1
    assert "model_class 'odd' from acme-odd 1.0" in job.failure
    assert "the scores of a row depend on the other rows of its batch, or on padding" in job.failure
    assert "fusionzoo check odd" in job.failure
    assert "[FZ-P074]" in job.failure


@pytest.mark.parametrize("embeddings", ["random", "word2vec"])
def test_the_rows_of_a_large_model_are_scored_after_the_training_only(
    embeddings: str, install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_checks, "MAX_BYTES", 0)
    monkeypatch.setattr(score_checks, "_score", lambda *_: pytest.fail("rows were scored"))
    job = fill_job(install, tmp_path, write_fusion(), embeddings=embeddings)
    assert job.run() == 0, job.failure


@pytest.mark.usefixtures("no_training")
def test_a_text_encoder_that_mixes_rows_is_named_instead_of_the_model(install: Installer, tmp_path: Path) -> None:
    install("acme-words", source=ENCODER, text_encoders={"acme_words": "acme_words:encoder"})
    settings = {"model_class": "multimodal_gate_fusion", "text_encoder": "acme_words", "num_channels": None}
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1, **settings)
    assert job.run() == 1
    assert "text_encoder 'acme_words' from acme-words 1.0" in job.failure
    assert "[FZ-P074]" in job.failure


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    "attribute",
    [
        "module.random = torch.randn(2)",
        "module.register_buffer('random', torch.randn(2), persistent=False)",
        "module.random = torch.from_numpy(__import__('numpy').random.normal(size=2)).float()",
        "module.random = torch.tensor([__import__('random').random(), 0.0])",
    ],
)
def test_a_random_tensor_outside_of_the_state_dict_is_an_error_before_the_training(
    attribute: str, install: Installer, tmp_path: Path
) -> None:
    source = write_fusion("logits + self.random").replace(
        "    return Fusion(spec, settings, text_encoder)",
        f"    module = Fusion(spec, settings, text_encoder)\n    {attribute}\n    return module",
    )
    job = fill_job(install, tmp_path, source, embeddings="random")
    assert job.run() == 1
    assert "built again from the same settings, as when its folder is loaded, the model computes scores" in job.failure
    assert "register_buffer" in job.failure
    assert "[FZ-P075]" in job.failure


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("returned", "before"),
    [("logits + torch.rand_like(logits)", "pass"), (f"({STEEP}) * self.scale", KEPT)],
    ids=["noise", "kept"],
)
def test_scores_that_change_each_time_are_an_error_before_the_training(
    returned: str, before: str, install: Installer, tmp_path: Path
) -> None:
    job = fill_job(install, tmp_path, write_fusion(returned, before=before))
    assert job.run() == 1
    assert "scores the same rows differently each time" in job.failure
    assert "keep nothing of earlier batches" in job.failure


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("value", ["{'steps': 1}", "3", "None"])
def test_a_value_of_the_state_dict_that_is_no_tensor_is_an_error_before_the_training(
    value: str, install: Installer, tmp_path: Path
) -> None:
    source = write_fusion().replace(
        "    def forward(self, batch):",
        f"    def get_extra_state(self):\n        return {value}\n\n"
        "    def set_extra_state(self, state):\n        pass\n\n    def forward(self, batch):",
    )
    job = fill_job(install, tmp_path, source)
    assert job.run() == 1
    assert "has values that are not tensors, which a model folder cannot store: _extra_state" in job.failure
    assert "[FZ-P076]" in job.failure


def test_a_trained_model_that_mixes_rows_is_not_blamed_on_its_state(install: Installer, tmp_path: Path) -> None:
    """The classifier of a fusion starts at zero: what it does with other rows is visible after the training only."""
    source = write_fusion("logits + 99 * (logits - logits.detach().mean(dim=0)) * self.gate").replace(
        "    return Fusion(spec, settings, text_encoder)",
        "    module = Fusion(spec, settings, text_encoder)\n"
        "    module.gate = torch.nn.Parameter(torch.zeros(()))\n    return module",
    )
    job = fill_job(install, tmp_path, source, lr=0.01, batch_size=512)  # val is one batch
    assert job.run() == 1
    assert "the scores of a row depend on the other rows of its batch" in job.failure
    assert "state_dict" not in job.failure
    assert not (job.root / "model/model.pth").exists()


def test_a_forward_that_overwrites_labels_does_not_change_the_training(install: Installer, tmp_path: Path) -> None:
    before = "batch.labels is None or self.keeps_labels or batch.labels.zero_()"
    source = (
        write_fusion(before=before)
        .replace("import torch\n", "import os\nimport torch\n")
        .replace("self.keeps_labels", "'KEEP_LABELS' in os.environ")
    )
    job, metrics = fill_job(install, tmp_path, source), []
    for name in ("KEEP_LABELS", "OTHER"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, "1")
            job.settings(model_class="odd", max_epochs=1)
            assert job.run() == 0, job.failure
        metrics.append(json.loads((job.root / "output/data/metrics.json").read_text())["splits"]["val"])
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize("max_bytes", [0, score_checks.MAX_BYTES])
def test_the_checks_of_scores_draw_no_random_number_of_the_training(
    max_bytes: int, install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_checks, "MAX_BYTES", max_bytes)
    job, states, check = fill_job(install, tmp_path, write_fusion()), [], score_checks.check_scores

    def record_states(run: TrainingRun) -> None:
        states.append(torch.get_rng_state())
        check(run)
        states.append(torch.get_rng_state())
        assert run.built.model.training

    monkeypatch.setattr(score_checks, "check_scores", record_states)
    assert job.run() == 0, job.failure
    assert torch.equal(*states)
