"""Scoring blocks of rows: in order, in bounded memory, and the same for any division into blocks and batches."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_helpers import make_rows
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors import DataError, MemoryExhaustedError, ModelFolderError, PredictorInputError, ScoresError
from fusionzoo.serving import scoring
from predictor_helpers import FEATURES, make_predictor
from shop import shop_rows


@pytest.mark.parametrize("block_rows", [1, 7, 100])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_blocks_are_scored_in_order_for_any_division_into_blocks_and_batches(
    monkeypatch: pytest.MonkeyPatch, block_rows: int, batch_size: int
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 11)
    predictor, _ = make_predictor()
    rows = make_rows(shop_rows(40, 5))
    expected = np.concatenate([scored.scores for scored in predictor.predict_blocks([rows])])
    assert len(np.unique(expected)) > 20
    parts = [rows.slice(i, min(i + block_rows, 40)) for i in range(0, 40, block_rows)]
    scored = list(predictor.predict_blocks(iter(parts), batch_size))
    assert [part.rows for part in scored] == parts
    np.testing.assert_allclose(np.concatenate([part.scores for part in scored]), expected, atol=1e-6)


def test_scores_of_a_block_are_there_before_the_next_block_is_read() -> None:
    predictor, _ = make_predictor()
    read = []

    def blocks() -> Iterator[Rows]:
        for i in range(3):
            read.append(i)
            yield make_rows(shop_rows(4, i))

    for count, scored in enumerate(predictor.predict_blocks(blocks()), start=1):
        assert len(read) == count
        assert scored.scores.shape == (4, 2)


def test_no_rows_have_no_scores() -> None:
    predictor, session = make_predictor()
    assert list(predictor.predict_blocks([])) == []
    (scored,) = predictor.predict_blocks([make_rows(shop_rows(3)).slice(0, 0)])
    assert scored.scores.shape == (0, 2)
    assert session.batches == []


def test_batches_hold_rows_of_similar_length_and_a_bounded_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, session = make_predictor()
    words = np.random.default_rng(0).integers(1, 60, 400)
    rows = make_rows(shop_rows(400, 3).assign(message=["late " * count for count in words]))
    list(predictor.predict_blocks([rows], 16))
    tokens = sum(tokens for _, tokens in session.batches)
    assert max(count for count, _ in session.batches) == 16
    assert tokens < 1.1 * words.sum()
    session.batches.clear()
    monkeypatch.setattr(scoring, "MAX_BATCH_TOKENS", 100)
    list(predictor.predict_blocks([rows], 16))
    assert max(tokens for _, tokens in session.batches) <= 100
    assert sum(count for count, _ in session.batches) == 400


def test_memory_does_not_grow_with_the_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 100)
    predictor, session = make_predictor()
    frame = shop_rows(100, 3).assign(message="late broken awful " * 60)
    rows = make_rows(pd.concat([frame] * 10))
    peaks = []
    for count in (100, 1000):
        session.batches.clear()
        tracemalloc.start()
        list(predictor.predict_blocks([rows.slice(0, count)]))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_window_of_long_texts_has_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_LENGTH", 1000)
    texts = [*["late " * 100] * 3, "odd " * 1000, *["fine"] * 200]
    rows = make_rows(shop_rows(len(texts), 3).assign(message=texts)[FEATURES])
    windows = list(scoring.divide_into_windows(rows))
    assert [len(window) for window in windows][:3] == [1, 1, 1]
    assert windows[3].columns["message"].to_pylist() == [texts[3]]
    assert len(windows) < 12
    assert [text for window in windows for text in window.columns["message"].to_pylist()] == texts
    assert [str(window.locate(0)) for window in windows[:2]] == ["train/part-0 row 1", "train/part-0 row 2"]


def test_the_problems_of_all_blocks_are_reported_and_no_scores_follow_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 4)
    predictor, session = make_predictor()
    frame = shop_rows(30, 3)
    prices = frame["price"].astype(object)
    prices[[13, 22]] = ["cheap", "costly"]
    rows = make_rows(frame.assign(price=prices.astype("string")))
    scored = predictor.predict_blocks([rows.slice(0, 10), rows.slice(10, 20), rows.slice(20, 30)])
    assert len(next(scored).scores) == 10
    with pytest.raises(DataError, match=r"(?s)price.*2 values.*row 14 'cheap'.*row 23 'costly'"):
        next(scored)
    assert sum(count for count, _ in session.batches) <= 12


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error_that_names_its_rows_on_every_path(value: float) -> None:
    predictor, session = make_predictor()
    frame = shop_rows(6, 3)
    compute = session.run

    def run(names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (scores,) = compute(names, inputs)
        scores[inputs["numbers_missing"][:, 1] > 0, 1] = value
        return [scores]

    session.run = run  # type: ignore[method-assign]
    frame["visits"] = [1.0, np.nan, 2.0, 3.0, np.nan, 4.0]
    records = frame.drop(columns="target").to_dict("records")
    for predict in (predictor.predict, predictor.predict_proba, predictor.predict_records):
        for rows, places in ((frame, r"row 2, .*row 5"), (records, r"records\[1\], records\[4\]")):
            with pytest.raises(ScoresError, match=rf"(?s)in 2 rows: .*{places}\..*FZ-O112") as caught:
                predict(rows)
            assert caught.value.rows == (2, 5)
    blocks = [make_rows(frame[:1]), make_rows(frame[1:])]
    scored = predictor.predict_blocks(blocks)
    assert len(next(scored).scores) == 1
    with pytest.raises(ScoresError, match=r"(?s)in 2 rows: train/part-0 row 1, train/part-0 row 4\."):
        next(scored)
    assert sum(len(each.scores) for each in predictor.predict_blocks(blocks, allow_nonfinite=True)) == 6


def test_clipped_values_of_all_blocks_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    predictor, _ = make_predictor()
    rows = make_rows(shop_rows(4, 9).assign(price=[1.0, 1e30, 1.0, 1.0]))
    list(predictor.predict_blocks([rows.slice(0, 2), rows.slice(2, 4)]))
    (record,) = caplog.records
    assert "rows: 25.00% of the values of number column 'price'" in record.message


@pytest.mark.parametrize("blocks", ["val", 7, None, [7], make_rows(shop_rows(3))])
def test_other_values_than_blocks_are_an_error(blocks: Any) -> None:
    predictor, _ = make_predictor()
    with pytest.raises(PredictorInputError):
        list(predictor.predict_blocks(blocks))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Failed to allocate memory for requested buffer of size 999", MemoryExhaustedError),
        ("Got invalid dimensions for input: tokens", ModelFolderError),
    ],
)
def test_a_failure_of_onnxruntime_is_an_error_of_fusionzoo(
    monkeypatch: pytest.MonkeyPatch, message: str, error: type[Exception]
) -> None:
    predictor, session = make_predictor()

    def fail(*_: Any) -> Any:
        raise RuntimeError(message)

    monkeypatch.setattr(session, "run", fail)
    with pytest.raises(error, match="a batch of 3 rows"):
        list(predictor.predict_blocks([make_rows(shop_rows(3))]))
