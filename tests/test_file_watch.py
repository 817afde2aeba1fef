"""The watch of a run: file accesses, environment variables, and what differs in a folder afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionzoo.contracts.verification import file_watch
from fusionzoo.contracts.verification.environment_recorder import RECORD_FILE
from fusionzoo.contracts.verification.file_watch import Activity, FileWatch
from fusionzoo.contracts.verification.folder_snapshot import find_changes, take_snapshot
from fusionzoo.contracts.verification.recorded_variables import VariableRead, install_recorder, read_records


class Watched:
    """A watched folder; `read` collects its events."""

    def __init__(self, folder: Path, watch: FileWatch) -> None:
        self.folder, self._watch = folder, watch

    def read(self) -> Activity:
        while self._watch.collect():
            pass
        return self._watch.activity

    def writes(self) -> dict[str, list[str]]:
        return {str(path.relative_to(self.folder)): what for path, what in self.read().written.items()}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/file").write_text("x")
    with FileWatch(read_folders=[tmp_path], write_folders=[]) as watch:
        yield Watched(tmp_path, watch)


def test_a_file_that_is_opened_is_not_yet_read(watched: Watched) -> None:
    file = watched.folder / "old/file"
    with file.open() as stream:
        assert (watched.read().opened, watched.read().read) == ({file}, set())
        stream.read()
    assert watched.read().read == {file}
    assert watched.read().written == {}


def test_listing_a_folder_and_its_sizes_reads_no_file(watched: Watched) -> None:
    assert list((watched.folder / "old").iterdir()) == [watched.folder / "old/file"]
    assert (watched.folder / "old/file").stat().st_size == 1
    assert watched.read() == Activity()


def test_what_happens_in_new_folders_is_seen(watched: Watched) -> None:
    (watched.folder / "a/b").mkdir(parents=True)
    (watched.folder / "a/b/early").write_text("x")  # before the watch knows of the folder
    watched.read()
    (watched.folder / "a/b/late").write_text("x")
    (watched.folder / "a/b/late").unlink()
    assert watched.writes() == {
        "a": ["created"],
        "a/b": ["created"],
        "a/b/early": ["created"],
        "a/b/late": ["created", "changed", "deleted"],
    }


def test_a_moved_folder_is_watched_at_its_new_place(watched: Watched) -> None:
    (watched.folder / "old").rename(watched.folder / "new")
    watched.read()
    (watched.folder / "new/file").write_text("y")
    assert watched.writes()["new/file"] == ["created", "changed"]


def test_permissions_links_and_deletions_are_writes(watched: Watched) -> None:
    (watched.folder / "old/file").chmod(0o600)
    (watched.folder / "link").symlink_to("nowhere")
    (watched.folder / "old/file").unlink()
    assert watched.writes() == {"old/file": ["changed", "deleted"], "link": ["created"]}


def test_a_link_to_a_folder_is_not_followed(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (watched.folder / "link").symlink_to(outside)
    watched.read()
    (outside / "file").write_text("x")
    assert watched.writes() == {"link": ["created"]}


def test_events_that_the_system_drops_are_a_gap(watched: Watched) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip(f"the queue holds {limit} events")
    first, second = watched.folder / "old/file", watched.folder / "old"
    for _ in range(limit):  # equal events in a row are one event
        os.utime(first)
        os.utime(second)
    assert watched.read().gaps == ["the system dropped events, because there were too many at once"]


def test_the_number_of_recorded_paths_is_bounded(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "MAX_PATHS", 3)
    for number in range(5):
        (watched.folder / str(number)).write_text("x")
    assert len(watched.read().written) == 3
    assert "only the first 3 paths" in watched.read().gaps[0]


def test_a_snapshot_finds_every_difference(tmp_path: Path) -> None:
    for name in ("same", "longer", "other", "gone", "replaced"):
        (tmp_path / name).write_text("abc")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("same")
    before = take_snapshot(tmp_path, hash_files=True)
    (tmp_path / "longer").write_text("abcd")
    status = (tmp_path / "other").stat()
    (tmp_path / "other").write_text("xyz")
    os.utime(tmp_path / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "gone").unlink()
    (tmp_path / "replaced").unlink()
    (tmp_path / "replaced").mkdir()
    (tmp_path / "folder/new").write_text("x")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("other")
    os.mkfifo(tmp_path / "pipe")  # reading it would block
    changes = find_changes(before, take_snapshot(tmp_path, hash_files=True))
    assert {path.name: what for path, what in changes.items()} == {
        **dict.fromkeys(("longer", "other", "replaced", "link"), "changed"),
        **dict.fromkeys(("new", "pipe"), "created"),
        "gone": "deleted",
    }


# --- environment variables


def record(folder: Path, source: str, *options: str) -> list[VariableRead] | None:
    """Run a script under the recorder; return what it read."""
    install_recorder(folder / "recorder")
    (folder / "script.py").write_text(source)
    environ = {**os.environ, "PYTHONPATH": str(folder / "recorder"), "SET": "1"}
    subprocess.run([sys.executable, *options, str(folder / "script.py")], env=environ, check=True)
    return read_records(folder / "recorder")


READS = {
    "os.environ['SET']": True,
    "os.environ.get('SET')": True,
    "os.environ.pop('SET', '')": True,
    "os.getenv('SET')": True,
    "os.environb[b'SET']": True,
    "'SET' in os.environ": True,
    "(lambda environ: environ.get(\n    'SET',\n    'x'))(os.environ)": True,
    "[os.environ[name] for name in ('SET',)]": True,
    "[*map(os.environ.get, ['SET'])]": True,
    "import subprocess; subprocess.run([sys.executable, '-c', 'import os; os.environ[\"SET\"]'])": False,  # no file
    "dict(os.environ)": False,
    "{**os.environ}": False,
    "os.environ.copy()": False,
    "list(os.environ.items())": False,
    "[value for value in os.environ.values()]": False,
    "os.environ | {'OTHER': '1'}": False,
    "os.environ.setdefault('SET', '2')": False,
    "os.environ['SET'] = '2'": False,
    "import tempfile; tempfile.gettempdir()": False,  # the standard library reads TMPDIR
}


@pytest.mark.parametrize("code", READS)
def test_reads_of_variables_are_recorded_and_copies_of_all_are_not(code: str, tmp_path: Path) -> None:
    reads = record(tmp_path, f"import os, sys\n{code}\n")
    expected = [VariableRead("SET", str(tmp_path / "script.py"), 2)] if READS[code] else []
    assert [read for read in reads or [] if read.line < 3] == expected


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [("environ.get('A')", True), ("x = names['A']", True), ("if 'A' in names:", True), ("f(x)", False)],
)
def test_without_columns_the_line_decides_whether_it_reads_a_variable(line: str, is_kept: bool, tmp_path: Path) -> None:
    """Python 3.10 does not say which part of a line runs."""
    (tmp_path / "script.py").write_text(f"\n{line}\n")
    (tmp_path / RECORD_FILE).write_text(f"2\0\0A\0{tmp_path / 'script.py'}\n")
    assert read_records(tmp_path) == [VariableRead("A", str(tmp_path / "script.py"), 2)] * is_kept


def test_the_hidden_sitecustomize_runs_too(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text("import builtins; builtins.found = True")
    install_recorder(tmp_path / "recorder")
    search_path = os.pathsep.join([str(tmp_path / "recorder"), str(tmp_path / "hidden")])
    command = [sys.executable, "-c", "print(found)"]
    environ = {**os.environ, "PYTHONPATH": search_path}
    assert subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout == "True\n"


def test_a_run_without_the_recorder_has_no_records(tmp_path: Path) -> None:
    assert record(tmp_path, "import os; os.environ['SET']", "-I") is None


def test_what_a_native_library_reads_is_not_attributed_to_the_line_that_calls_it(tmp_path: Path) -> None:
    code = "import os\nimport pyarrow as pa\npa.array(['x']).to_pandas()\nprint(pa)\n"
    assert record(tmp_path, code) == []
