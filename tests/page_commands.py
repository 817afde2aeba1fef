"""The commands of a page of docs, and containers that do what its `docker run` lines say."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PARSER = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--rm", "--read-only"):
    PARSER.add_argument(flag, action="store_true")
for option in ("-v", "-p", "-e", "--tmpfs", "--cap-drop"):
    PARSER.add_argument(option, action="append")
PARSER.add_argument("--user", default="")
PARSER.add_argument("image")
PARSER.add_argument("arguments", nargs=argparse.REMAINDER)


@dataclass(frozen=True)
class DockerRun:
    """A `docker run` line: the image, its arguments, the folders that it mounts, and its options."""

    image: str
    arguments: tuple[str, ...]
    volumes: Mapping[str, str]
    user: str
    is_read_only: bool

    @classmethod
    def parse(cls, line: str) -> DockerRun:
        """Parse a line; an option that is not implemented here is an error."""
        given = PARSER.parse_args(shlex.split(line)[2:])
        pairs = [volume.removesuffix(":ro").rpartition(":") for volume in given.v or []]
        volumes = {inside: outside for outside, _, inside in pairs}
        return cls(given.image, tuple(given.arguments), volumes, given.user, given.read_only)

    def mounts(self, folder: Path) -> dict[str, Path]:
        """Return the mounts if the line is run in a folder."""
        return {inside: Path(outside.replace("$PWD", str(folder))) for inside, outside in self.volumes.items()}


def read_blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def read_commands(page: Path, beginning: str) -> list[str]:
    """Return the lines of the shell blocks that begin so."""
    return [line for block in read_blocks(page, "sh") for line in block.splitlines() if line.startswith(beginning)]
