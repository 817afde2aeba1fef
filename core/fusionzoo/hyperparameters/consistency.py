"""Checks across several settings. A setting that has a problem itself is left out of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from fusionzoo import errors
from fusionzoo.errors import target_errors
from fusionzoo.evaluation.metric_directions import LOSS_METRIC, METRIC_ALIASES, remove_val_prefix, val_metric
from fusionzoo.hookspecs import PluginMetric
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.settings import JobSettings, ModelSettings
from fusionzoo.tasks.task_choice import TASKS

MAX_HELD_OUT_FRACTION = 0.95  # val_fraction and test_fraction together must be below this
COLUMN_SETTINGS = {"text": ("text_name",), "table": ("cat_field_list", "tab_field_list")}


def check_job_settings(
    job: SettingsDraft[JobSettings], plugin_metrics: Sequence[PluginMetric] = ()
) -> Iterator[errors.Problem]:
    """Yield the problems among core's settings; `plugin_metrics` are those that the plugins of the job add."""
    yield from _check_task(job)
    yield from _check_column_roles(job)
    yield from _check_csv_characters(job)
    yield from _check_split_fractions(job)
    yield from _check_early_stop_metric(job, plugin_metrics)
    yield from _check_precision(job)


def check_modalities(job: SettingsDraft[JobSettings], model: SettingsDraft[ModelSettings]) -> list[errors.Problem]:
    """Return the problems between the modalities that a model needs or reads and the columns of the job."""
    columns, needs, reads = _columns_by_modality(job), model.settings_class.needs, model.settings_class.reads
    absent = [modality for modality, names in COLUMN_SETTINGS.items() if not columns[modality] and job.is_valid(*names)]
    if missing := [modality for modality in absent if modality in needs]:
        return [errors.missing_modality(model.owner, [modality]) for modality in missing]
    dropout_rate = job.get("modality_dropout")
    used = [modality for modality in COLUMN_SETTINGS if modality in reads and columns[modality]]
    if (
        dropout_rate
        and len(used) == 1
        and job.is_valid(*(name for names in COLUMN_SETTINGS.values() for name in names))
    ):
        return [errors.modality_dropout_with_one_modality(dropout_rate, model.owner, used)]
    has_no_input = reads and reads <= set(absent)
    return [errors.missing_modality(model.owner, sorted(reads))] if has_no_input else []


def find_unused_columns(job: SettingsDraft[JobSettings], model: SettingsDraft[ModelSettings]) -> list[str]:
    """Return the columns of a modality that the model does not read."""
    reads = model.settings_class.reads
    return [
        column for modality, names in _columns_by_modality(job).items() if modality not in reads for column in names
    ]


def canonical_metric(name: str | None, metrics: Collection[str]) -> str | None:
    """Return `val_loss` or `val/<metric>` for any spelling of one of the metrics; None if it is none of them."""
    if name is None:
        return None
    bare = remove_val_prefix(name.strip())
    if bare == "loss":
        return LOSS_METRIC
    bare = METRIC_ALIASES.get(bare, bare)
    return val_metric(bare) if bare in metrics else None


def list_metrics(task: str, plugin_metrics: Sequence[PluginMetric]) -> list[str]:
    """Return the names of the metrics of a task, and of those that plugins add to it."""
    return [*TASKS[task].metrics, *(metric.name for metric in plugin_metrics if task in metric.tasks)]


def find_name_clashes(parts: Sequence[BaseModel]) -> Iterator[errors.Problem]:
    """Yield a problem per name whose values differ between settings objects, unless each has its class's default."""
    for name, values in find_differing_names(parts).items():
        if any(value != cls.model_fields[name].get_default(call_default_factory=True) for cls, value in values):
            yield errors.setting_of_two_plugins(
                name, {f"{cls.__module__}.{cls.__name__}": value for cls, value in values}
            )


def find_differing_names(parts: Sequence[BaseModel]) -> dict[str, list[tuple[type[BaseModel], Any]]]:
    """Return the names that settings objects hold with different values: for each, the classes and their values."""
    values: dict[str, list[tuple[type[BaseModel], Any]]] = {}
    for part in parts:
        for name in type(part).model_fields:
            values.setdefault(name, []).append((type(part), getattr(part, name)))
    return {name: pairs for name, pairs in values.items() if any(value != pairs[0][1] for _, value in pairs)}


def check_warmup(job: JobSettings, steps: int) -> None:
    """Check that the warm-up ends before the last of `steps` optimizer steps.

    Raises:
        errors.HyperparametersError: `warmup_steps` is not less than `steps`.
    """
    if job.warmup_steps is not None and job.warmup_steps >= steps:
        raise errors.HyperparametersError([errors.warmup_too_long(job.warmup_steps, steps)])


def _check_task(job: SettingsDraft[JobSettings]) -> Iterator[errors.Problem]:
    name = job.get("task")
    if name is None:
        return
    task = TASKS[name]
    owners: dict[str, list[str]] = {}
    for other, other_task in TASKS.items():
        for setting in sorted(other_task.settings):
            owners.setdefault(setting, []).append(other)
    for setting in owners.keys() - task.settings:
        value = job.get(setting)
        if value is not None and value != job.default(setting):
            yield target_errors.setting_of_other_task(setting, value, name, owners[setting])
    loss = job.get("loss")
    if loss not in (None, *task.losses):
        yield target_errors.loss_of_other_task(loss, name, task.losses)
    yield from task.find_setting_problems(job)


def _check_column_roles(job: SettingsDraft[JobSettings]) -> Iterator[errors.Problem]:
    first_role: dict[str, str] = {}
    for role in ("id_name", "label_name", "text_name", "cat_field_list", "tab_field_list"):
        columns = job.get(role)
        for column in [columns] if isinstance(columns, str) else columns or []:
            if column in first_role:
                yield errors.column_with_two_roles(column, first_role[column], role)
            first_role.setdefault(column, role)


def _check_csv_characters(job: SettingsDraft[JobSettings]) -> Iterator[errors.Problem]:
    setting_of: dict[str, str] = {}
    for setting in ("csv_delimiter", "csv_quote", "csv_escape"):
        character = job.get(setting)
        if not character:
            continue
        if character in setting_of or character in "\r\n":
            yield errors.invalid_csv_character(setting, character, setting_of.get(character))
        setting_of[character] = setting


def _check_split_fractions(job: SettingsDraft[JobSettings]) -> Iterator[errors.Problem]:
    names = ("val_fraction", "test_fraction")
    fractions = {name: fraction for name in names if (fraction := job.get(name)) is not None}
    total = sum(fractions.values())
    if total >= MAX_HELD_OUT_FRACTION:
        largest = max(fractions, key=lambda name: fractions[name])
        yield errors.fractions_too_large(largest, fractions[largest], total, MAX_HELD_OUT_FRACTION)
    group = job.get("group_field")
    if group is not None and not fractions and job.is_valid(*names):
        yield errors.group_field_without_fraction(group)
    labels = job.get("label_name")
    if group is not None and group in ([labels] if isinstance(labels, str) else labels or []):
        yield errors.group_field_is_label(group)


def _check_early_stop_metric(
    job: SettingsDraft[JobSettings], plugin_metrics: Sequence[PluginMetric]
) -> Iterator[errors.Problem]:
    metric, task = job.get("early_stop_metric"), job.get("task")
    if metric is None or task is None:
        return
    key, metrics = "early_stop_metric", list_metrics(task, plugin_metrics)
    if canonical_metric(metric, metrics) is not None:
        return
    known = [LOSS_METRIC, *map(val_metric, metrics)]
    owners = [name for name in TASKS if canonical_metric(metric, list_metrics(name, plugin_metrics)) is not None]
    if owners:
        yield target_errors.metric_of_other_task(key, metric, task, owners[0], known)
    else:
        yield errors.unknown_metric(key, metric, known)


def _check_precision(job: SettingsDraft[JobSettings]) -> Iterator[errors.Problem]:
    fp16, precision = job.get("fp16"), job.get("precision")
    if fp16 is not None and precision not in (None, "auto") and fp16 != (precision == "fp16"):
        yield errors.fp16_contradicts_precision(fp16, precision)


def _columns_by_modality(job: SettingsDraft[JobSettings]) -> dict[str, list[str]]:
    text = job.get("text_name") or []
    table = [*(job.get("cat_field_list") or []), *(job.get("tab_field_list") or [])]
    return {"text": [text] if isinstance(text, str) else text, "table": table}
