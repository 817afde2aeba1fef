"""The wide path of n-grams next to a text encoder, and the modules that core fits on train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from frozen_helpers import PreparedJob, prepare_job
from fusionzoo.conformance.forward import run_model
from fusionzoo.conformance.reference_encoder import ReferenceEncoder, ReferenceSettings
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.subject_request import SubjectRequest
from fusionzoo.conformance.synthetic_rows import encode_rows, make_batch, make_rows, make_spec
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.nn import ngram_scores, score_weights
from fusionzoo.nn.fitted_module import list_fitted_modules
from fusionzoo.nn.ngram_scores import NgramScores, make_targets, solve, solve_all
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.score_weights import fit_score_weights, invert_deviation, make_mixtures
from fusionzoo.nn.text_head import TextHead, WidePath
from fusionzoo.registry import MODELS_GROUP
from fusionzoo.settings import TextSettings
from fusionzoo.training import job
from fusionzoo.training.fitting import fit_modules
from fusionzoo.training.warm_start.source_model import SourceModel
from shop import JobFolder, made_split

SPEC = make_spec({"text"})
MODELS = ["cnn", "multimodal_cnn", "multimodal_cross_attn", "multimodal_gate_fusion", "multimodal_moe"]


def make_train(spec: InputSpec = SPEC, rows: int = 200) -> EncodedSplit:
    """Return rows whose label says whether they have token 5."""
    split = encode_rows(spec, make_rows(spec, rows, seed=3))
    has_token = [np.any(split.batch(np.array([row]))["tokens"] == 5) for row in range(rows)]
    return replace(split, labels=np.array(has_token, np.int64))


def as_batch(split: EncodedSplit) -> Batch:
    return Batch.from_arrays(split.batch(np.arange(len(split))))


@pytest.mark.parametrize("outputs", [1, 2, 5, 16, 40])
def test_wide_logits_are_scores_with_the_fitted_weights_and_biases(outputs: int) -> None:
    spec, train = replace(SPEC, num_outputs=outputs), make_train()
    if outputs == 1:
        assert train.labels is not None
        train = replace(train, labels=train.labels[:, None].astype(np.float32))
    wide, batch = WidePath(spec, 1000).eval(), as_batch(train)
    assert not wide(batch).any()
    wide.scores.fit(train)
    scores = wide.scores(batch)
    expected = scores @ wide.scores.weights.T + wide.scores.biases
    assert scores.any()
    assert wide.scores.biases.any() == (outputs > 2)
    torch.testing.assert_close(wide(batch), expected)


@pytest.mark.parametrize("shares", [[6, 6], [10, 2]], ids=["balanced", "biases are fitted"])
def test_a_train_without_words_in_common_is_a_warning_about_the_setting_and_not_about_a_module(
    shares: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    starts = np.arange(13)
    train = made_split(starts, starts, tokens=np.arange(2, 14, dtype=np.int32), labels=np.repeat([0, 1], shares))
    fit_modules(nn.ModuleDict({"wide": WidePath(replace(SPEC, num_outputs=2), 1000)}), train, LabelMap("y", (0, 1)))
    (text,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "No word or pair of adjacent words is in two labeled rows of train" in text
    assert text.endswith("Fix: use more rows, or set wide_ngrams: 0 to leave these models out.")
    caplog.clear()
    fit_modules(nn.ModuleDict({"wide": WidePath(SPEC, 1000)}), make_train(), LabelMap("y", (0, 1)))
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_untrained_wide_path_ranks_rows_of_which_it_saw_none() -> None:
    wide, other = WidePath(replace(SPEC, num_outputs=2), 1000), make_train(rows=400)
    wide.scores.fit(make_train())
    unseen = replace(other, labels=other.labels)
    with torch.no_grad():
        logits = wide.eval()(as_batch(unseen))
    assert roc_auc_score(unseen.labels, logits[:, 1] - logits[:, 0]) > 0.9


def test_an_empty_batch_has_no_logits() -> None:
    wide = WidePath(SPEC, 1000)
    wide.scores.fit(make_train())
    for mode in (True, False):
        assert wide.train(mode)(make_batch(SPEC, make_rows(SPEC, 0, seed=0))).shape == (0, SPEC.num_outputs)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("text_encoder", "ngrams", "is_wide"), [("cnn", 64, True), ("cnn", 0, False)])
def test_a_model_has_a_wide_path_unless_it_is_off(name: str, text_encoder: str, ngrams: int, is_wide: bool) -> None:
    settings: dict[str, Any] = {"wide_ngrams": ngrams}
    request = SubjectRequest(MODELS_GROUP, name, None if name.endswith("cnn") else text_encoder, settings)
    assert any(isinstance(module, WidePath) for module in Subject(request).build().modules()) is is_wide


@pytest.mark.parametrize("name", ["tfidf", "multimodal_tfidf", "multimodal_moe"])
def test_an_encoder_with_scores_of_ngrams_gets_no_second_ones(name: str) -> None:
    model = Subject(SubjectRequest(MODELS_GROUP, name, "tfidf" if name == "multimodal_moe" else None)).build()
    assert [type(module).__name__ for module in list_fitted_modules(model).values()] == ["TfidfEncoder"]


def test_the_scores_reach_the_logits_of_the_text() -> None:
    spec, train = replace(SPEC, num_outputs=2), make_train()
    encoder = ReferenceEncoder(spec, ReferenceSettings())
    head = TextHead(spec, TextSettings(text_encoder="cnn"), encoder).eval()
    batch = as_batch(train)
    pooled = encoder(batch).pooled
    before = head(batch, pooled)
    assert head.wide is not None
    head.wide.scores.fit(train)
    torch.testing.assert_close(head(batch, pooled), before + head.wide(batch))
    assert head.wide(batch).abs().mean() > 0.1


# --- scores


def test_a_target_that_repeats_another_one_or_its_negative_has_the_same_solution() -> None:
    train = make_train()
    scores = NgramScores(replace(SPEC, num_outputs=2), 1000)
    matrix = scores.fit_scores(train).ngrams
    target = np.random.default_rng(0).normal(size=(len(train), 1)).astype(np.float32)
    solved = solve_all(matrix, np.concatenate([target, -target, np.zeros_like(target), target], axis=1))
    first = solve(matrix, target[:, 0])
    np.testing.assert_array_equal(solved, np.stack([first, -first, np.zeros_like(first), first], axis=1))
    np.testing.assert_allclose(solve(matrix, -target[:, 0]), -first, atol=1e-4)


@pytest.mark.parametrize(("rows", "tokens"), [(30, 10**9), (10**9, 400)])
def test_scores_are_fitted_on_a_bounded_number_of_rows_and_tokens(
    rows: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngram_scores, "MAX_FIT_ROWS", rows)
    monkeypatch.setattr(ngram_scores, "MAX_FIT_TOKENS", tokens)
    train = make_train()
    assert train.labels is not None
    chosen = ngram_scores.choose_rows(train, train.labels)
    assert 0 < len(chosen) <= rows
    assert len(chosen) < 200
    assert train.row_tokens()[chosen].sum() <= 1.5 * tokens  # evenly spaced rows are about as long as all
    assert chosen[-1] > 150


def test_scores_out_of_fold_have_mean_zero_and_deviation_one() -> None:
    train = make_train(rows=600)
    scores = NgramScores(replace(SPEC, num_outputs=2), 1000)
    scores.fit(train)
    out_of_fold = scores.train()(as_batch(train))
    assert out_of_fold.mean(dim=0).abs().max() < 0.2
    torch.testing.assert_close(out_of_fold.std(dim=0), torch.ones(2), rtol=0.05, atol=0)


@pytest.mark.parametrize(("noise", "correlation"), [(0.5, 0.894), (2.0, 0.447), (1e-9, 0.95), (1e9, 0.1)])
def test_the_strength_of_a_score_depends_on_its_correlation_with_the_target(noise: float, correlation: float) -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(20_000, 1)).astype(np.float32)
    scores = targets + noise * rng.normal(size=targets.shape).astype(np.float32)
    explained = correlation**2
    assert score_weights.compute_strength(scores, targets, True)[0] == pytest.approx(explained, abs=0.01)
    strength = score_weights.compute_strength(scores, targets, False)[0]
    assert strength == pytest.approx(min(explained / (1 - explained), np.log(20_001) / 2), rel=0.1, abs=0.01)
    for few in (-targets, targets[:0]):
        assert score_weights.compute_strength(few, targets[: len(few)], True) == pytest.approx(0.01)


@pytest.mark.parametrize("rows", [2, 80, 2_000])
def test_perfect_scores_are_no_surer_than_the_number_of_rows_allows(rows: int) -> None:
    targets = np.stack([np.resize((-1.0, 1.0), rows), np.resize((1.0, -1.0), rows)], axis=1).astype(np.float32)
    logits = targets * score_weights.compute_strength(targets, targets, False)
    wrong = torch.from_numpy(logits).softmax(dim=1).min(dim=1).values
    torch.testing.assert_close(wrong, torch.full_like(wrong, 1 / (rows + 2)))


# --- scores of more than two classes


def draw_scores(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return noisy scores, targets and labels of classes of which each is half as frequent as the one before."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, rows, p=0.5 ** np.arange(classes) / sum(0.5 ** np.arange(classes)))
    targets = make_targets(labels, classes, min(classes, 16))
    scores = targets + 2 * rng.normal(size=targets.shape)
    return (scores - scores.mean(axis=0)) * invert_deviation(scores), targets, labels


def compute_log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)))


@pytest.mark.parametrize("classes", [3, 6, 20])
def test_weights_and_biases_of_classes_are_better_than_one_strength_for_each_score(classes: int) -> None:
    scores, targets, labels = draw_scores(3_000, classes)
    weights, biases = fit_score_weights(scores, targets, labels, classes)
    new_scores, _, new_labels = draw_scores(3_000, classes, seed=1)
    alone = make_mixtures(classes, scores.shape[1]) * score_weights.compute_strength(scores, targets, False)
    loss = compute_log_loss(new_scores @ weights.T + biases, new_labels)
    assert loss < compute_log_loss(new_scores @ alone.T, new_labels) - 0.1
    frequent_first = np.sort(biases[:3])[::-1]
    np.testing.assert_array_equal(biases[:3], frequent_first)


@pytest.mark.parametrize("labels", [[], [1] * 50, [0, 2] * 25], ids=["no rows", "one class", "two of four"])
def test_a_class_without_rows_gets_a_small_probability_not_an_error(labels: list[int]) -> None:
    found = np.array(labels, np.int64)
    targets = make_targets(found, 4, 4)
    weights, biases = fit_score_weights(targets, targets, found, 4)
    assert (weights.shape, biases.shape) == ((4, 4), (4,))
    probabilities = torch.from_numpy(targets @ weights.T + biases).softmax(dim=1)
    for absent in {0, 1, 2, 3} - set(labels):
        assert ((probabilities[:, absent] > 0) & (probabilities[:, absent] < 0.1)).all()


def test_many_classes_are_fitted_on_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, targets, labels = draw_scores(1_000, 5)
    monkeypatch.setattr(score_weights, "MAX_LOGITS", 1_000)
    bounded = fit_score_weights(scores, targets, labels, 5)
    some = fit_score_weights(scores[::5], targets[::5], labels[::5], 5)
    for got, expected in zip(bounded, some, strict=True):
        np.testing.assert_array_equal(got, expected)


# --- jobs


def prepare(folder: Path, **settings: Any) -> PreparedJob:
    settings = {"model_class": "multimodal_cnn", "num_channels": None, "precision": "32", **settings}
    return prepare_job(JobFolder(folder).fill().settings(**settings))


def test_a_warm_start_fits_the_scores_again_and_takes_the_other_weights(tmp_path: Path) -> None:
    trained = prepare(tmp_path / "trained")
    weights = {name: value + 1 for name, value in trained.built.model.state_dict().items()}
    source = SourceModel(Path("trained"), trained.architecture, trained.data.preprocessor, weights, "digest")
    new = prepare(tmp_path / "job")
    built, report = job.build_model(new.architecture, new.data, source, None)
    assert report is not None
    wide = {name for name in built.model.state_dict() if ".wide.scores." in name}
    assert len(wide) == 8
    fitted = {name for name, reason in report["new"].items() if reason == "statistics of the training data"}
    assert {name for name in fitted if "text" in name} == wide
    assert built.model.state_dict()["towers.text_head.wide.scores.ngrams.idf"].any()
    scale = built.model.state_dict()["towers.text_head.wide.scale"]
    torch.testing.assert_close(scale, torch.full_like(scale, 2))


@pytest.mark.parametrize("name", MODELS)
def test_in_training_the_logits_use_the_scores_out_of_fold(name: str) -> None:
    subject = Subject(SubjectRequest(MODELS_GROUP, name, None, {"dropout": 0.0}))
    model = subject.build()
    (wide,) = [module for module in model.modules() if isinstance(module, WidePath)]
    batch = make_batch(subject.spec, make_rows(subject.spec, 12, seed=10))
    for module in model.modules():
        module.training = module is wide.scores
    of_folds, _ = run_model(model, batch)
    of_all, _ = run_model(model.eval(), batch)
    expected = wide(batch) * 0
    wide.scores.train()
    expected = expected + wide(batch)
    wide.scores.eval()
    torch.testing.assert_close(of_folds - of_all, expected - wide(batch), rtol=1e-4, atol=1e-5)
    assert (of_folds - of_all).abs().max() > 1e-3
