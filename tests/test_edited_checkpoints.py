"""A checkpoint of the job whose tensors or optimizer state were changed is an error for the user, not a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shop import JobFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("finished")).fill(rows=60, max_epochs=1, average_checkpoints=2)
    assert job.run() == 0
    return job


def widen_weight(content: dict[str, Any]) -> None:
    name, value = next((name, value) for name, value in content["state_dict"].items() if value.ndim == 2)
    content["state_dict"][name] = torch.zeros(value.shape[0] + 1, *value.shape[1:])


def drop_weight(content: dict[str, Any]) -> None:
    content["state_dict"].popitem()


def widen_moments(content: dict[str, Any]) -> None:
    for state in content["optimizer_states"][0]["state"].values():
        state["exp_avg"] = torch.zeros(3, 3, 3)


def drop_groups(content: dict[str, Any]) -> None:
    content["optimizer_states"][0]["param_groups"].pop()


def empty_optimizer(content: dict[str, Any]) -> None:
    content["optimizer_states"][0] = {}


def empty_schedule(content: dict[str, Any]) -> None:
    content["lr_schedulers"][0] = 3


LAST = (widen_weight, drop_weight, widen_moments, drop_groups, empty_optimizer, empty_schedule)


@pytest.mark.parametrize(
    ("pattern", "change"),
    [
        *(("last.ckpt", change) for change in LAST),
        *((pattern, change) for pattern in ("best.ckpt", "top-*.ckpt") for change in (widen_weight, drop_weight)),
    ],
)
def test_an_edited_checkpoint_is_an_error_with_a_fix(
    pattern: str, change: Callable[[dict[str, Any]], None], finished: JobFolder, tmp_path: Path
) -> None:
    shutil.copytree(finished.root, tmp_path / "ml")
    job = JobFolder(tmp_path / "ml")
    (file, *_) = (job.root / "checkpoints").glob(pattern)
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    if pattern == "last.ckpt":  # otherwise a finished job does not read its training state
        path = job.root / "input/config/hyperparameters.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"max_epochs": "2"}))
    assert job.run() == 1
    assert f"Cannot resume from {file}: its content does not fit this job" in job.failure
    assert "Fix: restore the file, or empty" in job.failure
    assert "[FZ-C006]" in job.failure
    assert "Traceback" not in job.failure
