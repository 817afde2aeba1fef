"""Find the side effects of a plugin's import: what its own code does besides defining names.

Other libraries may have side effects of their own when they are imported. So a first process lists the libraries that
the plugin imports; a second one imports these first, and then compares the state of the process before and after the
plugin's own code runs.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from unittest import mock

from fusionzoo.conformance.network_block import forbid_network
from fusionzoo.conformance.process_state import (
    MAX_VALUE_LENGTH,
    describe_changes,
    read_state,
    read_state_without_values,
)
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.errors.base import shorten
from fusionzoo.registry import Registry

PROGRAM_EVENTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.spawn")
ACTION_FIX = "remove this code from the module level, or move it to the model's __init__"
THREAD_FIX = "start a thread in a callback when the training starts, and end it when the training ends"
STATE_FIX = (
    "do not change settings of the process. Where the model needs other ones, change them in forward and restore them "
    "there, as `with torch.no_grad():` does; let users set environment variables"
)


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
    actions: list[str] = []
    threads: list[str] = []
    forbid_network(actions.append)
    for library in json.loads(libraries.read_text("utf-8")):
        with suppress(Exception):  # some entries of sys.modules cannot be imported by name
            importlib.import_module(library)
    sys.addaudithook(lambda event, _: actions.append("starts a program") if event in PROGRAM_EVENTS else None)
    streams = {"stdout": io.StringIO(), "stderr": io.StringIO()}
    with (
        redirect_stdout(streams["stdout"]),
        redirect_stderr(streams["stderr"]),
        warnings.catch_warnings(record=True),  # a warning is no output: the filters of the user decide
    ):
        state, state_without_values = read_state(), read_state_without_values()
        try:
            with _record_threads(threads.append):
                Registry.discover(group).load(name)
        finally:  # a side effect, such as a refused connection, can be the reason why the import fails
            new_state, new_state_without_values = read_state(), read_state_without_values()
            actions += [
                effect for effect, value in state_without_values.items() if new_state_without_values[effect] != value
            ]
            actions += [
                f"prints {shorten(repr(text.strip()), MAX_VALUE_LENGTH)} to {stream}"
                for stream, output in streams.items()
                if (text := output.getvalue())
            ]
            _check_side_effects(
                {ACTION_FIX: actions, THREAD_FIX: threads, STATE_FIX: describe_changes(state, new_state)}
            )


@contextmanager
def _record_threads(record: Callable[[str], None]) -> Iterator[None]:
    """In the context, record the threads that this thread starts; the threads of libraries may start others."""
    importing_thread, start = threading.get_ident(), threading.Thread.start

    def spy(thread: threading.Thread) -> None:
        if threading.get_ident() == importing_thread:
            record(f"starts the thread {thread.name!r}")
        start(thread)

    with mock.patch.object(threading.Thread, "start", spy):
        yield


def _check_side_effects(side_effects: dict[str, Sequence[str]]) -> None:
    """Raise an error that lists all side effects, given by the fix of each kind, if there are any."""
    found = list(dict.fromkeys(effect for effects in side_effects.values() for effect in effects))
    if found:
        fixes = "; ".join(fix for fix, effects in side_effects.items() if effects)
        raise ConformanceError(
            f"importing the plugin {'; '.join(found)}. Every process that imports the plugin inherits this. "
            f"Fix: {fixes}"
        )
