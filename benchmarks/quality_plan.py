"""Which runs benchmarks/quality.py makes, and in which order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_sets import DATA_SETS
from quality_results import BASELINES, CASES, SEEDS, Model, Record, RunKey, is_planned

from fusionzoo import errors
from fusionzoo.registry import Registry

FUSION_ENCODERS = ("bert", "cnn")  # fusions for any text encoder are measured over these
VARIANTS: Mapping[str, Mapping[str, Any]] = {"frozen": {"freeze_text_encoder": True}, "lora": {"peft": "lora"}}
"""Settings other than the defaults, by name. They are measured for these models."""
VARIANT_MODELS = ("multimodal_bert",)


@dataclass(frozen=True)
class Selection:
    """What the command line selects; empty selections are everything.

    Attributes:
        only: model classes and baselines.
        data: data sets.
        rows: numbers of training rows; None: all.
        seeds: seeds.
        text_encoder: the text encoder of the models.
        variant: the name of changed settings, and the settings if they are new: `["slow", "lr=1e-5"]`.
        heavy: whether to train every model on every case, not only on those of `is_planned`.
    """

    only: Sequence[str] = ()
    data: Sequence[str] = tuple(DATA_SETS)
    rows: Sequence[int | None] = ()
    seeds: Sequence[int] = SEEDS
    text_encoder: str | None = None
    variant: Sequence[str] = ()
    heavy: bool = False


def make_plan(selection: Selection, registry: Registry) -> tuple[list[RunKey], list[str]]:
    """Return the selected runs, cheap ones first, and the messages of model classes that cannot be used.

    All models of a case and seed follow each other.
    """
    models, problems = select_models(selection, registry)
    cases = [case for case in CASES if case.data in selection.data]
    cases = [case for case in cases if not selection.rows or case.rows in selection.rows]
    keys = [
        RunKey.of(model, settings, case, seed)
        for seed in selection.seeds
        for case in cases
        for model, settings in models
        if selection.heavy or is_planned(model, case)
    ]
    return sorted(keys, key=find_stage), problems


def select_models(selection: Selection, registry: Registry) -> tuple[list[tuple[Model, Mapping[str, Any]]], list[str]]:
    """Return the selected models with their changed settings, baselines first, and messages of broken ones."""
    names = [name for name in selection.only if name not in BASELINES] if selection.only else list(registry)
    models, problems = load_models(registry, names)
    if selection.text_encoder is not None:
        models = [model for model in models if model.text_encoder == selection.text_encoder]
    if selection.variant:
        name, *changes = selection.variant
        settings = parse_changes(changes) if changes else VARIANTS[name]
        return [(replace(model, variant=name), settings) for model in models], problems
    baselines = [Model(name, None, reads) for name, reads in BASELINES.items()]
    if selection.only or selection.text_encoder is not None:
        baselines = [model for model in baselines if model.name in selection.only]
    varied = [
        (replace(model, variant=name), settings)
        for model in models
        if model.name in VARIANT_MODELS
        for name, settings in VARIANTS.items()
    ]
    return [*((model, {}) for model in [*baselines, *models]), *varied], problems


def load_models(registry: Registry, names: Iterable[str]) -> tuple[list[Model], list[str]]:
    """Return model classes over each of their text encoders, and the messages of broken ones."""
    models, problems = set(), []
    for name in dict.fromkeys(names):
        try:
            settings = registry.load(name).settings_class
        except errors.ZooError as error:
            problems.append(str(error))
            continue
        models |= {Model.of(name, settings, encoder) for encoder in FUSION_ENCODERS}
    return sorted(models, key=lambda model: model.sort_key), problems


def parse_changes(changes: Iterable[str]) -> dict[str, Any]:
    """Return settings given as NAME=VALUE, with values in JSON; a value that is not JSON is a text."""
    settings = {}
    for change in changes:
        name, sign, value = change.partition("=")
        if not sign:
            raise SystemExit(f"'{change}' is not a setting.\nFix: write NAME=VALUE, such as lr=1e-5.")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def find_stage(key: RunKey) -> int:
    """Return when a run has its turn: baselines, new weights, pretrained ones, and these with other settings."""
    names = ["", *VARIANTS]
    place = names.index(key.variant) if key.variant in names else len(names)
    return 0 if key.model_class in BASELINES else 1 + key.is_pretrained + place


def is_finished(key: RunKey, records: Iterable[Record]) -> bool:
    """Return whether a run is in the results."""
    return any(key.as_json().items() <= record.items() for record in records)
