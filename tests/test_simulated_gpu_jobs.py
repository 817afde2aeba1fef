"""Jobs on a simulated GPU: training, averaging, frozen text and final scores combine no tensors of two devices.

The real GPU is left to `test_gpu.py`: this device has no streams, no memory of its own and no autocast.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch
import numpy as np
import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from fusionzoo.conformance.simulated_device import SIMULATED_DEVICE, simulate_device
from fusionzoo.training import final_model, finish_time, fit, trainer
from fusionzoo.training.checkpointing.checkpoint_io import AtomicCheckpoints
from prediction_helpers import read_frame
from shop import TINY_BERT, JobFolder

BERT = {"num_channels": None, "encoder_config": TINY_BERT}
REGRESSION = {"task": "regression", "label_name": "visits", "tab_field_list": ["price"], "num_classes": None}
JOBS: dict[str, dict[str, Any]] = {
    "averaging": {"average_checkpoints": 3, "val_check_interval": 0.5, "calibration": "temperature"},
    "parts of a step": {
        "model_class": "multimodal_gate_fusion",
        "text_encoder": "cnn",
        "max_batch_tokens": 400,
        "accumulate_grad_batches": 2,
        "class_weights": "balanced",
    },
    "experts": {"model_class": "multimodal_moe", "text_encoder": "tfidf", "num_channels": None, "loss": "focal"},
    "frozen text": {"model_class": "multimodal_cross_attn", "freeze_text_encoder": True, **BERT},
    "recomputed layers": {"model_class": "multimodal_bert", "use_gradient_checkpointing": True, **BERT},
    "quantiles": {"loss": "quantile", "quantiles": [0.1, 0.5, 0.9], **REGRESSION},
    "time limit": {"max_minutes": 5, "model_class": "multimodal_lstm", "num_channels": None, "optimizer": "sgd"},
}


class _SimulatedAccelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        assert device == SIMULATED_DEVICE


def _make_trainer(**arguments: Any) -> lightning.pytorch.Trainer:
    strategy = SingleDeviceStrategy(device=SIMULATED_DEVICE, accelerator=_SimulatedAccelerator())
    return lightning.pytorch.Trainer(**{**arguments, "accelerator": "auto", "strategy": strategy})


def _copy_to_cpu(value: Tensor) -> Tensor:
    """Return a tensor that can be saved, as torch saves those of a GPU."""
    return value.detach().cpu() if value.device == SIMULATED_DEVICE else value


@pytest.fixture
def simulated_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[torch.device]]:
    """Run jobs on the simulated device; yield the devices on which a network has scored or trained."""
    devices: set[torch.device] = set()
    save = AtomicCheckpoints.save_checkpoint

    def save_from_cpu(self: AtomicCheckpoints, checkpoint: dict[str, Any], path: Path, **options: Any) -> None:
        save(self, tree_map_only(Tensor, _copy_to_cpu, checkpoint), path, **options)

    def note_device(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        devices.update(value.device for value in inputs if isinstance(value, Tensor))

    monkeypatch.setattr(trainer, "Trainer", _make_trainer)
    monkeypatch.setattr(AtomicCheckpoints, "save_checkpoint", save_from_cpu)
    for module in (fit, final_model, finish_time):
        monkeypatch.setattr(module, "find_device", lambda: SIMULATED_DEVICE)
    handle = nn.modules.module.register_module_forward_pre_hook(note_device)
    with simulate_device():
        yield devices
    handle.remove()


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")  # its values are copied
@pytest.mark.parametrize("name", JOBS)
def test_a_job_works_on_a_gpu(simulated_gpu: set[torch.device], name: str, tmp_path: Path, blank_plots: None) -> None:
    job = JobFolder(tmp_path).fill(rows=64, precision="32", lr=0.01, **JOBS[name])
    assert job.run() == 0, job.failure
    assert SIMULATED_DEVICE in simulated_gpu
    predictions = read_frame(job.output / "test_predictions.parquet")
    scores = predictions.filter(regex="^(prob|predicted)_").select_dtypes("number")
    assert len(predictions) == 19
    assert np.isfinite(scores.to_numpy()).all()
