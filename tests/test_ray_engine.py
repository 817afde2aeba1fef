"""`fusionzoo predict --engine ray` on two local workers: the same files as in one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fusionzoo.prediction import prediction_blocks, ray_engine
from prediction_helpers import predict, read_test_rows, write_frame
from shop import JobFolder

BLOCK = 2  # rows: ten blocks for two workers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two workers on this machine."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'fusionzoo[ray]'")
    path = ":".join(sys.path)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    yield ray
    ray.shutdown()


def test_two_workers_write_the_same_files_as_one_process(
    cluster: Any, trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_blocks, "SCORED_ROWS", BLOCK)
    workers: list[int] = []
    make_engine = ray_engine.RayEngine
    monkeypatch.setattr(
        ray_engine,
        "RayEngine",
        lambda ray, actors, *rest: workers.append(len(actors)) or make_engine(ray, actors, *rest),
    )
    rows = read_test_rows(trained_job)
    for name, part in (("a.csv", rows.head(11)), ("b.parquet", rows.tail(8))):
        write_frame(tmp_path / "in" / name, part)
    for engine in ("local", "ray"):
        done = predict(trained_job, tmp_path / "in", tmp_path / engine, "--engine", engine, "--columns", "price")
        assert done.exit_code == 0, done.stderr
    for name in ("a.csv", "b.parquet"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    assert workers == [2]


def test_values_that_cannot_be_scored_are_the_same_error(
    cluster: Any, trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_blocks, "SCORED_ROWS", BLOCK)
    rows = read_test_rows(trained_job).astype({"price": object})
    rows.loc[[3, 17], "price"] = "cheap"
    source = write_frame(tmp_path / "in/rows.csv", rows)
    done = [predict(trained_job, source, tmp_path / "x.csv", "--engine", engine) for engine in ("local", "ray")]
    assert [result.exit_code for result in done] == [1, 1]
    assert done[0].stderr == done[1].stderr
    assert "row 4 'cheap', in/rows.csv row 18 'cheap'" in done[1].stderr
    options = ["--engine", "ray", "--errors", str(tmp_path / "errors.csv")]
    assert "17 rows scored; 2 rows not scored" in predict(trained_job, source, tmp_path / "x.csv", *options).stderr


def test_unusual_values_of_all_blocks_are_warned_of_together(
    cluster: Any,
    trained_job: JobFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(prediction_blocks, "SCORED_ROWS", BLOCK)
    source = write_frame(tmp_path / "rows.csv", read_test_rows(trained_job).assign(price=1e30))
    for engine in ("local", "ray"):
        assert predict(trained_job, source, tmp_path / f"{engine}.csv", "--engine", engine).exit_code == 0
    local, ray = [record.message for record in caplog.records if "'price'" in record.message]
    assert ray == local


def test_a_worker_that_ends_is_an_error_without_a_file(
    cluster: Any, trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(ray_engine.Worker):
        def score(self, rows: Any) -> Any:
            import os

            os._exit(1)

    monkeypatch.setattr(ray_engine, "Worker", Broken)
    done = predict(trained_job, trained_job.root / "input/data/test", tmp_path / "x.csv", "--engine", "ray")
    assert done.exit_code == 1
    assert "A Ray worker failed" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_command_says_what_to_install(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = predict(trained_job, trained_job.root / "input/data/test", tmp_path / "x.csv", "--engine", "ray")
    assert done.exit_code == 1
    assert "pip install 'fusionzoo[ray]'" in done.stderr


@pytest.mark.parametrize("cause", [ConnectionError("no running Ray instance"), ValueError("Invalid address format")])
def test_a_cluster_that_cannot_be_used_is_an_error_that_names_its_address(
    cause: Exception, trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise cause

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=fail))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    done = predict(trained_job, trained_job.root / "input/data/test", tmp_path / "x.csv", "--engine", "ray")
    assert done.exit_code == 1
    assert f"The Ray cluster of RAY_ADDRESS '10.0.0.9:6379' cannot be used ({type(cause).__name__}" in done.stderr
    assert list(tmp_path.iterdir()) == []
