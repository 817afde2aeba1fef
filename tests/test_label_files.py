"""Label sets in files: every format and form gives the same encoded splits, also from the cache and without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_helpers import SETTINGS, encode_folder, serialize
from fusionzoo.data.cache import Cache
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoding import encode_channels
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.targets.target import find_labeled_rows
from fusionzoo.errors import DataError
from shop import shop_rows

TAGS: list[list[Any]] = [["late", "rude"], [], ["late"], ["ünï, 漢字", "rude", "rude"], ['with "quotes"']]
FORMS = ["lists.parquet", "lists.jsonl", "json.csv", "json.tsv", "json.parquet", "separated.csv", "separated.jsonl.gz"]


def make_settings(**changes: Any) -> DataSettings:
    labels = {"task": "multilabel", "label_name": "tags", "num_classes": None}
    return SETTINGS.model_copy(update={**labels, **changes})


def write_channel(folder: Path, form: str, missing: tuple[int, ...] = (), rows: int = 40) -> DataSettings:
    """Write a channel with labels in a form, such as "json.csv", and return its settings."""
    kind, _, suffix = form.partition(".")
    frame = shop_rows(rows).drop(columns="target").astype(object).where(lambda values: values.notna(), None)
    records: list[dict[str, Any]] = frame.to_dict("records")
    for row, record in enumerate(records):
        tags = TAGS[row % len(TAGS)]
        text = {"lists": tags, "json": json.dumps(tags), "separated": " ; ".join(tags) or "[]"}[kind]
        record["tags"] = None if row in missing else text
    folder.mkdir(parents=True)
    (folder / f"a.{suffix}").write_bytes(serialize(records, suffix))
    return make_settings(label_separator=";" if kind == "separated" else None)


@pytest.mark.parametrize("form", FORMS)
def test_every_format_and_form_of_the_labels_gives_the_same_rows(form: str, tmp_path: Path) -> None:
    expected = encode_folder(tmp_path / "one", write_channel(tmp_path / "one/train", "lists.parquet"))
    actual = encode_folder(tmp_path / "two", write_channel(tmp_path / "two/train", form))
    assert expected.preprocessor.target.num_outputs == 4
    labels, others = actual.splits["train"].labels, expected.splits["train"].labels
    assert labels is not None
    assert labels.dtype == np.int8
    assert np.array_equal(labels, others)
    assert labels[:5].sum(axis=1).tolist() == [2, 0, 1, 2, 1]
    assert np.array_equal(actual.splits["train"].digests, expected.splits["train"].digests)
    (tmp_path / "saved").mkdir()
    actual.preprocessor.save(tmp_path / "saved")
    assert Preprocessor.load(tmp_path / "saved").target == actual.preprocessor.target


@pytest.mark.parametrize("form", ["lists.parquet", "lists.jsonl", "json.csv", "separated.csv"])
def test_labels_may_be_missing_in_test_only(form: str, tmp_path: Path) -> None:
    settings, cache = write_channel(tmp_path / "data/train", form), Cache(tmp_path / "cache", 10**9)
    write_channel(tmp_path / "data/test", form, missing=(1, 3))
    for _ in range(2):  # the second time from the cache
        labels = encode_folder(tmp_path / "data", settings, cache).splits["test"].labels
        assert labels is not None
        assert np.flatnonzero(~find_labeled_rows(labels)).tolist() == [1, 3]
    write_channel(tmp_path / "data/val", form, missing=(1, 3))
    with pytest.raises(
        DataError, match=r"val/a\.\w+, column 'tags': 2 values are null: .*write \[\] where no label applies"
    ):
        encode_folder(tmp_path / "data", settings, cache)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("columns", ["tags", ["late", "rude"]])
def test_test_may_have_no_label_column(suffix: str, columns: str | list[str], tmp_path: Path) -> None:
    frame = shop_rows(40)
    frame["tags"] = [TAGS[row % 3] for row in range(40)]
    for name in ("late", "rude"):
        frame[name] = [name in tags for tags in frame["tags"]]
    for name in ("train", "test"):
        (tmp_path / "data" / name).mkdir(parents=True)
    frame.to_parquet(tmp_path / "data/train/a.parquet")
    test: pd.DataFrame = frame.drop(columns=["tags", "late", "rude"])
    records = test.astype(object).where(test.notna(), None).to_dict("records")
    (tmp_path / f"data/test/a.{suffix}").write_bytes(serialize(records, suffix))
    settings = make_settings(label_name=columns)
    channels = {
        name: open_channel(name, tmp_path / "data" / name, settings.columns, optional_columns=optional)
        for name, optional in (("train", ()), ("test", settings.label_columns))
    }
    cache = Cache(tmp_path / "cache", 10**9)
    splits = encode_channels(settings, channels, cache, 0, lambda rows: None).splits
    assert splits["test"].labels is not None
    assert splits["train"].labels is not None
    assert splits["test"].labels.tolist() == [[-1, -1]] * 40
    assert splits["train"].labels.sum(axis=0).tolist() == [27, 14]
