"""`torch_compile`: the same training in other code, refused where the machine cannot make it."""

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
    is_too_old or shutil.which("g++") is None, reason="this torch is refused, or has no g++ to compile with"
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
def _compile_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch.compiler.reset()  # what an earlier test compiled


def trained(root: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[list[float], dict[str, Any], int]:
    """The training losses of a small job, its best weights, and how many pieces of code were compiled for it."""
    from torch._dynamo.utils import counters

    from fusionzoo.training.module import Classifier

    losses: list[float] = []
    step = Classifier.training_step

    def recorded(self: Classifier, batch: Any, batch_idx: int) -> Tensor:
        output = step(self, batch, batch_idx)
        losses.append(output["loss"].item())
        return output

    monkeypatch.setattr(Classifier, "training_step", recorded)
    counters.clear()
    folder = JobFolder(root).fill(**settings)
    assert folder.run() == 0
    monkeypatch.setattr(Classifier, "training_step", step)
    weights = checkpoint_io.load_weights(next((root / "checkpoints").glob("best*.ckpt")))
    return losses, weights, counters["stats"]["unique_graphs"]


@needs_compiler
def test_a_compiled_job_has_the_losses_and_the_names_of_an_uncompiled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, names, none = trained(tmp_path / "plain", monkeypatch, **BERT, torch_compile=False)
    found, same_names, graphs = trained(tmp_path / "compiled", monkeypatch, **BERT, torch_compile=True)
    assert found == pytest.approx(plain, abs=1e-4)
    assert len(found) == 20
    assert same_names.keys() == names.keys()
    assert none == 0
    assert 2 <= graphs <= 6  # the trial, and a few for twenty batches of many sizes


@needs_compiler
def test_a_frozen_encoder_that_runs_once_leaves_the_rest_to_be_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {**BERT, "freeze_text_encoder": True}
    plain, _, _ = trained(tmp_path / "plain", monkeypatch, **model, torch_compile=False)
    found, _, graphs = trained(tmp_path / "compiled", monkeypatch, **model, torch_compile=True)
    assert found == pytest.approx(plain, abs=1e-4)
    assert 2 <= graphs <= 3


@needs_compiler
def test_only_the_training_model_is_compiled_and_afterwards_it_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_layers_of_an_encoder_are_compiled_one_by_one_and_what_has_none_as_a_whole() -> None:
    backbone = AutoModel.from_config(AutoConfig.for_model(**TINY_BERT, vocab_size=20))
    model = nn.ModuleList([nn.Linear(2, 2), backbone])
    assert torch_compile.select_compiled_parts(model, backbone) == list(backbone.encoder.layer)
    assert torch_compile.select_compiled_parts(model, nn.Linear(2, 2)) == [model]
    assert torch_compile.select_compiled_parts(model, None) == [model]


@needs_compiler
@pytest.mark.skipif(torch.cuda.is_available(), reason="compiling pays on a GPU")
def test_who_compiles_on_a_cpu_is_told_that_it_hardly_pays(caplog: pytest.LogCaptureFixture) -> None:
    torch_compile.check_torch_compile(make_job_settings(torch_compile=False))
    assert not caplog.records
    torch_compile.check_torch_compile(make_job_settings(torch_compile=True))
    assert "torch_compile is on, but there is no GPU" in caplog.text


@pytest.mark.skipif(is_too_old, reason="this torch is refused whatever the machine has")
def test_a_machine_without_a_compiler_is_told_before_data_are_read(tmp_path: Path) -> None:
    from torch._inductor import config

    folder = JobFolder(tmp_path).settings(torch_compile=True)  # there are no data at all
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        assert folder.run() == 1
    assert "torch_compile = 'True': this machine cannot compile for its cpu" in folder.failure
    assert "No working C++ compiler found" in folder.failure
    assert "no-such-compiler" in folder.failure
    assert "Fix: install a C++ compiler (g++) with Python's headers, or remove the setting" in folder.failure


def test_an_old_torch_cannot_compile() -> None:
    with pytest.raises(errors.SettingError, match=r"this torch is 2\.4\.1.*\nFix: install torch 2.5 or newer"):
        torch_compile.check_torch_compile(make_job_settings(torch_compile=True), "2.4.1+cpu")
    torch_compile.check_torch_compile(make_job_settings(), "2.1.0")


def test_a_model_that_cannot_be_compiled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(graph: Any, example: Any) -> Any:
        raise NotImplementedError("no such operation")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda forward, dynamic: compile_(forward, dynamic=dynamic, backend=refuse))
    model = nn.Linear(2, 2)
    with (
        pytest.raises(errors.CompileError, match=r"torch\.compile failed on Linear .*no such operation.*\nFix: remove"),
        torch_compile.compile_for_training(model, None, make_job_settings(torch_compile=True)),
    ):
        model.train()(torch.ones(1, 2))


class Breaking(nn.Module):
    """A model that reads a tensor's value, at which a graph ends."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        print(float(x.sum()))
        return self.linear(x) if float(x.sum()) > 0 else -self.linear(x)


@needs_compiler
def test_a_model_that_breaks_the_graph_trains_all_the_same() -> None:
    model, rows = Breaking().train(), torch.ones(3, 2)
    expected = model(rows)
    with torch_compile.compile_for_training(model, None, make_job_settings(torch_compile=True)):
        found = model(rows)
        found.sum().backward()
    assert torch.allclose(found, expected)
    assert model.linear.weight.grad is not None
