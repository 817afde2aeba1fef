"""Settings: what hyperparameters.json says, and what does not go together."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionzoo.errors.base import Problem, ProblemsError, ZooError
from fusionzoo.errors.wording import nearest_names, pluralize, quoted, short


class SettingError(ZooError):
    """A setting's value cannot work in this job; raised by `ModelSettings.resolve` and by plugins' builders.

    Args:
        setting: the setting's name.
        value: the value that it has.
        message: why the value cannot work; a clause without a full stop.
        fix: what the user can do about it; a clause without a full stop.
        code: the default is the code of every error that a plugin raises itself.
    """

    def __init__(self, setting: str, value: object, message: str, fix: str, code: str = "FZ-S001") -> None:
        self.setting, self.value = setting, value
        self.problem = setting_problem(setting, value, message, fix, code)
        super().__init__(f"{self.problem.where}: {message}.", f"{fix}.", code)


class HyperparametersError(ProblemsError):
    """What the hyperparameters say cannot be used; all faults of a file together."""

    heading = "The hyperparameters cannot be used: {count}."


def setting_problem(setting: str, value: object, message: str, fix: str, code: str = "") -> Problem:
    return Problem(f"{setting} = {_as_json(value)}", message, fix, code)


def hyperparameters_nowhere(places: Sequence[Path]) -> Problem:
    where = ", ".join(str(place) for place in places)
    return Problem("hyperparameters", f"none are given: absent or empty are {where}", "write them into one of these")


def hyperparameters_unreadable(path: Path, cause: Exception) -> Problem:
    return Problem(str(path), f"it cannot be read as UTF-8 text ({short(cause)})", "write it again")


def hyperparameters_not_json(path: Path, place: str, cause: str) -> Problem:
    return Problem(
        f"{path}{place}", f"it is not JSON ({cause})", "mend it there; `python -m json.tool` shows the place"
    )


def hyperparameters_not_object(path: Path, found: object) -> Problem:
    return Problem(str(path), f"it holds {_as_json(found)}, not an object", 'write {"name": value, ...}')


def setting_twice(path: Path, key: str) -> Problem:
    return Problem(f"{path}, {key}", "it is given more than once", "keep one of them")


def setting_not_finite(key: str, value: object, path: Path | None = None) -> Problem:
    where = "" if path is None else f"{path}, "
    return setting_problem(f"{where}{key}", value, "NaN and Infinity are no settings", "give a finite number")


def setting_not_plain(key: str, value: object) -> Problem:
    return setting_problem(key, value, "it holds half of a surrogate pair, or is nested too deeply", "write it again")


NAMES_ELSEWHERE = {
    "learning_rate": "lr",
    "epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "num_train_epochs": "max_epochs",
    "train_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate_grad_batches",
    "max_grad_norm": "gradient_clip_val",
    "warmup_ratio": "warmup_fraction",
    "lr_scheduler_type": "schedule",
    "scheduler": "schedule",
    "label_smoothing_factor": "label_smoothing",
    "class_weight": "class_weights",
    "llrd": "layer_decay",
    "early_stopping_patience": "early_stop_patience",
    "patience": "early_stop_patience",
    "metric_for_best_model": "early_stop_metric",
    "max_length": "max_sen_len",
    "max_seq_length": "max_sen_len",
    "random_state": "seed",
    "bf16": "precision",
    "num_labels": "num_classes",
    "num_gpus": "devices",
    "save_steps": "checkpoint_every_n_steps",
}
"""What users of other trainers (Hugging Face's, Lightning, scikit-learn) are likely to write, and its name here."""


def setting_unknown(key: str, value: object, known: Collection[str]) -> Problem:
    names = {**{theirs: ours for theirs, ours in NAMES_ELSEWHERE.items() if ours in known}, **{n: n for n in known}}
    close = [names[name] for name in nearest_names(key, names)]
    remedy = f"write {close[0]}, or remove it" if close else "remove it"
    if isinstance(value, dict):
        remedy = "write its keys at the top level of the file"
    return setting_problem(key, value, "there is no such setting", remedy)


def setting_missing(key: str, schema: Mapping[str, Any]) -> Problem:
    return Problem(key, "it is required, and not given", f"give {allowed_values(schema)}")


def setting_invalid(key: str, value: object, schema: Mapping[str, Any], reason: str = "") -> Problem:
    return setting_problem(key, value, reason or "this cannot be used", f"give {allowed_values(schema)}")


def setting_item_invalid(key: str, value: Sequence[object], index: int, schema: Mapping[str, Any]) -> Problem:
    problem = f"its item {index + 1}, {_as_json(value[index])}, cannot be used"
    return setting_problem(key, value, problem, f"give {allowed_values(schema)}")


def setting_nested(key: str, value: object) -> Problem:
    remedy = "write one plain value, and other settings at the top level"
    return setting_problem(key, value, "it is an object within the object", remedy)


def setting_no_list(key: str, value: object, schema: Mapping[str, Any]) -> Problem:
    wanted = f"give {allowed_values(schema)}"
    if isinstance(value, str) and _part(schema, "array").get("items", {}).get("type") == "string":
        names = [name.strip(" '\"[]()") for name in value.split(",")]
        wanted = f"write {_as_json([name for name in names if name])}"
    return setting_problem(key, value, "it is not a list", wanted)


def settings_inconsistent(owner: str, reason: str) -> Problem:
    return Problem(f"settings of {owner}", reason, "change the settings that this names")


def settings_clash(key: str, values: Mapping[str, object]) -> Problem:
    seen = ", ".join(f"{_as_json(value)} for {owner}" for owner, value in values.items())
    return Problem(key, f"one name would stand for two values: {seen}", "tell the plugin's author to rename it")


def binary_against_classes(is_binary: bool, num_classes: int) -> Problem:
    problem = f"num_classes is {num_classes}"
    return setting_problem("is_binary", is_binary, problem, "remove is_binary, or mend num_classes")


def length_against_classes(key: str, values: Sequence[object], num_classes: int) -> Problem:
    problem = f"its length is {len(values)}, but num_classes is {num_classes}"
    return setting_problem(key, values, problem, "give one entry per class")


def weights_invalid(weights: Sequence[float]) -> Problem:
    problem = "a weight is negative" if min(weights) < 0 else "every weight is 0"
    return setting_problem("class_weights", weights, problem, "give weights of 0 or more, of which one is above 0")


def classes_twice(classes: Sequence[object], twice: Sequence[object]) -> Problem:
    named = ", ".join(map(_as_json, twice))
    return setting_problem("classes", classes, f'more than once: {named} (1, 1.0 and "1" are one)', "name each once")


def column_in_two_roles(column: str, first: str, second: str) -> Problem:
    if first == second:
        return setting_problem(first, column, "the column is named twice", "name it once")
    return setting_problem(second, column, f"the column is {first} too", f"remove it from {first} or {second}")


def metric_unknown(key: str, metric: str, known: Sequence[str]) -> Problem:
    close = nearest_names(metric, known)
    remedy = f"write {close[0]}" if close else f"give one of {', '.join(known)}"
    return setting_problem(key, metric, "no such metric is computed", remedy)


def fractions_leave_little(key: str, fraction: float, together: float, most: float) -> Problem:
    problem = f"val_fraction and test_fraction together are {together:g}, which leaves train too little"
    return setting_problem(key, fraction, problem, f"lower it, so that they are below {most:g}")


def group_without_fraction(group: str) -> Problem:
    problem = "it has an effect only where train is divided, and there is no val_fraction or test_fraction"
    return setting_problem("group_field", group, problem, "give one of these, or remove group_field")


def group_is_label(group: str) -> Problem:
    problem = "the column is label_name too, so that each class would stand in one split only"
    return setting_problem("group_field", group, problem, "name another column, or remove it")


def focal_gamma_without_focal(gamma: float, loss: str) -> Problem:
    return setting_problem(
        "focal_gamma", gamma, f"it has an effect on focal loss only, and loss is {loss}", "remove it"
    )


def smoothing_with_focal(smoothing: float) -> Problem:
    problem = "it smooths the labels of cross entropy, and loss is focal"
    return setting_problem("label_smoothing", smoothing, problem, "remove it, or set loss: cross_entropy")


def one_modality_to_drop(share: float, model_class: str, read: Iterable[str]) -> Problem:
    problem = f"{model_class} reads only the {' and the '.join(read)} of this job, which would leave rows with nothing"
    return setting_problem("modality_dropout", share, problem, "remove it")


def no_layers_to_decay(layer_decay: float) -> SettingError:
    problem = "no pretrained text encoder is tuned in this job"
    return SettingError("layer_decay", layer_decay, problem, "remove it, or choose a pretrained encoder and tune it")


def no_stack_of_layers(layer_decay: float, encoder: str) -> SettingError:
    problem = f"{encoder} has no stack of layers with weights of their own"
    return SettingError("layer_decay", layer_decay, problem, "remove it, or choose another encoder")


def compiler_missing(device: str, cause: Exception) -> SettingError:
    tools = "a C++ compiler (g++)" if device == "cpu" else "Triton and a C compiler (gcc)"
    problem = f"this machine cannot compile for its {device}: {short(cause)}"
    return SettingError("torch_compile", True, problem, f"install {tools} with Python's headers, or remove the setting")


def compile_needs_torch(found: str, since: str) -> SettingError:
    problem = f"this torch is {found}"
    return SettingError("torch_compile", True, problem, f"install torch {since} or newer, or remove the setting")


def sharding_needs(library: str, found: str, since: str) -> SettingError:
    problem = f"this {library} is {found}"
    return SettingError("strategy", "fsdp", problem, f"install {library} {since} or newer, or set strategy: ddp")


def sharding_without(setting: str, value: Any) -> SettingError:
    return SettingError(setting, value, "strategy: fsdp cannot have it", f"remove {setting}, or set strategy: ddp")


def precision_contradicts(fp16: bool, precision: str) -> Problem:
    return setting_problem("fp16", fp16, f"precision is {precision}", "remove one of the two")


def modality_missing(model_class: str, modalities: Sequence[str]) -> Problem:
    keys = {"text": "text_name", "table": "cat_field_list or tab_field_list"}
    named = " or ".join(modalities)
    remedy = f"give {' or '.join(keys[modality] for modality in modalities)}, or choose another model_class"
    return setting_problem("model_class", model_class, f"it needs {named}, and no such column is named", remedy)


def chunks_without_room(max_sen_len: int, special: int) -> Problem:
    problem = f"the tokenizer's {special} special tokens leave no room for text in a chunk"
    return setting_problem("max_sen_len", max_sen_len, problem, f"give more than {special}")


def warmup_too_long(warmup_steps: int, steps: int) -> Problem:
    problem = f"the whole training has only {pluralize(steps, 'step')}, so the warm-up would never end"
    remedy = f"give fewer than {steps}, or remove it: warmup_fraction then decides"
    return setting_problem("warmup_steps", warmup_steps, problem, remedy)


def columns_unused(model_class: str, columns: Sequence[str]) -> str:
    return f"{model_class} does not read these columns, which are named in the settings: {quoted(columns)}."


def legacy_renamed(old: str, value: object, new: str, now: object) -> str:
    return f"{old} = {_as_json(value)} is taken as {new} = {_as_json(now)}: write that instead."


def legacy_always_so(old: str, value: object, why: str) -> str:
    return f"{old} = {_as_json(value)} changes nothing: {why}. Remove it."


def legacy_and_new_differ(old: str, value: object, new: str, wanted: object, found: object) -> Problem:
    problem = f"it means {new} = {_as_json(wanted)}, but {new} is {_as_json(found)}"
    return setting_problem(old, value, problem, f"keep {new}, and remove {old}")


def legacy_invalid(old: str, value: object, form: str, new: str) -> Problem:
    return setting_problem(old, value, f"it is not {form}", f"remove it, and give {new}")


TRUE_OR_FALSE = "true or false"
A_LIST_OF_COLUMNS = "a list of columns"
A_LIST_OF_METRICS = "a list of metrics"
CHUNKS_ARE_CAPPED = "max_total_chunks always caps the chunks"
ALL_METRICS_ARE_COMPUTED = "all metrics are always computed"


def chunk_truncation_differs(old: str) -> Problem:
    return setting_problem(old, True, "max_total_chunks is null, which means no cap", f"remove {old}")


def legacy_without_meaning(old: str, value: object) -> Problem:
    return setting_problem(old, value, WITHOUT_MEANING[old], "remove it")


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
