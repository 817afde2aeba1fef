"""Lightning's internals are used in one module, which corrects Lightning before 2.5 when training resumes in an epoch.

On newer versions only these tests run the corrections; on old ones, all of test_resuming.py does
(`constraints-contract.txt`).
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import LearningRateMonitor

from fusionzoo.training import lightning_compat, optimizers
from fusionzoo.training.lightning_compat import ResumeWithinEpoch, make_compat_callbacks
from training_helpers import EncoderWithHead, make_job_settings

PACKAGE = Path(__file__).parents[1] / "core/fusionzoo"
INTERNALS = re.compile(
    r"fit_loop|epoch_loop|batch_progress|val_check_batch|_batches_that_stepped|_data_connector|lightning\.__version__"
)


def test_no_other_module_uses_the_internals_or_the_version_of_lightning() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if INTERNALS.search(path.read_text())
    }
    assert users == {"training/lightning_compat.py"}


def make_checkpoint(epochs_processed: int) -> dict[str, Any]:
    """Return the counters of a checkpoint at the end of the third batch of the second epoch, of four batches each."""
    batches = {"ready": 3, "started": 3, "processed": 3, "completed": 2}
    return {
        "loops": {
            "fit_loop": {
                "epoch_progress": {"current": {"started": 2, "processed": epochs_processed}},
                "epoch_loop.batch_progress": {
                    "total": {name: count + 4 for name, count in batches.items()},
                    "current": dict(batches),
                },
                "epoch_loop.state_dict": {"_batches_that_stepped": 6},
            }
        }
    }


def make_trainer(batches_ready: int, is_last_batch: bool, **attributes: Any) -> Any:
    """Return what `lightning_compat` reads of a trainer that accumulates three batches per step."""
    progress = SimpleNamespace(current=SimpleNamespace(ready=batches_ready), is_last_batch=is_last_batch)
    epoch_loop = SimpleNamespace(batch_progress=progress, batch_idx=batches_ready - 1)
    return SimpleNamespace(fit_loop=SimpleNamespace(epoch_loop=epoch_loop), accumulate_grad_batches=3, **attributes)


@pytest.mark.parametrize(
    ("batches_ready", "is_last_batch", "is_mid_accumulation"),
    [(1, False, True), (2, False, True), (3, False, False), (4, False, True), (4, True, False)],
)
def test_a_step_ends_after_the_accumulated_batches_or_with_the_epoch(
    batches_ready: int, is_last_batch: bool, is_mid_accumulation: bool
) -> None:
    assert lightning_compat.is_mid_accumulation(make_trainer(batches_ready, is_last_batch)) == is_mid_accumulation


def test_batches_are_counted_over_all_epochs() -> None:
    trainer = make_trainer(2, False, current_epoch=3, max_epochs=5, num_training_batches=10)
    assert lightning_compat.batches_done(trainer) == 32
    assert lightning_compat.total_batches(trainer) == 50


@pytest.mark.parametrize(("version", "callbacks"), [("2.1.3", 1), ("2.4.0", 1), ("2.5.0", 0), ("2.6.6", 0)])
def test_only_lightning_before_2_5_gets_a_callback(version: str, callbacks: int) -> None:
    assert len(make_compat_callbacks(version)) == callbacks


def test_the_batch_after_which_the_checkpoint_was_saved_counts_as_done() -> None:
    checkpoint = make_checkpoint(epochs_processed=1)
    ResumeWithinEpoch().on_load_checkpoint(Any, Any, checkpoint)  # type: ignore[arg-type]
    loops = checkpoint["loops"]["fit_loop"]
    assert loops["epoch_loop.batch_progress"]["total"]["completed"] == 7
    assert loops["epoch_loop.batch_progress"]["current"]["completed"] == 3
    assert loops["epoch_loop.state_dict"]["_batches_that_stepped"] == 7


def test_a_checkpoint_between_two_epochs_is_not_changed() -> None:
    checkpoint = make_checkpoint(epochs_processed=2)
    ResumeWithinEpoch().on_load_checkpoint(Any, Any, checkpoint)  # type: ignore[arg-type]
    assert checkpoint == make_checkpoint(epochs_processed=2)


@pytest.mark.parametrize("is_within_epoch", [True, False])
def test_after_a_resume_within_an_epoch_validation_waits_for_the_first_batch(is_within_epoch: bool) -> None:
    trainer: Any = SimpleNamespace(val_check_batch=3)
    callback = ResumeWithinEpoch()
    callback.on_load_checkpoint(trainer, Any, make_checkpoint(1 if is_within_epoch else 2))  # type: ignore[arg-type]
    callback.on_train_start(trainer, Any)  # type: ignore[arg-type]
    assert lightning_compat.is_validation_due(trainer, batch_idx=2) != is_within_epoch
    callback.on_train_batch_start(trainer, Any, None, 3)  # type: ignore[arg-type]
    assert trainer.val_check_batch == 3


def test_lightnings_monitor_of_learning_rates_accepts_the_parameter_groups() -> None:
    net, settings = EncoderWithHead(), make_job_settings(lr=1e-4)
    optimizer = optimizers.build_optimizer(optimizers.parameter_groups(net, net.encoder, settings, []), settings)
    assert len(optimizer.param_groups) == 4  # encoder and head, each with and without weight decay
    monitor = LearningRateMonitor()
    monitor.on_train_start(SimpleNamespace(loggers=[None], lr_scheduler_configs=[], optimizers=[optimizer]))
    assert len(monitor.lrs) == 4
