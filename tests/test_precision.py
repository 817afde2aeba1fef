"""The precision of a training: requested, supported, measured, and kept by a resumed job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fusionzoo.training import matrix_rates, precision
from fusionzoo.training.distributed import collectives
from fusionzoo.training.matrix_rates import MatrixRates
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.precision import PrecisionChoice
from shop import JobFolder
from training_helpers import make_job_settings

FLOAT32_IS_FASTER, BF16_IS_FASTER = MatrixRates(128, 4, 8, 163.0, 86.0), MatrixRates(128, 4, 8, 163.0, 330.0)


def no_measurement() -> MatrixRates:
    raise AssertionError("nothing must be measured")


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    ("changes", "flags", "expected"),
    [
        ({}, set(), "32-true"),
        ({"precision": "32"}, {"avx512_bf16"}, "32-true"),
        ({"fp16": False}, {"avx512_bf16"}, "32-true"),
        ({"precision": "bf16"}, {"avx512_bf16"}, "bf16-mixed"),
        ({"precision": "bf16"}, set(), "32-true"),
        ({"fp16": True}, {"avx512_bf16"}, "bf16-mixed"),
        ({"precision": "fp16"}, set(), "32-true"),
    ],
)
def test_precision_is_the_requested_one_or_the_best_supported_one_with_a_warning(
    changes: dict[str, Any], flags: set[str], expected: str, caplog: Any
) -> None:
    choice = precision.choose_precision(make_job_settings(**changes), no_measurement, cpu_flags=frozenset(flags))
    assert choice.precision == expected
    is_fallback = changes == {"precision": "bf16"} and not flags
    is_fallback = is_fallback or changes in ({"fp16": True}, {"precision": "fp16"})
    assert bool(caplog.records) == is_fallback


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
@pytest.mark.parametrize(
    ("float32", "bf16", "expected"),
    [(163.0, 86.0, "32-true"), (163.0, 330.0, "bf16-mixed"), (100.0, 100.0, "32-true"), (100.0, 124.0, "32-true")],
)
def test_auto_takes_bf16_only_where_it_is_measured_to_be_faster(
    flag: str, float32: float, bf16: float, expected: str, caplog: Any
) -> None:
    rates = MatrixRates(128, 384, 1536, float32, bf16)
    with caplog.at_level("INFO", "fusionzoo"):
        choice = precision.choose_precision(make_job_settings(), lambda: rates, cpu_flags=frozenset({flag}))
    assert choice.precision == expected
    assert f"float32 {float32:.0f} GFLOP/s, bf16 {bf16:.0f} GFLOP/s" in caplog.text
    assert "128 x 384 x 1536" in caplog.text


@pytest.mark.parametrize(
    ("capability", "changes", "expected", "reason"),
    [
        ((9, 0), {}, "bf16-mixed", "bf16 is faster on NVIDIA X"),
        ((8, 0), {"precision": "bf16"}, "bf16-mixed", "it was requested"),
        ((7, 5), {}, "32-true", "NVIDIA X does not support bf16"),
        ((7, 5), {"precision": "bf16"}, "32-true", "NVIDIA X does not support bf16"),
        ((7, 5), {"fp16": True}, "16-mixed", "it was requested"),
        ((9, 0), {"fp16": False}, "32-true", "it was requested"),
    ],
)
def test_bf16_needs_an_ampere_gpu_although_torch_emulates_it_on_older_ones(
    capability: tuple[int, int], changes: dict[str, Any], expected: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA X")
    choice = precision.choose_precision(make_job_settings(**changes), lambda: BF16_IS_FASTER)
    assert (choice.precision, choice.reason) == (expected, reason)
    assert choice.is_fallback == (changes == {"precision": "bf16"} and capability < (8, 0))


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    ("changes", "flags", "expected"),
    [
        ({}, set(), ("32-true", "auto", "this CPU does not support bf16")),
        ({}, {"amx_bf16"}, ("bf16-mixed", "auto", "bf16 is faster on this CPU")),
        ({"precision": "32"}, {"amx_bf16"}, ("32-true", "32", "it was requested")),
        ({"precision": "bf16"}, set(), ("32-true", "bf16", "this CPU does not support bf16")),
        ({"fp16": True}, {"amx_bf16"}, ("bf16-mixed", "fp16", "this CPU supports bf16, but not fp16")),
        ({"fp16": True}, set(), ("32-true", "fp16", "this CPU supports neither fp16 nor bf16")),
    ],
)
def test_the_requested_and_used_precision_and_the_reason_are_reported(
    changes: dict[str, Any], flags: set[str], expected: tuple[str, ...], caplog: Any
) -> None:
    with caplog.at_level("INFO", "fusionzoo"):
        choice = precision.choose_precision(
            make_job_settings(**changes), lambda: BF16_IS_FASTER, cpu_flags=frozenset(flags)
        )
    names = ("precision", "precision_requested", "precision_reason")
    assert choice.as_metrics() == dict(zip(names, expected, strict=True))
    assert expected[2] in caplog.text
    assert expected[0] in caplog.text


@pytest.mark.usefixtures("without_gpu")
def test_the_choice_of_the_checkpoint_replaces_the_measurement_of_auto_only() -> None:
    flags = frozenset({"avx512_bf16"})
    stored = PrecisionChoice("bf16-mixed", "auto", "bf16 is faster on this CPU", is_fallback=False, rates="measured")
    assert precision.choose_precision(make_job_settings(), no_measurement, stored, flags) == stored
    requested = precision.choose_precision(make_job_settings(precision="32"), no_measurement, stored, flags)
    assert requested.precision == "32-true"


@pytest.mark.usefixtures("without_gpu")
def test_auto_takes_bf16_only_if_the_hardware_of_every_process_supports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectives, "all_gather", lambda value: [value, not value])
    for flags in (frozenset[str](), frozenset({"amx_bf16"})):
        choice = precision.choose_precision(make_job_settings(), no_measurement, cpu_flags=flags)
        assert choice.precision == "32-true"
        assert choice.reason.startswith("the hardware of another process" if flags else "this CPU")


# --- the measurement

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 2)), (32, 8)),
    "many small layers": (lambda: nn.Sequential(*(nn.Linear(8, 8) for _ in range(9)), nn.Linear(8, 32)), (8, 8)),
    "embeddings do not count": (lambda: nn.Sequential(nn.Embedding(1000, 8), nn.Linear(8, 3)), (3, 8)),
    "convolution": (lambda: nn.Conv1d(6, 10, 3), (10, 18)),
    "lstm": (lambda: nn.LSTM(50, 4), (16, 50)),
    "without weights": (lambda: nn.Sequential(nn.ReLU(), nn.LayerNorm(3)), (1, 1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_measured_shape_is_that_of_most_weights(name: str) -> None:
    make, expected = MODELS[name]
    assert matrix_rates.find_main_weight_shape(make()) == expected


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"batch_size": 16}, 16),
        ({"batch_size": 16, "text_name": "text", "max_sen_len": 10}, 160),
        ({"batch_size": 16, "text_name": "text", "max_batch_tokens": 90}, 90),
        ({"batch_size": 512, "text_name": "text", "max_sen_len": 512}, matrix_rates.MAX_CPU_ROWS),
    ],
)
def test_the_measured_rows_are_those_of_a_training_batch(changes: dict[str, Any], rows: int) -> None:
    settings = make_job_settings(**changes)
    assert matrix_rates.measure_matrix_rates(nn.Linear(4, 4), settings, torch.device("cpu")).rows == rows


def test_a_measurement_gives_both_rates_and_does_not_change_the_random_state() -> None:
    model = nn.Linear(64, 64)
    state = torch.get_rng_state()
    rates = matrix_rates.measure_matrix_rates(model, make_job_settings(), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    assert rates.float32 > 0
    assert rates.bf16 > 0


def test_a_measurement_on_a_cpu_does_not_see_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall time made the precision of a job depend on what else ran on the machine."""
    original, threads = torch.nn.functional.linear, torch.get_num_threads()

    def wait(*arguments: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            time.sleep(0.05)  # as if another program had the core
        assert torch.get_num_threads() == 1
        return original(*arguments)

    monkeypatch.setattr(matrix_rates.F, "linear", wait)
    monkeypatch.setattr(matrix_rates, "MAX_ROUNDS", 2)
    rates = matrix_rates.measure_matrix_rates(nn.Linear(256, 256), make_job_settings(), torch.device("cpu"))
    seconds = 6 * rates.rows * 256 * 256 / rates.bf16 / 1e9
    assert seconds < 0.05
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(("width", "expected"), [(255, "32-true"), (256, "bf16-mixed")])
def test_narrow_layers_train_in_float32_on_a_cpu_without_a_measurement(
    width: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    monkeypatch.setattr(precision, "_read_cpu_flags", lambda: frozenset({"amx_bf16"}))
    monkeypatch.setattr(precision, "measure_matrix_rates", lambda *_: measured.append(1) or BF16_IS_FASTER)
    choice = precision.choose_job_precision(make_job_settings(), nn.Linear(1024, width))
    assert choice.precision == expected
    assert bool(measured) == (width == 256)
    assert ("narrower than 256" in choice.reason) == (width == 255)


# --- jobs


def run_with_rates(job: JobFolder, rates: MatrixRates, monkeypatch: pytest.MonkeyPatch, max_steps: int = 1000) -> int:
    """Run the job on a CPU with bf16 on which these rates are measured; it fails after `max_steps` training steps."""
    steps, original = [max_steps], TrainingModule.training_step

    def step(self: TrainingModule, *arguments: Any) -> Any:
        steps[0] -= 1
        if steps[0] < 0:
            raise RuntimeError("stopped by the test")
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(precision, "_read_cpu_flags", lambda: frozenset({"avx512_bf16"}))
        patch.setattr(precision, "MIN_CPU_WIDTH", 1)
        patch.setattr(precision, "measure_matrix_rates", lambda *_: rates)
        patch.setattr(TrainingModule, "training_step", step)
        return job.run()


@pytest.mark.usefixtures("without_gpu")
def test_a_resumed_job_keeps_the_precision_of_its_first_run(job: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    job.fill(max_epochs=1, checkpoint_every_n_steps=1)
    assert run_with_rates(job, FLOAT32_IS_FASTER, monkeypatch, max_steps=3) == 1
    assert run_with_rates(job, BF16_IS_FASTER, monkeypatch) == 0, job.failure
    report = json.loads((job.output / "metrics.json").read_text())
    assert report["training"]["precision"] == "32-true"
    assert report["training"]["precision_reason"] == "bf16 is not faster on this CPU"
    assert report["run"]["matrix_rates"] == str(FLOAT32_IS_FASTER)
    assert run_with_rates(job, BF16_IS_FASTER, monkeypatch, max_steps=0) == 0, "a finished job is evaluated again"
