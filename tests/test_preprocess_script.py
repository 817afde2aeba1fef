"""preprocess.py and `fusionzoo preprocess`: the contract, the command line and the packages that they need."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusionzoo.cli.commands import app
from fusionzoo.cli.preprocess_command import preprocess
from fusionzoo.contracts import TABULAR_PREPROCESS_CONTRACT
from fusionzoo.contracts.verification.workspace import choose_root_kind
from fusionzoo.preprocessing.preprocess_arguments import parse_arguments
from fusionzoo.preprocessing.preprocess_script import run_preprocess_script
from fusionzoo.sagemaker.script_arguments import read_command_line
from package_helpers import ROOT
from preprocess_helpers import list_outputs, read_channels, read_message, write_shop
from verification_helpers import verify

SCRIPT = ROOT / "preprocess.py"


def test_preprocess_py_satisfies_its_contract_by_its_code() -> None:
    report = TABULAR_PREPROCESS_CONTRACT.validate_implementation(SCRIPT)
    assert report.errors == []
    assert report.summary == "preprocess.py vs ProcessingScriptContract: COMPLIANT"
    assert not [warning for warning in report.warnings if "version of these packages" not in warning]


def test_preprocess_py_satisfies_its_contract_in_a_run(tmp_path: Path) -> None:
    write_shop(tmp_path / "prepared")
    report = verify(
        SCRIPT,
        is_quick=False,
        contract=TABULAR_PREPROCESS_CONTRACT,
        root_kind=choose_root_kind(),
        input_folder=tmp_path / "prepared",
        arguments=["--label-name", "target", "--id-name", "id"],
    )
    assert report.errors == []
    assert [run.name for run in report.runs] == ["complete", "raw_data damaged", "raw_data removed"]


def test_the_command_and_the_script_write_the_same_channels(tmp_path: Path) -> None:
    outputs = []
    options = ["--label-name", "target", "--id-name", "id", "--val-fraction", "0.3", "--seed", "5"]
    for name in ("command", "script"):
        root = tmp_path / name
        write_shop(root)
        if name == "command":
            assert CliRunner().invoke(app, ["preprocess", "--root", str(root), *options]).exit_code == 0
        else:
            equals = [
                f"{key.replace('-name', '_name')}={value}" for key, value in zip(*[iter(options)] * 2, strict=True)
            ]
            assert run_preprocess_script(equals, {"SAGEMAKER_BASE_DIR": str(root)}) == 0
        outputs.append({path: (root / path).read_bytes() for path in list_outputs(root)})
        assert len(read_channels(root)["val"]) == 18
    assert outputs[0] == outputs[1]


def test_the_command_the_contract_and_the_docs_have_the_same_arguments() -> None:
    options = {name.replace("_", "-") for name in inspect.signature(preprocess).parameters} - {"root"}
    assert options == TABULAR_PREPROCESS_CONTRACT.arguments.keys()
    page = (ROOT / "docs/preprocess.md").read_text("utf-8")
    assert [name for name in options if f"`--{name}`" not in page] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--label-name"], "expected one argument"),
        (["--label-name", "y", "--labl", "x"], "there is no argument --labl"),
        (["y"], "there is no argument y"),
        ([], "label_name"),
    ],
)
def test_a_wrong_command_line_is_explained_in_the_message_file(
    arguments: list[str], expected: str, tmp_path: Path
) -> None:
    assert run_preprocess_script(arguments, {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 1
    message = read_message(tmp_path)
    assert expected in message
    assert "Fix: " in message
    assert "Traceback" not in message


def test_help_lists_every_argument_and_starts_no_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_preprocess_script(["--help"], {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 0
    text = capsys.readouterr().out
    assert [name for name in TABULAR_PREPROCESS_CONTRACT.arguments if f"--{name}" not in text] == []
    assert list(tmp_path.iterdir()) == []


def test_arguments_mean_what_the_settings_of_a_job_mean() -> None:
    given = [
        "--label-name",
        '["a", "b"]',
        "--task",
        "multilabel",
        "--csv-quote",
        "",
        "--csv-header",
        '["a", "b", "007"]',
    ]
    given += ["--id-name", "007", "--group-field", "", "--test-fraction", "0"]
    settings = parse_arguments(read_command_line(TABULAR_PREPROCESS_CONTRACT, given))
    assert settings.label_columns == ["a", "b"]
    assert (settings.csv_quote, settings.csv_header) == ("", ["a", "b", "007"])
    assert (settings.id_name, settings.group_field) == ("007", None)
    assert (settings.val_fraction, settings.test_fraction, settings.seed) == (0.1, None, 42)


def test_the_job_imports_no_package_that_only_training_needs(tmp_path: Path) -> None:
    write_shop(tmp_path)
    code = (
        "import os, sys; from fusionzoo.preprocessing.preprocess_script import run_preprocess_script as run;"
        "assert run(['--label-name', 'target'], os.environ) == 0;"
        "print({'torch', 'lightning', 'sklearn', 'scipy', 'matplotlib', 'transformers', 'bs4'} & {*sys.modules})"
    )
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
