"""Names and values that differ only in characters that nobody sees are shown in ASCII."""

from __future__ import annotations

import pytest

from fusionzoo.errors import column_errors, contract_errors, missing_column, predictor_errors, setting_errors
from fusionzoo.errors.value_problems import RowPlace
from fusionzoo.errors.wording import find_lookalikes, nearest_names, note_lookalikes

PAIRS = [
    ("num", "num\u00a0"),
    ("num", "\u200bnum"),
    ("pr\u00e9cio", "pre\u0301cio"),
    ("id", "\ufeff\ufeffid"),
    ("a b", "a\u2009b"),
    ("soft", "so\u00adft"),
    ("num", " num"),
]


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_both_names_are_shown_in_ascii_and_the_message_says_why_they_differ(name: str, other: str) -> None:
    problems = [
        missing_column("train/a.csv", name, ["x", other]),
        predictor_errors.absent_column("records", name, [other]),
        column_errors.unseen_labels("val", "y", 1, [(RowPlace("val", 1), name)], ["x", other]),
        column_errors.labels_contradict_num_classes(
            "y", {name: 2, other: 1}, {name: RowPlace("a", 1), other: RowPlace("b", 1)}, 1
        ),
        column_errors.labels_outside_classes("y", [name], {name: RowPlace("a", 1)}, [other]),
        column_errors.class_weights_of_unknown_classes([name], [other]),
        setting_errors.unknown_setting(name, 1, [other]),
        contract_errors.undeclared_name("artifacts", name, [other]),
    ]
    for problem in problems:
        text = f"{problem.message} {problem.fix}"
        assert f"{name!a} and {other!a} look equal" in text or f"{other!a} and {name!a} look equal" in text
        assert "invisible characters" in text
    assert nearest_names(name, ["x", other]) == [other]
    error = str(predictor_errors.PredictorInputError.unknown_columns("records", [other], [name]))
    assert f"{other!a} and {name!a} look equal" in error


@pytest.mark.parametrize(("name", "other"), [("num", "Num"), ("num", "num"), ("a", "b"), ("", "x"), ("a_b", "a b")])
def test_names_that_a_reader_can_tell_apart_are_no_lookalikes(name: str, other: str) -> None:
    assert find_lookalikes([name], [other]) is None
    assert find_lookalikes([name, other]) is None
    assert note_lookalikes([name], [other]) == ""
