"""An option that is given twice is an error of every command, instead of a value that is dropped without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli_helpers import invoke
from fusionzoo.cli.commands import app


def list_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from list_commands(child, (*path, name))


COMMANDS = dict(list_commands(get_command(app)))
SINGLE = [
    (path, option.opts[0])
    for path, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and not option.multiple and not option.is_flag
]
LISTS = [
    (path, option.opts[0])
    for path, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and option.multiple
]


@pytest.mark.parametrize(
    ("path", "option"), SINGLE, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_an_option_with_one_value_cannot_be_given_twice(
    path: tuple[str, ...], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for what a command would write
    result = invoke(*path, option, "1", f"{option}=2")
    assert result.exit_code == 2
    assert f"Option '{option}' is given 2 times" in " ".join(result.output.split())


def test_several_inputs_and_columns_get_a_fix_of_their_own() -> None:
    assert "put several files into a folder" in invoke("predict", "--input", "a.csv", "--input", "b.csv").output
    assert "separated by commas" in " ".join(invoke("predict", "--columns", "a", "--columns", "b").output.split())


@pytest.mark.parametrize(
    ("path", "option"), LISTS, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_a_list_can_be_given_several_times(path: tuple[str, ...], option: str) -> None:
    assert "times" not in invoke(*path, option, "a=1", option, "b=2", "--no-such-option").output


def test_a_flag_can_be_repeated() -> None:
    assert invoke("list", "--json", "--json").exit_code == 0
