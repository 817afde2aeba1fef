"""The benchmark of training steps prints one complete table on any machine, and counts what it says."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> dict[str, ModuleType]:
    """Return the modules of the benchmark; small matrices, and few rows of generated data."""
    caplog.set_level(logging.INFO, logger="fusionzoo")  # the level that the benchmark sets ends with the test
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delenv("FUSIONZOO_DATA", raising=False)
    names = ("step_table", "step_profile", "systems", "workload", "data_sets")
    modules = {name: importlib.import_module(name) for name in names}
    monkeypatch.setattr(modules["systems"], "MATRIX", {"cpu": 64, "cuda": 64})
    monkeypatch.setattr(modules["data_sets"], "DEMO_ROWS", 400)
    return modules


def read_table(printed: str) -> dict[str, tuple[str, str]]:
    """Return value and goal of each row of the table, by its measure."""
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    return {measure: (value, others[0].strip() if others else "") for measure, value, *others in rows[2:]}


def test_the_table_is_complete_with_a_tiny_model(
    benchmarks: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    status = benchmarks["step_table"].main(["--tiny", "--turns", "1"])
    printed = capsys.readouterr()
    table = read_table(printed.out)
    assert status == 0, printed.err
    for name in ("float32", "bf16"):
        assert table[f"matrix products, {name}"][0].endswith(" GFLOP/s")
    for system in ("job", "bare loop", "Hugging Face"):
        assert float(table[f"{system}: model FLOP utilization"][0]) >= 0
        assert int(table[f"{system}: peak memory"][0].split(" MiB")[0].replace(",", "")) > 100
        assert any(measure.startswith(f"{system}, ") and "tokens per second" in measure for measure in table)
    assert table["job, rows per second relative to Hugging Face"][1].startswith(">= 2")
    shares = {name: float(value.strip("%")) for name, (value, _) in table.items() if name.startswith("profile: ")}
    assert sum(shares.values()) == pytest.approx(100, abs=0.1 * len(shares))
    assert shares["profile: matrix products of linear layers"] > 0
    if not torch.cuda.is_available():
        assert shares["profile: Python and the framework"] > 10  # a tiny model computes little
        assert table["two GPUs with NCCL, rows per second relative to one"][0] == "skipped: this machine has 0 GPUs"
        assert [value for value, _ in table.values()][-1] == "skipped: this machine has no GPU"


def test_a_part_that_fails_is_a_row_and_the_others_are_measured(benchmarks: dict[str, ModuleType]) -> None:
    def measure(part: str, workload: Any, seconds: float | None) -> dict[str, Any]:
        if part == "profile":
            return {"optimizer": 0.25, "Python and the framework": 0.75}
        raise RuntimeError("no | memory")

    lines = benchmarks["step_table"].measure_all(benchmarks["workload"].Workload.choose(is_tiny=True), 1, measure)
    assert str(lines[0]) == "| systems | failed: RuntimeError: no / memory |  |"
    assert [line.failed for line in lines[:3]] == [True, False, False]
    assert str(lines[1]) == "| profile: optimizer | 25.0% |  |"


def test_the_row_of_the_gpu_tests_counts_them(
    benchmarks: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tests = tmp_path / "test_one.py"
    step_table = benchmarks["step_table"]
    monkeypatch.setattr(step_table, "GPU_TESTS", ("-c", "pyproject.toml", "-p", "no:cacheprovider", str(tests)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    tests.write_text("import pytest\ndef test_one(): pass\n@pytest.mark.skip\ndef test_other(): pass\n")
    (line,) = step_table.run_gpu_tests()
    assert line.value.startswith("1 passed, 1 skipped in ")
    tests.write_text("def test_one(): raise ValueError\n")
    with pytest.raises(RuntimeError, match=r"^exit status 1: 1 failed in "):
        step_table.run_gpu_tests()


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA A10G", 70e12),
        ("Tesla T4", None),
    ],
)
def test_the_nominal_rate_is_that_of_the_card(
    name: str, rate: float | None, benchmarks: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    assert benchmarks["step_table"].find_nominal_rate() == rate


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["aten::mm", "AddmmBackward0"], "matrix products of linear layers"),
        (["aten::addmm", "aten::linear"], "matrix products of linear layers"),
        (["aten::copy_", "aten::clone", "aten::matmul"], "attention products"),
        (["aten::_flash_attention_backward"], "attention products"),
        (["aten::bmm", "BmmBackward0"], "attention products"),
        (["aten::fill_", "aten::zeros", "aten::embedding_dense_backward"], "embedding tables"),
        (["aten::bernoulli_", "aten::dropout"], "softmax and dropout"),
        (["aten::_softmax_backward_data"], "softmax and dropout"),
        (["aten::native_layer_norm_backward"], "GELU and LayerNorm"),
        (["aten::_fused_adamw_", "Optimizer.step#AdamW.step"], "optimizer"),
        (["aten::mul", "Optimizer.step#AdamW.step"], "other elementwise operations and copies"),
        (["aten::_foreach_norm"], "gradient norms and clipping"),
    ],
)
def test_an_operation_has_the_kind_of_the_innermost_name_that_has_one(
    names: list[str], kind: str, benchmarks: dict[str, ModuleType]
) -> None:
    assert benchmarks["step_profile"].find_kind(names) == kind


@pytest.mark.parametrize(("total", "rest"), [(4.0, 0.5), (1.0, 0.0)])
def test_shares_add_up_to_one_also_if_the_parts_took_longer_than_the_whole(
    total: float, rest: float, benchmarks: dict[str, ModuleType]
) -> None:
    shares = benchmarks["step_profile"].complete({"a": 0.5, "b": 1.5}, total, "rest")
    assert list(shares) == ["b", "a", "rest"]
    assert shares["rest"] == pytest.approx(rest)
    assert sum(shares.values()) == pytest.approx(1)


class Event:
    """Stands for `torch.cuda.Event`: the GPU is 5 ms later at each event."""

    milliseconds = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.recorded: float | None = None
        self.is_done = False

    def record(self) -> None:
        Event.milliseconds += 5
        self.recorded = Event.milliseconds

    def synchronize(self) -> None:
        assert self.recorded is not None
        self.is_done = True

    def elapsed_time(self, later: Event) -> float:
        assert self.recorded is not None
        assert later.recorded is not None
        assert later.is_done
        return later.recorded - self.recorded


@pytest.mark.parametrize("has_gpu", [True, False])
def test_the_timer_counts_rows_and_seconds_after_the_warm_up(
    has_gpu: bool, benchmarks: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(benchmarks["workload"].time, "perf_counter", lambda: 0.005 * next(seconds))
    timer = benchmarks["workload"].StepTimer(warmup_steps=2)
    for rows in (100, 100, 8, 8, 4):
        timer.step_done(rows)
    assert (timer.steps, timer.rows) == (3, 20)
    assert timer.seconds == pytest.approx(0.015)
    assert timer.rows_per_second == pytest.approx(20 / 0.015)
