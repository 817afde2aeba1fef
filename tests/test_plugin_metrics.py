"""Metrics that a plugin adds: their checks when the plugin is loaded, and a job that selects its best model by one."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cli_helpers import invoke
from fusionzoo.architecture import choose_architecture
from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.errors import Claim, HyperparametersError, PluginMetricError
from fusionzoo.hookspecs import PluginMetric
from fusionzoo.registry import MODELS_GROUP, Registry
from fusionzoo.serving.predictor import Predictor
from fusionzoo.tasks.plugin_metrics import RegisteredMetric, join_metrics, register_metrics
from fusionzoo.tasks.task_choice import TASKS
from fusionzoo.tasks.task_examples import make_examples
from registry_helpers import VALID, load_error
from shop import JobFolder, shop_rows

if TYPE_CHECKING:
    from conftest import Installer

DOCS = Path(__file__).parents[1] / "docs"
CLAIM = Claim("model_class", "film", "acme-film", "1.0", "acme_film")
JOB = {"model_class": "acme", "label_name": "y", "text_name": "t", "cat_field_list": ["c"]}


def make_metric(**changes: Any) -> PluginMetric:
    fields = {"name": "profit", "function": lambda labels, scores: 0.5, "greater_is_better": True, "description": "$."}
    return PluginMetric(**{**fields, **changes})


def install_with_metric(install: Installer, arguments: str) -> None:
    """Install the plugin `acme` with one metric, whose arguments are source code."""
    source = f"""
from fusionzoo.hookspecs import PluginMetric

@hookimpl
def metrics():
    return [PluginMetric({arguments})]
"""
    install("acme", models=["acme"], source=VALID + source)


# --- checks


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Profit"}, "a metric has the name 'Profit'"),
        ({"name": ""}, "a metric has the name ''"),
        ({"name": "a" * 61}, "at most 60 characters"),
        ({"name": "val_profit"}, "not val_ at the beginning"),
        ({"name": None}, "a metric has the name None"),
        ({"name": "auroc"}, "its metric 'auroc' has the name of another metric"),
        ({"name": "rmse"}, "its metric 'rmse' has the name of another metric"),  # of another task
        ({"name": "r2_score"}, "its metric 'r2_score' has the name of another metric"),  # another spelling of r2
        ({"name": "loss"}, "its metric 'loss' has the name of another metric"),
        ({"function": 3}, "`function` of its metric 'profit' is 3, not a function"),
        ({"greater_is_better": "max"}, "`greater_is_better` of its metric 'profit' is 'max', not True or False"),
        ({"description": " "}, "`description` of its metric 'profit' is ' ', not a text"),
        ({"tasks": frozenset()}, "`tasks` of its metric 'profit' is frozenset(), not a set of classification"),
        ({"tasks": frozenset({"ranking"})}, "not a set of classification"),
        ({"tasks": "regression"}, "`tasks` of its metric 'profit' is 'regression'"),
        ({"function": lambda labels: 0.5}, "its metric 'profit' raised TypeError"),
        ({"function": lambda labels, scores: float("nan")}, "its metric 'profit' returned nan for an example of a"),
        ({"function": lambda labels, scores: np.float64(np.inf)}, "its metric 'profit' returned"),
        ({"function": lambda labels, scores: "0.5"}, "its metric 'profit' returned '0.5'"),
        ({"function": lambda labels, scores: True}, "its metric 'profit' returned True"),
        ({"function": lambda labels, scores: labels}, "its metric 'profit' returned array("),
        ({"function": lambda labels, scores: scores.sort()}, "its metric 'profit' raised ValueError"),  # in place
        ({"function": lambda labels, scores: scores[:, 2].mean()}, "for an example of a classification of 2 classes"),
        ({"function": lambda labels, scores: sys.exit()}, "its metric 'profit' raised SystemExit"),
    ],
)
def test_a_wrong_metric_is_an_error_that_names_the_plugin_and_the_metric(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(PluginMetricError) as caught:
        register_metrics(CLAIM, [make_metric(**changes)])
    message = str(caught.value)
    assert message.startswith("model_class 'film' from acme-film 1.0 (acme_film) is broken: ")
    assert says in message
    assert "\nFix: in acme-film 1.0, " in message
    assert len(message) <= 1024


@pytest.mark.parametrize("returned", [None, make_metric(), [1], {"profit": make_metric()}, "profit"])
def test_a_hook_that_returns_no_list_of_metrics_is_an_error(returned: object) -> None:
    with pytest.raises(PluginMetricError, match=r"acme-film .*metrics\(\) returned .* not a list of PluginMetric"):
        register_metrics(CLAIM, returned)


def test_two_metrics_of_a_plugin_cannot_have_one_name() -> None:
    with pytest.raises(PluginMetricError, match="its metric 'profit' has the name of another metric"):
        register_metrics(CLAIM, [make_metric(), make_metric(description="again")])


def test_a_metric_is_checked_when_its_plugin_is_loaded(install: Installer) -> None:
    install_with_metric(install, "'profit', lambda labels, scores: 1 / 0, True, 'Profit.'")
    message = str(load_error("acme", PluginMetricError))
    assert "from acme 1.0 (acme) is broken: its metric 'profit' raised ZeroDivisionError" in message
    done = invoke("show", "acme")
    assert done.exit_code == 1
    assert "its metric 'profit' raised ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("task", list(TASKS))
def test_a_metric_is_tried_with_every_kind_of_job_of_its_tasks_and_no_other(task: str) -> None:
    shapes: list[tuple[Any, ...]] = []

    def function(labels: np.ndarray, scores: np.ndarray) -> None:
        shapes.append((labels.dtype.kind, labels.shape, scores.shape, scores.dtype))

    (one,) = register_metrics(CLAIM, [make_metric(function=function, tasks=frozenset({task}))])
    examples = make_examples(task, rows=len(shapes[0][1]) and shapes[0][1][0])
    assert shapes == [(e.labels.dtype.kind, e.labels.shape, e.scores.shape, np.float32) for e in examples]
    for example in examples:
        assert all(value is not None for value in example.task.compute_metrics(example.labels, example.scores).values())
    assert one.compute(examples[0].labels, examples[0].scores) is None
    count = len(shapes)
    assert one.compute(examples[0].labels[:0], examples[0].scores[:0]) is None
    assert len(shapes) == count, "a split without labeled rows defines no metric"


def test_a_metric_of_the_model_and_of_its_text_encoder_is_computed_once_and_a_different_one_is_an_error() -> None:
    metric, other = make_metric(), Claim("text_encoder", "words", "acme-words", "2.0", "acme_words")
    numeric = make_metric(name="drift", tasks=frozenset({"regression"}))
    model = [RegisteredMetric(metric, CLAIM), RegisteredMetric(numeric, CLAIM)]
    assert [one.name for one in join_metrics([*model, RegisteredMetric(metric, other)], "classification")] == ["profit"]
    assert [one.name for one in join_metrics(model, "regression")] == ["drift"]
    with pytest.raises(PluginMetricError, match=r"'profit' is registered by .*acme-film 1\.0.*acme-words 2\.0"):
        join_metrics([*model, RegisteredMetric(make_metric(), other)], "classification")


# --- settings and the command line


def test_the_settings_accept_the_metric_of_a_plugin_with_its_direction(install: Installer) -> None:
    install_with_metric(install, "'waste', lambda labels, scores: 0.5, False, 'Waste.'")
    job = {**JOB, "num_classes": 2}
    for spelling in ("val/waste", "waste", "val_waste"):
        architecture = choose_architecture({**job, "early_stop_metric": spelling})
        assert architecture.job.early_stop_metric == "val/waste"
        assert architecture.metric_directions["waste"] is False
    with pytest.raises(HyperparametersError, match="val/waste"):
        choose_architecture({**job, "early_stop_metric": "val/wast"})
    with pytest.raises(HyperparametersError, match="the metric is one of task classification, and task is regression"):
        choose_architecture({**JOB, "task": "regression", "early_stop_metric": "val/waste"})


def test_show_lists_the_metrics_of_a_plugin(install: Installer) -> None:
    install_with_metric(install, "'waste', lambda labels, scores: 0.5, False, 'Share of waste.'")
    done = invoke("show", "acme")
    assert re.search(r"^val/waste +smaller +classification +Share of waste\.$", done.stdout, re.MULTILINE)
    (shown,) = json.loads(invoke("show", "acme", "--json").stdout)
    assert shown["metrics"] == [
        {"name": "waste", "greater_is_better": False, "description": "Share of waste.", "tasks": ["classification"]}
    ]


# --- a job


def install_example(install: Installer) -> Any:
    """Install the plugin of the tutorial with the metric that the tutorial adds; return the function of the metric."""
    page = (DOCS / "write-a-plugin.md").read_text("utf-8")
    (example,) = [body for body in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "PluginMetric(" in body]
    source = (DOCS / "film/fusionzoo_film.py").read_text("utf-8").replace("from __future__ import annotations\n", "")
    install("fusionzoo-film", models={"multimodal_film": "fusionzoo_film:plugin"}, source=f"{source}\n{example}")
    (metric,) = Registry.discover(MODELS_GROUP).load("multimodal_film").metrics
    return metric.metric.function


def test_a_job_selects_its_best_model_by_the_metric_of_the_tutorial(
    install: Installer, job: JobFolder, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_profit = install_example(install)
    job.fill(
        model_class="multimodal_film", text_encoder="cnn", early_stop_metric="val/profit", max_epochs=3, lr=0.02,
        average_checkpoints=2, onnx="required",
    )  # fmt: skip
    assert job.run() == 0, job.failure
    logged = [float(value) for value in re.findall(r"#metric val_profit=([-\d.]+);", capsys.readouterr().out)]
    report = json.loads((job.output / "metrics.json").read_text())
    best = report["training"]["best"]
    assert (best["metric"], best["value"]) == ("val/profit", pytest.approx(max(logged[:-1]), abs=1e-6))
    assert report["training"]["averaging"]["gain"] >= 0
    for split in ("val", "test"):
        rows = pq.read_table(job.output / f"{split}_predictions.parquet").to_pandas()
        expected = compute_profit(rows["target"].to_numpy(), rows[["prob_0", "prob_1"]].to_numpy())
        assert report["splits"][split]["metrics"]["profit"] == pytest.approx(expected)

    module = install.folder / "fusionzoo_film.py"
    module.write_text(module.read_text().replace("def metrics(self)", "def no_metrics(self)").replace(
        "    @hookimpl\n    def no_metrics", "    def no_metrics"
    ))  # fmt: skip
    sys.modules.pop("fusionzoo_film")
    model, _ = load_model(job.model)
    assert type(model).__name__ == "Film", "a version of the plugin without the metric loads the model"

    sys.modules.pop("fusionzoo_film")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(install.folder)])
    scores = Predictor.load(job.model).predict(shop_rows(9))
    assert len(scores) == 9
    assert "fusionzoo_film" not in sys.modules, "prediction needs no plugin"


def test_a_metric_that_fails_for_the_labels_of_val_stops_a_job_before_the_training(
    install: Installer, job: JobFolder
) -> None:
    compute_profit = install_example(install)
    job.fill(classes=(0, 1, 2), model_class="multimodal_film", text_encoder="cnn", early_stop_metric="val/profit")
    assert compute_profit(np.array([0, 2]), np.full((2, 3), 1 / 3)) is None
    assert job.run() == 1
    assert "early_stop_metric val/profit is undefined for the labels of val" in job.failure
    assert "FZ-P034" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()
