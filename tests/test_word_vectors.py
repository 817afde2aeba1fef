"""Files of word vectors: rows of other widths, wrong headers, cut files, odd words, and paths of no local file."""

from __future__ import annotations

import bz2
import gzip
import logging
import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from data_helpers import SETTINGS
from fusionzoo.data.text import word_vectors
from fusionzoo.data.text.text_tokenizer import TextTokenizer, wrap_tokenizer
from fusionzoo.data.text.word_vector_files import check_word_vector_file, read_word_vectors
from fusionzoo.errors import EmbeddingsError

WORDS = {"good", "bad", "fine", "né"}
GOOD = {"good": [0.1, 0.2], "bad": [0.3, 0.4]}


def write(folder: Path, text: str, name: str = "v.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def write_binary(folder: Path, header: str, rows: Mapping[str, Sequence[float]], name: str = "v.bin") -> Path:
    path = folder / name
    body = b"".join(word.encode() + b" " + struct.pack(f"<{len(x)}f", *x) + b"\n" for word, x in rows.items())
    path.write_bytes(header.encode() + b"\n" + body)
    return path


def read(path: Path) -> dict[str, list[float]]:
    vectors = read_word_vectors(path, WORDS)
    return {word: [round(float(x), 4) for x in vectors[word]] for word in vectors.key_to_index}


# --- widths


@pytest.mark.parametrize(
    ("text", "line", "found", "expected", "where"),
    [
        ("good 0.1 0.2\nbad 0.1\n", 2, "1 number", 2, "line 1"),  # gensim repeats one number
        ("good 0.1 0.2\nbad\n", 2, "0 numbers", 2, "line 1"),
        ("good 0.1 0.2\nbad 0.1 0.2 0.3\n", 2, "3 numbers", 2, "line 1"),
        ("good 0.1 0.2\nbad 0.1 0.2\nother 0.1\n", 3, "1 number", 2, "line 1"),
        ("good 0.1 0.2 0.3\nbad 0.1 0.2", 2, "2 numbers", 3, "line 1"),  # cut short in the last line
        ("2 3\ngood 0.1 0.2\nbad 0.1 0.2\n", 2, "2 numbers", 3, "the header"),
        ("2 2\ngood 0.1 0.2\nbad 0.1\n", 3, "1 number", 2, "the header"),
        ("2 1\ngood 0.1 0.2\nbad 0.1 0.2\n", 2, "2 numbers", 1, "the header"),
    ],
)
@pytest.mark.parametrize("compression", ["", ".gz", ".bz2"])
def test_rows_of_another_width_are_an_error_with_file_line_and_both_widths(
    tmp_path: Path, text: str, line: int, found: str, expected: int, where: str, compression: str
) -> None:
    path = tmp_path / f"v.txt{compression}"
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[compression](text.encode()))
    with pytest.raises(EmbeddingsError) as refused:
        read(path)
    message = str(refused.value)
    assert f"{path}', line {line}: " in message
    assert found in message
    assert re.search(rf"{where} .*{expected}", message)


def test_a_line_that_holds_no_numbers_is_an_error_that_names_it(tmp_path: Path) -> None:
    for text, line in (("good x y\n", 1), ("good 0.1 0.2\nbad 0.1 x\n", 2), ("1 2\ngood 0.1 0,2\n", 2)):
        with pytest.raises(EmbeddingsError, match=f"line {line}: "):
            read(write(tmp_path, text))


def test_a_word_that_is_not_utf_8_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes("good 0.1 0.2\nné 0.3 0.4\n".encode("latin-1"))
    with pytest.raises(EmbeddingsError, match=r"line 2: .*UTF-8"):
        read(tmp_path / "v.txt")


@pytest.mark.parametrize("share", [1, 2])
def test_a_few_words_that_are_not_utf_8_are_skipped_with_a_warning(
    tmp_path: Path, share: int, caplog: pytest.LogCaptureFixture
) -> None:
    others = {f"other{i}": [0.5, 0.6] for i in range(98)}
    rows = {**others, "good": [0.1, 0.2], "bad": [0.3, 0.4]}
    text = "".join(f"{word} {x} {y}\n" for word, (x, y) in rows.items()).encode()
    cut = b"\xd0\xbf\xd1"  # word2vec cuts a long word in a character
    plain, binary = tmp_path / "v.txt", write_binary(tmp_path, f"{100 + share} 2", rows)
    plain.write_bytes(text + (cut + b" 1 2\n") * share)
    binary.write_bytes(binary.read_bytes() + (cut + b" " + struct.pack("<2f", 1, 2) + b"\n") * share)
    for path, place in ((plain, "line 101"), (binary, "word 101")):
        caplog.clear()
        if share > 1:
            with pytest.raises(EmbeddingsError, match=f"{place}: .*not UTF-8"):
                read(path)
            continue
        assert read(path) == GOOD
        assert f"1 word is not UTF-8, so that no text has their vectors ({place}: " in caplog.text


def test_a_byte_order_mark_is_no_part_of_the_first_word_or_the_header(tmp_path: Path) -> None:
    for header in ("", "2 2\n"):
        assert read(write(tmp_path, f"\ufeff{header}good 0.1 0.2\nbad 0.3 0.4\n")) == GOOD


# --- formats


@pytest.mark.parametrize("name", ["v", "v.txt", "v.w2v", "v.vec.gz", "v.bin"])
@pytest.mark.parametrize("ends_lines", [True, False])
def test_binary_vectors_are_recognized_under_any_name(tmp_path: Path, name: str, ends_lines: bool) -> None:
    path = write_binary(tmp_path, "2 2", {"good": [0.1, 0.2], "bad": [0.3, 0.4]}, name)
    content = path.read_bytes() if ends_lines else path.read_bytes().replace(b"\nbad", b"bad")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read(path) == GOOD


@pytest.mark.parametrize("name", ["v.bin", "v.bin.gz"])
def test_text_vectors_with_the_name_of_binary_ones_are_read_as_text(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, "2 2\ngood 0.1 0.2\nbad 0.3 0.4\n", name)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert read(path) == GOOD


@pytest.mark.parametrize(
    ("beginning", "kind", "fix"),
    [
        (b"PK\x03\x04", "a zip archive", "unpack it"),
        (b"\xfd7zXZ\0", "compressed with xz", "decompress it"),
        (b"(\xb5/\xfd", "compressed with zstd", "decompress it"),
        (gzip.compress(b"good 0.1 0.2\n"), "compressed with gzip", r"add \.gz to its name"),
        (struct.pack("<ii", 793712314, 12), "a model of fastText", r"give its \.vec file"),
        (pickle.dumps(WORDS), "a pickle", "save it as text with save_word2vec_format"),
        (b"\x93NUMPY\x01\0", "an array of NumPy", "save it as text with"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["v", "v.bin"])
def test_another_format_is_named_before_data_is_read(
    tmp_path: Path, beginning: bytes, kind: str, fix: str, name: str
) -> None:
    (tmp_path / name).write_bytes(beginning + b"\n" + bytes(40))
    with pytest.raises(EmbeddingsError, match=rf"{name}' is {kind}.*\nFix: {fix}"):
        check_word_vector_file(tmp_path / name)


@pytest.mark.parametrize("text", ["good\t0.1\t0.2\n", "good,0.1,0.2\n", "good x y\n"])
def test_a_first_line_that_is_no_vector_is_an_error_before_data_is_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(EmbeddingsError, match=r"line 1: it is not a word with numbers.*\n.*one space"):
        check_word_vector_file(write(tmp_path, text))


# --- the number of rows


@pytest.mark.parametrize(("stated", "found"), [(3, "it has 2"), (1, "it has 2")])
def test_a_header_with_another_number_of_words_is_an_error(tmp_path: Path, stated: int, found: str) -> None:
    path = write(tmp_path, f"{stated} 2\ngood 0.1 0.2\nbad 0.3 0.4\n" + "\n" * 20)
    with pytest.raises(EmbeddingsError, match=rf"v\.txt' .* {stated} words?.*{found}"):
        read(path)


@pytest.mark.parametrize(("stated", "found"), [(3, "it has 2"), (1, "more")])
def test_a_binary_file_with_another_number_of_words_is_an_error(tmp_path: Path, stated: int, found: str) -> None:
    path = write_binary(tmp_path, f"{stated} 2", {"good" * 9: [1, 2], "bad": [3, 4]})
    with pytest.raises(EmbeddingsError, match=rf"v\.bin' .* {stated} words?.*{found}"):
        read(path)


@pytest.mark.parametrize("cut", [2, 5, 9, 12])
def test_a_binary_file_that_is_cut_at_its_end_is_an_error(tmp_path: Path, cut: int) -> None:
    path = write_binary(tmp_path, "2 2", {"good" * 9: [1, 2], "bad": [3, 4]})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(EmbeddingsError, match=r"2 words.*it has 1"):
        read(path)


@pytest.mark.parametrize("name", ["v.txt.gz", "v.bin.gz", "v.txt.bz2"])
def test_a_compressed_file_that_is_cut_short_is_an_error(tmp_path: Path, name: str) -> None:
    compress = bz2.compress if name.endswith("bz2") else gzip.compress
    path = tmp_path / name
    text = b"".join(b"word%d 0.%d 0.%d\n" % (i, i * 7919 % 997, i * 104729 % 991) for i in range(2000))
    path.write_bytes(compress(text)[:-50])
    with pytest.raises(EmbeddingsError, match=re.escape(name)):
        read(path)


# --- words


def test_blank_lines_carriage_returns_and_trailing_spaces_are_accepted(tmp_path: Path) -> None:
    assert read(write(tmp_path, "good 0.1 0.2 \r\nbad 0.3 0.4 \r\n\r\n")) == GOOD
    assert read(write(tmp_path, "2 2\ngood 0.1 0.2 \n\nbad 0.3 0.4")) == GOOD


def test_words_that_contain_spaces_are_skipped_as_no_text_has_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "good 0.1 0.2\n. . . 0.5 0.6\nat name@domain.com 0.7 0.8\nbad 0.3 0.4\n"
    with caplog.at_level(logging.INFO):
        assert read(write(tmp_path, text)) == GOOD
        assert read(write(tmp_path, "4 2\n" + text)) == GOOD
        assert read(write(tmp_path, ". . . 0.5 0.6\n" + text)) == GOOD
    assert "2 words contain spaces" in caplog.text


@pytest.mark.parametrize("is_binary", [False, True])
def test_the_first_vector_of_a_duplicate_word_counts_with_a_warning(
    tmp_path: Path, is_binary: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "3 2\ngood 0.1 0.2\nbad 0.3 0.4\ngood 9 9\n")
    if is_binary:
        content = write_binary(tmp_path, "3 2", {"good": [0.1, 0.2], "bad": [0.3, 0.4]}).read_bytes()
        path = tmp_path / "v.bin"
        path.write_bytes(content + b"good " + struct.pack("<2f", 9, 9))
    assert read(path) == GOOD
    assert "more than one vector" in caplog.text
    assert "good" in caplog.text


def test_only_the_vectors_of_the_given_words_are_returned(tmp_path: Path) -> None:
    assert read(write(tmp_path, "good 0.1 0.2\nother 1 2\nbad 0.3 0.4\nNAN nan inf\n")) == GOOD
    assert read(write_binary(tmp_path, "3 2", {"other": [1, 2], "good": [0.1, 0.2], "bad": [0.3, 0.4]})) == GOOD
    assert read(write(tmp_path, "other 1 2\n")) == {}


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_binary_vectors_are_read_in_pieces_of_any_size(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.text.word_vector_files.CHUNK_BYTES", chunk)
    rows = {"né": [0.5, 1.0], "x" * 300: [1.0, 2.0], **GOOD}
    assert read(write_binary(tmp_path, "4 2", rows)) == {"né": [0.5, 1.0], **GOOD}


# --- the vectors of a job


@pytest.fixture
def tokenizer() -> TextTokenizer:
    words = ["[PAD]", "[UNK]", "good", "bad"]
    return wrap_tokenizer("word", Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]")), 0)


def build(path: Path | str, tokenizer: TextTokenizer) -> np.ndarray:
    settings = SETTINGS.model_copy(update={"embeddings": str(path)})
    no_split: Any = None  # only trained vectors need the text
    return word_vectors.build_word_vectors(settings, tokenizer, no_split, 0)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e39"])
def test_a_vector_of_train_with_nan_or_infinity_is_an_error(
    tmp_path: Path, value: str, tokenizer: TextTokenizer
) -> None:
    with pytest.raises(EmbeddingsError, match="NaN or infinity: bad"):
        build(write(tmp_path, f"good 0.1 0.2\nbad 0.1 {value}\n"), tokenizer)


def test_vectors_for_no_word_of_train_are_an_error(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    with pytest.raises(EmbeddingsError, match="no vector for any word"):
        build(write(tmp_path, "other 0.1 0.2\n"), tokenizer)


# --- values that are no path of a local file


def check(value: str) -> str:
    with pytest.raises(EmbeddingsError) as refused:
        word_vectors.check_embeddings_source(SETTINGS.model_copy(update={"embeddings": value}))
    return str(refused.value)


@pytest.mark.parametrize("url", ["s3://bucket/v.txt", "https://host/glove.txt", "file:///v.txt", "S3://b/v"])
def test_a_url_is_named_as_one_and_the_fix_is_a_channel(url: str) -> None:
    message = check(url)
    assert f"'{url}' is a URL" in message
    assert "channel" in message


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "good 0.1 0.2\n")
    assert word_vectors.find_vector_file("~/v.txt") == tmp_path / "v.txt"
    word_vectors.check_embeddings_source(SETTINGS.model_copy(update={"embeddings": "~/v.txt"}))
    assert "neither a file" in check("~/absent.txt")
    assert "neither a file" in check("x" * 5000)
    assert "neither a file" in check("a\0b")
    assert check_word_vector_file(tmp_path / "v.txt") is None
