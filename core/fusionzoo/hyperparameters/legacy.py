"""The names that users of the predecessor have in their hyperparameters.json, and what they mean here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from fusionzoo import errors
from fusionzoo.sagemaker.paths import parse_literal, unquote
from fusionzoo.settings import METRICS

ALWAYS_DONE = ("dialogue_chunker", "tokenizer")


def translate_legacy(
    raw: Mapping[str, Any], declared: Collection[str] = ()
) -> tuple[dict[str, Any], list[str], list[errors.Problem]]:
    """The settings under today's names, a warning for each old name, and a fault for each that means nothing.

    Values come encoded or decoded, and may leave so. Names in `declared`, which a plugin has for itself, stay.
    """
    file = _File(raw)
    for name, rule in _VALUES.items():
        if name in raw:
            rule(file, name)
    for name, rule in _NAMES.items():
        if name in raw and name not in declared:
            _apply(rule, file, name)
    for name in errors.WITHOUT_MEANING:
        if name in raw and name not in declared:
            file.problems.append(errors.legacy_without_meaning(name, file.settings.pop(name)))
    return file.settings, file.warnings, file.problems


class _File:
    """The settings of one file while they are translated."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.settings = dict(raw)
        self.warnings: list[str] = []
        self.problems: list[errors.Problem] = []

    def rename(self, old: str, new: str, value: Any) -> None:
        """Take the old setting as this value of the new one; a fault where the file gives the new one otherwise."""
        given, found = parse_literal(self.settings.pop(old)), parse_literal(self.settings.get(new))
        if found is not None and not _same(found, parse_literal(value)):
            self.problems.append(errors.legacy_and_new_differ(old, given, new, parse_literal(value), found))
            return
        if found is None:
            self.settings[new] = value
        self.warnings.append(errors.legacy_renamed(old, given, new, parse_literal(value)))

    def drop(self, old: str, why: str) -> None:
        """Do without the old setting."""
        self.warnings.append(errors.legacy_always_so(old, parse_literal(self.settings.pop(old)), why))

    def refuse(self, old: str, form: str, new: str) -> None:
        """A fault: the old setting's value is not of its form."""
        self.problems.append(errors.legacy_invalid(old, parse_literal(self.settings.pop(old)), form, new))


_Rule = Callable[[_File, str], None]


def _apply(rule: _Rule, file: _File, name: str) -> None:
    if parse_literal(file.settings[name]) is None:
        del file.settings[name]
    else:
        rule(file, name)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return bool(one == other)


def _renamed(new: str) -> _Rule:
    return lambda file, old: file.rename(old, new, file.settings[old])


def _switch(new: str, on: str, off: str) -> _Rule:
    """A rule for an old true or false that is now the choice between two words."""

    def rule(file: _File, old: str) -> None:
        value = parse_literal(file.settings[old])
        if isinstance(value, bool):
            file.rename(old, new, on if value else off)
        else:
            file.refuse(old, errors.TRUE_OR_FALSE, new)

    return rule


def _model_class(file: _File, name: str) -> None:
    value = unquote(file.settings[name])
    if isinstance(value, str) and value.lower().startswith("bimodal_"):
        now = f"multimodal_{value[len('bimodal_') :]}"
        file.settings[name] = now
        file.warnings.append(errors.legacy_renamed(name, value, name, now))


def _text_processing_steps(file: _File, name: str) -> None:
    steps = parse_literal(file.settings[name])
    if not isinstance(steps, list) or not any(step in ALWAYS_DONE for step in steps):
        return
    file.settings[name] = [step for step in steps if step not in ALWAYS_DONE]
    file.warnings.append(errors.legacy_renamed(name, steps, name, file.settings[name]))


def _chunk_trancate(file: _File, old: str) -> None:
    value = parse_literal(file.settings[old])
    limit = parse_literal(file.settings.get("max_total_chunks", "absent"))
    if not isinstance(value, bool):
        file.refuse(old, errors.TRUE_OR_FALSE, "max_total_chunks")
    elif not value:
        file.rename(old, "max_total_chunks", None)
    elif limit is None:
        del file.settings[old]
        file.problems.append(errors.chunk_truncation_differs(old))
    else:
        file.drop(old, errors.CHUNKS_ARE_CAPPED)


def _categorical_features(file: _File, old: str) -> None:
    value, known = parse_literal(file.settings[old]), parse_literal(file.settings.get("cat_field_list"))
    if not isinstance(value, list):
        file.refuse(old, errors.A_LIST_OF_COLUMNS, "cat_field_list")
    elif known is None or isinstance(known, list):
        union = [*(known or []), *(column for column in value if column not in (known or []))]
        file.settings["cat_field_list"] = union
        file.warnings.append(errors.legacy_renamed(old, value, "cat_field_list", union))
        del file.settings[old]
    else:
        del file.settings[old]


def _count_threshold(file: _File, old: str) -> None:
    value = parse_literal(file.settings[old])
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    file.rename(old, "min_category_count", max(1, value) if known else value)


def _metric_choices(file: _File, old: str) -> None:
    value = parse_literal(file.settings[old])
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list):
        file.refuse(old, errors.A_LIST_OF_METRICS, "early_stop_metric")
        return
    for metric in named:
        if str(metric).lower().removeprefix("val/").removeprefix("val_") not in METRICS:
            file.problems.append(errors.metric_unknown(old, str(metric), METRICS))
    file.drop(old, errors.ALL_METRICS_ARE_COMPUTED)


_VALUES: dict[str, _Rule] = {"model_class": _model_class, "text_processing_steps": _text_processing_steps}
_NAMES: dict[str, _Rule] = {
    "chunk_trancate": _chunk_trancate,
    "categorical_features_to_encode": _categorical_features,
    "multiclass_categories": _renamed("classes"),
    "dropout_keep": _renamed("dropout"),
    "run_scheduler": _switch("schedule", "linear", "constant"),
    "pretrained_embedding": _switch("embeddings", "word2vec", "random"),
    "count_threshold": _count_threshold,
    "metric_choices": _metric_choices,
}
