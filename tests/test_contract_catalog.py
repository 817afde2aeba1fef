"""The contracts in the catalog hold every value of the user's contract, explain each name, and need no heavy import."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fusionzoo.contracts import CONTRACTS, PYTORCH_TRAIN_CONTRACT, ScriptContract
from fusionzoo.hyperparameters.pretrained_channel import PRETRAINED_CHANNEL
from fusionzoo.registry.entry_points import MODELS_GROUP, first_party_distributions
from fusionzoo.sagemaker.model_source import MODEL_CHANNEL
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training.channel_folders import ALIASES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "core/fusionzoo"
NAMES = list(CONTRACTS)


def test_the_training_contract_has_every_value_of_the_users_contract() -> None:
    contract = PYTORCH_TRAIN_CONTRACT
    assert contract.entry_point == "train.py"
    assert contract.container_type == "SageMaker Training Job"
    assert contract.framework == "PyTorch Lightning"
    assert contract.model_types[:7] == (
        "multimodal_bert multimodal_cnn multimodal_moe multimodal_gate_fusion multimodal_cross_attn bert lstm".split()
    )
    paths = {
        "train_data": "/opt/ml/input/data/train",
        "val_data": "/opt/ml/input/data/val",
        "test_data": "/opt/ml/input/data/test",
        "config": "/opt/ml/input/config/hyperparameters.json",
    }
    assert {name: contract.expected_input_paths[name] for name in paths} == paths
    outputs = {
        "model_output": "/opt/ml/model",
        "data_output": "/opt/ml/output/data",
        "checkpoints": "/opt/ml/checkpoints",
    }
    assert {name: contract.expected_output_paths[name] for name in outputs} == outputs
    assert not contract.optional_paths & {*paths, *outputs}
    assert contract.required_env_vars == []
    assert contract.optional_env_vars["SM_CHECKPOINT_DIR"] == "/opt/ml/checkpoints"


def test_the_contract_lists_the_models_that_fusionzoo_provides() -> None:
    assert set(PYTORCH_TRAIN_CONTRACT.model_types) == first_party_distributions(MODELS_GROUP).keys()


def test_the_training_contract_pins_the_versions_of_the_users_contract() -> None:
    versions = """torch==2.1.2 torchvision==0.16.2 torchaudio==2.1.2 lightning==2.1.3 lightning-utilities==0.10.1
    torchmetrics==1.7.1 transformers==4.37.2 gensim==4.3.1 beautifulsoup4==4.12.3 pandas==2.1.4 pyarrow==14.0.2
    scikit-learn==1.3.2 tensorboard==2.16.2 matplotlib==3.8.2 onnx==1.15.0 onnxruntime==1.17.0 pydantic==2.11.2
    flask==3.0.2"""
    requirements = [name + version for name, version in PYTORCH_TRAIN_CONTRACT.framework_requirements.items()]
    assert requirements == versions.split()


def test_the_training_contract_lists_the_artifacts_of_the_users_contract() -> None:
    artifacts = PYTORCH_TRAIN_CONTRACT.artifacts
    assert {"model.pth", "model_artifacts.pth", "model.onnx"} <= set(artifacts["model_output"])
    assert {"predict_results.pth", "tensorboard_eval/"} <= set(artifacts["data_output"])


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=NAMES)
def test_a_contract_explains_each_path_and_variable(contract: ScriptContract) -> None:
    names = {*contract.expected_input_paths, *contract.expected_output_paths}
    assert contract.meanings.keys() == names | {*contract.required_env_vars, *contract.optional_env_vars}
    assert all(contract.meanings.values())


def test_importing_the_contracts_imports_no_heavy_package_and_little_of_fusionzoo() -> None:
    code = "import fusionzoo.contracts, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout)
    assert {"torch", "lightning", "numpy", "pandas", "pyarrow", "transformers", "sagemaker"} & set(modules) == set()
    own = {name for name in modules if name.startswith("fusionzoo.")}
    assert {name for name in own if not name.startswith(("fusionzoo.contracts", "fusionzoo.errors"))} == set()


def test_no_module_outside_the_contracts_writes_a_path_of_sagemaker() -> None:
    """Docstrings, comments and help texts count, too: a reader finds each path in one place."""
    files = [*PACKAGE.rglob("*.py"), ROOT / "train.py", *ROOT.glob("plugins/*/*.py")]
    assert len(files) > 200
    others = [file for file in files if PACKAGE / "contracts" not in file.parents]
    assert [str(file.relative_to(ROOT)) for file in others if "opt/ml" in file.read_text("utf-8")] == []


def test_the_paths_of_a_job_are_those_of_the_contract() -> None:
    paths, contract = Paths.from_environment({}), PYTORCH_TRAIN_CONTRACT
    inputs = {
        "train_data": paths.channel("train"),
        "val_data": paths.channel("val"),
        "test_data": paths.channel("test"),
        "config": paths.hyperparameters,
        "config_channel": paths.channel_hyperparameters,
        "config_in_code": paths.code_hyperparameters,
        "pretrained": paths.channel(PRETRAINED_CHANNEL),
        "trained_model": paths.channel(MODEL_CHANNEL),
        "input_data_config": paths.input_data_config,
        "resource_config": paths.resource_config,
    }
    for split, names in ALIASES.items():
        inputs |= {f"{split}_data_as_{name}": paths.channel(name) for name in names if name != split}
    assert {name: str(path) for name, path in inputs.items()} == contract.expected_input_paths
    outputs = {
        "model_output": paths.model,
        "data_output": paths.output_data,
        "checkpoints": paths.checkpoints,
        "failure": paths.failure,
    }
    assert {name: str(path) for name, path in outputs.items()} == contract.expected_output_paths


def test_every_variable_that_the_code_reads_is_in_the_contract() -> None:
    """Only names that are literals are found; the run-time verification watches the others."""
    code = "\n".join(file.read_text("utf-8") for file in PACKAGE.rglob("*.py") if file.parent.name != "contracts")
    read = set(re.findall(r'environ(?:\.get\(|\.setdefault\(|\[|,)\s*"(\w+)"', code))
    assert "SM_CHECKPOINT_DIR" in read
    of_libraries = {"NO_COLOR", "RAYON_NUM_THREADS", "RAY_ADDRESS", "RAY_USAGE_STATS_ENABLED"}
    assert read - of_libraries <= PYTORCH_TRAIN_CONTRACT.optional_env_vars.keys()
