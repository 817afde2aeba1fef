"""The settings with which the checks build a model: what `small()` of its settings class returns."""

from __future__ import annotations

import inspect

from fusionzoo import errors
from fusionzoo.registry import Plugin
from fusionzoo.settings import ModelSettings


def make_small_settings(plugin: Plugin) -> ModelSettings:
    """Return what `small()` of a plugin's settings class returns.

    Raises:
        errors.PluginContractError: `small` cannot be called on the class, or returns something else than its settings.
    """
    settings_class = plugin.settings_class
    name = settings_class.__name__
    if not isinstance(inspect.getattr_static(settings_class, "small"), classmethod | staticmethod):
        raise errors.PluginContractError.wrong_small(plugin.claim, name, None)
    small: object = settings_class.small()
    if not isinstance(small, settings_class):
        raise errors.PluginContractError.wrong_small(plugin.claim, name, type(small).__name__)
    return small
