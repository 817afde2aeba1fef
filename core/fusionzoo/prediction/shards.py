"""Divide the part files of a folder over machines: each shard scores its own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.prediction.output_files import PredictionFile
from fusionzoo.sagemaker.processing_hosts import read_processing_hosts


@dataclass(frozen=True)
class Shard:
    """Shard `number` of `count`; numbers start at 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that a text such as "2/8" means.

        Raises:
            ValueError: the text is not I/N with 1 <= I <= N.
        """
        first, slash, second = text.partition("/")
        if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise ValueError(f"{text!r} is not I/N with I from 1 to N, such as 2/8")
        return cls(int(first), int(second))

    def select(self, files: Sequence[PredictionFile]) -> list[PredictionFile]:
        """Return the files of this shard, in their order.

        Each file belongs to exactly one shard. The largest files are assigned first, each to the shard with the fewest
        bytes, so that the shards have similar work, and every machine comes to the same result.
        """
        sizes = {file.name: file.input_bytes for file in files}
        loads = [0] * self.count
        chosen = set()
        for file in sorted(files, key=lambda file: (-sizes[file.name], file.name)):
            lightest = loads.index(min(loads))
            loads[lightest] += sizes[file.name] + 1  # empty files count too
            if lightest == self.number - 1:
                chosen.add(file.name)
        return [file for file in files if file.name in chosen]


def find_host_shard(environ: Mapping[str, str], input_path: str) -> Shard | None:
    """Return the share of this host of a SageMaker processing job; None if the host scores all of its files.

    Raises:
        errors.ContainerError: a configuration file of the job is damaged.
    """
    hosts = read_processing_hosts(environ, str(Path(input_path).absolute()))
    if hosts is None or len(hosts.names) == 1:
        return None
    return Shard(hosts.names.index(hosts.current) + 1, len(hosts.names))
