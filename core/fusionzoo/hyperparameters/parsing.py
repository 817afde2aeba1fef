"""From hyperparameters.json to checked settings: core's, the model's and the text encoder's, from one flat file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined, from_json

from fusionzoo import errors
from fusionzoo.hyperparameters.legacy import translate_legacy
from fusionzoo.sagemaker.paths import Paths, decode, is_list_or_word, json_types
from fusionzoo.settings import METRICS, JobSettings, ModelSettings

DROPPED_PREFIX, DROPPED = "sagemaker_", "_tuning_objective_metric"
LOSS = "val_loss"
ALL_BUT_LITTLE = 0.95  # of train's rows; val and test together take less
PRECISIONS = {"bf16-mixed": "bf16", "16-mixed": "fp16", "16": "fp16", "32-true": "32"}  # Lightning's own names
LoadSettings = Callable[[str], type[ModelSettings]]


@dataclass(frozen=True)
class Hyperparameters:
    """All settings of a job, checked alone and together."""

    job: JobSettings
    model: ModelSettings
    encoder: ModelSettings | None
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[JobSettings | ModelSettings, ...]:
        """The settings objects that share the file."""
        return (self.job, self.model) if self.encoder is None else (self.job, self.model, self.encoder)

    def as_flat_dict(self) -> dict[str, Any]:
        """Every effective setting as plain JSON values; `parse` makes the same settings of it.

        A name that two classes declare with defaults of their own is left out where both kept theirs.
        """
        flat = {key: value for part in self.parts for key, value in part.model_dump(mode="json").items()}
        return {key: value for key, value in flat.items() if key not in _differing(self.parts)}


# --- reading


def read_hyperparameters(paths: Paths) -> dict[str, Any]:
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
    problems: list[errors.Problem] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        problems.extend(errors.setting_twice(path, key) for key in sorted({k for k in keys if keys.count(k) > 1}))
        return dict(pairs)

    try:
        content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except json.JSONDecodeError as cause:
        place = f" line {cause.lineno} column {cause.colno}"
        raise errors.HyperparametersError([errors.hyperparameters_not_json(path, place, cause.msg)]) from cause
    except (OSError, UnicodeDecodeError) as cause:
        raise errors.HyperparametersError([errors.hyperparameters_unreadable(path, cause)]) from cause
    except (ValueError, RecursionError) as cause:  # a number of thousands of digits, or lists in lists in lists
        raise errors.HyperparametersError([errors.hyperparameters_not_json(path, "", str(cause))]) from cause
    if not isinstance(content, dict):
        raise errors.HyperparametersError([errors.hyperparameters_not_object(path, content)])
    problems += [errors.setting_not_finite(key, value, path) for key, value in content.items() if not _is_finite(value)]
    if problems:
        raise errors.HyperparametersError(problems)
    return {k: v for k, v in content.items() if not k.startswith(DROPPED_PREFIX) and k != DROPPED}


def _is_finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    except RecursionError:
        return True  # `_is_plain` refuses it
    return True


def _is_plain(value: Any) -> bool:
    """Whether every JSON reader takes the value: no half surrogate pairs, not nested without end."""
    try:
        from_json(json.dumps(value))
    except (ValueError, RecursionError):
        return False
    return True


# --- parsing


def parse_hyperparameters(
    raw: Mapping[str, Any], load_model: LoadSettings, load_encoder: LoadSettings
) -> Hyperparameters:
    """Decode by declared type, and check each setting alone and all of them together.

    Args:
        raw: undecoded values, in either of SageMaker's encodings or as native JSON.
        load_model: the settings class of a model_class; its errors pass through.
        load_encoder: the settings class of a text encoder, likewise.

    Raises:
        errors.HyperparametersError: all faults of the file together.
    """
    core = _Part("core", JobSettings)
    plugins, whole = _plugins(core, raw, load_model, load_encoder)
    parts: list[_Part[Any]] = [core, *plugins]
    own = {name for part in plugins for name in part.kind.model_fields}
    settings, warnings, problems = translate_legacy(raw, own)
    if len(plugins) == 2 and core.value(settings, "tokenizer") is None:
        settings["tokenizer"] = plugins[1].kind.default_tokenizer
    if whole:
        known = own | JobSettings.model_fields.keys()
        problems += [errors.setting_unknown(key, settings[key], known) for key in settings if key not in known]
    for part in parts:
        part.fill(settings)
        problems += part.problems
    problems += _together(core)
    if plugins:
        problems += _modalities(core, plugins[0])
    if problems:
        raise errors.HyperparametersError(list(dict.fromkeys(problems)))
    made: list[Any] = [part.made for part in parts]
    return _resolved(*made, warnings=[*warnings, *_unused(core, plugins[0])])


def _plugins(
    core: _Part[JobSettings], raw: Mapping[str, Any], load_model: LoadSettings, load_encoder: LoadSettings
) -> tuple[list[_Part[ModelSettings]], bool]:
    """The settings classes of the model and its text encoder, and whether these are all: an encoder may be unnamed."""
    named, _, _ = translate_legacy({name: raw[name] for name in ("model_class",) if name in raw})
    model_class = core.value(named, "model_class")
    if not isinstance(model_class, str) or not model_class:
        return [], False
    model = _Part(model_class, load_model(model_class))
    if "text_encoder" not in model.kind.model_fields:
        return [model], True
    encoder = model.alone(raw, "text_encoder")
    if not isinstance(encoder, str):
        return [model], not model.kind.model_fields["text_encoder"].is_required()
    return [model, _Part(encoder, load_encoder(encoder))], True


def _resolved(
    job: JobSettings, model: ModelSettings, encoder: ModelSettings | None = None, *, warnings: Sequence[str]
) -> Hyperparameters:
    problems: list[errors.Problem] = []

    def resolve(settings: ModelSettings) -> ModelSettings:
        try:
            return settings.resolve(job)
        except errors.SettingError as fault:
            problems.append(fault.problem)
            return settings

    job = job.model_copy(update={"early_stop_metric": _metric(job.early_stop_metric)})
    own = resolve(model)
    found = Hyperparameters(job, own, None if encoder is None else resolve(encoder), tuple(warnings))
    if job.layer_decay is not None and (found.encoder is None or not found.encoder.pretrained) and not problems:
        fault = errors.no_layers_to_decay(job.layer_decay)
        problems.append(fault.problem)
    problems += _clashes(found.parts)
    if problems:
        raise errors.HyperparametersError(problems)
    return found


_Settings = TypeVar("_Settings", bound=BaseModel)


class _Part(Generic[_Settings]):
    """One settings class, and what the file says for it."""

    def __init__(self, owner: str, kind: type[_Settings], schemas: Mapping[str, Any] | None = None) -> None:
        self.owner, self.kind = owner, kind
        self.made: _Settings | None = None
        self._schemas = schemas or kind.model_json_schema().get("properties", {})
        self._values: dict[str, Any] = {}
        self._faults: dict[str, list[errors.Problem]] = {}

    @property
    def problems(self) -> list[errors.Problem]:
        return [fault for problems in self._faults.values() for fault in problems]

    def sound(self, *names: str) -> bool:
        """Whether none of these settings has a fault."""
        return not self._faults.keys() & names

    def see(self, name: str) -> Any:
        """A setting's value, given or by default; None where it has a fault."""
        if not self.sound(name):
            return None
        return self._values.get(name, self._default(name))

    def alone(self, settings: Mapping[str, Any], name: str) -> Any:
        """One setting's value before the others are looked at: by default where the file's cannot be used."""
        part = _Part(self.owner, self.kind, self._schemas)
        part.fill({name: settings[name]} if name in settings else {})
        found = part.see(name)
        return self._default(name) if found is None else found

    def _default(self, name: str) -> Any:
        default = self.kind.model_fields[name].get_default(call_default_factory=True)
        return None if default is PydanticUndefined else default

    def value(self, settings: Mapping[str, Any], name: str) -> Any:
        """One decoded value; None where it is not given."""
        if name not in settings:
            return None
        value = decode(settings[name], self._schema(name))
        return PRECISIONS.get(value.lower(), value) if name == "precision" and isinstance(value, str) else value

    def fill(self, settings: Mapping[str, Any]) -> None:
        """Decode and check what the settings hold for this class; `made` is the object if nothing was wrong."""
        for name in self.kind.model_fields:
            value = self.value(settings, name)
            if value is None and (name not in settings or "null" not in json_types(self._schema(name))):
                continue  # null where it means nothing is "not given"
            if fault := self._undecoded(name, value):
                self._faults[name] = [fault]
            else:
                self._values[name] = value
        undecoded = set(self._faults)
        try:
            self.made = self.kind.model_validate_json(json.dumps(self._values), strict=True)
        except ValidationError as refused:
            for error in _telling(refused.errors(include_url=False)):
                name = str(error["loc"][0]) if error["loc"] else ""
                if name not in undecoded:
                    self._faults.setdefault(name, []).append(self._refused(name, error))

    def _schema(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._schemas.get(name, {})
        return found

    def _undecoded(self, name: str, value: Any) -> errors.Problem | None:
        kinds = json_types(self._schema(name))
        if not _is_finite(value):
            return errors.setting_not_finite(name, value)
        if not _is_plain(value):
            return errors.setting_not_plain(name, value)
        if isinstance(value, dict) and kinds and "object" not in kinds:
            return errors.setting_nested(name, value)
        if kinds - {"null"} == {"array"} and value is not None and not isinstance(value, list):
            return errors.setting_no_list(name, value, self._schema(name))
        if is_list_or_word(self._schema(name)) and not isinstance(value, (list, type(None))):
            words = errors.only_words(self._schema(name))
            return None if value in words else errors.setting_no_list(name, value, self._schema(name))
        return None

    def _refused(self, name: str, error: ErrorDetails) -> errors.Problem:
        schema, value = self._schema(name), self._values.get(name)
        indices = [place for place in error["loc"][1:] if isinstance(place, int)]
        reason = error["msg"].removeprefix("Value error, ") if error["type"] == "value_error" else ""
        if not name:
            return errors.settings_inconsistent(self.owner, reason or error["msg"])
        if error["type"] == "missing" and name not in self._values:
            return errors.setting_missing(name, schema)
        if indices and isinstance(value, list):
            return errors.setting_item_invalid(name, value, indices[0], schema)
        return errors.setting_invalid(name, value, schema, reason)


def _telling(refused: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without what the other alternatives say of a list, where one says which of its items is wrong."""
    items = {error["loc"][0] for error in refused if _in_list(error)}
    return [error for error in refused if _in_list(error) or not error["loc"] or error["loc"][0] not in items]


def _in_list(error: ErrorDetails) -> bool:
    return any(isinstance(place, int) for place in error["loc"][1:])


# --- checks of several settings together; a setting with a fault of its own is left out of them


def _together(core: _Part[JobSettings]) -> Iterator[errors.Problem]:
    yield from _classes(core)
    yield from _roles(core)
    yield from _division(core)
    metric = core.see("early_stop_metric")
    if metric is not None and _metric(metric) is None:
        yield errors.metric_unknown("early_stop_metric", metric, [LOSS, *(f"val/{name}" for name in METRICS)])
    fp16, precision = core.see("fp16"), core.see("precision")
    if fp16 is not None and precision not in (None, "auto") and fp16 != (precision == "fp16"):
        yield errors.precision_contradicts(fp16, precision)
    yield from _loss(core)


def _loss(core: _Part[JobSettings]) -> Iterator[errors.Problem]:
    loss, gamma, smoothing = (core.see(name) for name in ("loss", "focal_gamma", "label_smoothing"))
    usual = JobSettings.model_fields["focal_gamma"].get_default()
    if loss == "cross_entropy" and gamma not in (None, usual):
        yield errors.focal_gamma_without_focal(gamma, loss)
    if loss == "focal" and smoothing:
        yield errors.smoothing_with_focal(smoothing)


def _classes(core: _Part[JobSettings]) -> Iterator[errors.Problem]:
    is_binary, weights, classes = core.see("is_binary"), core.see("class_weights"), core.see("classes")
    weights = weights if isinstance(weights, list) else None
    if weights and (min(weights) < 0 or max(weights) <= 0):
        yield errors.weights_invalid(weights)
    keys = [str(int(c)) if isinstance(c, float) and c.is_integer() else str(c) for c in classes or []]
    if twice := [c for c, key in zip(classes or [], keys, strict=True) if keys.count(key) > 1]:
        yield errors.classes_twice(classes, twice)
    number = core.see("num_classes")
    if number is None:
        return
    if is_binary is not None and is_binary != (number == 2):
        yield errors.binary_against_classes(is_binary, number)
    for name, values in (("class_weights", weights), ("classes", classes)):
        if values is not None and len(values) != number:
            yield errors.length_against_classes(name, values, number)


def _roles(core: _Part[JobSettings]) -> Iterator[errors.Problem]:
    first: dict[str, str] = {}
    for role in ("id_name", "label_name", "text_name", "cat_field_list", "tab_field_list"):
        named = core.see(role)
        for column in [named] if isinstance(named, str) else named or []:
            if column in first:
                yield errors.column_in_two_roles(column, first[column], role)
            first.setdefault(column, role)


def _division(core: _Part[JobSettings]) -> Iterator[errors.Problem]:
    """How train is divided into splits."""
    given = {name: core.see(name) for name in ("val_fraction", "test_fraction")}
    fractions = {name: fraction for name, fraction in given.items() if fraction is not None}
    together = sum(fractions.values())
    if together >= ALL_BUT_LITTLE:
        largest = max(fractions, key=lambda name: fractions[name])
        yield errors.fractions_leave_little(largest, fractions[largest], together, ALL_BUT_LITTLE)
    group = core.see("group_field")
    if group is not None and not fractions and core.sound(*given):
        yield errors.group_without_fraction(group)
    if group is not None and group == core.see("label_name"):
        yield errors.group_is_label(group)


def _metric(name: str) -> str | None:
    """A metric under its own name, `val_loss` or `val/<metric>`, however it is spelled; None where it is none."""
    bare = name.strip().lower().removeprefix("val/").removeprefix("val_")
    if bare == "loss":
        return LOSS
    return f"val/{bare}" if bare in METRICS else None


def _given(core: _Part[JobSettings]) -> dict[str, list[str]]:
    """The columns of each modality."""
    text = core.see("text_name") or []
    table = [*(core.see("cat_field_list") or []), *(core.see("tab_field_list") or [])]
    return {"text": [text] if isinstance(text, str) else text, "table": table}


def _modalities(core: _Part[JobSettings], model: _Part[ModelSettings]) -> list[errors.Problem]:
    given, owners = _given(core), {"text": ["text_name"], "table": ["cat_field_list", "tab_field_list"]}
    absent = [modality for modality in owners if not given[modality] and core.sound(*owners[modality])]
    if lacking := [modality for modality in absent if modality in model.kind.needs]:
        return [errors.modality_missing(model.owner, [modality]) for modality in lacking]
    share, read = core.see("modality_dropout"), [m for m in owners if m in model.kind.reads and given[m]]
    if share and len(read) == 1 and core.sound(*(key for keys in owners.values() for key in keys)):
        return [errors.one_modality_to_drop(share, model.owner, read)]
    nothing = model.kind.reads and model.kind.reads <= set(absent)
    return [errors.modality_missing(model.owner, sorted(model.kind.reads))] if nothing else []


def _unused(core: _Part[JobSettings], model: _Part[ModelSettings]) -> list[str]:
    given = _given(core).items()
    unused = [column for modality, columns in given if modality not in model.kind.reads for column in columns]
    return [errors.columns_unused(model.owner, unused)] if unused else []


def _differing(parts: Sequence[BaseModel]) -> dict[str, list[tuple[type[BaseModel], Any]]]:
    """The names that several settings objects hold with different values: each class and its value."""
    held: dict[str, list[tuple[type[BaseModel], Any]]] = {}
    for part in parts:
        for name in type(part).model_fields:
            held.setdefault(name, []).append((type(part), getattr(part, name)))
    return {name: pairs for name, pairs in held.items() if any(value != pairs[0][1] for _, value in pairs)}


def _clashes(parts: Sequence[BaseModel]) -> Iterator[errors.Problem]:
    for name, pairs in _differing(parts).items():
        if any(value != kind.model_fields[name].get_default(call_default_factory=True) for kind, value in pairs):
            yield errors.settings_clash(name, {f"{kind.__module__}.{kind.__name__}": value for kind, value in pairs})


def check_warmup(job: JobSettings, steps: int) -> None:
    """Raises errors.HyperparametersError where `warmup_steps` is no less than all steps of the training."""
    if job.warmup_steps is not None and job.warmup_steps >= steps:
        raise errors.HyperparametersError([errors.warmup_too_long(job.warmup_steps, steps)])
