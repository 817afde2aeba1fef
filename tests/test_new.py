"""`fusionzoo new` writes a complete plugin: without changes, it installs, trains, and passes checks, mypy and ruff."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement

from conftest import Installer
from fusionzoo import __version__, conformance
from fusionzoo.registry.providers import core_version_bounds
from fusionzoo.registry.scaffold import MAX_NAME_CHARACTERS, WrittenPlugin, write_plugin

ROOT = Path(__file__).parents[1]
EITHER = pytest.mark.parametrize("is_encoder", [False, True], ids=["fusion", "encoder"])


def run_fusionzoo(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "fusionzoo.cli", *map(str, arguments)],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def read_project(plugin: WrittenPlugin) -> dict[str, object]:
    table: dict[str, object] = tomli.loads((plugin.folder / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def install_plugin(plugin: WrittenPlugin, install: Installer) -> dict[str, dict[str, str]]:
    """Install the generated plugin `tiny`, and return its entry points by group."""
    points = read_project(plugin)["entry-points"]
    assert isinstance(points, dict)
    install(
        "fusionzoo-tiny",
        source=(plugin.folder / "fusionzoo_tiny.py").read_text("utf-8"),
        models=points["fusionzoo.models"],
        text_encoders=points.get("fusionzoo.text_encoders", {}),
        requires=["fusionzoo>=0.1,<0.2"],
    )
    return points


# --- the generated plugin works without changes


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["tiny_idea"], ["multimodal_tiny_idea"]),
        (["tiny_words", "--encoder"], ["tiny_words", "multimodal_tiny_words"]),
    ],
    ids=["fusion", "encoder"],
)
@pytest.mark.usefixtures("forked_checks")
def test_a_new_plugin_is_installed_by_pip_and_passes_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], names: list[str]
) -> None:
    made = run_fusionzoo("new", *arguments, "--json", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)
    assert document["names"] == names
    assert sorted(document["files"]) == sorted(
        str(path.relative_to(tmp_path / document["folder"]))
        for path in (tmp_path / document["folder"]).rglob("*")
        if path.is_file()
    )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    target = ["--no-build-isolation", "--target", str(tmp_path / "site"), str(tmp_path / document["folder"])]
    subprocess.run([*pip, *target], check=True, capture_output=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in names:
        results = list(conformance.check_plugin(name))
        assert [one for one in results if one.status != "passed"] == []
        assert len(results) >= 25


@EITHER
def test_the_generated_test_file_runs_the_conformance_kit(tmp_path: Path, install: Installer, is_encoder: bool) -> None:
    made = write_plugin("tiny", tmp_path, is_encoder)
    points = install_plugin(made, install)
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=made.folder,
        env={**os.environ, "PYTHONPATH": str(install.folder)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("check_metadata") == sum(map(len, points.values()))


@EITHER
@pytest.mark.parametrize("name", ["a", "fusion", "text", "z" * MAX_NAME_CHARACTERS])
@pytest.mark.parametrize("width", [88, 120])
def test_the_generated_files_are_formatted_for_any_name_and_width(
    tmp_path: Path, name: str, is_encoder: bool, width: int
) -> None:
    made = write_plugin(name, tmp_path, is_encoder)
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--no-cache", "--line-length", str(width), str(made.folder)]
    done = subprocess.run([*ruff, "format", "--diff", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    linted = subprocess.run([*ruff, "check", *options], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


def test_the_generated_plugin_passes_mypy_strict(tmp_path: Path) -> None:
    modules = [
        next((write_plugin(name, tmp_path, is_encoder).folder).glob("fusionzoo_*.py"))
        for name, is_encoder in (("fusion", False), ("model", True))
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache", *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@EITHER
def test_the_generated_readme_links_only_to_existing_files_and_public_addresses(
    tmp_path: Path, is_encoder: bool
) -> None:
    made = write_plugin("tiny", tmp_path, is_encoder)
    text = (made.folder / "README.md").read_text("utf-8")
    links = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"<(https?://[^>]+)>", text)]
    assert links
    for link in links:
        known = link.startswith("https://arxiv.org/abs/") or (made.folder / link.partition("#")[0]).is_file()
        assert known, f"{link} is neither a file of the plugin nor an address whose form is known to exist"
    named = re.findall(r"`([\w./]+\.(?:md|py|toml))`|`(LICENSE)`", text)
    assert all((made.folder / (file or license_file)).is_file() for file, license_file in named)


@EITHER
def test_the_generated_plugin_has_a_license_file(tmp_path: Path, is_encoder: bool) -> None:
    made = write_plugin("tiny", tmp_path, is_encoder)
    assert (made.folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert read_project(made)["license"] == {"text": "Apache-2.0"}


@EITHER
def test_the_generated_requirements_have_the_bounds_of_core(tmp_path: Path, is_encoder: bool) -> None:
    needed = read_project(write_plugin("tiny", tmp_path, is_encoder))["dependencies"]
    assert isinstance(needed, list)
    core = tomli.loads((ROOT / "core/pyproject.toml").read_text("utf-8"))
    extras = core["project"]["optional-dependencies"]
    same = {Requirement(line).name: line for line in [*core["project"]["dependencies"], *extras["train"]]}
    own = {Requirement(line).name: line for line in needed}
    assert own.pop("fusionzoo") == core_version_bounds()
    if not is_encoder:
        assert own.pop("fusionzoo-bert") == core_version_bounds().replace("fusionzoo[train]", "fusionzoo-bert")
    assert own == {name: same[name] for name in ("torch", "pydantic")}
    assert Requirement(core_version_bounds()).specifier.contains(__version__)


@EITHER
def test_the_generated_readme_has_every_setting_and_its_default(
    tmp_path: Path, install: Installer, is_encoder: bool
) -> None:
    made = write_plugin("tiny", tmp_path, is_encoder)
    install_plugin(made, install)
    shown = run_fusionzoo("show", made.names[0], "--json", folder=tmp_path, PYTHONPATH=str(install.folder))
    readme = (made.folder / "README.md").read_text("utf-8")
    rows = [line.split("|") for line in readme.splitlines() if line.startswith("| `")]
    documented = {
        name.strip(" `"): default.strip(" `")
        for _, names, defaults, *_ in rows
        for name, default in zip(names.split(","), defaults.split(","), strict=True)
    }
    for one in json.loads(shown.stdout):
        for name, schema in one["settings"]["properties"].items():
            assert documented[name] == str(schema["default"]), name


# --- names and places


def test_a_fusion_may_be_named_with_its_prefix(tmp_path: Path) -> None:
    made = write_plugin("multimodal_tiny", tmp_path, is_encoder=False)
    assert made.names == ("multimodal_tiny",)
    assert made.folder.name == "fusionzoo-tiny"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MyIdea", "Fix: choose a name like 'my_idea'."),
        ("my-idea", "Fix: choose a name like 'my_idea'."),
        ("2nd", "Fix: choose a name like 'nd'."),
        ("a__b", "Fix: choose a name like 'a_b'."),
        ("../up", "Fix: choose a name like 'up'."),
        ("é", "is not a valid name for an architecture"),
        ("a\n", "is not a valid name for an architecture"),
        ("x" * (MAX_NAME_CHARACTERS + 1), f"at most {MAX_NAME_CHARACTERS} characters"),
        ("class", "is a keyword of Python"),
        ("multimodal_import", "is a keyword of Python"),
        ("cnn", "model_class 'multimodal_cnn' is already provided by fusionzoo-cnn 0.1.0"),
        ("multimodal_moe", "model_class 'multimodal_moe' is already provided by fusionzoo-moe"),
        ("taken", "A module 'fusionzoo_taken' is already"),
    ],
)
def test_an_invalid_name_is_an_error_and_nothing_is_written(
    tmp_path: Path, install: Installer, name: str, said: str
) -> None:
    (install.folder / "fusionzoo_taken.py").write_text("")
    done = run_fusionzoo("new", name, folder=tmp_path, PYTHONPATH=str(install.folder))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_encoder_with_the_name_of_an_installed_one_is_an_error(tmp_path: Path, install: Installer) -> None:
    install("acme-words", text_encoders=["words"])
    done = run_fusionzoo("new", "words", "--encoder", folder=tmp_path, PYTHONPATH=str(install.folder))
    assert done.returncode == 1
    assert "text_encoder 'words' is already provided by acme-words 1.0" in done.stderr
    assert run_fusionzoo("new", "words", folder=tmp_path, PYTHONPATH=str(install.folder)).returncode == 0


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "fusionzoo-tiny").mkdir()
    (tmp_path / "fusionzoo-tiny/mine.txt").write_text("mine")
    done = run_fusionzoo("new", "tiny", folder=tmp_path)
    assert done.returncode == 1
    assert "fusionzoo-tiny already exists" in done.stderr
    assert [path.name for path in (tmp_path / "fusionzoo-tiny").iterdir()] == ["mine.txt"]


def test_an_unwritable_folder_is_an_error_without_a_stack_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_fusionzoo("new", "tiny", "--folder", "file", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Fix: " in done.stderr


def test_the_printed_commands_work_for_a_folder_with_a_space(tmp_path: Path) -> None:
    done = run_fusionzoo("new", "tiny", "--folder", "my plugins", folder=tmp_path)
    assert done.returncode == 0
    assert "  pip install -e 'my plugins/fusionzoo-tiny'\n  fusionzoo check multimodal_tiny\n" in done.stdout
    assert (tmp_path / "my plugins/fusionzoo-tiny/pyproject.toml").exists()
