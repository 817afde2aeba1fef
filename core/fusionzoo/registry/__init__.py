"""Plugins: discovery by entry point, description, diagnosis, and the scaffold of a new one. Imports no torch.

A plugin is imported only when its name is loaded.
"""

from fusionzoo.registry.discovery import Registry
from fusionzoo.registry.entry_points import MODELS_GROUP, TEXT_ENCODERS_GROUP
from fusionzoo.registry.plugin import Plugin
from fusionzoo.registry.providers import Provider

__all__ = ["MODELS_GROUP", "TEXT_ENCODERS_GROUP", "Plugin", "Provider", "Registry"]
