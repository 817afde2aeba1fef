"""class_weights by class name: every notation of a class, errors for other names, and a log line with names."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.errors import DataError
from fusionzoo.tasks.class_objective import compute_class_weights, weights_of_classes
from parsing_helpers import encode_v2, encode_v3, parse_changed, parse_error
from shop import JobFolder
from training_helpers import make_job_settings, make_random_split

HAM_AND_SPAM = LabelMap("y", ("ham", "spam"))


@pytest.mark.parametrize("encode", [dict, encode_v2, encode_v3, lambda values: encode_v2(encode_v2(values))])
@pytest.mark.parametrize("weights", [{"spam": 5}, {"ham": 0.5, "spam": 2}, {"1": 3, "0": 1}, {}, {"a b": 1}])
def test_an_object_is_accepted_in_every_encoding(encode: Any, weights: dict[str, float]) -> None:
    parsed = parse_changed(**encode({"class_weights": weights})).job
    assert parsed.class_weights == weights
    assert json.loads(parsed.model_dump_json())["class_weights"] == weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"spam": -1}, "a weight is negative"),
        ({"spam": "heavy"}, "class_weights"),
        ({"spam": [1]}, "class_weights"),
        ({"spam": None}, "class_weights"),
        ({"spam": 1e300}, "a weight is above 1e+09"),
        ([1.0, 1e300], "a weight is above 1e+09"),
        ('{"spam": NaN}', "not finite"),
        ("{'spam': inf}", "not finite"),
    ],
)
def test_an_object_without_usable_weights_is_an_error(weights: Any, message: str) -> None:
    assert message in parse_error(class_weights=weights)


@pytest.mark.parametrize(
    ("classes", "weights", "expected"),
    [
        (("ham", "spam"), {"spam": 5}, [1, 5]),
        (("ham", "spam"), {"spam": 0}, [1, 0]),
        (("ham", "spam"), {" spam ": 5}, [1, 5]),
        (("ham", "spam"), {}, [1, 1]),
        ((0, 1), {"1": 5}, [1, 5]),
        ((0, 1), {"1.0": 5, "0": 2}, [2, 5]),
        ((0.0, 0.5), {"0.5": 5}, [1, 5]),
        ((False, True), {"true": 5}, [1, 5]),
        (("a", "b", "c"), {"b": 2, "c": 3}, [1, 2, 3]),
    ],
)
def test_a_weight_belongs_to_the_class_of_its_name(classes: Any, weights: Any, expected: list[float]) -> None:
    assert weights_of_classes(weights, LabelMap("y", classes)) == expected


@pytest.mark.parametrize(
    ("classes", "weights", "message"),
    [
        (("ham", "spam"), {"Spam": 5}, "names 'Spam', but the classes are 'ham', 'spam'. Fix: write 'spam'"),
        (("ham", "spam"), {"eggs": 5}, "Fix: use the names of the classes"),
        (("ham", "spam"), {"ham": 0, "spam": 0}, "all weights are 0"),
        ((0, 1), {"1": 5, "1.0": 6}, "'1', '1.0' are the same class"),
        (tuple(range(40)), {"40": 1}, "'9' and 30 more"),
    ],
)
def test_other_names_than_the_classes_are_an_error(classes: Any, weights: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        weights_of_classes(weights, LabelMap("y", classes))
    assert message in str(error.value)


@pytest.mark.parametrize("weights", [[2.0, 0.5], {"ham": 2.0, "spam": 0.5}])
def test_the_weight_of_each_class_is_logged_with_its_name(weights: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = compute_class_weights(make_job_settings(class_weights=weights), make_random_split(9), HAM_AND_SPAM)
    assert found == [2.0, 0.5]
    assert caplog.messages == ["class_weights: 'ham' 2, 'spam' 0.5"]


def test_a_job_with_weights_by_name_equals_one_with_a_list(tmp_path_factory: pytest.TempPathFactory) -> None:
    losses = []
    for weights in ({"yes": 4}, [1.0, 4.0]):
        job = JobFolder(tmp_path_factory.mktemp("job")).fill(("no", "yes"), 64, max_epochs=1, class_weights=weights)
        assert job.run() == 0
        training = json.loads((job.output / "metrics.json").read_text())["training"]
        assert training["class_weights"] == [1.0, 4.0]
        losses.append(training["best"]["value"])
    assert losses[0] == losses[1]


def test_a_job_with_a_weight_for_another_class_ends_before_training(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    job = JobFolder(tmp_path_factory.mktemp("job")).fill(("no", "yes"), 64, class_weights={"yess": 4})
    assert job.run() == 1
    assert "Fix: write 'yes'" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()
