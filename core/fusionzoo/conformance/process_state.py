"""Read the settings of this process that its code shares, and describe what has changed between two readings."""

from __future__ import annotations

import builtins
import decimal
import faulthandler
import gc
import locale
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusionzoo.errors.base import shorten

MAX_VALUE_LENGTH = 80  # characters
ENVIRONMENT_VARIABLE = "the environment variable "
SWITCH = ("off", "on")
MISSING = object()


def read_state() -> dict[str, Any]:
    """Return the value of each setting of the process by the name that messages have for it."""
    environment = {f"{ENVIRONMENT_VARIABLE}{name}": value for name, value in os.environ.items()}
    return {**environment, **_read_python(), **_read_system(), **_read_logging(), **_read_numpy(), **_read_torch()}


def read_state_without_values() -> dict[str, Any]:
    """Return states with values that tell a reader nothing, by the side effect that changes each of them."""
    return {
        "sets torch's seed or draws random numbers with torch": torch.get_rng_state().tolist(),
        "sets Python's seed or draws random numbers with random": random.getstate(),
        "sets numpy's seed or draws random numbers with numpy": str(np.random.get_state(legacy=False)),
        "initializes CUDA": torch.cuda.is_initialized(),  # type: ignore[no-untyped-call]
    }


def describe_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return each difference between two readings of `read_state`, with the old and the new value."""
    pairs = {name: (before.get(name, MISSING), after.get(name, MISSING)) for name in {**before, **after}}
    return [_describe_change(name, old, new) for name, (old, new) in pairs.items() if old != new]


def _describe_change(name: str, old: Any, new: Any) -> str:
    if old is MISSING:
        return f"sets {name} to {_format_value(new)}"
    if new is MISSING:
        return f"removes {name}, which was {_format_value(old)}"
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [
            f"{key} from {_format_value(old.get(key))} to {_format_value(new.get(key))}"
            for key in old | new
            if old.get(key) != new.get(key)
        ]
        return f"changes {name}: {', '.join(parts)}"
    if isinstance(old, list) and isinstance(new, list):
        parts = [f"adds {_format_value(item)}" for item in new if item not in old]
        parts += [f"removes {_format_value(item)}" for item in old if item not in new]
        return f"changes {name}: {', '.join(parts) or 'another order or number of items'}"
    return f"changes {name} from {_format_value(old)} to {_format_value(new)}"


def _format_value(value: object) -> str:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return shorten(repr(value), MAX_VALUE_LENGTH)


def _read_python() -> dict[str, Any]:
    context = decimal.getcontext()
    return {
        "sys.path": list(sys.path),
        "sys.meta_path": list(sys.meta_path),
        "sys.path_hooks": list(sys.path_hooks),
        "sys.argv": list(sys.argv),
        "sys.stdin": sys.stdin,
        "sys.stdout": sys.stdout,
        "sys.stderr": sys.stderr,
        "sys.excepthook": sys.excepthook,
        "sys.unraisablehook": sys.unraisablehook,
        "threading.excepthook": threading.excepthook,
        "the trace function of sys.settrace": sys.gettrace(),
        "the profile function of sys.setprofile": sys.getprofile(),
        "builtins": dict(vars(builtins)),
        "Python's recursion limit": sys.getrecursionlimit(),
        "Python's switch interval": sys.getswitchinterval(),
        "garbage collection": SWITCH[gc.isenabled()],
        "the thresholds of garbage collection": gc.get_threshold(),
        "faulthandler": SWITCH[faulthandler.is_enabled()],
        "the decimal context": {"prec": context.prec, "rounding": context.rounding},
        "the warning filters": list(warnings.filters),
        "warnings.showwarning": warnings.showwarning,
        "warnings.formatwarning": warnings.formatwarning,
        "multiprocessing's start method": multiprocessing.get_start_method(allow_none=True),
    }


def _read_system() -> dict[str, Any]:
    umask = os.umask(0)  # the only way to read it
    os.umask(umask)
    return {
        "the working directory": str(Path.cwd()),
        "the umask": f"{umask:03o}",
        "the locale": locale.setlocale(locale.LC_ALL),
        "the time zone": time.tzname,
        "the default timeout of sockets": socket.getdefaulttimeout(),
        "the timer of signal.alarm": SWITCH[signal.getitimer(signal.ITIMER_REAL)[0] > 0],
        **{f"the handler of {number.name}": signal.getsignal(number) for number in signal.Signals},
    }


def _read_logging() -> dict[str, Any]:
    state: dict[str, Any] = {
        "the level below which logging is off": logging.getLevelName(logging.root.manager.disable),
        "the class of loggers": logging.getLoggerClass(),
        "the factory of log records": logging.getLogRecordFactory(),
    }
    for name, logger in {"root": logging.root, **logging.root.manager.loggerDict}.items():
        if isinstance(logger, logging.Logger):
            state |= _read_logger(name, logger)
    return state


def _read_logger(name: str, logger: logging.Logger) -> dict[str, Any]:
    """Return what differs from a new logger, which anybody may create."""
    handlers = [handler for handler in logger.handlers if not isinstance(handler, logging.NullHandler)]
    return {
        **({f"the level of the logger '{name}'": logging.getLevelName(logger.level)} if logger.level else {}),
        **({f"the handlers of the logger '{name}'": handlers} if handlers else {}),
        **({} if logger.propagate else {f"propagate of the logger '{name}'": False}),
        **({f"disabled of the logger '{name}'": True} if logger.disabled else {}),
    }


def _read_numpy() -> dict[str, Any]:
    return {
        "numpy's error handling": np.geterr(),
        "numpy's error callback": np.geterrcall(),
        "numpy's print options": np.get_printoptions(),
    }


def _read_torch() -> dict[str, Any]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    return {
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's inference mode": torch.is_inference_mode_enabled(),
        "torch's anomaly detection": torch.is_anomaly_enabled(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch's default device": torch.empty(0).device,  # torch 2.1 has no get_default_device
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's number of threads between operations": torch.get_num_interop_threads(),
        "torch's precision of matrix products": torch.get_float32_matmul_precision(),
        "torch's flash attention": cuda.flash_sdp_enabled(),  # type: ignore[no-untyped-call]
        "torch's memory-efficient attention": cuda.mem_efficient_sdp_enabled(),  # type: ignore[no-untyped-call]
        "torch's sharing strategy": torch.multiprocessing.get_sharing_strategy(),  # type: ignore[no-untyped-call]
        "torch.backends.cudnn.enabled": cudnn.enabled,
        "torch.backends.cudnn.benchmark": cudnn.benchmark,
        "torch.backends.cudnn.deterministic": cudnn.deterministic,
    }
