"""The Dockerfile, its build context and its requirements, without building it: test_image_build.py builds it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import importlib_metadata
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from server_process import run_command
from shop import JobFolder

if importlib.util.find_spec("e2b_dockerfile_utils") is None:
    pytest.skip("e2b-dockerfile-utils, which parses the Dockerfile, needs Python 3.11", allow_module_level=True)
from image_builder import Dockerfile

ROOT = Path(__file__).parents[1]
DOCKERFILE = Dockerfile(ROOT / "Dockerfile")
TARGETS = ("serve", "train")
LINE = re.compile(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def read_hashed(name: str) -> dict[str, str]:
    """Return the versions of a file of hashed requirements, after a check that it has nothing else."""
    text = (ROOT / f"requirements/{name}.txt").read_text("utf-8")
    assert LINE.sub("", text).startswith("#")
    assert not re.search("^[^#]", LINE.sub("", text), re.MULTILINE), "every requirement has a version and hashes"
    return {canonicalize_name(package): version for package, version, _ in LINE.findall(text)}


def read_constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in pins}


def collect_dependencies(requirement: str) -> set[str]:
    """Return the names of the installed packages that a requirement needs, directly or not, without fusionzoo."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(requirement)]
    while waiting:
        wanted = waiting.pop()
        for extra in {"", *wanted.extras}:
            key = (canonicalize_name(wanted.name), extra)
            if key in found:
                continue
            found.add(key)
            for line in importlib_metadata.requires(wanted.name) or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return {name for name, _ in found if not name.startswith("fusionzoo")}


@pytest.mark.parametrize("name", ["build", "serve", "train"])
def test_the_images_install_the_versions_that_ci_tests(name: str) -> None:
    constraints = read_constraints()
    hashed = read_hashed(name)
    assert hashed == {package: constraints.get(package) for package in hashed}, "run: make requirements"


@pytest.mark.parametrize(
    ("name", "requirement"),
    [("build", "hatchling"), ("serve", "fusionzoo[serve]"), ("train", "fusionzoo[train,serve,peft]")],
)
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the images have Python 3.11")
def test_the_images_install_what_pyproject_requires_and_nothing_else(name: str, requirement: str) -> None:
    if (installed := importlib_metadata.version("torch")) != f"{read_constraints()['torch']}+cpu":
        pytest.skip(f"the installed torch, {installed}, is not the CPU build that the images have")
    assert set(read_hashed(name)) == collect_dependencies(requirement), "run: make requirements"


def test_the_serve_image_has_no_torch() -> None:
    assert not {"torch", "lightning", "transformers"} & read_hashed("serve").keys()


def test_every_base_is_pinned_by_its_digest() -> None:
    for stage in DOCKERFILE.stages.values():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", stage.base), stage.name


def test_a_build_argument_replaces_the_base_of_training_alone() -> None:
    stages = Dockerfile(ROOT / "Dockerfile", TRAIN_BASE="pytorch/pytorch:2").stages
    assert stages["train"].base == "pytorch/pytorch:2"
    assert stages["serve"].base == stages["wheels"].base == DOCKERFILE.arguments["BASE"]


def test_every_installation_is_limited_to_hashes_local_wheels_or_constraints() -> None:
    steps = [step for stage in DOCKERFILE.stages.values() for step in stage.instructions if step.name == "RUN"]
    commands = [part for step in steps for part in re.split("&&|;", step.args[0]) if "pip install" in part]
    assert len(commands) == 6
    for command in commands:
        assert re.search("--require-hashes .*-r |--no-index --no-deps|-c constraints.txt", command), command


@pytest.mark.parametrize("target", TARGETS)
def test_a_build_fails_if_packages_do_not_fit_together(target: str) -> None:
    commands = [step.args[0] for step in DOCKERFILE.stages[target].instructions if step.name == "RUN"]
    assert re.search(r"&&\s+python -m pip check && fusionzoo doctor$", commands[-1])


def test_the_build_context_has_only_what_the_images_copy() -> None:
    files = DOCKERFILE.list_context()
    steps = [step for stage in DOCKERFILE.stages.values() for step in stage.instructions if step.name == "COPY"]
    sources = {source for step in steps if not step.flags for source in step.args[:-1]}
    scripts = {path.name for path in ROOT.glob("*.py")}
    assert "*.py" in sources
    assert {file for file in files if "/" not in file} == {*scripts, "constraints.txt"}
    assert {file.partition("/")[0] for file in files if "/" in file} == {"core", "plugins", "requirements"}
    assert {source.partition("/")[0] for source in sources} - {"*.py"} == {
        "constraints.txt",
        "core",
        "inference.py",
        "plugins",
        "requirements",
    }
    assert not [file for file in files if "__pycache__" in file or ".venv" in file]


def test_the_images_train_and_serve_with_the_arguments_of_sagemaker() -> None:
    """test_cli.py compares `fusionzoo train` with train.py."""
    for target in TARGETS:
        image = DOCKERFILE.read_image(target)
        assert image.start_command() == ["fusionzoo", target]
        assert image.start_command("train") == ["fusionzoo", "train"]
        assert image.labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"


def test_sagemaker_gets_root_and_others_choose_the_user() -> None:
    assert {DOCKERFILE.read_image(target).user for target in TARGETS} == {"root"}
    assert Dockerfile(ROOT / "Dockerfile", RUN_AS="1000").read_image("serve").user == "1000"


def test_labels_name_the_version_and_revision_of_the_build() -> None:
    labels = Dockerfile(ROOT / "Dockerfile", VERSION="1.2", REVISION="abc").read_image("train").labels
    names = ("title", "description", "licenses", "version", "revision")
    values = [labels[f"org.opencontainers.image.{name}"] for name in names]
    assert values == [
        "fusionzoo-train",
        "Trains and serves models over text and tabular data",
        "Apache-2.0",
        "1.2",
        "abc",
    ]


def test_the_image_serves_the_model_that_sagemaker_mounts(trained_job: JobFolder, tmp_path: Path) -> None:
    image = DOCKERFILE.read_image("serve")
    program, *arguments = image.start_command("serve")
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    places = {"SAGEMAKER_BASE_DIR": str(trained_job.root), "SAGEMAKER_BIND_TO_PORT": "0"}
    variables = {name: value for name, value in image.environment.items() if name.startswith("FUSIONZOO_")}
    with run_command(command, tmp_path, **places, **variables) as running:
        assert "Listening at: http://0.0.0.0:" in running.log.read_text(), "reachable from outside the container"
        assert running.request("GET", "/ping") == (200, b"")


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Answer every request with a status; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ping" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("variable", ["SAGEMAKER_BIND_TO_PORT", "FUSIONZOO_SERVE_PORT"])
def test_the_health_check_succeeds_while_the_server_is_healthy_only(variable: str) -> None:
    _, *arguments = DOCKERFILE.read_image("serve").health_check
    for status, code in ((200, 0), (503, 1)):
        with answering(status) as port:
            check = subprocess.run([sys.executable, *arguments], env={variable: str(port)}, capture_output=True)
        assert check.returncode == code
    assert subprocess.run([sys.executable, *arguments], env={variable: str(port)}, capture_output=True).returncode == 1
