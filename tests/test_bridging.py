"""What Lightning before 2.5 is helped with when a training goes on within an epoch. On newer ones only this runs it.

On the old ones, all of test_resuming.py does (`constraints-contract.txt`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fusionzoo.training.lightning_compat import ResumeWithinEpoch, make_compat_callbacks


def saved(epochs_processed: int) -> dict[str, Any]:
    """The counters of a checkpoint at the end of the third batch of the second epoch, of four batches each."""
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


@pytest.mark.parametrize(("version", "helped"), [("2.1.3", 1), ("2.4.0", 1), ("2.5.0", 0), ("2.6.6", 0)])
def test_only_lightning_that_needs_help_is_given_it(version: str, helped: int) -> None:
    assert len(make_compat_callbacks(version)) == helped


def test_the_batch_at_whose_end_was_saved_counts_as_done() -> None:
    checkpoint = saved(epochs_processed=1)
    ResumeWithinEpoch().on_load_checkpoint(Any, Any, checkpoint)  # type: ignore[arg-type]
    loops = checkpoint["loops"]["fit_loop"]
    assert loops["epoch_loop.batch_progress"]["total"]["completed"] == 7
    assert loops["epoch_loop.batch_progress"]["current"]["completed"] == 3
    assert loops["epoch_loop.state_dict"]["_batches_that_stepped"] == 7


def test_a_checkpoint_between_two_epochs_is_left_as_it_is() -> None:
    checkpoint = saved(epochs_processed=2)
    ResumeWithinEpoch().on_load_checkpoint(Any, Any, checkpoint)  # type: ignore[arg-type]
    assert checkpoint == saved(epochs_processed=2)


@pytest.mark.parametrize("within_epoch", [True, False])
def test_validation_is_held_back_until_the_first_batch_after_going_on_within_an_epoch(within_epoch: bool) -> None:
    trainer: Any = SimpleNamespace(val_check_batch=3)
    bridge = ResumeWithinEpoch()
    bridge.on_load_checkpoint(trainer, Any, saved(1 if within_epoch else 2))  # type: ignore[arg-type]
    bridge.on_train_start(trainer, Any)  # type: ignore[arg-type]
    assert (3 % trainer.val_check_batch == 0) != within_epoch
    bridge.on_train_batch_start(trainer, Any, None, 3)  # type: ignore[arg-type]
    assert trainer.val_check_batch == 3
