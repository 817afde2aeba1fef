"""The images of the Dockerfile, built step by step in a clean Debian: they train in /opt/ml, and serve.

They run with `make test-image`, not with the other tests: a build downloads a Debian system and all packages.
FUSIONZOO_DEBIAN names a folder that keeps the Debian system for the next run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fusionzoo.demo.data_set import generate_demo_data, write_hyperparameters

if importlib.util.find_spec("e2b_dockerfile_utils") is None:
    pytest.skip("e2b-dockerfile-utils, which parses the Dockerfile, needs Python 3.11", allow_module_level=True)
from image_builder import Container, Dockerfile, Image
from page_commands import DockerRun, read_commands

pytestmark = pytest.mark.image
ROOT = Path(__file__).parents[1]
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "ca-certificates,libbz2-1.0,libffi8,liblzma5,libsqlite3-0,libssl3,zlib1g"
PORT = "8123"


def skip_reason() -> str | None:
    """Return why this machine cannot build an image; None if it can."""
    if os.geteuid() != 0:
        return "chroot and mount need root"
    missing = [
        name for name in ("debootstrap", "unshare", "nsenter", "setpriv", "ip", "curl") if not shutil.which(name)
    ]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install debootstrap util-linux iproute2 curl"
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True).returncode:
        return "this machine does not allow namespaces"
    try:
        urllib.request.urlopen(f"{MIRROR}/dists/bookworm/Release", timeout=20).close()
    except OSError as error:
        return f"Debian's packages cannot be downloaded: {error}"
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the images, which is deleted afterwards."""
    if reason := skip_reason():
        pytest.skip(reason)
    created = tmp_path_factory.mktemp("images")
    yield created
    shutil.rmtree(created)


def make_torch_index(folder: Path) -> dict[str, Path]:
    """Return where the image finds an index with the CPU build of torch, if pip of this machine finds one on disk."""
    for place in os.environ.get("PIP_FIND_LINKS", "").split():
        for wheel in Path(place).glob("torch-*+cpu-*.whl"):
            (folder / "torch").mkdir(parents=True)
            shutil.copy(wheel, folder / "torch")
            link = f'<a href="{wheel.name.replace("+", "%2B")}">{wheel.name}</a>'
            (folder / "torch/index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
            return {"/mnt/index": folder}
    return {}


def make_base(folder: Path) -> None:
    """Make what `python:3.11-slim` is: Debian with Python in /usr/local, here the interpreter that runs the tests.

    Debian's own Python 3.11.2 is too old for soupsieve, which needs 3.11.5.
    """
    system = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(folder), MIRROR]
    done = subprocess.run(system, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    prefix, local = Path(sys.base_prefix), folder / "usr/local"
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copy2(prefix / "bin" / name, local / "bin")
    (local / "bin/python").symlink_to(name)
    ignore = shutil.ignore_patterns("site-packages", "__pycache__", "test", "idlelib")
    shutil.copytree(prefix / "lib" / name, local / "lib" / name, ignore=ignore)
    (local / "lib" / name / "site-packages").mkdir()
    for library in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy2(library, local / "lib")
    (folder / "etc/pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")
    container = Container(Image(folder), has_network=True)
    for command in (["ldconfig"], ["python", "-m", "ensurepip", "--default-pip"]):
        done = container.run(*command)
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def images(folder: Path) -> Mapping[str, Image]:
    """The targets of the Dockerfile by name."""
    base = Path(os.environ.get("FUSIONZOO_DEBIAN") or folder / "base")
    if not base.exists():
        make_base(base)
    index = make_torch_index(folder / "index")
    arguments = {"TORCH_INDEX": "file:///mnt/index"} if index else {}
    dockerfile = Dockerfile(ROOT / "Dockerfile", PLUGINS="bert cnn gate_fusion", VERSION="1.2", **arguments)
    certificates = {path: Path(path) for path in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt")}
    bases = dict.fromkeys(dockerfile.arguments.values(), base)
    built = {}
    for target in dockerfile.stages:
        start = time.monotonic()
        built[target] = dockerfile.build(target, bases, folder, {**certificates, **index})
        print(f"{target}: {time.monotonic() - start:.0f} s", flush=True)
    return built


def read_containers(folder: Path, images: Mapping[str, Image]) -> list[tuple[Container, list[str]]]:
    """Return the containers that docs/deploy.md runs in a folder, with the command of each."""
    found = []
    for line in read_commands(ROOT / "docs/deploy.md", "docker run"):
        run = DockerRun.parse(line)
        image = images[run.image.removeprefix("fusionzoo-")]
        container = Container(image, run.mounts(folder), user=run.user, is_read_only=run.is_read_only)
        found.append((container, image.start_command(*run.arguments)))
    return found


@pytest.fixture(scope="module")
def job(folder: Path, images: Mapping[str, Image]) -> Path:
    """The job folder of the page, after the page's command trained in it, without a network."""
    mounted = folder / "my-job"
    generate_demo_data(mounted, 600)
    write_hyperparameters(mounted, "multimodal_cnn", {"max_epochs": "1", "num_channels": "[8]"}, "classification")
    (train, command), *_ = read_containers(folder, images)
    done = train.run(*command)
    assert done.returncode == 0, done.stdout[-3000:]
    return mounted


def write_new_rows(folder: Path, job: Path) -> int:
    """Write the file of the page's commands, the test rows of the job as CSV, and return its number of lines."""
    rows = pd.concat([pd.read_parquet(path) for path in sorted((job / "input/data/test").glob("*.parquet"))])
    rows.to_csv(folder / "new.csv", index=False)
    return len(rows) + 1


@contextmanager
def served(container: Container) -> Iterator[list[str]]:
    """Serve in a container; yield the command that runs its arguments on the network of the container."""
    with subprocess.Popen(container.command(*container.image.start_command("serve"))) as process:
        inside = ["nsenter", "--target", str(process.pid), "--net", "--mount"]
        try:
            check = [*inside, *container.enter(), *container.image.health_check]
            while subprocess.run(check, capture_output=True).returncode:
                assert process.poll() is None, "the server ended"
                time.sleep(0.5)
            yield inside
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGTERM)
            assert process.wait(timeout=30) == 0, "SIGTERM ends the container"
        finally:
            process.kill()


def test_the_train_image_trains_in_the_folders_that_sagemaker_mounts(job: Path) -> None:
    assert json.loads((job / "model/manifest.json").read_text())["model_class"] == "multimodal_cnn"
    assert not (job / "output/failure").exists()


def test_the_serve_image_serves_read_only_without_network_and_root(
    folder: Path, job: Path, images: Mapping[str, Image]
) -> None:
    _, (page, _), _ = read_containers(folder, images)
    assert (page.user, page.is_read_only) == ("1000", True)
    lines = write_new_rows(folder, job)
    (curl,) = read_commands(ROOT / "docs/deploy.md", "curl")
    words = shlex.split(curl.replace("localhost:8080", f"127.0.0.1:{PORT}").replace("@", f"@{folder}/"))
    with served(replace(page, variables={"SAGEMAKER_BIND_TO_PORT": PORT})) as inside:
        done = subprocess.run([*inside, *words, "-sS", "--fail"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == lines


def test_the_serve_image_scores_files(folder: Path, job: Path, images: Mapping[str, Image]) -> None:
    *_, (predict, command) = read_containers(folder, images)
    lines = write_new_rows(folder, job)
    done = predict.run(*command)
    assert done.returncode == 0, done.stdout
    assert len((folder / "predictions.csv").read_text("utf-8").splitlines()) == lines


def test_the_serve_image_has_no_torch_and_says_so(images: Mapping[str, Image]) -> None:
    done = Container(images["serve"]).run(*images["serve"].start_command("train"))
    assert done.returncode == 1
    assert "fusionzoo[train]" in done.stdout
    assert not list((images["serve"].root or ROOT).rglob("torch"))


def test_the_plugins_are_those_of_the_build_argument(images: Mapping[str, Image]) -> None:
    done = Container(images["train"]).run("fusionzoo", "list", "--json")
    assert {row["distribution"] for row in json.loads(done.stdout)} == {
        "fusionzoo-bert",
        "fusionzoo-cnn",
        "fusionzoo-gate-fusion",
    }
