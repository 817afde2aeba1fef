"""The results of benchmarks/quality.py: which run a line of the file belongs to, and what runs with other seeds say."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_sets import DATA_SETS
from scipy.stats import t as student  # type: ignore[import-untyped]

from fusionzoo.settings import ModelSettings

LATE_FUSION = "multimodal_"  # prefix of a text encoder's name: the baseline of the other fusions over that encoder
PRETRAINED_ENCODERS = ("bert",)
BASELINES: Mapping[str, tuple[str, ...]] = {
    "tfidf with table": ("table", "text"),
    "tfidf of text": ("text",),
    "boosting of table and text": ("table", "text"),
    "boosting of table": ("table",),
}
"""What each baseline reads."""
SEEDS = (0, 1, 2)
MAX_TOKENS = 200_000  # in the training rows, for most models over a pretrained text encoder
CONFIDENCE = 0.95
Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A data set and a number of training rows; None: all."""

    data: str
    rows: int | None

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return DATA_SETS[self.data].metrics[0]

    @property
    def train_rows(self) -> int:
        return self.rows or DATA_SETS[self.data].rows

    @property
    def tokens(self) -> int:
        """The tokens of MiniLM in the training rows, about."""
        return self.train_rows * DATA_SETS[self.data].row_tokens

    @property
    def title(self) -> str:
        return f"{self.data} {self.train_rows:,}"


CASES = tuple(Case(data, rows) for data, info in DATA_SETS.items() for rows in info.sizes)


@dataclass(frozen=True)
class Model:
    """A model_class or a baseline, its text encoder if it has one, the modalities it reads, and changed settings."""

    name: str
    text_encoder: str | None
    reads: tuple[str, ...]
    takes_text_encoder: bool = False
    variant: str = ""

    @classmethod
    def of(cls, name: str, settings: type[ModelSettings], text_encoder: str) -> Model:
        """Return the model with `text_encoder`, if its settings let a user choose it."""
        setting = settings.model_fields.get("text_encoder")
        takes_it = setting is not None and setting.annotation is str
        encoder = None if setting is None else text_encoder if takes_it else setting.get_default()
        return cls(name, encoder, tuple(sorted(settings.reads)), takes_it)

    @property
    def reads_both(self) -> bool:
        return {"text", "table"} <= set(self.reads)

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """Return a key that sorts by text encoder, late fusion first, then other fusions, then models of text."""
        encoder = self.text_encoder or ""
        return encoder, not self.reads_both, self.name != LATE_FUSION + encoder, self.name, self.variant

    def is_compared(self, text_encoder: str) -> bool:
        """Return whether it is a fusion over this text encoder other than late fusion, with the default settings."""
        is_fusion = self.text_encoder == text_encoder and self.reads_both and not self.variant
        return is_fusion and self.name != LATE_FUSION + text_encoder


SPEED_CASES = (Case("womens_clothing", 2_000), Case("demo", 2_000))


def is_planned(model: Model, case: Case) -> bool:
    """Return whether a run is in the plan without --heavy, and missing in the pages until it is made.

    Over a pretrained text encoder, only late fusion with the default settings is planned on more than MAX_TOKENS: all
    runs would take days of one core.
    """
    is_cheap = model.text_encoder not in PRETRAINED_ENCODERS or case.tokens <= MAX_TOKENS
    return is_cheap or model == replace(model, name=LATE_FUSION + str(model.text_encoder), variant="")


@dataclass(frozen=True)
class RunKey:
    """What identifies a run. `rows` of None are all training rows."""

    model_class: str
    text_encoder: str | None
    takes_text_encoder: bool
    variant: str
    settings: Mapping[str, Any] = field(hash=False)
    data: str
    rows: int | None
    seed: int

    @classmethod
    def of(cls, model: Model, settings: Mapping[str, Any], case: Case, seed: int) -> RunKey:
        names = model.name, model.text_encoder, model.takes_text_encoder, model.variant
        return cls(*names, settings, case.data, case.rows, seed)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunKey:
        return cls(**{name: record[name] for name in cls.__dataclass_fields__})

    def as_json(self) -> Record:
        return {**vars(self), "settings": dict(self.settings)}

    @property
    def case(self) -> Case:
        return Case(self.data, self.rows)

    @property
    def is_pretrained(self) -> bool:
        return self.text_encoder in PRETRAINED_ENCODERS

    @property
    def title(self) -> str:
        over = f" over {self.text_encoder}" if self.takes_text_encoder else ""
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.model_class}{over}{variant}, {self.case.title} rows, seed {self.seed}"


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


# --- what the runs say together


@dataclass(frozen=True)
class Results:
    """Runs by case, model and seed. A later result replaces an earlier one of the same run."""

    seeds: tuple[int, ...]
    models: tuple[Model, ...]  # without baselines
    runs: Mapping[Case, Mapping[Model, Mapping[int, Record]]]
    baselines: Mapping[Case, Mapping[str, Mapping[int, Record]]]

    @classmethod
    def of(cls, records: Iterable[Record], seeds: Sequence[int] = SEEDS) -> Results:
        models: dict[Case, dict[Model, dict[int, Record]]] = {case: {} for case in CASES}
        others: dict[Case, dict[str, dict[int, Record]]] = {case: {name: {} for name in BASELINES} for case in CASES}
        for record in records:
            case, name = Case(record["data"], record["rows"]), record["model_class"]
            if case not in models or record["seed"] not in seeds:
                continue
            if name in others[case]:
                others[case][name][record["seed"]] = record
                continue
            fields = ("text_encoder", "reads", "takes_text_encoder", "variant")
            encoder, reads, takes_it, variant = (record[field] for field in fields)
            models[case].setdefault(Model(name, encoder, tuple(reads), takes_it, variant), {})[record["seed"]] = record
        known = sorted({model for found in models.values() for model in found}, key=lambda model: model.sort_key)
        return cls(tuple(sorted(seeds)), tuple(known), models, others)

    def find_late_fusion(self, text_encoder: str) -> Model | None:
        """Return late fusion over a text encoder, with the default settings; None if it has no run."""
        name = LATE_FUSION + text_encoder
        return next((model for model in self.models if model.name == name and not model.variant), None)

    def list_runs(self) -> list[Record]:
        """Return all runs of models and baselines."""
        cases = [*self.runs.values(), *self.baselines.values()]
        return [run for found in cases for by_seed in found.values() for run in by_seed.values()]

    def runs_of(self, case: Case, subject: Model | str) -> Mapping[int, Record]:
        """Return the runs of a model or of a baseline, by seed."""
        if isinstance(subject, str):
            return self.baselines[case].get(subject, {})
        return self.runs[case].get(subject, {})

    def is_shown(self, case: Case, model: Model) -> bool:
        """Return whether a model has runs on this case, or should have some."""
        return bool(self.runs_of(case, model)) or is_planned(model, case)

    def compute_differences(self, case: Case, one: Model | str, other: Model | str | None) -> dict[int, float]:
        """Return, per seed that has both runs, the deciding metric of `one` minus that of `other`."""
        if other is None:
            return {}
        found, reference = (
            {
                seed: run["metrics"][case.metric]
                for seed, run in self.runs_of(case, subject).items()
                if run["metrics"][case.metric] is not None
            }
            for subject in (one, other)
        )
        return {seed: found[seed] - reference[seed] for seed in self.seeds if seed in found and seed in reference}

    def compare(self, case: Case, one: Model | str, other: Model | str | None) -> str:
        """Return whether `one` wins or loses against `other` beyond noise; open if seeds are missing."""
        differences = list(self.compute_differences(case, one, other).values())
        if len(differences) < max(2, len(self.seeds)):
            return f"open: {len(differences)} of {len(self.seeds)} seeds"
        mean, noise = statistics.mean(differences), compute_noise(differences)
        return "loses" if mean + noise < 0 else "wins" if mean - noise > 0 else "within noise"

    def speed_ratio(self, case: Case, model: Model, reference: Model | None) -> float | None:
        """Return the median over the seeds of the ratio of the training speeds, on the same machine.

        The speed is rows per CPU second, or per second if a GPU trains.
        """
        if reference is None:
            return None
        own, other = self.runs_of(case, model), self.runs_of(case, reference)
        ratios = [
            get_speed(own[seed]) / get_speed(other[seed])
            for seed in own.keys() & other.keys()
            if all(own[seed][name] == other[seed][name] for name in ("machine", "threads"))
        ]
        return statistics.median(ratios) if ratios else None


def get_speed(run: Record) -> float:
    """Return the training rows per CPU second, or per second if a GPU trains."""
    speed: float = run["rows_per_cpu_second" if run["device"] == "cpu" else "rows_per_second"]
    return speed


def compute_noise(differences: Sequence[float]) -> float:
    """Return how far the mean of these differences may be from zero by chance, on one side."""
    return noise_factor(len(differences)) * statistics.stdev(differences)


def noise_factor(count: int) -> float:
    """Return how many standard deviations the mean of `count` differences may differ from zero by chance."""
    return float(student.ppf(CONFIDENCE, count - 1) / math.sqrt(count))


def format_number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
