"""docs/deploy.md and the tour of the README: their commands run. test_deploy_aws.py runs the programs for AWS."""

from __future__ import annotations

import configparser
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from cli_helpers import invoke
from fusionzoo.cli.commands import app
from page_commands import DockerRun, read_blocks, read_commands
from prediction_helpers import read_test_rows
from server_process import run_command
from shop import JobFolder

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/deploy.md"
COMMANDS = vars(typer.main.get_command(app))["commands"]
PROGRAM = Path(sys.executable).with_name("fusionzoo")


def list_arguments(text: str) -> dict[str, str]:
    """Return the build arguments in the table of the page: their defaults by name."""
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| (.+?) \|", text, re.MULTILINE)
    return {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}


@pytest.mark.skipif(importlib.util.find_spec("e2b_dockerfile_utils") is None, reason="the parser needs Python 3.11")
def test_the_page_lists_the_build_arguments_and_uses_no_other() -> None:
    from image_builder import Dockerfile

    dockerfile = Dockerfile(ROOT / "Dockerfile")
    steps = [step for stage in dockerfile.stages.values() for step in stage.instructions if step.name == "ARG"]
    declared = {*dockerfile.arguments, *(step.args[0].partition("=")[0] for step in steps)}
    assert list_arguments(PAGE.read_text("utf-8")).keys() == declared
    for line in read_commands(PAGE, "docker build"):
        words = shlex.split(line)
        assert words[words.index("--target") + 1] in dockerfile.stages
        given = [words[place + 1].partition("=")[0] for place, word in enumerate(words) if word == "--build-arg"]
        assert set(given) <= declared, line


def test_the_page_runs_and_pushes_images_that_it_builds() -> None:
    builds = [shlex.split(line) for line in read_commands(PAGE, "docker build")]
    built = {words[words.index("-t") + 1] for words in builds}
    runs = [DockerRun.parse(line) for line in read_commands(PAGE, "docker run")]
    assert {run.image for run in runs} == {"fusionzoo-train", "fusionzoo-serve"} <= built
    for run in runs:
        if run.arguments:
            COMMANDS[run.arguments[0]].make_context(run.arguments[0], list(run.arguments[1:]))
    tags = [shlex.split(line)[2:] for line in read_commands(PAGE, "docker tag")]
    assert {local for local, _ in tags} <= built
    assert {remote for _, remote in tags} == {shlex.split(line)[2] for line in read_commands(PAGE, "docker push")}
    registry = re.findall(r'^registry = "(.+)"$', PAGE.read_text("utf-8"), re.MULTILINE)[0]
    used = re.findall(r'f"\{registry\}(/[^"]+)"', PAGE.read_text("utf-8"))
    assert {f"{registry}{name}" for name in used} == {remote for _, remote in tags}


def test_the_service_and_the_commands_without_containers_run(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fusionzoo train --root` is what trained the job."""
    train, serve, predict, package = (shlex.split(line) for line in read_commands(PAGE, "fusionzoo "))
    COMMANDS["train"].make_context("train", train[2:])
    (tmp_path / "my-job").symlink_to(trained_job.root)
    monkeypatch.chdir(tmp_path)
    read_test_rows(trained_job).to_csv("new.csv", index=False)
    done = invoke(*predict[1:])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "predictions.csv").exists()
    assert invoke(*package[1:]).exit_code == 0
    assert (tmp_path / "model.tar.gz").exists()
    COMMANDS["serve"].make_context("serve", serve[2:])
    service = configparser.ConfigParser()
    service.read_string(read_blocks(PAGE, "ini")[0])
    words = shlex.split(service["Service"]["ExecStart"])
    replaced = {"/opt/fusionzoo/bin/fusionzoo": str(PROGRAM), "/srv/model": "my-job/model", "8080": "0"}
    with run_command([replaced.get(word, word) for word in words], tmp_path) as running:
        (curl,) = read_commands(PAGE, "curl")
        address = curl.replace("localhost:8080", f"127.0.0.1:{running.port}").replace("curl", "curl -sS --fail")
        answer = subprocess.run(address, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.splitlines()) == len((tmp_path / "new.csv").read_text().splitlines())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_service(tmp_path: Path) -> None:
    unit = read_blocks(PAGE, "ini")[0].replace("/opt/fusionzoo/bin/fusionzoo", str(PROGRAM))
    (tmp_path / "fusionzoo.service").write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "fusionzoo.service")], capture_output=True, text=True
    )
    assert "fusionzoo.service" not in done.stderr, done.stderr
