"""Real-world data: inputs that once gave a wrong result, a stack trace, or an endless run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, processors

from data_helpers import SETTINGS, CountingBuild, encode_folder, read_entry, write_part
from fusionzoo.data import array_store, encoding
from fusionzoo.data.cache import BUILDING_PREFIX, REMOVED_PREFIX, Cache
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.text import text_tokenizer
from fusionzoo.data.text.cleaning import clean_messages
from fusionzoo.errors import CacheError, DataError, HyperparametersError
from shop import shop_rows

FORMATS = ("csv", "tsv", "jsonl", "parquet")


def encode_labels(root: Path, values: Any, num_classes: int) -> list[tuple[list[int], list[str]]]:
    """Return the encoded labels and the texts of the classes of the same rows in each format."""
    result = []
    for suffix in FORMATS:
        write_part(shop_rows(len(values)).assign(target=values), root / suffix / f"data/train/part.{suffix}")
        data = encode_folder(root / suffix / "data", SETTINGS.model_copy(update={"num_classes": num_classes}))
        labels = data.splits["train"].labels
        assert labels is not None
        result.append((labels.tolist(), [f"{float(c):g}" for c in data.preprocessor.target.classes]))
    return result


@pytest.mark.parametrize(
    ("values", "num_classes", "classes"),
    [
        ([str(i % 11) for i in range(60)], 11, [str(i) for i in range(11)]),
        (["9", "10"] * 30, 2, ["9", "10"]),
        (["0", "2"] * 30, 3, ["0", "1", "2"]),
        (np.arange(60) % 2 * 1.0, 3, ["0", "1", "2"]),
        ([1e16, 2.0] * 30, 2, ["2", "1e+16"]),
        ([-0.0, 1.5] * 30, 2, ["0", "1.5"]),
    ],
)
def test_labels_have_the_same_indices_in_every_format(
    values: Any, num_classes: int, classes: list[str], tmp_path: Path
) -> None:
    result = encode_labels(tmp_path, values, num_classes)
    assert result == [result[0]] * len(FORMATS)
    assert result[0][1] == classes


@pytest.mark.parametrize("values", [[-0.0, 0.0, 1.5], [1e16, 2e16, 3.0], [True, False, True]])
def test_categories_have_the_same_ids_in_every_format_and_in_mixed_formats(values: Any, tmp_path: Path) -> None:
    result = []
    for suffix in FORMATS:
        frame = shop_rows(60).assign(country=values * 20)
        write_part(frame, tmp_path / suffix / f"data/train/part.{suffix}")
        write_part(frame, tmp_path / suffix / "data/val/part.parquet")
        splits = encode_folder(tmp_path / suffix / "data").splits
        assert np.array_equal(splits["train"].categories, splits["val"].categories)
        result.append(splits["train"].categories.tolist())
    assert result == [result[0]] * len(FORMATS)


def test_booleans_in_any_notation_are_the_same_category(tmp_path: Path) -> None:
    write_part(shop_rows(60).assign(country=[True, False] * 30), tmp_path / "data/train/part.parquet")
    write_part(shop_rows(60).assign(country=["true", "false"] * 30), tmp_path / "data/val/part.csv")
    splits = encode_folder(tmp_path / "data").splits
    assert np.array_equal(splits["train"].categories, splits["val"].categories)
    assert splits["val"].categories.min() >= 2


@pytest.mark.parametrize("step", ["fit_preprocessor", "write_split"])
def test_a_part_file_that_changes_during_the_job_is_an_error_and_leaves_no_cache_entry(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "data/train/part-0.parquet"
    write_part(shop_rows(60), part)
    owner: Any = encoding if step == "fit_preprocessor" else array_store
    real = getattr(owner, step)

    def change_first(*arguments: Any) -> Any:
        write_part(shop_rows(60, 7), part)
        return real(*arguments)

    monkeypatch.setattr(owner, step, change_first)
    with pytest.raises(DataError, match=r"part-0\.parquet: the file changed"):
        encode_folder(tmp_path / "data")
    monkeypatch.undo()
    write_part(shop_rows(60), part)
    assert len(encode_folder(tmp_path / "data").splits["train"]) == 60
    assert (
        encode_folder(tmp_path / "data").preprocessor.numbers
        == encode_folder(tmp_path / "data", cache=Cache(tmp_path / "other", 10**9)).preprocessor.numbers
    )


def test_text_that_is_not_utf8_in_parquet_is_named(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(shop_rows(2), preserve_index=False)
    broken = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(np.int32([0, 1, 4])), pa.py_buffer(b"xa\xffb")])
    table = table.set_column(table.schema.get_field_index("country"), "country", broken)
    (tmp_path / "data/train").mkdir(parents=True)
    pq.write_table(table, tmp_path / "data/train/part.parquet")
    with pytest.raises(
        DataError, match=r"train/part\.parquet, column 'country': the column holds text that is not UTF-8"
    ):
        encode_folder(tmp_path / "data")


def test_ids_without_a_common_type_are_named_before_any_text_is_tokenized(tmp_path: Path) -> None:
    write_part(shop_rows(30), tmp_path / "data/train/part-0.parquet")
    write_part(shop_rows(30, 1).assign(id=[b"\xff%d" % i for i in range(30)]), tmp_path / "data/train/part-1.parquet")
    with pytest.raises(DataError, match=r"strings in train/part-0\.parquet, bytes in train/part-1\.parquet"):
        encode_folder(tmp_path / "data")


def test_an_infinite_label_is_named_with_its_row(tmp_path: Path) -> None:
    write_part(shop_rows(30).assign(target=[float("inf"), *[0.0, 1.0] * 14, 1.0]), tmp_path / "data/train/part.parquet")
    with pytest.raises(DataError, match=r"1 label is infinite: train/part\.parquet row 1"):
        encode_folder(tmp_path / "data")


def test_dates_beyond_the_year_9999_can_be_ids_and_labels(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(shop_rows(4), preserve_index=False)
    dates = pa.array(np.int32([10**7, 10**7 + 1] * 2)).cast(pa.date32())
    for name in ("id", "target"):
        table = table.set_column(table.schema.get_field_index(name), name, dates)
    (tmp_path / "data/train").mkdir(parents=True)
    pq.write_table(table, tmp_path / "data/train/part.parquet")
    split = encode_folder(tmp_path / "data").splits["train"]
    assert split.labels is not None
    assert split.labels.tolist() == [0, 1, 0, 1]
    assert split.duplicate_ids == 2


def test_excess_combining_marks_on_a_letter_are_removed() -> None:
    (text,) = clean_messages(["a" + "\u0301\u0316" * 200_000 + "b"], ["text_normalizer"]).texts
    assert len(text) <= 32
    assert text[-1] == "b"
    assert clean_messages(["e\u0301" * 3], ["text_normalizer"]).texts == ["\u00e9" * 3]


def test_special_tokens_that_fill_a_chunk_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: i for i, name in enumerate(["[PAD]", "[A]", "[B]", "[C]", "[D]", "a"])}
    backend = Tokenizer(models.WordLevel(names, unk_token="[PAD]"))
    backend.add_special_tokens(list(names)[:5])
    special = [(name, names[name]) for name in ("[A]", "[B]", "[C]", "[D]")]
    backend.post_processor = processors.TemplateProcessing(single="[A] [B] $A [C] [D]", special_tokens=special)
    monkeypatch.setattr(text_tokenizer, "load_tokenizer", lambda name: text_tokenizer.wrap_tokenizer(name, backend, 0))
    write_part(shop_rows(30), tmp_path / "data/train/part.parquet")
    use = SETTINGS.model_copy(update={"tokenizer": "four", "max_sen_len": 4})
    with pytest.raises(HyperparametersError, match="max_sen_len"):
        encode_folder(tmp_path / "data", use)
    assert len(encode_folder(tmp_path / "data", use.model_copy(update={"max_sen_len": 5})).splits["train"]) == 30


def test_problems_of_a_new_val_are_found_before_tokenizing_if_the_fit_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_part(shop_rows(60), tmp_path / "data/train/part.parquet")
    encode_folder(tmp_path / "data")
    write_part(shop_rows(40, 1).assign(price=["1"] * 39 + ["cheap"]), tmp_path / "data/val/part.csv")
    write_part(shop_rows(40, 2).assign(target=5), tmp_path / "data/test/part.csv")
    monkeypatch.setattr(text_tokenizer.TextTokenizer, "encode", lambda *_: pytest.fail("something was tokenized"))
    with pytest.raises(DataError) as error:
        encode_folder(tmp_path / "data")
    assert {fault.where for fault in error.value.problems} == {"val/part.csv, column 'price'", "test, column 'target'"}


# --- a cache that other processes use too


def test_a_disk_error_without_errno_is_a_cache_error(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise OSError("44800 requested and 10208 written")

    with pytest.raises(CacheError, match="44800 requested"):
        Cache(tmp_path, 10**9).get_or_build("k", fail, read_entry)


@pytest.mark.parametrize("step", ["fit_preprocessor", "write_split"])
def test_a_cache_that_is_removed_during_a_job_is_built_again(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_part(shop_rows(60), tmp_path / "data/train/part.parquet")
    owner: Any = encoding if step == "fit_preprocessor" else array_store
    real = getattr(owner, step)

    def remove_first(*arguments: Any) -> Any:
        shutil.rmtree(tmp_path / "cache")
        monkeypatch.setattr(owner, step, real)
        return real(*arguments)

    monkeypatch.setattr(owner, step, remove_first)
    assert len(encode_folder(tmp_path / "data").splits["train"]) == 60


def test_leftovers_of_killed_processes_do_not_stop_later_jobs(tmp_path: Path) -> None:
    for name in (f"{BUILDING_PREFIX}k", f"{REMOVED_PREFIX}k"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.bin").write_text("half")
    assert Cache(tmp_path, 10**9).get_or_build("k", CountingBuild(), read_entry) == "built"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["k"]


def test_a_fit_that_is_removed_while_it_is_loaded_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_part(shop_rows(60), tmp_path / "data/train/part.parquet")
    first = encode_folder(tmp_path / "data")
    real, times = Preprocessor.load, 0

    def remove_first(folder: Path) -> Preprocessor:
        nonlocal times
        times += 1
        if times == 1:
            shutil.rmtree(folder)
        return real(folder)

    monkeypatch.setattr(Preprocessor, "load", remove_first)
    assert encode_folder(tmp_path / "data").preprocessor.numbers == first.preprocessor.numbers
    assert times == 2


@pytest.mark.parametrize("step", ["fit_preprocessor", "write_split"])
def test_a_part_file_that_is_removed_during_the_job_is_an_error(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (0, 1):
        write_part(shop_rows(60, part), tmp_path / f"data/train/part-{part}.parquet")
    owner: Any = encoding if step == "fit_preprocessor" else array_store
    real = getattr(owner, step)

    def remove_first(*arguments: Any) -> Any:
        result = real(*arguments)
        (tmp_path / "data/train/part-1.parquet").unlink()
        return result

    monkeypatch.setattr(owner, step, remove_first)
    with pytest.raises(DataError, match=r"part-1\.parquet: the file changed"):
        encode_folder(tmp_path / "data")


def test_float32_numbers_equal_those_of_a_text_file(tmp_path: Path) -> None:
    frame = shop_rows(60)
    frame["price"] = frame["price"].round(2).astype(np.float32)
    result = []
    for suffix in ("csv", "parquet"):
        write_part(frame, tmp_path / suffix / f"data/train/part.{suffix}")
        result.append(encode_folder(tmp_path / suffix / "data"))
    assert result[0].preprocessor.numbers == result[1].preprocessor.numbers
    assert np.array_equal(result[0].splits["train"].numbers, result[1].splits["train"].numbers)


def test_part_files_with_pandas_extension_types_are_read(tmp_path: Path) -> None:
    frame = shop_rows(60)
    frame["country"] = frame["country"].astype("category")
    frame["visits"] = frame["visits"].astype("Int64")
    frame["message"] = pd.array(frame["message"], "string")
    write_part(frame, tmp_path / "one/data/train/part.parquet")
    write_part(shop_rows(60), tmp_path / "two/data/train/part.parquet")
    first, second = (
        encode_folder(tmp_path / "one/data").splits["train"],
        encode_folder(tmp_path / "two/data").splits["train"],
    )
    assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in array_store.ARRAYS)


DECIMAL_POINT = "write 1234.56, with a decimal point and without thousands separators"
NO_SIGN = "remove the currency or percent sign"


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        (["184,58"], DECIMAL_POINT),
        (["2.102,55", "1,000", "-1_000"], DECIMAL_POINT),
        (["1\u202f234,5", "1 234", "1'234.56"], DECIMAL_POINT),
        (["12,34,567"], DECIMAL_POINT),
        (["$441", "441 \u20ac", "-3%", "EUR 12.5"], NO_SIGN),
        (["$1,200.50"], f"{NO_SIGN}, and {DECIMAL_POINT}"),
        (["2024-10-28", "2024-10-28 12:30:00"], "convert it to numbers, such as days since a fixed day"),
        (["28.10.2024", "10/28/24"], "convert it to numbers, such as days since a fixed day"),
        (["unknown"], "list words for missing values in null_values, or use cat_field_list"),
        (["1,000", "unknown"], "list words for missing values in null_values"),
        (["192.168.0.1"], "list words for missing values in null_values"),
        (["12 km"], "list words for missing values in null_values"),
    ],
)
def test_the_fix_for_a_text_that_is_no_number_fits_its_shape(values: list[str], fix: str, tmp_path: Path) -> None:
    rows = shop_rows(40)
    write_part(rows.assign(price=[*values, *["1.5"] * (40 - len(values))]), tmp_path / "data/train/part.csv")
    with pytest.raises(DataError) as error:
        encode_folder(tmp_path / "data")
    (problem,) = error.value.problems
    assert (problem.code, len(problem.rows)) == ("FZ-D106", min(3, len(values)))
    assert fix in problem.fix
    assert problem.fix.startswith(fix) == ("null_values" not in fix)
    assert ("null_values" in problem.fix) == ("null_values" in fix)


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        (["1.234,56"] * 40, DECIMAL_POINT),
        (["$5"] * 40, NO_SIGN),
        (["2024-10-28"] * 40, "convert it to numbers"),
        (["good"] * 40, "correct the values; to predict classes, set task: classification"),
    ],
)
def test_the_fix_for_a_label_that_is_no_number_fits_its_shape(values: list[str], fix: str, tmp_path: Path) -> None:
    write_part(shop_rows(40).assign(target=values), tmp_path / "data/train/part.csv")
    with pytest.raises(DataError, match="all 40 values are not finite numbers, and task is regression") as error:
        encode_folder(tmp_path / "data", SETTINGS.model_copy(update={"task": "regression", "num_classes": None}))
    (problem,) = error.value.problems
    assert problem.code == "FZ-D160"
    assert problem.fix.startswith(fix)
    assert "cat_field_list" not in problem.fix
