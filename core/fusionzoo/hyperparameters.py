"""From hyperparameters.json to checked settings: core's, the model's and the text encoder's, from one flat file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from fusionzoo import errors
from fusionzoo.legacy import translate
from fusionzoo.sagemaker import Paths, decoded, kinds_of
from fusionzoo.settings import METRICS, JobSettings, ModelSettings

DROPPED_PREFIX, DROPPED = "sagemaker_", "_tuning_objective_metric"
LOSS = "val_loss"
PRECISIONS = {"bf16-mixed": "bf16", "16-mixed": "fp16", "32-true": "32"}
LoadSettings = Callable[[str], type[ModelSettings]]


@dataclass(frozen=True)
class Hyperparameters:
    """All settings of a job, checked alone and together."""

    job: JobSettings
    model: ModelSettings
    encoder: ModelSettings | None
    warnings: tuple[str, ...] = ()

    def as_flat_dict(self) -> dict[str, Any]:
        """Every effective setting as plain JSON values; `parse` makes the same settings of it."""
        parts = [self.job, self.model, *([] if self.encoder is None else [self.encoder])]
        return {key: value for part in parts for key, value in part.model_dump(mode="json").items()}


# --- reading


def read(paths: Paths) -> dict[str, Any]:
    """The flat settings as they were written, undecoded.

    The main file's keys go before those of a channel named `config`; the code's file counts where both are empty.

    Raises:
        errors.HyperparametersError: no file holds any, or one is not a JSON object of plain values.
    """
    found = {**_read(paths.channel_hyperparameters), **_read(paths.hyperparameters)} or _read(
        paths.code_hyperparameters
    )
    if not found:
        places = [paths.hyperparameters, paths.channel_hyperparameters, paths.code_hyperparameters]
        raise errors.HyperparametersError([errors.hyperparameters_nowhere(places)])
    return found


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    faults: list[errors.Fault] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        faults.extend(errors.setting_twice(path, key) for key in sorted({k for k in keys if keys.count(k) > 1}))
        return dict(pairs)

    def refuse(constant: str) -> None:
        faults.append(errors.setting_not_finite("a value", constant, path))

    try:
        content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as cause:
        place = f" line {cause.lineno} column {cause.colno}"
        raise errors.HyperparametersError([errors.hyperparameters_not_json(path, place, cause.msg)]) from cause
    except (OSError, ValueError, RecursionError) as cause:
        raise errors.HyperparametersError([errors.hyperparameters_unreadable(path, cause)]) from cause
    if not isinstance(content, dict):
        raise errors.HyperparametersError([errors.hyperparameters_not_object(path, content)])
    if faults:
        raise errors.HyperparametersError(faults)
    return {k: v for k, v in content.items() if not k.startswith(DROPPED_PREFIX) and k != DROPPED}


# --- parsing


def parse(raw: Mapping[str, Any], load_model: LoadSettings, load_encoder: LoadSettings) -> Hyperparameters:
    """Decode by declared type, and check each setting alone and all of them together.

    Args:
        raw: undecoded values, in either of SageMaker's encodings or as native JSON.
        load_model: the settings class of a model_class; its errors pass through.
        load_encoder: the settings class of a text encoder, likewise.

    Raises:
        errors.HyperparametersError: all faults of the file together.
    """
    settings, warnings, faults = translate(raw)
    core = _Part("core", JobSettings)
    model_class = core.required(settings, "model_class", faults)
    model = _Part(model_class, load_model(model_class))
    encoder = None
    if "text_encoder" in model.kind.model_fields:
        name = model.value(settings, "text_encoder") or model.kind.model_fields["text_encoder"].default
        encoder = _Part(name, load_encoder(name))
        settings = {"tokenizer": encoder.kind.default_tokenizer, **settings}
    parts: list[_Part[Any]] = [core, model, *([] if encoder is None else [encoder])]
    known = [name for part in parts for name in part.kind.model_fields]
    faults += [errors.setting_unknown(key, value, known) for key, value in settings.items() if key not in known]
    job, own = core.make(settings, faults), model.make(settings, faults)
    of_encoder = None if encoder is None else encoder.make(settings, faults)
    if job is not None:
        faults += [*_together(job), *_modalities(job, model)]
        warnings += _unused(job, model)
    if faults or job is None or own is None:
        raise errors.HyperparametersError(list(dict.fromkeys(faults)))
    return _resolved(job, own, of_encoder, tuple(warnings))


def _resolved(
    job: JobSettings, model: ModelSettings, encoder: ModelSettings | None, warnings: tuple[str, ...]
) -> Hyperparameters:
    faults: list[errors.Fault] = []
    resolved: list[ModelSettings] = []
    for settings in (model, *([] if encoder is None else [encoder])):
        try:
            resolved.append(settings.resolve(job))
        except errors.SettingFault as fault:
            faults.append(errors.setting_refused(fault.key, fault.value, fault.problem, fault.remedy))
    if faults:
        raise errors.HyperparametersError(faults)
    normal = job.model_copy(update={"early_stop_metric": _metric(job.early_stop_metric)})
    return Hyperparameters(normal, resolved[0], resolved[1] if encoder is not None else None, warnings)


_Settings = TypeVar("_Settings", bound=BaseModel)


class _Part(Generic[_Settings]):
    """One settings class, and what the file says for it."""

    def __init__(self, owner: str, kind: type[_Settings]) -> None:
        self.owner, self.kind = owner, kind
        whole = kind.model_json_schema()
        self._schemas: Mapping[str, Any] = whole.get("properties", {})

    def schema(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._schemas.get(name, {})
        return found

    def required(self, settings: Mapping[str, Any], name: str, faults: Sequence[errors.Fault]) -> str:
        """A text without which nothing more can be checked.

        Raises:
            errors.HyperparametersError: it is not given, or is no text.
        """
        value = self.value(settings, name)
        if isinstance(value, str) and value:
            return value
        schema = self.schema(name)
        fault = errors.setting_missing(name, schema) if value is None else errors.setting_invalid(name, value, schema)
        raise errors.HyperparametersError([*faults, fault])

    def value(self, settings: Mapping[str, Any], name: str) -> Any:
        """One decoded value; None where it is not given."""
        if name not in settings:
            return None
        value = decoded(settings[name], self.schema(name))
        return PRECISIONS.get(value, value) if name == "precision" and isinstance(value, str) else value

    def make(self, settings: Mapping[str, Any], faults: list[errors.Fault]) -> _Settings | None:
        """The settings object, or None and its faults."""
        values: dict[str, Any] = {}
        undecoded: dict[str, errors.Fault] = {}
        for name in self.kind.model_fields.keys() & settings.keys():
            value, schema = self.value(settings, name), self.schema(name)
            kinds = kinds_of(schema)
            if value is None and "null" not in kinds:
                continue  # null where it means nothing is "not given"
            if any(isinstance(v, float) and not math.isfinite(v) for v in _leaves(value)):
                undecoded[name] = errors.setting_not_finite(name, settings[name])
            elif isinstance(value, dict) and "object" not in kinds:
                undecoded[name] = errors.setting_nested(name, value)
            elif kinds - {"null"} == {"array"} and value is not None and not isinstance(value, list):
                undecoded[name] = errors.setting_no_list(name, value, schema)
            else:
                values[name] = value
        faults += undecoded.values()
        try:
            made = self.kind(**values)
        except ValidationError as refused:
            faults += [fault for name, fault in self._faults(refused, values) if name not in undecoded]
            return None
        return None if undecoded else made

    def _faults(self, refused: ValidationError, values: Mapping[str, Any]) -> Iterator[tuple[str, errors.Fault]]:
        for error in refused.errors():
            name = str(error["loc"][0]) if error["loc"] else ""
            schema = self.schema(name)
            indices = [place for place in error["loc"][1:] if isinstance(place, int)]
            if not name:
                yield name, errors.settings_inconsistent(self.owner, error["msg"])
            elif error["type"] == "missing":
                yield name, errors.setting_missing(name, schema)
            elif indices and isinstance(values.get(name), list):
                yield name, errors.setting_item_invalid(name, values[name], indices[0], schema)
            else:
                reason = error["msg"] if error["type"] == "value_error" else ""
                yield name, errors.setting_invalid(name, values.get(name), schema, reason)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _leaves(entry)
    else:
        yield value


# --- checks of several settings together


def _together(job: JobSettings) -> Iterator[errors.Fault]:
    if job.is_binary is not None and job.is_binary != (job.num_classes == 2):
        yield errors.binary_against_classes(job.is_binary, job.num_classes)
    if job.class_weights is not None:
        if len(job.class_weights) != job.num_classes:
            yield errors.length_against_classes("class_weights", job.class_weights, job.num_classes)
        if job.class_weights and (min(job.class_weights) < 0 or max(job.class_weights) <= 0):
            yield errors.weights_invalid(job.class_weights)
    if job.classes is not None:
        keys = [str(int(c)) if isinstance(c, float) and c.is_integer() else str(c) for c in job.classes]
        if len(keys) != job.num_classes:
            yield errors.length_against_classes("classes", job.classes, job.num_classes)
        if twice := [c for c, k in zip(job.classes, keys, strict=True) if keys.count(k) > 1]:
            yield errors.classes_twice(job.classes, twice)
    yield from _roles(job)
    if _metric(job.early_stop_metric) is None:
        known = [LOSS, *(f"val/{name}" for name in METRICS)]
        yield errors.metric_unknown("early_stop_metric", job.early_stop_metric, known)
    if job.fp16 is not None and job.precision != "auto" and job.fp16 != (job.precision == "fp16"):
        yield errors.precision_contradicts(job.fp16, job.precision)


def _roles(job: JobSettings) -> Iterator[errors.Fault]:
    named = [("id_name", job.id_name), ("label_name", job.label_name)]
    named += [("text_name", column) for column in job.text_columns]
    named += [("cat_field_list", column) for column in job.cat_field_list]
    named += [("tab_field_list", column) for column in job.tab_field_list]
    first: dict[str, str] = {}
    for role, column in named:
        if column in first:
            yield errors.column_in_two_roles(column, first[column], role)
        first.setdefault(column, role)


def _metric(name: str) -> str | None:
    """A metric under its own name, `val_loss` or `val/<metric>`, however it is spelled; None where it is none."""
    bare = name.strip().lower().removeprefix("val/").removeprefix("val_")
    if bare == "loss":
        return LOSS
    return f"val/{bare}" if bare in METRICS else None


def _given(job: JobSettings) -> dict[str, Sequence[str]]:
    return {"text": job.text_columns, "table": [*job.cat_field_list, *job.tab_field_list]}


def _modalities(job: JobSettings, model: _Part[ModelSettings]) -> list[errors.Fault]:
    lacking = [modality for modality in sorted(model.kind.needs) if not _given(job)[modality]]
    return [errors.modality_missing(model.owner, lacking)] if lacking else []


def _unused(job: JobSettings, model: _Part[ModelSettings]) -> list[str]:
    given = _given(job).items()
    unused = [column for modality, columns in given if modality not in model.kind.reads for column in columns]
    return [errors.columns_unused(model.owner, unused)] if unused else []


def check_warmup(job: JobSettings, steps: int) -> None:
    """Raises errors.HyperparametersError where `warmup_steps` is no less than all steps of the training."""
    if job.warmup_steps is not None and job.warmup_steps >= steps:
        raise errors.HyperparametersError([errors.warmup_too_long(job.warmup_steps, steps)])
