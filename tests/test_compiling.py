"""`torch_compile`: training gives the same results, and a machine that cannot compile is an error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from fusionzoo import errors
from fusionzoo.training import torch_compile
from fusionzoo.training.checkpointing import checkpoint_io
from shop import TINY_BERT, JobFolder
from training_helpers import make_job_settings

is_too_old = Version(torch.__version__) < Version(torch_compile.MIN_TORCH)
needs_compiler = pytest.mark.skipif(
    is_too_old or shutil.which("g++") is None, reason="this torch version is not supported, or there is no g++"
)
BERT = {
    "model_class": "bert",
    "cat_field_list": None,
    "tab_field_list": None,
    "num_channels": None,
    "embedding_dim": None,
    "dropout": 0.0,
    "encoder_config": {**TINY_BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "precision": "32",
}


@pytest.fixture(autouse=True)
def compile_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch.compiler.reset()  # forget what an earlier test compiled


def train_job(root: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[list[float], dict[str, Any], int]:
    """Return the training losses of a small job, its best weights, and how many graphs were compiled for it."""
    from torch._dynamo.utils import counters

    from fusionzoo.training.module import TrainingModule

    losses: list[float] = []
    step = TrainingModule.training_step

    def record(self: TrainingModule, batch: Any, batch_idx: int) -> Tensor:
        output = step(self, batch, batch_idx)
        losses.append(output["loss"].item())
        return output

    monkeypatch.setattr(TrainingModule, "training_step", record)
    counters.clear()
    folder = JobFolder(root).fill(**settings)
    assert folder.run() == 0
    monkeypatch.setattr(TrainingModule, "training_step", step)
    weights = checkpoint_io.load_weights(next((root / "checkpoints").glob("best*.ckpt")))
    return losses, weights, counters["stats"]["unique_graphs"]


@needs_compiler
def test_compiling_changes_neither_the_losses_nor_the_names_of_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, weights, graphs_without = train_job(tmp_path / "plain", monkeypatch, **BERT, torch_compile=False)
    compiled, compiled_weights, graphs = train_job(tmp_path / "compiled", monkeypatch, **BERT, torch_compile=True)
    assert compiled == pytest.approx(plain, abs=1e-4)
    assert len(compiled) == 20
    assert compiled_weights.keys() == weights.keys()
    assert graphs_without == 0
    assert 2 <= graphs <= 6  # one for the check, and a few for twenty batches of many sizes


@needs_compiler
def test_only_the_trained_part_of_a_model_with_a_frozen_encoder_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {**BERT, "freeze_text_encoder": True}
    plain, _, _ = train_job(tmp_path / "plain", monkeypatch, **model, torch_compile=False)
    compiled, _, graphs = train_job(tmp_path / "compiled", monkeypatch, **model, torch_compile=True)
    assert compiled == pytest.approx(plain, abs=1e-4)
    assert 2 <= graphs <= 3


@needs_compiler
def test_only_training_mode_runs_compiled_code_and_the_model_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[str] = []

    def compile_(forward: Any, dynamic: bool) -> Any:
        assert dynamic
        return lambda x: (ran.append("compiled"), forward(x))[1]

    monkeypatch.setattr(torch, "compile", compile_)
    model = nn.Sequential(nn.Linear(2, 2))
    before = dict(vars(model))
    with torch_compile.compile_for_training(model, None, make_job_settings(torch_compile=True)):
        model.train()(torch.ones(1, 2))
        model.eval()(torch.ones(1, 2))
        assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert ran == ["compiled"]
    assert vars(model) == {**before, "training": False}


def test_an_encoder_is_compiled_layer_by_layer_and_a_model_without_layers_as_a_whole() -> None:
    backbone = AutoModel.from_config(AutoConfig.for_model(**TINY_BERT, vocab_size=20))
    model = nn.ModuleList([nn.Linear(2, 2), backbone])
    assert torch_compile.select_compiled_parts(model, backbone) == list(backbone.encoder.layer)
    assert torch_compile.select_compiled_parts(model, nn.Linear(2, 2)) == [model]
    assert torch_compile.select_compiled_parts(model, None) == [model]


@needs_compiler
@pytest.mark.skipif(torch.cuda.is_available(), reason="the warning is for CPUs")
def test_compiling_on_a_cpu_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    torch_compile.check_torch_compile(make_job_settings(torch_compile=False))
    assert not caplog.records
    torch_compile.check_torch_compile(make_job_settings(torch_compile=True))
    assert "torch_compile is on, but there is no GPU" in caplog.text


@pytest.mark.skipif(is_too_old, reason="this torch version is not supported")
def test_a_missing_compiler_is_an_error_before_the_data_is_read(tmp_path: Path) -> None:
    from torch._inductor import config

    folder = JobFolder(tmp_path).settings(torch_compile=True)  # there is no data at all
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        assert folder.run() == 1
    assert "torch_compile = true: this machine cannot compile for its cpu" in folder.failure
    assert "No working C++ compiler found" in folder.failure
    assert "no-such-compiler" in folder.failure
    assert "Fix: install a C++ compiler (g++) with Python's headers, or remove torch_compile" in folder.failure


def test_an_old_torch_version_cannot_compile() -> None:
    with pytest.raises(errors.SettingError, match=r"the installed torch is 2\.4\.1.*\nFix: install torch 2.5 or newer"):
        torch_compile.check_torch_compile(make_job_settings(torch_compile=True), "2.4.1+cpu")
    torch_compile.check_torch_compile(make_job_settings(), "2.1.0")


def test_a_compile_error_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(graph: Any, example: Any) -> Any:
        raise NotImplementedError("no such operation")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda forward, dynamic: compile_(forward, dynamic=dynamic, backend=fail))
    model = nn.Linear(2, 2)
    with (
        pytest.raises(errors.CompileError, match=r"torch\.compile failed on Linear .*no such operation.*\nFix: remove"),
        torch_compile.compile_for_training(model, None, make_job_settings(torch_compile=True)),
    ):
        model.train()(torch.ones(1, 2))


class GraphBreaking(nn.Module):
    """A model that reads the value of a tensor, which breaks the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        print(float(x.sum()))
        return self.linear(x) if float(x.sum()) > 0 else -self.linear(x)


@needs_compiler
def test_a_model_that_breaks_the_graph_can_be_trained() -> None:
    model, rows = GraphBreaking().train(), torch.ones(3, 2)
    expected = model(rows)
    with torch_compile.compile_for_training(model, None, make_job_settings(torch_compile=True)):
        output = model(rows)
        output.sum().backward()
    assert torch.allclose(output, expected)
    assert model.linear.weight.grad is not None
