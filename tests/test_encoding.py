"""Encoding: each step once, from the cache where possible, and fitted on train alone."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_helpers import SETTINGS, are_equal, encode_folder, write_part
from fusionzoo.data import array_store, encoding, hashing
from fusionzoo.data.cache import Cache
from fusionzoo.data.row_digests import count_rows_seen_in_train
from fusionzoo.data.text import text_tokenizer
from fusionzoo.data.text.text_tokenizer import TextTokenizer
from fusionzoo.errors import DataError
from shop import lists, shop_rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write three channels of a shop and return their folder."""
    for seed, name in enumerate(("train", "val", "test")):
        write_part(shop_rows(60, seed), tmp_path / "data" / name / "part-0.parquet")
    return tmp_path / "data"


@pytest.fixture
def tokenized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that every tokenized text is appended to."""
    seen: list[str] = []
    real = TextTokenizer.encode

    def spy(self: TextTokenizer, texts: Any) -> Any:
        seen.extend(texts)
        return real(self, texts)

    monkeypatch.setattr(TextTokenizer, "encode", spy)
    return seen


# --- each step once


def test_a_second_job_on_the_same_data_tokenizes_nothing_and_has_the_same_result(
    data: Path, tokenized: list[str]
) -> None:
    first = encode_folder(data)
    assert tokenized
    tokenized.clear()
    shutil.copytree(data, data.parent / "again/data")  # another job's download of the same files
    second = encode_folder(data.parent / "again/data", cache=Cache(data.parent / "cache", 10**9))
    assert not tokenized
    assert all(are_equal(first.splits[name], second.splits[name]) for name in ("train", "val", "test"))
    assert first.preprocessor.text is not None
    assert second.preprocessor.text is not None
    assert np.array_equal(first.preprocessor.text.vectors, second.preprocessor.text.vectors)
    assert replace(first.preprocessor, text=None) == replace(second.preprocessor, text=None)


ENCODE = """
import sys
from pathlib import Path
from data_helpers import SETTINGS, encode_folder

settings = SETTINGS.model_copy(update={"embeddings": "random"})
data = encode_folder(Path(sys.argv[1]), settings)
print(" ".join(data.preprocessor.text.tokenizer.backend.decode(data.splits["val"].tokens.tolist()).split()))
"""


def test_a_changed_text_step_is_applied_by_the_next_job(data: Path) -> None:
    code = data.parent / "code"
    shutil.copytree(Path(encoding.__file__).parents[1], code / "fusionzoo", ignore=shutil.ignore_patterns("*.pyc"))

    def encode_in_new_process() -> str:
        path = os.pathsep.join([str(code), str(Path(__file__).parent)])
        command = [sys.executable, "-c", ENCODE, str(data)]
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
        ).stdout

    first = encode_in_new_process()
    assert "broken" in first
    cleaning = code / "fusionzoo/data/text/cleaning.py"
    source = cleaning.read_text("utf-8")
    cleaning.write_text(source.replace("def _normalize_text(text: str) -> str:\n", CHANGED_STEP), "utf-8")
    assert encode_in_new_process() == first.replace("broken ", "")


CHANGED_STEP = """def _normalize_text(text: str) -> str:
    text = text.replace("broken ", "")
"""


def test_the_code_hash_covers_every_python_file_of_the_data_package(tmp_path: Path) -> None:
    package = tmp_path / "data"
    shutil.copytree(Path(encoding.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    assert hashing.hash_package_code(package) == hashing.hash_package_code()
    files = sorted(package.rglob("*.py"))
    assert package / "text/cleaning.py" in files
    for file in files:
        source = file.read_bytes()
        file.write_bytes(source + b"# changed\n")
        assert hashing.hash_package_code(package) != hashing.hash_package_code(), file
        file.write_bytes(source)


@pytest.mark.parametrize(
    "change", [{"max_sen_len": 9}, {"text_processing_steps": []}, {"chunk_keep": "tail"}, {"min_category_count": 9}]
)
def test_a_changed_setting_of_the_encoding_encodes_again(
    change: dict[str, Any], data: Path, tokenized: list[str]
) -> None:
    encode_folder(data)
    tokenized.clear()
    encode_folder(data, SETTINGS.model_copy(update=change))
    assert tokenized


def test_another_seed_changes_only_the_word_vectors(data: Path, tokenized: list[str]) -> None:
    texts = [encode_folder(data, seed=seed).preprocessor.text for seed in (0, 1, 0)]
    result = [text.vectors for text in texts if text is not None and text.vectors is not None]
    assert not np.array_equal(result[0], result[1])
    assert np.array_equal(result[0], result[2])
    first = len(tokenized)
    encode_folder(data, seed=2)
    assert len(tokenized) == first


def test_a_changed_val_is_encoded_again_and_train_is_not(data: Path, tokenized: list[str]) -> None:
    first = encode_folder(data)
    tokenized.clear()
    write_part(shop_rows(7, 9), data / "val/part-1.parquet")
    second = encode_folder(data)
    assert 0 < len(tokenized) <= 67
    assert len(second.splits["val"]) == 67
    assert are_equal(first.splits["train"], second.splits["train"])


def test_a_changed_part_file_of_train_encodes_all_splits_again(data: Path, tokenized: list[str]) -> None:
    frame = shop_rows(60, 0)
    first = encode_folder(data)
    tokenized.clear()
    frame.loc[5, "message"] = "order 7 was rude and the box red"
    frame.loc[5, "price"] = 77.0
    write_part(frame, data / "train/part-0.parquet")
    second = encode_folder(data)
    assert "order 7 was rude and the box red" in tokenized
    assert first.preprocessor.numbers[0].mean < second.preprocessor.numbers[0].mean
    assert not np.array_equal(first.splits["val"].numbers, second.splits["val"].numbers)


def test_another_tokenizer_in_the_same_folder_encodes_again(data: Path, minilm: str, tokenized: list[str]) -> None:
    folder = data.parent / "tokenizer"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        shutil.copy(Path(minilm) / name, folder / name)
    use = SETTINGS.model_copy(update={"tokenizer": str(folder)})
    encode_folder(data, use)
    tokenized.clear()
    encode_folder(data, use)
    assert not tokenized
    text = (folder / "tokenizer.json").read_text("utf-8")
    (folder / "tokenizer.json").write_text(text.replace('"lowercase":true', '"lowercase":false'), "utf-8")
    encode_folder(data, use)
    assert tokenized


def test_identical_texts_are_tokenized_once(data: Path, tokenized: list[str]) -> None:
    for part in range(6):
        write_part(shop_rows(60).assign(message="the same text"), data / f"train/part-{part}.parquet")
    result = encode_folder(data).splits["train"]
    assert tokenized.count("the same text") == 1
    assert len({tuple(part) for part in np.split(result.tokens, result.chunk_starts[1:-1])}) == 1


def test_only_recent_texts_are_cached_and_ids_stay_correct(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = text_tokenizer.WordCounter()
    counter.add(["a b c d e f"])
    tokenizer = counter.fit(100, 1)
    monkeypatch.setattr(text_tokenizer, "MAX_CACHED_BYTES", 400)
    memory = text_tokenizer.CachedTokenizer(tokenizer)
    rng = np.random.default_rng(0)
    for _ in range(40):
        texts = [" ".join(rng.choice(list("abcdef"), rng.integers(0, 4))) for _ in range(5)]
        assert lists(memory.encode(texts)) == lists(tokenizer.encode(texts))
        assert len(memory._young) + len(memory._old) <= 8


# --- a cache that cannot be used


def test_without_a_writable_cache_the_splits_are_held_in_memory_and_a_warning_says_so(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = encode_folder(data)
    (data.parent / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        second = encode_folder(data, cache=Cache(data.parent / "file", 10**9))
    assert all(are_equal(first.splits[name], second.splits[name]) for name in ("train", "val", "test"))
    for name in ("train", "val", "test"):
        assert f"'{name}' is held in memory" in caplog.text
    assert "FUSIONZOO_CACHE" in caplog.text
    assert "the next job encodes it again" in caplog.text


def test_a_disk_that_fills_up_while_a_split_is_written_loses_no_rows(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = encode_folder(data)
    real = array_store._ArrayFile.add

    def full(self: Any, piece: np.ndarray) -> None:
        real(self, piece)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_store._ArrayFile, "add", full)
    second = encode_folder(data, cache=Cache(data.parent / "other", 10**9))
    assert all(are_equal(first.splits[name], second.splits[name]) for name in ("train", "val", "test"))
    assert "No space left on device" in caplog.text
    left = [path.name for path in (data.parent / "other").iterdir() if path.is_dir()]
    assert not [name for name in left if name.startswith(".")]


# --- independent of the files, and fitted on train alone


def test_val_and_test_do_not_affect_the_fit(data: Path) -> None:
    fits = []
    for change in ({}, {"price": 1e9, "country": "nowhere", "message": "words never seen"}):
        for seed, name in enumerate(("val", "test"), 1):
            write_part(shop_rows(60, seed).assign(**change), data / name / "part-0.parquet")
        result = encode_folder(data, cache=Cache(data.parent / f"cache-{len(fits)}", 10**9))
        result.preprocessor.save(folder := data.parent)
        assert result.preprocessor.text is not None
        assert result.preprocessor.text.vectors is not None
        saved = [(folder / name).read_bytes() for name in ("preprocessor.json", "tokenizer.json")]
        fits.append([*saved, result.preprocessor.text.vectors.tobytes()])
    assert fits[0] == fits[1]


def test_all_problems_of_all_splits_are_reported_together_before_any_text_is_tokenized(
    data: Path, tokenized: list[str]
) -> None:
    bad = {
        "train": shop_rows(60, 0).assign(price=["1", "cheap"] * 30),
        "val": shop_rows(60, 1).assign(visits=["1"] * 59 + ["many"]),
        "test": shop_rows(60, 2).assign(target=[7, 7] + [0] * 58),
    }
    for name, frame in bad.items():
        write_part(frame, data / name / "part-0.csv")
        (data / name / "part-0.parquet").unlink()
    with pytest.raises(DataError) as error:
        encode_folder(data)
    text = str(error.value)
    assert [fault.where for fault in error.value.problems] == [
        "train/part-0.csv, column 'price'",
        "val/part-0.csv, column 'visits'",
        "test, column 'target'",
    ]
    first = "train/part-0.csv row 2 'cheap'"
    for part in (first, "30 values", "val/part-0.csv row 60 'many'", "2 labels were not seen"):
        assert part in text
    assert "test/part-0.csv row 1 '7'" in text
    assert not tokenized


# --- rows that are in two splits


def test_rows_of_val_that_are_also_in_train_are_counted_for_any_id(data: Path) -> None:
    train = shop_rows(60, 0)
    val = pd.concat([train.iloc[5:9].assign(id="other"), shop_rows(20, 1)])
    val.iloc[0, val.columns.get_loc("target")] = 1 - val.iloc[0]["target"]
    val.iloc[1, val.columns.get_loc("message")] = "order 1 was rude"
    write_part(val, data / "val/part-0.parquet")
    splits = encode_folder(data).splits
    assert count_rows_seen_in_train(splits["val"], splits["train"]) == 2
    assert count_rows_seen_in_train(splits["test"], splits["train"]) == 0
    assert count_rows_seen_in_train(splits["train"], splits["train"]) == 60
