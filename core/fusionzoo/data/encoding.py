"""From channels to encoded splits, each step once: what an earlier job or another rank made comes from the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import tokenizers

from fusionzoo import __version__, errors
from fusionzoo.data import array_store
from fusionzoo.data.cache import Cache, cache_key
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.fit_preprocessor import Fit, check_other_splits, fit_preprocessor
from fusionzoo.data.preprocessor import FORMAT_VERSION, Preprocessor
from fusionzoo.data.reading.channel import Channel
from fusionzoo.data.splitting import SplitPart
from fusionzoo.data.text import text_tokenizer, word_vectors

log = logging.getLogger(__name__)

T = TypeVar("T")
FIT_FILE, VECTORS_FILE = "fit.json", "vectors.npy"


@dataclass(frozen=True)
class EncodedData:
    """The splits of a job, `train` among them, and the preprocessor that encoded them.

    `contents` tells data from other data: a hash of what each split, and the tokenizer, was read from.
    """

    preprocessor: Preprocessor
    splits: Mapping[str, EncodedSplit]
    warnings: tuple[str, ...]
    contents: Mapping[str, str]


def encode_channels(
    settings: DataSettings,
    channels: Mapping[str, Channel | SplitPart],
    cache: Cache,
    seed: int,
    check: Callable[[int], None],
) -> EncodedData:
    """Fit on `train`, encode every split, and fit word vectors where the tokenizer wants them.

    Where the cache cannot be written to, a warning says so, and the splits are held in memory.

    Args:
        seed: decides word vectors.
        check: called with the number of training rows before any text is tokenized; may refuse the job.

    Raises:
        errors.DataError: values that cannot be used, with the rows where they stand; all faults together.
        errors.TokenizerError, errors.EmbeddingsError: the tokenizer or its vectors are not to be had.
    """
    work = _Work(settings, channels, cache)
    fitted = work.fit()
    check(fitted.rows)
    work.look_through_others(fitted.preprocessor)
    problems = errors.ProblemLog()
    splits: dict[str, EncodedSplit] = {}
    for name in channels:
        with problems.kept():
            splits[name] = work.split(name, fitted.preprocessor)
    problems.raise_if_any()
    preprocessor = work.with_vectors(fitted.preprocessor, splits["train"], seed)
    return EncodedData(preprocessor, splits, fitted.warnings, work.contents())


class _Work:
    """The steps of one job, each with the key under which the cache has its result."""

    def __init__(self, settings: DataSettings, channels: Mapping[str, Channel | SplitPart], cache: Cache) -> None:
        self.settings, self.channels = settings, channels
        self._cache = cache
        self._fitted_now = False
        self._files = {file.path: _signature(file.path) for channel in channels.values() for file in channel.files}
        contents: dict[Path, str] = {}
        self._identities = {name: _identity(channel, contents) for name, channel in channels.items()}
        self._made_by = {
            "fusionzoo": [__version__, FORMAT_VERSION],
            "libraries": [tokenizers.__version__, version("transformers"), np.__version__, pa.__version__],
            "unicode": unicodedata.unidata_version,
            "settings": settings.model_dump(mode="json", include=set(DataSettings.model_fields)),
            "tokenizer": text_tokenizer.tokenizer_fingerprint(settings.tokenizer) if settings.text_columns else None,
            "train": self._identities["train"],
        }

    def contents(self) -> dict[str, str]:
        """A hash of what each split, and the tokenizer with its vectors, is read from."""
        tokenizer = [self._made_by["tokenizer"], _file_of(self.settings.embeddings)]
        found = {name: cache_key({"files": files}) for name, files in self._identities.items()}
        return {**found, "tokenizer": cache_key({"tokenizer": tokenizer})}

    def fit(self) -> Fit:
        others = {name: channel for name, channel in self.channels.items() if name != "train"}

        def made() -> Fit:
            self._fitted_now = True
            return fit_preprocessor(self.settings, self.channels["train"], others)

        return self._fetch(
            {**self._made_by, "what": "fit"}, lambda folder: _save_fit(made(), folder), _load_fit, lambda _: made()
        )

    def look_through_others(self, fitted: Preprocessor) -> None:
        """Where the fit came from the cache, look at splits that are not in it: faults come before any cost."""
        if not self._fitted_now:
            others = {n: c for n, c in self.channels.items() if not self._cache.holds(cache_key(self._step_of(n)))}
            check_other_splits(fitted, others)

    def split(self, name: str, fitted: Preprocessor) -> EncodedSplit:
        channel = self.channels[name]

        def in_memory(cause: errors.CacheError) -> EncodedSplit:
            split = fitted.encode(channel, name)
            size = sum(array.nbytes for field in array_store.ARRAYS if (array := getattr(split, field)) is not None)
            log.warning(errors.cache_unused(cause, name, size))
            return split

        return self._fetch(
            self._step_of(name),
            lambda folder: array_store.write(folder, fitted.blocks(channel, name)),
            array_store.read,
            in_memory,
        )

    def with_vectors(self, fitted: Preprocessor, train: EncodedSplit, seed: int) -> Preprocessor:
        """The preprocessor with word vectors; itself for other tokenizers than `word`."""
        text = fitted.text
        if text is None or text.tokenizer.name != text_tokenizer.WORD:
            return fitted

        def made() -> np.ndarray:
            return word_vectors.build_word_vectors(self.settings, text.tokenizer, train, seed)

        table = self._fetch(
            {
                **self._made_by,
                "what": "vectors",
                "seed": seed,
                "gensim": version("gensim"),
                "file": _file_of(self.settings.embeddings),
            },
            lambda folder: np.save(folder / VECTORS_FILE, made()),
            lambda folder: np.load(folder / VECTORS_FILE),
            lambda _: made(),
        )
        return replace(fitted, text=replace(text, vectors=table, embedding_dim=table.shape[1]))

    def _step_of(self, name: str) -> dict[str, Any]:
        return {**self._made_by, "what": "split", "files": self._identities[name]}

    def _fetch(
        self,
        step: Mapping[str, Any],
        build: Callable[[Path], None],
        load: Callable[[Path], T],
        in_memory: Callable[[errors.CacheError], T],
    ) -> T:
        def build_and_check(folder: Path) -> None:
            build(folder)
            self._check_files()

        try:
            return self._cache.fetch(cache_key(step), build_and_check, load)
        except errors.CacheError as cause:
            found = in_memory(cause)
            self._check_files()
            return found

    def _check_files(self) -> None:
        """Raises errors.DataError where a part file is not the one whose content was hashed."""
        changed = [path for path, signature in self._files.items() if _signature(path) != signature]
        if changed:
            raise errors.DataError([errors.part_changed(path) for path in changed])


def _save_fit(found: Fit, folder: Path) -> None:
    found.preprocessor.save(folder)
    facts = {"rows": found.rows, "warnings": found.warnings}
    (folder / FIT_FILE).write_text(json.dumps(facts), "utf-8")


def _load_fit(folder: Path) -> Fit:
    facts = json.loads((folder / FIT_FILE).read_text("utf-8"))
    try:
        preprocessor = Preprocessor.load(folder)
    except errors.ModelFolderError as cause:  # here it is an entry of the cache, which another process may remove
        raise (cause.__cause__ if isinstance(cause.__cause__, FileNotFoundError) else cause) from None
    return Fit(preprocessor, facts["rows"], tuple(facts["warnings"]))


def _identity(channel: Channel | SplitPart, contents: dict[Path, str]) -> list[Any]:
    """What a channel's rows depend on: the contents of its files, and which of the rows are its own."""
    found: list[Any] = []
    for file in channel.files:
        if file.path not in contents:
            contents[file.path] = file_sha256(file.path)
        found.append([file.format, file.gzipped, contents[file.path]])
    return found if isinstance(channel, Channel) else [found, channel.identity]


def file_sha256(path: Path) -> str:
    """A hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another in its place, or from itself after a change, without reading it; None: gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _file_of(embeddings: str) -> str | None:
    return file_sha256(Path(embeddings)) if Path(embeddings).is_file() else None
