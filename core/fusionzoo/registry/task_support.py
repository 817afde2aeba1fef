"""Find which installed plugins support a task. A fresh process imports them, so that a broken one does no harm."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from fusionzoo.registry.discovery import Registry
from fusionzoo.registry.isolated_import import ImportResult, import_in_isolation
from fusionzoo.registry.providers import Provider

TIMEOUT_SECONDS = 120.0
"""Of one process, which imports all of the plugins."""


def load_providers(providers: Sequence[Provider]) -> list[ImportResult]:
    """Return the tasks that each provider supports, or its problem."""
    return list(import_in_isolation(providers, TIMEOUT_SECONDS, threading.Event()))


def list_supporting_names(group: str, task: str) -> list[str]:
    """Return the names in an entry-point group with one provider that can be loaded and supports the task."""
    registry = Registry.discover(group)
    providers = [candidates[0] for candidates in registry.values() if len(candidates) == 1]
    return [result.provider.entry_point.name for result in load_providers(providers) if task in result.tasks]
