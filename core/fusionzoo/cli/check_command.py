"""`fusionzoo check`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusionzoo import errors
from fusionzoo.cli.output import AsJson, coloured, one_line, pairs, print_json, print_line, reported

if TYPE_CHECKING:
    from fusionzoo.conformance import CheckResult

Name = Annotated[str, typer.Argument(help="A model_class or text_encoder; a name that is both is checked as both.")]
Encoder = Annotated[
    str | None, typer.Option("--text-encoder", help="The text encoder of a fusion; by default a small one of the kit.")
]
Setting = Annotated[list[str] | None, typer.Option("--set", help="A setting other than its small one, as key=value.")]


def check(name: Name, text_encoder: Encoder = None, setting: Setting = None, as_json: AsJson = False) -> None:
    """Check that a plugin keeps what every one promises.

    Ends with status 1 where it does not. The checks bring their own data.
    """
    given = pairs(setting)
    results = []
    subject = None
    with reported():
        for result in _run(name, text_encoder, given):
            results.append(result)
            if as_json:
                continue
            if result.subject != subject:
                subject = result.subject
                print_line(subject)
            _print(result)
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        print_line(_summary(results))
    raise typer.Exit(0 if all(result.ok for result in results) else 1)


def _run(name: str, text_encoder: str | None, given: Mapping[str, str]) -> Iterator[CheckResult]:
    """The results as they come; whatever the plugin prints goes to standard error."""
    with redirect_stdout(sys.stderr):
        from fusionzoo.conformance import check_plugin

        own, of_encoder = _settings(name, text_encoder, given)
        results = iter(check_plugin(name, text_encoder=text_encoder, settings=own, encoder_settings=of_encoder))
    while True:
        with redirect_stdout(sys.stderr):
            result = next(results, None)
        if result is None:
            return
        yield result


def _settings(name: str, text_encoder: str | None, given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The given settings decoded, the model's and its text encoder's: like a job's, they stand in one flat list.

    Raises:
        fusionzoo.errors.ZooError: a plugin cannot be loaded, or a setting is not known.
    """
    from fusionzoo.registry.description import describe_name
    from fusionzoo.sagemaker.paths import decode

    described = describe_name(name, text_encoder)
    parts: tuple[dict[str, Any], ...] = ({}, {})
    problems = []
    for key, text in given.items():
        owners = [i for i, one in enumerate(described) if key in one.properties]
        for i in owners:
            parts[min(i, 1)][key] = decode(text, described[i].properties[key])
        if not owners:
            known = {setting for one in described for setting in one.properties}
            problems.append(errors.setting_unknown(key, text, known))
    if problems:
        raise errors.HyperparametersError(problems)
    return parts[0], parts[1]


def _print(result: CheckResult) -> None:
    word = {"passed": coloured("passed", "green"), "excused": coloured("excused", "yellow")}.get(
        result.status, coloured(result.status, "red")
    )
    padding = " " * (7 - len(result.status))
    typer.echo(f"  {word}{padding} {result.check} {result.seconds:.2f} s")
    for line in result.detail.splitlines():
        typer.echo(f"          {one_line(line)}")


def _summary(results: list[CheckResult]) -> str:
    counts: dict[str, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    total = sum(result.seconds for result in results)
    return f"{len(results)} checks in {total:.0f} s: {', '.join(f'{n} {status}' for status, n in counts.items())}"
