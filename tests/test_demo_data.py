"""The demo's data: what it looks like, and that text, table and their interaction are each needed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from fusionzoo.demo import shop
from fusionzoo.errors import DemoFolderError

ROWS = 8000


@cache
def drawn() -> shop.DrawnRows:
    return shop.draw_rows(ROWS)


@cache
def frame() -> pd.DataFrame:
    table: pd.DataFrame = drawn().table.to_pandas()
    return table


def test_seed_and_rows_decide_the_data(tmp_path: Path) -> None:
    assert shop.draw_rows(300, 1).table.equals(shop.draw_rows(300, 1).table)
    assert not shop.draw_rows(300, 1).table.equals(shop.draw_rows(300, 2).table)


def test_there_are_several_hundred_distinct_sentence_patterns() -> None:
    patterns = [pattern for of_intent in shop.PATTERNS.values() for pattern in of_intent]
    assert len(set(patterns)) == len(patterns) >= 300


def test_texts_are_dialogues_with_html_emoji_and_some_without_marks_or_words() -> None:
    texts = frame()[shop.TEXT]
    written = texts.dropna()
    counts = written.str.count(re.escape("[bom]"))
    assert counts.max() > 5
    assert (counts == 0).mean() > 0.03
    assert 0.05 < written.str.contains("<br>|</p>").mean() < 0.5
    assert 0.05 < written.str.contains("[\U0001f300-\U0001faff⚠]").mean() < 0.5
    assert texts.isna().any()
    assert (written == "").any()
    assert written.nunique() > 0.95 * len(written)
    assert not written.str.contains(r"\{\w+\}").any()


def test_the_table_has_missing_values_outliers_and_a_long_tail_with_values_unseen_in_train() -> None:
    data = frame()
    train, rest = data[: int(ROWS * 0.7)], data[int(ROWS * 0.7) :]
    assert all(data[name].isna().any() for name in shop.NUMBERS)
    assert (data["order_value"] > 20 * data["order_value"].median()).sum() > 5
    product = data["product_category"]
    assert product.nunique() > 60
    assert product.value_counts().iloc[-20:].max() <= 2
    assert set(rest["product_category"].dropna()) - set(train["product_category"].dropna())
    assert data[shop.ID].str.startswith("m-0").all()
    assert 0.25 < data[shop.LABEL].mean() < 0.45


def test_the_ceiling_is_the_auroc_of_the_true_chances(tmp_path: Path) -> None:
    made = shop.generate_demo_data(tmp_path, 1000)
    everything = shop.draw_rows(1000)
    start = made.rows["train"] + made.rows["val"]
    labels = everything.table[shop.LABEL].to_numpy()
    assert made.bayes_auroc["test"] == roc_auc_score(labels[start:], everything.chance[start:])
    assert sum(made.rows.values()) == 1000
    on_disk = pq.read_table(tmp_path / "input/data/test").to_pandas()
    assert on_disk[shop.ID].tolist() == everything.table[shop.ID].to_pylist()[start:]


def test_text_alone_or_table_alone_or_their_sum_is_clearly_worse_than_all_together() -> None:
    labels = frame()[shop.LABEL]
    everything = roc_auc_score(labels, drawn().chance)
    assert 0.9 < everything < 0.97
    assert roc_auc_score(labels, drawn().text_score) < everything - 0.1
    assert roc_auc_score(labels, drawn().table_score) < everything - 0.1
    assert roc_auc_score(labels, drawn().text_score + drawn().table_score) < everything - 0.03


def test_a_learner_that_sees_one_side_alone_is_clearly_worse_than_one_that_sees_both() -> None:
    data = frame()
    numbers = data[list(shop.NUMBERS)].to_numpy(float)
    categories = np.stack([pd.factorize(data[name], sort=True)[0] for name in shop.CATEGORIES], axis=1)
    table = np.concatenate([numbers, np.minimum(categories, 200)], axis=1)
    texts = data[shop.TEXT].fillna("").str.lower()
    signs = ["refund|money back|reimbursement", "broken|defective|faulty|crack|damaged|stopped", "tiny|slightly|faint"]
    signs += ["claim|chargeback|dispute|lawyer|report you|complaint", "unacceptable|terrible|furious|angry|ridiculous"]
    signs += ["thank|appreciate|grateful|lovely|friendly", "cannot accept|reject|no compensation|decline|not apply"]
    signs += ["voucher|prepaid|make this right|gladly|welcome your", "arrived|never came|lost in transit|delivered"]
    text = np.stack([texts.str.contains(sign).to_numpy(float) for sign in signs], axis=1)
    labels, cut = data[shop.LABEL].to_numpy(), int(ROWS * 0.75)

    def auroc(features: np.ndarray) -> float:
        model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=0)
        scores = model.fit(features[:cut], labels[:cut]).predict_proba(features[cut:])[:, 1]
        return float(roc_auc_score(labels[cut:], scores))

    both = auroc(np.concatenate([table, text], axis=1))
    assert auroc(table) < both - 0.08
    assert auroc(text) < both - 0.08


def test_a_second_call_leaves_no_stale_part_and_refuses_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    shop.generate_demo_data(tmp_path, 2000)
    shop.generate_demo_data(tmp_path, 300)
    assert sum(len(pq.read_table(tmp_path / "input/data" / s)) for s in ("train", "val", "test")) == 300
    mine = tmp_path / "input/data/train/mine.parquet"
    mine.write_bytes(b"precious")
    before = sorted(path.name for path in (tmp_path / "input/data/train").iterdir())
    with pytest.raises(DemoFolderError, match=r"mine\.parquet"):
        shop.generate_demo_data(tmp_path, 400)
    assert sorted(path.name for path in (tmp_path / "input/data/train").iterdir()) == before
    assert mine.read_bytes() == b"precious"
