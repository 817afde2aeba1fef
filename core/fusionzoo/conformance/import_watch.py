"""What an import does besides defining names."""

from __future__ import annotations

import builtins
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fusionzoo.conformance.network_block import forbid_network
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.registry import Registry

PROGRAMS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.spawn")
INNER = ("torch", "fusionzoo", "logging", "warnings", "unittest", "contextlib", "random", "numpy", "subprocess", "os")


def import_quietly(group: str, name: str) -> None:
    """Import the plugin that provides a name, in a fresh process: what was imported before is not watched.

    Raises:
        ConformanceError: the import does what an import should not.
    """
    registry = Registry.discover(group)
    package = registry.provider(name).entry_point.module.partition(".")[0]
    noise = Noise(package)
    try:
        with noise.watched():
            registry.load(name)
    finally:
        noise.raise_if_any()  # which may be why the import failed


class Noise:
    """What was done, and where in the plugin's own code."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.heard: list[str] = []
        self.filters: list[tuple[Any, str]] = []
        self._on = False

    def raise_if_any(self) -> None:
        """Raises ConformanceError with all that was heard."""
        found = [*self.heard, *(text for entry, text in self.filters if entry in warnings.filters)]
        if found:
            deeds = "; ".join(dict.fromkeys(found))
            raise ConformanceError(f"importing the plugin {deeds}: leave it out, or do it while building the model")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen for as long as the context lasts; an audit hook cannot be taken away, only silenced."""
        forbid_network(self.heard.append)
        sys.addaudithook(self._audit)
        with ExitStack() as stack:
            for owner, name, deed in (
                (builtins, "print", "prints"),
                (torch, "manual_seed", "sets torch's seed"),
                (torch.random, "manual_seed", "sets torch's seed"),
                (torch, "seed", "sets torch's seed"),
                (torch, "set_default_dtype", "sets torch's default dtype"),
                (torch, "set_num_threads", "sets torch's number of threads"),
                (random, "seed", "sets Python's seed"),
                (np.random, "seed", "sets numpy's seed"),
                (logging, "basicConfig", "configures logging"),
                (logging, "disable", "turns logging off"),
                (logging, "captureWarnings", "sends warnings to the log"),
                (warnings, "resetwarnings", "removes all warning filters"),
                (logging.Logger, "addHandler", "adds a log handler"),
                (logging.Logger, "setLevel", "sets a log level"),
            ):
                stack.enter_context(self._told(owner, name, deed))
            for name in ("filterwarnings", "simplefilter"):
                stack.enter_context(self._filtering(name))
            stack.enter_context(_TorchWork(self))
            self._on = True
            try:
                yield
            finally:
                self._on = False

    def hear(self, deed: str) -> None:
        """Note a deed if the plugin's own code does it, directly or through a library that it calls."""
        if place := self._place(sys._getframe(1)):
            self.heard.append(f"{deed} ({place})")

    def _place(self, frame: FrameType | None) -> str | None:
        """Where the plugin's own code stands in a stack; None where an import within it, of something else, does it."""
        while frame is not None:
            module = str(frame.f_globals.get("__name__", ""))
            top = module.partition(".")[0]
            if top == self.package:
                return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
            if top not in INNER:
                return None
            frame = frame.f_back
        return None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event in PROGRAMS:
            self.hear("starts a program")

    @contextmanager
    def _told(self, owner: Any, name: str, deed: str) -> Iterator[None]:
        original = getattr(owner, name)

        def telling(*arguments: Any, **named: Any) -> Any:
            if not any(isinstance(given, logging.NullHandler) for given in arguments):
                self.hear(deed)
            return original(*arguments, **named)

        with mock.patch.object(owner, name, telling):
            yield

    @contextmanager
    def _filtering(self, name: str) -> Iterator[None]:
        original: Callable[..., None] = getattr(warnings, name)

        def telling(*arguments: Any, **named: Any) -> None:
            before = list(warnings.filters)
            original(*arguments, **named)
            if place := self._place(sys._getframe(1)):
                new = [entry for entry in warnings.filters if entry not in before]
                self.filters += [(entry, f"changes the warning filters ({place})") for entry in new]

        with mock.patch.object(warnings, name, telling):
            yield


class _TorchWork(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hears every operation on tensors."""

    def __init__(self, noise: Noise) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._noise = noise

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._noise.hear(f"computes with torch ({func.__name__})")
        return func(*args, **(kwargs or {}))
