"""Find the side effects of a plugin's import: what its own code does besides defining names.

Other libraries may have side effects of their own when they are imported. So a first process lists the libraries that
the plugin imports; a second one imports these first, and then compares the state of the process before and after the
plugin's own code runs.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import random
import sys
import warnings
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusionzoo.conformance.network_block import forbid_network
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.registry import Registry

PROGRAM_EVENTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.spawn")
DEFAULT_LOGGER: tuple[int, list[logging.Handler], bool, bool] = (logging.NOTSET, [], True, False)


def list_libraries(group: str, name: str, file: Path) -> None:
    """Import a plugin, and write the names of all modules that this imports, except its own, to a JSON file."""
    registry, modules_before = Registry.discover(group), set(sys.modules)
    package = registry.provider(name).entry_point.module.partition(".")[0]
    forbid_network(lambda attempt: None)
    with suppress(Exception):  # the second process reports it
        registry.load(name)
    imported = [module for module in sys.modules if module not in modules_before]
    file.write_text(json.dumps([module for module in imported if module.partition(".")[0] != package]), "utf-8")


def watch_import(group: str, name: str, libraries: Path) -> None:
    """Import the libraries listed in a JSON file, then the plugin.

    Raises:
        ConformanceError: the import of the plugin has side effects.
    """
    side_effects: list[str] = []
    forbid_network(side_effects.append)
    for library in json.loads(libraries.read_text("utf-8")):
        with suppress(Exception):  # some entries of sys.modules cannot be imported by name
            importlib.import_module(library)
    sys.addaudithook(lambda event, _: side_effects.append("starts a program") if event in PROGRAM_EVENTS else None)
    state = _read_state()
    try:
        with redirect_stdout(io.StringIO()) as output:
            Registry.discover(group).load(name)
    finally:  # a side effect, such as a refused connection, can be the reason why the import fails
        new_state = _read_state()
        side_effects += [effect for effect, value in state.items() if new_state[effect] != value]
        side_effects += ["prints to stdout"] if output.getvalue() else []
        if side_effects:
            raise ConformanceError(
                f"importing the plugin {'; '.join(dict.fromkeys(side_effects))}. Every process that imports the plugin "
                "inherits this. Fix: remove this code from the module level, or move it to the model's __init__"
            )


def _read_state() -> dict[str, Any]:
    """Return the state of the process, by the side effect that changes it."""
    numpy_state = np.random.get_state(legacy=False)
    loggers = {"root": logging.root, **logging.root.manager.loggerDict}
    return {
        "sets torch's seed or draws random numbers with torch": torch.get_rng_state().tolist(),
        "sets Python's seed or draws random numbers with random": random.getstate(),
        "sets numpy's seed or draws random numbers with numpy": str(numpy_state),
        "changes torch's default dtype": torch.get_default_dtype(),
        "changes torch's number of threads": torch.get_num_threads(),
        "initializes CUDA": torch.cuda.is_initialized(),  # type: ignore[no-untyped-call]
        "changes the warning filters": list(warnings.filters),
        "redirects warnings": warnings.showwarning,
        "turns logging off": logging.root.manager.disable,
        "adds a log handler or sets a log level": {
            name: settings
            for name, logger in loggers.items()
            if isinstance(logger, logging.Logger) and (settings := _read_logger(logger)) != DEFAULT_LOGGER
        },
    }


def _read_logger(logger: logging.Logger) -> tuple[int, list[logging.Handler], bool, bool]:
    handlers = [handler for handler in logger.handlers if not isinstance(handler, logging.NullHandler)]
    return logger.level, handlers, logger.propagate, logger.disabled
