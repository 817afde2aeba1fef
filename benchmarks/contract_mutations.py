"""Which mutations of train.py and of the package the static validator of contracts finds.

Each mutation changes one place in a copy of the code. It is found by a new error, so that the script does not comply,
or only by a new warning. Run: python benchmarks/contract_mutations.py
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from pathlib import Path

from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT, ValidationReport

ROOT = Path(__file__).parents[1]
PACKAGE = "fusionzoo"
# name: (file, code, code instead)
MUTATIONS = {
    "train.py never runs the training": ("train.py", "    run_training(paths)\n", "    pass\n"),
    "train.py runs under another name only": ("train.py", '== "__main__"', '== "__other__"'),
    "a job never reads hyperparameters.json": (
        f"{PACKAGE}/hyperparameters/reading.py",
        "**_read_file(paths.hyperparameters)",
        "**{}",
    ),
    "the val channel has other names only": (
        f"{PACKAGE}/training/channel_folders.py",
        '"val": ("val", "validation", "valid", "eval")',
        '"val": ("validation_set",)',
    ),
    "the test channel is never opened": (
        f"{PACKAGE}/training/channel_folders.py",
        ', "test": ("test", "testing")',
        "",
    ),
    "the model goes into the output folder": (
        f"{PACKAGE}/sagemaker/paths.py",
        'return self._locate("model_output")',
        'return self._locate("data_output") / "model"',
    ),
    "the evaluation goes into the train channel": (
        f"{PACKAGE}/training/write_artifacts.py",
        "staged_folder(paths.output_data)",
        'staged_folder(paths.channel("train"))',
    ),
    "the failure file is below output/data": (
        f"{PACKAGE}/sagemaker/paths.py",
        'return self._locate("failure")',
        'return self._locate("data_output") / "failure"',
    ),
    "checkpoints go into a home folder": (
        f"{PACKAGE}/training/fit.py",
        "LastCheckpoint(run.paths.checkpoints,",
        'LastCheckpoint(Path("/home/ubuntu/checkpoints"),',
    ),
    "the trainer's root is an undeclared folder": (
        f"{PACKAGE}/training/trainer.py",
        "default_root_dir=run.paths.output_data",
        'default_root_dir="/opt/ml/logs"',
    ),
    "model.pth is not written": (
        f"{PACKAGE}/artifacts/model_folder.py",
        "staging / WEIGHTS_FILE)\n        with translate_write_errors(folder / ARTIFACTS_FILE)",
        "staging / 'weights.bin')\n        with translate_write_errors(folder / ARTIFACTS_FILE)",
    ),
    "predict_results.pth is not written": (
        f"{PACKAGE}/training/write_artifacts.py",
        "        prediction_files.write_predict_results(",
        "        dict(",
    ),
    "an undeclared variable is read": ("train.py", "import sys\n", "import sys\n\nos.environ['MY_SETTING']\n"),
}


def copy_project(folder: Path) -> Path:
    """Copy train.py and the package into a folder; return the script."""
    shutil.copytree(ROOT / "core" / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    return Path(shutil.copy(ROOT / "train.py", folder))


def validate(script: Path) -> ValidationReport:
    """Return the report on a script without the names of temporary folders."""
    return PYTORCH_TRAIN_CONTRACT.validate_implementation(script)


def describe(report: ValidationReport, original: ValidationReport, folders: tuple[Path, Path]) -> tuple[str, str]:
    """Return whether a mutation was found, and the first new message."""
    for kind in ("errors", "warnings"):
        known = {message.replace(str(folders[1]), "") for message in getattr(original, kind)}
        new = [message.replace(str(folders[0]), "") for message in getattr(report, kind)]
        new = [message for message in new if message not in known]
        if new:
            return ("error" if kind == "errors" else "warning"), new[0]
    return "not found", ""


def main() -> None:
    """Print a table of the mutations."""
    with tempfile.TemporaryDirectory() as base:
        unchanged = Path(base) / "original"
        unchanged.mkdir()
        start = time.process_time()
        original = validate(copy_project(unchanged))
        seconds = time.process_time() - start
        print(f"{original.summary} in {seconds:.1f} s of CPU time, {len(original.verdicts)} paths")
        for number, (name, (file, before, after)) in enumerate(MUTATIONS.items()):
            folder = Path(base) / str(number)
            folder.mkdir()
            script = copy_project(folder)
            text = (folder / file).read_text("utf-8")
            (folder / file).write_text(text.replace(before, after, 1), "utf-8")
            found, message = describe(validate(script), original, (folder, unchanged))
            print(f"{name:50} {found:10} {message[:150]}")
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB of memory at most")


if __name__ == "__main__":
    main()
