"""GET /: a page without other files, that scores a row in a real browser and shows errors where they belong."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from werkzeug.serving import make_server

from browser import Browser, find_browser, start_browser
from predictor_helpers import make_predictor
from serve_helpers import Server
from shop import shop_rows

SCRIPT = "<script>document.title = 'broken'</script>"


def test_the_page_loads_nothing_and_allows_only_its_own_script_and_style() -> None:
    response = Server().client.get("/")
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert response.content_type == "text/html; charset=utf-8"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy)
    assert not re.findall(r"https?:|//\w|src=|@import|url\(", response.text), "it has no address of another file"
    assert not re.findall(r"\son\w+=|\sstyle=|innerHTML", response.text)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("this machine has no Chromium, which cannot be installed with pip")
    with start_browser(program, tmp_path_factory.mktemp("browser")) as running:
        yield running


@contextmanager
def serve_page(browser: Browser, server: Server) -> Iterator[str]:
    """Serve an application at a port, and open its page."""
    running = make_server("127.0.0.1", 0, server.application, threaded=True)
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    address = f"http://127.0.0.1:{running.port}/"
    try:
        browser.open(address)
        browser.wait_for("!document.querySelector('#form').hidden")
        yield address
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def fill(browser: Browser, **values: str) -> None:
    """Set fields, and select Score."""
    browser.evaluate(
        f"""for (const [name, value] of Object.entries({json.dumps(values)})) inputs.get(name).input.value = value;
        document.querySelector('#result').replaceChildren(); document.querySelector('button[type=submit]').click()"""
    )
    browser.wait_for("document.querySelector('#result h2') && !document.querySelector('#form button').disabled")


def result(browser: Browser) -> str:
    return str(browser.evaluate("document.querySelector('#result').innerText"))


def test_a_row_is_scored_and_an_error_is_shown_at_its_column(browser: Browser) -> None:
    server = Server()
    row = {"message": "late awful", "country": "fr", "price": "1.5", "visits": ""}
    (record,) = server.predictor.predict_proba([{**row, "visits": None}])
    with serve_page(browser, server) as address:
        assert browser.evaluate("[...inputs.keys()]") == ["message", "country", "price", "visits", "id"]
        fill(browser, **row)
        text = result(browser)
        for name, probability in record.items():
            assert f"{name}\n{100 * probability:.1f} %" in text
        fill(browser, price="cheap")
        assert "Error 422 (FZ-D106)" in result(browser)
        assert "Fix: correct the values" in result(browser)
        marked = "[...document.querySelectorAll('[aria-invalid]')].map((field) => field.labels[0].firstChild.innerText)"
        assert browser.evaluate(marked) == ["price"]
        fill(browser, price="2")
        assert browser.evaluate(marked) == []
        assert "Prediction" in result(browser)
        requested = {event["request"]["url"] for event in browser.find_events("Network.requestWillBeSent")}
        assert requested <= {address, f"{address}openapi.json", f"{address}invocations", "data:,"}
        entries = [event["entry"] for event in browser.find_events("Log.entryAdded")]
        assert [e["text"] for e in entries if "422" not in e["text"]] == [], "as for a violation of the policy"
        assert browser.find_events("Runtime.exceptionThrown") == []


def test_a_server_that_does_not_answer_is_an_error_with_a_fix(browser: Browser) -> None:
    limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    with serve_page(browser, Server()):
        browser.call("Network.emulateNetworkConditions", offline=True, **limits)
        fill(browser, message="late")
        browser.call("Network.emulateNetworkConditions", offline=False, **limits)
        assert "The server did not answer" in result(browser)
        assert "Fix:" in result(browser)


@pytest.mark.parametrize("name", ["__proto__", "constructor", SCRIPT, "0", "ünï 'quoted' \"name\"", "a" * 300])
def test_any_name_of_a_column_is_shown_as_it_is(browser: Browser, name: str) -> None:
    frame = shop_rows(80).rename(columns={"price": name})
    predictor, _ = make_predictor(frame=frame, tab_field_list=[name, "visits"])
    with serve_page(browser, Server(predictor)):
        browser.evaluate(f"inputs.get({json.dumps(name)}).input.value = 'x'")
        fill(browser, message="late")
        assert f"column '{name}'" in result(browser)
        assert browser.evaluate("document.title") == "Model of label target"
        browser.evaluate(f"inputs.get({json.dumps(name)}).input.value = '3'")
        fill(browser, message=SCRIPT)
        assert "Probabilities" in result(browser)


def test_a_regression_shows_its_number_and_many_classes_the_most_probable_ones(browser: Browser) -> None:
    frame = shop_rows(80).assign(weight=lambda rows: rows["visits"] * 2.5)
    predictor, session = make_predictor(frame=frame, task="regression", label_name="weight", num_classes=None)
    session.scores = lambda rows: np.full((rows, 1), 1234.5, np.float32)
    with serve_page(browser, Server(predictor)):
        fill(browser, message="late")
        assert result(browser) == "Prediction\npredicted_weight\n1234.5"
    frame = shop_rows(80).assign(target=[f"class {i % 25:02d}" for i in range(80)])
    predictor, session = make_predictor(frame=frame, num_classes=25)
    session.scores = lambda rows: np.tile(np.arange(25, dtype=np.float32) / 300, (rows, 1))
    with serve_page(browser, Server(predictor)):
        fill(browser, message="late")
        shown = result(browser)
        assert "class 24\n8.0 %" in shown
        assert "class 14" not in shown
        assert "15 more" in shown
