"""An HTTP server in this process, on a predictor that needs no trained model, and the requests of its tests."""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pd
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fusionzoo.server.application import create_application
from fusionzoo.server.scoring_service import ScoringService
from fusionzoo.server.server_limits import ServerLimits
from fusionzoo.server.server_metrics import ServerMetrics
from fusionzoo.serving.predictor import Predictor
from predictor_helpers import make_predictor
from shop import shop_rows

CSV, JSON, JSONL, PARQUET = "text/csv", "application/json", "application/jsonlines", "application/x-parquet"
FORMATS = [(CSV, "csv"), (JSON, "json"), (JSONL, "jsonl"), (PARQUET, "parquet")]
ROWS = shop_rows(12, seed=5).drop(columns="target")
FEATURES = ["message", "country", "price", "visits"]  # text, categories, numbers: the order of rows without a header


class Server:
    """A server in this process: its application, which is ready, and the session of its model."""

    def __init__(self, predictor: Predictor | None = None, **limits: Any) -> None:
        self.predictor, self.session = (predictor, None) if predictor else make_predictor()
        metrics = ServerMetrics()
        self.service = ScoringService(self.predictor, ServerLimits(**limits), metrics)
        self.application = create_application(self.service, metrics, 3)
        self.service.warm_up()

    @property
    def client(self) -> FlaskClient:
        return self.application.test_client()

    def post(self, body: bytes | str, content_type: str | None = CSV, **headers: str) -> TestResponse:
        """Send rows to /invocations; `Content_Encoding` means the header Content-Encoding."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/invocations", data=body, content_type=content_type, headers=named)

    def expect(self, frame: pd.DataFrame) -> list[dict[str, Any]]:
        """Return the decision and the probabilities for rows, as `Predictor` computes them."""
        probabilities = self.predictor.predict_proba(frame).to_dict("records")
        decisions = self.predictor.predict(frame).to_dict("records")
        return [
            {**{f"prob_{name}": p for name, p in row.items()}, **decision}
            for row, decision in zip(probabilities, decisions, strict=True)
        ]


def encode(frame: pd.DataFrame, content_type: str) -> bytes:
    """Return rows in a format."""
    if content_type == PARQUET:
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        return buffer.getvalue()
    if content_type == CSV:
        return frame.to_csv(index=False).encode()
    return frame.to_json(orient="records", lines=content_type == JSONL).encode()


def decode(response: TestResponse) -> list[dict[str, Any]]:
    """Return the records of a response with status 200; those of CSV without a header have text for all values."""
    assert response.status_code == 200, response.text
    media_type = response.mimetype
    if media_type == JSON:
        return list(json.loads(response.data)["predictions"])
    if media_type == JSONL:
        return [json.loads(line) for line in response.data.splitlines()]
    return list(pd.read_csv(io.StringIO(response.text), dtype={"id": str, "model_version": str}).to_dict("records"))


def read_error(response: TestResponse, status: int) -> dict[str, Any]:
    """Return the error of a response with this status, after checks that hold for every error."""
    assert response.status_code == status, response.text
    document = response.get_json()
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert {"code", "message", "fix", "problems"} <= document["error"].keys()
    assert "Traceback" not in response.text
    assert "predict" not in document
    return dict(document["error"])
