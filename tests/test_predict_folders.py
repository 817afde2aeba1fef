"""`fusionzoo predict` for a folder: one prediction file for each part file, continued after a stop, divided."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pandas as pd
import pytest

from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.errors import ZooError
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.prediction.output_files import PredictionFile
from fusionzoo.prediction.predict_job import PredictOptions, predict_files
from fusionzoo.prediction.shards import Shard, find_host_shard
from prediction_helpers import (
    assert_same_predictions,
    fail_at,
    predict,
    read_expected,
    read_frame,
    read_test_rows,
    write_frame,
)
from shop import JobFolder

PARTS = ("part-2.csv", "part-10.jsonl", "country=de/part-0.parquet", "part-11.csv.gz")


@pytest.fixture
def folder(trained_job: JobFolder, tmp_path: Path) -> Path:
    """A folder of the test rows in four part files of different formats."""
    rows = read_test_rows(trained_job)
    for number, name in enumerate(PARTS):
        write_frame(tmp_path / "rows" / name, rows.iloc[number * 5 : number * 5 + 5])
    (tmp_path / "rows/_SUCCESS").touch()
    return tmp_path / "rows"


def list_files(folder: Path) -> list[str]:
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and "_predict" not in p.parts
    )


def test_each_part_file_has_a_prediction_file_of_its_name_and_format(
    trained_job: JobFolder, folder: Path, tmp_path: Path
) -> None:
    assert predict(trained_job, folder, tmp_path / "out").exit_code == 0
    assert list_files(tmp_path / "out") == sorted(PARTS)
    expected = read_expected(trained_job)
    for number, name in enumerate(PARTS):
        part = expected.iloc[number * 5 : number * 5 + 5].reset_index(drop=True)
        assert_same_predictions(read_frame(tmp_path / "out" / name), part)


def test_a_folder_can_have_one_prediction_file(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    assert predict(trained_job, folder, tmp_path / "out.parquet").exit_code == 0
    out, expected = read_frame(tmp_path / "out.parquet"), read_expected(trained_job)
    assert sorted(out["id"]) == sorted(expected["id"])
    assert_same_predictions(out.sort_values("id"), expected.sort_values("id"))


def test_another_format_changes_the_suffixes(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    assert predict(trained_job, folder, tmp_path / "out", "--output-format", "parquet").exit_code == 0
    names = ["country=de/part-0.parquet", "part-10.parquet", "part-11.parquet.gz", "part-2.parquet"]
    assert list_files(tmp_path / "out") == names
    (folder / "part-2.tsv").write_bytes((folder / "part-2.csv").read_bytes().replace(b",", b"\t"))
    done = predict(trained_job, folder, tmp_path / "other", "--output-format", "parquet")
    assert done.exit_code == 1
    assert "'rows/part-2.csv', 'rows/part-2.tsv'" in done.stderr
    assert not (tmp_path / "other").exists()


def make_options(job: JobFolder, folder: Path, output: Path, **changes: object) -> PredictOptions:
    return PredictOptions(job.model, str(folder), str(output), **changes)  # type: ignore[arg-type]


def test_a_stopped_run_keeps_finished_files_and_continues(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        predict_files(make_options(trained_job, folder, out), fail_at(2, KeyboardInterrupt()))
    finished = list_files(out)
    assert len(finished) == 2
    (out / ".tmp-0123456789abcdef").write_text("left by a killed process")
    times = {name: (out / name).stat().st_mtime_ns for name in finished}
    done = predict(trained_job, folder, out)
    kept = sum(len(read_frame(out / name)) for name in finished)
    assert done.stderr == f"{19 - kept} rows scored; 2 files of an earlier run kept, with {kept} rows: {out}\n"
    assert list_files(out) == sorted(PARTS)
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == times
    again = predict(trained_job, folder, out)
    assert again.stderr == f"0 rows scored; 4 files of an earlier run kept, with 19 rows: {out}\n"
    assert predict(trained_job, folder, tmp_path / "whole").exit_code == 0
    assert {n: (out / n).read_bytes() for n in PARTS} == {n: (tmp_path / "whole" / n).read_bytes() for n in PARTS}


def test_the_temporary_files_of_a_running_process_stay(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(trained_job, folder, out, "--shard", "1/2").exit_code == 0
    (out / ".tmp-0123456789abcdef").write_text("of the other shard")
    with (out / "_predict/in_use.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as a running process does
        assert predict(trained_job, folder, out).exit_code == 0
        assert (out / ".tmp-0123456789abcdef").exists()
    assert predict(trained_job, folder, out).exit_code == 0
    assert not (out / ".tmp-0123456789abcdef").exists()


def test_a_file_that_changed_is_scored_again(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(trained_job, folder, out).exit_code == 0
    expected = {name: (out / name).read_bytes() for name in PARTS}
    (out / PARTS[0]).unlink()
    (out / PARTS[1]).write_bytes(b"cut")
    (out / "_predict/parts/part-11.csv.gz.json").write_text("{")
    (folder / PARTS[2]).touch()
    done = predict(trained_job, folder, out)
    assert done.stderr == f"19 rows scored: {out}\n"
    assert {name: (out / name).read_bytes() for name in PARTS} == expected


def test_predictions_of_another_run_are_not_mixed(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(trained_job, folder, out).exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for options, difference in ((["--columns", "price"], "columns was [], now ['price']"), (["--no-labels"], "labels")):
        done = predict(trained_job, folder, out, *options)
        assert done.exit_code == 1
        assert difference in done.stderr
    other = JobFolder(tmp_path / "other")
    other.model.parent.mkdir()
    other.model.symlink_to(trained_job.model)
    assert predict(other, folder, out).exit_code == 0
    run = json.loads((out / "_predict/run.json").read_text())
    (out / "_predict/run.json").write_text(json.dumps({**run, "model": "other"}))
    assert "model was other" in predict(trained_job, folder, out).stderr
    (out / "_predict/run.json").write_text(json.dumps(run, indent=1, sort_keys=True) + "\n")
    (folder / PARTS[0]).rename(folder / "renamed.csv")
    done = predict(trained_job, folder, out)
    assert "no longer has: part-2.csv" in done.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_with_other_files_is_not_written_to(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    done = predict(trained_job, folder, tmp_path / "out")
    assert done.exit_code == 1
    assert "mine.txt" in done.stderr
    assert list_files(tmp_path / "out") == ["mine.txt"]


def test_a_part_file_without_rows_has_predictions_without_rows(
    trained_job: JobFolder, folder: Path, tmp_path: Path
) -> None:
    (folder / "part-3.csv").write_bytes((folder / "part-2.csv").read_bytes().partition(b"\n")[0] + b"\n")
    (folder / "part-4.jsonl").touch()
    write_frame(folder / "part-5.parquet", read_test_rows(trained_job).head(0))
    done = predict(trained_job, folder, tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    columns = list(read_expected(trained_job).columns)
    assert (tmp_path / "out/part-3.csv").read_text() == ",".join(f'"{name}"' for name in columns) + "\n"
    assert (tmp_path / "out/part-4.jsonl").read_bytes() == b""
    empty = read_frame(tmp_path / "out/part-5.parquet")
    assert (list(empty.columns), len(empty)) == (columns, 0)


def test_labels_in_some_part_files_are_an_error_that_names_the_option(
    trained_job: JobFolder, folder: Path, tmp_path: Path
) -> None:
    write_frame(folder / "part-1.csv", read_test_rows(trained_job).drop(columns="target"))
    done = predict(trained_job, folder, tmp_path / "out")
    assert done.exit_code == 1
    assert (
        "no label column 'target', and others have it.\nFix: score them separately; or add --no-labels" in done.stderr
    )
    assert predict(trained_job, folder, tmp_path / "out", "--no-labels").exit_code == 0
    write_frame(folder / "part-1.csv", read_test_rows(trained_job).drop(columns=["target", "price"]))
    assert "column 'price' of the model does not exist" in predict(trained_job, folder, tmp_path / "other").stderr


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_each_part_file_belongs_to_one_shard(trained_job: JobFolder, folder: Path, tmp_path: Path, count: int) -> None:
    for number in range(1, count + 1):
        done = predict(trained_job, folder, tmp_path / f"shard-{number}", "--shard", f"{number}/{count}")
        assert done.exit_code == 0, done.stderr
    shards = [list_files(tmp_path / f"shard-{number}") for number in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(PARTS)
    assert len([shard for shard in shards if shard]) == min(count, len(PARTS))
    for number in range(1, count + 1):  # all shards can write to one folder
        assert predict(trained_job, folder, tmp_path / "all", "--shard", f"{number}/{count}").exit_code == 0
    assert list_files(tmp_path / "all") == sorted(PARTS)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "²/2"])
def test_a_shard_that_is_not_one_of_n_is_a_usage_error(trained_job: JobFolder, tmp_path: Path, text: str) -> None:
    done = predict(trained_job, tmp_path, tmp_path / "out", f"--shard={text}")
    assert done.exit_code == 2
    assert "--shard" in done.stderr


def test_a_single_file_cannot_be_divided(trained_job: JobFolder, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PredictionJobError, match="--shard divides the part files"):
        predict_files(
            make_options(trained_job, folder, tmp_path / "x.csv", shard=Shard(1, 2)), fail_at(0, ZooError(""))
        )


def write_processing_job(root: Path, current: str, distribution: str, local: Path) -> dict[str, str]:
    """Write the configuration of a processing job with two hosts, and return the environment."""
    (root / "config").mkdir(parents=True, exist_ok=True)
    hosts = {"hosts": ["algo-1", "algo-2"], "current_host": current}
    (root / "config/resourceconfig.json").write_text(json.dumps(hosts))
    source = {"LocalPath": str(local), "S3DataDistributionType": distribution}
    job = {"ProcessingInputs": [{"InputName": "code", "AppManaged": False}, {"InputName": "rows", "S3Input": source}]}
    (root / "config/processingjobconfig.json").write_text(json.dumps(job))
    return {"SAGEMAKER_BASE_DIR": str(root)}


def test_the_hosts_of_a_processing_job_divide_the_part_files(
    trained_job: JobFolder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for current in ("algo-1", "algo-2"):
        environ = write_processing_job(tmp_path / "ml", current, "FullyReplicated", tmp_path)
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", environ["SAGEMAKER_BASE_DIR"])
        assert predict(trained_job, folder, tmp_path / current).exit_code == 0
        assert predict(trained_job, folder / PARTS[0], tmp_path / f"{current}.csv").exit_code == 0
    shards = [list_files(tmp_path / host) for host in ("algo-1", "algo-2")]
    assert sorted(name for shard in shards for name in shard) == sorted(PARTS)
    assert all(shards)
    assert [(tmp_path / f"{host}.csv").exists() for host in ("algo-1", "algo-2")] == [True, False]


def test_files_that_sagemaker_has_divided_are_not_divided_again(tmp_path: Path) -> None:
    environ = write_processing_job(tmp_path, "algo-2", "ShardedByS3Key", tmp_path / "rows")
    assert find_host_shard(environ, str(tmp_path / "rows/deep")) is None
    assert find_host_shard(environ, str(tmp_path / "other")) == Shard(2, 2)
    assert find_host_shard({"SAGEMAKER_BASE_DIR": str(tmp_path / "laptop")}, str(tmp_path)) is None


def test_files_of_every_size_are_divided_evenly(tmp_path: Path) -> None:
    row = pd.DataFrame({"a": ["x" * 100]})
    files = []
    for number in range(40):
        path = write_frame(tmp_path / f"{number}.csv", pd.concat([row] * (number + 1)))
        part = PartFile(path, path.name, "csv", False)
        files.append(PredictionFile((part,), path.name, None, "csv", False))
    loads = [sum(file.input_bytes for file in Shard(number, 4).select(files)) for number in (1, 2, 3, 4)]
    assert sum(loads) == sum(file.input_bytes for file in files)
    assert max(loads) < 1.1 * min(loads)
