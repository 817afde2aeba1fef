"""A training that diverges stops with its step, rows, gradients and learning rates."""

from __future__ import annotations

import multiprocessing
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from fusionzoo.errors import TrainingDivergedError
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.tasks.task_choice import choose_metrics
from fusionzoo.training import optimizers
from fusionzoo.training.checkpointing import best_checkpoints, checkpoint_io
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.distributed.world import World
from fusionzoo.training.guards import callbacks, divergence
from fusionzoo.training.guards.divergence_report import GradientNorms
from fusionzoo.training.module import TrainingModule
from guard_helpers import ScriptedModel, fit_with_guards, ids_of_batch, make_named_split
from task_helpers import make_class_objective, make_classification
from training_helpers import make_job_settings, make_random_split


class Infinite(torch.autograd.Function):
    """The identity with an infinite gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.full_like(gradient, torch.inf)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("number", [3, 8, 11])
def test_a_nonfinite_loss_names_its_step_its_rows_and_the_gradients_before_it(
    value: float, number: int, tmp_path: Path
) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == number:
            logits = logits * torch.ones(batch.rows, 1).index_fill(0, torch.tensor([1, 4]), value)
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit_with_guards(change, tmp_path)
    message, ids = str(raised.value), ids_of_batch(number)
    epoch, batch = divmod(number - 1, 8)
    assert f"in step {number} (epoch {epoch + 1}, batch {batch + 1} of 8): the loss is " in message
    assert f"Affected: 2 of the batch's {len(ids)} rows: '{ids[1]}', '{ids[4]}'." in message
    assert "(2 of 2): all of them" in message
    assert re.search(
        rf"Largest gradients in step {number - 1} \(norms before clipping\): classify\.\w+ [\d.]+", message
    )
    assert "Learning rates: " in message
    assert "lower lr (to 0.001)" in raised.value.parts[1]
    assert "gradient_clip_val" not in message, "it is 1 already"
    assert "precision" not in message, "it is 32 already"
    assert len(message) < 1024


def test_a_divergence_error_names_the_learning_rate_of_the_step(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 2 else 1)

    with pytest.raises(TrainingDivergedError, match=re.escape("Learning rates: 5.0e-03.")):
        fit_with_guards(change, tmp_path, epochs=1, warmup_steps=3)  # a quarter, a half, three quarters of 0.01


def test_a_nonfinite_penalty_is_not_attributed_to_rows(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> ModelOutput:
        return ModelOutput(logits, {"load": logits.sum() * 0 + (torch.inf if model.batches == 3 else 0)})

    with pytest.raises(TrainingDivergedError) as raised:
        fit_with_guards(change, tmp_path)
    assert "step 3 " in str(raised.value)
    assert "Each row's own loss is finite: the sum or the architecture's penalty is not" in str(raised.value)
    assert all(f"'{identifier}'" in str(raised.value) for identifier in ids_of_batch(3)[:5])


def test_an_infinite_gradient_of_a_finite_loss_names_the_parameters_and_the_rows_of_the_step(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == 4:
            return logits - model.classify.bias + Infinite.apply(model.classify.bias)  # type: ignore[no-any-return]
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit_with_guards(change, tmp_path, accumulate_grad_batches=2)
    message = str(raised.value)
    assert "in step 2 (epoch 1, batch 4 of 8): the loss is finite, but gradients are NaN or infinite" in message
    assert "Gradients that are NaN or infinite (1 of 2): classify.bias." in message
    ids = [*ids_of_batch(3), *ids_of_batch(4)]
    assert f"'{ids[0]}'" in message
    assert f"and {len(ids) - 5} more" in message


def test_in_an_accumulated_step_only_the_nonfinite_batch_is_named(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 5 else 1)

    with pytest.raises(TrainingDivergedError) as raised:
        fit_with_guards(change, tmp_path, accumulate_grad_batches=4)
    assert "in step 2 (epoch 1, batch 5 of 8)" in str(raised.value)
    assert all(f"'{identifier}'" in str(raised.value) for identifier in ids_of_batch(5)[:5])


def test_a_diverged_model_is_never_saved(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 16 else 1)  # the last before a validation

    with pytest.raises(TrainingDivergedError, match="step 16 "):
        fit_with_guards(change, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt"}
    for path in tmp_path.iterdir():
        assert all(bool(value.isfinite().all()) for value in checkpoint_io.load_weights(path).values())


def test_a_nonfinite_weight_is_named_and_not_saved(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == 8:
            model.spare.data[1] = torch.inf
        return logits

    with pytest.raises(TrainingDivergedError, match=r"step 8: weights .* not saved: spare\."):
        fit_with_guards(change, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nonfinite_outputs_for_val_name_the_rows(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        if not model.training:
            logits = logits.masked_fill(torch.isin(batch.row, torch.tensor([7, 41]))[:, None], torch.nan)
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit_with_guards(change, tmp_path)
    assert "step 8: the model's outputs for val after this step are NaN or infinite" in str(raised.value)
    assert "2 of val's 60 rows: 'a7', 'a41'." in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_the_guards_do_not_change_the_weights_of_a_finite_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = []
    for has_guards in (True, False):
        if not has_guards:
            monkeypatch.setattr(callbacks, "guard_callbacks", lambda *arguments: [])
        model, _, _ = fit_with_guards(lambda model, batch, logits: logits, tmp_path / str(has_guards))
        weights.append(model.classify.weight.detach())
    assert torch.equal(*weights)


def make_pending_check(nonfinite: tuple[float, float], step: int) -> Any:
    """Return the pending check of a batch whose loss and gradients are nonfinite on so many ranks."""
    rows, norms = torch.tensor([5, 6]), GradientNorms(step, ["w"], torch.tensor([torch.inf]))
    place = f"step {step}"
    flags = torch.tensor(nonfinite)
    return divergence._PendingCheck(
        step, place, torch.tensor(1.0), torch.ones(2), rows, [rows], [0.1], norms, flags, None
    )


def test_under_fp16_gradients_may_overflow_only_a_limited_number_of_times() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    patch = pytest.MonkeyPatch()
    patch.setattr(Trainer, "precision", "16-mixed")
    try:
        guard = divergence.DivergenceGuard(make_job_settings(), make_random_split(60).ids)
        for step in range(1, divergence.MAX_OVERFLOWS):
            guard._check(trainer, make_pending_check((0, 1), step))
        guard._check(trainer, make_pending_check((0, 0), divergence.MAX_OVERFLOWS))
        for step in range(1, divergence.MAX_OVERFLOWS):
            guard._check(trainer, make_pending_check((0, 1), step))
        with pytest.raises(TrainingDivergedError, match=f"in {divergence.MAX_OVERFLOWS} consecutive steps"):
            guard._check(trainer, make_pending_check((0, 1), divergence.MAX_OVERFLOWS))
        patch.setattr(Trainer, "precision", "bf16-mixed")
        with pytest.raises(TrainingDivergedError, match='precision: "32"'):
            divergence.DivergenceGuard(make_job_settings(), make_random_split(60).ids)._check(
                trainer, make_pending_check((0, 1), 1)
            )
    finally:
        patch.undo()


def train_in_process(rank: int, port: str, folder: Path, results: Any) -> None:
    """Train as one of two processes; in batch 3, a row of the second process has a nonfinite loss."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, LOCAL_RANK=str(rank), WORLD_SIZE="2")
    os.environ.update(NODE_RANK="0", RANK=str(rank))
    torch.set_num_threads(1)
    data = make_named_split()
    settings = make_job_settings(batch_size=8, lr=0.01, unknown_category_rate=0)

    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        factor = torch.ones(batch.rows, 1)
        if rank == 1 and model.training and model.batches == 3:
            factor[2] = torch.nan
        return logits * factor + 0 * model.spare.sum()

    splits = SplitsDataModule(data, data, settings, world=World(rank, 2))
    model = ScriptedModel(change)
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=2,
        strategy=DDPStrategy(process_group_backend="gloo"),
        plugins=[LightningEnvironment()],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            *callbacks.guard_callbacks(settings, splits),
            *best_checkpoints.make_checkpoint_callbacks(folder, settings, choose_metrics(settings)),
        ],
    )
    groups = optimizers.parameter_groups(model, None, settings, [])
    try:
        trainer.fit(
            TrainingModule(model, settings, groups, make_class_objective(), make_classification().compute_metrics, 8),
            datamodule=splits,
        )
    except TrainingDivergedError as error:
        results.put((str(error), splits.order.batches(0)[2].tolist()))


def test_every_process_stops_and_names_the_nonfinite_row_of_any_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [context.Process(target=train_in_process, args=(rank, port, tmp_path, results)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    (first, rows), (second, other_rows) = results.get(), results.get()
    assert first == second
    assert "in step 3 (epoch 1, batch 3 of 8)" in first
    assert f"Affected: 1 of the batch's {len(rows) + len(other_rows)} rows: " in first
    assert f"'a{rows[2]}'" in first or f"'a{other_rows[2]}'" in first
    assert list(tmp_path.iterdir()) == []
