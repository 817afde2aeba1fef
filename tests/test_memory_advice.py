"""A training that runs out of memory names the batch, and settings that need about half the memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from fusionzoo.errors import BatchMemoryError, is_out_of_memory
from fusionzoo.nn.schema import Batch
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.guards import memory
from guard_helpers import ScriptedModel, fit_with_guards
from training_helpers import make_job_settings, make_random_split

OUT_OF_MEMORY = [
    MemoryError("x"),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("raised", OUT_OF_MEMORY)
@pytest.mark.parametrize("while_training", [True, False])
def test_an_out_of_memory_error_names_the_batch_and_settings_that_need_half(
    raised: Exception, while_training: bool, tmp_path: Path
) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        if model.training == while_training and (not while_training or model.batches == 3):
            raise raised
        return logits

    with pytest.raises(BatchMemoryError) as caught:
        fit_with_guards(change, tmp_path, accumulate_grad_batches=2)
    splits = SplitsDataModule(make_random_split(60), make_random_split(60), make_job_settings(batch_size=8))
    if while_training:
        rows = splits.order.batches(0)[2]
        length = splits.train.row_tokens()[rows].max()
        size = f"{len(rows)} rows, {len(rows)} chunks of {length} tokens, {len(rows) * length} tokens with padding"
        assert f"Out of memory in training step 2 (epoch 1): {size}." in caught.value.message
    else:
        assert "Out of memory in batch 1 of the validation after step 4: " in caught.value.message
    assert "set batch_size: 4 with accumulate_grad_batches: 4 (a step of the same rows)" in caught.value.fix
    assert caught.value.__cause__ is raised
    assert len(str(caught.value)) < 1024


def test_an_out_of_memory_error_before_the_first_batch_is_not_changed() -> None:
    settings = make_job_settings()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[memory.CurrentBatch()])
    with pytest.raises(MemoryError), memory.explain_training_memory(trainer, settings):
        raise MemoryError


def test_other_exceptions_of_a_training_are_not_changed(tmp_path: Path) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match=r"^mat1 and mat2"):
        fit_with_guards(change, tmp_path)
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_the_suggestions_halve_the_batch_and_omit_settings_that_would_not_help() -> None:
    def suggest(size: memory.BatchSize, **changes: Any) -> list[str]:
        suggestions = memory.suggest_settings(make_job_settings(**changes), size, "bf16-mixed")
        return [suggestion.split(" with ")[0] for suggestion in suggestions]

    long = memory.BatchSize(32, 320, 512)
    assert suggest(long, batch_size=32) == [
        "set batch_size: 16",
        "max_sen_len: 256",
        "max_total_chunks: 5",
    ]
    assert suggest(long, max_batch_tokens=200_000)[0] == "set max_batch_tokens: 81920"
    assert suggest(memory.BatchSize(1, 10, 512), batch_size=32) == ["max_sen_len: 256", "max_total_chunks: 5"]
    assert suggest(memory.BatchSize(8, 0, 0), batch_size=8) == ["set batch_size: 4"]
    assert suggest(memory.BatchSize(1, 0, 0)) == []


HUNGRY = """
import resource, sys
from pathlib import Path
from shop import JobFolder
folder = JobFolder(Path(sys.argv[1])).fill(max_epochs=1)
import torch
import fusionzoo.training.module as module
forward = module.TrainingModule.forward
def hungry(self, batch):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return forward(self, batch) + torch.ones(2**28).sum() * 0
module.TrainingModule.forward = hungry
sys.exit(folder.run())
"""


def test_a_job_that_runs_out_of_memory_writes_the_suggestions_to_its_failure_file(tmp_path: Path) -> None:
    run = [sys.executable, "-c", HUNGRY, str(tmp_path / "ml")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(run, capture_output=True, text=True, env=environ)
    cause = (tmp_path / "ml/output/failure").read_text()
    assert done.returncode == 1
    assert cause.startswith("Out of memory in training step 1 (epoch 1): 16 rows, 16 chunks of ")
    assert "set batch_size: 8 with accumulate_grad_batches: 2" in cause
    assert "Traceback" not in done.stdout
