"""Problems of hyperparameters.json and of one setting at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fusionzoo.errors.base import Problem, ProblemsError, ZooError
from fusionzoo.errors.setting_synonyms import suggest_roles, suggest_settings
from fusionzoo.errors.wording import format_json, note_lookalikes, short


class SettingError(ZooError):
    """A setting's value cannot work in this job; raised by `ModelSettings.resolve` and by plugins' builders.

    Args:
        setting: the setting's name.
        value: the setting's value.
        message: why the value cannot work; a clause without a full stop.
        fix: what the user can do about it; a clause without a full stop.
        code: the default is the code of every error that a plugin raises itself.

    Fix: the plugin's message has it
    """

    def __init__(self, setting: str, value: object, message: str, fix: str, code: str = "FZ-S001") -> None:
        self.setting, self.value = setting, value
        self.problem = setting_problem(setting, value, message, fix, code)
        super().__init__(f"{self.problem.where}: {message}.", f"{fix}.", code)


class HyperparametersError(ProblemsError):
    """The hyperparameters cannot be used; holds all problems of a file."""

    heading = "The hyperparameters cannot be used: {count}."


def setting_problem(setting: str, value: object, message: str, fix: str, code: str) -> Problem:
    """Return the problem of one setting's value."""
    return Problem(f"{setting} = {format_json(value)}", message, fix, code)


def missing_hyperparameters(places: Sequence[Path]) -> Problem:
    """No file with hyperparameters exists, or each is empty."""
    searched = ", ".join(str(place) for place in places)
    return Problem("hyperparameters", f"no settings in {searched}", "write the settings to one of these", "FZ-S002")


def unreadable_hyperparameters(path: Path, cause: Exception) -> Problem:
    """The file is not text in UTF-8, or cannot be opened."""
    message = f"the file cannot be read as UTF-8 text ({short(cause)})"
    return Problem(str(path), message, "save the file as UTF-8 text that this user may read", "FZ-S003")


def invalid_json(path: Path, place: str, cause: str) -> Problem:
    """The file is not valid JSON: often a missing comma or quote, or a trailing comma."""
    fix = f"correct the JSON; `python -m json.tool {path}` shows the place"
    return Problem(f"{path}{place}", f"the file is not valid JSON ({cause})", fix, "FZ-S004")


def hyperparameters_not_an_object(path: Path, content: object) -> Problem:
    """The file holds a JSON list or a single value."""
    message = f"the file holds {format_json(content)}, not a JSON object"
    return Problem(str(path), message, 'write {"name": value, ...}', "FZ-S005")


def duplicate_setting(path: Path, key: str) -> Problem:
    """The file gives one setting more than once, and JSON would keep only the last."""
    return Problem(f"{path}, {key}", "the setting occurs more than once", "keep one of them", "FZ-S006")


def nonfinite_setting(key: str, value: object, path: Path | None = None) -> Problem:
    """The value is NaN or infinite."""
    where = "" if path is None else f"{path}, "
    return setting_problem(f"{where}{key}", value, "the value is not finite", "give a finite number", "FZ-S007")


def unencodable_setting(key: str, value: object) -> Problem:
    """The value cannot be written back as JSON text."""
    message = "the value is nested too deeply or holds half of a surrogate pair"
    return setting_problem(key, value, message, "write a plain value in UTF-8", "FZ-S008")


def unknown_setting(key: str, value: object, known: Collection[str], absent: Collection[str] = ()) -> Problem:
    """Neither fusionzoo nor the chosen plugins have a setting of this name: often a typing error.

    Args:
        absent: the known settings that the file does not give.
    """
    close = suggest_settings(key, value, known)
    fix = f"write {close[0]}, or remove {key}" if close else f"remove {key}"
    if not close and (roles := suggest_roles(value, absent)):
        fix = f"if it names columns, write {roles}; otherwise remove {key}"
    if isinstance(value, dict) and close != ["class_weights"]:
        fix = "write its keys at the top level of the file"
    return setting_problem(key, value, f"no such setting exists{note_lookalikes([key], known)}", fix, "FZ-S009")


def missing_setting(key: str, allowed: str) -> Problem:
    """A setting without a default is not in the file."""
    is_plugin = key in ("model_class", "text_encoder")
    value = "the name of an installed one (`fusionzoo list` prints them)" if is_plugin else allowed
    return Problem(key, "the setting is required", f"give {value}", "FZ-S010")


def invalid_setting(key: str, value: object, allowed: str) -> Problem:
    """The value has a wrong type or is out of range."""
    return setting_problem(key, value, "the value is not allowed", f"give {allowed}", "FZ-S011")


def escaped_character(key: str, value: str, character: str) -> Problem:
    """The value describes a character with several others, such as a backslash and a t for a tab."""
    in_json = json.dumps(character)
    name = "a tab" if character == "\t" else in_json
    message = f"the value has {len(value)} characters instead of one; it seems to mean {name}"
    in_shell = "" if character.isprintable() else f", and in a shell $'{in_json[1:-1]}'"
    fix = f"write the character itself: in JSON {in_json}{in_shell}"
    return setting_problem(key, value, message, fix, "FZ-S185")


def invalid_setting_item(key: str, value: Sequence[object], index: int, allowed: str) -> Problem:
    """One item of a list has a wrong type or is out of range."""
    message = f"item {index + 1}, {format_json(value[index])}, is not allowed"
    return setting_problem(key, value, message, f"give {allowed}", "FZ-S012")


def nested_setting(key: str, value: object) -> Problem:
    """The value is a JSON object, but settings have no levels."""
    fix = "write a plain value, and other settings at the top level"
    return setting_problem(key, value, "the value is a nested object", fix, "FZ-S013")


def settings_in_object(key: str) -> Problem:
    """The file holds all settings in an object, such as the HyperParameters of a request to SageMaker."""
    fix = f"write the settings at the top level of the file, without '{key}'"
    return Problem(key, "the settings are inside of this object", fix, "FZ-S186")


def setting_not_a_list(key: str, value: object, allowed: str, holds_text: bool) -> Problem:
    """The setting takes a list, and the value is a single value or a text with commas."""
    fix = f"give {allowed}"
    if isinstance(value, str) and holds_text:
        names = [name.strip(" '\"[]()") for name in value.split(",")]
        fix = f"write {format_json([name for name in names if name])}"
    return setting_problem(key, value, "the value is not a list", fix, "FZ-S014")


def inconsistent_settings(owner: str, reason: str, setting: tuple[str, object] | None = None) -> Problem:
    """A plugin's own check of a setting, or of its settings together, failed."""
    name, value = setting or ("", None)
    where = f"{name} = {format_json(value)}" if name else f"settings of {owner}"
    return Problem(where, reason, "change the settings that this message names", "FZ-S015")


def setting_of_two_plugins(key: str, values: Mapping[str, object]) -> Problem:
    """The architecture and the text encoder have a setting of the same name with different values."""
    shown = ", ".join(f"{format_json(value)} for {owner}" for owner, value in values.items())
    fix = "choose another text encoder, and ask the plugin's author to rename the setting"
    return Problem(key, f"two plugins use this name for different settings: {shown}", fix, "FZ-S016")


def invalid_plugin_setting(key: str, value: object, reason: str, settings_class: str) -> Problem:
    """A setting given to a conformance check is not one that the plugin's settings class accepts."""
    return setting_problem(key, value, reason, f"give what {settings_class} accepts", "FZ-S017")


def contradicting_legacy_setting(old: str, value: object, new: str, meaning: object, current: object) -> Problem:
    """A setting's old name and its new name are both given, with different meanings."""
    message = f"it means {new} = {format_json(meaning)}, but {new} is {format_json(current)}"
    return setting_problem(old, value, message, f"keep {new} and remove {old}", "FZ-S018")


def invalid_legacy_setting(old: str, value: object, allowed: str, new: str) -> Problem:
    """The value under an old name cannot be translated to the new name."""
    return setting_problem(old, value, f"the value is not {allowed}", f"remove {old} and set {new}", "FZ-S019")


def chunk_truncation_without_cap(old: str) -> Problem:
    """An old setting asks for a cap on chunks, and the new setting says that there is none."""
    message = "max_total_chunks is null, which means no cap"
    return setting_problem(old, True, message, f"remove {old}", "FZ-S020")


def unsupported_legacy_setting(old: str, value: object, reason: str) -> Problem:
    """A setting of earlier trainers has no counterpart."""
    return setting_problem(old, value, reason, f"remove {old}", "FZ-S021")


def setting_not_checked(setting: str, value: object, reason: str) -> SettingError:
    """`fusionzoo check` got a setting that what it checks does not have."""
    return SettingError(setting, value, reason, "remove it", "FZ-S022")
