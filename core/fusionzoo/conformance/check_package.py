"""Checks of a plugin's distribution: what it is called and what it requires."""

from __future__ import annotations

import re

from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.errors import ZooError

SNAKE, KEBAB = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*"), re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_metadata(subject: Subject) -> None:
    """The name is snake_case, the distribution kebab-case, and its requirement on fusionzoo has an upper bound."""
    name, distribution = subject.provider.entry_point.name, subject.provider.distribution
    if not SNAKE.fullmatch(name):
        raise ConformanceError(f"the entry point '{name}' is not snake_case, as 'multimodal_gate_fusion' is")
    if not KEBAB.fullmatch(distribution):
        raise ConformanceError(f"the distribution '{distribution}' is not kebab-case, as 'fusionzoo-gate-fusion' is")
    try:
        subject.provider.check_bounds()
    except ZooError as fault:
        raise ConformanceError(str(fault)) from fault
