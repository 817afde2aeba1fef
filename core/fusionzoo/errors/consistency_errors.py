"""Settings that contradict each other, the chosen plugins, or this machine's libraries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fusionzoo.errors.base import Problem
from fusionzoo.errors.setting_errors import SettingError, setting_problem
from fusionzoo.errors.wording import format_json, nearest_names, note_lookalikes, pluralize, short


def is_binary_contradicts_num_classes(is_binary: bool, num_classes: int) -> Problem:
    """`is_binary` and `num_classes` say different numbers of classes."""
    message = f"num_classes is {num_classes}"
    return setting_problem("is_binary", is_binary, message, "remove is_binary, or correct num_classes", "FZ-S101")


def wrong_length_for_classes(key: str, values: Sequence[object], num_classes: int) -> Problem:
    """A list with one entry per class has another length than `num_classes`."""
    message = f"the list has {pluralize(len(values), 'entry', 'entries')}, but num_classes is {num_classes}"
    return setting_problem(key, values, message, "give one entry per class", "FZ-S102")


def invalid_class_weights(weights: object, values: Sequence[float], limit: float) -> Problem:
    """A class weight is negative or huge, or all are 0, so that the loss has no meaning."""
    message = "all weights are 0"
    if min(values) < 0:
        message = "a weight is negative"
    elif max(values) > limit:
        message = f"a weight is above {limit:g}"
    fix = f"give weights from 0 to {limit:g}, at least one > 0"
    return setting_problem("class_weights", weights, message, fix, "FZ-S103")


def duplicate_classes(classes: Sequence[object], duplicates: Sequence[object]) -> Problem:
    """`classes` lists a label more than once; labels are compared by their canonical form."""
    shown = ", ".join(map(format_json, duplicates))
    message = f'duplicate classes {shown} (1, 1.0, "1" and "1.0" are the same class)'
    return setting_problem("classes", classes, message, "list each class once", "FZ-S104")


def column_with_two_roles(column: str, first: str, second: str) -> Problem:
    """One column is listed twice, or under two settings."""
    if first == second:
        return setting_problem(first, column, "the column is listed twice", "list it once", "FZ-S105")
    fix = f"remove the column from {first} or {second}"
    return setting_problem(second, column, f"the column is also in {first}", fix, "FZ-S106")


def unknown_metric(key: str, metric: str, known: Sequence[str]) -> Problem:
    """The metric is not one that fusionzoo computes."""
    close = nearest_names(metric, known)
    fix = f"write {close[0]}" if close else f"give one of {', '.join(known)}"
    return setting_problem(key, metric, f"no such metric exists{note_lookalikes([metric], known)}", fix, "FZ-S107")


def fractions_too_large(key: str, fraction: float, total: float, limit: float) -> Problem:
    """`val_fraction` and `test_fraction` leave too few rows to train on."""
    message = f"val_fraction and test_fraction add up to {total:g}, which leaves too few rows for train"
    return setting_problem(key, fraction, message, f"lower it, so that the sum is below {limit:g}", "FZ-S108")


def group_field_without_fraction(group: str) -> Problem:
    """`group_field` applies only where train is split, and neither fraction is set."""
    message = "group_field has an effect only with val_fraction or test_fraction, and neither is set"
    return setting_problem("group_field", group, message, "set one of them, or remove group_field", "FZ-S109")


def group_field_is_label(group: str) -> Problem:
    """Splitting by the label would put each class into one split only."""
    message = "the column is also label_name, so each class would be in one split only"
    return setting_problem("group_field", group, message, "name another column, or remove group_field", "FZ-S110")


def focal_gamma_without_focal_loss(gamma: float, loss: str) -> Problem:
    """`focal_gamma` applies to focal loss only."""
    message = f"focal_gamma has an effect with loss: focal only, and loss is {loss}"
    return setting_problem("focal_gamma", gamma, message, "remove focal_gamma, or set loss: focal", "FZ-S111")


def label_smoothing_with_focal_loss(smoothing: float) -> Problem:
    """Label smoothing is defined for cross entropy only."""
    message = "label smoothing works with cross entropy only, and loss is focal"
    fix = "remove label_smoothing, or set loss: cross_entropy"
    return setting_problem("label_smoothing", smoothing, message, fix, "FZ-S112")


def modality_dropout_with_one_modality(share: float, model_class: str, modalities: Iterable[str]) -> Problem:
    """Dropping the only modality of a row would leave the model without input."""
    message = (
        f"{model_class} reads only the {' and the '.join(modalities)}; dropping it would leave a row without input"
    )
    return setting_problem("modality_dropout", share, message, "remove modality_dropout", "FZ-S113")


def layer_decay_without_encoder(layer_decay: float) -> SettingError:
    """`layer_decay` scales the learning rates of a pretrained encoder's layers, and none is trained."""
    message = "this job does not fine-tune a pretrained text encoder"
    fix = "remove layer_decay, or choose a pretrained encoder and fine-tune it"
    return SettingError("layer_decay", layer_decay, message, fix, "FZ-S114")


def layer_decay_without_layers(layer_decay: float, encoder: str) -> SettingError:
    """The text encoder has no stack of layers to give different learning rates."""
    message = f"{encoder} has no stack of layers with weights of their own"
    return SettingError("layer_decay", layer_decay, message, "remove layer_decay, or choose another encoder", "FZ-S115")


def missing_compiler(device: str, cause: Exception) -> SettingError:
    """torch.compile needs a compiler that this machine does not have."""
    tools = "a C++ compiler (g++)" if device == "cpu" else "Triton and a C compiler (gcc)"
    fix = f"install {tools} with Python's headers, or remove torch_compile"
    message = f"this machine cannot compile for its {device}: {short(cause)}"
    return SettingError("torch_compile", True, message, fix, "FZ-S116")


def torch_too_old_to_compile(version: str, required: str) -> SettingError:
    """torch.compile needs a newer torch."""
    fix = f"install torch {required} or newer, or remove torch_compile"
    return SettingError("torch_compile", True, f"the installed torch is {version}", fix, "FZ-S117")


def library_too_old_for_fsdp(library: str, version: str, required: str) -> SettingError:
    """FSDP needs a newer torch or Lightning."""
    fix = f"install {library} {required} or newer, or set strategy: ddp"
    return SettingError("strategy", "fsdp", f"the installed {library} is {version}", fix, "FZ-S118")


def setting_unsupported_by_fsdp(setting: str, value: object) -> SettingError:
    """The setting does not work together with FSDP."""
    message = "strategy: fsdp does not support it"
    return SettingError(setting, value, message, f"remove {setting}, or set strategy: ddp", "FZ-S119")


def fp16_contradicts_precision(fp16: bool, precision: str) -> Problem:
    """`fp16` and `precision` say different things."""
    return setting_problem("fp16", fp16, f"precision is {precision}", "remove one of the two", "FZ-S120")


def missing_modality(model_class: str, modalities: Sequence[str]) -> Problem:
    """The architecture reads text or a table, and no setting names such a column."""
    keys = {"text": "text_name", "table": "cat_field_list or tab_field_list"}
    fix = f"set {' or '.join(keys[modality] for modality in modalities)}, or choose another model_class"
    message = f"the architecture needs {' or '.join(modalities)}, and no setting names such a column"
    return setting_problem("model_class", model_class, message, fix, "FZ-S121")


def max_sen_len_too_small(max_sen_len: int, special: int) -> Problem:
    """The tokenizer's special tokens fill the whole chunk."""
    message = f"the tokenizer's {pluralize(special, 'special token')} leave no room for text in a chunk"
    return setting_problem("max_sen_len", max_sen_len, message, f"set it above {special}", "FZ-S122")


def warmup_too_long(warmup_steps: int, steps: int) -> Problem:
    """The warm-up has as many steps as the training, so the learning rate would never reach `lr`."""
    message = f"the whole training has only {pluralize(steps, 'step')}, so the warm-up would never end"
    fix = f"give fewer than {steps}, or remove it, so that warmup_fraction applies"
    return setting_problem("warmup_steps", warmup_steps, message, fix, "FZ-S123")


def invalid_csv_character(key: str, character: str, other: str | None) -> Problem:
    """A character of the CSV dialect ends a line, or has another meaning already."""
    message = "the character ends a line" if other is None else f"{other} is the same character"
    return setting_problem(key, character, message, f"choose another character for {key}", "FZ-S131")


def baseline_quantiles(quantiles: Sequence[float]) -> Problem:
    """XGBoost predicts the quantiles of a single column."""
    message = "the XGBoost baseline predicts quantiles of one column only"
    fix = 'give one column in label_name, or remove quantiles and loss: "quantile"'
    return setting_problem("quantiles", list(quantiles), message, fix, "FZ-S162")
