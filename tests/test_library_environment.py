"""No telemetry and no files in the home folder: onnxruntime and matplotlib are imported with the right environment."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shop import JobFolder

ROOT = Path(__file__).parents[1]
INTERNET_ADDRESS = re.compile(r"(connect|sendto|sendmsg|sendmmsg)\(.*sa_family=AF_INET6?")
SCORE = """
import sys
from fusionzoo.serving.predictor import Predictor
print(Predictor.load(sys.argv[1]).predict_records([{"price": 1.0}]).shape)
"""


def run_watched(command: list[str], home: Path, **environ: str) -> tuple[list[str], list[str]]:
    """Run a command; return the calls that reach for the internet, and the files in its home folder."""
    home.mkdir()
    trace = home.with_suffix(".trace")
    inherited = {
        key: value for key, value in os.environ.items() if key not in ("MPLCONFIGDIR", "ORT_DISABLE_TELEMETRY")
    }
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", str(trace), "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    can_trace = shutil.which("strace") and subprocess.run([*strace, "true"], capture_output=True).returncode == 0
    if not can_trace:
        pytest.skip("strace cannot watch processes here")
    done = subprocess.run(
        [*strace, *command], capture_output=True, text=True, env={**inherited, "HOME": str(home), **environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [line for line in trace.read_text("utf-8", "replace").splitlines() if INTERNET_ADDRESS.search(line)]
    return calls, [str(path.relative_to(home)) for path in home.rglob("*")]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    return JobFolder(tmp_path_factory.mktemp("job")).fill(rows=64, max_epochs=1)


@pytest.fixture(scope="module")
def watched_job(job: JobFolder) -> tuple[list[str], list[str]]:
    """A job and what it reached for."""
    command = [sys.executable, str(ROOT / "train.py")]
    return run_watched(command, job.root.parent / "job-home", SAGEMAKER_BASE_DIR=str(job.root), HF_HUB_OFFLINE="1")


def test_a_job_uses_no_network_and_writes_nothing_to_the_home_folder(
    watched_job: tuple[list[str], list[str]],
) -> None:
    calls, files = watched_job
    assert calls == []
    assert files == []


def test_scoring_uses_no_network_and_writes_nothing_to_the_home_folder(
    job: JobFolder, watched_job: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    assert watched_job
    calls, files = run_watched([sys.executable, "-c", SCORE, str(job.model)], tmp_path / "home")
    assert calls == []
    assert files == []


def test_only_one_function_imports_onnxruntime() -> None:
    importing = set()
    for path in (ROOT / "core/fusionzoo").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        typing_only = {
            child
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if node not in typing_only and any(name.split(".")[0] == "onnxruntime" for name in names):
                importing.add(path.name)
    assert importing == {"library_environment.py"}


def test_the_environment_that_the_user_set_is_kept(tmp_path: Path) -> None:
    from fusionzoo.library_environment import configure_libraries

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ORT_DISABLE_TELEMETRY", "0")
        patched.setenv("MPLCONFIGDIR", str(tmp_path))
        configure_libraries()
        assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
        assert os.environ["MPLCONFIGDIR"] == str(tmp_path)
