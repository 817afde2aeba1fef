"""What a job writes: the model folder, the ONNX export, and prediction files."""
