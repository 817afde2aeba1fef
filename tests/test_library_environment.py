"""No telemetry and no files in the home folder: onnxruntime and matplotlib are imported with the right environment."""

from __future__ import annotations

import ast
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from shop import JobFolder
from watched_network import WatchedProcess, start_watched, why_not_watched

ROOT = Path(__file__).parents[1]
# onnxruntime sends its first event some 9 s after it opened a model, so a watched process must live longer.
LINGER = "import time; print('done', flush=True); time.sleep(20)"
TRAIN = f"""
import runpy
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code, "the job failed"
{LINGER}
"""
SCORE = f"""
import sys
from fusionzoo.serving.predictor import Predictor
rows = [{{"message": None, "country": None, "price": 1.0, "visits": None}}]
print(len(Predictor.load(sys.argv[1]).predict(rows)))
{LINGER}
"""
LOOK_UP = "import contextlib, socket\nwith contextlib.suppress(OSError): socket.getaddrinfo('example.org', 443)"
SEND_TELEMETRY = """
import pathlib, sys, time, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
for _ in range(120):
    time.sleep(0.5)
    counts = next(line for line in pathlib.Path("/proc/net/dev").read_text().splitlines() if "watched:" in line)
    if int(counts.split()[10]):
        break
"""
KEPT_VARIABLES = ("PATH", "LANG", "TMPDIR", "OMP_NUM_THREADS", "FUSIONZOO_CACHE")


def clean_environ(home: Path, **changes: str) -> dict[str, str]:
    """The environment of a user who has configured nothing, with an own, empty home folder.

    Variables of a CI service (`CI`, `GITHUB_ACTIONS`, ...) are left out: onnxruntime sends no telemetry where they are.
    """
    home.mkdir()
    inherited = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
    return {**inherited, "HOME": str(home), **changes}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str]]]:
    """The packets that each program sent, and the files in its home folder; all run at the same time."""
    folder = tmp_path_factory.mktemp("watched")
    if reason := why_not_watched(folder / "try"):
        pytest.skip(reason)
    job = JobFolder(folder / "job").fill(rows=64, max_epochs=1, onnx="required")
    changes = {"train": {"SAGEMAKER_BASE_DIR": str(job.root)}, "send telemetry": {"ORT_DISABLE_TELEMETRY": "0"}}

    def start(name: str, code: str) -> WatchedProcess:
        environ = clean_environ(folder / f"{name}-home", **changes.get(name, {}))
        return start_watched([sys.executable, "-c", code, str(job.model / argument[name])], folder / name, environ)

    argument = {"train": "", "score": "", "look up": "", "send telemetry": "model.onnx"}
    running = {"train": start("train", TRAIN), "look up": start("look up", LOOK_UP)}
    running["train"].read_until("done")
    running |= {"score": start("score", SCORE), "send telemetry": start("send telemetry", SEND_TELEMETRY)}
    homes = {name: folder / f"{name}-home" for name in running}
    return {
        name: (process.finish(), [str(path.relative_to(homes[name])) for path in homes[name].rglob("*")])
        for name, process in running.items()
    }


VERSION_OF_CACHE = (".cache", ".cache/huggingface", ".cache/huggingface/hub", ".cache/huggingface/hub/version.txt")
"""Old versions of transformers write this one file to the Hugging Face cache when they are imported."""


@pytest.mark.parametrize("program", ["train", "score"])
def test_no_packet_is_sent_and_no_file_is_written_to_the_home_folder(
    watched: dict[str, tuple[int, list[str]]], program: str
) -> None:
    packets, files = watched[program]
    assert packets == 0
    assert [file for file in files if file not in VERSION_OF_CACHE] == []


def test_the_watch_sees_the_lookup_of_a_name(watched: dict[str, tuple[int, list[str]]]) -> None:
    assert watched["look up"][0] > 0


@pytest.mark.skipif(
    Version(version("onnxruntime")) < Version("1.32"), reason="this onnxruntime has no telemetry on Linux"
)
def test_the_watch_sees_the_telemetry_of_onnxruntime_when_it_is_on(watched: dict[str, tuple[int, list[str]]]) -> None:
    packets, files = watched["send telemetry"]
    assert packets > 0
    assert ".cache/Microsoft" in files


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
