"""The plugin objects of `fusionzoo.nn.recipes`, loaded through the registry as a job loads them."""

from __future__ import annotations

import pytest
from torch import nn

from conftest import Installer
from fusionzoo.nn.schema import CategoryField, InputSpec
from fusionzoo.registry import MODELS_GROUP, Plugin, Registry

SPEC = InputSpec(text=None, categories=(CategoryField("color", 5),), numbers=(), num_outputs=2)
SOURCE = """
    from fusionzoo import hookimpl
    from fusionzoo.nn.heads import ClassifierHead
    from fusionzoo.nn.recipes import Fusion
    from fusionzoo.nn.tabular import TabularEncoder
    from fusionzoo.settings import ModelSettings
    from lightning.pytorch import Callback
    from torch import nn

    class Settings(ModelSettings):
        needs = reads = frozenset({"table"})

    class TableModel(nn.Sequential):
        def __init__(self, spec, settings, text_encoder):
            assert text_encoder is None
            super().__init__(TabularEncoder(spec, 16), ClassifierHead(16, 16, spec.num_outputs))

    plain = Fusion(Settings, TableModel)

    class PluginWithHooks(Fusion):
        @hookimpl
        def callbacks(self):
            return [Callback()]

        @hookimpl
        def parameter_groups(self, model):
            return [{"params": list(model[1].parameters()), "lr_scale": 10.0}]

    with_hooks = PluginWithHooks(Settings, TableModel)
"""


@pytest.fixture
def registry(install: Installer) -> Registry:
    names = {"plain": "acme_table:plain", "with_hooks": "acme_table:with_hooks"}
    install("acme-table", source=SOURCE, models=names, requires=["fusionzoo>=0.1,<0.2"])
    return Registry.discover(MODELS_GROUP)


def build(plugin: Plugin) -> nn.Module:
    return plugin.build_model(SPEC, plugin.settings_class(), None)


def test_a_fusion_object_provides_the_settings_class_and_builds_the_model(registry: Registry) -> None:
    plugin = registry.load("plain")
    assert plugin.settings_class.__name__ == "Settings"
    model = build(plugin)
    assert type(model).__name__ == "TableModel"
    assert plugin.callbacks(plugin.settings_class()) == []
    assert plugin.parameter_groups(model, plugin.settings_class()) == []


def test_a_subclass_of_fusion_adds_optional_hooks(registry: Registry) -> None:
    plugin = registry.load("with_hooks")
    model = build(plugin)
    (callback,) = plugin.callbacks(plugin.settings_class())
    assert type(callback).__name__ == "Callback"
    (group,) = plugin.parameter_groups(model, plugin.settings_class())
    assert group["lr_scale"] == 10.0
