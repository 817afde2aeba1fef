"""AWS's own containers start train.py with these toolkits: sagemaker-training and sagemaker-pytorch-training.

`make install` installs them into .venv-toolkits. The jobs are those that version 2 and version 3 of the SDK request.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from process_helpers import assert_same_results
from shop import JobFolder, shop_rows

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-toolkits/bin/python"
PYTORCH_TOOLKIT = "sagemaker_pytorch_container.training:main"
TORCHRUN = {
    "sagemaker_torch_distributed_enabled": True,
    "sagemaker_distribution_instance_groups": ["homogeneousCluster"],
}

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="make install creates .venv-toolkits, which these tests need"
)


WATCH = """
import importlib.metadata, json, sys
from pathlib import Path
from fusionzoo.contracts.verification.file_watch import FileWatch

with FileWatch([Path(sys.argv[1])], []) as watch:
    (Path(sys.argv[1]) / "rows.csv").read_bytes()
    (Path(sys.argv[1]) / "new/folder").mkdir(parents=True)
    watch.collect()
    (Path(sys.argv[1]) / "new/folder/file").write_text("x")
    while watch.collect():
        pass
seen = {str(path.relative_to(sys.argv[1])): what for path, what in watch.activity.written.items()}
read = [path.name for path in watch.activity.read]
print(json.dumps([importlib.metadata.version("inotify_simple"), read, seen, watch.activity.gaps]))
"""


def encode_v2(value: Any) -> str:
    return json.dumps(value)


def encode_v3(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def prepare(job: JobFolder, encode: Callable[[Any], str], **settings: Any) -> JobFolder:
    """Add what SageMaker mounts besides the channels: the code, the configuration and encoded hyperparameters."""
    config = job.root / "input/config"
    values = {key: json.loads(text) for key, text in json.loads((config / "hyperparameters.json").read_text()).items()}
    values |= {
        "sagemaker_program": "train.py",
        "sagemaker_job_name": "job-1",
        "sagemaker_region": "us-east-1",
        **settings,
    }
    (config / "hyperparameters.json").write_text(json.dumps({key: encode(value) for key, value in values.items()}))
    host = {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"}
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["localhost"]}
    groups = {"current_instance_type": "ml.m5.large", "current_group_name": "homogeneousCluster"}
    (config / "resourceconfig.json").write_text(json.dumps({**host, **groups, "instance_groups": [group]}))
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    channels = dict.fromkeys(sorted(path.name for path in (job.root / "input/data").iterdir()), channel)
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    (job.root / "code").mkdir()
    shutil.copy(ROOT / "train.py", job.root / "code")
    for folder in ("model", "output/data"):
        (job.root / folder).mkdir(parents=True)
    return job


def run_toolkit(job: JobFolder, module: str | None = PYTORCH_TOOLKIT) -> tuple[int, str]:
    """Run `train`, the command of AWS's images, and return its exit status and its log."""
    commands = job.root / "bin"
    commands.mkdir()
    (commands / "torchrun").write_text(f'#!/bin/sh\nexec {PYTHON} -W ignore -m torch.distributed.run "$@"\n')
    (commands / "torchrun").chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SM_", "PYTEST"))}
    environment = {
        **inherited,
        "PATH": f"{commands}{os.pathsep}{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
        "SAGEMAKER_BASE_DIR": str(job.root),
        "PIP_NO_INDEX": "1",
        **({} if module is None else {"SAGEMAKER_TRAINING_MODULE": module}),
    }
    done = subprocess.run(
        [PYTHON.with_name("train")],
        cwd=job.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def fill_as(trained: JobFolder, root: Path) -> JobFolder:
    """Return the folder of a new job with the channels and the settings of another one."""
    shutil.copytree(trained.root / "input", root / "input")
    return JobFolder(root)


@pytest.mark.parametrize(
    ("encode", "settings", "module", "launcher"),
    [
        pytest.param(encode_v2, {}, None, "train.py --batch_size 16", id="sagemaker-training, SDK 2"),
        pytest.param(
            encode_v3, TORCHRUN, PYTORCH_TOOLKIT, "torchrun --nnodes 1 --nproc_per_node 1", id="torchrun, SDK 3"
        ),
    ],
)
def test_a_job_that_a_toolkit_starts_has_the_results_of_train_py(
    trained_job: JobFolder,
    tmp_path: Path,
    encode: Callable[[Any], str],
    settings: dict[str, Any],
    module: str | None,
    launcher: str,
) -> None:
    job = prepare(fill_as(trained_job, tmp_path / "ml"), encode, **settings)
    (job.root / "code/requirements.txt").write_text("pandas>=2\n")  # is installed, as fusionzoo is in the image
    status, log = run_toolkit(job, module)
    assert status == 0, log[-4000:]
    assert launcher in log
    assert "Installing dependencies from requirements.txt" in log
    assert not (job.root / "output/failure").exists()
    assert_same_results(job, trained_job)


def test_a_failed_job_leaves_its_own_cause_and_not_the_trace_of_the_toolkit(job: JobFolder) -> None:
    job.fill(rows=24, onnx="required")
    job.channel("train", shop_rows(24).assign(price="many"))
    status, log = run_toolkit(prepare(job, encode_v3, **TORCHRUN))
    assert status == 1
    assert "column 'price'" in job.failure.splitlines()[1]
    assert "Fix: " in job.failure
    assert "ExecuteUserScriptError" in log
    assert "ExecuteUserScriptError" not in (job.root / "output/failure").read_text()
    assert list(job.model.iterdir()) == []


def test_the_toolkits_and_fusionzoo_have_no_conflict_of_versions() -> None:
    done = subprocess.run([PYTHON, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "No broken requirements found.\n"), done.stdout + done.stderr


@pytest.mark.parametrize("python", [PYTHON, Path(sys.executable)], ids=["of AWS", "of constraints.txt"])
def test_files_are_watched_with_each_version_of_inotify_simple(python: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id\n1\n")
    done = subprocess.run([python, "-c", WATCH, tmp_path], capture_output=True, text=True, check=True)
    version, read, written, gaps = json.loads(done.stdout)
    assert (version == "1.2.1") == (python == PYTHON)
    assert (read, gaps) == (["rows.csv"], [])
    assert written == {"new": ["created"], "new/folder": ["created"], "new/folder/file": ["created", "changed"]}
