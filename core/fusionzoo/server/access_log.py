"""The access log: one line of JSON per request on standard output."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import uuid
from datetime import datetime, timezone
from typing import Any

log = logging.getLogger(__name__)
access_log = logging.getLogger("fusionzoo.access")
REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


def choose_request_id(given: str | None) -> str:
    """Return the id that the client gave, if it is printable and short; otherwise a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def log_request(level: int, **entries: Any) -> None:
    """Write a line with the time, the process and these entries."""
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    access_log.log(level, "%s", json.dumps({"time": time, "process": os.getpid(), **entries}))


def configure_logs() -> None:
    """Write the access log to standard output, and what `fusionzoo` logs to standard error."""
    lines = _LineHandler(sys.stdout)
    lines.setFormatter(logging.Formatter("%(message)s"))
    access_log.handlers, access_log.propagate = [lines], False
    access_log.setLevel(logging.INFO)
    messages = logging.StreamHandler(sys.stderr)
    messages.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(process)d] %(message)s"))
    logger = logging.getLogger("fusionzoo")
    logger.handlers = [messages]
    logger.setLevel(logging.INFO)


class _LineHandler(logging.StreamHandler):  # type: ignore[type-arg]  # no generic class at run time
    """Writes the lines. Requests are answered as before if this is not possible; only the first failure is reported."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Report the exception that is being handled, if it is the first one of this process."""
        if not self._has_failed:
            self._has_failed = True
            log.warning("The access log cannot be written to standard output (%s).", sys.exc_info()[1])
