"""The benchmark of the zoo: it trains like a job, can be stopped and resumed, and writes its results to a page."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import Installer
from fusionzoo.sagemaker.paths import Paths

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LATE, GATE, CROSS = "multimodal_bert", "multimodal_gate_fusion", "multimodal_cross_attn"


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("zoo")


def result(model: str, data: str = "demo", seed: int = 0, auroc: float | None = 0.9, **others: Any) -> dict[str, Any]:
    """Return a line of the results file."""
    return {
        "kind": "run",
        "model_class": model,
        "data": data,
        "seed": seed,
        "train_rows": 2000,
        "val_rows": 1000,
        "epochs": 2,
        "text_encoder": "bert",
        "reads": ["table", "text"],
        "auroc": auroc,
        "average_precision": 0.8,
        "log_loss": 0.5,
        "best_auroc": 0.95,
        "parameters": 22_900_000,
        "trainable": 22_900_000,
        "precision": "bf16-mixed",
        "device": "cpu",
        **others,
    }


def results(differences: dict[str, list[float]], data: str) -> list[dict[str, Any]]:
    """Return results of late fusion at 0.90, 0.91 and 0.92, and of other fusions at these distances from it."""
    of_late = [0.90, 0.91, 0.92]
    aurocs = {LATE: of_late} | {
        name: [a + d for a, d in zip(of_late, ds, strict=False)] for name, ds in differences.items()
    }
    return [result(name, data, seed, auroc) for name, found in aurocs.items() for seed, auroc in enumerate(found)]


def page(zoo: ModuleType, records: list[dict[str, Any]], installed: tuple[str, ...] = ()) -> str:
    return str(zoo.format_page(zoo.Results.of(records), [], installed))


def row(text: str, heading: str, *first: str) -> list[str]:
    """Return the cells of the only row under a heading that starts with these cells."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    (found,) = [cells for cells in rows if cells[: len(first)] == list(first)]
    return found


# --- the page


def test_each_metric_is_in_its_column_as_the_mean_over_the_seeds(zoo: ModuleType) -> None:
    records = [
        result(
            GATE, seed=seed, auroc=auroc, average_precision=ap, log_loss=loss, parameters=2_000_000, trainable=500_000
        )
        for seed, auroc, ap, loss in [(0, 0.91, 0.81, 0.4), (1, 0.95, 0.82, 0.5), (2, 0.93, 0.83, 0.9)]
    ]
    speed = {
        "kind": "speed",
        "data": "demo",
        "rows_per_second": {LATE: 25.2, GATE: 20.4},
        "ratio": {LATE: 1, GATE: 0.81},
    }
    assert row(page(zoo, [*records, speed]), "demo", f"`{GATE}`")[1:] == [
        "bert",
        "0.9300 (0.9100 to 0.9500)",
        "0.8200",
        "0.6000",
        "2.00 M, 0.50 M trained",
        "20",
        "0.81",
    ]


def test_fusions_over_another_encoder_are_compared_with_late_fusion_over_the_same_encoder(zoo: ModuleType) -> None:
    over_cnn = [
        result(name, seed=seed, auroc=auroc, text_encoder="cnn", epochs=8)
        for name, auroc in (("multimodal_cnn", 0.7), (GATE, 0.75))
        for seed in range(3)
    ]
    records = [*results({GATE: [0.01] * 3}, "demo"), *over_cnn]
    of_cnn = zoo.Results.of(records, size=zoo.Size(epochs=8), text_encoder="cnn")
    text = str(zoo.format_page(zoo.Results.of(records), [of_cnn], ()))
    assert row(text, "Against late fusion over bert", f"`{GATE}`", "demo")[5] == "+0.0100"
    assert row(text, "Against late fusion over cnn", f"`{GATE}`", "demo")[5:] == ["+0.0500", "0.0000", "wins"]
    assert "minus the AUROC of `multimodal_cnn`" in text


def test_fusions_for_any_encoder_use_the_requested_one(zoo: ModuleType) -> None:
    models, _ = zoo.load_models([], "cnn")
    over = {model.name: model.text_encoder for model in models}
    assert {"multimodal_cnn", GATE, CROSS} <= over.keys()
    assert set(over.values()) == {"cnn"}
    assert models[0].name == "multimodal_cnn"
    models, _ = zoo.load_models([LATE, GATE, "cnn"], "bert")
    assert {model.name: model.text_encoder for model in models} == {LATE: "bert", GATE: "bert", "cnn": "cnn"}


def test_missing_runs_are_listed(zoo: ModuleType) -> None:
    text = page(zoo, [result(GATE, seed=0, auroc=0.91), result(GATE, seed=2, auroc=0.95)], (GATE, "another"))
    assert row(text, "demo", f"`{GATE}`")[2] == "0.9300 (0.9100 to 0.9500); **2 of 3 seeds**"
    assert row(text, "womens_clothing", f"`{GATE}`")[2] == "not run; **0 of 3 seeds**"
    assert row(text, "demo", f"`{GATE}`")[6:] == ["not measured", ""]
    assert "**Installed, but not run: `another`.**" in text


def test_a_metric_that_is_undefined_for_one_seed_has_no_mean(zoo: ModuleType) -> None:
    records = [result(name, seed=seed, auroc=None if seed == 1 else 0.9) for name in (LATE, GATE) for seed in range(3)]
    text = page(zoo, records)
    assert row(text, "demo", f"`{GATE}`")[2].startswith("undefined")
    assert row(text, "Against late fusion over bert", f"`{GATE}`", "demo")[2:5] == ["+0.0000", "", "+0.0000"]


def test_the_page_uses_the_later_of_two_results_of_a_run_and_ignores_runs_of_another_size(zoo: ModuleType) -> None:
    records = [result(GATE, auroc=0.5), result(GATE, auroc=0.7), result(GATE, auroc=0.6, train_rows=200)]
    assert row(page(zoo, records), "demo", f"`{GATE}`")[2].startswith("0.7000;")


def test_the_best_possible_auroc_of_the_demo_is_shown_with_its_metrics(zoo: ModuleType) -> None:
    assert "The best possible AUROC on these rows is 0.9500." in page(zoo, [result(GATE)])


def test_a_fusion_is_compared_with_late_fusion_seed_by_seed(zoo: ModuleType) -> None:
    records = results({GATE: [-0.02, 0.01, 0.04]}, "demo")
    cells = row(page(zoo, records), "Against late fusion over bert", f"`{GATE}`", "demo")[2:]
    assert cells == ["-0.0200", "+0.0100", "+0.0400", "+0.0100", "0.0300", "within noise"]


def test_late_fusion_is_compared_only_with_fusions_over_its_own_encoder(zoo: ModuleType) -> None:
    others = [
        result("multimodal_cnn", text_encoder="cnn"),
        result("bert", reads=["text"]),
        result("own", text_encoder=None),
    ]
    text = page(zoo, [*others, *results({GATE: [0, 0, 0]}, "demo")])
    rows = [line for line in text.split("## Against late fusion over bert")[1].splitlines() if line.startswith("| `")]
    assert {line.split("|")[1].strip() for line in rows} == {f"`{GATE}`"}
    listed = [line.split("`")[1] for line in text.split("## womens")[0].splitlines() if line.startswith("| `")]
    assert listed == [LATE, GATE, "bert", "multimodal_cnn", "own"]
    assert row(text, "demo", "`own`")[1] == "none"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([-0.01, -0.011, -0.012], "loses"),
        ([0.01, 0.011, 0.012], "wins"),
        ([-0.01, -0.02, -0.03], "loses"),  # the bound is 1.69 standard deviations of 0.01, the mean -0.02
        ([-0.005, -0.015, -0.025], "within noise"),  # the same deviation, the mean -0.015
        ([0.0, 0.0, 0.0], "within noise"),
        ([-0.02, -0.02], "open: 2 of 3 seeds"),
        ([], "open: 0 of 3 seeds"),
    ],
)
def test_a_difference_counts_only_if_it_exceeds_the_noise(
    zoo: ModuleType, differences: list[float], verdict: str
) -> None:
    found = zoo.Results.of([*results({GATE: differences}, "demo"), result(GATE, "womens_clothing")])
    assert found.verdict("demo", GATE) == verdict


def test_a_fusion_that_is_worse_on_both_data_sets_is_reported(zoo: ModuleType) -> None:
    worse, same = [-0.01, -0.011, -0.012], [0.0, 0.001, -0.001]
    one_set = results({GATE: worse, CROSS: worse}, "demo")
    undecided = page(zoo, one_set)
    assert f"Open, because runs are missing: `{CROSS}`, `{GATE}`." in undecided
    assert "needs work" not in undecided
    decided = page(zoo, one_set + results({GATE: worse, CROSS: same}, "womens_clothing"))
    assert f"Loses on every data set beyond noise and needs work: `{GATE}`." in decided
    fine = page(zoo, one_set + results({GATE: same, CROSS: same}, "womens_clothing"))
    assert "No fusion loses to late fusion on every data set beyond noise." in fine


# --- the runs


def small_demo(zoo: ModuleType) -> Any:
    """Return a small part of the demo data set."""
    demo = zoo.DataSet.load("demo")
    splits = {"train": demo.train.slice(0, 200), "val": demo.val.slice(0, 60), "val_chance": demo.val_chance[:60]}
    return zoo.replace(demo, **splits)


def test_the_seed_determines_the_training_rows_and_val_is_always_the_same(zoo: ModuleType, tmp_path: Path) -> None:
    data, size = zoo.DataSet.load("demo"), zoo.Size(train_rows=50, val_rows=30)

    def ids(name: str, seed: int, split: str) -> list[str]:
        paths = Paths(tmp_path / name, tmp_path, tmp_path / "cache")
        data.write(paths, seed, size)
        return [str(value) for value in pq.read_table(paths.channel(split))["message_id"].to_pylist()]

    assert ids("a", 0, "train") == ids("b", 0, "train") != ids("c", 1, "train")
    assert len(set(ids("d", 0, "train"))) == 50
    assert ids("e", 0, "val") == ids("f", 1, "val") == data.val["message_id"].to_pylist()[:30]


def test_the_best_possible_auroc_is_that_of_the_scored_rows(zoo: ModuleType) -> None:
    data = zoo.DataSet.load("demo")
    labels, chance = data.val["disputed"].to_numpy()[:100], data.val_chance[:100]
    pairs = chance[labels == 1][:, None] - chance[labels == 0]
    assert data.compute_best_auroc(100) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


def test_a_result_is_written_immediately_and_its_run_is_not_repeated(
    zoo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models, broken = zoo.load_models(["multimodal_cnn"], "bert")
    out, size = tmp_path / "results.jsonl", zoo.Size(64, 40, 1)
    assert broken == 0
    assert zoo.run_all(models, [small_demo(zoo)], [3], size, out) == 0
    (line,) = out.read_text().splitlines()
    record = json.loads(line)
    assert (record["model_class"], record["data"], record["seed"], record["epochs"]) == ("multimodal_cnn", "demo", 3, 1)
    assert 0 <= record["auroc"] <= 1
    assert record["log_loss"] > 0
    assert record["rows_per_second"] > 64 / record["seconds"]
    assert record["parameters"] == record["trainable"] > 0
    assert zoo.run_all(models, [small_demo(zoo)], [3], size, out) == 0
    assert out.read_text().splitlines() == [line]
    assert "already in the results" in capsys.readouterr().out


def test_a_model_that_fails_is_reported_and_the_other_models_run(
    zoo: ModuleType, install: Installer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(
        "failing",
        models=["failing"],
        source="""
        from fusionzoo import hookimpl
        from fusionzoo.settings import ModelSettings

        @hookimpl
        def settings_class():
            return ModelSettings

        @hookimpl
        def build_model(spec, settings):
            raise RuntimeError("it fell over")
        """,
    )
    install("broken", models=["broken"], source="import no_such_library")
    models, broken = zoo.load_models(["failing", "broken", "cnn"], "bert")
    assert broken == 1
    out = tmp_path / "results.jsonl"
    assert zoo.run_all(models[::-1], [small_demo(zoo)], [0], zoo.Size(64, 40, 1), out) == 1
    assert [json.loads(line)["model_class"] for line in out.read_text().splitlines()] == ["cnn"]
    said = capsys.readouterr().out
    assert "model_class 'broken'" in said
    assert "failing, demo, seed 0: failed" in said
    assert "it fell over" in said


def test_speeds_are_medians_of_rounds_and_ratios_are_taken_within_each_round(
    zoo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {LATE: iter([10.0, 20.0, 40.0]), GATE: iter([5.0, 30.0, 20.0])}
    order: list[str] = []

    def run(model: Any, data: Any, seed: int, size: Any, warmup_steps: int) -> dict[str, float]:
        order.append(model.name)
        assert size.train_rows == 32 * (warmup_steps + 12)
        return {"rows_per_second": next(speeds[model.name])}

    monkeypatch.setattr(zoo, "run", run)
    models = [zoo.Model(name, "bert", ("table", "text")) for name in (LATE, GATE)]
    found = zoo.measure_speed(models, small_demo(zoo), LATE)
    assert order == [LATE, GATE] * 3
    assert found["rows_per_second"] == {LATE: 20.0, GATE: 20.0}
    assert found["ratio"] == {LATE: 1.0, GATE: 0.5}
    with pytest.raises(SystemExit, match="'multimodal_bert', which is not installed"):
        zoo.measure_speed(models[1:], small_demo(zoo), LATE)


def test_the_first_steps_and_validation_are_not_timed(zoo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(zoo.time, "monotonic", lambda: now[0])
    watch, step = zoo.Stopwatch(warmup_steps=1), 0
    for epoch_start, batch_ends in ((0.0, (50.0, 51.0)), (100.0, (103.0,))):  # from 51 to 100: validation
        now[0] = epoch_start
        watch.on_train_epoch_start(None, None)
        for batch_end in batch_ends:
            now[0], step = batch_end, step + 1
            watch.on_train_batch_end(SimpleNamespace(global_step=step), None, None, SimpleNamespace(rows=32), 0)
    assert watch.rows_per_second == 64 / (1 + 3)


def test_an_error_names_a_line_that_is_not_json(zoo: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    out.write_text('{"kind": "run"}\n{"kind": "ru\n')
    with pytest.raises(SystemExit, match=r"results\.jsonl line 2 is not JSON"):
        zoo.read_results(out)


def test_missing_data_is_an_error_with_a_fix(zoo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUSIONZOO_DATA", raising=False)
    with pytest.raises(SystemExit, match="set it to the folder that contains womens_clothing/, or add --data demo"):
        zoo.DataSet.load("womens_clothing")


def test_the_table_is_written_from_the_results_only(zoo: ModuleType, tmp_path: Path) -> None:
    out, target = tmp_path / "results.jsonl", tmp_path / "zoo.md"
    out.write_text("".join(json.dumps(record) + "\n" for record in results({GATE: [0.1, 0.1, 0.1]}, "demo")))
    assert zoo.main(["--table", "--results", str(out), "--page", str(target)]) == 0
    text = target.read_text()
    assert row(text, "demo", f"`{LATE}`")[2] == "0.9100 (0.9000 to 0.9200)"
    assert "benchmarks/zoo.py --speed" in text
    assert "Installed, but not run: `bert`, `cnn`" in text
