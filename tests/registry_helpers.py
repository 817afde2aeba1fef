"""Sources of small plugins, and the error that loading one raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fusionzoo.errors import (
    ZooError,
)
from fusionzoo.registry import MODELS_GROUP, Registry

if TYPE_CHECKING:
    pass


HEAD = """
import fusionzoo
from fusionzoo import hookimpl
from fusionzoo.settings import ModelSettings

class Settings(ModelSettings):
    width: int = 8

def make_module(*parts):
    from torch import nn
    module = nn.Module()
    module.parts = parts
    return module

"""
SETTINGS_HOOK = """
@hookimpl
def settings_class():
    return Settings

"""
MODEL_HOOK = """
@hookimpl
def build_model(spec, settings, text_encoder):
    return make_module("model", spec, settings, text_encoder)

"""
ENCODER_HOOK = """
@hookimpl
def build_text_encoder(spec, settings):
    return make_module("encoder", spec, settings)

"""
VALID = HEAD + SETTINGS_HOOK + MODEL_HOOK
MUST_NOT_BE_IMPORTED = "raise RuntimeError('this module must not be imported')"


def load_error(name: str, error: type[ZooError], group: str = MODELS_GROUP, path: list[str] | None = None) -> ZooError:
    """Return the error that loading `name` raises; check its type, and that it is short enough for a FailureReason."""
    with pytest.raises(error) as caught:
        Registry.discover(group, path).load(name)
    assert type(caught.value) is error
    assert len(str(caught.value)) <= 1024  # what SageMaker shows of a failure file
    return caught.value
