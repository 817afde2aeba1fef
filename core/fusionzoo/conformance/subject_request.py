"""What `fusionzoo check` has to check: which plugins with which settings, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusionzoo import errors
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry


@dataclass(frozen=True)
class SubjectRequest:
    """The arguments from which a subject is created, as plain values that can be sent to a fresh process.

    `settings` are the settings of the model, or of the text encoder if `group` is `fusionzoo.text_encoders`. `resolved`
    are the settings of the model and of its text encoder after `resolve`, which a fresh process must not call again.
    """

    group: str
    name: str
    text_encoder: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)
    resolved: tuple[Mapping[str, Any], Mapping[str, Any] | None] | None = None


def make_requests(
    name: str, text_encoder: str | None, settings: Mapping[str, Any], encoder_settings: Mapping[str, Any]
) -> list[SubjectRequest]:
    """Return a request for the model class or the text encoder with this name, or for both.

    If the name is both, `settings` are the settings of the model.

    Raises:
        fusionzoo.errors.UnknownModelError: nothing installed has the name.
        fusionzoo.errors.SettingError: `text_encoder` is set, but the name is a text encoder.
    """
    model = SubjectRequest(MODELS_GROUP, name, text_encoder, settings, encoder_settings)
    if not _is_provided(TEXT_ENCODERS_GROUP, name):
        return [model]
    if _is_provided(MODELS_GROUP, name):
        return [model, SubjectRequest(TEXT_ENCODERS_GROUP, name, settings=encoder_settings)]
    if text_encoder is not None:
        problem = f"'{name}' is a text encoder itself"
        raise errors.setting_not_checked("text_encoder", text_encoder, problem)
    return [SubjectRequest(TEXT_ENCODERS_GROUP, name, settings={**encoder_settings, **settings})]


def _is_provided(group: str, name: str) -> bool:
    try:
        Registry.discover(group).provider(name)
    except errors.UnknownModelError:
        return False
    return True
