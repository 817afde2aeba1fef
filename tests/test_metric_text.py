"""The text of a metric keeps the digits of small values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusionzoo.contracts.steps.metric_definitions import NUMBER
from fusionzoo.evaluation.metric_text import format_metric, format_metric_line

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9123456, "0.912346"),
        (0.05, "0.050000"),
        (0.0, "0.000000"),
        (-1.46, "-1.460000"),
        (12345.678, "12345.678000"),
        (0.0001234567, "0.0001235"),
        (1.98765e-9, "0.000000001988"),
        (-4e-7, "-0.0000004000"),
    ],
)
def test_a_metric_line_has_no_exponent_and_four_digits(value: float, text: str) -> None:
    line = format_metric_line("val/rmse", value)
    assert line == f"#metric val_rmse={text};"
    assert re.fullmatch(f"#metric val_rmse=({NUMBER});", line)
    assert float(text) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("page", ["README.md", "docs/deploy.md"])
@pytest.mark.parametrize("value", [0.5, 12345.678, -1.46, -4e-7])
def test_the_expressions_of_the_docs_match_any_finite_value(page: str, value: float) -> None:
    (expression,) = set(re.findall(r"#metric val_auroc=\(\S+?\);", (ROOT / page).read_text("utf-8")))
    found = re.fullmatch(expression, format_metric_line("val/auroc", value))
    assert found is not None
    assert float(found[1]) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_no_number(value: float) -> None:
    assert re.fullmatch(f"#metric loss=({NUMBER});", format_metric_line("loss", value)) is None


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (None, "", "undefined"),
        (0.5, "", "0.5000"),
        (0.05, "+", "+0.05000"),
        (0.09999999, "+", "+0.1000"),
        (-3.21e-8, "+", "-3.210e-08"),
        (0.0, "+", "+0.0000"),
        (1234.5, "", "1234.5000"),
    ],
)
def test_people_read_four_digits(value: float | None, sign: str, text: str) -> None:
    assert format_metric(value, sign) == text
