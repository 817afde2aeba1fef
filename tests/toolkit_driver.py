"""Send requests to a model folder through SageMaker's inference toolkits, as the model server in their image does.

Runs in .venv-toolkits as a process of its own: `python toolkit_driver.py KIND MODEL_FOLDER`, with a JSON list of
requests in standard input, and `code` in PYTHONPATH. It prints a JSON list of responses.
"""

from __future__ import annotations

import json
import sys
from typing import Any


class Context:
    """The context of a request, as multi-model-server and torchserve pass it."""

    def __init__(self, model_dir: str, headers: dict[str, str]) -> None:
        self.system_properties = {"model_dir": model_dir}
        self.request_processor = [self]
        self.headers, self.status, self.content_type = headers, 200, ""

    def get_request_properties(self) -> dict[str, str]:
        return self.headers

    def set_response_status(self, code: int, phrase: str) -> None:
        self.status = code

    def set_response_content_type(self, index: int, value: str) -> None:
        self.content_type = value


def create_service(kind: str) -> Any:
    if kind == "sagemaker-inference":
        from sagemaker_inference.default_handler_service import DefaultHandlerService

        return DefaultHandlerService()
    from sagemaker_pytorch_serving_container.handler_service import HandlerService

    return HandlerService()


def answer(service: Any, model_dir: str, request: dict[str, Any]) -> dict[str, Any]:
    context = Context(model_dir, request["headers"])
    (content,) = service.handle([{"body": bytes.fromhex(request["body"])}], context)
    text = content if isinstance(content, str) else content.decode()
    return {"status": context.status, "content_type": context.content_type, "content": text}


if __name__ == "__main__":
    _, _kind, _model_dir = sys.argv
    _service = create_service(_kind)
    _service.initialize(Context(_model_dir, {}))
    print(json.dumps([answer(_service, _model_dir, request) for request in json.load(sys.stdin)]))
