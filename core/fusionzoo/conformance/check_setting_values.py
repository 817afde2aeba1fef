"""The check of a model with other values of its settings than those of the other checks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from fusionzoo.conformance.forward import TOLERANCE, build_trained_briefly, compare_alone_and_in_batch
from fusionzoo.conformance.results import ConformanceError, describe_cause
from fusionzoo.conformance.setting_variants import Variant, list_variants
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_rows
from fusionzoo.errors import HyperparametersError, SettingError
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.settings import ModelSettings

ROWS = 12
MAX_NESTED_VARIANTS = 50  # each is a model that is built and trained for a few steps


def check_setting_values(subject: Subject) -> None:
    """With each choice of a setting, and each number that it accepts, the model trains, and scores each row alone.

    Choices are Literal, bool and enum. The numbers are 0 and -1, and 0.5 and 1.5 as a float, also in a list. A setting,
    or a key of a nested one, is changed alone; of nested ones, up to 50 values are used. A value that the settings
    class or `resolve` rejects is not used.
    """
    if _find_error(subject) is not None:  # which the other checks report
        return
    for variant in _list_all_variants(subject):
        name, _, inside = variant.path.partition(".")
        cause = _find_error(subject, {name: variant.value})
        if cause is not None:
            fields = "the class of the nested setting" if inside else "the settings"
            raise ConformanceError(
                f"the model fails with {variant.path}={variant.part!r}, which {subject.plugin.settings_class.__name__} "
                f"accepts. Fix: correct the model for this value, or let {fields} reject it, by bounds such as "
                "Field(16, ge=1, ...) and Field(0.1, ge=0, lt=1, ...) or by a SettingError in resolve\n  "
                f"{describe_cause(cause, subject.module)}"
            ) from cause


def _list_all_variants(subject: Subject) -> Iterator[Variant]:
    """Yield the variants of all settings, at most `MAX_NESTED_VARIANTS` of nested ones."""
    settings = _get_settings(subject)
    nested: list[Variant] = []
    for name, field in subject.plugin.settings_class.model_fields.items():
        current = getattr(settings, name)
        for variant in () if name == "text_encoder" else list_variants(name, field.annotation, current):
            if "." in variant.path or isinstance(variant.part, dict):
                nested.append(variant)
            elif variant.value != current:  # with which the other checks run
                yield variant
    yield from islice((variant for variant in nested if _can_be_set(subject, variant)), MAX_NESTED_VARIANTS)


def _can_be_set(subject: Subject, variant: Variant) -> bool:
    """Return whether a file of hyperparameters can have this value."""
    try:
        changed = subject.with_settings({variant.path.partition(".")[0]: variant.value})
    except HyperparametersError:
        return False
    settings = _get_settings(changed)
    draft = SettingsDraft(subject.plugin.name, type(settings))
    draft.fill(settings.model_dump(mode="json"))
    return not draft.problems


def _get_settings(subject: Subject) -> ModelSettings:
    """Return the settings of the plugin itself, also if it is a text encoder."""
    settings = subject.encoder_settings
    return subject.settings if settings is None or not subject.is_encoder else settings


def _find_error(subject: Subject, changes: dict[str, Any] | None = None) -> Exception | None:
    """Return the exception with which the model fails; None if it works, or the settings reject the changes."""
    try:
        changed = subject.with_settings(changes or {})
        model = build_trained_briefly(changed)
        difference = compare_alone_and_in_batch(model, changed.spec, make_rows(changed.spec, ROWS, seed=2))
    except (HyperparametersError, SettingError):
        return None
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return error
    if not difference:
        return None
    return ConformanceError(
        f"a row's logits alone and in a batch of {ROWS} differ by {difference:.2g} (tolerance {TOLERANCE:.0e}). Fix: "
        "mask padding by batch.token_mask, and switch dropout and noise off unless self.training"
    )
