"""Measure the padding and the speed of a training step of `multimodal_cnn` and `multimodal_lstm`, now and before.

    FUSIONZOO_DATA=<folder of the data sets> OMP_NUM_THREADS=1 .venv/bin/python benchmarks/word_encoders.py

For each data set and model, prints the share of padding among the tokens that the encoder computes, the CPU
milliseconds of a training step (forward, backward, clipping, optimizer) at batch size 32, and the ratio of the training
rows per CPU second. `before` computes what the encoders did until this script was added: `cnn` convolved chunks padded
to the longest one of the batch, and `lstm` used torch's packed sequences. Both sides have the same weights and take
turns (A B A B) with the same batches, which no earlier turn had; a ratio is the median over the turns. Goals: less than
3 % padding, at least 1.5 times the rows per second.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from data_sets import DataSet
from steps import BATCH_SIZE, BareLoop, format_ratio, say
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusionzoo.architecture import Architecture, choose_architecture
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.sampling import RowSizes, TrainingOrder
from fusionzoo.nn.pooling import mean_per_row, token_max
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures

MODELS, DATA_SETS = ("cnn", "lstm"), ("demo", "womens_clothing", "review_threads")
WARMUP_STEPS = 3
Encode = Callable[[Batch], TextFeatures]


def load(name: str, model: str, rows: int) -> tuple[Architecture, InputSpec, EncodedSplit]:
    """Return a fusion over word vectors, the inputs it is built from, and the first training rows."""
    data = DataSet.load(name)
    common = {"model_class": f"multimodal_{model}", "tokenizer": "word", "precision": "32", "batch_size": BATCH_SIZE}
    architecture = choose_architecture({**data.columns, **common, "max_sen_len": 128})
    settings = architecture.data_settings
    with tempfile.TemporaryDirectory(prefix="word-encoders-") as folder:
        pq.write_table(data.train.slice(0, rows), Path(folder) / "part-0.parquet")
        channel = open_channel("train", Path(folder), settings.columns)
        preprocessor = fit_preprocessor(settings, channel).preprocessor
        return architecture, InputSpec.from_preprocessor(preprocessor), preprocessor.encode(channel, "train")


# --- the two sides


def pad_cnn(encoder: Any) -> Encode:
    """Return the forward of `cnn` that convolves chunks padded to the longest one of the batch."""

    def encode(batch: Batch) -> TextFeatures:
        tokens, maximum = encoder._encode_padded(batch.tokens, batch.token_mask)
        return TextFeatures(
            tokens, batch.token_mask, batch.chunk_row, mean_per_row(maximum, batch.chunk_row, batch.rows)
        )

    return encode


def pack_lstm(encoder: Any) -> Encode:
    """Return the forward of `lstm` with torch's packed sequences; registers its LSTM as a part of the encoder."""
    first = encoder.layers[0][0]
    lstm = encoder.packed = nn.LSTM(first.input_size, first.hidden_size, batch_first=True, bidirectional=True)
    for direction, suffix in zip(encoder.layers[0], ("", "_reverse"), strict=True):
        for name, weight in direction.named_parameters():
            setattr(lstm, name + suffix, weight)

    def encode(batch: Batch) -> TextFeatures:
        mask = batch.token_mask
        words = encoder.dropout(encoder.words(batch.tokens, mask))
        packed = pack_padded_sequence(words, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        tokens, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=mask.shape[1])
        pooled = mean_per_row(token_max(tokens, mask), batch.chunk_row, batch.rows)
        return TextFeatures(tokens, mask, batch.chunk_row, pooled)

    return encode


def check_same_features(now: Encode, before: Encode, encoder: nn.Module, batch: Batch) -> None:
    """Raise SystemExit unless both sides compute the same features."""
    encoder.eval()
    with torch.no_grad():
        difference = float((now(batch).pooled - before(batch).pooled).abs().max())
    encoder.train()
    if difference > 1e-4:
        raise SystemExit(f"The features of both sides differ by {difference:.1e}, so the comparison is invalid.")


def count_computed_tokens(encoder: Any, batch: Batch) -> int:
    """Return the tokens that the first layer of the encoder computes."""
    computed: list[int] = []
    hook = encoder.dropout.register_forward_hook(lambda _, inputs, __: computed.append(inputs[0][..., 0].numel()))
    encoder(batch)
    hook.remove()
    return sum(computed)


# --- the measurement


def measure(model: str, name: str, rows: int, turns: int, steps: int) -> None:
    """Print the padding and the speed of one model on one data set."""
    architecture, spec, split = load(name, model, rows)
    loop = BareLoop(architecture, spec)
    encoder: Any = loop.built.text_encoder or loop.model.towers.text_encoder
    now, before = encoder.forward, {"cnn": pad_cnn, "lstm": pack_lstm}[model](encoder)
    order = TrainingOrder(RowSizes.of(split), BATCH_SIZE, 0).batches(0)
    batches = [Batch.from_arrays(split.batch(rows)) for rows in order[: turns * steps + WARMUP_STEPS]]
    check_same_features(now, before, encoder, batches[0])
    with torch.no_grad():
        computed = sum(count_computed_tokens(encoder, batch) for batch in batches)
    real, padded = (sum(int(f(b.token_mask)) for b in batches) for f in (Tensor.sum, Tensor.numel))
    seconds: dict[str, list[float]] = {"now": [], "before": []}
    for turn in range(turns):
        chosen = batches[WARMUP_STEPS + turn * steps :][:steps]
        for side, forward in (("before", before), ("now", now)):
            encoder.forward = forward
            for batch in batches[: 0 if turn else WARMUP_STEPS]:
                loop.step(batch)
            began = time.process_time()
            for batch in chosen:
                loop.step(batch)
            seconds[side].append(time.process_time() - began)
    before_ms, now_ms = (statistics.median(seconds[side]) / steps * 1e3 for side in ("before", "now"))
    say(
        f"{name:16} multimodal_{model:5} padding {1 - real / padded:6.1%} -> {1 - real / computed:5.1%}   "
        f"CPU ms per step {before_ms:6.1f} -> {now_ms:6.1f}   {format_ratio(seconds['before'], seconds['now'])}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--data", nargs="+", default=DATA_SETS, choices=DATA_SETS)
    parser.add_argument("--rows", default=4000, type=int, help="training rows that the vocabulary is built from")
    parser.add_argument("--turns", default=3, type=int)
    parser.add_argument("--steps", default=10, type=int, help="of a turn")
    options = parser.parse_args(arguments)
    logging.getLogger("fusionzoo").setLevel(logging.ERROR)
    say(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in options.data:
        for model in options.models:
            measure(model, name, options.rows, options.turns, options.steps)


if __name__ == "__main__":
    main()
