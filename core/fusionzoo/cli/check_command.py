"""`fusionzoo check`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusionzoo import errors
from fusionzoo.cli.output import (
    AsJson,
    colorize,
    exit_on_user_error,
    one_line,
    parse_key_value_pairs,
    print_json,
    print_line,
)
from fusionzoo.errors.wording import pluralize
from fusionzoo.local_paths import check_working_folder

if TYPE_CHECKING:
    from fusionzoo.conformance import CheckResult

COLORS: Mapping[str, str] = {"passed": "green", "xfailed": "yellow"}

Name = Annotated[str, typer.Argument(help="A model_class or a text_encoder. If both have this name, both are checked.")]
Encoder = Annotated[
    str | None, typer.Option("--text-encoder", help="The text encoder of a fusion; by default a small reference one.")
]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="Override a small default of the checks, as key=value; repeatable.")
]
Only = Annotated[list[str] | None, typer.Option("--only", help="Run only this check; repeatable.", metavar="CHECK")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop after the first check that fails.")]


def check(
    name: Name,
    text_encoder: Encoder = None,
    setting: Setting = None,
    only: Only = None,
    fail_fast: FailFast = False,
    as_json: AsJson = False,
) -> None:
    """Check that a plugin behaves as every plugin must.

    Exits with status 1 if a check fails. The checks generate their own data.
    """
    overrides = parse_key_value_pairs(setting)
    results: list[CheckResult] = []
    printer = _ResultPrinter()
    with exit_on_user_error():
        for result in _run_checks(name, text_encoder, overrides, only or ()):
            results.append(result)
            if not as_json:
                printer.print(result)
            if fail_fast and not result.ok:
                break
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        print_line(_summarize(results))
    raise typer.Exit(0 if all(result.ok for result in results) else 1)


def _run_checks(
    name: str, text_encoder: str | None, overrides: Mapping[str, str], only: Sequence[str]
) -> Iterator[CheckResult]:
    """Yield each result when it is ready; what the plugin prints goes to standard error."""
    from fusionzoo.registry.extras import check_extra

    with redirect_stdout(sys.stderr):
        check_extra("train")
        check_working_folder()
        from fusionzoo.conformance.run import UnknownCheckError, check_plugin

        settings, encoder_settings = _split_settings(name, text_encoder, overrides)
        names = [f"check_{check.removeprefix('check_')}" for check in only]
        try:
            results = check_plugin(
                name, text_encoder=text_encoder, settings=settings, encoder_settings=encoder_settings, only=names
            )
        except UnknownCheckError as error:
            raise typer.BadParameter(str(error), param_hint="--only") from error
    while True:
        with redirect_stdout(sys.stderr):
            result = next(results, None)
        if result is None:
            return
        yield result


def _split_settings(
    name: str, text_encoder: str | None, overrides: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode one flat list of settings, as a job has it, into those of the model and those of its text encoder.

    Raises:
        fusionzoo.errors.ZooError: a plugin cannot be loaded, or a setting is unknown.
    """
    from fusionzoo.hyperparameters.decoding import decode_value
    from fusionzoo.registry.description import describe_name

    descriptions = describe_name(name, text_encoder)
    settings: tuple[dict[str, Any], ...] = ({}, {})
    problems = []
    for key, text in overrides.items():
        owners = [i for i, description in enumerate(descriptions) if key in description.properties]
        for i in owners:
            settings[min(i, 1)][key] = decode_value(text, descriptions[i].properties[key])
        if not owners:
            known = {setting for description in descriptions for setting in description.properties}
            problems.append(errors.unknown_setting(key, text, known))
    if problems:
        raise errors.HyperparametersError(problems)
    return settings[0], settings[1]


class _ResultPrinter:
    """Print results under the title of their subject. A failure with the cause of an earlier one refers to that one."""

    def __init__(self) -> None:
        self._subject: str | None = None
        self._first_checks: dict[str, str] = {}

    def print(self, result: CheckResult) -> None:
        if result.subject != self._subject:
            self._subject = result.subject
            print_line(result.subject)
        status = colorize(result.status, COLORS.get(result.status, "red"))
        padding = " " * (7 - len(result.status))
        line = f"  {status}{padding} {result.check} {result.seconds:.2f} s"
        first_check = self._first_checks.setdefault(_cause(result), result.check)
        if result.ok or first_check == result.check:
            typer.echo(line)
            for part in result.detail.splitlines():
                typer.echo(f"          {one_line(part)}")
        else:
            typer.echo(f"{line}: fails as {first_check} does")


def _cause(result: CheckResult) -> str:
    """Return the line of code that raised the exception of a failed check; the whole detail if there is none."""
    lines = result.detail.splitlines()
    places = [line for line in lines if line.startswith("  at ")]
    return f"{lines[0].partition(':')[0]}{places[0]}" if places else result.detail


def _summarize(results: list[CheckResult]) -> str:
    counts = Counter(result.status for result in results)
    seconds = sum(result.seconds for result in results)
    checks = pluralize(len(results), "check")
    return f"{checks} in {seconds:.0f} s: {', '.join(f'{n} {status}' for status, n in counts.items())}"
