"""Helpers of the data tests: part files in every format, encoded folders, and cache entries."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionzoo.data import array_store, fit_preprocessor
from fusionzoo.data.cache import Cache
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.encoding import EncodedData, encode_channels
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors import DataError
from shop import shop_rows

SETTINGS = DataSettings(
    id_name="id",
    label_name="target",
    text_name="message",
    cat_field_list=["country"],
    tab_field_list=["price", "visits"],
    num_classes=2,
    tokenizer="word",
    embedding_dim=4,
)


def write_part(frame: pd.DataFrame, path: Path) -> None:
    """Write a part file in the format of its suffix, compressed if the suffix ends with .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    match plain.suffix:
        case ".parquet":
            frame.to_parquet(plain, index=False)
        case ".jsonl":
            frame.to_json(plain, orient="records", lines=True, force_ascii=False)
        case suffix:
            frame.to_csv(plain, index=False, sep="\t" if suffix == ".tsv" else ",")
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()


def difficult_rows() -> pd.DataFrame:
    """Rows with quotes, delimiters and line breaks in their values."""
    frame = shop_rows(60)
    frame.loc[3, "message"] = 'quotes "here", commas,\nnew lines\r\nand\ttabs, ünïcode 漢字 😀'
    frame.loc[4, "country"] = 'a "b", c'
    frame["price"] = frame["price"].astype(np.float64).round(6)
    return frame


def encode_folder(
    root: Path, settings: DataSettings = SETTINGS, cache: Cache | None = None, seed: int = 0
) -> EncodedData:
    """Encode the channels below `root`; by default with the cache next to `root`."""
    channels = {path.name: open_channel(path.name, path, settings.columns) for path in sorted(root.iterdir())}
    cache = cache or Cache(root.parent / "cache", 10**9)
    return encode_channels(settings, channels, cache, seed, lambda rows: None)


class CountingBuild:
    """Builds a cache entry and counts how often it did."""

    def __init__(self, text: str = "built", size: int = 0) -> None:
        self.text, self.size, self.count = text, size, 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "one.bin").write_bytes(self.text.encode() + bytes(self.size))
        (folder / "two.bin").write_bytes(b"")


def read_entry(folder: Path) -> str:
    """Return the text that `CountingBuild` wrote."""
    return (folder / "one.bin").read_bytes().rstrip(b"\0").decode()


def make_rows(frame: pd.DataFrame, first: int = 1) -> Rows:
    table = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    columns = {n: table[n].combine_chunks() for n in table.column_names}
    columns = {n: a.chunk(0) if isinstance(a, pa.ChunkedArray) else a for n, a in columns.items()}
    return Rows(columns, "train/part-0", first, typed=True)


def make_column(values: Any, typed: bool = True) -> Rows:
    return Rows({"c": values if isinstance(values, pa.Array) else pa.array(values)}, "train/part-0", 1, typed)


def fit_frame(frame: pd.DataFrame, **changes: Any) -> Preprocessor:
    return fit_preprocessor.fit_preprocessor(SETTINGS.model_copy(update=changes), [make_rows(frame)]).preprocessor


def encode_train(folder: Path) -> EncodedSplit:
    channel = open_channel("train", folder, SETTINGS.columns)
    fitted = fit_preprocessor.fit_preprocessor(SETTINGS, channel).preprocessor
    return fitted.encode(channel, "train")


def read_problem(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        encode_train(folder)
    return str(error.value)


def serialize(records: list[dict[str, Any]], suffix: str) -> bytes:
    """Write records with libraries that this project does not use for writing."""
    kind = suffix.removesuffix(".gz")
    if kind == "parquet":
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records), stream, row_group_size=5)
        data = stream.getvalue()
    elif kind == "jsonl":
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
    else:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(records[0]), delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(records)
        data = text.getvalue().encode()
    return gzip.compress(data, 1) if suffix.endswith(".gz") else data


ARRAYS = (*array_store.ARRAYS, "dropped_tokens", "empty_texts", "duplicate_ids", "pad_id")


def are_equal(one: EncodedSplit, two: EncodedSplit) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ARRAYS) and (
        one.ids.to_pylist() == two.ids.to_pylist()
    )
