"""Complete jobs: one channel divided, warnings about data, token budgets, and the cache."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionzoo.data.text.text_tokenizer import TextTokenizer
from fusionzoo.serving.predictor import Predictor
from shop import JobFolder, shop_rows


def predicted_ids(job: JobFolder, name: str) -> list[str]:
    return [str(i) for i in pd.read_parquet(job.output / f"{name}_predictions.parquet")["id"]]


def test_a_single_train_channel_is_divided_and_no_customer_is_in_two_splits(job: JobFolder) -> None:
    frame = shop_rows(300)
    frame["customer"] = [f"c{i % 47}" for i in range(len(frame))]
    owner = dict(zip(frame["id"], frame["customer"], strict=True))
    job.channel("train", frame)
    job.settings(val_fraction=0.2, test_fraction=0.2, group_field="customer", max_epochs=1)
    assert job.run() == 0
    val, test = predicted_ids(job, "val"), predicted_ids(job, "test")
    train = set(frame["id"]) - {*val, *test}
    assert abs(len(val) - 60) <= 8
    assert abs(len(test) - 60) <= 8
    customers = [{owner[i] for i in ids} for ids in (train, val, test)]
    assert sum(map(len, customers)) == len(set.union(*customers)) == 47
    assert val == [i for i in frame["id"] if i in set(val)]


def test_the_seed_determines_the_division(job: JobFolder) -> None:
    job.channel("train", shop_rows(200))
    result = []
    for seed in (1, 1, 2):
        job.settings(val_fraction=0.25, seed=seed, max_epochs=1)
        assert job.run() == 0
        result.append(predicted_ids(job, "val"))
    assert len(result[0]) == 50
    assert result[0] == result[1]
    assert result[0] != result[2]


def test_a_test_split_can_be_a_fraction_of_train_without_ids(job: JobFolder) -> None:
    train, val = (shop_rows(rows, rows).drop(columns="id") for rows in (200, 50))
    job.channel("train", train, "part-0.csv")
    job.channel("val", val)
    job.settings(test_fraction=0.1, max_epochs=1, id_name=None, onnx="required")
    assert job.run() == 0
    predicted = pd.read_parquet(job.output / "val_predictions.parquet")
    assert list(predicted["row_id"]) == [f"val/part-00000.parquet:{i}" for i in range(1, 51)]
    predicted = pd.read_csv(job.output / "test_predictions.csv")
    assert len(predicted) == 20
    rows = predicted["row_id"].str.removeprefix("train/part-0.csv:").astype(int) - 1
    assert list(predicted["target"]) == list(train.loc[rows, "target"])
    scores = Predictor.load(job.model).predict_proba(train.loc[rows])
    np.testing.assert_allclose(scores[1], predicted["prob_1"], atol=1e-5)


def test_a_fraction_and_a_channel_for_the_same_split_are_an_error(job: JobFolder) -> None:
    job.fill(val_fraction=0.2, test_fraction=0.1)
    assert job.run() == 1
    assert "both" in job.failure
    assert "val_fraction" in job.failure
    assert "test_fraction" in job.failure


def test_a_missing_val_channel_is_an_error_that_names_val_fraction(job: JobFolder) -> None:
    job.channel("train", shop_rows(200))
    job.settings()
    assert job.run() == 1
    assert "val_fraction" in job.failure


def test_every_job_on_leaky_data_warns(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = shop_rows(160, 0), shop_rows(48, 1)
    train["visits"] = train["target"] * 5.0 + 1
    val = pd.concat([val, train.iloc[:7].assign(id="x")])
    job.fill(max_epochs=1)
    job.channel("train", train)
    job.channel("val", val)
    for _ in range(2):  # the second job uses the cache
        assert job.run() == 0
        out = capsys.readouterr().out
        assert "val: 7 rows of 55 also appear in train" in out
        assert "'visits'" in out
        assert "'price'" not in out


def test_batches_can_be_sized_by_tokens(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.fill(max_batch_tokens=100, max_epochs=1)
    assert job.run() == 0
    steps = json.loads((job.output / "metrics.json").read_text())["training"]["steps"]
    assert steps > 160 * 9 / 100  # some 9 to 12 tokens per row; batch_size would have made 10 steps
    assert "longer than max_batch_tokens" not in capsys.readouterr().out


def test_a_warmup_longer_than_the_training_is_an_error_with_a_token_budget(job: JobFolder) -> None:
    job.fill(max_batch_tokens=1000, max_epochs=1, warmup_steps=50)
    assert job.run() == 1
    assert "warmup_steps" in job.failure


def test_a_second_job_tokenizes_nothing_and_writes_the_same_model(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.fill(max_epochs=1, rows=140)
    assert job.run() == 0
    first = {name: (job.model / name).read_bytes() for name in ("preprocessor.json", "tokenizer.json")}
    scores = pd.read_parquet(job.output / "test_predictions.parquet")

    def fail(*_: object) -> None:
        raise AssertionError("something was tokenized")

    monkeypatch.setattr(TextTokenizer, "encode", fail)
    assert job.run() == 0
    assert first == {name: (job.model / name).read_bytes() for name in first}
    pd.testing.assert_frame_equal(scores, pd.read_parquet(job.output / "test_predictions.parquet"))


def test_a_job_with_an_unwritable_cache_trains_and_warns(
    job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(os.environ, "FUSIONZOO_CACHE", str(tmp_path / "file"))
    assert job.fill(max_epochs=1, onnx="required").run() == 0
    assert "'train' is held in memory" in capsys.readouterr().out
    assert (job.model / "model.onnx").exists()


def test_problems_of_all_splits_are_in_one_failure_message(job: JobFolder) -> None:
    job.fill()
    for seed, name in enumerate(("train", "val", "test")):
        (job.root / "input/data" / name / "part-00000.parquet").unlink()
        job.channel(name, shop_rows(40, seed).assign(price="cheap"), "part-0.csv")
    assert job.run() == 1
    assert "3 problems" in job.failure
    for name in ("train", "val", "test"):
        assert f"{name}/part-0.csv row 1 'cheap'" in job.failure


RANK = """
import json, os
from torch import distributed
from fusionzoo.data import hashing
from fusionzoo.hyperparameters.reading import read_hyperparameters
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training.distributed.world import World
from fusionzoo.architecture import choose_architecture
from fusionzoo.training.prepare_data import prepare_data

hashed = []
hash_file = hashing.hash_file
hashing.hash_file = lambda path: hashed.append(str(path)) or hash_file(path)
distributed.init_process_group("gloo")
paths = Paths.from_environment(os.environ)
architecture = choose_architecture(read_hyperparameters(paths))
data = prepare_data(paths, architecture, World.from_environment(os.environ))
print(json.dumps({"hashed": [path for path in hashed if "input/data" in path], "content_hashes": data.contents}))
distributed.destroy_process_group()
"""


def test_the_part_files_are_hashed_by_one_process_of_a_host(job: JobFolder) -> None:
    job.fill(embeddings="random")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RANK],
            env={
                **os.environ,
                **common,
                "SAGEMAKER_BASE_DIR": str(job.root),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (json.loads(process.communicate(timeout=240)[0].splitlines()[-1]) for process in ranks)
    assert len(first["hashed"]) == 3  # one part file in each of train, val and test
    assert second["hashed"] == []
    assert first["content_hashes"] == second["content_hashes"]
