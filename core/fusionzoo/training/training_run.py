"""All that one process needs to train one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from fusionzoo.architecture import Architecture, BuiltModel
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.tasks.label_limits import LabelLimit
from fusionzoo.tasks.objective import Objective
from fusionzoo.tasks.objectives import make_objective
from fusionzoo.tasks.plugin_metrics import JobEvaluator
from fusionzoo.tasks.task import Task
from fusionzoo.training.checkpointing.resume_point import ResumePoint
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.monitoring.phases import Phases
from fusionzoo.training.monitoring.throughput import Throughput
from fusionzoo.training.precision import PrecisionChoice
from fusionzoo.training.prepare_data import TrainingData
from fusionzoo.training.resolved_settings import ResolvedJobSettings
from fusionzoo.training.termination import Termination


@dataclass(frozen=True)
class TrainingRun:
    """One process's part of a training: the model and the data, where its files go, and where it starts.

    By default, the training starts from the beginning, in a single process that handles no signals. `job` has core's
    settings with the defaults that depend on the rows. `init_report` says what `init_from` gave to the model; None
    without that setting.
    """

    paths: Paths
    architecture: Architecture
    job: ResolvedJobSettings
    built: BuiltModel
    data: TrainingData
    precision: PrecisionChoice
    world: World = SINGLE_PROCESS
    resume_point: ResumePoint | None = None
    job_fingerprint: Mapping[str, str] = field(default_factory=dict)
    termination: Termination = field(default_factory=Termination)
    throughput: Throughput = field(default_factory=lambda: Throughput(Phases()))
    init_report: Mapping[str, Any] | None = None

    @cached_property
    def task(self) -> Task:
        """The task of the job."""
        return self.data.task

    @cached_property
    def evaluator(self) -> JobEvaluator:
        """The metrics of the task and of the plugins."""
        return JobEvaluator(self.task, self.architecture.metrics)

    @cached_property
    def objective(self) -> Objective:
        """What the job minimizes.

        Raises:
            errors.DataError: the settings of the loss do not fit the labels of train.
        """
        return make_objective(self.task, self.job, self.data.splits["train"])

    @cached_property
    def label_limits(self) -> list[LabelLimit]:
        """What about the labels of train and val limits any model."""
        train, val = (self.data.splits[name].labels for name in ("train", "val"))
        return [] if train is None or val is None else self.task.find_label_limits(train, val, self.job)

    def describe(self) -> dict[str, Any]:
        """Return what metrics.json holds about a training besides its course, as plain values."""
        init_from = {} if self.init_report is None else {"init_from": self.init_report}
        return {
            **self.precision.as_metrics(),
            "settings": self.job.choices(),
            **self.objective.summary(),
            **init_from,
        }

    @property
    def pretrained_encoder(self) -> nn.Module | None:
        """The text encoder inside the model if it starts from pretrained weights."""
        return self.built.text_encoder if self.architecture.encoder_is_pretrained else None
