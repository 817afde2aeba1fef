"""A process of gunicorn in which slow clients cannot hold a thread for longer than the time limit of a request."""

from __future__ import annotations

from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from fusionzoo.server.client_deadline import DeadlineSocket

FIRST_BYTE_SECONDS = 0.02  # that a thread waits before gunicorn's main loop, which needs no thread, waits instead of it


class ServingWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, on sockets with a deadline for each request."""

    request_seconds = 30.0

    def handle(self, connection: Any) -> Any:
        """Answer one request of a connection."""
        if not isinstance(connection.sock, DeadlineSocket):
            connection.sock = DeadlineSocket.adopt(connection.sock, self.request_seconds)
            if wait := getattr(connection, "wait_for_data", None):  # gunicorn would let a thread wait for 5 s
                connection.wait_for_data = lambda _: wait(FIRST_BYTE_SECONDS)
        connection.sock.restart()
        return super().handle(connection)
