"""Translate the setting names of fusionzoo's predecessor into today's names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fusionzoo import errors
from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS, remove_val_prefix
from fusionzoo.hyperparameters.decoding import parse_literal
from fusionzoo.hyperparameters.legacy_names import (
    ALL_METRICS_ARE_COMPUTED,
    BOOLEAN,
    CHUNKS_ARE_CAPPED,
    COLUMN_LIST,
    METRIC_LIST,
    UNSUPPORTED_SETTINGS,
    format_ineffective,
    format_renamed,
)

LEGACY_FUSION_PREFIX, FUSION_PREFIX = "bimodal_", "multimodal_"
ALWAYS_APPLIED_STEPS = ("dialogue_chunker", "tokenizer")


@dataclass(frozen=True)
class Translation:
    """The settings under today's names, a warning per old name, and a problem per old name without a meaning."""

    settings: dict[str, Any]
    warnings: list[str]
    problems: list[errors.Problem]


def translate_model_class(model_class: str) -> str:
    """Return today's name of an architecture: `bimodal_bert` is now `multimodal_bert`."""
    if model_class.lower().startswith(LEGACY_FUSION_PREFIX):
        return f"{FUSION_PREFIX}{model_class[len(LEGACY_FUSION_PREFIX) :]}"
    return model_class


def translate_legacy(raw: Mapping[str, Any], declared: Collection[str]) -> Translation:
    """Translate every old setting except `model_class`, which `translate_model_class` handles.

    Values may be encoded or decoded; the result may contain both. Names in `declared`, which a plugin's settings class
    uses for its own settings, are not translated.
    """
    translator = _Translator(raw)
    if "text_processing_steps" in raw:
        _translate_text_steps(translator, "text_processing_steps")
    for name, rule in _RULES.items():
        if name not in raw or name in declared:
            continue
        if parse_literal(raw[name]) is None:
            del translator.settings[name]
        else:
            rule(translator, name)
    for name in UNSUPPORTED_SETTINGS:
        if name in raw and name not in declared:
            translator.problems.append(
                errors.unsupported_legacy_setting(name, translator.settings.pop(name), UNSUPPORTED_SETTINGS[name])
            )
    return Translation(translator.settings, translator.warnings, translator.problems)


class _Translator:
    """The settings of one file during their translation."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.settings = dict(raw)
        self.warnings: list[str] = []
        self.problems: list[errors.Problem] = []

    def rename(self, old: str, new: str, value: Any) -> None:
        """Replace the old setting by `new` = `value`. It is a problem if the file gives `new` another value."""
        old_value = parse_literal(self.settings.pop(old))
        current, translated = parse_literal(self.settings.get(new)), parse_literal(value)
        if current is not None and not _are_equal(current, translated):
            self.problems.append(errors.contradicting_legacy_setting(old, old_value, new, translated, current))
            return
        if current is None:
            self.settings[new] = value
        self.warnings.append(format_renamed(old, old_value, new, translated))

    def drop(self, old: str, reason: str) -> None:
        """Remove an old setting that has no effect."""
        self.warnings.append(format_ineffective(old, parse_literal(self.settings.pop(old)), reason))

    def reject(self, old: str, expected: str, new: str) -> None:
        """Report that the old setting's value is not of the expected kind."""
        self.problems.append(errors.invalid_legacy_setting(old, parse_literal(self.settings.pop(old)), expected, new))


_Rule = Callable[[_Translator, str], None]


def _are_equal(left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    return bool(left == right)


def _rename_to(new: str) -> _Rule:
    return lambda translator, old: translator.rename(old, new, translator.settings[old])


def _replace_switch(new: str, if_true: str, if_false: str) -> _Rule:
    """Return a rule for an old boolean that is now a choice between two words."""

    def rule(translator: _Translator, old: str) -> None:
        value = parse_literal(translator.settings[old])
        if isinstance(value, bool):
            translator.rename(old, new, if_true if value else if_false)
        else:
            translator.reject(old, BOOLEAN, new)

    return rule


def _translate_text_steps(translator: _Translator, name: str) -> None:
    steps = parse_literal(translator.settings[name])
    if not isinstance(steps, list) or not any(step in ALWAYS_APPLIED_STEPS for step in steps):
        return
    translator.settings[name] = [step for step in steps if step not in ALWAYS_APPLIED_STEPS]
    translator.warnings.append(format_renamed(name, steps, name, translator.settings[name]))


def _translate_chunk_truncation(translator: _Translator, old: str) -> None:
    value = parse_literal(translator.settings[old])
    limit = parse_literal(translator.settings.get("max_total_chunks", "not given"))
    if not isinstance(value, bool):
        translator.reject(old, BOOLEAN, "max_total_chunks")
    elif not value:
        translator.rename(old, "max_total_chunks", None)
    elif limit is None:
        del translator.settings[old]
        translator.problems.append(errors.chunk_truncation_without_cap(old))
    else:
        translator.drop(old, CHUNKS_ARE_CAPPED)


def _translate_categorical_features(translator: _Translator, old: str) -> None:
    columns, current = parse_literal(translator.settings[old]), parse_literal(translator.settings.get("cat_field_list"))
    if not isinstance(columns, list):
        translator.reject(old, COLUMN_LIST, "cat_field_list")
    elif current is None or isinstance(current, list):
        union = [*(current or []), *(column for column in columns if column not in (current or []))]
        translator.settings["cat_field_list"] = union
        translator.warnings.append(format_renamed(old, columns, "cat_field_list", union))
        del translator.settings[old]
    else:
        del translator.settings[old]  # parsing reports that cat_field_list is not a list


def _translate_count_threshold(translator: _Translator, old: str) -> None:
    value = parse_literal(translator.settings[old])
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    translator.rename(old, "min_category_count", max(1, value) if is_number else value)


def _translate_metric_choices(translator: _Translator, old: str) -> None:
    value = parse_literal(translator.settings[old])
    metrics = [value] if isinstance(value, str) else value
    if not isinstance(metrics, list):
        translator.reject(old, METRIC_LIST, "early_stop_metric")
        return
    for metric in metrics:
        if remove_val_prefix(str(metric)) not in CLASSIFICATION_METRICS:
            translator.problems.append(errors.unknown_metric(old, str(metric), tuple(CLASSIFICATION_METRICS)))
    translator.drop(old, ALL_METRICS_ARE_COMPUTED)


_RULES: dict[str, _Rule] = {
    "chunk_trancate": _translate_chunk_truncation,
    "categorical_features_to_encode": _translate_categorical_features,
    "multiclass_categories": _rename_to("classes"),
    "dropout_keep": _rename_to("dropout"),
    "run_scheduler": _replace_switch("schedule", "linear", "constant"),
    "pretrained_embedding": _replace_switch("embeddings", "word2vec", "random"),
    "count_threshold": _translate_count_threshold,
    "metric_choices": _translate_metric_choices,
}
