"""The metrics of a server in the format of Prometheus, correct over several processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from fusionzoo.serving.value_counts import ValueKind

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServerMetrics:
    """Counts requests and rows.

    Args:
        folder: where the processes of a server share their metrics; PROMETHEUS_MULTIPROC_DIR named it when
            prometheus_client was imported. None for one process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder, self._registry = folder, CollectorRegistry()
        self._requests = Counter(
            "fusionzoo_requests", "Requests by path and status.", ("path", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "fusionzoo_request_seconds",
            "Time from the arrival of a request to its response.",
            ("path",),
            registry=self._registry,
            buckets=SECONDS,
        )
        self._rows = Counter("fusionzoo_rows", "Rows that were scored.", registry=self._registry)
        self._values = Counter(
            "fusionzoo_unusual_values",
            "Values of rows that were scored, by column: missing, unknown categories and clipped numbers.",
            ("column", "kind"),
            registry=self._registry,
        )
        self.in_progress = Gauge(
            "fusionzoo_requests_in_progress",
            "Requests that are being answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_rows(self, rows: int) -> None:
        """Count rows that were scored."""
        self._rows.inc(rows)

    def count_values(self, values: Mapping[tuple[str, ValueKind], int]) -> None:
        """Count values that the model does not know, by their column and kind, see `ValueCounts`."""
        for (column, kind), count in values.items():
            self._values.labels(column, kind).inc(count)

    def render(self) -> bytes:
        """Return the metrics of all processes as text."""
        if self.folder is None:
            return bytes(generate_latest(self._registry))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.folder))  # type: ignore[no-untyped-call]
        return bytes(generate_latest(registry))
