"""The evaluation that a job writes: metrics.json, plots and TensorBoard events, from one computation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.evaluation.split_evaluation import Evaluator, Metrics, ScoredSplit, SplitEvaluation
from fusionzoo.evaluation.tensorboard_events import write_events

__all__ = ["Report", "ScoredSplit", "evaluate"]

METRICS_FILE = "metrics.json"
PLOTS_FOLDER = "plots"
EVENTS_FOLDER = "tensorboard_eval"


@dataclass(frozen=True)
class Report:
    """The evaluations of all splits, and the task that made them."""

    splits: tuple[SplitEvaluation, ...]
    evaluator: Evaluator

    def metrics(self, split: str) -> Metrics:
        """Return the metrics of one split, as its task names them."""
        return next(evaluation.metrics for evaluation in self.splits if evaluation.name == split)

    def as_json(self, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the content of metrics.json: `splits`, the target, and the entries of `extra`.

        Raises:
            errors.ReportEntryError: `extra` has an entry with one of those names.
        """
        content = {
            "splits": {evaluation.name: evaluation.as_json() for evaluation in self.splits},
            **self.evaluator.report_entries(),
        }
        if reserved := sorted(content.keys() & (extra or {}).keys()):
            raise errors.ReportEntryError(reserved)
        return {**content, **(extra or {})}

    def write(
        self,
        folder: Path,
        extra: Mapping[str, Any] | None = None,
        training_plots: Mapping[str, bytes] | None = None,
        *,
        events: bool = True,
    ) -> None:
        """Write metrics.json, plots/<split>_<plot>.png and tensorboard_eval/ into `folder`.

        To write all files or none, pass the folder that `fusionzoo.atomic_files.staged_folder` yields.

        Args:
            folder: created if it does not exist.
            extra: additional top-level entries of metrics.json, for example the training summary.
            training_plots: PNG bytes by name, of the training instead of a split; written as plots/training_<plot>.png.
            events: whether to write tensorboard_eval/, which needs torch.

        Raises:
            errors.ReportEntryError: `extra` has an entry with a name that the report uses.
            ValueError: `extra` holds NaN or an infinity, which JSON cannot represent.
            OSError: a file cannot be written.
        """
        text = strict_json(self.as_json(extra)) + "\n"
        plots = {evaluation.name: self.evaluator.draw_plots(evaluation) for evaluation in self.splits}
        if training_plots:
            plots["training"] = dict(training_plots)
        (folder / PLOTS_FOLDER).mkdir(parents=True, exist_ok=True)
        for split, split_plots in plots.items():
            for name, png in split_plots.items():
                (folder / PLOTS_FOLDER / f"{split}_{name}.png").write_bytes(png)
        if events:
            write_events(folder / EVENTS_FOLDER, self.splits, plots)
        (folder / METRICS_FILE).write_text(text, encoding="utf-8")


def evaluate(splits: Mapping[str, ScoredSplit], evaluator: Evaluator, heading: str = "") -> Report:
    """Evaluate each split once, on its rows with a label. A split without such rows is left out.

    Args:
        splits: by name.
        evaluator: the task of the job.
        heading: the first line of every plot: the model and what it predicts.

    Raises:
        errors.ScoresError: labels or scores that the task cannot evaluate.
    """
    labeled = {name: scored.labeled_rows() for name, scored in splits.items()}
    evaluations = tuple(
        evaluator.evaluate_split(name, labeled[name], heading)
        for name, scored in splits.items()
        if len(labeled[name].labels) or not len(scored.labels)
    )
    return Report(evaluations, evaluator)


def strict_json(value: object, indent: str = "") -> str:
    """Return JSON with sorted keys, one line per entry, and lists of plain values on one line.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        entries = [f"{_to_json(str(name))}: {strict_json(value[name], inner)}" for name in sorted(value)]
        return "{\n" + ",\n".join(inner + entry for entry in entries) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        return "[\n" + ",\n".join(inner + strict_json(item, inner) for item in value) + f"\n{indent}]"
    return _to_json(value)


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
