"""The contracts of the scripts that run before and after training: processing jobs and hosting."""

from __future__ import annotations

from fusionzoo.contracts.script_contract import InferenceScriptContract, ProcessingScriptContract
from fusionzoo.contracts.training_contracts import PYTORCH_TRAIN_CONTRACT

TABULAR_PREPROCESS_CONTRACT = ProcessingScriptContract(
    entry_point="preprocess.py",
    framework="pandas and PyArrow",
    description="Splits a raw file or folder into the channels of a training job, and reports its columns.",
    expected_input_paths={
        "raw_data": "/opt/ml/processing/input",
        "resource_config": "/opt/ml/config/resourceconfig.json",
    },
    expected_output_paths={
        "train_data": "/opt/ml/processing/train",
        "val_data": "/opt/ml/processing/val",
        "test_data": "/opt/ml/processing/test",
        "report": "/opt/ml/processing/report",
        "message": "/opt/ml/output/message",
    },
    optional_paths=frozenset({"message", "resource_config"}),
    optional_env_vars={
        "SAGEMAKER_BASE_DIR": "/opt/ml",
        "HOME": "",
        "MPLCONFIGDIR": "",
        "ORT_DISABLE_TELEMETRY": "1",
    },
    arguments={
        "label-name": None,
        "id-name": "",
        "group-field": "",
        "val-fraction": "0.1",
        "test-fraction": "0.1",
        "seed": "42",
        "task": "classification",
        "label-separator": "",
        "csv-delimiter": ",",
        "csv-quote": "null",
        "csv-escape": "",
        "csv-header": "true",
    },
    framework_requirements={"pandas": "==2.1.4", "pyarrow": "==14.0.2", "pydantic": "==2.11.2"},
    artifacts={
        "train_data": ["part-?????.parquet"],
        "val_data": ["part-?????.parquet"],
        "test_data": ["part-?????.parquet"],
        "report": ["schema.json", "statistics.json", "suggested_hyperparameters.json"],
    },
    meanings={
        "raw_data": "The rows to split, in any format that a training job reads",
        "resource_config": "The instances of the job: it runs on one",
        "train_data": "The train channel of the training job",
        "val_data": "The val channel of the training job",
        "test_data": "The test channel of the training job",
        "report": "The types and statistics of the columns",
        "message": "Why the job failed; it becomes the ExitMessage",
        "SAGEMAKER_BASE_DIR": "The folder to use instead of /opt/ml",
        "HOME": "The home folder; a temporary folder replaces one that does not exist",
        "MPLCONFIGDIR": "The folder of matplotlib's files; by default a temporary folder",
        "ORT_DISABLE_TELEMETRY": "Turns off the telemetry of onnxruntime",
    },
)

MODEL_EVALUATION_CONTRACT = ProcessingScriptContract(
    entry_point="evaluate.py",
    framework="ONNX Runtime",
    description="Scores data with a trained model, and writes metrics, plots and predictions.",
    expected_input_paths={
        "model": "/opt/ml/processing/model/model.tar.gz",
        "data": "/opt/ml/processing/test",
        "baseline": "/opt/ml/processing/baseline",
        "resource_config": "/opt/ml/config/resourceconfig.json",
    },
    expected_output_paths={
        "evaluation": "/opt/ml/processing/evaluation",
        "predictions": "/opt/ml/processing/predictions",
        "message": "/opt/ml/output/message",
    },
    optional_paths=frozenset({"message", "resource_config"}),
    optional_channels=frozenset({"baseline"}),
    optional_env_vars={
        "SAGEMAKER_BASE_DIR": "/opt/ml",
        "HOME": "",
        "MPLCONFIGDIR": "",
        "ORT_DISABLE_TELEMETRY": "1",
    },
    arguments={"skip-unlabeled": "false", "max-expansion": "200", "batch-size": "64"},
    framework_requirements={
        "onnxruntime": "==1.17.0",
        "scikit-learn": "==1.3.2",
        "matplotlib": "==3.8.2",
        "pandas": "==2.1.4",
        "pyarrow": "==14.0.2",
        "pydantic": "==2.11.2",
    },
    artifacts={"evaluation": ["metrics.json", "evaluation.json", "plots/"], "predictions": ["*_predictions.*"]},
    meanings={
        "model": "The model that a training job left, packed",
        "data": "Rows with labels",
        "baseline": "Predictions of a baseline for the same rows, which the model is compared with",
        "resource_config": "The instances of the job: it runs on one",
        "evaluation": "Metrics and plots",
        "predictions": "A score for each row",
        "message": "Why the job failed; it becomes the ExitMessage",
        "SAGEMAKER_BASE_DIR": "The folder to use instead of /opt/ml",
        "HOME": "The home folder",
        "MPLCONFIGDIR": "The folder of matplotlib's files; by default a temporary folder",
        "ORT_DISABLE_TELEMETRY": "Turns off the telemetry of onnxruntime",
    },
)

PYTORCH_INFERENCE_CONTRACT = InferenceScriptContract(
    entry_point="inference.py",
    framework="ONNX Runtime",
    model_types=PYTORCH_TRAIN_CONTRACT.model_types,
    description="Loads the model folder of a training job, and scores the rows of requests.",
    expected_input_paths={"model": "/opt/ml/model"},
    expected_output_paths={},
    functions={
        "model_fn": ["model_dir"],
        "input_fn": ["request_body", "content_type"],
        "predict_fn": ["data", "model"],
        "output_fn": ["prediction", "accept"],
    },
    framework_requirements={
        "onnxruntime": "==1.17.0",
        "pandas": "==2.1.4",
        "pyarrow": "==14.0.2",
        "pydantic": "==2.11.2",
        "flask": "==3.0.2",
    },
    meanings={"model": "The unpacked model.tar.gz; SageMaker passes its folder to model_fn"},
)
