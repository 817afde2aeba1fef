"""The arguments of the preprocessing: those of its contract, each with the meaning of the setting of the same name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from fusionzoo.contracts import TABULAR_PREPROCESS_CONTRACT
from fusionzoo.errors.preprocess_errors import ArgumentsError, CommandLineError
from fusionzoo.hyperparameters.consistency import check_job_settings
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.settings import JobSettings

NOT_NEEDED = {"model_class": "none"}
"""Settings that a job must have, and preprocessing does not use."""
COUNTED_LATER = "FZ-S142"
"""The code of the problem that num_classes is missing: preprocessing counts the classes itself."""


def read_command_line(arguments: Sequence[str]) -> dict[str, str]:
    """Return the arguments that a command line gives, by name and without dashes.

    Raises:
        CommandLineError: an argument is unknown, or lacks its value.
    """
    names = list(TABULAR_PREPROCESS_CONTRACT.arguments)
    try:
        given, others = _make_parser().parse_known_args(_write_dashes(arguments))
    except argparse.ArgumentError as cause:
        raise CommandLineError(str(cause), names) from cause
    if others:
        raise CommandLineError(f"there is no argument {others[0]}", names)
    return {name: text for name in TABULAR_PREPROCESS_CONTRACT.arguments if (text := _get(given, name)) is not None}


def format_help() -> str:
    """Return the description of all arguments."""
    return _make_parser().format_help()


def parse_arguments(given: Mapping[str, str]) -> JobSettings:
    """Return the settings that the arguments mean. An empty text, and a fraction of 0, are "not given".

    Raises:
        ArgumentsError: lists all arguments with a problem.
    """
    defaults = {name: text for name, text in TABULAR_PREPROCESS_CONTRACT.arguments.items() if text is not None}
    texts = {name.replace("-", "_"): text for name, text in {**defaults, **given}.items()}
    draft = SettingsDraft("preprocessing", JobSettings)
    draft.fill({**NOT_NEEDED, **{name: text for name, text in texts.items() if not _is_unset(name, text)}})
    problems = [*draft.problems, *check_job_settings(draft)]
    if problems := [problem for problem in dict.fromkeys(problems) if problem.code != COUNTED_LATER]:
        raise ArgumentsError(problems)
    return draft.settings


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=TABULAR_PREPROCESS_CONTRACT.entry_point,
        description=TABULAR_PREPROCESS_CONTRACT.description,
        allow_abbrev=False,
        exit_on_error=False,
    )
    for name, default in TABULAR_PREPROCESS_CONTRACT.arguments.items():
        description = JobSettings.model_fields[name.replace("-", "_")].description or ""
        ending = "Required." if default is None else f"Default: {default or 'none'}."
        parser.add_argument(f"--{name}", metavar="VALUE", help=f"{description} {ending}".replace("%", "%%"))
    return parser


def _write_dashes(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with dashes in their names: --label_name is --label-name."""
    written = []
    for argument in arguments:
        name, equals_sign, value = argument.partition("=")
        written.append(name.replace("_", "-") + equals_sign + value if argument.startswith("--") else argument)
    return written


def _get(given: argparse.Namespace, name: str) -> str | None:
    text: str | None = getattr(given, name.replace("-", "_"))
    return text


def _is_unset(name: str, text: str) -> bool:
    if name.endswith("_fraction"):
        try:
            return float(text) == 0
        except ValueError:
            return not text
    return not text and name != "csv_quote"
