"""Guards of a training: what diverges, learns nothing, or needs too much memory says so, and what to do."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from fusionzoo.errors import (
    BatchMemoryError,
    MetricUndefinedError,
    TrainingDivergedError,
    is_out_of_memory,
)
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.settings import METRICS
from fusionzoo.training import optimizers
from fusionzoo.training.checkpointing import best_checkpoints, checkpoint_io
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.distributed.world import World
from fusionzoo.training.guards import convergence, divergence, memory
from fusionzoo.training.module import Classifier
from shop import JobFolder, shop_rows
from training_helpers import make_job_settings, make_random_split

Change = Callable[["Scripted", Batch, Tensor], Tensor | ModelOutput]


class Scripted(nn.Module):
    """Logits of the numbers; in one training batch, or for val, something happens to them."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.classify, self.change, self.batches = nn.Linear(2, 2), change, 0
        self.spare = nn.Parameter(torch.zeros(3))  # gets no gradient

    def forward(self, batch: Batch) -> Tensor | ModelOutput:
        self.batches += self.training
        return self.change(self, batch, self.classify(batch.numbers))


def fit(
    change: Change, folder: Path, arithmetic: Any = 32, epochs: int = 2, weights: Any = (1.0, 1.0), **changes: Any
) -> tuple[Scripted, SplitsDataModule, Trainer]:
    """Train on 60 rows, 8 to a batch, named 'a0' to 'a59', with all guards and checkpoints."""
    torch.manual_seed(0)
    rows = make_random_split(60)
    data = replace(rows, ids=pa.array([f"a{i}" for i in range(60)]))
    settings = make_job_settings(batch_size=8, lr=0.01, unknown_category_rate=0, **changes)
    model, splits = Scripted(change), SplitsDataModule(data, data, settings)
    steps = optimizers.steps_per_epoch(splits.steps, settings) * epochs
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision=arithmetic,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val or None,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            *divergence.guard_callbacks(settings, splits),
            *best_checkpoints.make_checkpoint_callbacks(folder, settings),
        ],
    )
    module = Classifier(model, settings, optimizers.parameter_groups(model, None, settings, []), list(weights), steps)
    with memory.explain_training_memory(trainer, settings, splits):
        trainer.fit(module, datamodule=splits)
    return model, splits, trainer


def rows_of_batch(number: int, **changes: Any) -> list[str]:
    """Ids of the rows of a training batch, counted from 1 over the epochs."""
    splits = SplitsDataModule(make_random_split(60), make_random_split(60), make_job_settings(batch_size=8, **changes))
    epoch, batch = divmod(number - 1, splits.steps)
    return [f"a{row}" for row in splits.order.batches(epoch)[batch]]


class Infinite(torch.autograd.Function):
    """As it is; its gradient is infinite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.full_like(gradient, torch.inf)


# --- what diverges


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("number", [3, 8, 11])
def test_a_loss_that_is_no_number_names_its_step_its_rows_and_the_gradients_before_it(
    value: float, number: int, tmp_path: Path
) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == number:
            logits = logits * torch.ones(batch.rows, 1).index_fill(0, torch.tensor([1, 4]), value)
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path)
    told, rows = str(raised.value), rows_of_batch(number)
    epoch, batch = divmod(number - 1, 8)
    assert f"in step {number} (epoch {epoch + 1}, batch {batch + 1} of 8): the loss is " in told
    assert f"Affected: 2 of the batch's {len(rows)} rows: '{rows[1]}', '{rows[4]}'." in told
    assert "(2 of 2): all of them" in told
    assert re.search(rf"Largest gradients in step {number - 1} \(norms, before clipping\): classify\.\w+ [\d.]+", told)
    assert "Learning rates: " in told
    assert "lower lr (to 0.001)" in raised.value.parts[1]
    assert "gradient_clip_val" not in told, "it is 1 already"
    assert "precision" not in told, "it is 32 already"
    assert len(told) < 1024


def test_the_learning_rate_that_is_named_is_that_of_the_step(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 2 else 1)

    with pytest.raises(TrainingDivergedError, match=re.escape("Learning rates: 5.0e-03.")):
        fit(change, tmp_path, epochs=1, warmup_steps=3)  # a quarter, a half, three quarters of 0.01


def test_a_penalty_that_is_no_number_is_not_blamed_on_rows(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> ModelOutput:
        return ModelOutput(logits, {"load": logits.sum() * 0 + (torch.inf if model.batches == 3 else 0)})

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path)
    assert "step 3 " in str(raised.value)
    assert "Each row's own loss is finite: the sum or the architecture's penalty is not" in str(raised.value)
    assert all(f"'{row}'" in str(raised.value) for row in rows_of_batch(3)[:5])


def test_an_infinite_gradient_of_a_finite_loss_names_parameters_and_the_rows_of_the_step(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == 4:
            return logits - model.classify.bias + Infinite.apply(model.classify.bias)  # type: ignore[no-any-return]
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path, accumulate_grad_batches=2)
    told = str(raised.value)
    assert "in step 2 (epoch 1, batch 4 of 8): the loss is finite, but gradients are NaN or infinite" in told
    assert "Gradients that are NaN or infinite (1 of 2): classify.bias." in told
    rows = [*rows_of_batch(3), *rows_of_batch(4)]
    assert f"'{rows[0]}'" in told
    assert f"and {len(rows) - 5} more" in told


def test_in_an_accumulated_step_the_batch_at_fault_is_named_and_not_the_others(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 5 else 1)

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path, accumulate_grad_batches=4)
    assert "in step 2 (epoch 1, batch 5 of 8)" in str(raised.value)
    assert all(f"'{row}'" in str(raised.value) for row in rows_of_batch(5)[:5])


def test_what_has_diverged_is_never_a_checkpoint(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 16 else 1)  # the last before a validation

    with pytest.raises(TrainingDivergedError, match="step 16 "):
        fit(change, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt"}
    for path in tmp_path.iterdir():
        assert all(bool(value.isfinite().all()) for value in checkpoint_io.load_weights(path).values())


def test_a_weight_that_is_no_number_is_named_and_not_saved(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == 8:
            model.spare.data[1] = torch.inf
        return logits

    with pytest.raises(TrainingDivergedError, match=r"step 8: weights .* not saved: spare\."):
        fit(change, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_outputs_for_val_that_are_no_numbers_name_the_rows_of_val(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if not model.training:
            logits = logits.masked_fill(torch.isin(batch.row, torch.tensor([7, 41]))[:, None], torch.nan)
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path)
    assert "step 8: the model's outputs for val after this step are NaN or infinite" in str(raised.value)
    assert "2 of val's 60 rows: 'a7', 'a41'." in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_sound_training_is_left_alone_and_gives_the_same_weights_as_without_guards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for watched in (True, False):
        if not watched:
            monkeypatch.setattr(divergence, "guard_callbacks", lambda settings, splits: [])
            monkeypatch.setattr("test_training_guards.memory.advice", lambda *_: pytest.MonkeyPatch.context())
        model, _, _ = fit(lambda model, batch, logits: logits, tmp_path / str(watched))
        found.append(model.classify.weight.detach())
    assert torch.equal(*found)


def look(nonfinite: tuple[float, float], step: int) -> Any:
    """What is kept of a batch of which a rank's loss, or a gradient, is not finite."""
    rows, norms = torch.tensor([5, 6]), divergence.GradientNorms(step, ["w"], torch.tensor([torch.inf]))
    place = f"step {step}"
    flags = torch.tensor(nonfinite)
    return divergence._PendingCheck(
        step, place, torch.tensor(1.0), torch.ones(2), rows, [rows], [0.1], norms, flags, None
    )


def test_under_fp16_gradients_may_overflow_but_not_for_ever() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    scaled = pytest.MonkeyPatch()
    scaled.setattr(Trainer, "precision", "16-mixed")
    try:
        guard = divergence.DivergenceGuard(make_job_settings(), make_random_split(60).ids)
        for step in range(1, divergence.MAX_OVERFLOWS):
            guard._judge(trainer, look((0, 1), step))
        guard._judge(trainer, look((0, 0), divergence.MAX_OVERFLOWS))
        for step in range(1, divergence.MAX_OVERFLOWS):
            guard._judge(trainer, look((0, 1), step))
        with pytest.raises(TrainingDivergedError, match=f"in {divergence.MAX_OVERFLOWS} consecutive steps"):
            guard._judge(trainer, look((0, 1), divergence.MAX_OVERFLOWS))
        scaled.setattr(Trainer, "precision", "bf16-mixed")
        with pytest.raises(TrainingDivergedError, match='precision: "32"'):
            divergence.DivergenceGuard(make_job_settings(), make_random_split(60).ids)._judge(trainer, look((0, 1), 1))
    finally:
        scaled.undo()


def worker(rank: int, store: str, folder: Path, told: Any) -> None:
    """One of two processes that train together; the second one's batch 3 has a row without a finite loss."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=store, LOCAL_RANK=str(rank), WORLD_SIZE="2")
    os.environ.update(NODE_RANK="0", RANK=str(rank))
    torch.set_num_threads(1)
    data = replace(make_random_split(60), ids=pa.array([f"a{i}" for i in range(60)]))
    settings = make_job_settings(batch_size=8, lr=0.01, unknown_category_rate=0)

    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        bad = torch.ones(batch.rows, 1)
        if rank == 1 and model.training and model.batches == 3:
            bad[2] = torch.nan
        return logits * bad + 0 * model.spare.sum()

    splits = SplitsDataModule(data, data, settings, world=World(rank, 2))
    model = Scripted(change)
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
            *divergence.guard_callbacks(settings, splits),
            *best_checkpoints.make_checkpoint_callbacks(folder, settings),
        ],
    )
    groups = optimizers.parameter_groups(model, None, settings, [])
    try:
        trainer.fit(Classifier(model, settings, groups, [1.0, 1.0], 8), datamodule=splits)
    except TrainingDivergedError as error:
        told.put((str(error), splits.order.batches(0)[2].tolist()))


def test_of_several_processes_each_ends_and_names_the_row_whichever_had_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [context.Process(target=worker, args=(rank, port, tmp_path, told)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    (first, rows), (second, others) = told.get(), told.get()
    assert first == second
    assert "in step 3 (epoch 1, batch 3 of 8)" in first
    assert f"Affected: 1 of the batch's {len(rows) + len(others)} rows: " in first
    assert f"'a{rows[2]}'" in first or f"'a{others[2]}'" in first
    assert list(tmp_path.iterdir()) == []


# --- what learns nothing


@pytest.mark.parametrize(
    ("optimizer", "lr", "scale", "words"),
    [
        ("adamw", 2e-3, 1.0, "above the 2e-05 to 1e-04 that are usual with adamw"),
        ("adam", 1e-7, 0.5, "below the 2e-05 to 1e-04"),
        ("adamw", 1e-2, 0.05, None),
        ("adamw", None, 1.0, None),
        ("adamw", None, 1e-4, "below"),
        ("sgd", 0.1, 1.0, None),
        ("sgd", 2e-3, 1.0, None),
        ("sgd", 5.0, 1.0, "above the 1e-03 to 1e-01 that are usual with sgd"),
        ("sgd", 1e-7, 1.0, "below"),
    ],
)
def test_a_rate_that_no_pretrained_encoder_learns_at_is_told_with_the_usual_ones(
    optimizer: str, lr: float | None, scale: float, words: str | None
) -> None:
    settings = make_job_settings(optimizer=optimizer, lr=lr, encoder_lr_scale=scale)
    assert convergence.check_learning_rate(settings, tuned=False) is None
    told = convergence.check_learning_rate(settings, tuned=True)
    assert (told is None) if words is None else (told is not None and words in told and "Fix: set lr" in told)


def test_the_rate_is_told_only_where_pretrained_weights_learn(job: JobFolder, minilm: str, capsys: Any) -> None:
    cases = [({"freeze_text_encoder": False}, True), ({"freeze_text_encoder": True}, False)]
    for changes, warned in cases:
        bert = {"model_class": "multimodal_bert", "tokenizer": minilm, "embedding_dim": None, "num_channels": None}
        job.fill(rows=24, **bert, **changes, lr=0.05, max_epochs=1)
        assert job.run() == 0, job.failure
        assert ("The learning rate of the pretrained text encoder is 5.0e-02" in capsys.readouterr().out) == warned


def test_an_epoch_that_taught_nothing_says_so_with_figures_and_one_that_did_does_not(
    tmp_path: Path, capsys: Any
) -> None:
    for lr, warned in ((1e-12, True), (1e-2, False)):
        folder = JobFolder(tmp_path / str(lr)).fill(max_epochs=2, lr=lr)
        assert folder.run() == 0
        out = capsys.readouterr().out
        assert out.count("No measurable improvement") == warned
    assert json.loads((folder.output / "metrics.json").read_text())["training"]["epochs"] == 2


def test_the_warning_compares_val_loss_with_the_shares_of_train_and_the_losses_of_both_ends(
    tmp_path: Path, caplog: Any
) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return 0 * logits  # every row's loss is ln 2

    with caplog.at_level(logging.WARNING, "fusionzoo"):
        _, splits, _ = fit(change, tmp_path, epochs=1)
    labels = splits.val.labels
    assert labels is not None
    share = labels.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert (
        f"val_loss is 0.6931, and a constant prediction of val's class frequencies scores {entropy:.4f}" in caplog.text
    )
    assert "0.6931 per row in the first 2 batches and 0.6931 in the last 2" in caplog.text
    assert "largest learning rates 1.0e-02" in caplog.text
    assert caplog.text.count("No measurable improvement after 8 batches") == 1


def test_an_epoch_of_few_batches_is_judged_with_those_after_it(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        fit(lambda model, batch, logits: 0 * logits, tmp_path, epochs=5, early_stop_patience=9)
    assert caplog.text.count("taught") == 1
    assert "No measurable improvement after 32 batches" in caplog.text


def test_either_sign_of_learning_keeps_the_warning_away(tmp_path: Path, caplog: Any) -> None:
    def right(batch: Batch) -> Tensor:
        assert batch.labels is not None
        return nn.functional.one_hot(batch.labels, 2).float()

    def falls(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return 0 * logits + right(batch) * (model.batches - 8 if model.training else 0)

    def knows_val(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return 0 * logits + right(batch) * (0.0 if model.training else 0.1)

    for number, change in enumerate((falls, knows_val)):
        with caplog.at_level(logging.WARNING, "fusionzoo"):
            fit(change, tmp_path / str(number), epochs=1)
    assert caplog.text == ""


def test_the_best_constant_prediction_is_the_weighted_shares_of_the_classes() -> None:
    labels = np.array([0, 0, 0, 1])
    assert convergence.constant_loss(labels, np.ones(2)) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert convergence.constant_loss(labels, np.array([1.0, 3.0])) == pytest.approx(np.log(2))
    assert convergence.constant_loss(labels, np.array([1.0, 0.0])) == 0
    assert convergence.constant_loss(labels, np.ones(3)) == convergence.constant_loss(labels, np.ones(2))


# --- what needs too much memory

OUT_OF_MEMORY = [
    MemoryError("x"),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("raised", OUT_OF_MEMORY)
@pytest.mark.parametrize("while_training", [True, False])
def test_a_batch_that_the_memory_does_not_hold_is_told_with_settings_that_need_half(
    raised: Exception, while_training: bool, tmp_path: Path
) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if model.training == while_training and (not while_training or model.batches == 3):
            raise raised
        return logits

    with pytest.raises(BatchMemoryError) as caught:
        fit(change, tmp_path, accumulate_grad_batches=2)
    told, fix = caught.value.parts
    splits = SplitsDataModule(make_random_split(60), make_random_split(60), make_job_settings(batch_size=8))
    lengths = splits.train.row_tokens()
    costs = [len(rows) * int(lengths[rows].max()) for rows in splits.order.batches(0)]
    if while_training:
        rows = splits.order.batches(0)[2]
        assert "in training step 2 (epoch 1): " in told
        assert (
            f"{len(rows)} rows, {len(rows)} chunks of {lengths[rows].max()} tokens, {costs[2]} tokens with padding"
            in told
        )
        assert (f"{max(costs)} tokens with padding" in told) == (max(costs) > costs[2] or max(costs) == costs[2])
    else:
        assert "in batch 1 of the validation after step 4: " in told
    assert "Precision 32-true, on the CPU with " in told
    assert " GiB free" in told
    assert "set batch_size: 4 with accumulate_grad_batches: 4 (a step of the same rows)" in fix
    assert re.search(r"max_batch_tokens: \d+ with accumulate_grad_batches: 4", fix)
    assert caught.value.__cause__ is raised
    assert len(str(caught.value)) < 1024


def test_any_other_exception_of_a_training_stays_what_it_is(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match=r"^mat1 and mat2"):
        fit(change, tmp_path)
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_the_advice_halves_what_the_batch_has_and_never_names_what_would_not_help() -> None:
    def advice(size: memory.BatchSize, chosen: str = "bf16-mixed", **changes: Any) -> list[str]:
        return [told.split(" with ")[0] for told in memory.smaller_settings(make_job_settings(**changes), size, chosen)]

    long = memory.BatchSize(32, 320, 512)
    assert advice(long, batch_size=32) == [
        "set batch_size: 16",
        "max_batch_tokens: 81920",
        "max_sen_len: 256",
        "max_total_chunks: 5",
    ]
    assert advice(long, max_batch_tokens=200_000)[0] == "max_batch_tokens: 81920"
    assert advice(memory.BatchSize(1, 10, 512), batch_size=32) == ["max_sen_len: 256", "max_total_chunks: 5"]
    assert advice(memory.BatchSize(8, 0, 0), batch_size=8) == ["set batch_size: 4"]
    assert advice(memory.BatchSize(1, 0, 0)) == []


def test_scoring_that_runs_out_of_memory_names_the_largest_batch_of_its_splits() -> None:
    data = make_random_split(60)
    with (
        pytest.raises(BatchMemoryError) as caught,
        memory.explain_scoring_memory(
            [make_random_split(7), data], make_job_settings(batch_size=20), torch.device("cpu")
        ),
    ):
        raise MemoryError
    longest = int(data.row_tokens().max())
    assert "while the trained model was scoring: 20 rows, 20 chunks of " in str(caught.value)
    assert f"{20 * longest} tokens with padding" in str(caught.value)
    assert "set batch_size: 10" in str(caught.value)


HUNGRY = """
import resource, sys
from pathlib import Path
from shop import JobFolder
folder = JobFolder(Path(sys.argv[1])).fill(max_epochs=1)
import torch
import fusionzoo.training.module as module
forward = module.Classifier.forward
def hungry(self, batch):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return forward(self, batch) + torch.ones(2**28).sum() * 0
module.Classifier.forward = hungry
sys.exit(folder.run())
"""


def test_a_job_that_really_has_too_little_memory_leaves_the_advice_as_its_cause(tmp_path: Path) -> None:
    run = [sys.executable, "-c", HUNGRY, str(tmp_path / "ml")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(run, capture_output=True, text=True, env=environ)
    cause = (tmp_path / "ml/output/failure").read_text()
    assert done.returncode == 1
    assert cause.startswith("Out of memory in training step 1 (epoch 1): 16 rows, 16 chunks of ")
    assert "(ulimit -v)" in cause
    assert "set batch_size: 8 with accumulate_grad_batches: 2" in cause
    assert "Traceback" not in done.stdout


# --- the metric that chooses


@pytest.mark.parametrize("metric", ["val_loss", *(f"val/{name}" for name in METRICS)])
def test_every_metric_chooses_the_best_validation_of_a_whole_job(metric: str, job: JobFolder, capsys: Any) -> None:
    job.fill(rows=100, early_stop_metric=metric, max_epochs=4, early_stop_patience=9, lr=0.02)
    assert job.run() == 0, job.failure
    name = metric.replace("/", "_")
    out = capsys.readouterr().out
    seen = [float(value) for value in re.findall(rf"#metric {name}=([\d.]+);", out)][:4]  # later, of what ships
    best = (min if metric in ("val_loss", "val/log_loss", "val/brier_score") else max)(seen)
    saved = torch.load(job.root / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    (kept,) = [state for key, state in saved.items() if key.startswith("Kept")]
    assert len(seen) == 4
    assert kept["monitor"] == metric
    assert float(kept["best_model_score"]) == pytest.approx(best, abs=1e-6)
    if metric.startswith("val/"):
        final = json.loads((job.output / "metrics.json").read_text())["splits"]["val"]["metrics"]
        assert final[metric.removeprefix("val/")] == pytest.approx(best, abs=0.03), "training may be in bf16"


@pytest.mark.parametrize("metric", [f"val/{name}" for name in METRICS])
def test_a_val_of_one_class_is_refused_for_every_metric_before_training(metric: str, job: JobFolder) -> None:
    job.fill(early_stop_metric=metric)
    job.channel("val", shop_rows(30, 1).assign(target=1))
    assert job.run() == 1
    assert f"all rows are of one class, so {metric} is not defined" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


def test_a_val_whose_classes_all_have_weight_0_is_refused_before_the_first_step(job: JobFolder) -> None:
    job.fill(class_weights=[0.0, 1.0])
    job.channel("val", shop_rows(30, 1).assign(target=0))
    assert job.run() == 1
    assert "all rows are of classes with weight 0 (class_weights 0, 1), so val_loss is 0 / 0" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_metric_without_a_value_is_an_error_and_no_silent_stop(value: float | None) -> None:
    guard = divergence.ValidationGuard(make_job_settings(early_stop_metric="val/auroc"), make_random_split(9))
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.MonkeyPatch.context() as patched:
        found = {} if value is None else {"val/auroc": torch.tensor(value)}
        patched.setattr(Trainer, "callback_metrics", found)
        with pytest.raises(MetricUndefinedError, match="early_stop_metric val/auroc is"):
            guard.on_validation_end(trainer, None)  # type: ignore[arg-type]
        patched.setattr(Trainer, "callback_metrics", {"val/auroc": torch.tensor(0.5)})
        guard.on_validation_end(trainer, None)  # type: ignore[arg-type]
