"""A predictor in another process, thread or copy: it has the same model, or is an error with a fix."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionzoo.errors import ModelFolderError
from fusionzoo.serving.predictor import Predictor
from predictor_helpers import make_predictor
from shop import JobFolder, shop_rows

ROWS = shop_rows(12, seed=3).drop(columns=["target", "id"])


@pytest.fixture(scope="module")
def predictor(trained_job: JobFolder) -> Predictor:
    return Predictor.load(trained_job.model, threads=1)


def copy_folder(job: JobFolder, folder: Path) -> Path:
    shutil.copytree(job.model, folder)
    return folder


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_pool_of_processes_has_the_scores_of_this_process(predictor: Predictor, method: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        parts = pool.map(predictor.predict_records, [ROWS.iloc[:5], ROWS.iloc[5:]])
    np.testing.assert_allclose(np.concatenate(parts), predictor.predict_records(ROWS), atol=1e-6)


def test_a_pickle_has_no_model_and_keeps_the_arguments_of_load(
    trained_job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained_job.root)
    content = pickle.dumps(Predictor.load("model", threads=1))
    monkeypatch.chdir("/")
    calls: list[int | None] = []
    load = Predictor.load

    @staticmethod
    def count(folder: Path, threads: int | None) -> Predictor:
        calls.append(threads)
        return load(folder, threads)

    monkeypatch.setattr(Predictor, "load", count)
    restored: Predictor = pickle.loads(content)
    assert len(content) < 1000
    assert calls == []
    assert restored.predict(ROWS).shape == (12, 1)
    assert restored.columns == load(trained_job.model).columns
    assert calls == [1]
    assert pickle.loads(pickle.dumps(restored)).task.title == restored.task.title


def test_an_unpickled_predictor_can_be_used_first_by_several_threads(predictor: Predictor) -> None:
    restored: Predictor = pickle.loads(pickle.dumps(predictor))
    scores: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: scores.append(restored.predict_records(ROWS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = predictor.predict_records(ROWS)
    assert len(scores) == 4
    assert all(np.allclose(part, expected, atol=1e-6) for part in scores)


def test_a_folder_that_is_gone_is_an_error_for_the_caller_of_the_pool(trained_job: JobFolder, tmp_path: Path) -> None:
    folder = copy_folder(trained_job, tmp_path / "model")
    predictor = Predictor.load(folder)
    shutil.rmtree(folder)
    assert len(predictor.predict_records(ROWS)) == 12
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(ModelFolderError, match=f"(?s){folder} does not exist.*Fix: keep the folder") as raised,
    ):
        list(pool.map(predictor.predict_records, [ROWS]))
    assert raised.value.code == "FZ-O245"


def test_a_folder_with_another_model_is_an_error(trained_job: JobFolder, tmp_path: Path) -> None:
    folder = copy_folder(trained_job, tmp_path / "model")
    content = pickle.dumps(Predictor.load(folder))
    shutil.rmtree(folder)
    other = JobFolder(tmp_path / "other").fill(rows=80, max_epochs=1, onnx="required", seed=7)
    assert other.run() == 0
    copy_folder(other, folder)
    restored: Predictor = pickle.loads(content)
    for _ in range(2):
        with pytest.raises(ModelFolderError, match=r"another checksum.*\n.*Predictor\.load.*FZ-O246"):
            restored.predict(ROWS)


def test_a_predictor_that_was_not_loaded_from_a_folder_cannot_be_pickled() -> None:
    with pytest.raises(ModelFolderError, match=r"cannot be pickled.*\n.*Predictor\.load"):
        pickle.dumps(make_predictor()[0])


def test_a_copy_needs_no_folder_and_loads_no_model() -> None:
    predictor = make_predictor()[0]
    frame = pd.DataFrame(ROWS)
    for copied in (copy.copy(predictor), copy.deepcopy(predictor), copy.deepcopy({"model": predictor})["model"]):
        assert copied is predictor
        assert len(copied.predict(frame)) == 12
