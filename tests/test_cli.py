"""The command line: `list`, `train` and `demo`, and the imports that must not load torch."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli_helpers import invoke, make_plugin_source
from conftest import Installer
from fusionzoo.demo.demo_targets import DEMO_TARGETS
from server_process import run_command

ROOT = Path(__file__).parents[1]
CLI = [sys.executable, "-m", "fusionzoo.cli"]


def run_fusionzoo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from fusionzoo.cli import main; sys.argv[0] = 'fusionzoo'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_list_names_every_installed_architecture_and_encoder() -> None:
    rows = json.loads(run_fusionzoo("list", "--json").stdout)
    distributions = {(row["kind"], row["name"]): row["distribution"] for row in rows}
    assert distributions["model_class", "multimodal_bert"] == "fusionzoo-bert"
    assert distributions["model_class", "cnn"] == "fusionzoo-cnn"
    assert distributions["text_encoder", "bert"] == "fusionzoo-bert"
    assert "multimodal_cnn" in run_fusionzoo("list").stdout


@pytest.mark.parametrize(
    "code",
    [
        "import fusionzoo",
        "from cli_helpers import invoke; invoke('list')",
        "from cli_helpers import invoke; invoke('--help')",
        "import fusionzoo.sagemaker, fusionzoo.settings, fusionzoo.data.preprocessor, fusionzoo.serving.predictor",
    ],
)
def test_these_imports_do_not_load_torch(code: str) -> None:
    slow_modules = "('torch', 'lightning', 'transformers', 'gensim', 'onnxruntime')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print([m for m in {slow_modules} if m in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_help_names_every_command() -> None:
    out = run_fusionzoo("--help").stdout
    assert all(command in out for command in ("list", "show", "check", "doctor", "new", "train", "demo"))


@pytest.mark.parametrize("task", list(DEMO_TARGETS))
def test_the_demo_trains_and_prints_test_metrics_the_best_possible_ones_and_paths(tmp_path: Path, task: str) -> None:
    small = ("--rows", "400", "--set", "max_epochs=1", "--set", "num_channels=[8]")
    done = invoke("demo", "--task", task, "--root", str(tmp_path / "d"), *small)
    assert done.exit_code == 0, done.output
    table = done.stdout.partition("best possible\n")[2]
    for name in DEMO_TARGETS[task].bounded_metrics:
        assert re.search(rf"^{name} +-?[\d.]+ +[\d.]+$", table, re.MULTILINE), name
    assert re.search(r"^(f1_score|median_absolute_error) +[\d.]+$", table, re.MULTILINE), "the best one is not known"
    assert str(tmp_path / "d/model") in done.stdout
    settings = json.loads((tmp_path / "d/input/config/hyperparameters.json").read_text())
    assert settings["model_class"] == "multimodal_cnn"
    assert (tmp_path / "d/model/model.onnx").exists()
    if task == "classification":
        check_that_the_tour_of_the_readme_ends_with_a_served_prediction(tmp_path / "d")


def check_that_the_tour_of_the_readme_ends_with_a_served_prediction(demo: Path) -> None:
    (block,) = [
        part for part in (ROOT / "README.md").read_text("utf-8").split("```\n") if "demo/input/data/test" in part
    ]
    serve, curl = block.replace("demo/", f"{demo}/").splitlines()
    command = [sys.executable, "-m", "fusionzoo.cli", *shlex.split(serve)[1:], "--port", "0", "--workers", "1"]
    with run_command(command, demo) as running:
        address = curl.replace("localhost:8080", f"127.0.0.1:{running.port}")
        done = subprocess.run(address, shell=True, capture_output=True, text=True)
    header, *rows = done.stdout.splitlines()
    assert "prob_" in header
    assert len(rows) == pq.read_metadata(demo / "input/data/test/part-00000.parquet").num_rows, done.stderr


def test_the_demo_fails_for_a_folder_with_other_data_and_for_an_unknown_model(tmp_path: Path) -> None:
    (tmp_path / "input/data/train").mkdir(parents=True)
    (tmp_path / "input/data/train/user.csv").write_text("id\n1\n")
    done = run_fusionzoo("demo", "--rows", "300", "--root", str(tmp_path))
    assert done.returncode == 1
    assert "user.csv" in done.stderr
    wrong_task = invoke("demo", "--task", "ranking")
    assert "'ranking' is not one of classification, multilabel, regression" in " ".join(wrong_task.stderr.split())
    unknown = run_fusionzoo("demo", "--rows", "300", "--root", str(tmp_path / "new"), "--model-class", "multimodal_cn")
    assert unknown.returncode == 1
    assert "Did you mean 'multimodal_cnn'" in unknown.stdout


def test_train_runs_the_job_in_a_folder_and_reports_its_failure(tmp_path: Path) -> None:
    done = run_fusionzoo("train", "--root", str(tmp_path))
    assert done.returncode == 1
    assert "hyperparameters" in (tmp_path / "output/failure").read_text()


def test_train_creates_no_folder_for_a_mistyped_root(tmp_path: Path) -> None:
    done = invoke("train", "--root", str(tmp_path / "mistyped"))
    assert done.exit_code == 2
    assert "there is no folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_list_loads_no_module_that_it_does_not_need() -> None:
    slow_modules = [
        "torch",
        "lightning",
        "transformers",
        "numpy",
        "pandas",
        "pyarrow",
        "rich",
        "packaging",
        "fusionzoo_cnn",
    ]
    code = (
        "import sys; sys.argv = ['fusionzoo', 'list']; from fusionzoo.cli import main\n"
        "try: main()\n"
        f"finally: print([m for m in {slow_modules} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "multimodal_cnn" in done.stdout
    assert done.stderr.strip() == "[]"


def test_the_module_does_the_same_as_the_script() -> None:
    done = subprocess.run([*CLI, "list"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == run_fusionzoo("list").stdout
    assert "Usage: fusionzoo " in subprocess.run([*CLI, "--help"], capture_output=True, text=True).stdout


def test_list_in_a_pipe_prints_aligned_plain_text_without_wrapping(install: Installer) -> None:
    install("acme-" + "long-" * 40 + "name", models=["film"])
    out = run_fusionzoo("list", PYTHONPATH=str(install.folder), COLUMNS="40", FORCE_COLOR="1").stdout
    lines = out.splitlines()
    assert out.isascii()
    assert "\x1b" not in out
    (film,) = [line for line in lines if " film " in line]
    assert film.endswith("name  1.0")
    assert len({line.index(name) for line, name in zip(lines, ["name", "bert", "cnn", "film"], strict=False)}) == 1


def test_list_shows_a_broken_plugin_without_importing_it(install: Installer) -> None:
    install("acme-broken", models=["broken"], source="raise RuntimeError('imported')")
    done = run_fusionzoo("list", "--json", PYTHONPATH=str(install.folder))
    rows = json.loads(done.stdout)
    (broken,) = [row for row in rows if row["name"] == "broken"]
    assert broken == {
        "kind": "model_class",
        "name": "broken",
        "distribution": "acme-broken",
        "version": "1.0",
        "note": "",
    }
    assert done.stderr == ""


def test_list_notes_a_clash_and_unreadable_metadata_and_succeeds(install: Installer) -> None:
    install("acme-one", models=["film"])
    install("acme-two", "2.0", models=["film"])
    (install("acme-three", models=["gate"]) / "METADATA").write_text("")
    (install("acme-four", models=["tower"]) / "entry_points.txt").write_bytes(b"[fusionzoo.models]\n\xff = x\n")
    done = run_fusionzoo("list", PYTHONPATH=str(install.folder))
    assert done.returncode == 0
    notes = [line for line in done.stdout.splitlines() if line.startswith("note: ")]
    assert len(notes) == 3
    for text in ("acme-one 1.0 (acme_one), acme-two 2.0 (acme_two)", "acme_three-1.0", "acme_four-1.0"):
        assert any(text in note for note in notes)
    as_json = run_fusionzoo("list", "--json", PYTHONPATH=str(install.folder))
    notes_by_name = {row["name"]: row["note"] for row in json.loads(as_json.stdout) if row["note"]}
    assert set(notes_by_name) == {"film", "gate"}
    assert "acme_four-1.0" in as_json.stderr


def test_names_that_cannot_be_printed_are_escaped(install: Installer) -> None:
    install("acme-odd", models={"fi\x1b[31mlm": "acme_odd"})
    out = run_fusionzoo("list", PYTHONPATH=str(install.folder)).stdout
    assert r"fi\x1b[31mlm" in out
    assert "\x1b" not in out


def run_on_terminal(*arguments: str, **environment: str) -> str:
    """Return the output of a command that has a terminal as standard output."""
    reader, writer = pty.openpty()
    code = "import sys; from fusionzoo.cli import main; sys.argv[0] = 'fusionzoo'; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=writer, env={**os.environ, **environment}
    ) as done:
        os.close(writer)
        out = b""
        while chunk := _read(reader):
            out += chunk
    os.close(reader)
    assert done.returncode == 0
    return out.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # raised on Linux when the writer is closed
        return b""


def test_a_terminal_gets_tables_in_which_brackets_are_not_markup(install: Installer) -> None:
    install(
        "acme-film", models=["film"], source=make_plugin_source(bracket='str = Field("", description="[bom] [b]x")')
    )
    out = run_on_terminal("list", PYTHONPATH=str(install.folder), COLUMNS="200", TERM="xterm")
    assert "│ multimodal_cnn" in out
    shown = run_on_terminal("show", "film", PYTHONPATH=str(install.folder), COLUMNS="200", TERM="xterm")
    assert "│ [bom] [b]x" in shown
