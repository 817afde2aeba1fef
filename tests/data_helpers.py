"""Helpers of the data tests: part files in every format, encoded folders, and cache entries."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

from fusionzoo.data.cache import Cache
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoding import EncodedData, encode_channels
from fusionzoo.data.reading.channel import open_channel
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
