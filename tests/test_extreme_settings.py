"""Extreme settings, names and files: every outcome is a value or a message with a fix; nothing raw."""

from __future__ import annotations

import gzip
import json
import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from data_helpers import SETTINGS, encode_folder, write_part
from extreme_values import LONG, ODD_TEXT, VALUES, check_message
from fusionzoo import errors
from fusionzoo.data.text.text_tokenizer import load_tokenizer, tokenizer_fingerprint
from fusionzoo.data.text.word_vectors import build_word_vectors, check_embeddings_source
from fusionzoo.errors import EmbeddingsError, HyperparametersError, SettingError, TokenizerError, column_errors
from fusionzoo.errors.value_problems import RowPlace
from fusionzoo.sagemaker import run_job
from fusionzoo.settings import FusionSettings, JobSettings
from parsing_helpers import REQUIRED, Fusion, parse_with_classes
from shop import JobFolder, shop_rows

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = sorted(JobSettings.model_fields.keys() | FusionSettings.model_fields.keys())


# --- settings


@FAST
@given(st.dictionaries(st.sampled_from(NAMES) | ODD_TEXT | st.text(max_size=12), VALUES, max_size=5), st.booleans())
def test_any_settings_are_parsed_or_are_an_error(changes: dict[str, Any], as_text: bool) -> None:
    if as_text:
        changes = {key: json.dumps(value) for key, value in changes.items()}
    try:
        parsed = parse_with_classes({**REQUIRED, **changes}, Fusion)
    except HyperparametersError as error:
        check_message(error)
    else:
        json.dumps(parsed.as_flat_dict(), allow_nan=False)


@pytest.mark.parametrize("name", [n for n, field in JobSettings.model_fields.items() if field.annotation is not str])
@pytest.mark.parametrize("value", [1e300, 10**30, 10**400, 2**63])
def test_a_number_beyond_its_upper_bound_is_an_error(name: str, value: float) -> None:
    """Every number has an upper bound, so that no later conversion to another type overflows."""
    if name in ("classes", "id_name", "label_name", "text_name", "group_field", "tokenizer", "init_from"):
        return  # a number is the text of a label or name
    with pytest.raises(HyperparametersError, match=name):
        parse_with_classes({**REQUIRED, name: value}, Fusion)


def test_every_allowed_cache_limit_is_used(tmp_path: Path) -> None:
    from fusionzoo.sagemaker import Paths
    from fusionzoo.training.prepare_data import make_cache
    from training_helpers import make_job_settings

    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path), "FUSIONZOO_CACHE": str(tmp_path / "cache")})
    for size in (0, 1e6):
        assert make_cache(paths, make_job_settings(cache_limit_gb=size)).max_bytes == size * 1e9


# --- names


@pytest.mark.parametrize(
    "name", [LONG, "\ud800", "é" * 10**5, "a\udcffb", "\n" * 9999], ids=lambda name: ascii(name[:20])
)
def test_an_error_about_any_name_is_short_and_printable(name: str, tmp_path: Path) -> None:
    where = tmp_path / "x"
    problems = [
        errors.unknown_setting(name, name, NAMES),
        errors.missing_column("train/a.csv", name, ["a", name]),
        errors.missing_column(name, "a", [name] * 50),
        errors.unseen_labels("val", name, 2, [(RowPlace(name, 1), name)], [name, name]),
        errors.labels_outside_classes(name, [name], {name: RowPlace(name, 1)}, [name]),
        column_errors.class_weights_of_unknown_classes([name], [name, "b"]),
        errors.single_class(name, {name: 7}),
        errors.invalid_setting(name, name, name),
    ]
    for problem in problems:
        check_message(errors.DataError([problem]))
        check_message(errors.DataError([problem] * 30))
    check_message(errors.TokenizerError(name, ValueError(name)))
    check_message(errors.EmbeddingsError.unreadable(name, ValueError(name)))
    check_message(errors.PredictionColumnsError.same_name([name]))
    check_message(errors.ModelFolderError.unreadable(where / name[:200].replace("\n", "_"), ValueError(name)))


def test_short_messages_are_not_changed() -> None:
    problem = errors.missing_column("train/a.csv", "price", [f"column{i}" for i in range(12)])
    listed = ", ".join(f"'column{i}'" for i in range(12))
    assert str(problem) == (
        f"train/a.csv: column 'price' does not exist. Fix: the file has the columns {listed}; use one of "
        "them. [FZ-D101]"
    )


def test_a_log_line_with_half_of_a_surrogate_pair_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def job(_: object) -> None:
        logging.getLogger("fusionzoo").warning("column '%s'", "a\ud800b")

    assert run_job(job, {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 0
    captured = capsys.readouterr()
    assert r"column 'a\ud800b'" in captured.out
    assert "Logging error" not in captured.err


def test_a_failure_file_holds_the_fix_of_a_long_name(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    job.channel("train", shop_rows(20))
    job.channel("val", shop_rows(20))
    job.settings(**{LONG: 1, "a\ud800": 2})
    assert job.run() == 1
    assert "Fix: remove" in job.failure
    job.settings(tab_field_list=["p" * 10**6])
    assert job.run() == 1
    assert "Fix: the file has the columns" in job.failure


# --- word vectors

WORDS = ["late", "broken", "fine"]


def vector_text(words: list[str] = WORDS, dim: int = 3, header: str | None = None, value: str = "0.5") -> bytes:
    lines = [f"{word} {' '.join([value] * dim)}" for word in words]
    return "\n".join([*([header] if header is not None else []), *lines, ""]).encode()


def vector_binary(dim: int = 3, header: str = "3 3", value: float = 0.5) -> bytes:
    rows = b"".join(word.encode() + b" " + struct.pack(f"{dim}f", *[value] * dim) + b"\n" for word in WORDS)
    return header.encode() + b"\n" + rows


def build_vectors(path: Path) -> np.ndarray:
    """Check and read a file of word vectors, for a vocabulary of three words."""
    from fusionzoo.data.text.text_tokenizer import wrap_tokenizer

    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "late": 2, "broken": 3, "fine": 4}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    job = SETTINGS.model_copy(update={"embeddings": str(path)})
    check_embeddings_source(job)
    return build_word_vectors(job, wrap_tokenizer("word", backend, 0), None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("v.txt", vector_text()),
        ("v.txt", vector_text(header="3 3")),
        ("v.bin", vector_binary()),
        ("v.txt.gz", gzip.compress(vector_text(header="3 3"), mtime=0)),
        ("v.bin.gz", gzip.compress(vector_binary(), mtime=0)),
        ("v.txt", vector_text(value="1")),
    ],
)
def test_word_vectors_in_every_format_are_read(tmp_path: Path, file: str, content: bytes) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    assert build_vectors(path).shape == (5, 3)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("v.txt", b"", "first line is empty"),
        ("v.bin", b"", "first line is empty"),
        ("v.txt", b"\n\n", "first line is empty"),
        ("v.txt.gz", b"", "could not be read|first line is empty"),
        ("v.txt.gz", b"no gzip", "could not be read"),
        ("v.txt", vector_text(header="3000000 300"), "its header states 3,000,000 words of 300 dimensions"),
        ("v.bin", vector_binary(header="3000000 300"), "its header states 3,000,000 words"),
        ("v.bin", vector_binary()[:20], "its header states"),
        ("v.bin", vector_binary(header="99999999999999999999 300"), "could not be read"),
        ("v.txt", vector_text(header="3 0"), "0 dimensions"),
        ("v.txt", vector_text(header="0 3"), "0 words"),
        ("v.txt", b"\x80\x04\x95 \xff\xfe" * 50, "is a pickle"),
        ("v.bin", b"\x80\x04\x95 \xff\xfe" * 50, "is a pickle"),
        ("v.txt", b"\x95 \xff\xfe" * 50, "line 1: it is not a word with numbers"),
        ("v.bin", bytes(500), "could not be read"),
        ("v.txt", vector_text(value="x"), "line 1: it is not a word with numbers"),
        ("v.txt", vector_text(header="3 3").replace(b"late 0.5", b"late"), "line 2: there are 2 numbers"),
        ("v.txt", vector_text(value="nan"), "NaN or infinity: late, broken, fine"),
        ("v.bin", vector_binary(value=float("nan")), "NaN or infinity"),
        ("v.txt", vector_text(value="inf"), "NaN or infinity"),
        ("v.txt", vector_text(["x"]), "no vector for any word"),
    ],
)
def test_a_damaged_file_of_word_vectors_is_an_error(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(EmbeddingsError, match=message) as error:
        build_vectors(path)
    check_message(error.value)


@FAST
@given(
    st.sampled_from(["v.txt", "v.bin", "v.txt.gz"]),
    st.binary(max_size=60)
    | st.builds(
        lambda n, d, rest: f"{n} {d}\n".encode() + rest, st.integers(0, 10**20), st.integers(-1, 10**6), st.binary()
    )
    | st.builds(
        lambda position, byte: _changed(vector_binary(), position, byte), st.integers(0, 50), st.binary(max_size=2)
    ),
)
def test_any_file_of_word_vectors_is_read_or_is_an_error(tmp_path: Path, file: str, content: bytes) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    try:
        assert np.isfinite(build_vectors(path)).all()
    except EmbeddingsError as error:
        check_message(error)


def _changed(content: bytes, position: int, replacement: bytes) -> bytes:
    return content[:position] + replacement + content[position + 1 :]


@pytest.mark.parametrize("name", ["x" * 300, "é" * 300, "a\0b", "a\ud800b", "/" * 5000, "no/such/folder"], ids=ascii)
def test_a_name_that_no_file_can_have_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbeddingsError, match="neither a file nor one of"):
        check_embeddings_source(SETTINGS.model_copy(update={"embeddings": name}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HF_HUB_OFFLINE", "1")
        for load in (load_tokenizer, tokenizer_fingerprint):
            if load is tokenizer_fingerprint and set(name) == {"/"}:
                continue  # the root folder; it exists, and contains no tokenizer to hash
            with pytest.raises((SettingError, TokenizerError)) as error:
                load(name)
            check_message(error.value)
    write_part(shop_rows(20), tmp_path / "data/train/a.parquet")
    for changes in ({"embeddings": name}, {"tokenizer": name}):
        with pytest.raises((EmbeddingsError, SettingError, TokenizerError)):
            encode_folder(tmp_path / "data", SETTINGS.model_copy(update=changes))


# --- tokenizers


def tokenizer_files() -> dict[str, bytes]:
    """Return the files of a small tokenizer of Hugging Face."""
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "late": 2, "fine": 3}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return {
        "tokenizer.json": backend.to_str().encode(),
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
        ).encode(),
        "config.json": json.dumps({"model_type": "bert"}).encode(),
    }


@pytest.mark.parametrize("file", list(tokenizer_files()))
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"null", b'"x"', b"\x80\xff", b"[" * 10**5, b'{"model": 7}']
)
def test_a_damaged_file_of_a_tokenizer_is_an_error_or_has_no_effect(tmp_path: Path, file: str, content: bytes) -> None:
    for name, original in {**tokenizer_files(), file: content}.items():
        (tmp_path / name).write_bytes(original)
    try:
        assert load_tokenizer(str(tmp_path)).vocab_size == 4
    except TokenizerError as error:
        check_message(error)
    else:
        assert file != "tokenizer.json"


JSON_VALUES = st.sampled_from([None, True, -1, 10**12, 1e300, "", "x", [], {}, [7], {"a": 1}])


@FAST
@given(st.data())
def test_a_tokenizer_with_any_changed_entry_is_loaded_or_is_an_error(tmp_path: Path, data: st.DataObject) -> None:
    files = tokenizer_files()
    name = data.draw(st.sampled_from(list(files)))
    content = json.loads(files[name])
    path, parent = [], content
    while isinstance(parent, dict) and parent:
        path.append(data.draw(st.sampled_from(sorted(parent))))
        if not isinstance(parent[path[-1]], dict) or data.draw(st.booleans()):
            parent[path[-1]] = data.draw(JSON_VALUES)
            break
        parent = parent[path[-1]]
    files[name] = json.dumps(content).encode()
    for file, text in files.items():
        (tmp_path / file).write_bytes(text)
    try:
        tokenizer = load_tokenizer(str(tmp_path))
        tokenizer.encode(["late fine", "", "other"])
    except TokenizerError as error:
        check_message(error)


# --- memory


def test_a_model_that_needs_more_memory_than_the_machine_has_is_refused_before_the_data_is_read(tmp_path: Path) -> None:
    job = JobFolder(tmp_path).settings(hidden_common_dim=65_536)
    assert job.run() == 1
    assert "lower hidden_common_dim (65,536)" in job.failure
    assert "GB" in job.failure
