"""`fusionzoo check`: results, exit status, and settings of the checked plugin."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli_helpers import invoke, make_plugin_source
from conftest import Installer
from fusionzoo.conformance import check_outputs, check_package, checks


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the kit to two checks: these tests are about the command."""
    monkeypatch.setattr(checks, "PLUGIN_CHECKS", (check_package.check_metadata,))
    monkeypatch.setattr(checks, "ENCODER_CHECKS", ())
    monkeypatch.setattr(checks, "MODEL_CHECKS", (check_outputs.check_logits,))
    monkeypatch.setattr(checks, "TASK_CHECKS", ())


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
    install("acme-film", models=["film"], source=make_plugin_source("FusionSettings"))
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
    install("acme-film", models=["film"], source=make_plugin_source("FusionSettings"))
    done = invoke("check", "film", "--fail-fast")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1].startswith("1 check in ")
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
    monkeypatch.setattr(checks, "TASK_CHECKS", ())
    source = make_plugin_source("FusionSettings").replace("build_model(spec): return None", "build_model(spec): 1 / 0")
    install("acme-film", models=["film"], source=source)
    done = invoke("check", "film")
    failed = [line for line in done.stdout.splitlines() if line.startswith("  failed")]
    assert len(failed) == 8
    assert done.stdout.count("ZeroDivisionError") == 1
    first = checks.MODEL_CHECKS[0].__name__
    assert all(line.endswith(f": fails as {first} does") for line in failed[1:])


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
    source = make_plugin_source(
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
