"""Run the application with gunicorn: the model is loaded once, before the processes that serve are forked."""

from __future__ import annotations

import errno
import gc
import logging
import os
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionzoo import errors
from fusionzoo.atomic_files import free_space
from fusionzoo.server.access_log import configure_logs
from fusionzoo.server.metrics_folder import create_metrics_folder
from fusionzoo.server.server_limits import THREADS, ServerLimits

if TYPE_CHECKING:
    from flask import Flask

    from fusionzoo.server.scoring_service import ScoringService
    from fusionzoo.server.server_metrics import ServerMetrics

log = logging.getLogger(__name__)
DRAIN_SECONDS = 25  # SageMaker and Kubernetes kill a container 30 seconds after SIGTERM
KEEP_ALIVE_SECONDS = 75  # more than the 60 s of an AWS load balancer: if both closed at once, its request would fail
STALL_SECONDS = 120  # gunicorn replaces a process that did not answer it for so long
MEMORY_FOLDER = "/dev/shm"
MIN_FREE_BYTES = 16_000_000  # of temporary files: 200 kB for each process
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True)
class ServeOptions:
    """What the user gives to `fusionzoo serve`.

    Attributes:
        model: the model folder.
        host: the address to listen at.
        port: the port; 0 for any free one.
        workers: the number of processes.
        limits: what clients may do.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    limits: ServerLimits = field(default_factory=ServerLimits)


def find_temporary_folder() -> str:
    """Return the folder for the files of the metrics and of gunicorn: in memory, if this machine has such a folder.

    A full disk must not stop the server. The files are mapped into memory, and the system kills (SIGBUS) a process that
    writes to a page of such a file for which there is no space.

    Raises:
        errors.OutputError: there is no space, or no folder for temporary files.
    """
    try:
        folder = MEMORY_FOLDER if _has_space(MEMORY_FOLDER) else tempfile.gettempdir()
    except FileNotFoundError as error:  # all of them are read-only or full
        raise errors.OutputError.no_temporary_folder(error) from error
    if not _has_space(folder):
        cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise errors.OutputError.failed(Path(folder), cause, free_space(Path(folder)))
    return folder


def _has_space(folder: str) -> bool:
    free = free_space(Path(folder))
    return os.access(folder, os.W_OK) and (free is None or free >= MIN_FREE_BYTES)


def run_server(options: ServeOptions) -> None:
    """Verify and load the model, and serve it until SIGTERM or SIGINT. Ends with SystemExit, as gunicorn does.

    Raises:
        errors.ModelFolderError: the model folder cannot be used.
        errors.OutputError: there is no space for temporary files.
    """
    configure_logs()
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # of the tokenizer: each process has one core
    temporary = find_temporary_folder()
    with create_metrics_folder(Path(temporary)) as folder:
        os.environ[METRICS_VARIABLE] = str(folder)  # before prometheus_client is imported
        _serve(options, folder)


def _serve(options: ServeOptions, folder: Path) -> None:
    from fusionzoo.server.application import create_application
    from fusionzoo.server.loading_responder import answer_while_loading, open_listener
    from fusionzoo.server.scoring_service import ScoringService
    from fusionzoo.server.server_metrics import ServerMetrics
    from fusionzoo.serving.predictor import Predictor

    listener = open_listener(options.host, options.port)
    host, port = listener.getsockname()[:2]
    log.info("Loading %s. Port %d of %s answers with status 503 until the model is ready.", options.model, port, host)
    metrics = ServerMetrics(folder)
    with answer_while_loading(listener):
        predictor = Predictor.load(options.model, threads=1)  # the threads of onnxruntime would not survive the fork
        service = ScoringService(predictor, options.limits, metrics)
        app = create_application(service, metrics, options.workers)
    gc.collect()
    gc.freeze()  # so that garbage collection in a forked process does not copy the memory of the model
    _run_gunicorn(app, service, metrics, listener, options)


def _run_gunicorn(
    app: Flask, service: ScoringService, metrics: ServerMetrics, listener: socket.socket, options: ServeOptions
) -> None:
    from gunicorn.app.base import BaseApplication
    from prometheus_client.multiprocess import mark_process_dead

    from fusionzoo.server.serving_worker import ServingWorker, choose_connections

    def prepare(worker: Any) -> None:
        worker.limits, worker.metrics = options.limits, metrics
        service.warm_up()  # before the process accepts connections, so that none meets a process that is not ready

    settings = {
        "bind": f"fd://{listener.detach()}",  # gunicorn closes it
        "workers": options.workers,
        "worker_class": ServingWorker,
        "threads": THREADS,
        "worker_connections": choose_connections(),
        "timeout": STALL_SECONDS,
        "graceful_timeout": DRAIN_SECONDS,
        "keepalive": KEEP_ALIVE_SECONDS,
        "worker_tmp_dir": str(metrics.folder) if metrics.folder else None,
        "control_socket_disable": True,
        "post_worker_init": prepare,
        "child_exit": lambda _, worker: mark_process_dead(worker.pid),  # type: ignore[no-untyped-call]
    }

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in settings.items():
                if name in self.cfg.settings:  # earlier versions have no control socket
                    self.cfg.set(name, value)

        def load(self) -> Flask:
            return app

    Server().run()
