"""The server in SageMaker's containers: the requests of a batch transform job, the workers, and the mounted model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli_helpers import invoke
from fusionzoo.server import gunicorn_server
from fusionzoo.server.server_limits import ServerLimits
from fusionzoo.server.transform_limits import fit_transform_job
from serve_helpers import CSV, Server

BATCH = {"SAGEMAKER_BATCH": "true"}
DEFAULTS = ServerLimits()
RAISED = replace(DEFAULTS, max_body_bytes=100 * 2**20, max_rows=10_000_000, queue_seconds=600)


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> list[gunicorn_server.ServeOptions]:
    """The options of each server that is started."""
    started: list[gunicorn_server.ServeOptions] = []
    monkeypatch.setattr(gunicorn_server, "run_server", started.append)
    for name in ("SAGEMAKER_BATCH", "FUSIONZOO_SERVE_MAX_ROWS", "FUSIONZOO_SERVE_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    return started


def test_only_a_batch_transform_job_raises_the_limits() -> None:
    assert fit_transform_job(DEFAULTS, (), {}) == DEFAULTS
    assert fit_transform_job(DEFAULTS, (), {"SAGEMAKER_BATCH": "false"}) == DEFAULTS
    assert fit_transform_job(DEFAULTS, (), BATCH) == RAISED


def test_a_limit_that_the_user_sets_stays() -> None:
    limits = replace(DEFAULTS, max_rows=7)
    assert fit_transform_job(limits, ["max_rows"], BATCH) == replace(RAISED, max_rows=7)


def test_the_command_serves_the_largest_payload_of_short_rows(
    options: list[gunicorn_server.ServeOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("serve", "--model", "model").exit_code == 0
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert invoke("serve", "--model", "model").exit_code == 0
    monkeypatch.setenv("FUSIONZOO_SERVE_MAX_ROWS", "9")
    assert invoke("serve", "--model", "model", "--queue-seconds", "5", "--max-body-mb", "25").exit_code == 0
    assert [found.limits for found in options] == [DEFAULTS, RAISED, replace(DEFAULTS, max_rows=9)]


def test_a_payload_of_many_short_rows_is_scored() -> None:
    body = "a,de,1,1\n" * 100_001
    assert Server().post(body, CSV).status_code == 413
    response = Server(max_rows=RAISED.max_rows, max_body_bytes=RAISED.max_body_bytes).post(body, CSV)
    assert response.status_code == 200
    assert response.data.count(b"\n") == 100_001


def test_sagemakers_number_of_workers_is_used(
    options: list[gunicorn_server.ServeOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "3")
    assert invoke("serve", "--model", "model").exit_code == 0
    monkeypatch.setenv("FUSIONZOO_SERVE_WORKERS", "2")
    assert invoke("serve", "--model", "model").exit_code == 0
    assert [found.workers for found in options] == [3, 2]


def test_the_mounted_model_is_found_in_the_only_folder_of_its_archive(
    options: list[gunicorn_server.ServeOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/20240131").mkdir()
    (tmp_path / "model/20240131/manifest.json").touch()
    assert invoke("serve").exit_code == 0
    (tmp_path / "model/manifest.json").touch()
    assert invoke("serve").exit_code == 0
    assert [found.model for found in options] == [tmp_path / "model/20240131", tmp_path / "model"]
