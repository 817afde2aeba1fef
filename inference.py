"""The entry point of `PYTORCH_INFERENCE_CONTRACT`: serves a model folder with SageMaker's inference toolkits.

`fusionzoo package` puts the same functions into a model.tar.gz, as `code/inference.py`. `fusionzoo serve` needs none.
"""

from fusionzoo.server.inference_script import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
