"""The names of the files that a job writes. This module imports no torch, so that serving can use it."""

WEIGHTS_FILE = "model.pth"
ARTIFACTS_FILE = "model_artifacts.pth"
ONNX_FILE = "model.onnx"
ONNX_CHECK_FILE = "onnx_check.json"
SETTINGS_FILE = "hyperparameters.json"
MANIFEST_FILE = "manifest.json"
PREDICT_RESULTS_FILE = "predict_results.pth"
