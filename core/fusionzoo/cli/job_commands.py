"""`fusionzoo train` and `fusionzoo demo`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusionzoo.cli.first_process import restore_sigterm
from fusionzoo.cli.output import exit_on_user_error, parse_key_value_pairs, print_table
from fusionzoo.cli.path_option import path_option
from fusionzoo.evaluation.metric_text import format_metric

if TYPE_CHECKING:
    from fusionzoo.sagemaker.paths import Paths

ROOT_OPTION = path_option("--root", "The folder to use instead of the one that SageMaker mounts.")


def train(root: Annotated[Path | None, ROOT_OPTION] = None) -> None:
    """Run the training job of a folder with SageMaker's layout.

    The same as train.py with SAGEMAKER_BASE_DIR set to the folder. Without a folder, the same as train.py.
    """
    if root is not None and not root.is_dir():  # a job would create it for the failure file
        raise typer.BadParameter(f"there is no folder {root}", param_hint="--root")
    raise typer.Exit(_run(root))


def demo(
    task: Annotated[
        str, typer.Option(help="What to predict: classification, multilabel or regression.")
    ] = "classification",
    rows: Annotated[int, typer.Option(min=200, help="Total number of rows of all splits.")] = 16_000,
    root: Annotated[Path, ROOT_OPTION] = Path("demo"),
    model_class: Annotated[str, typer.Option(help="The architecture to train.")] = "multimodal_cnn",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Any hyperparameter, as key=value; repeatable.")
    ] = None,
) -> None:
    """Generate messages and orders of a shop, and train on them.

    Prints the model's test metrics and the best possible ones.
    """
    from fusionzoo.registry.extras import check_extra

    with exit_on_user_error():
        check_extra("train")
    from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT
    from fusionzoo.demo.data_set import generate_demo_data, list_demo_parts, write_hyperparameters
    from fusionzoo.demo.demo_targets import DEMO_TARGETS

    if task not in DEMO_TARGETS:
        raise typer.BadParameter(f"{task!r} is not one of {', '.join(DEMO_TARGETS)}", param_hint="--task")
    with exit_on_user_error():
        overrides = parse_key_value_pairs(setting)
        list_demo_parts(root)  # before the job moves the results of an earlier one
    best_metrics: dict[str, float | None] = {}

    def prepare() -> None:
        best_metrics.update(generate_demo_data(root, rows, task=task).best_metrics["test"])
        write_hyperparameters(root, model_class, overrides, task)
        for checkpoint in (root / PYTORCH_TRAIN_CONTRACT.relative_path("checkpoints")).glob("*.ckpt"):
            checkpoint.unlink()  # a demo never resumes

    status = _run(root, prepare)
    if status == 0:
        _print_results(root, best_metrics)
    raise typer.Exit(status)


def _run(root: Path | None, prepare: Callable[[], None] | None = None) -> int:
    """Run the job and return its exit status; `prepare` runs first, while no other job may use the folder."""
    from fusionzoo.sagemaker import run_job

    def run(paths: Paths) -> None:
        if prepare is not None:
            prepare()
        _run_training(paths)

    restore_sigterm()
    return run_job(run, make_environment(root))


def _run_training(paths: Paths) -> None:
    from fusionzoo.registry.extras import check_extra

    check_extra("train")
    from fusionzoo.training.launch import run_training

    run_training(paths)


def make_environment(root: Path | None) -> dict[str, str]:
    """Return the environment variables of a job whose root folder is `root`."""
    return {**os.environ} if root is None else {**os.environ, "SAGEMAKER_BASE_DIR": str(root.resolve())}


def _print_results(root: Path, best_metrics: Mapping[str, float | None]) -> None:
    """Print the test metrics with the best possible ones, and the paths of what the job wrote."""
    from fusionzoo.sagemaker.paths import Paths

    paths = Paths.from_environment(make_environment(root))
    report = json.loads((paths.output_data / "metrics.json").read_text("utf-8"))
    metrics = report["splits"]["test"]["metrics"]
    rows = [
        (name, format_metric(value), format_metric(best_metrics[name]) if name in best_metrics else "")
        for name, value in metrics.items()
    ]
    print_table(("metric", "test", "best possible"), rows, title="Test split of the demo")
    for label, path in (("model", paths.model), ("evaluation", paths.output_data), ("settings", paths.hyperparameters)):
        typer.echo(f"{label:<11} {path}")
