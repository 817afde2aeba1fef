"""`strategy: fsdp` shards a model over processes; results are those of one process."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
from packaging.version import Version

from conftest import Installer
from fusionzoo import errors
from fusionzoo.training.distributed import fsdp_support
from process_helpers import (
    DETERMINISTIC,
    KILLED,
    assert_same_results,
    copy_job,
    make_dying_job,
    read_log,
    run_forked,
)
from shop import TINY_BERT, JobFolder
from training_helpers import make_job_settings

SHARDED = {
    **DETERMINISTIC,
    "model_class": "dying",
    "text_encoder": "bert",
    "encoder_config": {**TINY_BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "num_channels": None,
    "encoder_dropout": None,
    "strategy": "fsdp",
    "checkpoint_every_n_steps": 2,
}


@pytest.mark.skipif(
    any(Version(version(library)) < Version(since) for library, since in fsdp_support.MIN_VERSIONS.items()),
    reason="these libraries do not support FSDP",
)
def test_a_sharded_model_trains_like_an_unsharded_one_and_resumes_after_a_kill(
    job: JobFolder, install: Installer
) -> None:
    sharded = make_dying_job(job, install, KILLED).settings(**SHARDED)
    unsharded = copy_job(sharded, job.root / "unsharded")
    assert run_forked(unsharded, 1, DYING_RANK="none") == 0
    assert run_forked(sharded, 2, DYING_RANK="1") == 1
    assert run_forked(sharded, 2, DYING_RANK="none") == 0, read_log(sharded)
    assert "Resuming from" in read_log(sharded)
    held, weights = re.findall(r"FSDP: this process holds ([\d,]+) of ([\d,]+) weights", read_log(sharded))[-1]
    assert int(held.replace(",", "")) == pytest.approx(int(weights.replace(",", "")) / 2, rel=0.2)
    assert_same_results(unsharded, sharded)


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        ({"torch": "2.1.2", "lightning": "2.6.6"}, "the installed torch is 2.1.2.\nFix: install torch 2.6 or newer"),
        (
            {"torch": "2.6.0", "lightning": "2.1.3"},
            "the installed lightning is 2.1.3.\nFix: install lightning 2.4 or newer",
        ),
    ],
)
def test_libraries_that_are_too_old_for_fsdp_are_reported(installed: dict[str, str], message: str) -> None:
    with pytest.raises(errors.SettingError) as caught:
        fsdp_support.check_fsdp(make_job_settings(strategy="fsdp"), installed)
    assert message in str(caught.value)
    fsdp_support.check_fsdp(make_job_settings(strategy="ddp"), installed)


@pytest.mark.parametrize("setting", [{"torch_compile": True}, {"fp16": True}, {"precision": "fp16"}])
def test_settings_that_fsdp_does_not_support_are_reported(setting: dict[str, Any]) -> None:
    with pytest.raises(errors.SettingError, match="fsdp"):
        fsdp_support.check_fsdp(make_job_settings(strategy="fsdp", **setting), {"torch": "2.6.0", "lightning": "2.4.0"})
    fsdp_support.check_fsdp(make_job_settings(strategy="fsdp"), {"torch": "2.6.0", "lightning": "2.4.0"})
