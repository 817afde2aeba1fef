"""The command line, and the imports that must not load torch."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from conftest import Installer
from fusionzoo.cli import app
from fusionzoo.conformance import check_outputs, check_package, checks
from fusionzoo.settings import JobSettings

CLI = [sys.executable, "-m", "fusionzoo.cli"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from fusionzoo.cli import app; sys.argv[0] = 'fusionzoo'; app()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_list_names_every_installed_architecture_and_encoder() -> None:
    rows = json.loads(run("list", "--json").stdout)
    distributions = {(row["kind"], row["name"]): row["distribution"] for row in rows}
    assert distributions["model_class", "multimodal_bert"] == "fusionzoo-bert"
    assert distributions["model_class", "cnn"] == "fusionzoo-cnn"
    assert distributions["text_encoder", "bert"] == "fusionzoo-bert"
    assert "multimodal_cnn" in run("list").stdout


@pytest.mark.parametrize(
    "code",
    [
        "import fusionzoo",
        "from typer.testing import CliRunner; from fusionzoo.cli import app; CliRunner().invoke(app, ['list'])",
        "from typer.testing import CliRunner; from fusionzoo.cli import app; CliRunner().invoke(app, ['--help'])",
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
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_help_names_every_command() -> None:
    out = run("--help").stdout
    assert all(command in out for command in ("list", "show", "check", "doctor", "new", "train", "demo"))


def test_the_demo_trains_and_prints_test_metrics_the_best_possible_auroc_and_paths(tmp_path: Path) -> None:
    done = run(
        "demo", "--rows", "400", "--root", str(tmp_path / "d"), "--set", "max_epochs=1", "--set", "num_channels=[8]"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "auroc" in done.stdout
    assert "best possible" in done.stdout
    assert str(tmp_path / "d/model") in done.stdout
    settings = json.loads((tmp_path / "d/input/config/hyperparameters.json").read_text())
    assert settings["model_class"] == "multimodal_cnn"
    assert (tmp_path / "d/model/model.onnx").exists()


def test_the_demo_fails_for_a_folder_with_other_data_and_for_an_unknown_model(tmp_path: Path) -> None:
    (tmp_path / "input/data/train").mkdir(parents=True)
    (tmp_path / "input/data/train/user.csv").write_text("id\n1\n")
    done = run("demo", "--rows", "300", "--root", str(tmp_path))
    assert done.returncode == 1
    assert "user.csv" in done.stderr
    unknown = run("demo", "--rows", "300", "--root", str(tmp_path / "new"), "--model-class", "multimodal_cn")
    assert unknown.returncode == 1
    assert "Did you mean 'multimodal_cnn'" in unknown.stdout


def test_train_runs_the_job_in_a_folder_and_reports_its_failure(tmp_path: Path) -> None:
    done = run("train", "--root", str(tmp_path))
    assert done.returncode == 1
    assert "hyperparameters" in (tmp_path / "output/failure").read_text()


# --- list


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
        "import sys; sys.argv = ['fusionzoo', 'list']; from fusionzoo.cli import app\n"
        "try: app()\n"
        f"finally: print([m for m in {slow_modules} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "multimodal_cnn" in done.stdout
    assert done.stderr.strip() == "[]"


def test_the_module_does_the_same_as_the_script() -> None:
    done = subprocess.run([*CLI, "list"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == run("list").stdout
    assert "Usage: fusionzoo " in subprocess.run([*CLI, "--help"], capture_output=True, text=True).stdout


def test_list_in_a_pipe_prints_aligned_plain_text_without_wrapping(install: Installer) -> None:
    install("acme-" + "long-" * 40 + "name", models=["film"])
    out = run("list", PYTHONPATH=str(install.folder), COLUMNS="40", FORCE_COLOR="1").stdout
    lines = out.splitlines()
    assert out.isascii()
    assert "\x1b" not in out
    (film,) = [line for line in lines if " film " in line]
    assert film.endswith("name  1.0")
    assert len({line.index(name) for line, name in zip(lines, ["name", "bert", "cnn", "film"], strict=False)}) == 1


def test_list_shows_a_broken_plugin_without_importing_it(install: Installer) -> None:
    install("acme-broken", models=["broken"], source="raise RuntimeError('imported')")
    done = run("list", "--json", PYTHONPATH=str(install.folder))
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
    done = run("list", PYTHONPATH=str(install.folder))
    assert done.returncode == 0
    notes = [line for line in done.stdout.splitlines() if line.startswith("note: ")]
    assert len(notes) == 3
    for text in ("acme-one 1.0 (acme_one), acme-two 2.0 (acme_two)", "acme_three-1.0", "acme_four-1.0"):
        assert any(text in note for note in notes)
    as_json = run("list", "--json", PYTHONPATH=str(install.folder))
    notes_by_name = {row["name"]: row["note"] for row in json.loads(as_json.stdout) if row["note"]}
    assert set(notes_by_name) == {"film", "gate"}
    assert "acme_four-1.0" in as_json.stderr


def test_names_that_cannot_be_printed_are_escaped(install: Installer) -> None:
    install("acme-odd", models={"fi\x1b[31mlm": "acme_odd"})
    out = run("list", PYTHONPATH=str(install.folder)).stdout
    assert r"fi\x1b[31mlm" in out
    assert "\x1b" not in out


def run_on_terminal(*arguments: str, **environment: str) -> str:
    """Return the output of a command that has a terminal as standard output."""
    reader, writer = pty.openpty()
    code = "import sys; from fusionzoo.cli import app; sys.argv[0] = 'fusionzoo'; app()"
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
    install("acme-film", models=["film"], source=settings_source(bracket='str = Field("", description="[bom] [b]x")'))
    out = run_on_terminal("list", PYTHONPATH=str(install.folder), COLUMNS="200", TERM="xterm")
    assert "│ multimodal_cnn" in out
    shown = run_on_terminal("show", "film", PYTHONPATH=str(install.folder), COLUMNS="200", TERM="xterm")
    assert "│ [bom] [b]x" in shown


# --- show


def settings_source(base: str = "ModelSettings", prologue: str = "", attribute: str = "", **fields: str) -> str:
    """Return the source of a plugin with these settings. `attribute` is a line of the settings class."""
    lines = [f"    {name}: {declaration}" for name, declaration in fields.items()]
    return "\n".join(
        [
            "import enum",
            "from collections.abc import Callable",
            "from typing import Literal",
            "from pydantic import BaseModel, Field",
            "from fusionzoo import hookimpl",
            "from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings",
            prologue,
            f"class Settings({base}):",
            '    """Settings."""',
            f"    {attribute}",
            *lines,
            "@hookimpl",
            "def settings_class(): return Settings",
            "@hookimpl",
            "def build_model(spec): return None",
            "@hookimpl",
            "def build_text_encoder(spec): return None",
        ]
    )


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def parse_table(output: str) -> dict[str, list[str]]:
    """Return the other cells of each line of an aligned table by its first cell."""
    cells = [re.split(r"  +", line.strip()) for line in output.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) > 1}


def test_show_describes_each_setting_in_plain_words(install: Installer) -> None:
    install(
        "acme-film",
        "2.0",
        models=["film"],
        source=settings_source(
            prologue="class Mode(str, enum.Enum):\n    fast = 'fast'\n    slow = 'slow'",
            attribute='paper = "Perez et al. 2018"',
            depth='int = Field(2, ge=1, le=16, description="Layers.")',
            widths='list[int] = Field(default_factory=lambda: [8, 8], min_length=1, description="Widths.")',
            mode='Mode = Field(Mode.fast, description="How.")',
            limit='float = Field(float("inf"), gt=0, description="At most.")',
            name='str = Field(min_length=1, description="No default.")',
        ),
    )
    done = invoke("show", "film")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "model_class film (acme-film 2.0)"
    assert parse_table(done.stdout) == {
        "paper": ["Perez et al. 2018"],
        "needs": ["text and table"],
        "reads": ["text and table"],
        "setting": ["default", "allowed values", "meaning"],
        "depth": ["2", "an integer from 1 to 16", "Layers."],
        "widths": ["[8, 8]", "a non-empty list of integers, like [1, 2]", "Widths."],
        "mode": ['"fast"', 'one of "fast", "slow"', "How."],
        "limit": ['"Infinity"', "a number above 0", "At most."],
        "name": ["required", "a non-empty string", "No default."],
    }


def test_show_as_json_prints_the_schema_and_the_attributes_of_the_class(install: Installer) -> None:
    printing = settings_source(
        "TextSettings", prologue="print('noise')", depth='int = Field(2, ge=1, description="Layers.")'
    )
    install("acme-film", models=["film"], source=printing)
    done = invoke("show", "film", "--json")
    (film,) = json.loads(done.stdout)
    assert film["settings"]["properties"]["depth"] == {
        "default": 2,
        "description": "Layers.",
        "minimum": 1,
        "title": "Depth",
        "type": "integer",
    }
    del film["settings"]
    assert film == {
        "kind": "model_class",
        "name": "film",
        "distribution": "acme-film",
        "version": "1.0",
        "paper": None,
        "needs": ["text"],
        "reads": ["text"],
    }


def test_show_of_a_name_of_both_kinds_shows_each_once() -> None:
    shown = json.loads(invoke("show", "cnn", "--json").stdout)
    assert [(entry["kind"], entry["name"]) for entry in shown] == [("model_class", "cnn"), ("text_encoder", "cnn")]


def test_show_of_a_model_with_one_encoder_also_shows_the_settings_of_the_encoder() -> None:
    tied, free = invoke("show", "multimodal_cnn").stdout, invoke("show", "multimodal_gate_fusion").stdout
    assert "text_encoder cnn (fusionzoo-cnn" in tied
    assert "kernel_size" in parse_table(tied)
    assert "any installed one: bert, cnn, lstm" in free
    assert "text_encoder cnn" not in free


def test_show_core_lists_the_settings_of_every_job_and_show_of_a_plugin_omits_them() -> None:
    done = invoke("show", "core", "--json")
    (core,) = json.loads(done.stdout)
    assert set(core["settings"]["properties"]) == set(JobSettings.model_fields)
    assert parse_table(invoke("show", "core").stdout)["batch_size"][1] == "an integer from 1 to 65536"
    assert "batch_size" not in invoke("show", "cnn").stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('boom')", "failed: RuntimeError: boom"),
        (settings_source(attribute='needs = "text"'), "`needs` of its settings is 'text'"),
        (settings_source(thing="Callable[[int], int] = abs"), "its settings have no JSON schema"),
        (settings_source().replace("return Settings", "raise KeyError('gone')"), "settings_class() raised KeyError"),
        (settings_source().replace("return Settings", "raise SystemExit"), "settings_class() raised SystemExit"),
    ],
)
def test_show_of_a_broken_plugin_is_an_error_without_a_stack_trace(
    install: Installer, source: str, message: str
) -> None:
    install("acme-film", models=["film"], source=source)
    done = invoke("show", "film")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "model_class 'film' from acme-film 1.0" in done.stderr.partition("\n")[0]
    assert message in done.stderr
    assert "Fix: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["show", "check"])
def test_an_unknown_name_is_an_error_with_a_suggestion(command: str) -> None:
    done = invoke(command, "multimodal_cn")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: No installed plugin provides model_class 'multimodal_cn'. Did you mean")


@pytest.mark.parametrize("arguments", [("show",), ("check",), ("new",), ("show", "cnn", "--nope"), ("nope",)])
def test_a_wrong_command_line_exits_with_status_2(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


# --- check


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the kit to two checks: these tests are about the command."""
    monkeypatch.setattr(checks, "PLUGIN_CHECKS", (check_package.check_metadata,))
    monkeypatch.setattr(checks, "ENCODER_CHECKS", ())
    monkeypatch.setattr(checks, "MODEL_CHECKS", (check_outputs.check_logits,))


@pytest.mark.usefixtures("few_checks")
def test_check_prints_a_line_per_result_and_a_summary() -> None:
    done = invoke("check", "cnn")
    assert done.exit_code == 0, done.stdout + done.stderr
    lines = [re.sub(r"\d+\.\d\d s$", "T", line) for line in done.stdout.splitlines()]
    assert lines[:-1] == [
        "model_class 'cnn'",
        "  passed  check_metadata T",
        "model_class 'cnn' with text encoder 'cnn'",
        "  passed  check_logits T",
        "text_encoder 'cnn'",
        "  passed  check_metadata T",
        "text_encoder 'cnn' in core's text classifier",
        "  passed  check_logits T",
    ]
    assert re.fullmatch(r"4 checks in \d+ s: 4 passed", lines[-1])


@pytest.mark.usefixtures("few_checks")
def test_check_of_a_faulty_plugin_prints_the_reason_and_exits_with_status_1(install: Installer) -> None:
    install("acme-film", models=["film"], source=settings_source("FusionSettings"))
    done = invoke("check", "film")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    position = next(i for i, line in enumerate(lines) if "failed  check_metadata" in line)
    assert "acme-film" in lines[position + 1]
    assert lines[position + 1].startswith("          ")
    assert lines[-1].endswith(": 2 failed")
    results = json.loads(invoke("check", "film", "--json").stdout)
    assert [(result["check"], result["status"]) for result in results] == [
        ("check_metadata", "failed"),
        ("check_logits", "failed"),
    ]
    assert all(result["detail"] and result["seconds"] >= 0 and "film" in result["subject"] for result in results)


@pytest.mark.usefixtures("few_checks")
def test_check_can_stop_at_the_first_failure(install: Installer) -> None:
    install("acme-film", models=["film"], source=settings_source("FusionSettings"))
    done = invoke("check", "film", "--fail-fast")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1].startswith("1 checks in ")
    assert len(json.loads(invoke("check", "film", "--fail-fast", "--json").stdout)) == 1


@pytest.mark.usefixtures("few_checks")
@pytest.mark.parametrize("name", ["check_logits", "logits"])
def test_check_can_run_only_some_checks(name: str) -> None:
    results = json.loads(invoke("check", "cnn", "--only", name, "--json").stdout)
    assert {result["check"] for result in results} == {"check_logits"}


def test_an_unknown_check_is_an_error_with_a_suggestion() -> None:
    done = invoke("check", "cnn", "--only", "check_logit")
    assert done.exit_code == 2
    assert "Did you mean" in done.stderr
    assert "check_logits" in done.stderr


def test_a_mistake_that_fails_many_checks_is_described_once(
    install: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PLUGIN_CHECKS", ())
    monkeypatch.setattr(checks, "MODEL_CHECKS", checks.MODEL_CHECKS[:8])
    source = settings_source("FusionSettings").replace("build_model(spec): return None", "build_model(spec): 1 / 0")
    install("acme-film", models=["film"], source=source)
    done = invoke("check", "film")
    failed = [line for line in done.stdout.splitlines() if line.startswith("  failed")]
    assert len(failed) == 8
    assert done.stdout.count("ZeroDivisionError") == 1
    assert all(line.endswith(": fails as check_logits does") for line in failed[1:])


RECORDING_MODEL = """
from torch import nn
class Model(nn.Module):
    def __init__(self, spec, settings, text_encoder):
        super().__init__()
        with open({file!r}, "a") as file:
            file.write(f"{{settings.depth}} {{settings.title}} {{type(text_encoder).__name__}} {{text_encoder.dim}}\\n")
        raise SystemExit
"""


@pytest.mark.usefixtures("few_checks")
def test_check_accepts_settings_of_the_model_and_of_its_text_encoder(install: Installer, tmp_path: Path) -> None:
    source = settings_source(
        "FusionSettings",
        prologue=RECORDING_MODEL.format(file=str(tmp_path / "record")),
        depth='int = Field(2, ge=1, description="Layers.")',
        title='str = Field("x", description="A text.")',
    ).replace(
        "build_model(spec): return None",
        "build_model(spec, settings, text_encoder): return Model(spec, settings, text_encoder)",
    )
    install("acme-film", models=["film"], source=source)
    pairs = ["depth=5", "title=7", "num_channels=[9]", "kernel_size=[3]"]
    done = invoke("check", "film", "--text-encoder", "cnn", *(part for pair in pairs for part in ("--set", pair)))
    assert done.exit_code == 1
    assert (tmp_path / "record").read_text().splitlines()[0] == "5 7 CnnEncoder 9"
    (tmp_path / "record").unlink()
    invoke("check", "film")
    assert (tmp_path / "record").read_text().splitlines()[0] == "2 x ReferenceEncoder 16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "kernel_sise=[3]"], "write kernel_size"),
        (["--text-encoder", "lstm"], "text_encoder"),
    ],
)
def test_check_fails_for_wrong_settings(arguments: list[str], message: str) -> None:
    done = invoke("check", "multimodal_cnn", *arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_a_setting_without_a_value_is_a_wrong_command_line() -> None:
    assert invoke("check", "cnn", "--set", "depth").exit_code == 2
