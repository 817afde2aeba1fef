"""The data of the demo: its form, and that a model needs the text, the table and their interaction."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, r2_score, roc_auc_score

from fusionzoo.demo import data_set, demo_targets, orders, phrases, shop
from fusionzoo.errors import DemoFolderError

ROWS = 8000


@cache
def shop_rows() -> shop.ShopRows:
    return shop.draw_rows(ROWS)


@cache
def shop_frame() -> pd.DataFrame:
    frame: pd.DataFrame = shop_rows().table.to_pandas()
    return frame


def test_seed_and_row_count_determine_the_data() -> None:
    assert shop.draw_rows(300, 1).table.equals(shop.draw_rows(300, 1).table)
    assert not shop.draw_rows(300, 1).table.equals(shop.draw_rows(300, 2).table)


def test_there_are_several_hundred_distinct_sentence_patterns() -> None:
    patterns = [pattern for intent_patterns in phrases.PATTERNS.values() for pattern in intent_patterns]
    assert len(set(patterns)) == len(patterns) >= 300


def test_texts_are_dialogues_with_html_and_emoji_and_some_are_plain_or_empty() -> None:
    texts = shop_frame()[shop.TEXT]
    present = texts.dropna()
    counts = present.str.count(re.escape("[bom]"))
    assert counts.max() > 5
    assert (counts == 0).mean() > 0.03
    assert 0.05 < present.str.contains("<br>|</p>").mean() < 0.5
    assert 0.05 < present.str.contains("[\U0001f300-\U0001faff⚠]").mean() < 0.5
    assert texts.isna().any()
    assert (present == "").any()
    assert present.nunique() > 0.95 * len(present)
    assert not present.str.contains(r"\{\w+\}").any()


def test_the_table_has_missing_values_outliers_and_a_long_tail_with_values_unseen_in_train() -> None:
    data = shop_frame()
    train, later = data[: int(ROWS * 0.7)], data[int(ROWS * 0.7) :]
    assert all(data[name].isna().any() for name in orders.NUMBERS)
    assert (data["order_value"] > 20 * data["order_value"].median()).sum() > 5
    product = data["product_category"]
    assert product.nunique() > 60
    assert product.value_counts().iloc[-20:].max() <= 2
    assert set(later["product_category"].dropna()) - set(train["product_category"].dropna())
    assert data[shop.ID].str.startswith("m-0").all()
    assert 0.25 < data[shop.LABEL].mean() < 0.45


def test_the_best_possible_auroc_is_that_of_the_true_chances(tmp_path: Path) -> None:
    demo = data_set.generate_demo_data(tmp_path, 1000)
    drawn = shop.draw_rows(1000)
    start = demo.rows["train"] + demo.rows["val"]
    labels = drawn.table[shop.LABEL].to_numpy()
    best = demo.best_metrics["test"]
    assert best["auroc"] == roc_auc_score(labels[start:], drawn.dispute_probability[start:])
    assert best["log_loss"] == pytest.approx(log_loss(labels[start:], drawn.dispute_probability[start:]))
    assert sum(demo.rows.values()) == 1000
    on_disk = pq.read_table(tmp_path / "input/data/test").to_pandas()
    assert on_disk[shop.ID].tolist() == drawn.table[shop.ID].to_pylist()[start:]


def test_the_best_possible_rmse_and_r2_are_those_of_the_noise(tmp_path: Path) -> None:
    best = data_set.generate_demo_data(tmp_path, ROWS, task="regression").best_metrics
    train = pq.read_table(tmp_path / "input/data/train").to_pandas()
    assert shop.LABEL not in train, "the label of another task would leak"
    minutes, rows = train[demo_targets.MINUTES], len(train)
    rmse, r2 = best["train"]["rmse"], best["train"]["r2"]
    assert rmse is not None
    assert r2 is not None
    assert rmse == pytest.approx(demo_targets.NOISE_MINUTES, rel=4 / np.sqrt(2 * rows))  # four standard errors
    assert r2 == pytest.approx(1 - (rmse / minutes.std(ddof=0)) ** 2)
    assert 0.7 < r2 < 0.85
    score = shop_rows().score[:rows]
    for part in (shop_rows().text_score, shop_rows().table_score):
        slope, intercept = np.polyfit(part[:rows], minutes, 1)
        assert r2_score(minutes, slope * part[:rows] + intercept) < r2 - 0.2
    slope, intercept = np.polyfit(score, minutes, 1)
    assert slope == pytest.approx(demo_targets.MINUTES_PER_SCORE, rel=0.05)
    assert minutes.min() > 0


@pytest.mark.parametrize("task", list(demo_targets.DEMO_TARGETS))
def test_no_other_scores_have_better_metrics_than_the_best_possible_ones(task: str) -> None:
    target = demo_targets.DEMO_TARGETS[task]
    drawn = target.draw(shop_rows(), np.random.default_rng(0))
    best = demo_targets.compute_best_metrics(target, drawn, slice(None))
    rng = np.random.default_rng(1)
    for size in (0.02, 0.2):
        noise = rng.uniform(1 - size, 1 + size, drawn.best_scores.shape)
        scores = drawn.best_scores * noise
        if drawn.task.classes:
            scores = scores.clip(0, 1)
        if drawn.labels.ndim == 1:
            scores /= scores.sum(axis=1, keepdims=True)
        metrics = drawn.task.compute_metrics(drawn.labels, scores)
        for name in target.bounded_metrics:
            value, bound = metrics[name], best[name]
            assert value is not None
            assert bound is not None
            slack = 1e-3 if drawn.task.metrics[name] else -1e-3  # the bound holds but for chance
            assert (value < bound + slack) == drawn.task.metrics[name], name


def test_the_scores_of_text_and_table_without_their_interaction_have_a_clearly_lower_auroc() -> None:
    labels = shop_frame()[shop.LABEL]
    best = roc_auc_score(labels, shop_rows().dispute_probability)
    assert 0.9 < best < 0.97
    assert roc_auc_score(labels, shop_rows().text_score) < best - 0.1
    assert roc_auc_score(labels, shop_rows().table_score) < best - 0.1
    assert roc_auc_score(labels, shop_rows().text_score + shop_rows().table_score) < best - 0.03


def test_a_model_of_text_or_table_alone_is_clearly_worse_than_one_of_both() -> None:
    data = shop_frame()
    numbers = data[list(orders.NUMBERS)].to_numpy(float)
    categories = np.stack([pd.factorize(data[name], sort=True)[0] for name in orders.CATEGORIES], axis=1)
    table = np.concatenate([numbers, np.minimum(categories, 200)], axis=1)
    texts = data[shop.TEXT].fillna("").str.lower()
    patterns = [
        "refund|money back|reimbursement",
        "broken|defective|faulty|crack|damaged|stopped",
        "tiny|slightly|faint",
    ]
    patterns += [
        "claim|chargeback|dispute|lawyer|report you|complaint",
        "unacceptable|terrible|furious|angry|ridiculous",
    ]
    patterns += ["thank|appreciate|grateful|lovely|friendly", "cannot accept|reject|no compensation|decline|not apply"]
    patterns += ["voucher|prepaid|make this right|gladly|welcome your", "arrived|never came|lost in transit|delivered"]
    text = np.stack([texts.str.contains(pattern).to_numpy(float) for pattern in patterns], axis=1)
    labels, cut = data[shop.LABEL].to_numpy(), int(ROWS * 0.75)

    def auroc(features: np.ndarray) -> float:
        model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=0)
        scores = model.fit(features[:cut], labels[:cut]).predict_proba(features[cut:])[:, 1]
        return float(roc_auc_score(labels[cut:], scores))

    both = auroc(np.concatenate([table, text], axis=1))
    assert auroc(table) < both - 0.08
    assert auroc(text) < both - 0.08


def test_a_second_call_leaves_no_stale_part_and_changes_nothing_in_a_folder_with_other_files(tmp_path: Path) -> None:
    data_set.generate_demo_data(tmp_path, 2000)
    data_set.generate_demo_data(tmp_path, 300)
    assert sum(len(pq.read_table(tmp_path / "input/data" / s)) for s in ("train", "val", "test")) == 300
    user_file = tmp_path / "input/data/train/mine.parquet"
    user_file.write_bytes(b"precious")
    before = sorted(path.name for path in (tmp_path / "input/data/train").iterdir())
    with pytest.raises(DemoFolderError, match=r"mine\.parquet"):
        data_set.generate_demo_data(tmp_path, 400)
    assert sorted(path.name for path in (tmp_path / "input/data/train").iterdir()) == before
    assert user_file.read_bytes() == b"precious"
