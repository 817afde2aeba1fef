"""The names of the files that a job writes. This module imports no torch, so that serving can use it."""

from fusionzoo.contracts.training_contracts import MANIFEST_FILE as MANIFEST_FILE

WEIGHTS_FILE = "model.pth"
ARTIFACTS_FILE = "model_artifacts.pth"
ONNX_FILE = "model.onnx"
ONNX_CHECK_FILE = "onnx_check.json"
SETTINGS_FILE = "hyperparameters.json"
PREDICT_RESULTS_FILE = "predict_results.pth"
