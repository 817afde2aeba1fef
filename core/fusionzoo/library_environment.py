"""Environment variables that libraries read when they are imported: no telemetry, and no files in the home folder."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from types import ModuleType

from fusionzoo import errors


def import_onnxruntime() -> ModuleType:
    """Return the module `onnxruntime`, imported with its telemetry off. This is the only place that imports it."""
    disable_onnxruntime_telemetry()
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


def disable_onnxruntime_telemetry() -> None:
    """Turn off the telemetry of onnxruntime, unless the environment decides otherwise.

    It sends events to Microsoft and writes to ~/.cache/Microsoft as soon as it is imported; its function
    `disable_telemetry_events` comes too late.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def disable_ray_telemetry() -> None:
    """Turn off the usage statistics of Ray, which a cluster sends when it starts, unless the environment decides."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def configure_libraries() -> None:
    """Prepare the environment of a process that will import libraries, some of which import others.

    For example, torchmetrics imports matplotlib, which writes its list of fonts to ~/.cache/matplotlib. It goes to a
    temporary folder that lives as long as the process, unless the environment sets MPLCONFIGDIR.

    Raises:
        errors.OutputError: there is no folder for temporary files.
    """
    disable_onnxruntime_telemetry()
    if "MPLCONFIGDIR" not in os.environ:
        try:
            folder = tempfile.mkdtemp(prefix="fusionzoo-matplotlib-")
        except OSError as cause:
            raise errors.OutputError.no_temporary_folder(cause) from cause
        os.environ["MPLCONFIGDIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
