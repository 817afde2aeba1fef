"""The rows of the demo: messages between buyer and seller, the table of orders, and whether a dispute followed.

The chance of a dispute is known for each row, and so is the best AUROC that any model can reach:

    logit p = text + table + interaction + INTERCEPT

`text` sums the effects of what the messages do (complain, threaten, thank, refuse). `table` sums bounded effects of
columns. `interaction` cannot be seen in text or table alone: a refund request raises the chance for an old order or for
electronics, and lowers it for a recent order of anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fusionzoo.demo.dialogues import DialogueWriter, compute_text_score, draw_intents
from fusionzoo.demo.orders import compute_refund_risk, compute_table_score, draw_columns

ID, TEXT, LABEL = "message_id", "messages", "disputed"
MIN_ROWS = 50
SPLIT_SHARES: Mapping[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
INTERACTION = 3.0
INTERCEPT = -2.0


@dataclass(frozen=True)
class ShopRows:
    """Rows as a job reads them, and the parts of each row's logit: float64 [rows]."""

    table: pa.Table
    text_score: np.ndarray
    table_score: np.ndarray
    interaction: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """The effect of text, table and interaction together, [rows]."""
        score: np.ndarray = self.text_score + self.table_score + self.interaction
        return score

    @property
    def dispute_probability(self) -> np.ndarray:
        """The true chance of a dispute, [rows]."""
        probability: np.ndarray = 1 / (1 + np.exp(-self.score - INTERCEPT))
        return probability


def draw_rows(rows: int, seed: int = 7) -> ShopRows:
    """Return the rows of train, val and test, in this order, with labels drawn from their true chances.

    Raises:
        ValueError: `rows` is less than MIN_ROWS.
    """
    if rows < MIN_ROWS:
        raise ValueError(f"rows is {rows}; the demo needs at least {MIN_ROWS}")
    table_rng, text_rng, label_rng = np.random.default_rng(seed).spawn(3)
    columns = draw_columns(table_rng, rows)
    intents = draw_intents(text_rng, rows)
    texts = DialogueWriter(text_rng).write_texts(intents, columns)
    requests_refund = np.array([1.0 if "refund" in row_intents else 0.0 for row_intents in intents])
    arrays = {ID: pa.array([f"m-{i:06d}" for i in range(rows)]), TEXT: pa.array(texts, pa.string())}
    arrays |= {name: pa.array(column, from_pandas=True) for name, column in columns.items()}
    drawn = ShopRows(
        pa.table(arrays),
        compute_text_score(intents),
        compute_table_score(columns),
        INTERACTION * requests_refund * compute_refund_risk(columns),
    )
    labels = (label_rng.random(rows) < drawn.dispute_probability).astype(np.int64)
    return replace(drawn, table=drawn.table.append_column(LABEL, pa.array(labels)))


def count_split_rows(rows: int) -> dict[str, int]:
    """Return the number of rows of each split; they sum to `rows`."""
    counts = {split: int(rows * share) for split, share in SPLIT_SHARES.items()}
    counts["train"] += rows - sum(counts.values())
    return counts
