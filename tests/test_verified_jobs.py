"""The jobs that verification runs: generated and prepared inputs, the root folder, arguments and variables."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fusionzoo.cli.commands import app
from fusionzoo.cli.verify_command import Root, choose_root
from fusionzoo.contracts import CONTRACTS, PYTORCH_TRAIN_CONTRACT, ProcessingScriptContract
from fusionzoo.contracts.verification.evidence_report import VerificationReport
from fusionzoo.contracts.verification.sample_job import write_sample_job
from fusionzoo.contracts.verification.workspace import RootKind, delete_tree, find_namespace_problem, make_workspace
from fusionzoo.errors.verification_errors import VerificationError
from verification_helpers import CONTRACT, find_failures, find_warnings, make_job, verify, write_input, write_script

SCRIPTS = Path(__file__).parents[1]
NEEDS_NAMESPACE = pytest.mark.skipif(bool(find_namespace_problem()), reason="this user may not mount folders")


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the workspaces."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_prepared_inputs_are_copied_and_never_changed(tmp_path: Path) -> None:
    folder = write_input(tmp_path / "prepared")
    (folder / "model").mkdir()
    (folder / "model/model.json").write_text("of an earlier run")
    (tmp_path / "shared.csv").write_text("id,text\n1,late\n")
    (folder / "input/data/train/linked.csv").symlink_to(tmp_path / "shared.csv")
    before = read_files(tmp_path)
    code = "assert not (ROOT / 'model/model.json').exists(); (TRAIN / 'linked.csv').write_text('broken')"
    report = verify(write_script(tmp_path / "prepared", before=code), input_folder=folder)
    assert "linked.csv (changed" in find_failures(report)["inputs are not changed"]
    (folder / "train.py").unlink()
    assert read_files(tmp_path) == before


def test_a_script_that_overwrites_a_prepared_model_is_judged_by_its_own_run(tmp_path: Path) -> None:
    folder = write_input(tmp_path / "prepared")
    (folder / "model").mkdir()
    (folder / "model/model.json").write_text("{}")
    script = write_script(tmp_path, after="(ROOT / 'model/model.json').unlink()")
    failures = find_failures(verify(script, input_folder=folder))
    assert failures["/opt/ml/model/model.json exists, is not empty and loads"] == "the run did not write it"


def test_an_input_that_an_optional_channel_lacks_is_named(tmp_path: Path) -> None:
    folder = write_input(tmp_path / "prepared")
    delete_tree(folder / "input/data/test")
    report = verify(write_script(tmp_path), is_quick=False, input_folder=folder)
    assert find_warnings(report) == {"test_data is read": "the job does not have it"}
    assert report.is_valid


@NEEDS_NAMESPACE
def test_a_script_with_hard_coded_paths_sees_the_inputs_in_a_namespace(tmp_path: Path) -> None:
    source = write_script(tmp_path).read_text()
    script = tmp_path / "hard_coded.py"
    script.write_text(source.replace('Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))', 'Path("/opt/ml")'))
    existed = Path("/opt/ml").exists()
    report = verify(script, is_quick=False, root_kind=RootKind.NAMESPACE)
    assert report.errors == []
    assert "channel 'train' is missing" in str(report.runs[2].failure)
    assert Path("/opt/ml").exists() == existed


@NEEDS_NAMESPACE
def test_a_namespace_shows_the_other_folders_next_to_the_root_folder(tmp_path: Path) -> None:
    siblings = sorted(path.name for path in Path("/opt").iterdir()) if Path("/opt").is_dir() else []
    code = f"assert sorted(os.listdir('/opt')) == sorted({{*{siblings!r}, 'ml'}}); os.environ['SAGEMAKER_BASE_DIR']"
    report = verify(write_script(tmp_path, before=code), root_kind=RootKind.NAMESPACE)
    assert find_failures(report)["script succeeds"].endswith("'SAGEMAKER_BASE_DIR'")


def test_a_script_that_ignores_the_variable_of_the_root_folder_gets_a_hint(tmp_path: Path) -> None:
    script = tmp_path / "empty.py"
    script.write_text("")
    failures = find_failures(verify(script))
    assert "a script that does not use SAGEMAKER_BASE_DIR is verified by root only" in failures["config is read"]


def test_the_run_sees_no_variable_that_describes_another_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SM_MODEL_DIR", "RANK", "FUSIONZOO_CACHE", "XDG_CACHE_HOME", "OTHER"):
        monkeypatch.setenv(name, "set")
    code = "print(sorted({'SM_MODEL_DIR', 'RANK', 'FUSIONZOO_CACHE', 'XDG_CACHE_HOME', 'OTHER'} & {*os.environ}))"
    assert verify(write_script(tmp_path, after=code)).runs[0].output_end == "['OTHER']\n"


def test_arguments_and_variables_reach_the_script(tmp_path: Path) -> None:
    code = "print(sys.argv[1:], os.environ['DECLARED'], Path.cwd().name, os.environ['HOME'] == str(HOME))"
    report = verify(write_script(tmp_path, after=code), arguments=["--seed", "1"], environ={"DECLARED": "x"})
    assert report.runs[0].output_end == "['--seed', '1'] x work True\n"
    assert report.errors == []


def test_a_processing_script_is_verified_without_a_failure_file(tmp_path: Path) -> None:
    contract = ProcessingScriptContract(
        entry_point="preprocess.py",
        framework="none",
        expected_input_paths={"raw": "/opt/ml/processing/input"},
        expected_output_paths={"train": "/opt/ml/processing/train"},
        artifacts={"train": ["*.csv"]},
        optional_env_vars={"SAGEMAKER_BASE_DIR": "/opt/ml"},
    )
    script = tmp_path / "preprocess.py"
    script.write_text(
        "import os, sys; from pathlib import Path\n"
        "root = Path(os.environ['SAGEMAKER_BASE_DIR']) / 'processing'\n"
        "if not (root / 'input').is_dir(): sys.exit(f\"{root / 'input'} is missing\")\n"
        "for path in (root / 'input').iterdir():\n"
        "    if b'id' not in path.read_bytes(): sys.exit(f'{path} is damaged')\n"
        "    (root / 'train/rows.csv').write_text(path.read_text())\n"
    )
    part = tmp_path / "prepared/processing/input/rows.csv"
    part.parent.mkdir(parents=True)
    part.write_text("id\n1\n")
    changes: dict[str, Any] = {"contract": contract, "input_folder": tmp_path / "prepared"}
    report = verify(script, is_quick=False, **changes)
    assert report.errors == []
    assert [run.name for run in report.runs] == ["complete", "raw damaged", "raw removed"]


# --- what prevents a run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"contract": CONTRACTS["TABULAR_PREPROCESS_CONTRACT"], "script": SCRIPTS / "preprocess.py"},
            "which needs processing/input.\nFix: create it in a folder, and run "
            "'fusionzoo contract verify preprocess.py --run --input FOLDER -- --label-name VALUE'.",
        ),
        (
            {"contract": CONTRACTS["MODEL_EVALUATION_CONTRACT"], "script": SCRIPTS / "evaluate.py"},
            "No job can be generated for evaluate.py, which needs processing/model/model.tar.gz, processing/test.\n"
            "Fix: create it in a folder, and run 'fusionzoo contract verify evaluate.py --run --input FOLDER'.",
        ),
        (
            {"contract": CONTRACTS["PYTORCH_INFERENCE_CONTRACT"], "script": SCRIPTS / "inference.py"},
            "No job can be generated for inference.py, which needs model, request.csv.",
        ),
        ({"input_folder": Path("nowhere")}, "The input 'train_data' is missing: there is no nowhere/input/data/train"),
        ({"contract": CONTRACT.model_copy(update={"required_env_vars": ["KEY"]})}, "environment variables 'KEY'"),
        ({"script": Path("nowhere.py")}, "There is no script nowhere.py"),
        ({"script": Path("/")}, "There is no script /"),
    ],
)
def test_a_job_that_cannot_be_run_is_an_error_with_a_fix(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    script = changes.pop("script", None) or write_script(tmp_path)
    with pytest.raises(VerificationError) as caught:
        verify(script, **changes)
    assert message in str(caught.value)
    assert "\nFix: " in str(caught.value)


def test_the_generated_job_has_every_required_input_of_the_training_contract(tmp_path: Path) -> None:
    make_job(write_script(tmp_path), contract=PYTORCH_TRAIN_CONTRACT).check()
    write_sample_job(tmp_path / "ml")
    settings = json.loads((tmp_path / "ml/input/config/hyperparameters.json").read_text())
    assert all(isinstance(value, str) for value in settings.values())
    assert len((tmp_path / "ml/input/data/train/part-00000.csv").read_text().splitlines()) == 33


def test_a_workspace_with_folders_without_permissions_is_deleted() -> None:
    with make_workspace(RootKind.VARIABLE) as workspace:
        (workspace.work / "a/b").mkdir(parents=True)
        (workspace.work / "a/b/c").write_text("x")
        (workspace.work / "a/b").chmod(0)
        (workspace.work / "a").chmod(0)
        (workspace.work / "link").symlink_to("/")
    assert not workspace.top.exists()


# --- the command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["contract", "verify", *arguments])


def write_contract(folder: Path) -> str:
    path = folder / "contract.json"
    path.write_text(CONTRACT.model_dump_json())
    return str(path)


def test_the_command_prints_the_checks_and_writes_the_evidence(tmp_path: Path) -> None:
    script, evidence = write_script(tmp_path), tmp_path / "new/evidence.json"
    options = ["--run", "--contract", write_contract(tmp_path), "--root", "variable", "--evidence", str(evidence)]
    result = run(str(script), *options, "--quick", "--env", "DECLARED=1", "--", "--seed", "1")
    assert result.exit_code == 0
    assert "train.py vs TrainingScriptContract: COMPLIANT" in result.stdout
    document = json.loads(evidence.read_text())
    assert document["settings"]["arguments"] == "--seed 1"
    assert document["runs"][0]["name"] == "complete"
    assert "Running train.py: all inputs" in result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("not verified")]
    assert [row.split("  ")[1].strip() for row in rows] == [
        "train_data and 1 more",
        "train_data and 1 more",
        "test_data",
    ]


def test_the_command_exits_with_status_1_if_the_script_does_not_comply(tmp_path: Path) -> None:
    options = ["--run", "--contract", write_contract(tmp_path), "--evidence", str(tmp_path / "evidence.json")]
    result = run(str(write_script(tmp_path, before="raise ValueError(3)")), *options, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["summary"] == "train.py vs TrainingScriptContract: NON-COMPLIANT"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 2, "add --run"),
        (["--run", "--env", "KEY"], 2, "'KEY' is not key=value"),
        (["--run", "--timeout", "0"], 2, "--timeout"),
        (["--run", "--contract", "nothing"], 1, "Fix: "),
        (["--run", "--input", "/nowhere"], 1, "[FZ-K031]"),
        (["--run", "--evidence", "/dev/null/x"], 1, "cannot be written"),
    ],
)
def test_a_wrong_command_line_is_explained_and_runs_nothing(
    options: list[str], status: int, message: str, tmp_path: Path
) -> None:
    script = write_script(tmp_path, before=f"open({str(tmp_path / 'ran')!r}, 'w')")
    result = run(str(script), *options)
    assert result.exit_code == status
    assert message in result.output
    assert not (tmp_path / "ran").exists()
    assert os.environ.get("SAGEMAKER_BASE_DIR") is None


# --- inference scripts

INFERENCE = """
import json
from pathlib import Path

def model_fn(model_dir):
    path = Path(model_dir) / "model.json"
    try:
        bias = json.loads(path.read_text())["bias"]
    except (OSError, ValueError) as error:
        raise RuntimeError(f"{path} is missing or damaged") from error
    return bias

def input_fn(request_body, content_type):
    assert content_type == "text/csv", content_type
    return [float(line) for line in request_body.split()]

def predict_fn(data, model):
    return [value + model for value in data]

def output_fn(prediction, accept):
    return json.dumps(prediction)
"""


def verify_inference(folder: Path, source: str, **changes: Any) -> VerificationReport:
    script = folder / "inference.py"
    script.write_text(source)
    (folder / "prepared/model").mkdir(parents=True)
    (folder / "prepared/model/model.json").write_text('{"bias": 1}')
    (folder / "prepared/request.csv").write_text("1\n2\n")
    contract = CONTRACTS["PYTORCH_INFERENCE_CONTRACT"]
    return verify(script, is_quick=False, contract=contract, input_folder=folder / "prepared", **changes)


def test_the_functions_of_an_inference_script_are_called(tmp_path: Path) -> None:
    report = verify_inference(tmp_path, INFERENCE)
    assert report.errors == []
    assert report.runs[0].output_end == "response: '[2.0, 3.0]'\n"
    assert [run.name for run in report.runs] == ["complete", "model damaged", "model removed"]


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("def predict_fn", "def predict", "script succeeds"),
        ("return json.dumps(prediction)", "return ''", "script succeeds"),
        ("    return bias", "    (path.parent / 'x').touch()\n    return bias", "inputs are not changed"),
        ("{path} is", "it is", "model fails the job if damaged"),
    ],
)
def test_an_inference_script_that_breaks_its_contract_is_found(old: str, new: str, check: str, tmp_path: Path) -> None:
    assert old in INFERENCE
    assert check in find_failures(verify_inference(tmp_path, INFERENCE.replace(old, new)))


def test_the_request_is_found_if_the_input_folder_is_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_inference(tmp_path, INFERENCE)
    monkeypatch.chdir(tmp_path)
    contract = CONTRACTS["PYTORCH_INFERENCE_CONTRACT"]
    report = verify(Path("inference.py"), contract=contract, input_folder=Path("prepared"))
    assert report.errors == []
    assert report.runs[0].output_end == "response: '[2.0, 3.0]'\n"


def test_an_inference_script_without_a_request_is_not_verified(tmp_path: Path) -> None:
    verify_inference(tmp_path, INFERENCE)
    (tmp_path / "prepared/request.csv").unlink()
    contract = CONTRACTS["PYTORCH_INFERENCE_CONTRACT"]
    with pytest.raises(VerificationError, match=r"no file .*prepared/request\.\*"):
        verify(tmp_path / "inference.py", contract=contract, input_folder=tmp_path / "prepared")


@pytest.mark.parametrize(("choice", "kind"), [(Root.AUTO, RootKind.VARIABLE), (Root.VARIABLE, RootKind.VARIABLE)])
def test_a_script_in_the_root_folder_is_not_hidden_by_a_namespace(choice: Root, kind: RootKind) -> None:
    assert choose_root(choice, Path("/opt/ml/code/train.py")) is kind
    with pytest.raises(VerificationError, match="is in the folder that it would hide"):
        choose_root(Root.NAMESPACE, Path("/opt/ml/code/train.py"))
