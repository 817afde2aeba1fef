"""The preprocessor: fitting, encoding rows, saving and loading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS, encode_folder, fit_frame, make_rows, write_part
from fusionzoo.data import fit_preprocessor
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading import blocks
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.errors import DataError, ModelFolderError, Problem, ZooError
from shop import shop_rows


def test_a_loaded_preprocessor_encodes_like_the_saved_one(tmp_path: Path) -> None:
    preprocessor = fit_frame(shop_rows(80))
    preprocessor.save(tmp_path)
    restored = Preprocessor.load(tmp_path)
    first, second = (
        preprocessor.encode([make_rows(shop_rows(30, 1))], "val"),
        restored.encode([make_rows(shop_rows(30, 1))], "val"),
    )
    for name in ("tokens", "chunk_starts", "row_starts", "categories", "numbers", "numbers_missing", "labels"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert restored.target == preprocessor.target


@pytest.mark.parametrize("changes", [{"tokenizer": "/no/folder"}, {"embeddings": "/no/file"}])
def test_a_missing_tokenizer_or_vectors_file_is_an_error_before_any_row_is_read(changes: dict[str, str]) -> None:
    def unread() -> Any:
        pytest.fail("a row was read")
        yield

    with pytest.raises(ZooError, match="/no/"):
        fit_preprocessor.fit_preprocessor(SETTINGS.model_copy(update=changes), unread())


def test_data_does_not_need_torch(tmp_path: Path) -> None:
    fit_frame(shop_rows(40)).save(tmp_path)
    code = (
        "import sys, socket\nfrom pathlib import Path\n"
        "socket.socket.connect = None\n"
        "from fusionzoo.data.preprocessor import Preprocessor\n"
        "from fusionzoo.data.reading.rows import rows_from_records\n"
        "p = Preprocessor.load(Path(sys.argv[1]))\n"
        "rows = rows_from_records([{'message': 'late'}], ['message', 'country', 'price', 'visits'])\n"
        "s = p.encode([rows], 'x', False)\n"
        "assert len(s) == 1\nassert 'torch' not in sys.modules\nassert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_problems_of_several_columns_are_reported_together() -> None:
    preprocessor, frame = fit_frame(shop_rows(40)), shop_rows(20, 1)
    frame["price"] = "x"
    frame["visits"] = "y"
    frame["target"] = [5, *frame["target"][1:]]
    with pytest.raises(DataError) as error:
        preprocessor.encode([make_rows(frame)], "val")
    assert len(error.value.problems) == 3


def test_ids_keep_their_type_and_duplicates_are_counted() -> None:
    preprocessor = fit_frame(shop_rows(40))
    for ids in (["007", "1e5", "x,y", "007"], [3, 1, 2, 3], [2**62, 1, 2, 2**62]):
        split = preprocessor.encode([make_rows(shop_rows(4, 1).assign(id=ids))], "val")
        assert split.ids.to_pylist() == ids
        assert split.duplicate_ids == 1


def test_blocks_with_different_id_types_are_concatenated_without_loss() -> None:
    preprocessor, frame = fit_frame(shop_rows(40)), shop_rows(2, 1)
    split = preprocessor.encode([make_rows(frame.assign(id=[1, 2])), make_rows(frame.assign(id=["a", "b"]))], "val")
    assert split.ids.to_pylist() == ["1", "2", "a", "b"]


def test_records_of_plain_values_may_lack_keys() -> None:
    preprocessor = fit_frame(shop_rows(40))
    split = preprocessor.encode(
        [rows_from_records([{"price": 1}, {}], ["message", "country", "price", "visits"])], "x", False
    )
    assert split.numbers_missing.tolist() == [[False, True], [True, True]]
    assert split.labels is None
    assert split.empty_texts == 2


def test_zero_rows_are_encoded_as_an_empty_split() -> None:
    preprocessor = fit_frame(shop_rows(40))
    split = preprocessor.encode([rows_from_records([], ["message", "country", "price", "visits"])], "x", labeled=False)
    assert len(split) == 0
    batch = split.batch(np.arange(0))
    assert {name: array.shape for name, array in batch.items()}["tokens"] == (0, 0)
    assert batch["categories"].shape == (0, 1)


def test_problems_of_reading_and_of_values_are_reported_together() -> None:
    def source() -> Any:
        yield make_rows(shop_rows(20).assign(price="cheap"))
        raise DataError([Problem("train/part-1", "it is cut", "write it again", "FZ-D999")])

    for read in (
        lambda: fit_preprocessor.fit_preprocessor(SETTINGS, source()),
        lambda: fit_frame(shop_rows(40)).encode(source(), "val"),
    ):
        with pytest.raises(DataError) as error:
            read()
        assert [fault.where for fault in error.value.problems] == ["train/part-0, column 'price'", "train/part-1"]


def test_a_single_class_and_missing_text_are_reported_together() -> None:
    with pytest.raises(DataError) as error:
        fit_frame(shop_rows(20).assign(target=1, message=None))
    assert len(error.value.problems) == 2


def test_all_text_columns_are_used_and_all_their_problems_reported() -> None:
    settings = {"text_name": ["message", "country"], "cat_field_list": []}
    frame = shop_rows(40)
    preprocessor = fit_frame(frame, **settings)
    assert preprocessor.text is not None
    words = preprocessor.text.tokenizer.backend.get_vocab()
    tokens = preprocessor.encode([make_rows(frame.iloc[[0]].assign(message="late box", country="de"))], "x").tokens
    assert [words[w] for w in ("message", ":", "late", "box", "country", ":", "de")] == tokens.tolist()
    nested = make_rows(frame).columns | dict.fromkeys(("message", "country"), pa.array([["a"]] * 40))
    with pytest.raises(DataError) as error:
        preprocessor.encode([Rows(nested, "x", 1, typed=True)], "x")
    assert [fault.where for fault in error.value.problems] == ["x, column 'message'", "x, column 'country'"]


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ([[1, 2], ["a"]], ["1", "2", "a"]),
        ([[12_345_678_901], [1.0, 12_345_678_902.0]], ["12345678901", "1", "12345678902"]),
        ([pa.array([2**64 - 1], pa.uint64()), [-1]], [str(2**64 - 1), "-1"]),
        ([pa.array([1], pa.int8()), pa.array([2**40])], [1, 2**40]),
        ([pa.nulls(2), [7]], [None, None, 7]),
        ([["1"], pa.array(["2"], pa.large_string())], ["1", "2"]),
        ([pa.nulls(1), pa.nulls(1)], [None, None]),
        ([[True], ["a"]], ["True", "a"]),
    ],
)
def test_ids_of_several_part_files_are_kept_without_loss(parts: list[Any], joined: list[Any]) -> None:
    preprocessor, sources = fit_frame(shop_rows(40)), []
    for ids in parts:
        plain = make_rows(shop_rows(9, 1)[: len(ids)])
        sources.append(Rows({**plain.columns, "id": ids if isinstance(ids, pa.Array) else pa.array(ids)}, "x", 1, True))
    split = preprocessor.encode(sources, "x", labeled=False)
    assert split.ids.to_pylist() == joined
    assert split.duplicate_ids == len(joined) - len(set(joined))


@pytest.mark.parametrize("file", ["preprocessor.json", "tokenizer.json"])
def test_a_damaged_model_folder_is_named(file: str, tmp_path: Path) -> None:
    fit_frame(shop_rows(40)).save(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:200])
    with pytest.raises(ModelFolderError, match=file):
        Preprocessor.load(tmp_path)


def test_real_reviews_are_encoded_the_same_from_parquet_and_csv(real_data: Path, minilm: str, tmp_path: Path) -> None:
    table = pq.read_table(next((real_data / "review_threads/train").glob("*.parquet"))).slice(0, 300)
    texts = [f.name for f in table.schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    frame = table.select(texts).to_pandas().assign(row=range(300), half=np.arange(300) % 2)
    for name, write in (("a", frame.to_parquet), ("b", frame.to_csv)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / ("part.parquet" if name == "a" else "part.csv"), index=False)
    use = DataSettings(id_name="row", label_name="half", text_name=texts, num_classes=2, tokenizer=minilm)
    splits = []
    for name in ("a", "b"):
        channel = open_channel("train", tmp_path / name, use.columns)
        splits.append(fit_preprocessor.fit_preprocessor(use, channel).preprocessor.encode(channel, "train"))
    assert np.array_equal(splits[0].tokens, splits[1].tokens)
    assert len(splits[0].tokens) > 300 * 3
    assert [str(i) for i in splits[0].ids.to_pylist()] == splits[1].ids.to_pylist()


@pytest.mark.parametrize("block_rows", [7, 1000])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (range(40), "all 40 values are not finite numbers"),
        (range(14), "- train/part.csv, column 'price': 14 values are not finite numbers"),
        (range(20, 40), "- train/part.csv, column 'price': 20 values are not finite numbers"),
        ([3], "1 value is not a finite number"),
    ],
)
def test_a_message_says_whether_all_values_are_wrong(
    wrong: Any, words: str, block_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_ROWS", block_rows)
    values = ["cheap" if row in wrong else "1" for row in range(40)]
    write_part(shop_rows(40).assign(price=values), tmp_path / "data/train/part.csv")
    with pytest.raises(DataError) as error:
        encode_folder(tmp_path / "data")
    assert words in str(error.value)


def test_all_problems_of_one_column_are_reported_together(tmp_path: Path) -> None:
    rows = shop_rows(40)
    amount = [float(number) for number in range(40)]
    price = [str(number) for number in amount]
    amount[3], amount[8], amount[9] = float("inf"), None, 1e39
    price[1], price[5] = "cheap", "1e39"
    write_part(rows.assign(target=amount, price=price), tmp_path / "data/train/part.parquet")
    write_part(rows.assign(target=[None, *range(1, 40)]), tmp_path / "data/val/part.parquet")
    with pytest.raises(DataError) as error:
        encode_folder(tmp_path / "data", SETTINGS.model_copy(update={"task": "regression", "num_classes": None}))
    found = [
        (problem.where.split(",")[0], problem.column, problem.code, problem.rows) for problem in error.value.problems
    ]
    assert sorted(found) == [
        ("train/part.parquet", "price", "FZ-D106", (2,)),
        ("train/part.parquet", "price", "FZ-D130", (6,)),
        ("train/part.parquet", "target", "FZ-D113", (9,)),
        ("train/part.parquet", "target", "FZ-D160", (4,)),
        ("train/part.parquet", "target", "FZ-D160", (10,)),
        ("val/part.parquet", "target", "FZ-D113", (1,)),
    ]


def test_null_and_infinite_classes_are_reported_together_and_no_other_problem_follows_from_them(tmp_path: Path) -> None:
    labels: list[Any] = [0.0, 1.0] * 20
    labels[3], labels[8] = float("inf"), None
    write_part(shop_rows(40).assign(target=labels), tmp_path / "data/train/part.parquet")
    with pytest.raises(DataError) as error:
        encode_folder(tmp_path / "data")
    assert [(problem.code, problem.rows) for problem in error.value.problems] == [("FZ-D113", (9,)), ("FZ-D114", (4,))]
