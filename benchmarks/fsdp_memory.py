"""Measure the peak memory of a process under `strategy: ddp` and `strategy: fsdp`.

    .venv/bin/python benchmarks/fsdp_memory.py

Trains a random BERT (12 layers, width 512, 53 million parameters) with AdamW in two processes on the CPU, on synthetic
rows with short texts. Prints one line per strategy. The peak on the CPU includes the unsharded checkpoint that the
first process gathers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from shop import TINY_BERT, JobFolder

TRAIN_PY = Path(__file__).parents[1] / "train.py"
CONFIG = {
    **TINY_BERT,
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "vocab_size": 30522,
}


def measure_peak_memory(strategy: str) -> int:
    """Train a job, and return the largest resident set size of its processes in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        job = JobFolder(Path(folder)).fill(
            rows=64,
            max_epochs=1,
            batch_size=8,
            model_class="multimodal_bert",
            encoder_config=CONFIG,
            num_channels=None,
            max_sen_len=16,
            devices=2,
            strategy=strategy,
        )
        environ = {**os.environ, "SAGEMAKER_BASE_DIR": folder, "FUSIONZOO_CACHE": f"{folder}/cache"}
        subprocess.run([sys.executable, str(TRAIN_PY)], check=True, env=environ, capture_output=True)
        peak: int = json.loads((job.output / "metrics.json").read_text())["run"]["peak_memory_bytes"]
        return peak


def main() -> None:
    for strategy in ("ddp", "fsdp"):
        print(f"{strategy}: peak memory of a process {measure_peak_memory(strategy) / 2**20:,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
