"""The evaluation as TensorBoard events: scalars, precision-recall curves and plots."""

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
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter

EVENT_FILE = "events.out.tfevents.evaluation"
RGB = 3  # channels, which TensorBoard calls the color space


def write_events(folder: Path, splits: Sequence[SplitEvaluation], plots: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write one event file with a fixed name, so that a second evaluation replaces the first.

    Tags: `<split>/<metric>`, `<split>/ece_equal_width`, `<split>/ece_equal_mass`, `<split>/pr/<class>`,
    `<split>/plots/<plot>`. An undefined value has no tag. TensorBoard stores float32.

    Args:
        folder: created if it does not exist.
        splits: the evaluations.
        plots: PNG bytes by split and plot name, as `Evaluator.draw_plots` returns them.

    Raises:
        OSError: the file cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for split in splits:
            _add_scalars(writer, split)
            for name, counts in split.curve_counts().items():
                _add_pr_curve(writer, f"{split.name}/pr/{name}", counts)
        for group, images in plots.items():
            for name, png in images.items():
                writer.file_writer.add_summary(_make_image_summary(f"{group}/plots/{name}", png))
        event_file = Path(writer.file_writer.event_writer._file_name)
    event_file.replace(folder / EVENT_FILE)


def _make_image_summary(tag: str, png: bytes) -> Summary:
    """Return an event with the PNG file itself; `SummaryWriter.add_image` would decode and encode it again."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = Image.open(io.BytesIO(png)).size
    image = Summary.Image(height=height, width=width, colorspace=RGB, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _add_scalars(writer: SummaryWriter, split: SplitEvaluation) -> None:
    for name, value in split.scalars().items():
        if value is not None:
            writer.add_scalar(f"{split.name}/{name}", value)


def _add_pr_curve(writer: SummaryWriter, tag: str, counts: Counts) -> None:
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
