"""manifest.json: what a job writes into it, and that a damaged one is an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from folder_damage import FILES, load_error, write_valid_manifest
from fusionzoo import __version__
from fusionzoo.artifacts import verified_folder
from fusionzoo.artifacts.manifest import FORMAT_VERSION, parse_manifest
from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.atomic_files import staged_folder
from fusionzoo.errors import ModelFolderError
from fusionzoo.serving.predictor import Predictor
from shop import JobFolder


@pytest.fixture
def folder(trained_job: JobFolder, tmp_path: Path) -> Path:
    """A copy of a model folder."""
    return Path(shutil.copytree(trained_job.model, tmp_path / "model"))


# --- what a job writes


def test_the_manifest_describes_the_model_and_lists_every_other_file(trained_job: JobFolder) -> None:
    manifest = json.loads((trained_job.model / "manifest.json").read_text("utf-8"))
    assert {path.name for path in trained_job.model.iterdir()} == {"manifest.json", *manifest["files"]} == set(FILES)
    report = json.loads((trained_job.output / "metrics.json").read_text("utf-8"))
    assert manifest["metrics"] == {name: split["metrics"] for name, split in report["splits"].items()}
    rows = {name: split["rows"] for name, split in manifest["training_data"].items()}
    assert rows == {"train": 64, "val": 19, "test": 19}
    assert {(column["name"], column["role"]) for column in manifest["columns"]} == {
        ("id", "id"),
        ("message", "text"),
        ("country", "category"),
        ("price", "number"),
        ("visits", "number"),
        ("target", "label"),
    }
    assert manifest["model_class"] == "multimodal_cnn"
    assert manifest["text_encoder"] == "cnn"
    assert (manifest["fusionzoo"], set(manifest["plugins"])) == (__version__, {"fusionzoo-cnn"})
    assert (manifest["task"], manifest["target"]) == ("classification", {"classes": [0, 1]})
    assert manifest["decision"] == {"rule": "argmax", "thresholds": None, "cost_matrix": None}


def test_a_repeated_job_writes_the_same_manifest(trained_job: JobFolder, tmp_path: Path) -> None:
    repeated = JobFolder(Path(shutil.copytree(trained_job.root, tmp_path / "copy")))
    assert repeated.run() == 0
    first, second = (json.loads((job.model / "manifest.json").read_text("utf-8")) for job in (trained_job, repeated))
    assert second == first


def test_the_last_file_appears_after_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: moved.append(path.name) or real(path, target))
    with staged_folder(tmp_path, last_file="b") as staging:
        for name in "abc":
            (staging / name).touch()
    assert moved == ["a", "c", "b"]


def test_every_flipped_bit_of_a_manifest_is_an_error(folder: Path) -> None:
    path = folder / "manifest.json"
    content = bytearray(path.read_bytes())
    parse_manifest(bytes(content), path)
    for position in range(len(content)):
        for bit in range(8):
            content[position] ^= 1 << bit
            with pytest.raises(ModelFolderError, match=r"manifest\.json"):
                parse_manifest(bytes(content), path)
            content[position] ^= 1 << bit


# --- damaged manifests


MALFORMED = {
    "empty": b"",
    "not UTF-8": b'{"format_version": 1, "\xff": 1}',
    "UTF-16": '{"format_version": 1}'.encode("utf-16"),
    "byte order mark": '\ufeff{"format_version": 1}'.encode(),
    "null": b"null",
    "list": b'[{"format_version": 1}]',
    "text": b'"format_version"',
    "two objects": b'{"format_version": 1}{"format_version": 1}',
    "nested lists": b"[" * 2**20,
    "nested objects": b'{"format_version": 1, "files": ' + b'{"a":' * 10**5 + b"1" + b"}" * 10**5 + b"}",
    "closed nested lists": b'{"format_version": 1, "files": ' + b"[" * 900 + b"]" * 900 + b"}",
    "NaN": b'{"format_version": NaN}',
    "infinite": b'{"format_version": 1, "metrics": 1e999}',
    "many digits": b'{"format_version": ' + b"1" * 2**20 + b"}",
    "name twice": b'{"format_version": 1, "format_version": 1}',
    "half of a surrogate pair": b'{"format_version": 1, "task": "\\ud800"}',
    "no version": b"{}",
    "version 0": b'{"format_version": 0}',
    "negative version": b'{"format_version": -1}',
    "version true": b'{"format_version": true}',
    "version as text": b'{"format_version": "1"}',
    "version 1.0": b'{"format_version": 1.0}',
    "no checksum": b'{"format_version": 1, "files": {}}',
    "checksum of another type": b'{"format_version": 1, "files": {}, "checksum": [1]}',
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_manifest_is_an_error(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    message = load_error(Predictor.load, folder)
    assert "manifest.json is damaged or edited (" in message
    assert len(message) < 1024


def change_entry(**change: Any) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["files"]["model.onnx"].update(change)


def rename_entry(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["files"].update({name: manifest["files"].pop("model.onnx")})


WRONG = {
    "negative size": change_entry(size=-1),
    "huge size": change_entry(size=10**99),
    "size true": change_entry(size=True),
    "size as text": change_entry(size="10"),
    "no size": change_entry(size=None),
    "hash as number": change_entry(sha256=7),
    "hash in capitals": change_entry(sha256="A" * 64),
    "short hash": change_entry(sha256="a" * 63),
    "hash with a line end": change_entry(sha256="a" * 64 + "\n"),
    "long name": rename_entry("x" * 5000),
    "files as a list": lambda manifest: manifest.update(files=[]),
    "no files": lambda manifest: manifest.pop("files"),
    "no entries": lambda manifest: manifest.update(files={}),
    "entry as text": lambda manifest: manifest["files"].update({"model.onnx": "x"}),
    "columns as an object": lambda manifest: manifest.update(columns={}),
    "unknown role": lambda manifest: manifest["columns"][0].update(role="weight"),
    "decision with thresholds": lambda manifest: manifest["decision"].update(thresholds=[0.5]),
    "rule without thresholds": lambda manifest: manifest["decision"].update(rule="thresholds"),
    "metric as text": lambda manifest: manifest["metrics"]["val"].update(auroc="0.9"),
    "preprocessor not listed": lambda manifest: manifest["files"].pop("preprocessor.json"),
    "tokenizer not listed": lambda manifest: manifest["files"].pop("tokenizer.json"),
}


@pytest.mark.parametrize("load", [Predictor.load, load_model], ids=["Predictor.load", "load_model"])
@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_manifest_with_a_wrong_entry_is_an_error_although_its_checksum_is_right(
    folder: Path, change: Callable[[dict[str, Any]], object], load: Callable[[Any], object]
) -> None:
    write_valid_manifest(folder)
    load(folder)
    write_valid_manifest(folder, change)
    assert len(load_error(load, folder)) <= 1024


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../model.onnx", "a/model.onnx", ".", "", "model.onnx\0", "manifest.json"]
)
def test_a_manifest_with_a_path_instead_of_a_name_is_an_error(folder: Path, name: str) -> None:
    write_valid_manifest(folder, rename_entry(name))
    assert "is not the name of a file in the folder" in load_error(Predictor.load, folder)


@pytest.mark.parametrize("load", [Predictor.load, load_model])
def test_a_newer_manifest_names_the_version_to_install(folder: Path, load: Callable[[Any], object]) -> None:
    newer = FORMAT_VERSION + 1
    (folder / "manifest.json").write_text(f'{{"format_version": {newer}, "fusionzoo": "9.1.0", "files": 7}}')
    message = load_error(load, folder)
    assert f"manifest.json has format version {newer}, but this fusionzoo reads versions up to {newer - 1}" in message
    assert "Fix: install fusionzoo '9.1.0', or a later version" in message


def test_a_manifest_beyond_its_limit_is_not_parsed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified_folder, "MAX_MANIFEST_BYTES", 2**10)
    assert "it has more than 0.000976562 MiB" in load_error(Predictor.load, folder)
