"""POST /invocations: each format in and out, and one record per row, in the order of the rows."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusionzoo.server.media_types import choose_output_type
from predictor_helpers import make_predictor
from serve_helpers import CSV, FEATURES, JSON, JSONL, PARQUET, ROWS, Server, decode, encode
from shop import shop_rows

TSV = "text/tab-separated-values"


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def assert_scores(records: list[dict[str, Any]], expected: list[dict[str, Any]], ids: list[str] | None = None) -> None:
    """Assert one record per row, in order: decisions are equal, and probabilities within 1e-6."""
    assert len(records) == len(expected)
    for record, row in zip(records, expected, strict=True):
        assert record["predicted_target"] == row["predicted_target"]
        for name in ("prob_0", "prob_1"):
            assert record[name] == pytest.approx(row[name], abs=1e-6)
        assert "model_version" in record
    assert [record.get("id") for record in records] == (ids or [None] * len(expected))


@pytest.mark.parametrize("accept", [CSV, JSON, JSONL])
@pytest.mark.parametrize("content_type", [CSV, JSON, JSONL, PARQUET])
def test_every_format_gives_the_predictions_of_predictor(server: Server, content_type: str, accept: str) -> None:
    wanted = f"{accept}; header=present" if accept == CSV else accept
    response = server.post(encode(ROWS, content_type), content_type, Accept=wanted)
    assert_scores(decode(response), server.expect(ROWS), ROWS["id"].tolist())
    assert response.content_type == f"{accept}; charset=utf-8"


def test_columns_in_any_order_further_columns_and_labels_do_not_change_predictions(server: Server) -> None:
    frame = shop_rows(12, seed=5).assign(extra="x")[["target", "extra", *reversed(FEATURES), "id"]]
    assert_scores(decode(server.post(encode(frame, JSON), JSON)), server.expect(ROWS), ROWS["id"].tolist())


def test_without_ids_a_record_has_no_id(server: Server) -> None:
    rows = ROWS.drop(columns="id")
    assert_scores(decode(server.post(encode(rows, JSON), JSON)), server.expect(rows))


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("content_type", [CSV, JSON, PARQUET])
def test_a_body_may_be_compressed_with_gzip(server: Server, content_type: str, compress: bool) -> None:
    body = encode(ROWS, content_type)
    headers = {"Content_Encoding": "gzip"} if compress else {}
    response = server.post(gzip.compress(body) if compress else body, content_type, Accept=JSON, **headers)
    assert_scores(decode(response), server.expect(ROWS), ROWS["id"].tolist())


def test_many_rows_have_their_records_in_the_order_of_the_rows(server: Server) -> None:
    frame = shop_rows(500, seed=8)
    records = decode(server.post(encode(frame, JSONL), JSONL))
    assert_scores(records, server.expect(frame), frame["id"].tolist())


class TestHeader:
    """CSV with and without a header."""

    def rows(self, *columns: str) -> bytes:
        return ROWS[list(columns)].to_csv(index=False, header=False).encode()

    def test_without_a_header_values_have_the_order_of_the_columns(self, server: Server) -> None:
        response = server.post(self.rows(*FEATURES), CSV, Accept=JSON)
        assert_scores(decode(response), server.expect(ROWS))

    def test_without_a_header_the_id_may_be_first(self, server: Server) -> None:
        response = server.post(self.rows("id", *FEATURES), CSV, Accept=JSON)
        assert_scores(decode(response), server.expect(ROWS), ROWS["id"].tolist())

    def test_each_line_of_the_response_belongs_to_the_same_line_of_the_request(self, server: Server) -> None:
        with_header, without = server.post(encode(ROWS, CSV)), server.post(self.rows("id", *FEATURES))
        lines = with_header.text.splitlines()
        assert lines[0] == '"id","prob_0","prob_1","predicted_target","model_version"'
        assert [line.split(",")[0].strip('"') for line in lines[1:]] == ROWS["id"].tolist()
        assert without.text.splitlines() == lines[1:]

    def test_the_client_can_say_whether_there_is_a_header(self, server: Server) -> None:
        body = "price,de,1,2\n"  # the text is the name of a column
        record = server.expect(pd.DataFrame([["price", "de", 1, 2]], columns=FEATURES))
        assert_scores(decode(server.post(body, f"{CSV}; header=absent", Accept=JSON)), record)
        assert server.post(body, CSV).status_code == 422, "taken as a header, which lacks columns"
        assert server.post(self.rows(*FEATURES), f"{CSV}; header=present").status_code == 422
        assert server.post(body, f"{CSV}; header=maybe").status_code == 400

    def test_names_that_differ_in_case_are_a_header_with_wrong_names(self, server: Server) -> None:
        body = "Message,Country,Price,Visits\na,de,1,2\n"
        assert "rename 'Message' to 'message'" in server.post(body).get_json()["error"]["fix"]

    def test_the_response_has_the_header_that_the_client_accepts(self, server: Server) -> None:
        assert server.post(encode(ROWS, CSV), Accept=f"{CSV}; header=absent").text.startswith('"500000"')
        assert server.post(encode(ROWS, JSON), JSON, Accept=f"{CSV}; header=present").text.startswith('"id"')
        assert server.post(encode(ROWS, JSON), JSON, Accept=f"{CSV}; header=absent").text.startswith('"500000"')

    @pytest.mark.parametrize(("content_type", "start"), [(JSON, '"id"'), (PARQUET, '"id"'), (JSONL, '"500000"')])
    def test_only_rows_that_are_lines_without_a_header_have_csv_without_a_header(
        self, server: Server, content_type: str, start: str
    ) -> None:
        assert server.post(encode(ROWS, content_type), content_type, Accept=CSV).text.startswith(start)

    def test_the_dialect_is_that_of_the_training_files(self) -> None:
        predictor, _ = make_predictor(csv_delimiter=";")
        server = Server(predictor)
        response = server.post(ROWS.to_csv(index=False, sep=";"), CSV, Accept=JSON)
        assert_scores(decode(response), server.expect(ROWS), ROWS["id"].tolist())
        response = server.post(ROWS.to_csv(index=False, sep="\t"), TSV, Accept=JSON)
        assert_scores(decode(response), server.expect(ROWS), ROWS["id"].tolist())

    def test_columns_that_the_settings_name_need_no_header(self) -> None:
        predictor, _ = make_predictor(csv_header=["price", "visits", "message", "country", "id"])
        server = Server(predictor)
        body = self.rows("price", "visits", "message", "country", "id")
        assert_scores(decode(server.post(body, CSV, Accept=JSON)), server.expect(ROWS), ROWS["id"].tolist())

    @pytest.mark.parametrize("accept", ["", "; header=present"])
    @pytest.mark.parametrize("order", [["visits", "price", "id", "message", "country"], ["id", "target", *FEATURES]])
    def test_a_header_counts_if_the_training_files_had_none(self, order: list[str], accept: str) -> None:
        server = Server(make_predictor(csv_header=["id", "target", "visits", "price", "message", "country"])[0])
        body = ROWS.assign(target=1)[order].to_csv(index=False)
        response = server.post(body, f"text/csv{accept}", Accept=JSON)
        assert_scores(decode(response), server.expect(ROWS), ROWS["id"].tolist())

    @pytest.mark.parametrize(
        "order",
        [
            FEATURES,
            ["target", "id", "visits", "price", "message", "country"],
            ["id", "visits", "price", "message", "country"],
        ],
    )
    def test_rows_are_those_of_the_model_or_of_its_training_files(self, order: list[str]) -> None:
        server = Server(make_predictor(csv_header=["target", "id", "visits", "price", "message", "country"])[0])
        body = ROWS.assign(target=1)[order].to_csv(index=False, header=False)
        ids = ROWS["id"].tolist() if "id" in order else None
        assert_scores(decode(server.post(body, "text/csv; header=absent", Accept=JSON)), server.expect(ROWS), ids)

    @pytest.mark.parametrize("is_labeled", [True, False])
    def test_rows_without_labels_are_in_the_order_of_training_files_without_names(self, is_labeled: bool) -> None:
        order = ["target", "id", "visits", "price", "message", "country"]
        names = dict(zip(order, list("012345"), strict=True))
        roles = {"id_name": "1", "label_name": "0", "text_name": "4", "cat_field_list": ["5"]}
        frame = shop_rows(80)[order].rename(columns=names)
        header = list(names.values())
        server = Server(make_predictor(frame=frame, csv_header=header, tab_field_list=["3", "2"], **roles)[0])
        rows = ROWS.assign(target=1)[order].rename(columns=names)
        body = (rows if is_labeled else rows.drop(columns="0")).to_csv(index=False, header=False)
        expected = server.expect(rows[["4", "5", "3", "2"]])
        found = decode(server.post(body, CSV, Accept=JSON))
        assert [row["prob_1"] for row in found] == pytest.approx([row["prob_1"] for row in expected], abs=1e-6)
        assert [row["1"] for row in found] == ROWS["id"].tolist()

    def test_columns_without_names_are_counted_or_in_the_order_of_the_settings(self) -> None:
        frame = shop_rows(80)[["id", "target", "message", "country", "price", "visits"]]
        frame.columns = pd.Index([str(i) for i in range(6)])
        predictor, _ = make_predictor(
            frame=frame,
            csv_header=False,
            id_name="0",
            label_name="1",
            text_name="2",
            cat_field_list=["3"],
            tab_field_list=["4", "5"],
        )
        server = Server(predictor)
        expected = server.expect(ROWS[FEATURES].set_axis(["2", "3", "4", "5"], axis=1))
        rows = ROWS.assign(target=1)
        for order in (FEATURES, ["id", *FEATURES], ["id", "target", *FEATURES]):
            response = server.post(rows[order].to_csv(index=False, header=False), CSV, Accept=JSON)
            assert len(decode(response)) == len(expected), order
            assert [r["prob_1"] for r in decode(response)] == pytest.approx([r["prob_1"] for r in expected], abs=1e-6)
        renamed = rows[["visits", "price", "message", "country"]].set_axis(["5", "4", "2", "3"], axis=1)
        response = server.post(renamed.to_csv(index=False), "text/csv; header=present", Accept=JSON)
        assert [r["prob_1"] for r in decode(response)] == pytest.approx([r["prob_1"] for r in expected], abs=1e-6)


RECORD = {"message": "late awful", "country": "fr", "price": 1.5, "visits": 2}


@pytest.mark.parametrize(
    ("document", "count"),
    [
        (RECORD, 1),
        ([RECORD], 1),
        ([RECORD, RECORD], 2),
        ({"instances": [RECORD, RECORD]}, 2),
        ({"instances": RECORD}, 1),
        ({"inputs": [RECORD]}, 1),
        ({"inputs": RECORD}, 1),
        ({"signature_name": "serving_default", "instances": [RECORD]}, 1),
    ],
)
def test_json_has_the_rows_in_any_form(server: Server, document: Any, count: int) -> None:
    expected = server.expect(pd.DataFrame([RECORD])) * count
    assert_scores(decode(server.post(json.dumps(document), JSON)), expected)
    assert_scores(decode(server.post(b"\xef\xbb\xbf " + json.dumps(document).encode(), JSON)), expected)


def test_a_column_may_have_the_name_of_a_wrapper() -> None:
    frame = shop_rows(80).rename(columns={"price": "inputs"})
    predictor, _ = make_predictor(frame=frame, tab_field_list=["inputs", "visits"])
    server = Server(predictor)
    record = {"message": "late", "country": "fr", "inputs": 1.5, "visits": 2}
    expected = server.expect(pd.DataFrame([record]))
    for document in (record, {"inputs": [record]}, {"instances": [record]}):
        assert_scores(decode(server.post(json.dumps(document), JSON)), expected)


DIRTY = pd.DataFrame(
    {
        "message": ['a "quote", a comma', "two\nlines", "NULL", "", "naïve ☃ 你好", " spaces "],
        "country": ["de", "N/A", "", "007", "new", "de "],
        "price": ["1e3", " 2 ", "", "NaN", "-0", "1234567890123456789"],
        "visits": ["1", "2.0", "null", "+3", "4.", "0"],
    }
)


def test_a_value_means_the_same_in_every_format_and_in_files(server: Server, tmp_path: Any) -> None:
    path = tmp_path / "rows.csv"
    DIRTY.to_csv(path, index=False)
    table = server.predictor.predict_proba(path)
    expected = np.stack([table.column(name).to_numpy() for name in ("0", "1")], axis=1)
    for content_type in (CSV, JSON, JSONL, PARQUET):
        records = decode(server.post(encode(DIRTY, content_type), content_type, Accept=JSON))
        scores = [[record["prob_0"], record["prob_1"]] for record in records]
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6, err_msg=content_type)


@pytest.mark.parametrize(
    ("accept", "input_format", "expected"),
    [
        (None, "csv", CSV),
        (None, "jsonl", JSONL),
        (None, "parquet", JSON),
        ("", "json", JSON),
        ("*/*", "csv", CSV),
        ("*/*", "json", JSON),
        ("application/*", "csv", JSON),
        ("application/*", "jsonl", JSONL),
        ("text/csv; charset=utf-8", "json", CSV),
        ("Application/JSON; Charset=UTF-8", "csv", JSON),
        ("text/csv;q=0.2, application/json;q=0.9", "csv", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", "json", JSON),
        ("application/json;q=0, */*", "json", JSONL),
        ("text/csv, */*;q=0.1", "json", CSV),
        ("application/x-ndjson", "csv", "application/x-ndjson"),
        ("application/json, text/csv", "csv", CSV),
    ],
)
def test_the_client_chooses_the_format_of_the_response(accept: str | None, input_format: str, expected: str) -> None:
    assert choose_output_type(accept, input_format).media_type == expected


def test_a_model_of_numbers_and_a_model_of_labels_have_their_own_columns() -> None:
    frame = shop_rows(80).assign(weight=lambda rows: rows["visits"] * 2.5)
    predictor, session = make_predictor(frame=frame, task="regression", label_name="weight", num_classes=None)
    session.scores = lambda rows: np.full((rows, 1), 0.5, np.float32)
    (record,) = decode(Server(predictor).post(json.dumps(RECORD), JSON))
    assert record == {"predicted_weight": 0.5, "model_version": ""}


def test_execution_parameters_are_what_batch_transform_may_use(server: Server) -> None:
    parameters = server.client.get("/execution-parameters").get_json()
    assert parameters == {"MaxConcurrentTransforms": 6, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
    many = Server(concurrency=500, max_body_bytes=3_000_000).client.get("/execution-parameters").get_json()
    assert many["MaxPayloadInMB"] == 3
    assert many["MaxConcurrentTransforms"] * many["MaxPayloadInMB"] <= 100


@pytest.mark.parametrize("content_type", [CSV, JSON, JSONL, PARQUET])
def test_a_request_writes_no_file(server: Server, content_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/absent")
    assert len(decode(server.post(encode(ROWS, content_type), content_type))) == len(ROWS)
