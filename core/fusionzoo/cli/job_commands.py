"""`fusionzoo train` and `fusionzoo demo`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusionzoo.cli.output import pairs, print_table, reported

if TYPE_CHECKING:
    from fusionzoo.sagemaker.paths import Paths

Root = Annotated[Path, typer.Option(help="The folder that stands for /opt/ml.")]


def train(root: Root = Path("/opt/ml")) -> None:
    """Train the job in a folder laid out as SageMaker does.

    As train.py does with SAGEMAKER_BASE_DIR set.
    """
    raise typer.Exit(_run(root))


def demo(
    rows: Annotated[int, typer.Option(min=200, help="Rows of all splits together.")] = 16_000,
    root: Root = Path("demo"),
    model_class: Annotated[str, typer.Option(help="The architecture to train.")] = "multimodal_cnn",
    setting: Annotated[list[str] | None, typer.Option("--set", help="Another hyperparameter, as key=value.")] = None,
) -> None:
    """Make up a shop's messages and orders, and train.

    Ends with a comparison of the model and the best possible one.
    """
    from fusionzoo.demo import shop as demo_data

    with reported():
        made = demo_data.generate_demo_data(root, rows)
        demo_data.write_hyperparameters(root, made, model_class, pairs(setting))
    for checkpoint in (root / "checkpoints").glob("*.ckpt"):
        checkpoint.unlink()  # each demo starts from the beginning
    status = _run(root)
    if status == 0:
        _show(root, made.bayes_auroc)
    raise typer.Exit(status)


def _run(root: Path) -> int:
    from fusionzoo.sagemaker.paths import run_job

    return run_job(_train, {**os.environ, "SAGEMAKER_BASE_DIR": str(root.resolve())})


def _train(paths: Paths) -> None:
    from fusionzoo.training.launch import run_training

    run_training(paths)


def _show(root: Path, bayes_auroc: Mapping[str, float]) -> None:
    """A short table of the test figures beside the ceiling, and where everything is."""
    from fusionzoo.sagemaker.paths import Paths

    paths = Paths.from_environment({**os.environ, "SAGEMAKER_BASE_DIR": str(root.resolve())})
    report = json.loads((paths.output_data / "metrics.json").read_text("utf-8"))
    metrics = [
        (
            name,
            "undefined" if value is None else f"{value:.4f}",
            f"{bayes_auroc['test']:.4f}" if name == "auroc" else "",
        )
        for name, value in report["splits"]["test"]["metrics"].items()
    ]
    print_table(("figure", "test", "best possible"), metrics, title="The demo's test split")
    for label, path in (("model", paths.model), ("evaluation", paths.output_data), ("settings", paths.hyperparameters)):
        typer.echo(f"{label:<11} {path}")
