"""`fusionzoo contract show` prints contracts by name or from a JSON file, and explains what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fusionzoo.cli.commands import app
from fusionzoo.contracts import CONTRACTS, PYTORCH_TRAIN_CONTRACT
from fusionzoo.contracts.contract_files import MAX_CONTRACT_BYTES, find_contract

TRAIN = PYTORCH_TRAIN_CONTRACT.model_dump(mode="json")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["contract", *arguments])


def fail(*arguments: str) -> str:
    """Return the message of a command that fails because of the user's input."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Fix:" in result.output
    return result.output


def write(folder: Path, **changed: Any) -> str:
    path = folder / "contract.json"
    path.write_text(json.dumps({**TRAIN, **changed}), "utf-8")
    return str(path)


def test_all_contracts_are_listed() -> None:
    lines = run("show").output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(CONTRACTS)
    assert json.loads(run("show", "--json").output).keys() == CONTRACTS.keys()


@pytest.mark.parametrize("name", list(CONTRACTS))
def test_a_contract_is_printed_with_all_its_facts(name: str) -> None:
    out, contract = run("show", name).output, CONTRACTS[name]
    facts = [contract.entry_point, contract.container_type, *contract.expected_input_paths.values()]
    facts += [*contract.expected_output_paths.values(), *contract.optional_env_vars, *contract.framework_requirements]
    assert [fact for fact in facts if fact not in out] == []


@pytest.mark.parametrize("name", ["PYTORCH_TRAIN_CONTRACT", "pytorch_train", "pytorch-train"])
def test_a_contract_is_found_by_every_spelling_of_its_name(name: str) -> None:
    assert find_contract(name) is PYTORCH_TRAIN_CONTRACT


def test_a_misspelled_name_is_an_error_with_the_nearest_name() -> None:
    assert "Did you mean 'PYTORCH_TRAIN_CONTRACT'?" in fail("show", "pytorch_tran")


@pytest.mark.parametrize("name", list(CONTRACTS))
def test_a_contract_is_the_same_after_json(name: str, tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    path.write_text(run("show", name, "--json").output, "utf-8")
    assert find_contract(str(path)) == CONTRACTS[name]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "No such file"),
        (b"", "Expecting value"),
        (b"[]", "it is not a JSON object"),
        (b"\xff\xfe", "codec can't decode"),
        (b"[" * 100_000, "cannot be read"),
        (b" " * (MAX_CONTRACT_BYTES + 1), "more than 1,000,000 bytes"),
        (b'{"entry_point": "a.py", "entry_point": "b.py"}', "'entry_point' is declared twice"),
        (b"{}", "is not a kind of SageMaker job"),
        (b'{"container_type": []}', "is not a kind of SageMaker job"),
    ],
)
def test_a_file_that_holds_no_contract_is_an_error(content: bytes | None, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    if content is not None:
        path.write_bytes(content)
    assert cause in fail("show", str(path))


def test_a_folder_in_place_of_a_contract_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "contract.json").mkdir()
    assert "Is a directory" in fail("show", str(tmp_path / "contract.json"))


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"expected_output_paths": {"model_output": "/tmp/model"}, "artifacts": {}, "meanings": {}}, "FZ-K005"),
        ({"entry_point": 1}, "entry_point: input should be a valid string"),
        ({"expected_input_path": {}}, "expected_input_path: extra inputs are not permitted"),
        ({"optional_env_vars": ["A"]}, "optional_env_vars: input should be a valid dictionary"),
    ],
)
def test_a_wrong_contract_in_a_file_is_an_error(changed: dict[str, Any], cause: str, tmp_path: Path) -> None:
    assert cause in fail("show", write(tmp_path, **changed))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=9), values, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(TRAIN)), JSON_VALUES, min_size=1, max_size=4))
def test_a_file_with_any_values_is_a_contract_or_an_error_that_the_user_can_fix(changed: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder), **changed)
        result = run("show", path)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        if result.exit_code == 0:
            assert find_contract(path).model_dump(mode="json") == {**TRAIN, **changed}
        else:
            assert "Fix:" in result.output


def test_a_contract_without_meanings_is_printed(tmp_path: Path) -> None:
    out = run("show", write(tmp_path, meanings={}, description="\ud800")).output
    assert "/opt/ml/input/data/train" in out
    assert "\\ud800" in out
