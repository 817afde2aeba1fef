"""`fusionzoo package`."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from fusionzoo.cli.output import AsJson, exit_on_sigterm, exit_on_user_error, print_json, print_table
from fusionzoo.cli.path_option import path_option
from fusionzoo.errors.wording import pluralize

Model = Annotated[Path, path_option("--model", "The model folder that a training job wrote.")]
Output = Annotated[
    Path, path_option("--output", "The archive to write, which must not exist; its name ends in .tar.gz.")
]
SCRIPT = "code/inference.py"


def package(model: Model, output: Output = Path("model.tar.gz"), as_json: AsJson = False) -> None:
    """Write a model.tar.gz for SageMaker: the verified files of a model folder, and code/inference.py.

    Equal folders give equal archives. See docs/serving.md.
    """
    with exit_on_user_error(), exit_on_sigterm():
        from fusionzoo.artifacts.archive_writer import write_archive

        code = {SCRIPT: files("fusionzoo.server").joinpath("inference_script.py").read_bytes()}
        written = write_archive(model, output, code)
    if as_json:
        print_json(
            {
                "path": str(output),
                "size": written.size,
                "sha256": written.sha256,
                "model_checksum": written.model_checksum,
                "files": list(written.names),
            }
        )
        return
    print_table(
        ("archive", str(output)),
        [
            ("size", pluralize(written.size, "byte")),
            ("SHA-256", written.sha256),
            ("model version", written.model_checksum[:12]),
            ("files", ", ".join(written.names)),
        ],
    )
    upload = shlex.join(["aws", "s3", "cp", str(output), f"s3://BUCKET/PREFIX/{output.name}"])
    typer.echo(f"Next: {upload}")
    typer.echo(
        "Then create a SageMaker model with an image in which fusionzoo[serve] is installed, see docs/deploy.md."
    )
