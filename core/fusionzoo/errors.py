"""Every failure that a user can mend: what happened, which file, field, row or package, what to do.

Messages stand here and nowhere else. The first 1,024 characters of a message become a SageMaker job's
FailureReason, so the cause comes first.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

LISTED_FAULTS = 20
LISTED_IDS = 5


class ZooError(Exception):
    """Base of every error that a user can mend; `train.py` reports it without a stack trace."""

    @property
    def parts(self) -> tuple[str, str]:
        """What happened, and what to do about it, each on one line."""
        problem, _, remedy = str(self).partition("\nFix: ")
        return " ".join(problem.split()), " ".join(remedy.split())


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where it stands, what is wrong, and what to do about it."""

    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. Fix: {self.remedy}."


class FaultsError(ZooError):
    """Several faults of one input, reported together; `faults` holds all of them."""

    heading = "{count} found"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [self.heading.format(count=_count(len(self.faults), "fault"))]
        lines += [f"- {fault}" for fault in self.faults[:LISTED_FAULTS]]
        if len(self.faults) > LISTED_FAULTS:
            lines.append(f"- and {len(self.faults) - LISTED_FAULTS} more")
        super().__init__("\n".join(lines))


def nearest(name: str, known: Iterable[str], how_many: int = 1) -> list[str]:
    """The known names that are most like `name`, best first; compared without regard to case."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=how_many)]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


# --- settings


class SettingFault(ZooError):
    """A setting's value cannot work in this job; raised by `ModelSettings.resolve` and by plugins' builders."""

    def __init__(self, key: str, value: object, problem: str, remedy: str) -> None:
        self.key, self.value, self.problem, self.remedy = key, value, problem, remedy
        super().__init__(f"{key} = {str(value)[:80]!r}: {problem}.\nFix: {remedy}.")


class HyperparametersError(FaultsError):
    """What the hyperparameters say cannot be used; all faults of a file together."""

    heading = "The hyperparameters cannot be used: {count}."


def setting_refused(key: str, value: object, problem: str, remedy: str) -> Fault:
    return Fault(f"{key} = {_as_json(value)}", problem, remedy)


def hyperparameters_nowhere(places: Sequence[Path]) -> Fault:
    where = ", ".join(str(place) for place in places)
    return Fault("hyperparameters", f"none are given: absent or empty are {where}", "write them into one of these")


def hyperparameters_unreadable(path: Path, cause: Exception) -> Fault:
    return Fault(str(path), f"it cannot be read as UTF-8 text ({_short(cause)})", "write it again")


def hyperparameters_not_json(path: Path, place: str, cause: str) -> Fault:
    return Fault(f"{path}{place}", f"it is not JSON ({cause})", "mend it there; `python -m json.tool` shows the place")


def hyperparameters_not_object(path: Path, found: object) -> Fault:
    return Fault(str(path), f"it holds {_as_json(found)}, not an object", 'write {"name": value, ...}')


def setting_twice(path: Path, key: str) -> Fault:
    return Fault(f"{path}, {key}", "it is given more than once", "keep one of them")


def setting_not_finite(key: str, value: object, path: Path | None = None) -> Fault:
    where = "" if path is None else f"{path}, "
    return setting_refused(f"{where}{key}", value, "NaN and Infinity are no settings", "give a finite number")


def setting_not_plain(key: str, value: object) -> Fault:
    return setting_refused(key, value, "it holds half of a surrogate pair, or is nested too deeply", "write it again")


def setting_unknown(key: str, value: object, known: Iterable[str]) -> Fault:
    close = nearest(key, known)
    remedy = f"write {close[0]}, or remove it" if close else "remove it"
    if isinstance(value, dict):
        remedy = "write its keys at the top level of the file"
    return setting_refused(key, value, "there is no such setting", remedy)


def setting_missing(key: str, schema: Mapping[str, Any]) -> Fault:
    return Fault(key, "it is required, and not given", f"give {allowed_values(schema)}")


def setting_invalid(key: str, value: object, schema: Mapping[str, Any], reason: str = "") -> Fault:
    return setting_refused(key, value, reason or "this cannot be used", f"give {allowed_values(schema)}")


def setting_item_invalid(key: str, value: Sequence[object], index: int, schema: Mapping[str, Any]) -> Fault:
    problem = f"its item {index + 1}, {_as_json(value[index])}, cannot be used"
    return setting_refused(key, value, problem, f"give {allowed_values(schema)}")


def setting_nested(key: str, value: object) -> Fault:
    remedy = "write one plain value, and other settings at the top level"
    return setting_refused(key, value, "it is an object within the object", remedy)


def setting_no_list(key: str, value: object, schema: Mapping[str, Any]) -> Fault:
    wanted = f"give {allowed_values(schema)}"
    if isinstance(value, str) and _part(schema, "array").get("items", {}).get("type") == "string":
        names = [name.strip(" '\"[]()") for name in value.split(",")]
        wanted = f"write {_as_json([name for name in names if name])}"
    return setting_refused(key, value, "it is not a list", wanted)


def settings_inconsistent(owner: str, reason: str) -> Fault:
    return Fault(f"settings of {owner}", reason, "change the settings that this names")


def settings_clash(key: str, values: Mapping[str, object]) -> Fault:
    seen = ", ".join(f"{_as_json(value)} for {owner}" for owner, value in values.items())
    return Fault(key, f"one name would stand for two values: {seen}", "tell the plugin's author to rename it")


def binary_against_classes(is_binary: bool, num_classes: int) -> Fault:
    problem = f"num_classes is {num_classes}"
    return setting_refused("is_binary", is_binary, problem, "remove is_binary, or mend num_classes")


def length_against_classes(key: str, values: Sequence[object], num_classes: int) -> Fault:
    problem = f"its length is {len(values)}, but num_classes is {num_classes}"
    return setting_refused(key, values, problem, "give one entry per class")


def weights_invalid(weights: Sequence[float]) -> Fault:
    problem = "a weight is negative" if min(weights) < 0 else "every weight is 0"
    return setting_refused("class_weights", weights, problem, "give weights of 0 or more, of which one is above 0")


def classes_twice(classes: Sequence[object], twice: Sequence[object]) -> Fault:
    named = ", ".join(map(_as_json, twice))
    return setting_refused("classes", classes, f'more than once: {named} (1, 1.0 and "1" are one)', "name each once")


def column_in_two_roles(column: str, first: str, second: str) -> Fault:
    if first == second:
        return setting_refused(first, column, "the column is named twice", "name it once")
    return setting_refused(second, column, f"the column is {first} too", f"remove it from {first} or {second}")


def metric_unknown(key: str, metric: str, known: Sequence[str]) -> Fault:
    close = nearest(metric, known)
    remedy = f"write {close[0]}" if close else f"give one of {', '.join(known)}"
    return setting_refused(key, metric, "no such metric is computed", remedy)


def fractions_leave_little(key: str, fraction: float, together: float, most: float) -> Fault:
    problem = f"val_fraction and test_fraction together are {together:g}, which leaves train too little"
    return setting_refused(key, fraction, problem, f"lower it, so that they are below {most:g}")


def group_without_fraction(group: str) -> Fault:
    problem = "it has an effect only where train is divided, and there is no val_fraction or test_fraction"
    return setting_refused("group_field", group, problem, "give one of these, or remove group_field")


def group_is_label(group: str) -> Fault:
    problem = "the column is label_name too, so that each class would stand in one split only"
    return setting_refused("group_field", group, problem, "name another column, or remove it")


def focal_gamma_without_focal(gamma: float, loss: str) -> Fault:
    return setting_refused(
        "focal_gamma", gamma, f"it has an effect on focal loss only, and loss is {loss}", "remove it"
    )


def smoothing_with_focal(smoothing: float) -> Fault:
    problem = "it smooths the labels of cross entropy, and loss is focal"
    return setting_refused("label_smoothing", smoothing, problem, "remove it, or set loss: cross_entropy")


def one_modality_to_drop(share: float, model_class: str, read: Iterable[str]) -> Fault:
    problem = f"{model_class} reads only the {' and the '.join(read)} of this job, which would leave rows with nothing"
    return setting_refused("modality_dropout", share, problem, "remove it")


def no_layers_to_decay(layer_decay: float) -> SettingFault:
    problem = "no pretrained text encoder is tuned in this job"
    return SettingFault("layer_decay", layer_decay, problem, "remove it, or choose a pretrained encoder and tune it")


def no_stack_of_layers(layer_decay: float, encoder: str) -> SettingFault:
    problem = f"{encoder} has no stack of layers with weights of their own"
    return SettingFault("layer_decay", layer_decay, problem, "remove it, or choose another encoder")


def compiler_missing(device: str, cause: Exception) -> SettingFault:
    tools = "a C++ compiler (g++)" if device == "cpu" else "Triton and a C compiler (gcc)"
    problem = f"this machine cannot compile for its {device}: {_short(cause)}"
    return SettingFault("torch_compile", True, problem, f"install {tools} with Python's headers, or remove the setting")


def compile_needs_torch(found: str, since: str) -> SettingFault:
    problem = f"this torch is {found}"
    return SettingFault("torch_compile", True, problem, f"install torch {since} or newer, or remove the setting")


def sharding_needs_torch(found: str, since: str) -> SettingFault:
    problem = f"this torch is {found}"
    return SettingFault("strategy", "fsdp", problem, f"install torch {since} or newer, or set strategy: ddp")


def sharding_without(setting: str, value: Any) -> SettingFault:
    return SettingFault(setting, value, "strategy: fsdp cannot have it", f"remove {setting}, or set strategy: ddp")


def precision_contradicts(fp16: bool, precision: str) -> Fault:
    return setting_refused("fp16", fp16, f"precision is {precision}", "remove one of the two")


def modality_missing(model_class: str, modalities: Sequence[str]) -> Fault:
    keys = {"text": "text_name", "table": "cat_field_list or tab_field_list"}
    named = " or ".join(modalities)
    remedy = f"give {' or '.join(keys[modality] for modality in modalities)}, or choose another model_class"
    return setting_refused("model_class", model_class, f"it needs {named}, and no such column is named", remedy)


def chunks_without_room(max_sen_len: int, special: int) -> Fault:
    problem = f"the tokenizer's {special} special tokens leave no room for text in a chunk"
    return setting_refused("max_sen_len", max_sen_len, problem, f"give more than {special}")


def warmup_too_long(warmup_steps: int, steps: int) -> Fault:
    problem = f"the whole training has only {_count(steps, 'step')}, so the warm-up would never end"
    remedy = f"give fewer than {steps}, or remove it: warmup_fraction then decides"
    return setting_refused("warmup_steps", warmup_steps, problem, remedy)


def columns_unused(model_class: str, columns: Sequence[str]) -> str:
    return f"{model_class} does not read these columns, which are named in the settings: {_quoted(columns)}."


def legacy_renamed(old: str, value: object, new: str, now: object) -> str:
    return f"{old} = {_as_json(value)} is taken as {new} = {_as_json(now)}: write that instead."


def legacy_always_so(old: str, value: object, why: str) -> str:
    return f"{old} = {_as_json(value)} changes nothing: {why}. Remove it."


def legacy_and_new_differ(old: str, value: object, new: str, wanted: object, found: object) -> Fault:
    problem = f"it means {new} = {_as_json(wanted)}, but {new} is {_as_json(found)}"
    return setting_refused(old, value, problem, f"keep {new}, and remove {old}")


def legacy_invalid(old: str, value: object, form: str, new: str) -> Fault:
    return setting_refused(old, value, f"it is not {form}", f"remove it, and give {new}")


TRUE_OR_FALSE = "true or false"
A_LIST_OF_COLUMNS = "a list of columns"
A_LIST_OF_METRICS = "a list of metrics"
CHUNKS_ARE_CAPPED = "max_total_chunks always caps the chunks"
ALL_METRICS_ARE_COMPUTED = "all metrics are always computed"


def chunk_truncation_differs(old: str) -> Fault:
    return setting_refused(old, True, "max_total_chunks is null, which means no cap", f"remove {old}")


def legacy_without_meaning(old: str, value: object) -> Fault:
    return setting_refused(old, value, WITHOUT_MEANING[old], "remove it")


_BY_NAME = "columns are read by their names"
_COUNTED = "the table's fields are counted, and their width is the architecture's own setting"
_BATCH = "a batch has fixed fields"
_CHANNEL = "every part file of the channel is read, whatever its name"
WITHOUT_MEANING = {
    "header": _BY_NAME,
    "full_field_list": _BY_NAME,
    "input_tab_dim": _COUNTED,
    "tab_field_dim": _COUNTED,
    "text_input_ids_key": _BATCH,
    "text_attention_mask_key": _BATCH,
    "fixed_tokenizer_length": "a batch is padded to its longest chunk only, and scores do not depend on it",
    "device": "the hardware that is there is used",
    "load_ckpt": "a job continues by itself from its checkpoint folder",
    "text_field_overwrite": "the data is never changed",
    "smooth_factor": "categories have embeddings; nothing is encoded by the target",
    "lr_decay": "the learning rate follows schedule",
    "train_filename": _CHANNEL,
    "val_filename": _CHANNEL,
    "test_filename": _CHANNEL,
    "model_path": "the model is written where SageMaker takes it from",
    "embed_size": "embedding_dim is the width of word vectors; a pretrained encoder has its own",
}


def _as_json(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    except (ValueError, RecursionError):
        text = f"{type(value).__name__} too large to show"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 80 else f"{text[:77]}..."


def _part(schema: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The alternative of a JSON schema that has this type; empty where there is none."""
    return next((part for part in schema.get("anyOf", [schema]) if part.get("type") == kind), {})


def allowed_values(schema: Mapping[str, Any]) -> str:
    """In plain words, the values that a JSON schema allows."""
    parts = [_wanted_part(part) for part in schema.get("anyOf", [schema])]
    return " or ".join(dict.fromkeys(parts))


def _wanted_part(part: Mapping[str, Any]) -> str:
    if choices := only_values(part):
        return _as_json(choices[0]) if len(choices) == 1 else "one of " + ", ".join(map(_as_json, choices))
    if part.get("type") == "array":
        return _wanted_list(part)
    if part.get("type") == "string" and "pattern" in part:
        return f"a text that matches {part['pattern']}"
    text = "a text that is not empty" if part.get("minLength") else "a text"
    words = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}
    words |= {"string": text, "object": 'an object, like {"name": 1}'}
    return words.get(part.get("type", ""), "another value") + _bounds(part)


def _wanted_list(part: Mapping[str, Any]) -> str:
    items = part.get("items", {})
    few = "that is not empty" if part.get("minItems") else ""
    if choices := only_values(items):
        return " ".join(["a list", few, "out of", ", ".join(map(_as_json, choices))]).replace("  ", " ")
    plural, example = {
        "integer": ("whole numbers", [1, 2]),
        "number": ("numbers", [1.0, 2.0]),
        "boolean": ("true and false", [True, False]),
        "string": ("texts", ["feature1", "feature2"]),
    }.get(items.get("type", ""), ("values", ["a", "b"]))
    return f"a list of {plural}{_bounds(items)}{few and ' ' + few}, like {_as_json(example)}"


def only_values(part: Mapping[str, Any]) -> Sequence[Any]:
    """The only values that a JSON schema allows; empty where it names none."""
    return [part["const"]] if "const" in part else part.get("enum", [])


def only_words(schema: Mapping[str, Any]) -> list[Any]:
    """The texts that a JSON schema allows where it names them, in any of its alternatives."""
    parts = schema.get("anyOf", [schema])
    return [word for part in parts if part.get("type") == "string" for word in only_values(part)]


def _bounds(part: Mapping[str, Any]) -> str:
    if "minimum" in part and "maximum" in part:
        return f" from {part['minimum']} to {part['maximum']}"
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "of at most",
        "exclusiveMaximum": "below",
    }
    found = [f"{word} {part[name]}" for name, word in words.items() if name in part]
    return f" {' and '.join(found)}" if found else ""


# --- container


class ContainerError(ZooError):
    """A file that the container put in place cannot be used."""

    def __init__(self, path: Path, cause: Exception) -> None:
        super().__init__(f"{path} cannot be read as JSON ({_short(cause)}).\nFix: start the job again.")


OUT_OF_MEMORY = "Fix: lower batch_size, max_sen_len or max_total_chunks, or take an instance with more memory."


def failure_unwritten(path: Path, cause: Exception) -> str:
    return f"{path} could not be written ({_short(cause)}); SageMaker will not show the cause, this log does."


def failure_already_there(path: Path) -> str:
    return f"{path} is kept: another process wrote it first."


def failure_not_removed(path: Path, cause: Exception) -> str:
    return f"{path} of an earlier run could not be removed ({_short(cause)})."


# --- data


class DataError(FaultsError):
    """The data cannot be used as the settings say."""

    heading = "The data cannot be used: {count}."


@dataclass(frozen=True)
class ValuesFault(Fault):
    """Values of one column that cannot be used; those of several blocks of a file are one fault."""

    thing: str
    wrong: str
    count: int
    examples: tuple[tuple[str, object], ...]  # rows and their values, the first ones

    @classmethod
    def of(
        cls, where: str, thing: str, wrong: str, count: int, examples: Sequence[tuple[str, object]], remedy: str
    ) -> ValuesFault:
        """The fault of `count` things, of which `examples` are the first."""
        shown = tuple(examples[:3])
        return cls(where, f"{_count(count, thing)} {wrong}: {_examples(shown)}", remedy, thing, wrong, count, shown)

    def and_then(self, other: ValuesFault) -> ValuesFault:
        """This fault and the same one of a later block as one."""
        examples = self.examples + other.examples
        return self.of(self.where, self.thing, self.wrong, self.count + other.count, examples, self.remedy)


class FaultLog:
    """Gathers the faults of several steps, so that a user sees all of them at once."""

    def __init__(self) -> None:
        self._faults: dict[object, Fault] = {}

    @property
    def faults(self) -> list[Fault]:
        """The faults so far, in the order in which they were found."""
        return list(self._faults.values())

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the faults of a DataError raised in the block, and go on after it."""
        try:
            yield
        except DataError as error:
            for fault in error.faults:
                self.keep(fault)

    def keep(self, fault: Fault) -> None:
        """Keep a fault; of the same values of a file there is one, however many blocks they stand in."""
        key = (fault.where, fault.wrong) if isinstance(fault, ValuesFault) else fault
        earlier = self._faults.get(key)
        if isinstance(earlier, ValuesFault) and isinstance(fault, ValuesFault):
            fault = earlier.and_then(fault)
        self._faults[key] = fault

    def raise_if_any(self) -> None:
        """Raises DataError with all faults kept so far."""
        if self._faults:
            raise DataError(self.faults)


def channel_missing(name: str, folder: Path) -> Fault:
    or_else = "" if name == "train" else f", or set {name}_fraction to take a share of train"
    return Fault(f"channel '{name}'", f"there is no folder {folder}", f"mount the {name} data there{or_else}")


def split_twice(name: str, folder: Path) -> Fault:
    return Fault(
        f"channel '{name}'", f"there is both {folder} and {name}_fraction", f"remove the channel or {name}_fraction"
    )


def channel_empty(name: str, folder: Path) -> Fault:
    return Fault(f"channel '{name}'", f"{folder} holds no part file", "check the channel's S3 prefix")


def no_rows(name: str) -> Fault:
    return Fault(f"channel '{name}'", "its part files hold no row", "check the step that wrote them")


def channel_changed(name: str) -> Fault:
    return Fault(f"channel '{name}'", "its rows changed while the job read them", "start the job on finished files")


def no_row_for_part(name: str, part: str, share: float, rows: int) -> Fault:
    problem = f"{part}_fraction = {share:g} of its {_count(rows, 'row')} is none, as each class keeps a row in train"
    return Fault(f"channel '{name}'", problem, f"raise it, or mount a channel '{part}'")


def no_group_for_part(name: str, part: str, share: float, rows: int, group: str, sizes: Sequence[int]) -> Fault:
    return Fault(
        f"channel '{name}', column '{group}'",
        f"no group is left for {part}_fraction = {share:g}: there {'is' if len(sizes) == 1 else 'are'} "
        f"{_count(len(sizes), 'group')} of {min(sizes)} to {max(sizes)} of the {_count(rows, 'row')}, and each class "
        "keeps a row in train",
        f"raise it, choose a group_field of smaller groups, or mount a channel '{part}'",
    )


def share_missed(part: str, share: float, found: int, rows: int, group: str | None) -> str:
    why = "each class keeps a row in train" if group is None else f"rows of the same '{group}' stay together"
    return f"{part} has {found} of {rows} rows, {found / rows:.1%}, and not {share:.1%} as {part}_fraction asks: {why}."


def part_of_unknown_type(name: str, suffixes: Sequence[str]) -> Fault:
    return Fault(name, "its name does not say what it is", f"use one of {', '.join(suffixes)}, each also with .gz")


def part_unreadable(name: str, kind: str, cause: Exception) -> Fault:
    text = " ".join(str(cause).split())[:200]
    return Fault(name, f"it cannot be read as {kind} ({text})", "it may be truncated, or not what its name says")


def part_not_utf8(name: str, cause: Exception) -> Fault:
    return Fault(name, f"it is not UTF-8 text ({_short(cause)})", "write it as UTF-8; or it is not what its name says")


def part_changed(path: Path) -> Fault:
    return Fault(str(path), "it changed while the job read it", "let writers finish, then start the job again")


def column_not_utf8(name: str, column: str, cause: Exception) -> Fault:
    return Fault(
        f"{name}, column '{column}'", f"it holds text that is not UTF-8 ({_short(cause)})", "write it as UTF-8"
    )


def ids_without_common_type(column: str, kinds: Mapping[str, str]) -> Fault:
    seen = ", ".join(f"{kind} in {name}" for kind, name in kinds.items())
    return Fault(f"column '{column}'", f"its part files hold ids of types that do not go together: {seen}", "write one")


def column_missing(name: str, column: str, found: Sequence[str]) -> Fault:
    close = nearest(column, found, 3)
    meant = f"did you mean {_quoted(close)}" if close else f"it has {_quoted(n[:60] for n in found[:10]) or 'none'}"
    return Fault(name, f"there is no column '{column}'", meant)


def column_twice(name: str, column: str) -> Fault:
    return Fault(name, f"column '{column}' stands there more than once", "give each column its own name")


def column_of_wrong_type(name: str, column: str, kind: str, wanted: str) -> Fault:
    return Fault(f"{name}, column '{column}'", f"it holds {kind}, not {wanted}", "convert it, or leave it out")


def rows_of_other_width(name: str, expected: int, count: int, examples: Sequence[tuple[int, int]]) -> Fault:
    lines = ", ".join(f"line {line} ({width})" for line, width in examples)
    more = ", ..." if count > len(examples) else ""
    return Fault(
        name,
        f"{_count(count, 'row')} with another number of columns than the header's {expected}: {lines}{more}",
        "the file may be truncated, or a text that holds the delimiter is not in quotes",
    )


def line_not_delimited(name: str, line: int, cause: Exception) -> Fault:
    return Fault(
        f"{name} line {line}",
        f"a text in quotes there does not end as it should ({cause})",
        "the file is truncated, or a quote within a text is not doubled",
    )


def line_not_json(name: str, line: int, cause: Exception) -> Fault:
    return Fault(f"{name} line {line}", f"it is not JSON ({cause})", "write one JSON object per line")


def line_not_object(name: str, line: int) -> Fault:
    return Fault(f"{name} line {line}", "it is not a JSON object", 'write one object per line, like {"id": 1}')


def not_numbers(name: str, column: str, count: int, examples: Sequence[tuple[str, object]]) -> Fault:
    remedy = "mend the values (empty is missing), or put the column into cat_field_list"
    return ValuesFault.of(f"{name}, column '{column}'", "value", "not a finite number", count, examples, remedy)


def column_without_numbers(name: str, column: str, kind: str, is_category: bool) -> Fault:
    remedy = "convert it to numbers, or leave it out"
    if is_category:
        remedy = "convert it to numbers, such as days since a fixed day, or put it into cat_field_list"
    return Fault(f"{name}, column '{column}'", f"it holds {kind}, not numbers", remedy)


def number_without_values(column: str) -> str:
    return f"Number column '{column}' has no value in train: only its absence can be used."


def number_not_clipped(column: str, quartile: float) -> str:
    return f"Number column '{column}' is not clipped: its quartiles in train are both {quartile:g}."


def column_tells_label(column: str, label: str, share: float, rows: int) -> str:
    return (
        f"Column '{column}' alone tells '{label}' nearly perfectly: it takes away {share:.1%} of the errors of always "
        f"guessing the commonest class (judged on {rows:,} rows of train). Leave it out if it is not known when the "
        "model is used."
    )


def no_category(column: str, distinct: int, values: int, words: float) -> str:
    what, remedy = "an id", "leave it out"
    if words >= 3:
        what, remedy = "free text", "name it in text_name instead"
    return (
        f"Category column '{column}' looks like {what}: {distinct:,} of {values:,} values of train that were looked at "
        f"differ, with {words:.1f} words each. Nothing is learned from values that hardly ever come again: {remedy}."
    )


def text_without_values(column: str) -> str:
    return f"Text column '{column}' has no text in train: leave it out, or check text_name."


def few_texts(column: str, distinct: int, texts: int) -> str:
    if distinct == 1:
        return f"Text column '{column}' holds one text only, in {texts:,} rows of train: leave it out."
    return (
        f"Text column '{column}' looks like a category: it has only {distinct} different texts in {texts:,} rows of "
        "train. Name it in cat_field_list instead, unless later rows will hold other texts."
    )


def no_text(columns: Sequence[str]) -> Fault:
    return Fault(f"train, column {_quoted(columns)}", "no row has any text", "check text_name and the cleaning steps")


def no_frequent_word(min_count: int) -> Fault:
    return Fault("train", f"no word occurs {min_count} times", "lower word_min_count")


def one_class_only(column: str, counts: Mapping[str, int]) -> Fault:
    seen = ", ".join(f"'{label}' in all {count} rows" for label, count in counts.items())
    return Fault(
        f"train, column '{column}'", f"there is one class only: {seen}", "a classifier needs two; check label_name"
    )


def balance_without_rows(column: str, absent: Sequence[object]) -> Fault:
    problem = f"class_weights: balanced divides by the rows of each class, and there are none of {_quoted(absent)}"
    return Fault(f"train, column '{column}'", problem, "add such rows, or give class_weights as a list")


def labels_null(name: str, column: str, count: int, rows: Sequence[str]) -> Fault:
    examples = [(row, None) for row in rows]
    return ValuesFault.of(f"{name}, column '{column}'", "label", "null", count, examples, "drop these rows")


def labels_infinite(name: str, column: str, count: int, rows: Sequence[str]) -> Fault:
    examples = [(row, None) for row in rows]
    return ValuesFault.of(f"{name}, column '{column}'", "label", "infinite", count, examples, "drop these rows")


def labels_unseen(
    name: str, column: str, count: int, examples: Sequence[tuple[str, object]], classes: Sequence[object]
) -> Fault:
    remedy = f"mend them, or put such rows into train; known are {_quoted(classes[:10])}"
    return ValuesFault.of(f"{name}, column '{column}'", "label", "never seen in train", count, examples, remedy)


def labels_against_num_classes(
    column: str, counts: Mapping[str, int], first_row: Mapping[str, str], num_classes: int
) -> Fault:
    shown = sorted(counts.items(), key=lambda item: item[1])[:10]
    seen = ", ".join(f"'{label}' ({count} rows, first {first_row[label]})" for label, count in shown)
    return Fault(
        f"train, column '{column}'",
        f"num_classes is {num_classes}, but there are {len(counts)} labels: {seen}",
        "mend the labels or num_classes; `classes` names them where train lacks one",
    )


def labels_outside_classes(
    column: str, extra: Sequence[str], first_row: Mapping[str, str], classes: Sequence[object]
) -> Fault:
    seen = ", ".join(f"'{label}' (first {first_row[label]})" for label in extra[:10])
    return Fault(f"train, column '{column}'", f"not in `classes` ({_quoted(classes)}): {seen}", "mend either")


def class_without_rows(column: str, absent: Sequence[object]) -> str:
    return f"No row of train has {column} = {_quoted(absent)}: the model cannot learn it."


class TokenizerError(ZooError):
    """The tokenizer that the settings name is not to be had."""

    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(
            f"Tokenizer '{name}' could not be loaded ({type(cause).__name__}: {_short(cause)}).\n"
            "Fix: give a Hugging Face model name that the hub can be asked for, a folder that holds tokenizer.json, "
            "or 'word' for a vocabulary fitted on the training text."
        )


class EmbeddingsError(ZooError):
    """Word vectors could not be had from where `embeddings` says."""

    @classmethod
    def unknown(cls, given: str, methods: Sequence[str]) -> EmbeddingsError:
        return cls(f"embeddings: '{given}' is neither a file nor one of {', '.join(methods)}.\nFix: give one of them.")

    @classmethod
    def unreadable(cls, path: str, cause: Exception) -> EmbeddingsError:
        return cls(
            f"embeddings: {path} could not be read ({type(cause).__name__}: {_short(cause)}).\n"
            "Fix: give vectors in word2vec or GloVe text format, or word2vec .bin, plain or gzip."
        )

    @classmethod
    def no_word_known(cls, path: str) -> EmbeddingsError:
        return cls(
            f"embeddings: {path} has a vector for none of the words in train.\n"
            "Fix: words are lower-cased; give vectors of the same language, or embeddings: word2vec."
        )


class ModelFolderError(ZooError):
    """A model folder lacks a file, or holds one that cannot be used."""

    @classmethod
    def read_json(cls, path: Path) -> dict[str, Any]:
        """The JSON object in a file of a model folder; raises this error where there is none."""
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as cause:
            raise cls(f"{path} cannot be read ({_short(cause)}).\nFix: give a folder that a job wrote.") from cause
        if not isinstance(found, dict):
            raise cls(f"{path} does not hold a JSON object.\nFix: give a folder that a job wrote.")
        return found

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator[None]:
        """Raises this error where the block cannot read `path`."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, EOFError) as cause:
            raise cls(f"{path} cannot be read ({_short(cause)}).\nFix: give a folder that a job wrote.") from cause

    @classmethod
    def other_version(cls, path: Path, found: object, known: int) -> ModelFolderError:
        return cls(f"{path} has format version {found}; this fusionzoo reads {known}.\nFix: use its own fusionzoo.")


# --- training


class TrainingDivergedError(ZooError):
    """The loss, a gradient, a weight or the model's outputs are NaN or infinite."""

    @classmethod
    def loss(
        cls, where: str, value: float, rows: str, gradients: Sequence[str], rates: Sequence[float], remedy: str
    ) -> TrainingDivergedError:
        return cls._at(where, f"the loss is {value}. {rows}", gradients, rates, remedy)

    @classmethod
    def gradient(
        cls, where: str, rows: str, gradients: Sequence[str], rates: Sequence[float], remedy: str
    ) -> TrainingDivergedError:
        problem = f"the loss is finite, but gradients are NaN or infinite. {rows}"
        return cls._at(where, problem, gradients, rates, remedy)

    @classmethod
    def weights(cls, step: int, names: Sequence[str], rates: Sequence[float], remedy: str) -> TrainingDivergedError:
        problem = f"weights are NaN or infinite, and were not saved: {_some(names, 300)}."
        return cls._at(f"step {step}", problem, [], rates, remedy)

    @classmethod
    def outputs(cls, step: int, rows: str, rates: Sequence[float], remedy: str) -> TrainingDivergedError:
        problem = f"the model's outputs for val after it are NaN or infinite. {rows}"
        return cls._at(f"step {step}", problem, [], rates, remedy)

    @classmethod
    def _at(
        cls, where: str, problem: str, gradients: Sequence[str], rates: Sequence[float], remedy: str
    ) -> TrainingDivergedError:
        shown = ", ".join(f"{rate:.1e}" for rate in sorted(set(rates)))
        lines = [f"Training diverged in {where}: {problem}", *gradients, f"Learning rates: {shown}."]
        return cls("\n".join([*lines, f"Fix: {remedy}."]))


def rows_not_finite(ids: Sequence[object], rows: int) -> str:
    """`ids` are those of the rows at fault, of `rows` that the batch has."""
    return f"At fault: {len(ids)} of the batch's {_count(rows, 'row')}: {_ids(ids)}."


def rows_finite_loss_not(ids: Sequence[object]) -> str:
    return f"Each row's own loss is finite: it is the architecture's penalties, or the sum. Rows: {_ids(ids)}."


def rows_of_step(ids: Sequence[object]) -> str:
    return f"Rows of the step: {_ids(ids)}."


def rows_of_val(ids: Sequence[object], rows: int) -> str:
    return f"These are {len(ids)} of val's {_count(rows, 'row')}: {_ids(ids)}."


def gradients_not_finite(names: Sequence[str], count: int) -> str:
    shown = "all of them" if len(names) == count > 1 else _some(names, 200)
    return f"Gradients that are not finite ({len(names)} of {count}): {shown}."


def gradients_largest(step: int, norms: Sequence[tuple[str, float]]) -> str:
    shown = ", ".join(f"{_cut(name, 60)} {norm:.3g}" for name, norm in norms)
    return f"Largest gradients in step {step} (norms, before clipping): {shown}."


def place_in_training(step: int, epoch: int, batch: int, batches: int | float) -> str:
    return f"step {step} (epoch {epoch}, batch {batch} of {batches})"


def gradient_overflows(steps: int) -> str:
    return f"It was so in {steps} steps in a row, however small fp16's loss scale became."


def divergence_remedy(lr: float | None, clip: float, precision: str) -> str:
    """What to change of the settings that a diverged training had."""
    changes = ["lower lr" if lr is None else f"lower lr (to {lr / 10:.2g})"]
    if not 0 < clip <= 1:
        changes.append("set gradient_clip_val: 1.0")
    if not precision.startswith("32"):
        changes.append('set precision: "32"')
    return f"{', or '.join(changes)}; look at these rows' numbers and texts"


class MetricUndefinedError(ZooError):
    """The metric that decides which checkpoint is best has no value."""

    def __init__(self, metric: str, value: float | None) -> None:
        found = "is not there" if value is None else f"is {value}"
        super().__init__(
            f"early_stop_metric {metric} {found} after a validation, so no checkpoint can be the best.\n"
            "Fix: mend val (each class needs rows), or choose another early_stop_metric, for example val_loss."
        )


class CompileError(ZooError):
    """The model cannot be compiled for training."""

    def __init__(self, model: str, cause: Exception) -> None:
        super().__init__(
            f"torch.compile failed on {model} ({type(cause).__name__}: {_short(cause)}).\n"
            "Fix: remove torch_compile; the model trains without it."
        )


def val_has_no_weight(weights: Sequence[float]) -> Fault:
    shown = ", ".join(f"{weight:g}" for weight in weights)
    problem = f"all of its rows are of classes with weight 0 (class_weights {shown}), so val_loss is 0 / 0"
    return Fault("val", problem, "mend val or class_weights")


def encoder_rate_unusual(rate: float, optimizer: str, lowest: float, highest: float, scale: float) -> str:
    """`lowest` and `highest` are the rates that are usual with this optimiser."""
    side = "above" if rate > highest else "below"
    then = "forgets what it knows, or diverges" if rate > highest else "hardly learns"
    return (
        f"The pretrained text encoder learns at {rate:.1e} (lr x encoder_lr_scale of {scale:g}), far {side} the "
        f"{lowest:.0e} to {highest:.0e} that are usual with {optimizer}: it probably {then}. "
        f"Fix: set lr: {highest:.0e}, and remove encoder_lr_scale."
    )


def nothing_learned(
    batches: int,
    val_loss: float,
    constant: float,
    first: float,
    last: float,
    at_ends: int,
    rates: Sequence[float],
) -> str:
    """`first` and `last` are mean losses of a row in so many batches at either end of those trained so far."""
    shown = ", ".join(f"{rate:.1e}" for rate in sorted(set(rates)))
    return (
        f"The first {batches} batches taught the model nothing that shows: val_loss is {val_loss:.4f}, and "
        f"{constant:.4f} for one who says val's class shares of every row; the training "
        f"loss was {first:.4f} per row in the first {at_ends} {'batch' if at_ends == 1 else 'batches'} "
        f"and {last:.4f} in the last {at_ends}. "
        f"Fix: raise lr (largest rates {shown}), check that label_name belongs to the text and the table, or give "
        "more rows or epochs."
    )


class BatchMemoryError(ZooError):
    """The memory does not hold a batch."""

    def __init__(self, doing: str, batch: str, cause: str, memory: Sequence[str], changes: Sequence[str]) -> None:
        lines = [f"Out of memory {doing}: {batch}.", *memory, f"Cause: {_cut(cause, 200)}"]
        super().__init__("\n".join([*lines, f"Fix: {', or '.join(changes)}, or take an instance with more memory."]))


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is short: Python's, torch's, and those that torch has no type for."""
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError"):
        return True
    signs = ("can't allocate memory", "not enough memory", "bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


BEFORE_THE_FIRST_BATCH = "before the first batch"
WHILE_SCORING = "while the trained model was scoring"
SET_BF16 = "precision: bf16"


def in_training_step(step: int, epoch: int) -> str:
    return f"in training step {step} (epoch {epoch})"


def in_validation_batch(batch: int, step: int) -> str:
    return f"in batch {batch} of the validation after step {step}"


def set_batch_size(rows: int, batches: int) -> str:
    return f"set batch_size: {rows} with accumulate_grad_batches: {batches} (a step of the same rows)"


def set_max_batch_tokens(tokens: int, batches: int) -> str:
    return f"max_batch_tokens: {tokens} with accumulate_grad_batches: {batches}"


def set_max_sen_len(length: int) -> str:
    return f"max_sen_len: {length}"


def set_max_total_chunks(chunks: int) -> str:
    return f"max_total_chunks: {chunks}"


def batch_size_told(rows: int, chunks: int, length: int) -> str:
    """A batch's size in words; `length` is in tokens per chunk."""
    if not chunks:
        return _count(rows, "row")
    return f"{_count(rows, 'row')}, {_count(chunks, 'chunk')} of {length} tokens, {chunks * length:,} tokens padded"


def memory_told(device: str, precision: str, free: int, total: int) -> str:
    return f"Precision {precision}, on {device} with {total / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB free."


def memory_limited(limit: int) -> str:
    return f"This process may take {limit / 2**30:.1f} GiB of address space (ulimit -v)."


def larger_batch(size: str) -> str:
    return f"The largest batch of the epoch has {size}."


PRECISION_ASKED_FOR = "it was asked for"


def precision_had(hardware: str, has_bf16: bool) -> str:
    return f"{hardware} has {'bf16' if has_bf16 else 'no bf16'}"


def precision_not_had(hardware: str, asked: str, has_bf16: bool) -> str:
    lacking = f"{hardware} has no {asked}"
    if asked == "bf16":
        return lacking
    return f"{lacking}, but bf16" if has_bf16 else f"{lacking} and no bf16"


def precision_missed(asked: str, why: str, chosen: str) -> str:
    return f"precision {asked} is not to be had on this machine ({why}): training in {chosen}."


def _ids(ids: Sequence[object]) -> str:
    """The first few ids, and how many more there are."""
    shown = ", ".join(_cut(repr(found), 40) for found in ids[:LISTED_IDS])
    return shown if len(ids) <= LISTED_IDS else f"{shown} and {len(ids) - LISTED_IDS} more"


class ExportError(ZooError):
    """The model cannot be shipped as ONNX; found out before training starts."""

    @classmethod
    def failed(cls, cause: Exception) -> ExportError:
        return cls(
            f"The model cannot be exported to ONNX ({type(cause).__name__}: {_short(cause)}).\n"
            "Fix: use operations that ONNX opset 17 has; the plugin's author can run the same export in a test."
        )

    @classmethod
    def newer_ir(cls, found: int, newest: int) -> ExportError:
        return cls(f"The exported model has ONNX IR version {found}; older runtimes read at most {newest}.")

    @classmethod
    def does_not_run(cls, shape: Sequence[int], rows: int, cause: Exception) -> ExportError:
        return cls(
            f"The exported model fails on {rows} rows with tokens {tuple(shape)} ({_short(cause)}).\n"
            "Fix: a number of rows, chunks or tokens was frozen while tracing: use tensor.shape or batch.rows, "
            "never len() or int()."
        )

    @classmethod
    def differs(cls, difference: float, tolerance: float, rows: int, chunks: int, length: int) -> ExportError:
        return cls(
            f"The exported model scores otherwise than PyTorch: by {difference:.1e} (allowed {tolerance:.0e}) "
            f"on {rows} rows, {chunks} chunks of {length} tokens.\n"
            "Fix: a shape or a branch was frozen while tracing, or index_add was used (fusionzoo.nn.pooling is safe)."
        )


class ReadBackError(ZooError):
    """What was written does not score as what was trained."""

    def __init__(self, folder: Path, difference: float, tolerance: float) -> None:
        super().__init__(
            f"The model read back from {folder} scores otherwise, by {difference:.1e} (allowed {tolerance:.0e}).\n"
            "Fix: the plugin keeps state outside its state_dict, or builds other layers from the same settings."
        )


def no_test_channel(folder: Path) -> str:
    return f"There is no test channel ({folder}): predict_results.pth will hold the validation split."


def tokens_dropped(name: str, share: float) -> str:
    return f"{name}: {100 * share:.1f} % of the tokens are beyond max_total_chunks and were dropped."


def rows_beyond_budget(count: int, longest: int, budget: int) -> str:
    return (
        f"{_count(count, 'row')} of train {'is' if count == 1 else 'are'} longer than max_batch_tokens = {budget:,} "
        f"and each a batch of its own, of {longest:,} tokens at most, padding included. If that is too much for the "
        "memory, lower max_total_chunks."
    )


def ids_doubled(name: str, count: int) -> str:
    return f"{name}: {_count(count, 'row')} whose id stands in another row too."


def rows_seen_in_train(name: str, count: int, rows: int) -> str:
    return (
        f"{name}: {_count(count, 'row')} of {rows} stand in train too, the same in all fields and in the label: "
        f"the figures of {name} are too good. Remove them from either."
    )


def too_many_categories(column: str, count: int) -> Fault:
    return Fault(
        f"train, column '{column}'",
        f"it has more than {count:,} different values",
        "it is an id or free text: put it into text_name, or leave it out",
    )


class CacheError(ZooError):
    """Encoded data cannot be kept in the cache."""

    def __init__(self, folder: Path, cause: Exception) -> None:
        reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else _short(cause)
        super().__init__(
            f"The cache {folder} cannot be written: {reason}.\nFix: name another folder in FUSIONZOO_CACHE."
        )

    @classmethod
    def damaged_at_once(cls, entry: Path) -> CacheError:
        """An entry that was just written does not read back."""
        return cls(entry, ValueError("what was written does not read back; the disk may be failing"))


def cache_damaged(entry: Path, cause: str) -> str:
    return f"The cache entry {entry} is damaged ({cause}): it is made anew."


def cache_unused(cause: CacheError, split: str, size: int) -> str:
    reason, remedy = cause.parts
    return (
        f"{reason} The encoded split '{split}' is kept in memory instead ({size / 2**20:,.0f} MB in each process of "
        f"this host), and the next job encodes it again. {remedy}"
    )


ENCODER_HAS_OTHER_TOKENS = "its features are of other tokens than the batch has"
ENCODER_IS_UNSTEADY = "it makes other features of a row while training, or among other rows, than of the row alone"
MODEL_CHANGES_THE_BATCH = "the model gives it another batch than the model was given, or none"


def encoder_reads_more(names: Sequence[str]) -> str:
    return f"it reads more of a batch than the text: {_quoted(names)}"


def features_unused(reason: str) -> str:
    return f"The frozen text encoder runs in each epoch, not once, because {reason}."


def features_are_others(folder: Path) -> str:
    return f"those that {folder} keeps are not what it makes now; remove that folder"


def features_uncached(cause: CacheError, split: str, size: int, in_memory: bool) -> str:
    reason, remedy = cause.parts
    what = f"The frozen text encoder's features of '{split}' take {size / 2**20:,.1f} MB"
    then = "they are held in memory, and the next job makes them again" if in_memory else "it runs in each epoch"
    return f"{reason} {what}: {then}. {remedy}"


def val_has_one_class(metric: str) -> Fault:
    return Fault("val", f"it has one class only, which {metric} cannot be computed from", "mend val, or use val_loss")


def stale_checkpoints(folder: Path, names: Sequence[str]) -> str:
    return f"Removed {_quoted(names)} of an earlier run from {folder}: this training starts from the beginning."


def resumed(file: Path, epoch: int, step: int) -> str:
    return f"The job goes on from {file}: epoch {epoch}, after step {step}."


def training_finished(file: Path) -> str:
    return f"{file} says that this job's training has come to its end; what follows is evaluated and written again."


def checkpoint_damaged(file: Path, cause: Exception) -> str:
    return f"{file} is damaged ({_short(cause)}) and is not used."


def checkpoint_before_last(file: Path, last: Path, epoch: int, step: int) -> str:
    return f"{last.name} cannot be used, so the job goes on from the one before it, {file}: epoch {epoch}, step {step}."


def no_whole_checkpoint(folder: Path) -> str:
    return f"No checkpoint in {folder} is whole: this training starts from the beginning."


def other_processes(then: int, now: int) -> str:
    return (
        f"The checkpoint is of {then} processes and the job now has {now}: rows and order are the same, but dropout "
        "draws other random numbers than it would have."
    )


class ForeignCheckpointError(ZooError):
    """A checkpoint in the job's folder was written by something else, or by another version."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file} is no checkpoint that this version of fusionzoo can go on from: it does not say whose it is.\n"
            f"Fix: move it away to train from the beginning, or set SM_CHECKPOINT_DIR to another folder."
        )


class AnotherJobError(ZooError):
    """The checkpoint in the job's folder is of a job with other settings, code or data."""

    SHOWN = 5

    def __init__(self, file: Path, differences: Mapping[str, tuple[str | None, str]]) -> None:
        shown = [f"{name}: {then or 'nothing'} then, {now} now" for name, (then, now) in differences.items()]
        shown = [line if len(line) <= 200 else f"{line[:197]}..." for line in shown]
        more = [f"and {len(shown) - self.SHOWN} more"] if len(shown) > self.SHOWN else []
        listed = "".join(f"\n- {line}" for line in [*shown[: self.SHOWN], *more])
        super().__init__(
            f"{file} is a checkpoint of another job, which this one cannot go on from. What differs:{listed}\n"
            f"Fix: set it as it was to go on; to train from the beginning, empty {file.parent} or set "
            "SM_CHECKPOINT_DIR to another folder."
        )


class TerminatedError(ZooError):
    """SIGTERM: whoever runs the job wants it to stop."""

    def __init__(self, saved: Path | None, epoch: int = 0, step: int = 0) -> None:
        state = "" if saved is None else f" Its state after step {step} of epoch {epoch} is in {saved}."
        super().__init__(
            f"The job was told to stop (SIGTERM).{state}\n"
            "Fix: start it again with the same checkpoint folder; it goes on from its last checkpoint, if it has one."
        )


class ProcessesError(ZooError):
    """The job cannot have as many processes as it is to have."""

    @classmethod
    def too_few_gpus(cls, wanted: int, found: int) -> Self:
        return cls(
            f"devices is {wanted}, but this machine has {found} GPU{'s' if found > 1 else ''}.\n"
            f"Fix: set devices: {found}, or leave it out."
        )

    @classmethod
    def too_few_rows(cls, rows: int, processes: int) -> Self:
        return cls(
            f"batch_size is {rows}: a step of so many rows cannot be shared by {processes} processes.\n"
            f"Fix: set batch_size to {processes} or, better, some {16 * processes}; or lower devices."
        )

    @classmethod
    def host_unknown(cls, name: str, seconds: float) -> Self:
        return cls(
            f"The name of host '{name}', which resourceconfig.json has, is not known here after {seconds:.0f} s.\n"
            "Fix: see whether that host has started, and that both stand in one network."
        )

    @classmethod
    def sharded(cls, channel: str, hosts: int) -> Self:
        return cls(
            f"Channel '{channel}' is ShardedByS3Key: each of {hosts} hosts sees other rows, and the job needs all of "
            "them on each host.\nFix: set S3DataDistributionType: FullyReplicated."
        )

    @classmethod
    def other_data(cls, differences: Mapping[str, tuple[str | None, str]], rank: int) -> Self:
        shown = "; ".join(f"{name}: {first}, {here} here" for name, (first, here) in differences.items())
        return cls(
            f"Process {rank} does not see what process 0 sees: {shown}.\n"
            "Fix: give every host the same files, settings and packages."
        )


def rows_per_process(rows: int, processes: int) -> str:
    return (
        f"batch_size {rows} is shared by {processes} processes: {rows / processes:.0f} rows each per step. A GPU is "
        "better used with more: raise batch_size, and lr with it."
    )


def process_gone(names: Sequence[str], sign: str) -> str:
    who = " and ".join(names) if names else "another process of the job"
    seen = f" ({_short(sign)})" if sign else ""
    return (
        f"The job lost {who}{seen}: it was killed, perhaps for want of memory, or its machine failed.\n"
        "Fix: see that process's own log; start the job again to go on from its last checkpoint."
    )


class ProcessLostError(ZooError):
    """Another process of the job failed, so that this one cannot go on."""

    @classmethod
    def ended(cls, rank: int, processes: int, status: int, signal: str | None) -> Self:
        how = f"was killed by {signal}" if signal else f"ended with status {status}"
        hint = ", perhaps for want of memory" if signal == "SIGKILL" else ""
        return cls(
            f"Process {rank} of {processes} {how}{hint}.\n"
            "Fix: see its own log; start the job again to go on from its last checkpoint."
        )


class DemoFolderError(ZooError):
    """A channel that the demo's data should fill holds something else; nothing was changed."""

    def __init__(self, folder: Path, found: str) -> None:
        super().__init__(
            f"{folder} holds '{found}', which the demo did not write, so nothing was written or deleted.\n"
            "Fix: give the demo an empty folder, or one that an earlier demo filled."
        )


def _quoted(names: Iterable[object]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _examples(examples: Sequence[tuple[str, object]]) -> str:
    return ", ".join(where if value is None else f"{where} {str(value)[:40]!r}" for where, value in examples)


def _short(cause: Exception | str) -> str:
    return " ".join(str(cause).split())[:200]


# --- outputs

WRITE_REMEDIES: Mapping[int, str] = MappingProxyType(
    {
        errno.ENOSPC: "free or add disk space there (in SageMaker a larger volume_size)",
        errno.EDQUOT: "free disk space there, or raise the quota",
        errno.EROFS: "mount it writable, or name another folder",
        errno.EACCES: "let this user write there, or name another folder",
        errno.EPERM: "let this user write there, or name another folder",
        errno.EFBIG: "raise the limit on a file's size (ulimit -f)",
        errno.EIO: "the disk or its connection failed: check it, then run again",
    }
)
"""What to do about each way in which the operating system refuses to write."""


class OutputError(ZooError):
    """Something that leaves the job could not be written, or is not what was written."""

    @classmethod
    def failed(cls, path: Path, cause: OSError, free: int | None) -> OutputError:
        number = cause.errno or 0
        reason = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
        return cls(f"{path} cannot be written: {reason}.{_free(free)}\nFix: {WRITE_REMEDIES[number]}.")

    @classmethod
    def cut_short(cls, path: Path, cause: str, free: int | None) -> OutputError:
        reason = " ".join(cause.splitlines()[0].split())[:200]
        return cls(
            f"{path} cannot be written: torch.save broke off ({reason}).{_free(free)}\n"
            "Fix: this is a full disk, a limit on a file's size, or a folder that cannot be written to: mend that."
        )

    @classmethod
    def in_the_way(cls, path: Path, cause: OSError) -> OutputError:
        return cls(
            f"{path} cannot be written: {cause.filename2 or cause.filename}: {os.strerror(cause.errno or 0)}.\n"
            "Fix: move what stands there out of the way, or name another folder."
        )

    @classmethod
    def other_shape(cls, path: Path, written: tuple[int, ...], read: tuple[int, ...]) -> OutputError:
        return cls(
            f"{path} was written with rows and classes {written}, but reads back with {read}.\n"
            "Fix: check the disk, then run again; if it stays, report it as a bug of fusionzoo."
        )

    @classmethod
    def other_content(cls, path: Path, row: int, count: int) -> OutputError:
        return cls(
            f"{path} reads back with other probabilities in {_count(count, 'row')}, first in row {row} (from 0).\n"
            "Fix: check the disk, then run again; if it stays, report it as a bug of fusionzoo."
        )


class PredictionColumnsError(ZooError):
    """The columns of a prediction file cannot be what they should be."""

    @classmethod
    def mixed_labels(cls, classes: Sequence[object]) -> PredictionColumnsError:
        shown = ", ".join(repr(label) for label in classes[:10])
        return cls(f"The labels are not of one type: {shown}.\nFix: in `classes`, give each as the data has it.")

    @classmethod
    def same_name(cls, names: Sequence[str]) -> PredictionColumnsError:
        return cls(
            f"A prediction file would have two columns {_quoted(names)}: it holds the id, the label, prob_<class> for "
            "each class, and predicted_<label>.\nFix: rename the id or label column, or the class."
        )


class ReportEntryError(ZooError):
    """An extra entry of metrics.json has a name that the report itself uses."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"metrics.json has its own {_quoted(names)}.\nFix: give the extra entries other names.")


class ScoresError(ZooError, ValueError):
    """Class indices and probabilities that cannot be evaluated."""

    @classmethod
    def shapes(
        cls, y_true: tuple[int, ...], probabilities: tuple[int, ...], wanted: tuple[int, int] | None = None
    ) -> ScoresError:
        shape = f"[rows, classes] = {list(wanted)}" if wanted else "[rows, classes], two classes at least"
        return cls(
            f"Scores have other shapes than expected: y_true {list(y_true)}, probabilities {list(probabilities)}.\n"
            f"Fix: y_true must be [rows], probabilities {shape}."
        )

    @classmethod
    def types(cls, y_true: object, probabilities: object) -> ScoresError:
        return cls(
            f"Scores have other types than expected: y_true {y_true}, probabilities {probabilities}.\n"
            "Fix: give class indices as integers and probabilities as floating-point numbers."
        )

    @classmethod
    def no_such_class(cls, row: int, index: int, classes: int) -> ScoresError:
        return cls(f"Row {row} has class index {index}, but there are {classes} classes.\nFix: indices start at 0.")

    @classmethod
    def not_finite(cls, row: int, count: int) -> ScoresError:
        return cls(
            f"The model's probabilities are NaN or infinite in {_count(count, 'row')}, first in row {row} (from 0).\n"
            "Fix: training diverged: lower lr, set gradient_clip_val, or precision 32."
        )

    @classmethod
    def not_probabilities(cls, row: int, values: Sequence[float], count: int) -> ScoresError:
        shown = ", ".join(f"{value:.4g}" for value in values[:10]) + (", ..." if len(values) > 10 else "")
        return cls(
            f"In {_count(count, 'row')}, first in row {row} (from 0), there are no probabilities that sum to 1: "
            f"[{shown}].\nFix: give softmax(logits), not logits."
        )

    @classmethod
    def other_class_count(cls, given: int, scored: int) -> ScoresError:
        return cls(f"There are {given} labels but probabilities of {scored} classes.\nFix: name each class once.")

    @classmethod
    def class_twice(cls, names: Sequence[str]) -> ScoresError:
        return cls(f"Two classes have one text: {_quoted(names)}.\nFix: give each label a text of its own.")


def _free(free: int | None) -> str:
    return "" if free is None else f" Free there: {free / 1e6:,.1f} MB."


# --- plugins


@dataclass(frozen=True)
class Claim:
    """What a plugin says of itself in its metadata: who provides which name, and where."""

    kind: str
    name: str
    distribution: str
    version: str
    value: str

    @property
    def owner(self) -> str:
        return _cut(f"{self.distribution} {self.version}".strip(), 80)

    def __str__(self) -> str:
        return f"{self.kind} {_named(self.name)} comes from {self.owner} ({_cut(self.value, 80)})"


class UnknownModel(ZooError):
    """No installed plugin provides the name."""

    @classmethod
    def named(
        cls,
        kind: str,
        name: str,
        installed: Sequence[str],
        meant: str | None,
        package: str | None,
        unreadable: Sequence[str],
    ) -> UnknownModel:
        """`meant` is the name nearest to it; `package` is what to install, where that would help."""
        fix = "install the plugin that provides it, or choose an installed name"
        if package:
            fix = f"pip install {package}"
        elif meant:
            fix = f"set {kind} to {_named(meant)}"
        question = f"Did you mean {_named(meant)}?   " if meant else ""
        lines = [f"No installed plugin provides {kind} {_named(name)}.", f"{question}Fix: {fix}"]
        lines.append(f"Installed: {_some(installed) or 'none'}.")
        if unreadable:
            lines.append(f"Could not be read, and may hold it: {_some(unreadable, 150)}.")
        return cls("\n".join(lines))


class AmbiguousModel(ZooError):
    """Several distributions provide the name."""

    @classmethod
    def among(cls, kind: str, name: str, claims: Sequence[Claim]) -> AmbiguousModel:
        one = f"{claims[0].distribution}:{claims[0].name}"
        return cls(
            f"{kind} {_named(name)} is provided by {len(claims)} installed distributions: "
            f"{_some([f'{claim.owner} ({_cut(claim.value, 80)})' for claim in claims])}.\n"
            f"Fix: set {kind} to the one you want, for example {_named(one)}, or pip uninstall the others."
        )


class IncompatiblePlugin(ZooError):
    """The plugin was not imported: its requirements do not hold in this environment."""

    @classmethod
    def core(cls, claim: Claim, wanted: str, found: str) -> IncompatiblePlugin:
        return cls(
            f"{claim}, which was built for {_cut(wanted, 100)}; this is fusionzoo {found}.\n"
            f"Fix: pip install --upgrade {claim.distribution[:80]} fusionzoo"
        )

    @classmethod
    def requirements(cls, claim: Claim, unmet: Sequence[tuple[str, str | None]]) -> IncompatiblePlugin:
        """`unmet` holds each requirement with the version that was found, None where there is none."""
        faults = [f"{line} ({f'found {version}' if version else 'not installed'})" for line, version in unmet]
        command = " ".join(f"'{line}'" for line, _ in unmet)
        command = command if len(command) < 300 else f"--upgrade {claim.distribution[:80]}"
        return cls(f"{claim}, whose requirements do not hold: {_some(faults, 300)}.\nFix: pip install {command}")

    @classmethod
    def unbounded(cls, claim: Claim, required: str, bounded: str) -> IncompatiblePlugin:
        """`required` is its requirement on fusionzoo, empty where it has none; `bounded` is one as it should be."""
        what = f"requires {_cut(required, 100)}, which every future fusionzoo meets" if required else "requires none"
        return cls(
            f"{claim}, which does not say for which fusionzoo it was built: it {what}.\n"
            f"Fix: in {claim.owner}, require '{bounded}'."
        )


class BrokenPlugin(ZooError):
    """The plugin is at fault: it cannot be imported, or it breaks the contract of `fusionzoo.hookspecs`."""

    @classmethod
    def unreadable(cls, claim: Claim, cause: Exception | None = None) -> BrokenPlugin:
        why = _cut(str(cause), 200) if cause else "it has no name or no version"
        return cls(f"{claim}, whose metadata cannot be read: {why}.\nFix: uninstall it and install it again.")

    @classmethod
    def entry_points_unreadable(cls, folder: str) -> BrokenPlugin:
        return cls(
            f"{_cut(folder, 150)} has entry points that cannot be read, so what it provides is not known.\n"
            "Fix: uninstall it and install it again."
        )

    @classmethod
    def import_failed(cls, claim: Claim, cause: BaseException) -> BrokenPlugin:
        return cls(
            f"{claim}, and importing it failed: {_raised(cause)}.\n"
            f"The fault is in {claim.owner} or in what it imports, not in fusionzoo.\n"
            f"Fix: pip install --upgrade {claim.distribution[:80]}"
        )

    @classmethod
    def hooks_refused(cls, claim: Claim, cause: Exception) -> BrokenPlugin:
        return cls._wrong(claim, f"its hooks cannot be registered: {_cut(str(cause), 400)}", "mend them")

    @classmethod
    def unknown_hook(cls, claim: Claim, hook: str, known: Sequence[str]) -> BrokenPlugin:
        close = nearest(hook, known)
        meant = f"rename it to {close[0]}()" if close else f"leave it out; the hooks are {_some(known)}"
        return cls._wrong(claim, f"its {_cut(hook, 80)}() is no hook that core knows", meant)

    @classmethod
    def undecorated(cls, claim: Claim, hooks: Sequence[str]) -> BrokenPlugin:
        remedy = "put @fusionzoo.hookimpl directly above its def"
        return cls._wrong(claim, f"it defines {_calls(hooks)} without the decorator that makes it a hook", remedy)

    @classmethod
    def wrong_arguments(cls, claim: Claim, hook: str, wrong: Sequence[str], accepted: Sequence[str]) -> BrokenPlugin:
        remedy = f"write def {hook}({', '.join(accepted)}), or fewer of these, none with a default"
        if "self" in wrong:
            remedy = f"let the entry point name an instance, not the class; {remedy}"
        return cls._wrong(claim, f"its {hook}() takes arguments that core does not pass: {_some(wrong, 200)}", remedy)

    @classmethod
    def hooks_missing(cls, claim: Claim, missing: Sequence[str], given: Sequence[str]) -> BrokenPlugin:
        has = f"it has only {_calls(given)}" if given else "it has no hook at all"
        return cls._wrong(claim, f"it lacks {_calls(missing)}; {has}", "define it, with @fusionzoo.hookimpl above")

    @classmethod
    def returned_nothing(cls, claim: Claim, hook: str) -> BrokenPlugin:
        return cls._wrong(claim, f"its {hook}() returned None", "return the module that it builds")

    @classmethod
    def not_settings(cls, claim: Claim, found: object) -> BrokenPlugin:
        problem = f"its settings_class() returned {_cut(repr(found), 200)}, which is no subclass of ModelSettings"
        return cls._wrong(claim, problem, "return a class that inherits from fusionzoo.settings.ModelSettings")

    @classmethod
    def settings_collide(cls, claim: Claim, taken: Sequence[str]) -> BrokenPlugin:
        return cls._wrong(claim, f"its settings have names that belong to core: {_some(taken, 300)}", "rename them")

    @classmethod
    def hook_failed(cls, claim: Claim, hook: str, cause: BaseException) -> BrokenPlugin:
        return cls._wrong(claim, f"its {hook}() raised {_raised(cause)}", "mend it")

    @classmethod
    def no_schema(cls, claim: Claim, cause: Exception) -> BrokenPlugin:
        problem = f"its settings have no JSON schema: {_raised(cause)}"
        return cls._wrong(
            claim, problem, "let each setting be a number, text, true or false, or a list or dict of them"
        )

    @classmethod
    def no_modalities(cls, claim: Claim, name: str, found: object) -> BrokenPlugin:
        problem = f"`{name}` of its settings is {_cut(repr(found), 200)}, not a set out of 'text' and 'table'"
        return cls._wrong(claim, problem, f'write for example {name} = frozenset({{"text"}})')

    @classmethod
    def ended_python(cls, claim: Claim, how: str, last_words: str) -> BrokenPlugin:
        said = f" Its last words: {_cut(last_words, 300)}" if last_words else ""
        return cls(
            f"{claim}, and the process that loaded it {how}.{said}\n"
            f"Fix: in {claim.owner}, let its import and its settings_class() only define things."
        )

    @classmethod
    def _wrong(cls, claim: Claim, problem: str, remedy: str) -> BrokenPlugin:
        return cls(f"{claim}, and {problem}.\nFix: in {claim.owner}, {remedy}.")


class NewPluginError(ZooError):
    """A new plugin cannot have this name, or cannot be written there."""

    @classmethod
    def malformed(cls, name: str, longest: int) -> NewPluginError:
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        better = "_".join(words).lstrip("0123456789_")[:longest].rstrip("_") or "my_idea"
        return cls(
            f"{_named(name)} is no name for an architecture: it takes a-z, 0-9 and single _ between words, begins with "
            f"a letter, and has {longest} characters at most.\nFix: choose one like {_named(better)}."
        )

    @classmethod
    def keyword(cls, name: str) -> NewPluginError:
        return cls(f"{_named(name)} is a word of Python itself.\nFix: choose another name.")

    @classmethod
    def taken(cls, kind: str, name: str, owner: str) -> NewPluginError:
        return cls(f"{kind} {_named(name)} is already provided by {owner}.\nFix: choose another name.")

    @classmethod
    def module_exists(cls, module: str) -> NewPluginError:
        return cls(f"There is a module {_named(module)} already, which it would hide.\nFix: choose another name.")

    @classmethod
    def folder_exists(cls, folder: Path) -> NewPluginError:
        return cls(f"{folder} is there already, and nothing was written.\nFix: move it, or choose another --folder.")


def hook_note(claim: Claim, hook: str) -> str:
    """What is added to an exception that a plugin raised itself."""
    return f"This happened in {hook}() of {claim.owner}, which provides {claim.kind} {_named(claim.name)}."


def _raised(cause: BaseException) -> str:
    return _cut(f"{type(cause).__name__}: {cause}".removesuffix(": "), 400)


def _named(name: str) -> str:
    return _cut(repr(name), 80)


def _calls(hooks: Sequence[str]) -> str:
    return _some([f"{hook}()" for hook in hooks])


def _cut(text: str, length: int) -> str:
    """The text on one line, its end left out where it is longer than `length`."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def _some(names: Sequence[str], length: int = 400) -> str:
    """As many of the names as fit into `length`, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if len(", ".join([*shown, _cut(name, length)])) > length:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(_cut(name, length))
    return ", ".join(shown)
