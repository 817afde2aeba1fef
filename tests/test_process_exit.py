"""A process ends when its work is done, although threads still run."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading, time
from fusionzoo.process_exit import limit_exit_time

def run():
    {thread}

with limit_exit_time({limit}):
    threading.Thread(target=run, name="of a plugin", daemon={daemon}).start()
    print("done")
    {end}
"""
FOREVER, SHORT = "time.sleep(600)", "time.sleep(0.5); print('thread done')"


def run(end: str = "sys.exit(3)", thread: str = FOREVER, limit: float = 0.5, daemon: bool = False) -> tuple[int, str]:
    source = SCRIPT.format(end=end, thread=thread, limit=limit, daemon=daemon)
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("pass", 0), ("sys.exit('cause')", 1), ("1 / 0", 1)]
)
def test_a_thread_that_never_ends_does_not_keep_the_process(end: str, status: int) -> None:
    ended, output = run(end)
    assert ended == status
    assert output.startswith("done\n")
    assert f"ends with status {status} although threads still run" in output
    assert "of a plugin. Start such threads with daemon=True" in output


def test_a_thread_that_ends_in_time_is_waited_for() -> None:
    assert run(thread=SHORT, limit=30) == (3, "done\nthread done\n")


def test_a_daemon_thread_does_not_matter() -> None:
    assert run(daemon=True, limit=30) == (3, "done\n")


def test_work_at_the_exit_of_the_process_is_not_cut_off() -> None:
    upload = "import atexit; atexit.register(lambda: (time.sleep(1.5), print('uploaded'))); sys.exit(3)"
    assert run(upload, thread="pass") == (3, "done\nuploaded\n")
