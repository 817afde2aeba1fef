"""`fusionzoo serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fusionzoo.cli.number_option import MAX_MEGABYTES, MAX_SECONDS, number_option
from fusionzoo.cli.output import exit_on_sigterm, exit_on_user_error
from fusionzoo.cli.path_option import path_option
from fusionzoo.server.server_limits import MAX_CONCURRENCY, ServerLimits

PREFIX = "FUSIONZOO_SERVE_"
DEFAULTS = ServerLimits()
MEGABYTE = 1_000_000
Model = Annotated[
    Path | None,
    path_option("--model", "The model folder that a training job wrote; by default the one that SageMaker mounts."),
]
Host = Annotated[
    str, typer.Option(envvar=f"{PREFIX}HOST", help="The address to listen at; 0.0.0.0, or ::, for other machines too.")
]
Port = Annotated[int, typer.Option(envvar=[f"{PREFIX}PORT", "SAGEMAKER_BIND_TO_PORT"], min=0, max=65535)]
Workers = Annotated[
    int | None,
    typer.Option(
        envvar=[f"{PREFIX}WORKERS", "SAGEMAKER_MODEL_SERVER_WORKERS"],
        min=1,
        help="The number of processes; by default one per core.",
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(
        envvar=f"{PREFIX}CONCURRENCY",
        min=1,
        max=MAX_CONCURRENCY,
        help="Requests that a process scores at the same time.",
    ),
]
MaxBody = Annotated[
    float,
    number_option(
        "The maximum size of a request, in millions of bytes.",
        envvar=f"{PREFIX}MAX_BODY_MB",
        min=0.001,
        max=MAX_MEGABYTES,
    ),
]
MaxRows = Annotated[
    int, typer.Option(envvar=f"{PREFIX}MAX_ROWS", min=1, max=10**12, help="The maximum number of rows of a request.")
]
MaxText = Annotated[
    int, typer.Option(envvar=f"{PREFIX}MAX_TEXT_LENGTH", min=1, help="The maximum number of characters of a value.")
]
QueueSeconds = Annotated[
    float,
    number_option(
        "How long a request waits for others, before it gets status 503.",
        envvar=f"{PREFIX}QUEUE_SECONDS",
        min=0,
        max=MAX_SECONDS,
    ),
]
RequestSeconds = Annotated[
    float,
    number_option(
        "How long a client may take to send a request.",
        envvar=f"{PREFIX}REQUEST_SECONDS",
        min=0.1,
        max=MAX_SECONDS,
    ),
]

MaxHeld = Annotated[
    float,
    number_option(
        "Requests and responses that a process holds at the same time, in millions of bytes.",
        envvar=f"{PREFIX}MAX_HELD_MB",
        min=0.001,
        max=MAX_MEGABYTES,
    ),
]


def serve(
    context: typer.Context,
    model: Model = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    workers: Workers = None,
    concurrency: Concurrency = DEFAULTS.concurrency,
    max_body_mb: MaxBody = DEFAULTS.max_body_bytes / MEGABYTE,
    max_rows: MaxRows = DEFAULTS.max_rows,
    max_text_length: MaxText = DEFAULTS.max_text_length,
    queue_seconds: QueueSeconds = DEFAULTS.queue_seconds,
    request_seconds: RequestSeconds = DEFAULTS.request_seconds,
    max_held_mb: MaxHeld = DEFAULTS.max_held_bytes / MEGABYTE,
) -> None:
    """Answer HTTP requests with the predictions of a trained model, until SIGTERM or Ctrl-C.

    GET / is a page that scores one row, and GET /openapi.json describes all paths. See docs/serving.md.
    """
    with exit_on_user_error(), exit_on_sigterm():  # gunicorn has its own handler: this is for the time before
        from fusionzoo.registry.extras import check_extra

        check_extra("serve")
        from fusionzoo.artifacts.verified_folder import find_model_folder
        from fusionzoo.container_limits import count_cores
        from fusionzoo.sagemaker import Paths
        from fusionzoo.server.gunicorn_server import ServeOptions, run_server
        from fusionzoo.server.transform_limits import fit_transform_job

        model = model or find_model_folder(Paths.from_environment(os.environ).model)
        limits = ServerLimits(
            max_body_bytes=int(max_body_mb * MEGABYTE),
            max_rows=max_rows,
            max_text_length=max_text_length,
            concurrency=concurrency,
            queue_seconds=queue_seconds,
            request_seconds=request_seconds,
            max_held_bytes=int(max_held_mb * MEGABYTE),
        )
        limits = fit_transform_job(limits, _list_given_limits(context), os.environ)
        run_server(ServeOptions(model, host, port, workers or count_cores(), limits))


def _list_given_limits(context: typer.Context) -> list[str]:
    """Return the names of the limits that the command line or the environment sets."""
    options = {"max_body_mb": "max_body_bytes", "max_rows": "max_rows", "queue_seconds": "queue_seconds"}
    sources = {limit: context.get_parameter_source(option) for option, limit in options.items()}
    return [limit for limit, source in sources.items() if source and source.name in ("COMMANDLINE", "ENVIRONMENT")]
