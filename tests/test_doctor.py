"""`fusionzoo doctor` finds the problems of installed plugins, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import Installer
from fusionzoo import __version__
from fusionzoo.cli.commands import app
from fusionzoo.registry import doctor
from fusionzoo.registry.doctor import Finding, examine_environment
from fusionzoo.registry.fresh_python import kill_if_running, start_function

CORE_REQUIREMENT = ["fusionzoo>=0.1,<0.2"]
VALID = """
from fusionzoo import hookimpl
from fusionzoo.settings import ModelSettings
class Settings(ModelSettings):
    pass
@hookimpl
def settings_class():
    return Settings
@hookimpl
def build_model(spec):
    return None
@hookimpl
def build_text_encoder(spec):
    return None
"""


def run_doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fusionzoo.cli", "doctor", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def find_problems(install: Installer, seconds: float = 120) -> list[Finding]:
    """Return the findings about the plugins of this test."""
    return [one for report in examine_environment(seconds, [str(install.folder)]) for one in report.findings]


def find_only_problem(install: Installer, seconds: float = 120) -> Finding:
    (finding,) = find_problems(install, seconds)
    return finding


# --- everything that is installed


def test_doctor_finds_no_problem_in_this_environment_and_prints_versions() -> None:
    done = run_doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    first, *lines, last = done.stdout.splitlines()
    assert f"fusionzoo {__version__}" in first
    assert ", torch 2." in first
    assert ", fusionzoo-moe 0.1.0" in first
    assert "ok     fusionzoo-cnn 0.1.0: model_class cnn, model_class multimodal_cnn, text_encoder cnn" in lines
    assert all(line.startswith("ok ") for line in lines)
    assert last == f"no problems in {len(lines)} examined"


def test_one_broken_plugin_is_the_only_finding_and_the_status_is_1(
    install: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-film", models=["film"], source="print('noise')\nimport nowhere", requires=CORE_REQUIREMENT)
    monkeypatch.setattr(doctor, "examine_environment", partial(examine_environment, path=[str(install.folder)]))
    done = CliRunner().invoke(app, ["doctor", "--json"])  # without the other plugins, which the test above examines
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert document["versions"]["acme-film"] == "1.0"
    (finding,) = document["findings"]
    assert finding.pop("problem") == (
        "Importing model_class 'film' from acme-film 1.0 (acme_film) failed: ModuleNotFoundError: "
        "No module named 'nowhere'. The error is in acme-film 1.0 or in a package that it imports, not in fusionzoo."
    )
    assert finding == {
        "kind": "model_class",
        "name": "film",
        "distribution": "acme-film",
        "version": "1.0",
        "remedy": "pip install the package that has the module 'nowhere', and list it in the dependencies of acme-film "
        "1.0. [FZ-P008]",
    }


def test_a_valid_plugin_has_no_finding(install: Installer) -> None:
    install("acme-film", models=["film"], text_encoders=["film"], source=VALID, requires=CORE_REQUIREMENT)
    (report,) = examine_environment(120, [str(install.folder)])
    assert report.subject == "acme-film 1.0: model_class film, text_encoder film"
    assert report.findings == ()


# --- names and metadata


def test_a_name_of_two_valid_plugins_is_a_finding(install: Installer) -> None:
    install("acme-one", models=["film"], source=VALID, requires=CORE_REQUIREMENT)
    install("acme-two", "2.0", models=["film"], source=VALID, requires=CORE_REQUIREMENT)
    finding = find_only_problem(install)
    assert (finding.kind, finding.name, finding.distribution) == ("model_class", "film", "acme-one, acme-two")
    assert "is provided by 2 installed distributions: acme-one 1.0 (acme_one), acme-two 2.0" in finding.problem
    assert finding.remedy.startswith("set model_class to one of them")


def test_both_providers_of_a_name_are_loaded(install: Installer) -> None:
    install("acme-one", models=["film"], source="1 / 0", requires=CORE_REQUIREMENT)
    install("acme-two", models=["film"], source="[][0]", requires=CORE_REQUIREMENT)
    problems = [finding.problem for finding in find_problems(install)]
    assert len(problems) == 3
    assert any("ZeroDivisionError" in problem and "acme-one" in problem for problem in problems)
    assert any("IndexError" in problem and "acme-two" in problem for problem in problems)


def test_unreadable_metadata_is_a_finding(install: Installer) -> None:
    (install("acme-film", models=["film"], source=VALID) / "METADATA").write_text("")
    (install("acme-gate", models=["gate"], source=VALID) / "entry_points.txt").write_bytes(b"\xff[fusionzoo.models]")
    gate, film = find_problems(install)
    assert (gate.kind, gate.name) == ("distribution", "acme_gate-1.0.dist-info")
    assert "entry points that cannot be read" in gate.problem
    assert (film.name, film.version) == ("film", "")
    assert "cannot be read: it has no name" in film.problem


@pytest.mark.parametrize(
    ("group", "suggestion"),
    [
        ("fusionzoo.model", "fusionzoo.models"),
        ("fusionzoo_models", "fusionzoo.models"),
        ("fusion_zoo.models", "fusionzoo.models"),
        ("FusionZoo.Models", "fusionzoo.models"),
        ("fuzionzoo.models", "fusionzoo.models"),
        ("fusionzoo.text-encoders", "fusionzoo.text_encoders"),
        ("fusionzoo.text_encoder", "fusionzoo.text_encoders"),
        ("fusionzoo.plugins", "fusionzoo.models"),
    ],
)
def test_a_misspelled_entry_point_group_is_a_finding(install: Installer, group: str, suggestion: str) -> None:
    folder = install("acme-film", models=["film"], source=VALID, requires=CORE_REQUIREMENT)
    file = folder / "entry_points.txt"
    file.write_text(file.read_text().replace("[fusionzoo.models]", f"[{group}]"))
    finding = find_only_problem(install)
    assert (finding.kind, finding.distribution, finding.version) == ("distribution", "acme-film", "1.0")
    assert f"'{group}', which fusionzoo does not read. Nothing finds film." in finding.problem
    assert f"rename the group to {suggestion}" in finding.remedy


@pytest.mark.parametrize("group", ["console_scripts", "pytest11", "acme.models", "models"])
def test_groups_of_other_libraries_are_no_finding(install: Installer, group: str) -> None:
    folder = install("acme-film", models=["film"], source=VALID, requires=CORE_REQUIREMENT)
    file = folder / "entry_points.txt"
    file.write_text(file.read_text() + f"\n[{group}]\nother = acme_film\n")
    assert find_problems(install) == []


OWN_LINE = "in acme-film 1.0, correct "


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("x = 1\ndef f(:\n", f"{OWN_LINE}{{folder}}/acme_film.py, line 2."),
        ("def f():\nreturn 1\n", f"{OWN_LINE}{{folder}}/acme_film.py, line 2."),
        ("x = 1\n\n1 / 0\n", f"{OWN_LINE}{{folder}}/acme_film.py, line 3."),
        ("raise ValueError('no')\n", f"{OWN_LINE}{{folder}}/acme_film.py, line 1."),
        (
            "import nowhere\n",
            "pip install the package that has the module 'nowhere', and list it in the dependencies of",
        ),
        ("import torch.nowhere\n", "pip install --upgrade acme-film"),
        ("from fusionzoo.settings import Nothing\n", "pip install --upgrade acme-film"),
        ("import acme_library\n", "pip install --upgrade acme-film"),
    ],
)
def test_the_fix_of_a_failed_import_names_the_package_that_raised_the_error(
    install: Installer, source: str, remedy: str
) -> None:
    install("acme-library", source="1 / 0\n")
    install("acme-film", models=["film"], source=source, requires=CORE_REQUIREMENT)
    finding = find_only_problem(install)
    assert finding.remedy.startswith(remedy.format(folder=install.folder)), finding.remedy


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("acme_flim", "its entry point, or the list of files in its wheel: it has no module 'acme_flim'"),
        ("acme_film.sub", "its entry point, or the list of files in its wheel: it has no module 'acme_film.sub'"),
        ("acme_film:plugin", "its entry point: module 'acme_film' has no 'plugin'"),
        ("", "its entry point: '' is not MODULE or MODULE:OBJECT"),
        ("acme film!", "its entry point: 'acme film!' is not MODULE or MODULE:OBJECT"),
    ],
)
def test_the_fix_for_an_entry_point_without_a_target_is_a_change_of_the_plugin(
    install: Installer, value: str, remedy: str
) -> None:
    folder = install("acme-film", models=["film"], source=VALID, requires=CORE_REQUIREMENT)
    file = folder / "entry_points.txt"
    file.write_text(file.read_text().replace("= acme_film", f"= {value}"))
    assert find_only_problem(install).remedy.startswith(OWN_LINE + remedy)


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        ([], "it does not require fusionzoo"),
        (["fusionzoo"], "it requires fusionzoo without an upper bound"),
        (["fusionzoo>=0.1"], "it requires fusionzoo>=0.1 without"),
        (["fusionzoo!=0.0.1"], "without an upper bound"),
        (["fusionzoo<0.2; python_version < '3'"], "it does not require fusionzoo"),
    ],
)
def test_a_requirement_on_core_without_an_upper_bound_is_a_finding(
    install: Installer, requires: list[str], expected: str
) -> None:
    install("acme-film", models=["film", "gate"], source=VALID, requires=requires)
    finding = find_only_problem(install)
    assert expected in finding.problem
    assert finding.remedy == "in acme-film 1.0, require 'fusionzoo[train]>=0.1,<0.2'. [FZ-P005]"


@pytest.mark.parametrize("bounded", ["fusionzoo<1", "fusionzoo<=0.1.0", "FusionZoo~=0.1", "fusionzoo==0.1.*"])
def test_any_upper_bound_is_accepted(install: Installer, bounded: str) -> None:
    install("acme-film", models=["film"], source=VALID, requires=[bounded])
    assert find_problems(install) == []


def test_unmet_requirements_are_one_finding_and_the_plugin_is_not_imported(install: Installer) -> None:
    install("acme-film", models=["film", "tower"], source="1 / 0", requires=["fusionzoo>=7,<8"])
    install("acme-gate", models=["gate"], source="1 / 0", requires=[*CORE_REQUIREMENT, "no-such-package>=1"])
    film, gate = find_problems(install)
    assert "was built for fusionzoo<8,>=7" in film.problem
    assert "no-such-package>=1 (not installed)" in gate.problem


# --- the import


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os; os._exit(7)", "ended with status 7"),
        ("import os; os._exit(0)", "ended with status 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by signal 11 (Segmentation fault)"),
        ("print('the last', 'words', flush=True); import os; os._exit(1)", "Its last line of output: the last words"),
        ("raise KeyboardInterrupt", "was killed by signal 2 (Interrupt)"),
        ("raise SystemExit(0)", "failed: SystemExit: 0"),
        ("import atexit, os; atexit.register(os._exit, 9)\n" + VALID, "ended with status 9"),
        ("", "it lacks settings_class(), build_model()"),
        (VALID.replace("return Settings", "return dict"), "which is not a subclass of ModelSettings"),
        (VALID.replace("return Settings", "raise OSError('gone')"), "settings_class() raised OSError: gone"),
        (VALID.replace("    pass", "    lr: float = 1.0"), "belong to fusionzoo: lr"),
        (VALID.replace("(spec)", "(specs)"), "parameters that fusionzoo does not pass"),
    ],
)
def test_a_failed_import_is_a_finding(install: Installer, source: str, expected: str) -> None:
    install("acme-film", models=["film"], source=source, requires=CORE_REQUIREMENT)
    finding = find_only_problem(install)
    assert expected in finding.problem
    assert finding.remedy
    assert "--timeout" not in finding.remedy


def test_an_import_that_never_ends_is_a_finding_and_its_child_processes_are_killed(
    install: Installer, tmp_path: Path
) -> None:
    started = tmp_path / "pid"
    source = f"""
    import subprocess, time
    from pathlib import Path
    Path({str(started)!r}).write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
    while True:
        time.sleep(1)
    """
    install("acme-film", models=["film"], source=source, requires=CORE_REQUIREMENT)
    finding = find_only_problem(install, seconds=5)
    assert "did not end within 5 seconds" in finding.problem
    assert "if the machine is busy or slow, wait longer: fusionzoo doctor --timeout 600." in finding.remedy
    assert "in acme-film 1.0, let the import and settings_class() only define things. [FZ-P020]" in finding.remedy
    child = Path(f"/proc/{started.read_text()}/stat")
    for _ in range(200):  # until the system has removed it
        if not child.exists() or ") Z " in child.read_text():
            return
        time.sleep(0.05)
    pytest.fail("the program that the import started still runs")


def test_after_a_plugin_exits_its_process_the_other_names_are_still_loaded(install: Installer) -> None:
    source = f"""{VALID}
class Ends:
    @hookimpl
    def settings_class(self):
        import os
        os._exit(3)
    @hookimpl
    def build_model(self, spec):
        return None
ends = Ends()
wrong = object()
"""
    values = {"a": "acme_film", "b": "acme_film:ends", "c": "acme_film:wrong", "d": "acme_film"}
    install("acme-film", models=values, source=source, requires=CORE_REQUIREMENT)
    assert {finding.name: "status 3" in finding.problem for finding in find_problems(install)} == {
        "b": True,
        "c": False,
    }


def test_a_plugin_cannot_forge_results_in_its_output(install: Installer) -> None:
    install(
        "acme-film",
        models=["film"],
        source="print('null', flush=True)\nimport os; os._exit(0)",
        requires=CORE_REQUIREMENT,
    )
    assert "ended with status 0" in find_only_problem(install).problem


def test_a_file_in_the_working_folder_does_not_replace_a_module_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    process = start_function("pprint", "pprint", {"answer": 42}, tmp_path / "log.txt")
    assert process.wait(60) == 0
    assert "'answer': 42" in (tmp_path / "log.txt").read_text()
    assert not kill_if_running(process)
