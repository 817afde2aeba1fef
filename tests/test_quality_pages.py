"""The pages that benchmarks/quality.py writes from its results: docs/quality.md and docs/zoo.md."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from quality_helpers import (
    CROSS,
    GATE,
    LATE,
    LINEAR,
    LINEAR_TEXT,
    add_seeds,
    baseline,
    find_row,
    load_benchmark,
    result,
)

LATE_AUROCS = [0.90, 0.91, 0.92]
DEMO = "demo 2,000"
METRICS = ("auroc", "average_precision", "f1_score", "log_loss", "accuracy", "r2", "mae")


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "quality_results")


def zoo_page(monkeypatch: pytest.MonkeyPatch, records: list[dict[str, Any]], installed: tuple[str, ...] = ()) -> str:
    results = load_benchmark(monkeypatch, "quality_results").Results.of(records)
    return str(load_benchmark(monkeypatch, "zoo_page").format_zoo_page(results, installed))


def quality_page(monkeypatch: pytest.MonkeyPatch, records: list[dict[str, Any]]) -> str:
    results = load_benchmark(monkeypatch, "quality_results").Results.of(records)
    return str(load_benchmark(monkeypatch, "quality_page").format_quality_page(results, ()))


def against_late(differences: list[float], data: str = "demo", name: str = GATE) -> list[dict[str, Any]]:
    """Return results of late fusion, and of a fusion at these distances from it."""
    own = [late + difference for late, difference in zip(LATE_AUROCS, differences, strict=False)]
    return [*add_seeds(LATE, LATE_AUROCS, data), *add_seeds(name, own, data)]


# --- the statistics


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
    quality: ModuleType, differences: list[float], verdict: str
) -> None:
    results = quality.Results.of([*against_late(differences), result(GATE, "womens_clothing")])
    (gate,) = [model for model in results.models if model.name == GATE]
    assert results.compare(quality.Case("demo", 2_000), gate, results.find_late_fusion("bert")) == verdict


def test_a_later_result_of_a_run_replaces_the_earlier_one_and_other_sizes_are_apart(quality: ModuleType) -> None:
    records = [result(GATE, metric=0.5), result(GATE, metric=0.7), result(GATE, metric=0.6, rows=None)]
    results = quality.Results.of([*records, result(GATE, rows=123), result(GATE, seed=9)])
    (gate,) = results.models
    found = {case.rows: run for case in quality.CASES for run in results.runs_of(case, gate).values()}
    assert {rows: run["metrics"]["auroc"] for rows, run in found.items()} == {2_000: 0.7, None: 0.6}


def test_an_error_names_a_line_that_is_not_json(quality: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    out.write_text('{"a": 1}\n{"kind": "ru\n')
    with pytest.raises(SystemExit, match=r"results\.jsonl line 2 is not JSON"):
        quality.read_results(out)


# --- docs/zoo.md


def test_a_fusion_is_compared_with_late_fusion_seed_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = zoo_page(monkeypatch, against_late([-0.02, 0.01, 0.04]))
    cells = find_row(text, "Against late fusion over bert", f"`{GATE}`", DEMO)[2:]
    assert cells == ["-0.0200", "+0.0100", "+0.0400", "+0.0100", "0.0300", "within noise"]


def test_fusions_are_compared_with_late_fusion_over_the_same_encoder_only(monkeypatch: pytest.MonkeyPatch) -> None:
    over_cnn = [
        *add_seeds("multimodal_cnn", [0.7] * 3, text_encoder="cnn", takes_text_encoder=False),
        *add_seeds(GATE, [0.75] * 3, text_encoder="cnn"),
    ]
    others = [result("bert", reads=["text"]), result("own", text_encoder=None), result(CROSS, variant="slow")]
    text = zoo_page(monkeypatch, [*against_late([0.01] * 3), *over_cnn, *others])
    assert find_row(text, "Against late fusion over bert", f"`{GATE}`", DEMO)[5] == "+0.0100"
    assert find_row(text, "Against late fusion over cnn", f"`{GATE}`", DEMO)[5:] == ["+0.0500", "0.0000", "wins"]
    compared = text.split("## Against late fusion over bert")[1].split("\n## ")[0]
    assert {line.split("|")[1].strip() for line in compared.splitlines() if line.startswith("| `")} == {f"`{GATE}`"}


def test_the_conclusion_names_where_a_fusion_differs_beyond_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    worse, same = [-0.01, -0.011, -0.012], [0.0, 0.001, -0.001]
    planned = [("womens_clothing", 500), ("womens_clothing", 2_000), ("film_certificate", None)]
    others = [{**record, "rows": rows} for data, rows in planned for record in against_late(same, data)]
    text = zoo_page(monkeypatch, [*against_late(worse), *others])
    assert "Open" not in text
    assert f"- Worse beyond noise: `{GATE}` on {DEMO}." in text
    text = zoo_page(monkeypatch, [*against_late(worse), *others[:-1]])
    assert f"- Worse beyond noise: `{GATE}` on {DEMO}." in text
    assert f"- Open, because runs are missing: `{GATE}`." in text
    assert "- Better than late fusion" not in text


def test_speeds_are_medians_and_ratios_are_taken_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"multimodal_cnn": [10.0, 20.0, 40.0], GATE: [5.0, 30.0, 20.0]}
    records = [
        result(name, seed=seed, rows_per_cpu_second=speed, text_encoder="cnn", takes_text_encoder=name == GATE)
        for name, found in speeds.items()
        for seed, speed in enumerate(found)
    ]
    assert find_row(zoo_page(monkeypatch, records), f"{DEMO} rows", f"`{GATE}`")[5:] == ["20", "0.50", "1,500"]
    records[1]["machine"] = "another CPU"  # seed 1 of late fusion
    records[2]["threads"] = 2
    assert find_row(zoo_page(monkeypatch, records), f"{DEMO} rows", f"`{GATE}`")[6] == "0.50"
    records[0]["threads"] = 2
    assert find_row(zoo_page(monkeypatch, records), f"{DEMO} rows", f"`{GATE}`")[6] == ""


def test_fewer_trained_parameters_and_models_without_a_run_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    text = zoo_page(monkeypatch, [result(GATE, parameters=2_000_000, trainable=500_000)], (GATE, "another"))
    assert find_row(text, f"{DEMO} rows", f"`{GATE}`")[2] == "2.00 M, 0.50 M trained"
    assert "**Installed, but not run: `another`.**" in text


# --- docs/quality.md


def test_each_metric_is_in_its_column_with_the_spread_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    text = quality_page(monkeypatch, [*add_seeds(GATE, [0.91, 0.95, 0.93]), *add_seeds(LINEAR, [0.8, 0.82, 0.81])])
    shown = find_row(text, f"{DEMO} training rows", f"`{GATE}`")
    others = ["0.8000", "0.7000", "0.5000", "100", "1,500", "3", "better"]
    assert shown[1:] == ["bert", "0.9300 (0.9100 to 0.9500)", *others]
    linear = find_row(text, f"{DEMO} training rows", LINEAR)
    assert linear[2:] == ["0.8100 (0.8000 to 0.8200)", "0.8000", "0.7000", "0.5000", "5", "1,500", "", ""]


def test_a_model_of_text_is_compared_with_tfidf_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    baselines = [*add_seeds(LINEAR, [0.9] * 3), *add_seeds(LINEAR_TEXT, [0.7] * 3, reads=["text"])]
    models = [*add_seeds(GATE, [0.8] * 3), *add_seeds("bert", [0.8] * 3, reads=["text"])]
    text = quality_page(monkeypatch, [*baselines, *models])
    column = [case.title for case in load_benchmark(monkeypatch, "quality_results").CASES].index(DEMO) + 2
    assert find_row(text, "Against TF-IDF with a linear model", f"`{GATE}`")[column] == "-0.1000, **worse**"
    assert find_row(text, "Against TF-IDF with a linear model", "`bert`")[column] == "+0.1000, better"
    assert f"- Worse than TF-IDF beyond noise: `{GATE}` over bert on {DEMO}." in text


def test_missing_seeds_and_undefined_metrics_have_no_number_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [result(GATE, seed=seed, metric=metric) for seed, metric in ((0, 0.91), (2, None))]
    text = quality_page(monkeypatch, [*records, baseline(LINEAR)])
    assert find_row(text, f"{DEMO} training rows", f"`{GATE}`")[2] == "undefined; **2 of 3 seeds**"
    assert find_row(text, f"{DEMO} training rows", LINEAR_TEXT)[2] == "not run; **0 of 3 seeds**"
    assert f"- Open, because runs are missing: `{GATE}` over bert." in text


def test_a_page_without_runs_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No model_class has a run yet." in quality_page(monkeypatch, [])
    assert "Machine: a CPU, 1 thread." in quality_page(monkeypatch, [baseline(LINEAR)])
    equal = [*add_seeds(LINEAR, LATE_AUROCS), *add_seeds(LATE, LATE_AUROCS)]
    assert "Every model_class is at least" not in quality_page(monkeypatch, equal)  # of the other data sets, none ran
    everywhere = [
        {**record, "data": case.data, "rows": case.rows, "metrics": dict.fromkeys(METRICS, record["metrics"]["auroc"])}
        for case in load_benchmark(monkeypatch, "quality_results").CASES
        for record in equal
    ]
    assert "Every model_class is at least as good as TF-IDF within noise" in quality_page(monkeypatch, everywhere)


def test_the_best_possible_auroc_of_the_demo_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "The best possible AUROC on the rows of val is 0.9500." in quality_page(monkeypatch, [result(GATE)])


def test_other_settings_are_compared_with_the_defaults_of_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"lr": 0.5}
    changed = add_seeds(LATE, [0.8, 0.81, 0.82], variant="fast", settings=settings, cpu_seconds=25.0, trainable=10**6)
    text = quality_page(monkeypatch, [*add_seeds(LATE, LATE_AUROCS), *changed])
    shown = find_row(text, "Other settings", f"`{LATE}` (fast)", DEMO)
    assert shown[2:] == ["-0.1000", "**worse**", "0.25", "1.00 M"]
    assert "- **fast**: `lr`: 0.5" in text
    assert find_row(text, f"{DEMO} training rows", f"`{LATE}` (fast)")[6] == "25"


def test_cpu_seconds_of_another_machine_are_marked_and_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"machine": "another CPU"}
    changed = add_seeds(LATE, [0.8, 0.81, 0.82], variant="fast", settings={"lr": 0.5}, cpu_seconds=25.0, **other)
    text = quality_page(monkeypatch, [*add_seeds(LATE, LATE_AUROCS), *add_seeds(LINEAR, [0.8, 0.8, 0.8]), *changed])
    assert "Machine: 1: a CPU, 1 thread; 2: another CPU, 1 thread." in text
    assert find_row(text, f"{DEMO} training rows", f"`{LATE}` (fast)")[6] == "25 (machine 2)"
    assert find_row(text, f"{DEMO} training rows", f"`{LATE}`")[6] == "100"
    assert find_row(text, "Other settings", f"`{LATE}` (fast)", DEMO)[4] == ""


def test_both_pages_are_written_from_the_results_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out, pages = tmp_path / "results.jsonl", [tmp_path / "quality.md", tmp_path / "zoo.md"]
    out.write_text("".join(json.dumps(record) + "\n" for record in against_late([0.1, 0.1, 0.1])))
    files = ["--results", str(out), "--quality-page", str(pages[0]), "--zoo-page", str(pages[1])]
    assert load_benchmark(monkeypatch, "quality").main(["--table", *files]) == 0
    quality_text, zoo_text = (page.read_text() for page in pages)
    assert find_row(quality_text, f"{DEMO} training rows", f"`{LATE}`")[2] == "0.9100 (0.9000 to 0.9200)"
    assert find_row(zoo_text, "Against late fusion over bert", f"`{GATE}`", DEMO)[-1] == "wins"
    assert "Installed, but not run: `bert`, `cnn`" in zoo_text
    assert "abc1234" in quality_text
