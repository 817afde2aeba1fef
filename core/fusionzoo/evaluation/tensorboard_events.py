"""The evaluation as TensorBoard shows it: scalars, precision-recall curves and the plots."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fusionzoo.evaluation.curves import Counts
from fusionzoo.evaluation.split_evaluation import SplitEvaluation

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

EVENT_FILE = "events.out.tfevents.evaluation"


def write_events(folder: Path, splits: Sequence[SplitEvaluation], plots: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write one event file of a fixed name, so that a second evaluation replaces the first.

    Tags: `<split>/<metric>`, `<split>/ece_equal_width`, `<split>/ece_equal_mass`, `<split>/pr/<class>`,
    `<split>/plots/<plot>`. What is None has no tag. TensorBoard keeps float32.

    Args:
        folder: created where it is not there.
        splits: the evaluations.
        plots: PNG bytes by split and plot name, as `fusionzoo.evaluation.plots.draw` makes them.

    Raises:
        OSError: the file cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for split in splits:
            _scalars(writer, split)
            for name, curve in split.curves.items():
                _pr_curve(writer, f"{split.name}/pr/{name}", curve.counts)
            for name, png in plots[split.name].items():
                image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
                writer.add_image(f"{split.name}/plots/{name}", image, dataformats="HWC")
        written = Path(writer.file_writer.event_writer._file_name)
    written.replace(folder / EVENT_FILE)


def _scalars(writer: SummaryWriter, split: SplitEvaluation) -> None:
    metrics = dict(split.metrics)
    for name, bins in (("equal_width", split.calibration.equal_width), ("equal_mass", split.calibration.equal_mass)):
        metrics[f"ece_{name}"] = None if bins is None else bins.expected_calibration_error
    for name, figure in metrics.items():
        if figure is not None:
            writer.add_scalar(f"{split.name}/{name}", figure)


def _pr_curve(writer: SummaryWriter, tag: str, counts: Counts) -> None:
    tp, fp, tn, fn = (
        np.array(column, dtype=np.float64)
        for column in (
            counts.true_positives,
            counts.false_positives,
            counts.true_negatives,
            counts.false_negatives,
        )
    )
    predicted = tp + fp
    precision = np.divide(tp, predicted, out=np.ones_like(tp), where=predicted > 0)
    writer.add_pr_curve_raw(tag, tp, fp, tn, fn, precision, tp / (tp + fn), num_thresholds=len(tp))
