"""Every installed plugin passes all checks and trains; a new plugin is tested without an edit of this file."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from fusionzoo.conformance import reference_encoder
from fusionzoo.conformance.checks import MODEL_CHECKS
from fusionzoo.conformance.run import Case, make_cases
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.subject_request import SubjectRequest
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from fusionzoo.settings import ALL_TASKS
from prediction_helpers import assert_predict_reproduces
from shop import JobFolder, shop_rows

ENCODERS = list(Registry.discover(TEXT_ENCODERS_GROUP))
SUBJECTS = [
    Subject(SubjectRequest(group, name))
    for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP)
    for name in Registry.discover(group)
]
MODEL_SUBJECTS = [subject for subject in SUBJECTS if not subject.is_encoder]
FUSIONS = [subject for subject in MODEL_SUBJECTS if subject.encoder and subject.encoder.name == reference_encoder.NAME]
FUSIONS_OVER_EACH_ENCODER = [
    Subject(SubjectRequest(MODELS_GROUP, fusion.request.name, text_encoder=name))
    for fusion in FUSIONS
    for name in ENCODERS
]
CASES = [
    *(case for subject in SUBJECTS for case in make_cases(subject)),
    *(Case(check, (subject,), subject.title) for subject in FUSIONS_OVER_EACH_ENCODER for check in MODEL_CHECKS),
]


def _id(case: Case) -> str:
    (subject,) = case.subjects
    return "-".join([case.check.__name__, *_names(subject), *filter(None, [subject.job_title.replace(" ", "_")])])


def _names(subject: Subject) -> list[str]:
    if subject.is_encoder:
        return ["text_encoder", subject.request.name]
    return [name for name in (subject.request.name, subject.request.text_encoder) if name]


@pytest.mark.parametrize("case", CASES, ids=_id)
@pytest.mark.usefixtures("forked_checks")
def test_conformance(case: Case) -> None:
    result = case.run()
    assert result.status == "passed", f"{result.subject}: {result.detail}"


def test_every_first_party_pair_of_fusion_and_encoder_is_tested() -> None:
    late = {(s.encoder.name, "late") for s in MODEL_SUBJECTS if s.encoder and "table" in s.settings.reads} - {
        (reference_encoder.NAME, "late")
    }
    pairs = late | {(str(s.request.text_encoder), s.request.name) for s in FUSIONS_OVER_EACH_ENCODER}
    assert {"bert", "cnn", "lstm", "tfidf"} <= set(ENCODERS)
    assert len(MODEL_SUBJECTS) >= 11
    fusions = {"late", "multimodal_gate_fusion", "multimodal_moe", "multimodal_cross_attn"}
    assert {(encoder, fusion) for encoder in ("bert", "cnn", "lstm", "tfidf") for fusion in fusions} <= pairs


# --- real jobs


def _flatten_settings(subject: Subject) -> dict[str, Any]:
    """Return the small settings of a plugin as a job has them; a fusion over any encoder uses `cnn`."""
    flat = subject.settings.model_dump(mode="json")
    if subject.encoder is not None and subject.encoder.name == reference_encoder.NAME:
        flat["text_encoder"] = "cnn"
    elif subject.encoder_settings is not None:
        flat |= subject.encoder_settings.model_dump(mode="json")
    return flat


def _vary_lengths(frame: pd.DataFrame, chunks: int) -> pd.DataFrame:
    """Replace the texts by texts of one chunk, of many, and missing ones, in turn."""
    lengths = [(1, chunks, 0)[i % 3] for i in range(len(frame))]
    words = [str(message)[:30] for message in frame["message"]]
    texts = [" ".join([word] * length) if length else None for word, length in zip(words, lengths, strict=True)]
    return frame.assign(message=pd.Series(texts, dtype=object))


def _add_targets(frame: pd.DataFrame) -> pd.DataFrame:
    """Add two numbers and three labels to predict."""
    classes = frame["target"]
    labels = {"low": classes < 3, "odd": classes % 2 == 1, "last": classes == 6}
    return frame.assign(amount=20 + 5.0 * classes, weight=3.0 - classes, **labels)


JOBS: dict[str, dict[str, Any]] = {
    "seven_classes": {"num_classes": 7},
    "three_labels": {"task": "multilabel", "label_name": ["low", "odd", "last"], "num_classes": None},
    "two_numbers": {"task": "regression", "label_name": ["amount", "weight"], "num_classes": None},
}


@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize("subject", MODEL_SUBJECTS, ids=lambda subject: subject.request.name)
def test_every_model_trains_for_every_task_on_every_kind_of_batch(job: JobFolder, subject: Subject, kind: str) -> None:
    """The predecessor failed here: its encoders on its own batches, its fusions on three classes."""
    for seed, (channel, rows) in enumerate({"train": 63, "val": 42, "test": 21}.items()):
        job.channel(channel, _vary_lengths(_add_targets(shop_rows(rows, seed, tuple(range(7)))), chunks=9))
    small = {"max_sen_len": 8, "max_total_chunks": 6, "max_epochs": 1, "batch_size": 8, "onnx": None, **JOBS[kind]}
    job.settings(**{**_flatten_settings(subject), **small, "model_class": subject.request.name, "num_channels": None})
    assert job.run() == 0, job.failure
    assert {path.name for path in job.model.iterdir()} >= {"model.pth", "model.onnx", "model_artifacts.pth"}
    assert_predict_reproduces(job, job.root, relative_tolerance=1e-5)


def test_the_jobs_above_are_of_every_task() -> None:
    assert {job.get("task", "classification") for job in JOBS.values()} == ALL_TASKS
    assert all(subject.plugin.settings_class.tasks == ALL_TASKS for subject in SUBJECTS)
