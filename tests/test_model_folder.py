"""A model folder answers only if every file in it is the one that its job wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folder_damage import DAMAGES, FILES, flip_bit, load_error, write_valid_manifest
from fusionzoo.artifacts import onnx_session, verified_folder
from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.errors import ModelFolderError
from fusionzoo.serving import predictor as predictor_module
from fusionzoo.serving.predictor import Predictor
from shop import JobFolder, shop_rows

LOADERS: dict[str, Callable[[Any], object]] = {"Predictor.load": Predictor.load, "load_model": load_model}
REASONS = {
    "absent": "does not exist, but the manifest.json of this model lists it",
    **dict.fromkeys(["empty", "cut", "extended", "far longer"], r"has [\d,]+ bytes, but .* lists [\d,]+ bytes"),
    **dict.fromkeys(["zeros", "first bit", "middle bit", "last bit"], "its SHA-256 differs"),
    **{kind: f"is a {name}, not a file" for kind, name in (("folder", "folder"), ("pipe", "named pipe"))},
    "socket": "is a socket, not a file",
    **dict.fromkeys(["link to zeros", "link to a copy outside"], "is a link to .*, which is outside"),
    "link to nothing": "does not exist",
}
EVERY_LOADER = pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)


@pytest.fixture
def folder(trained_job: JobFolder, tmp_path: Path) -> Path:
    """A copy of a model folder."""
    return Path(shutil.copytree(trained_job.model, tmp_path / "model"))


def score(folder: Path) -> np.ndarray:
    return Predictor.load(folder).predict_records(shop_rows(8, 1).drop(columns=["id", "target"]).to_dict("records"))


# --- damaged files


@EVERY_LOADER
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_an_error_that_names_it_and_never_a_model(
    folder: Path, other_model: Path, file: str, damage: str, load: Callable[[Any], object]
) -> None:
    DAMAGES[damage](folder / file, other_model)
    tracemalloc.start()
    try:
        message = load_error(load, folder)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert "\nFix: " in message
    if (file, damage) == ("manifest.json", "of another model"):
        assert "the manifest.json of this model" in message
    elif (file, damage) != ("manifest.json", "absent"):
        assert file in message
        assert file == "manifest.json" or re.search(REASONS.get(damage, ""), message)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_of_any_file_is_an_error(data: st.DataObject, folder: Path) -> None:
    path = folder / data.draw(st.sampled_from(FILES))
    content = path.read_bytes()
    flip_bit(path, data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7)))
    try:
        for load in LOADERS.values():
            assert path.name in load_error(load, folder)
    finally:
        path.write_bytes(content)


@EVERY_LOADER
def test_a_folder_without_a_manifest_is_not_called_another_folder(folder: Path, load: Callable[[Any], object]) -> None:
    (folder / "manifest.json").unlink()
    assert re.search(r"has no manifest\.json, which a job writes last\.\nFix: copy the whole", load_error(load, folder))


@EVERY_LOADER
def test_a_folder_that_cannot_be_examined_is_an_error(tmp_path: Path, load: Callable[[Any], object]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / ("x" * 300), tmp_path / "loop", tmp_path / "nul\0", tmp_path / "absent"):
        message = load_error(load, path)
        assert path.name[:3] in message
        assert "\nFix: " in message


# --- what loads


@pytest.mark.parametrize("convert", [str, Path])
def test_files_that_the_manifest_does_not_list_are_ignored(
    folder: Path, trained_job: JobFolder, other_model: Path, convert: Callable[[Path], Any]
) -> None:
    shutil.copytree(other_model, folder / "code")
    (folder / ".DS_Store").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    np.testing.assert_array_equal(score(convert(folder)), score(trained_job.model))
    load_model(convert(folder))


def test_links_within_the_folder_and_to_the_folder_are_followed(
    folder: Path, trained_job: JobFolder, tmp_path: Path
) -> None:
    inner = folder / "..data"  # the layout of a mounted volume in Kubernetes
    inner.mkdir()
    for name in FILES:
        (folder / name).replace(inner / name)
        (folder / name).symlink_to(f"..data/{name}")
    (tmp_path / "link").symlink_to(folder)
    np.testing.assert_array_equal(score(tmp_path / "link"), score(trained_job.model))


def test_an_onnx_file_that_is_added_to_a_folder_is_not_used(folder: Path) -> None:
    write_valid_manifest(folder, lambda manifest: manifest["files"].pop("model.onnx"))
    assert "the job exported no ONNX file" in load_error(Predictor.load, folder)
    load_model(folder)


# --- the bytes that are used are those that were verified


def test_a_file_that_changes_after_its_verification_does_not_change_the_scores(
    folder: Path, other_model: Path, trained_job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify_and_replace(path: Path, **options: Any) -> Any:
        verified = verified_folder.verify_folder(path, **options)
        for name in FILES:
            shutil.copyfile(other_model / name, path / name)
        return verified

    monkeypatch.setattr(predictor_module, "verify_folder", verify_and_replace)
    scores = score(folder)
    monkeypatch.undo()
    np.testing.assert_array_equal(scores, score(trained_job.model))


@pytest.mark.parametrize("change", ["before", "during", "replaced"])
def test_a_large_file_that_changes_after_its_verification_is_an_error(folder: Path, change: str) -> None:
    verified, path = verified_folder.verify_folder(folder), folder / "model.pth"
    content = path.read_bytes()
    if change == "before":
        path.write_bytes(content)
    elif change == "replaced":
        (folder / "new").write_bytes(content)
        (folder / "new").replace(path)
    with pytest.raises(ModelFolderError, match=r"model\.pth changed while it was loaded"), verified.open("model.pth"):
        path.write_bytes(content[::-1])


def test_an_onnx_file_with_weights_in_another_file_is_an_error(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert "model.onnx has " in load_error(Predictor.load, folder)
    write_valid_manifest(folder)
    assert "model.onnx keeps weights in other files" in load_error(Predictor.load, folder)


def test_a_session_reads_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (folder / "model.onnx").read_bytes()
    shutil.rmtree(folder)
    assert onnx_session.open_onnx_session(folder / "model.onnx", content).get_outputs()[0].name == "probabilities"
    with pytest.raises(ModelFolderError, match=r"model\.onnx cannot be read"):
        onnx_session.open_onnx_session(folder / "model.onnx", content[:-1])


@pytest.mark.parametrize("key", ["settings", "text", "categories", "numbers", "labels"])
@pytest.mark.parametrize("value", [..., None, 7, "x", [{"a": 1}], {"a": 1}])
def test_a_damaged_entry_of_the_preprocessor_is_an_error(folder: Path, key: str, value: object) -> None:
    if (key, value) == ("text", None):
        pytest.skip("a model without text")
    path = folder / "preprocessor.json"
    saved = json.loads(path.read_text("utf-8"))
    saved[key] = value
    if value is ...:
        del saved[key]
    path.write_text(json.dumps(saved))
    write_valid_manifest(folder)
    assert "preprocessor.json" in load_error(Predictor.load, folder)
