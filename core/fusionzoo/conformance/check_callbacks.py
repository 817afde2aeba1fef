"""The check of the callbacks with which a plugin takes part in the training."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.conformance.forward import compute_logits, largest_difference, train_on
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import EXAMPLE_ROWS, Subject
from fusionzoo.conformance.synthetic_rows import encode_rows, make_batch, make_rows
from fusionzoo.errors import SettingError, ZooError, add_note
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.tasks.objectives import make_objective

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from fusionzoo.tasks.task_examples import TaskExample

EPOCHS, BATCH_SIZE = 2, 4


def check_callbacks(subject: Subject) -> None:
    """The hook `callbacks`, if present, returns Lightning callbacks, with which a training of two epochs works.

    What they change in the model is part of its state_dict.
    """
    callbacks = subject.model.callbacks(subject.settings)
    if not callbacks:
        return
    from lightning.pytorch import Callback

    if wrong := [type(callback).__name__ for callback in callbacks if not isinstance(callback, Callback)]:
        raise ConformanceError(
            f"callbacks() returned objects of type {', '.join(wrong[:5])}. Fix: return instances of "
            "lightning.pytorch.Callback"
        )
    job = next(subject.in_jobs_of_each_task())
    example = job.example
    if example is None:
        raise ValueError("a subject in a job of a task has an example")
    spec = replace(job.spec, num_outputs=example.task.target.num_outputs)
    try:
        job.architecture(spec)
    except (SettingError, ZooError):
        return  # check_task reports that the settings reject the job
    model = job.build(spec)
    try:
        _train(job, example, spec, model, callbacks)
    except Exception as error:
        names = ", ".join(type(callback).__name__ for callback in callbacks)
        add_note(error, f"This happened in a training of {EPOCHS} epochs with the plugin's callbacks: {names}.")
        raise
    _check_state(job, spec, model)


def _train(
    job: Subject, example: TaskExample, spec: InputSpec, model: nn.Module, callbacks: Sequence[Callback]
) -> None:
    """Train as a job does, with its LightningModule and the plugin's callbacks."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import CSVLogger

    from fusionzoo.training import lightning_compat, optimizers
    from fusionzoo.training.datamodule import SplitsDataModule
    from fusionzoo.training.module import TrainingModule

    settings = job.architecture(spec).job.model_copy(update={"batch_size": BATCH_SIZE, "max_epochs": EPOCHS})
    split = replace(encode_rows(spec, make_rows(spec, EXAMPLE_ROWS, seed=6)), labels=example.labels)
    splits = SplitsDataModule(split, split, settings)
    groups = optimizers.parameter_groups(model, None, settings, job.model.parameter_groups(model, job.settings))
    objective = make_objective(example.task, settings, split)
    steps = optimizers.steps_per_epoch(splits.steps, settings) * EPOCHS
    module = TrainingModule(model, settings, groups, objective, example.task.compute_metrics, steps)
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder, _quiet():
        trainer = Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            max_epochs=EPOCHS,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=any("ModelCheckpoint" in type(callback).__name__ for callback in callbacks),
            logger=CSVLogger(Path(folder)),
            callbacks=[*lightning_compat.make_compat_callbacks(), *callbacks],
        )
        trainer.fit(module.train(), datamodule=splits)
    model.cpu().eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """In the context, Lightning logs no tips, and warns of nothing."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_state(job: Subject, spec: InputSpec, model: nn.Module) -> None:
    """Check that a model with the state of the trained one gives its logits, unless it does not without callbacks."""
    batch = make_batch(spec, make_rows(spec, EXAMPLE_ROWS, seed=8))
    difference, attributes = _compare_with_restored(job, spec, model, batch)
    if not difference:
        return
    if _compare_with_restored(job, spec, train_on(job.build(spec), [batch]), batch)[0]:
        return  # check_state_dict_is_complete reports it
    found = f": {', '.join(attributes[:5])}" if attributes else ""
    raise ConformanceError(
        f"after a training with the plugin's callbacks, a model with the same state_dict gives logits that differ by "
        f"{difference:.2g}, because callbacks change state of the model that is not in its state_dict{found}. The job "
        "would fail at its end. Fix: make it a buffer (register_buffer), and change it with fill_ or copy_"
    )


def _compare_with_restored(job: Subject, spec: InputSpec, model: nn.Module, batch: Batch) -> tuple[float, list[str]]:
    """Return how much the logits differ from those of a new model with the same state, and attributes that differ."""
    restored = job.build(spec)
    restored.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
    difference = largest_difference(compute_logits(restored, batch), compute_logits(model, batch))
    return difference, _find_other_attributes(model, restored)


def _find_other_attributes(model: nn.Module, other: nn.Module) -> list[str]:
    """Return the plain attributes of the modules, such as numbers and tensors, that have other values."""
    others = dict(other.named_modules())
    found = []
    for name, module in model.named_modules():
        before = vars(others[name]) if name in others else {}
        for attribute, value in vars(module).items():
            if not attribute.startswith("_") and not _is_equal(value, before.get(attribute)):
                found.append(".".join(part for part in (name, attribute) if part))
    return found


def _is_equal(value: Any, other: Any) -> bool:
    """Return whether values are equal; True for those that cannot be compared, such as objects."""
    if isinstance(value, Tensor):
        return isinstance(other, Tensor) and value.shape == other.shape and bool(torch.equal(value, other))
    if isinstance(value, np.ndarray):
        return bool(np.array_equal(value, other))
    return value == other if isinstance(value, int | float | str | bool | None) else True
