"""fusionzoo package writes a model.tar.gz of a model folder completely, the same for equal folders, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_helpers import invoke
from folder_damage import FILES, flip_bit, write_valid_manifest
from fusionzoo import errors
from fusionzoo.artifacts import archive_writer
from fusionzoo.artifacts.archive_writer import write_archive
from fusionzoo.artifacts.model_archive import unpack_model
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.server import inference_script
from shop import JobFolder

NAMES = sorted(["code/inference.py", *FILES])


@pytest.fixture
def model(trained_job: JobFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_job.model, tmp_path / "my-model"))


def package(model: Path, output: Path) -> dict[str, object]:
    result = invoke("package", "--model", str(model), "--output", str(output), "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, object] = json.loads(result.stdout)
    return document


def is_refused(model: Path, output: Path, pattern: str, kind: type[errors.ZooError] = errors.ModelArchiveError) -> bool:
    """Return whether the error has this pattern; no file next to the archive may change."""
    before = {path: path.lstat().st_mtime_ns for path in output.parent.rglob("*")}
    with pytest.raises(kind) as caught:
        write_archive(model, output, {})
    assert {path: path.lstat().st_mtime_ns for path in output.parent.rglob("*")} == before
    return re.search(pattern, str(caught.value)) is not None


def test_the_archive_has_the_verified_files_and_the_script_and_no_trace_of_this_machine(
    model: Path, tmp_path: Path
) -> None:
    (model / "notes.txt").write_text("not a file of the model")
    (model / "code").mkdir()
    (model / "code/inference.py").write_text("of an earlier archive")
    output = tmp_path / "new/model.tar.gz"
    document = package(model, output)
    content = output.read_bytes()
    assert document == {
        "path": str(output),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "model_checksum": json.loads((model / "manifest.json").read_text())["checksum"],
        "files": NAMES,
    }
    assert content[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name and no time
    with tarfile.open(output) as tar:
        assert tar.getnames() == NAMES
        for member in tar:
            assert member.isreg()
            assert (member.uid, member.gid, member.uname, member.gname, member.mode) == (0, 0, "", "", 0o644)
            packed = tar.extractfile(member)
            assert packed is not None
            script = Path(inference_script.__file__)
            source = script if member.name == "code/inference.py" else model / member.name
            assert packed.read() == source.read_bytes()
    assert str(tmp_path).encode() not in gzip.decompress(content)


def test_equal_folders_give_equal_bytes_whatever_their_times_owner_mode_and_order(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = package(model, tmp_path / "a.tar.gz")
    other = tmp_path / "elsewhere/other"
    other.mkdir(parents=True)
    for name in reversed(FILES):
        shutil.copyfile(model / name, other / name)
        (other / name).chmod(0o600)
        os.utime(other / name, (1_700_000_000, 1_700_000_000))
        if os.geteuid() == 0:
            os.chown(other / name, 12345, 54321)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    previous = os.umask(0o077)
    try:
        second = package(other, tmp_path / "b.tar.gz")
    finally:
        os.umask(previous)
    assert second["sha256"] == first["sha256"]
    write_valid_manifest(other, lambda manifest: manifest["metrics"].clear())
    assert package(other, tmp_path / "c.tar.gz")["sha256"] != first["sha256"]


def test_tar_and_unpack_model_give_the_model_folder_back(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.tar.gz"
    package(model, output)
    for folder in (ours := tmp_path / "ours", theirs := tmp_path / "theirs"):
        folder.mkdir()
    unpack_model(output, ours, 200)
    done = subprocess.run(["tar", "xzf", output, "-C", theirs], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    checksum = verify_folder(model).manifest.checksum
    assert verify_folder(ours).manifest.checksum == verify_folder(theirs).manifest.checksum == checksum
    assert sorted(path.name for path in ours.iterdir()) == sorted(FILES)


def test_a_link_within_the_model_folder_becomes_a_file(model: Path, tmp_path: Path) -> None:
    expected = package(model, tmp_path / "a.tar.gz")["sha256"]
    (model / "model.pth").rename(model / "weights")
    (model / "model.pth").symlink_to("weights")
    assert package(model, tmp_path / "b.tar.gz")["sha256"] == expected


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda model: flip_bit(model / "model.pth", 100), "its SHA-256 differs"),
        (lambda model: (model / "manifest.json").unlink(), r"manifest\.json"),
        (lambda model: (model / "tokenizer.json").unlink(), r"tokenizer\.json does not exist"),
        (lambda model: os.truncate(model / "model.onnx", 10), r"model\.onnx has 10 bytes"),
        (
            lambda model: write_valid_manifest(model, lambda manifest: manifest["files"].pop("model.onnx")),
            r"no .*model\.onnx|model\.onnx does not exist",
        ),
        (shutil.rmtree, "does not exist"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(
    model: Path, tmp_path: Path, damage: Callable[[Path], object], match: str
) -> None:
    damage(model)
    assert is_refused(model, tmp_path / "model.tar.gz", match, errors.ModelFolderError)


def test_an_output_that_would_replace_or_change_something_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "old.tar.gz").write_bytes(b"old")
    (tmp_path / "folder.tar.gz").mkdir()
    (tmp_path / "link.tar.gz").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.tar.gz")
    for name in ("old", "folder", "link", "pipe"):
        assert is_refused(model, tmp_path / f"{name}.tar.gz", "already exists")
    (tmp_path / "link").symlink_to(model)
    assert is_refused(model, tmp_path / "link/model.tar.gz", "would be in the model folder")
    assert is_refused(model, model / "model.tar.gz", "would be in the model folder")
    assert is_refused(model, tmp_path / "model.zip", r"such as model\.tar\.gz")


@pytest.mark.parametrize("name", ["model.pth", "manifest.json"])
def test_a_model_that_changes_while_it_is_packed_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def verify_then_change(folder: Path) -> object:
        verified = verify_folder(folder)
        if name == "manifest.json":
            write_valid_manifest(folder, lambda manifest: manifest["metrics"].clear())
        else:
            flip_bit(folder / name, 100)
        return verified

    monkeypatch.setattr(archive_writer, "verify_folder", verify_then_change)
    with pytest.raises(errors.ModelFolderError, match=f"{name} changed"):
        write_archive(model, tmp_path / "model.tar.gz", {})
    assert [path.name for path in tmp_path.iterdir()] == ["my-model"]


def test_a_failed_write_leaves_nothing_and_is_not_blamed_on_the_model(model: Path, tmp_path: Path) -> None:
    (model / "model.pth").write_bytes(os.urandom(3_000_000))
    write_valid_manifest(model)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        assert is_refused(
            model, tmp_path / "model.tar.gz", r"model\.tar\.gz cannot be written: File too large", errors.OutputError
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_memory_does_not_grow_with_the_size_of_a_file(model: Path, tmp_path: Path) -> None:
    with (model / "model.pth").open("wb") as file:
        file.truncate(64_000_000)
    write_valid_manifest(model)
    tracemalloc.start()
    try:
        write_archive(model, tmp_path / "model.tar.gz", {})
        assert tracemalloc.get_traced_memory()[1] < 32_000_000
    finally:
        tracemalloc.stop()


def test_the_command_prints_size_and_checksum_and_what_to_do_next(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.tar.gz"
    result = invoke("package", "--model", str(model), "--output", str(output))
    assert result.exit_code == 0, result.output
    assert f"{output.stat().st_size:,} bytes" in result.stdout
    assert hashlib.sha256(output.read_bytes()).hexdigest() in result.stdout
    assert f"aws s3 cp {output} s3://BUCKET/PREFIX/model.tar.gz\n" in result.stdout
    again = invoke("package", "--model", str(model), "--output", str(output))
    assert again.exit_code == 1
    assert "[FZ-O260]" in again.stderr
