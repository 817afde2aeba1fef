"""Check a built model before it is trained: what it returns, its metrics, its scores, and its export.

The warnings about the labels come here, too.
"""

from __future__ import annotations

import logging
import time

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from fusionzoo import errors
from fusionzoo.artifacts import model_folder, onnx_export
from fusionzoo.artifacts.file_names import ONNX_FILE
from fusionzoo.atomic_files import free_space, temporary_folder
from fusionzoo.evaluation.metric_directions import val_metric
from fusionzoo.nn.inference import get_logits
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.training import score_checks
from fusionzoo.training.checkpointing.time_limit import TimeBudget
from fusionzoo.training.finish_time import make_time_budget
from fusionzoo.training.frozen.probe import preserve_state
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)

CHECKED_ROWS = 2
MOMENTS = {"adamw": 2, "adam": 2, "sgd": 0}
"""The tensors that an optimizer keeps for each weight, at least."""


def check_before_training(run: TrainingRun) -> TimeBudget | None:
    """Check the model, its export and the metrics of plugins; return the time budget of `max_minutes`.

    Warns of labels that limit any model. A resumed job has been checked. With `max_minutes` it exports again, to
    measure the time.
    """
    check_plugin_metrics(run)
    minutes, point = run.job.max_minutes, run.resume_point
    is_checked = point is not None and (point.training_summary is not None or minutes is None)
    if not run.world.is_first:
        return None
    check_output(run)
    check_checkpoint_space(run)
    if is_checked:
        return None
    for limit in run.label_limits:
        if limit.effect:
            log.warning("%s", limit.describe())
    score_checks.check_scores(run)
    started = time.monotonic()
    check_export(run)
    return None if minutes is None else make_time_budget(run, minutes, time.monotonic() - started)


def check_output(run: TrainingRun) -> None:
    """Check that the model returns logits for each row without labels, as it does in predictions.

    Its penalties and metrics are checked in training, too.

    Raises:
        errors.PluginContractError: `forward` returns something else.
    """
    claim, rows = run.architecture.model.claim, min(CHECKED_ROWS, len(run.data.splits["train"]))
    for is_training in (False, True):
        output = _run_forward(run, rows, is_training)
        if not isinstance(output, Tensor | ModelOutput):
            raise errors.PluginContractError.wrong_output(claim, f"forward() returned {type(output).__name__}")
        logits, shape = get_logits(output), (rows, run.data.spec.num_outputs)
        if logits.shape != shape or not logits.is_floating_point():
            dtype = str(logits.dtype).removeprefix("torch.")
            found = f"forward() returned {dtype} logits of shape {list(logits.shape)}"
            raise errors.PluginContractError.wrong_output(claim, f"{found} where [rows, outputs] is {list(shape)}")
        if isinstance(output, ModelOutput):
            _check_scalars(claim, output)


def _run_forward(run: TrainingRun, rows: int, is_training: bool) -> object:
    """Return what the model returns for the first rows of train; with labels in training, as there."""
    model, arrays = run.built.model, run.data.splits["train"].batch(np.arange(rows))
    batch = Batch.from_arrays({name: v for name, v in arrays.items() if is_training or name != "labels"})
    try:
        with torch.no_grad(), isolate_rng(), preserve_state(model):
            output: object = model.train(is_training)(batch)
    except Exception as error:
        errors.add_note(error, errors.hook_note(run.architecture.model.claim, "forward"))
        raise
    return output


def _check_scalars(claim: errors.Claim, output: ModelOutput) -> None:
    for kind in ("penalties", "metrics"):
        for name, value in getattr(output, kind).items():
            if not isinstance(value, Tensor):
                found = f"a value of the type {type(value).__name__}"
            elif value.shape != ():
                found = f"a tensor of shape {list(value.shape)}"
            else:
                continue
            raise errors.PluginContractError.wrong_scalar(claim, f"{kind}['{name}']", found)


def check_checkpoint_space(run: TrainingRun) -> None:
    """Check that a checkpoint fits into its folder; more of them replace each other or are found to be too many later.

    Raises:
        errors.OutputError: there is not enough space.
    """
    if run.resume_point is not None and run.resume_point.training_summary is not None:
        return  # a finished training writes none
    model, copies = run.built.model, MOMENTS[run.job.optimizer]
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    needed = weights + copies * sum(weight.nbytes for weight in model.parameters() if weight.requires_grad)
    free = free_space(run.paths.checkpoints)
    if free is not None and free < needed:
        raise errors.OutputError.no_space_for_checkpoint(run.paths.checkpoints, needed, free)


def check_export(run: TrainingRun) -> None:
    """Export the untrained model to ONNX once, so that a model that cannot be exported fails before it is trained."""
    folder = run.paths.model
    if run.job.onnx == "off":
        return
    has_adapters = bool(run.built.adapters)  # which the model at the end of the job does not have
    model = run.architecture.build(run.data.spec).model if has_adapters else run.built.model
    with model_folder.allow_failed_export(run.job), temporary_folder(folder) as temporary:
        path, max_tokens = temporary / ONNX_FILE, run.data.preprocessor.max_tokens
        onnx_export.export_onnx(model, run.objective.link, run.data.splits["val"], path, max_tokens)


def check_plugin_metrics(run: TrainingRun) -> None:
    """Compute the metrics of plugins once, for the labels of val and random outputs, before the training.

    Raises:
        errors.PluginMetricError: the function of a metric fails, or val does not define the `early_stop_metric`.
    """
    val = run.data.splits["val"]
    if not run.evaluator.plugin_metrics or val.labels is None:
        return
    generator = torch.Generator().manual_seed(run.job.seed)  # the random state of the training does not change
    outputs = torch.randn(len(val), run.data.spec.num_outputs, generator=generator)
    scores = run.objective.link(outputs).numpy()
    for metric in run.evaluator.plugin_metrics:
        value = metric.compute(val.labels, scores)
        if value is None and run.job.early_stop_metric == val_metric(metric.name):
            raise errors.PluginMetricError.undefined_on_val(metric.claim, metric.name)
