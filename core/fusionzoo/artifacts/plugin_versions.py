"""The plugins with which a model folder was written, compared with the installed ones."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fusionzoo import errors
from fusionzoo.registry.providers import find_distribution

log = logging.getLogger(__name__)


@contextmanager
def explain_other_plugins(folder: Path, written: Mapping[str, str]) -> Iterator[None]:
    """In the block, which builds the model of a folder, an error says which plugin has another version or other code.

    A version that differs is only a warning if the block succeeds: most versions compute the same model. A plugin that
    is missing is an error before it: another package may provide the same name.

    Args:
        folder: the model folder, for messages.
        written: the version of each plugin's distribution that wrote the folder, by name.

    Raises:
        errors.ModelFolderError: a plugin is missing, or the block fails because of the code of a plugin.
    """
    installed = {name: dist.version for name in written if (dist := find_distribution(name, sys.path)) is not None}
    others = {name: version for name, version in written.items() if installed.get(name) != version}
    if not others.keys() <= installed.keys():
        raise errors.ModelFolderError.other_plugins(folder, others, installed)
    for name in others:
        log.warning(
            "%s was written with %s %s, and %s is installed. If it computes another model, install %s==%s.",
            *(folder, name, written[name], installed[name], name, written[name]),
        )
    try:
        yield
    except (MemoryError, OSError, errors.BrokenPluginError):
        raise  # says itself what is wrong
    except Exception as cause:  # a plugin may raise anything
        if others:
            raise errors.ModelFolderError.other_plugins(folder, others, installed, cause) from cause
        raise errors.ModelFolderError.changed_plugins(folder, written, cause) from cause
