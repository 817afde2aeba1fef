"""Run a command in a network namespace with a route to nowhere, and count the packets that it sends there.

Python, native code and child processes are all counted. The name server is behind the same route, so that a lookup is
a packet, too.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SETUP = """
set -e
if [ -e /proc/sys/net/ipv6 ]; then
    for part in all default; do echo 1 > /proc/sys/net/ipv6/conf/$part/disable_ipv6; done  # its own packets
fi
ip link set lo up
ip link add watched type veth peer name other
ip link set other up
ip addr add 10.255.0.2/24 dev watched
ip link set watched up
ip neigh add 10.255.0.1 lladdr 02:00:00:00:00:01 dev watched nud permanent
ip route add default via 10.255.0.1
echo "nameserver 10.255.0.1" > "$0/resolv.conf"
echo "hosts: files dns" > "$0/nsswitch.conf"
for file in resolv.conf nsswitch.conf; do mount --bind "$0/$file" "/etc/$file"; done
set +e
"$@"
status=$?
awk '$1 == "watched:" {print $11}' /proc/net/dev > "$0/packets"
exit $status
"""


@dataclass(frozen=True)
class WatchedProcess:
    """A running command whose packets are counted."""

    process: subprocess.Popen[str]
    folder: Path

    def finish(self) -> int:
        """Wait for the end of the command, which must succeed, and return the number of packets that it sent."""
        output, _ = self.process.communicate()
        assert self.process.returncode == 0, output
        return int((self.folder / "packets").read_text())

    def read_until(self, line: str) -> None:
        """Wait for a line of the output."""
        assert self.process.stdout is not None
        seen = []
        for each in self.process.stdout:
            if each.strip() == line:
                return
            seen.append(each)
        raise AssertionError("".join(seen))


def start_watched(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> WatchedProcess:
    """Start a command in a network namespace of its own; `folder` is created for files of the watch."""
    folder.mkdir()
    process = subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", SETUP, str(folder), *command],
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return WatchedProcess(process, folder)


def why_not_watched(folder: Path) -> str | None:
    """Return why processes cannot be watched on this machine, or None if they can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root may create a network namespace"
    try:
        process = start_watched(["true"], folder, os.environ).process
        output, _ = process.communicate()
    except FileNotFoundError as error:
        return f"a network namespace needs the command {error.filename}"
    return None if process.returncode == 0 else f"no network namespace can be prepared here: {output.strip()}"
