"""Scripts that the static validator reads, and how to validate one."""

from __future__ import annotations

from pathlib import Path

from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT, TrainingScriptContract, ValidationReport, Verdict
from fusionzoo.contracts.static.atoms import ModuleSource
from fusionzoo.contracts.static.budget import Budget
from fusionzoo.contracts.static.interpreter import make_machine, run_script
from fusionzoo.contracts.static.judgment import Judgment, judge
from fusionzoo.contracts.static.project_modules import ModuleFinder
from fusionzoo.contracts.static.source_files import parse_source
from fusionzoo.contracts.static.uses import UseRecorder

COMPLIANT = """\
import json
import os
from pathlib import Path

import pandas as pd
import torch

prefix = "/opt/ml/"
input_path = os.path.join(prefix, "input/data")
train_path = os.path.join(input_path, "train")
val_path = os.path.join(input_path, "val")
test_path = os.path.join(input_path, "test")
model_path = os.path.join(prefix, "model")
output_path = os.path.join(prefix, "output/data")


def load(folder):
    return pd.read_csv(os.path.join(folder, "part-0.csv"))


def main():
    with open(os.path.join(prefix, "input/config/hyperparameters.json")) as file:
        settings = json.load(file)
    tables = [load(folder) for folder in (train_path, val_path, test_path)]
    torch.save({}, os.path.join(model_path, "model.pth"))
    checkpoints = os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")
    torch.save({}, f"{checkpoints}/last.ckpt")
    Path(output_path, "metrics.json").write_text("{}")


if __name__ == "__main__":
    main()
"""
"""The snippet of the user's contract, completed with uses of its paths."""


def validate(folder: Path, source: str, **modules: str) -> ValidationReport:
    """Return the report on a script with this source code, next to these modules."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    script = folder / "train.py"
    script.write_text(source, "utf-8")
    return PYTORCH_TRAIN_CONTRACT.validate_implementation(script)


def judge_source(source: str, folder: Path = Path("project")) -> Judgment:
    """Return what the uses of paths in a program say about the contract of train.py, without other checks."""
    module = parse_source(source.encode(), folder / "train.py", "__main__")
    assert isinstance(module, ModuleSource), module
    recorder = UseRecorder()
    run_script(make_machine(ModuleFinder(module.path), recorder, Budget()), module, {})
    return judge(PYTORCH_TRAIN_CONTRACT, recorder.uses)


SMALL_CONTRACT = TrainingScriptContract(
    entry_point="train.py",
    expected_input_paths={"train": "/opt/ml/input/data/train", "val": "/opt/ml/input/data/validation"},
    expected_output_paths={"model": "/opt/ml/model", "out": "/opt/ml/output/data"},
    container_type="SageMaker Training Job",
    framework="none",
)
WORK = """\
import json, os, pandas as pd, torch
T, V, M, O = "/opt/ml/input/data/train", "/opt/ml/input/data/validation", "/opt/ml/model", "/opt/ml/output/data"
def work(train=T, val=V, model=M, out=O):
    pd.read_csv(os.path.join(train, "a.csv")), pd.read_csv(os.path.join(val, "b.csv"))
    torch.save({}, os.path.join(model, "model.pt"))
    with open(os.path.join(out, "metrics.json"), "w") as file:
        json.dump({}, file)
"""
"""A function that uses all paths of `SMALL_CONTRACT`; what follows calls it in various ways."""


def validate_small(folder: Path, source: str, **modules: str) -> ValidationReport:
    """Return the report on a script for `SMALL_CONTRACT`, next to these modules."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    script = folder / "train.py"
    script.write_text(source, "utf-8")
    return SMALL_CONTRACT.validate_implementation(script)


def find_unproven(report: ValidationReport) -> dict[str, str]:
    """Return the paths that are not proven, with their verdicts."""
    return {path: verdict.value for path, verdict in report.verdicts.items() if verdict is not Verdict.PROVEN}
