"""The command line: `fusionzoo list`, `train`, `demo`. Plain text when piped, `--json` for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fusionzoo.sagemaker import Paths

app = typer.Typer(
    help="Train, trust and ship classifiers over text and a table side by side.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Root = Annotated[Path, typer.Option(help="The folder that stands for /opt/ml.")]


@app.command("list")
def list_plugins(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the installed architectures and text encoders; no plugin is imported."""
    from fusionzoo.registry import MODELS, TEXT_ENCODERS, Registry

    rows = [
        {"kind": kind, "name": name, "distribution": provider.distribution, "version": provider.version}
        for kind, group in (("model_class", MODELS), ("text_encoder", TEXT_ENCODERS))
        for name, providers in Registry.discover(group).items()
        for provider in providers
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['kind']:<13} {row['name']:<28} {row['distribution']} {row['version']}")


@app.command()
def train(root: Root = Path("/opt/ml")) -> None:
    """Train the job in a folder laid out as SageMaker does: only SAGEMAKER_BASE_DIR is set, then as train.py."""
    raise typer.Exit(_run(root))


@app.command()
def demo(
    rows: Annotated[int, typer.Option(min=200, help="Rows of all splits together.")] = 16_000,
    root: Root = Path("demo"),
    model_class: Annotated[str, typer.Option(help="The architecture to train.")] = "multimodal_cnn",
    setting: Annotated[list[str] | None, typer.Option("--set", help="Another hyperparameter, as key=value.")] = None,
) -> None:
    """Make up a shop's messages and orders, train on them, and compare the model with the best possible one."""
    from fusionzoo import demo as demo_data
    from fusionzoo import errors

    try:
        made = demo_data.generate(root, rows)
        demo_data.write_hyperparameters(root, made, model_class, dict(_pair(given) for given in setting or []))
    except errors.ZooError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    status = _run(root)
    if status == 0:
        _show(root, made.bayes_auroc)
    raise typer.Exit(status)


def _pair(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{given!r} is not key=value", param_hint="--set")
    return key, value


def _run(root: Path) -> int:
    from fusionzoo.sagemaker import run_job

    return run_job(_train, {**os.environ, "SAGEMAKER_BASE_DIR": str(root.resolve())})


def _train(paths: Paths) -> None:
    from fusionzoo.training.job import train as train_job

    train_job(paths)


def _show(root: Path, bayes_auroc: Mapping[str, float]) -> None:
    """A short table of the test figures beside the ceiling, and where everything is."""
    from rich.console import Console
    from rich.table import Table

    from fusionzoo.sagemaker import Paths

    paths = Paths.from_environment({**os.environ, "SAGEMAKER_BASE_DIR": str(root.resolve())})
    report = json.loads((paths.output_data / "metrics.json").read_text("utf-8"))
    table = Table("figure", "test", "best possible", title="The demo's test split")
    for name, value in report["splits"]["test"]["metrics"].items():
        ceiling = f"{bayes_auroc['test']:.4f}" if name == "auroc" else ""
        table.add_row(name, "undefined" if value is None else f"{value:.4f}", ceiling)
    console = Console()
    console.print(table)
    for label, path in (("model", paths.model), ("evaluation", paths.output_data), ("settings", paths.hyperparameters)):
        typer.echo(f"{label:<11} {path}")
