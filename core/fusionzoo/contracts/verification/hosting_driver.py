"""Call the functions of an inference script as SageMaker's toolkit does: load the model, and score a request.

Runs as a process of its own: `python hosting_driver.py SCRIPT MODEL_FOLDER [REQUEST_FILE]`. It imports nothing but the
standard library.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

CONTENT_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".parquet": "application/x-parquet",
}
TEXT_TYPES = ("text/", "application/json")


def serve(script: Path, model_folder: str, request: Path | None) -> None:
    """Load the model once; score the request, if there is one, and print the response's first characters."""
    sys.path.insert(0, str(script.parent))
    functions = runpy.run_path(str(script), run_name=script.stem)
    model = functions["model_fn"](model_folder)
    if request is None:
        return
    content_type = CONTENT_TYPES.get(request.suffix.lower(), "application/octet-stream")
    body: bytes | str = request.read_bytes()
    if isinstance(body, bytes) and content_type.startswith(TEXT_TYPES):
        body = body.decode("utf-8")
    data = functions["input_fn"](body, content_type)
    prediction = functions["predict_fn"](data, model)
    response = functions["output_fn"](prediction, "application/json")
    if not response:
        raise ValueError("output_fn returned an empty response")
    sys.stdout.write(f"response: {response!r:.500}\n")


if __name__ == "__main__":
    _script, _model_folder, *_request = sys.argv[1:]
    serve(Path(_script), _model_folder, Path(_request[0]) if _request else None)
