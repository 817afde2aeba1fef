"""Decision rules: thresholds that reach a goal on val, costs, and the settings that ask for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.score_rules import DecisionRule, OutputScaling, ScoreRules, restore_score_rules
from fusionzoo.evaluation.decision_choice import Goal, choose_threshold, fit_thresholds, list_cuts, threshold_of_costs
from fusionzoo.evaluation.label_decision import predict_classes, predict_labels
from fusionzoo.evaluation.report import ScoredSplit
from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.decision_settings import find_threshold_count_problem, read_goal
from parsing_helpers import REQUIRED, encode_v2, encode_v3, parse, parse_changed, parse_error

GOALS = [Goal("decision_threshold", "best_f1"), Goal("min_precision", 0.8), Goal("min_recall", 0.7)]


def draw(rows: int, seed: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and float32 probabilities of which many are equal if there are few levels."""
    rng = np.random.default_rng(seed)
    labels = rng.random(rows) < 0.3
    scores = np.clip(rng.normal(0.35 + 0.25 * labels, 0.2), 0, 1)
    return labels, (np.round(scores * levels) / levels).astype(np.float32)


def measure(labels: np.ndarray, is_predicted: np.ndarray) -> tuple[float, float, float]:
    """Return F1, precision and recall by scikit-learn."""
    metrics = (f1_score, precision_score, recall_score)
    return tuple(metric(labels, is_predicted, zero_division=0) for metric in metrics)  # type: ignore[return-value]


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.setting)
@pytest.mark.parametrize("levels", [5, 10**6])
@pytest.mark.parametrize("seed", range(6))
def test_the_threshold_is_the_best_of_all_thresholds(goal: Goal, levels: int, seed: int) -> None:
    labels, scores = draw(60, seed, levels)
    candidates = [0.0, *np.unique(scores).tolist()]
    all_metrics = [measure(labels, scores > np.float32(candidate)) for candidate in candidates]
    threshold, reason = choose_threshold(goal, labels, scores)
    f1, precision, recall = measure(labels, scores > np.float32(threshold))
    if goal.value == "best_f1":
        assert f1 == pytest.approx(max(each[0] for each in all_metrics))
    elif goal.setting == "min_precision":
        reached = [each for each in all_metrics if each[1] >= goal.value]
        assert (reason is None) == bool(reached)
        assert threshold == 0.5 if reason else recall == pytest.approx(max(each[2] for each in reached))
        assert reason or precision >= goal.value
    else:
        reached = [each for each in all_metrics if each[2] >= goal.value]
        assert reason is None
        assert recall >= goal.value
        assert precision == pytest.approx(max(each[1] for each in reached))


def test_a_threshold_is_between_two_scores_also_if_they_are_neighbors_in_float32() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    cuts = list_cuts(np.array([True, False, True, False]), np.array([high, low, 0.2, 0.0], np.float32))
    assert cuts.predicted.tolist() == [1, 2, 3]  # the row with probability 0 is never predicted
    for threshold, above, below in zip(cuts.thresholds, [high, low, 0.2], [low, 0.2, 0], strict=True):
        assert np.float32(below) <= threshold < np.float32(above)
    assert cuts.thresholds[1] == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("goal", "labels", "scores", "reason"),
    [
        (Goal("min_precision", 0.9), [0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6], "the best precision is 0.5"),
        (Goal("min_recall", 1.0), [1, 1, 0, 0], [0.9, 0.0, 0.4, 0.1], "the best recall is 0.5"),
        (Goal("decision_threshold", "best_f1"), [0, 0, 0, 0], [0.9, 0.8, 0.7, 0.6], "val has no row with it"),
        (Goal("min_recall", 0.5), [1, 0, 1, 0], [0.0, 0.0, 0.0, 0.0], "all its probabilities are 0"),
    ],
)
def test_a_goal_that_is_not_reached_keeps_one_half_and_warns(
    goal: Goal, labels: list[int], scores: list[float], reason: str
) -> None:
    fit = fit_thresholds(goal, np.array(labels)[:, None] == 1, np.array(scores, np.float32)[:, None], ["late"])
    assert fit.rule.thresholds == (0.5,)
    assert fit.on_val["late"]["is_reached"] is False
    assert f"{goal.setting} {goal.value} is not reached on val for 1 label" in fit.warnings[0]
    assert f"'late': {reason}. Set another value" in fit.warnings[0]


def test_each_label_has_its_own_threshold_and_its_metrics_on_val() -> None:
    pairs = [draw(80, seed, 10**6) for seed in range(3)]
    labels, scores = (np.stack(each, axis=1) for each in zip(*pairs, strict=True))
    fit = fit_thresholds(GOALS[2], labels, scores, ["a", "b", "c"])
    assert fit.rule.thresholds == tuple(choose_threshold(GOALS[2], *pair)[0] for pair in pairs)
    is_predicted = predict_labels(scores, fit.rule)
    for k, name in enumerate("abc"):
        f1, precision, recall = measure(labels[:, k], is_predicted[:, k])
        entry = fit.on_val[name]
        assert (entry["f1"], entry["precision"], entry["recall"]) == pytest.approx((f1, precision, recall))
        assert entry["predicted"] == is_predicted[:, k].sum()
    assert fit.describe().count("predicted rows of val") == 3


def test_a_given_threshold_is_exceeded_and_compared_as_float32() -> None:
    probabilities = np.array([[0.7, 0.3], [0.7 - 1e-7, 0.3 + 1e-7], [0.2, 0.8]], np.float32)
    rule = DecisionRule((0.3,))
    assert predict_classes(probabilities, rule).tolist() == [0, 1, 1]
    assert predict_classes(probabilities.astype(np.float64), rule).tolist() == [0, 1, 1]
    assert predict_labels(np.array([[0.3, 0.5], [0.31, 0.6]], np.float32), DecisionRule((0.3, 0.5))).tolist() == [
        [False, False],
        [True, True],
    ]


def test_costs_choose_the_class_with_the_lowest_expected_cost() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), 500).astype(np.float32)
    costs = rng.integers(1, 9, (4, 4)) * (1 - np.eye(4))
    rule = DecisionRule(costs=tuple(map(tuple, costs.tolist())))
    expected = (probabilities.astype(np.float64)[:, :, None] * costs).sum(axis=1)
    together = predict_classes(probabilities, rule)
    assert together.tolist() == expected.argmin(axis=1).tolist()
    assert together.tolist() != probabilities.argmax(axis=1).tolist()
    alone = [int(predict_classes(row[None], rule)[0]) for row in probabilities]
    assert alone == together.tolist()
    equal = DecisionRule(costs=((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)))
    assert predict_classes(np.array([[0.2, 0.4, 0.4]]), equal).tolist() == [1]  # of equal costs the first class


@pytest.mark.parametrize("costs", [[[0, 1], [1, 0]], [[0, 5], [1, 0]], [[1, 3], [9, 2]], [[0, 0], [4, 0]]])
def test_the_costs_of_two_classes_are_a_threshold(costs: list[list[float]]) -> None:
    p = np.random.default_rng(0).random(300).astype(np.float32)
    probabilities = np.stack([1 - p, p], axis=1)
    expected = probabilities.astype(np.float64) @ np.array(costs)
    rule = DecisionRule((threshold_of_costs(costs),))
    assert predict_classes(probabilities, rule).tolist() == (expected[:, 1] < expected[:, 0]).astype(int).tolist()


def test_metrics_and_decisions_use_the_rule_and_the_saved_rule_is_the_same() -> None:
    labels, scores = draw(200, 0, 10**6)
    probabilities = np.stack([1 - scores, scores], axis=1)
    rules = ScoreRules(OutputScaling((2.0,), (0.0,)), DecisionRule((0.25,)))
    assert restore_score_rules(rules.as_json()) == rules
    assert restore_score_rules(ScoreRules(None, DecisionRule(costs=((0.0, 1.0), (2.0, 0.0)))).as_json()).decision
    target = LabelMap("y", ("no", "yes"))
    default, chosen = Classification(target), Classification(target, rules)
    assert chosen.decide(probabilities)[0].to_pylist() == ["yes" if p > 0.25 else "no" for p in scores]
    f1, precision, recall = measure(labels, scores > 0.25)
    truth = labels.astype(np.int64)
    metrics, before = (task.compute_metrics(truth, probabilities) for task in (chosen, default))
    assert metrics["f1_score"] == pytest.approx(f1) != before["f1_score"]
    assert metrics["auroc"] == before["auroc"]
    assert metrics["log_loss"] == before["log_loss"]
    split = chosen.evaluate_split("val", ScoredSplit(truth, probabilities), "")
    assert split.metrics == metrics
    assert (split.per_class["yes"]["precision"], split.per_class["yes"]["recall"]) == pytest.approx((precision, recall))
    assert split.confusion is not None
    assert split.confusion[1, 1] == (labels & (scores > 0.25)).sum()
    assert "thresholds" in chosen.draw_plots(split)


LABELS = {"task": "multilabel", "num_classes": ...}
NUMBER = {"task": "regression", "num_classes": ...}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"decision_threshold": 0.3, "min_recall": 0.9},
            "min_recall also says how to decide",
        ),
        (
            {"num_classes": 3, "decision_threshold": 0.3},
            "between two classes, and num_classes is 3",
        ),
        (
            {"num_classes": 3, "min_precision": 0.9},
            "remove min_precision, so that",
        ),
        ({"decision_threshold": [0.3, 0.5]}, "a list has a threshold for each label of task multilabel"),
        ({"decision_threshold": 1.0}, "decision_threshold"),
        ({"decision_threshold": "best"}, "best_f1"),
        ({"min_precision": 0}, "min_precision"),
        ({"min_recall": 1.5}, "min_recall"),
        ({"cost_matrix": [[0, 1, 2], [1, 0, 2]]}, "it needs 2 lists of 2 numbers"),
        ({"cost_matrix": [[0, -1], [1, 0]]}, "cost_matrix"),
        ({"cost_matrix": 5}, "give a list of lists of numbers, like [[0.0, 1.0], [5.0, 0.0]]"),
        ({"decision_threshold": "true"}, "a number of at least 0 and below 1 or a list of numbers"),
        ({"cost_matrix": [[1, 0], [0, 1]]}, "in list 1, the correct prediction costs 1, and a wrong one 0"),
        ({"cost_matrix": [[1, 1], [2, 2]]}, "all predictions cost the same"),
        ({**LABELS, "cost_matrix": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]}, "it needs 2 lists of 2 numbers"),
        ({**NUMBER, "min_recall": 0.9}, "the setting has a meaning for tasks classification and multilabel only"),
    ],
    ids=str,
)
def test_a_decision_setting_that_has_no_meaning_is_refused_with_the_reason(
    changes: dict[str, Any], message: str
) -> None:
    assert message in parse_error(**changes)


@pytest.mark.parametrize("encode", [encode_v2, encode_v3])
@pytest.mark.parametrize(
    "goal",
    [
        Goal("decision_threshold", 0.3),
        Goal("decision_threshold", "best_f1"),
        Goal("min_precision", 0.9),
        Goal("min_recall", 1.0),
        Goal("cost_matrix", [[0.0, 2.5], [10.0, 0.0]]),
    ],
    ids=str,
)
def test_the_settings_of_decisions_arrive_as_texts_of_sagemaker(goal: Goal, encode: Any) -> None:
    assert read_goal(parse(encode({**REQUIRED, goal.setting: goal.value})).job) == goal


def test_a_list_of_thresholds_must_have_one_for_each_label() -> None:
    job = parse_changed(**LABELS, decision_threshold=[0.3, 0.5]).job
    assert find_threshold_count_problem(job, 2) is None
    problem = find_threshold_count_problem(job, 3)
    assert problem is not None
    assert "2 thresholds for 3 labels" in problem.message
    assert read_goal(parse_changed(**NUMBER).job) is None
