"""Run-time verification finds what a script does against its contract, and accepts a script that satisfies it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fusionzoo.contracts import Verdict
from fusionzoo.contracts.verification.damaged_inputs import names_input
from fusionzoo.contracts.verification.workspace import RootKind, Workspace
from verification_helpers import find_failures, find_warnings, make_job, verify, write_script


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the workspaces; it is empty again after every verification."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_script_that_satisfies_its_contract_is_compliant(tmp_path: Path, own_temporary_folder: Path) -> None:
    report = verify(write_script(tmp_path), is_quick=False)
    assert report.summary == "train.py vs TrainingScriptContract: COMPLIANT"
    assert find_failures(report) == find_warnings(report) == {}
    assert set(report.verdicts.values()) == {Verdict.PROVEN}
    assert [run.name for run in report.runs] == [
        *("complete", "train_data damaged", "train_data removed", "test_data removed"),
        *("config damaged", "config removed"),
    ]
    assert list(report.variables) == ["SAGEMAKER_BASE_DIR"]
    assert list(own_temporary_folder.iterdir()) == []


def test_the_evidence_is_one_json_document(tmp_path: Path) -> None:
    report = verify(write_script(tmp_path, after="os.write(1, b'\\xff\\0'); raise ValueError(chr(7))"))
    document = json.loads(report.to_json())
    assert document["is_valid"] is False
    assert document["verdicts"]["/opt/ml/input/data/train"] == "proven"
    assert {check["status"] for check in document["checks"]} == {"proven", "failed", "not verified"}
    assert document["limits"]


NON_COMPLIANT = {
    # name: (code before the work, code after it, the check that fails, a part of its detail)
    "writes to the home folder": (
        *("", "(HOME / 'results.txt').write_text('x')"),
        *("other folders are not written to", "~/results.txt (created"),
    ),
    "touches a file in the home folder": (
        *("(HOME / '.cache').mkdir()", "(HOME / '.netrc').touch()"),
        *("other folders are not written to", "~/.netrc"),
    ),
    "writes to the working directory": (
        *("", "open('log.txt', 'w').close()"),
        *("other folders are not written to", "log.txt (created"),
    ),
    "writes a file and deletes it": (
        *(
            "(HOME / 'a/b').mkdir(parents=True); (HOME / 'a/b/c').write_text('x')",
            "__import__('shutil').rmtree(HOME / 'a')",
        ),
        *("other folders are not written to", "~/a (created, deleted)"),
    ),
    "writes elsewhere in the root folder": (
        *("", "(ROOT / 'output/log.txt').parent.mkdir(exist_ok=True); (ROOT / 'output/log.txt').write_text('x')"),
        *("other folders are not written to", "/opt/ml/output/log.txt"),
    ),
    "makes a folder that the contract does not declare": (
        *("", "(ROOT / 'model2').mkdir()"),
        *("other folders are not written to", "/opt/ml/model2"),
    ),
    "writes into an input": (
        *("", "(TRAIN / 'part.idx').write_text('x')"),
        *("inputs are not changed", "/opt/ml/input/data/train/part.idx (created"),
    ),
    "changes an input and its time back": (
        "",
        "path = min(TRAIN.iterdir()); s = path.stat()\npath.write_bytes(path.read_bytes())\n"
        "os.utime(path, ns=(s.st_atime_ns, s.st_mtime_ns))",
        *("inputs are not changed", "part-00000.csv (changed"),
    ),
    "deletes inputs": (
        *("", "__import__('shutil').rmtree(TRAIN)"),
        *("inputs are not changed", "/opt/ml/input/data/train (deleted)"),
    ),
    "moves its inputs": (
        *("", "(ROOT / 'input').rename(ROOT / 'elsewhere')"),
        *("inputs are not changed", "part-00000.csv (deleted)"),
    ),
    "reads an undeclared variable": (
        *("", "os.environ.get('DECLARED'); os.getenv('UNDECLARED')"),
        *("environment variables are declared if they are read", "UNDECLARED"),
    ),
    "leaves an empty artifact": (
        *("", "(ROOT / 'model/model.json').write_text('')"),
        *("/opt/ml/model/model.json exists, is not empty and loads", "empty: /opt/ml/model/model.json"),
    ),
    "leaves a damaged artifact": (
        *("", "(ROOT / 'model/model.json').write_text('{')"),
        *("/opt/ml/model/model.json exists, is not empty and loads", "JSONDecodeError"),
    ),
    "leaves no artifact": (
        *("", "(ROOT / 'model/model.json').rename(ROOT / 'model/other.json')"),
        *("/opt/ml/model/model.json exists, is not empty and loads", "did not write it"),
    ),
    "writes no output": (
        *("", "(ROOT / 'model/model.json').unlink()"),
        *("model_output is written", "no file with content in /opt/ml/model"),
    ),
    "does not read a channel": (
        *("globals()['TEST'] = Path('nowhere')", "", "test_data is read"),
        "no file in /opt/ml/input/data/test was opened",
    ),
    "leaves a failure file although it succeeds": (
        *("(ROOT / 'output/failure').write_text('a warning')", "", "script succeeds"),
        "but left a failure file: a warning",
    ),
    "fails": ("raise ValueError('the wheel is broken')", "", "script succeeds", "exit status 1: the wheel is broken"),
    "deletes all of its folders": (
        *("", "__import__('shutil').rmtree(HOME.parent)"),
        *("inputs are not changed", "/opt/ml/input/data/test/part-00000.csv (deleted)"),
    ),
    "ends early": ("os._exit(0)", "", "model_output is written", "no file with content"),
    "is killed": ("os.kill(os.getpid(), 11)", "", "script succeeds", "killed by SIGSEGV"),
    "prints megabytes and fails": (
        *("print('x' * 5_000_000, flush=True); raise ValueError('end')", "", "script succeeds", "exit status 1: end"),
    ),
}


MODEL_WRITTEN = "model_output is written"
ALSO_FOUND = {
    "moves its inputs": {"other folders are not written to"},
    "leaves an empty artifact": {MODEL_WRITTEN},
    "writes no output": {"/opt/ml/model/model.json exists, is not empty and loads"},
    "deletes all of its folders": {
        MODEL_WRITTEN,
        "other folders are not written to",
        "/opt/ml/model/model.json exists, is not empty and loads",
    },
    "ends early": {
        *("/opt/ml/model/model.json exists, is not empty and loads", "train_data is read", "test_data is read"),
        "config is read",
    },
}
"""Further checks that fail in a case."""


@pytest.mark.parametrize("case", NON_COMPLIANT)
def test_a_script_that_breaks_its_contract_is_found(case: str, tmp_path: Path, own_temporary_folder: Path) -> None:
    before, after, check, detail = NON_COMPLIANT[case]
    failures = find_failures(verify(write_script(tmp_path, before or "pass", after or "pass")))
    assert detail in failures[check]
    assert failures.keys() - {check} == ALSO_FOUND.get(case, set())
    assert list(own_temporary_folder.iterdir()) == []


COMPLIANT = {
    "writes to the cache": "(HOME / '.cache/zoo').mkdir(parents=True); (HOME / '.cache/zoo/x').write_text('x')",
    "writes a temporary file": "__import__('tempfile').NamedTemporaryFile().write(b'x')",
    "prints megabytes": "print('x' * 20_000_000)",
    "creates the folder of an output": "(ROOT / 'output').mkdir(exist_ok=True)",
    "copies the environment": "dict(os.environ); {**os.environ}; os.environ.copy(); list(os.environ.items())",
    "sets a variable for a library": "os.environ['A'] = '1'; os.environ.setdefault('B', '1')",
    "changes the working directory": "os.chdir(ROOT / 'model')",
    "prints what is not UTF-8": "os.write(1, bytes(range(256)))",
}


@pytest.mark.parametrize("case", COMPLIANT)
def test_a_script_that_keeps_its_contract_is_accepted(case: str, tmp_path: Path) -> None:
    report = verify(write_script(tmp_path, after=COMPLIANT[case]))
    assert report.errors == []


# --- runs with a damaged or missing input

IGNORES = {
    # name: (code that replaces the end of the script, the check that fails, a part of its detail)
    "ignores a required input": (
        *("    read_table(TRAIN)\n", "    print(TRAIN.exists() and [p.read_bytes() for p in TRAIN.iterdir()])\n"),
        *("train_data fails the job if removed", "the job succeeds with train_data removed"),
    ),
    "accepts damaged data": (
        *('        if not path.read_bytes().startswith(b"id,"):', "        if not path.read_bytes():"),
        *("train_data fails the job if damaged", "the job succeeds with train_data damaged"),
    ),
    "leaves no failure file": (
        *('    (ROOT / "output/failure").write_text(text)\n', ""),
        *("config fails the job if damaged", "/opt/ml/output/failure is missing or empty"),
    ),
    "does not say what is missing": (
        *("channel '{folder.name}' is missing", "cannot train"),
        *("train_data fails the job if removed", "the failure file does not name the input: cannot train"),
    ),
    "names the input after what SageMaker shows": (
        *("channel '{folder.name}' is missing", "{'.' * 1024} channel '{folder.name}' is missing"),
        *("train_data fails the job if removed", "the failure file does not name the input"),
    ),
    "dies by a signal": (
        *("    sys.exit(1)\n", "    os.kill(os.getpid(), 9)\n"),
        *("train_data fails the job if removed", "the job was killed by SIGKILL"),
    ),
    "needs an optional input": (
        *("    if TEST.exists():\n    ", ""),
        *("test_data may be removed", "exit status 1: channel 'test' is missing"),
    ),
}


@pytest.mark.parametrize("case", IGNORES)
def test_a_script_that_hides_a_damaged_or_missing_input_is_found(case: str, tmp_path: Path) -> None:
    old, new, check, detail = IGNORES[case]
    script = write_script(tmp_path)
    source = script.read_text()
    assert old in source
    script.write_text(source.replace(old, new))
    assert detail in find_failures(verify(script, is_quick=False))[check]


def test_a_script_that_fails_with_all_inputs_is_not_run_again(tmp_path: Path) -> None:
    report = verify(write_script(tmp_path, before="raise ValueError('always')"), is_quick=False)
    assert [run.name for run in report.runs] == ["complete"]
    assert find_warnings(report)["train_data fails the job if removed"] == "the job fails with all of its inputs"


@pytest.mark.parametrize(
    ("message", "is_named"),
    [
        ("there is no /opt/ml/input/data/train", True),
        ("channel 'train' is empty", True),
        ("the train channel is empty", True),
        ("the channel train.", True),
        ("train/part-00000.csv: not UTF-8", True),
        ("- train: no rows", True),
        ("train_data is missing", True),
        ("cannot train the model", False),
        ("no data for training", False),
        ("the channel train_small is empty", False),
        ("val/part-00000.csv: not UTF-8", False),
        ('Traceback (most recent call last):\n  File "/train/x.py", line 3\n    read("train")\nKeyError: 3', False),
        ("", False),
    ],
)
def test_a_message_names_an_input_by_its_path_or_as_a_channel(message: str, is_named: bool, tmp_path: Path) -> None:
    job = make_job(write_script(tmp_path))
    assert names_input(message, job, "train_data", Workspace(tmp_path, RootKind.NAMESPACE)) is is_named


def test_a_config_file_is_named_by_its_file_name(tmp_path: Path) -> None:
    job, workspace = make_job(write_script(tmp_path)), Workspace(tmp_path, RootKind.NAMESPACE)
    assert names_input("hyperparameters.json is empty", job, "config", workspace)
    assert not names_input("hyperparameters.json.bak is empty", job, "config", workspace)


# --- processes


def find_children(folder: Path) -> list[str]:
    """Return the commands of the processes that a verification with workspaces in `folder` has left running."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or it is the kernel's
            if f"HOME={folder}/".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


def test_a_script_that_hangs_is_killed_with_its_children(tmp_path: Path, own_temporary_folder: Path) -> None:
    code = """
        import subprocess
        for detached in (False, True):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=detached)
        subprocess.Popen(["sleep", "600.25"], env={})  # has no variable that marks the run
        subprocess.run(["sleep", "600"])
    """
    report = verify(write_script(tmp_path, before=code), timeout=1.0)
    assert find_failures(report)["script succeeds"] == "it did not end within 1 s"
    assert find_children(own_temporary_folder) == []
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x00600.25\x00" not in commands


def test_children_that_outlive_the_script_are_killed_and_named(tmp_path: Path, own_temporary_folder: Path) -> None:
    code = "__import__('subprocess').Popen(['sleep', '600'], start_new_session=True)"
    report = verify(write_script(tmp_path, after=code))
    assert report.errors == []
    assert "sleep 600" in find_warnings(report)["processes end with the script"]
    assert find_children(own_temporary_folder) == []


def test_a_script_that_never_stops_writing_is_killed(tmp_path: Path) -> None:
    code = "while True: (HOME / 'x').write_text('x')"
    failures = find_failures(verify(write_script(tmp_path, before=code), timeout=3.0))
    assert failures["script succeeds"] == "it did not end within 3 s"
    assert "~/x" in failures["other folders are not written to"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_verification_leaves_no_process_and_no_folder(
    number: int, tmp_path: Path, own_temporary_folder: Path
) -> None:
    script = write_script(tmp_path, before=f"open({str(tmp_path / 'started')!r}, 'w'); __import__('time').sleep(600)")
    command = [sys.executable, "-m", "fusionzoo.cli", "contract", "verify", str(script), "--run", "--root", "variable"]
    environ = {**os.environ, "TMPDIR": str(own_temporary_folder)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environ,
        stdout=-1,
        stderr=-1,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell that runs tests with & ignores it
    ) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[signal.Signals(number)]
    assert "Traceback" not in output + errors
    assert list(own_temporary_folder.iterdir()) == []
    assert find_children(own_temporary_folder) == []
