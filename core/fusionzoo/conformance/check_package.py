"""Checks of a plugin's distribution: its names, its requirements, and the side effects of its import."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from fusionzoo.conformance.child_process import LIBRARIES_FILE
from fusionzoo.conformance.fresh_process import run_in_fresh_process
from fusionzoo.conformance.plugin_imports import find_undeclared_imports
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.errors import ZooError
from fusionzoo.registry import TEXT_ENCODERS_GROUP, Registry
from fusionzoo.registry.plugin_settings import find_default_encoder
from fusionzoo.registry.providers import normalize_name

SNAKE_CASE, KEBAB_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*"), re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_metadata(subject: Subject) -> None:
    """The entry point is snake_case, and the distribution is kebab-case and requires what it needs.

    It requires fusionzoo with an upper bound, the distribution that provides its default text encoder, and each package
    that it imports: also in functions, but not for type checking only, or in a try that catches ImportError. What
    fusionzoo requires, with the extras with which the plugin requires it, counts as required.
    """
    name, distribution = subject.provider.entry_point.name, subject.provider.distribution
    if not SNAKE_CASE.fullmatch(name):
        raise ConformanceError(
            f"the entry point '{name}' is not snake_case. Fix: choose a name like 'multimodal_gate_fusion'"
        )
    if not KEBAB_CASE.fullmatch(distribution):
        raise ConformanceError(
            f"the distribution '{distribution}' is not kebab-case. Fix: choose a name like 'fusionzoo-gate-fusion'"
        )
    try:
        subject.provider.check_core_upper_bound()
        _check_default_encoder(subject)
    except ZooError as error:
        raise ConformanceError(str(error)) from error
    _check_imports(subject)


def _check_imports(subject: Subject) -> None:
    """Check that the distribution requires each package that its modules import."""
    imports = find_undeclared_imports(subject.provider)
    if imports:
        places = "; ".join(f"{one.file}, line {one.line} imports '{one.module}'" for one in imports)
        names = ", ".join(f"'{name}'" for name in dict.fromkeys(one.distribution for one in imports))
        raise ConformanceError(
            f"{places}, but neither '{subject.provider.distribution}' nor the fusionzoo that it requires has that "
            f"among its requirements, so the plugin fails where nothing else installs it. Fix: add {names} to the "
            "dependencies in its pyproject.toml, or import it in a try that catches ImportError"
        )


def _check_default_encoder(subject: Subject) -> None:
    """Check that who installs the plugin also has the text encoder of its default settings."""
    if subject.is_encoder:
        return
    encoder, distribution = find_default_encoder(subject.plugin.settings_class), subject.provider.distribution
    if encoder is None:
        return
    owner = Registry.discover(TEXT_ENCODERS_GROUP).provider(encoder, distribution).distribution
    if normalize_name(owner) != normalize_name(distribution) and not subject.provider.find_requirements(owner):
        raise ConformanceError(
            f"the default of the setting text_encoder is '{encoder}', but '{distribution}' does not require '{owner}', "
            f"which provides it. Fix: add '{owner}' to the dependencies in its pyproject.toml"
        )


def check_import_has_no_side_effects(subject: Subject) -> None:
    """Importing the plugin opens no network connection, and its own code only defines names.

    It starts no program or thread, prints nothing, draws no random numbers, and changes no setting of the process:
    seeds, environment variables, signal handlers, the working directory, `sys.path`, hooks and limits of Python,
    logging, warning filters, or defaults of torch, numpy and sockets.
    """
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder:
        first, second = Path(folder) / "first", Path(folder) / "second"
        first.mkdir()
        second.mkdir()
        run_in_fresh_process("list_libraries", subject, first)
        (first / LIBRARIES_FILE).rename(second / LIBRARIES_FILE)
        run_in_fresh_process("watch_import", subject, second)
