"""Encode the channels of a job, each step once: results of earlier jobs and other ranks come from the cache."""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import tokenizers

from fusionzoo import __version__, errors
from fusionzoo.data import array_store, hashing
from fusionzoo.data.cache import Cache, cache_key, damaged_entry_errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.fit_preprocessor import FitResult, check_other_splits, fit_preprocessor
from fusionzoo.data.preprocessor import FORMAT_VERSION, Preprocessor
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.channel import Channel
from fusionzoo.data.splitting import SplitPart
from fusionzoo.data.targets.target import SPLITS_WITH_OPTIONAL_LABELS
from fusionzoo.data.text import text_tokenizer, word_vectors

log = logging.getLogger(__name__)

T = TypeVar("T")
HashFiles = Callable[[Sequence[Path]], Mapping[Path, str]]
FIT_FILE, VECTORS_FILE = "fit.json", "vectors.npy"


@dataclass(frozen=True)
class EncodedData:
    """The encoded splits of a job, `train` among them, and the preprocessor that encoded them.

    `content_hashes` identify the data: a hash of what each split, and the tokenizer, was read from.
    """

    preprocessor: Preprocessor
    splits: Mapping[str, EncodedSplit]
    warnings: tuple[str, ...]
    content_hashes: Mapping[str, str]


def encode_channels(
    settings: DataSettings,
    channels: Mapping[str, Channel | SplitPart],
    cache: Cache,
    seed: int | None,
    check_train_rows: Callable[[int], None],
    hash_files: HashFiles = hashing.hash_files,
) -> EncodedData:
    """Fit on `train`, encode every split, and build word vectors if the tokenizer is `word`.

    If the cache cannot be written to, a warning says so, and the splits are held in memory.

    Args:
        settings: the settings of the job.
        channels: the splits by name, `train` among them.
        cache: where results are stored.
        seed: the seed of word vectors; None if they are not needed.
        check_train_rows: called with the number of training rows before any text is tokenized; may raise an error.
        hash_files: returns the SHA-256 of files. Processes that share a host can pass a function that reads each file
            in one process only.

    Raises:
        errors.DataError: values that cannot be used, with their rows; all problems together.
        errors.TokenizerError, errors.EmbeddingsError: the tokenizer or its vectors cannot be loaded.
    """
    job = _EncodingJob(settings, channels, cache, hash_files)
    fitted = job.fit()
    check_train_rows(fitted.rows)
    job.check_uncached_splits(fitted.preprocessor)
    problems = ProblemLog()
    splits: dict[str, EncodedSplit] = {}
    for name in channels:
        with problems.collect():
            splits[name] = job.encode_split(name, fitted.preprocessor)
    problems.raise_if_any()
    preprocessor = fitted.preprocessor
    if seed is not None:
        preprocessor = job.add_word_vectors(preprocessor, splits["train"], seed)
    return EncodedData(preprocessor, splits, fitted.warnings, job.content_hashes())


class _EncodingJob:
    """The steps of one job. Each step has a cache key of everything that its result depends on."""

    def __init__(
        self,
        settings: DataSettings,
        channels: Mapping[str, Channel | SplitPart],
        cache: Cache,
        hash_files: HashFiles,
    ) -> None:
        self.settings, self.channels = settings, channels
        self._cache = cache
        self._has_fitted = False
        part_files = [file.path for channel in channels.values() for file in channel.files]
        self._stats = {path: _stat_file(path) for path in part_files}
        embeddings = word_vectors.find_vector_file(settings.embeddings)
        file_hashes = hash_files([*self._stats, *([] if embeddings is None else [embeddings])])
        self._embeddings_hash = None if embeddings is None else file_hashes[embeddings]
        self._sources = {name: _describe_source(channel, file_hashes) for name, channel in channels.items()}
        self._common_key = {
            "fusionzoo": [__version__, FORMAT_VERSION],
            "code": hashing.hash_package_code(),
            "libraries": [tokenizers.__version__, version("transformers"), np.__version__, pa.__version__],
            "unicode": unicodedata.unidata_version,
            "settings": settings.model_dump(mode="json", include=set(DataSettings.model_fields)),
            "tokenizer": (
                text_tokenizer.tokenizer_fingerprint(settings.tokenizer_name) if settings.text_columns else None
            ),
            "train": self._sources["train"],
        }

    def content_hashes(self) -> dict[str, str]:
        """Return a hash of what each split, and the tokenizer with its vectors, is read from."""
        hashes = {name: cache_key({"files": source}) for name, source in self._sources.items()}
        tokenizer = [self._common_key["tokenizer"], self._embeddings_hash]
        return {**hashes, "tokenizer": cache_key({"tokenizer": tokenizer})}

    def fit(self) -> FitResult:
        """Return the preprocessor fitted on train, from the cache or fitted now."""
        other_splits = {name: channel for name, channel in self.channels.items() if name != "train"}

        def fit() -> FitResult:
            self._has_fitted = True
            return fit_preprocessor(self.settings, self.channels["train"], other_splits)

        return self._get_or_build(
            {**self._common_key, "what": "fit"}, lambda folder: _save_fit(fit(), folder), _load_fit, lambda _: fit()
        )

    def check_uncached_splits(self, preprocessor: Preprocessor) -> None:
        """Check the values of splits that are not in the cache, before expensive steps.

        If `fit` did not come from the cache, it has already checked them.

        Raises:
            errors.DataError: values that cannot be used.
        """
        if not self._has_fitted:
            uncached = {
                name: channel
                for name, channel in self.channels.items()
                if not self._cache.contains(cache_key(self._split_key(name)))
            }
            check_other_splits(preprocessor, uncached)

    def encode_split(self, name: str, preprocessor: Preprocessor) -> EncodedSplit:
        """Return the encoded split, memory-mapped from the cache if it can be written."""
        channel = self.channels[name]

        def encode_in_memory(cause: errors.CacheError) -> EncodedSplit:
            split = preprocessor.encode(channel, name)
            size = sum(array.nbytes for field in array_store.ARRAYS if (array := getattr(split, field)) is not None)
            reason, fix = cause.parts
            log.warning(
                "%s The encoded split '%s' is held in memory instead (%s MB in each process of this host), and the "
                "next job encodes it again. Fix: %s",
                *(reason, name, f"{size / 2**20:,.0f}", fix),
            )
            return split

        return self._get_or_build(
            self._split_key(name),
            lambda folder: array_store.write_split(folder, preprocessor.encode_blocks(channel, name)),
            array_store.read_split,
            encode_in_memory,
        )

    def add_word_vectors(self, preprocessor: Preprocessor, train: EncodedSplit, seed: int) -> Preprocessor:
        """Return the preprocessor with word vectors; unchanged if the tokenizer is not `word`."""
        text = preprocessor.text
        if text is None or text.tokenizer.name != text_tokenizer.WORD_TOKENIZER:
            return preprocessor

        def build() -> np.ndarray:
            return word_vectors.build_word_vectors(self.settings, text.tokenizer, train, seed)

        versions = [version("gensim"), word_vectors.VECTORS_VERSION]
        key = {"what": "vectors", "seed": seed, "versions": versions, "file": self._embeddings_hash}
        vectors = self._get_or_build(
            {**self._common_key, **key},
            lambda folder: np.save(folder / VECTORS_FILE, build()),
            _load_vectors,
            lambda _: build(),
        )
        return replace(preprocessor, text=replace(text, vectors=vectors, embedding_dim=vectors.shape[1]))

    def _split_key(self, name: str) -> dict[str, Any]:
        optional_labels = name in SPLITS_WITH_OPTIONAL_LABELS  # such an entry must not be used as a split with labels
        key = {"what": "split", "files": self._sources[name], "optional_labels": optional_labels}
        if self.settings.id_name is None:  # ids hold the names of files
            key["names"] = [file.name for file in self.channels[name].files]
        return {**self._common_key, **key}

    def _get_or_build(
        self,
        key: Mapping[str, Any],
        build: Callable[[Path], None],
        load: Callable[[Path], T],
        build_in_memory: Callable[[errors.CacheError], T],
    ) -> T:
        def build_and_check(folder: Path) -> None:
            build(folder)
            self._check_files_unchanged()

        try:
            return self._cache.get_or_build(cache_key(key), build_and_check, load)
        except errors.CacheError as cause:
            result = build_in_memory(cause)
            self._check_files_unchanged()
            return result

    def _check_files_unchanged(self) -> None:
        """Raise errors.DataError if a part file is not the one that was hashed."""
        changed = [path for path, stat in self._stats.items() if _stat_file(path) != stat]
        if changed:
            raise errors.DataError([errors.changed_file(path) for path in changed])


def _save_fit(fitted: FitResult, folder: Path) -> None:
    fitted.preprocessor.save(folder)
    facts = {"rows": fitted.rows, "warnings": fitted.warnings}
    (folder / FIT_FILE).write_text(json.dumps(facts), "utf-8")


def _load_fit(folder: Path) -> FitResult:
    with damaged_entry_errors():
        facts = json.loads((folder / FIT_FILE).read_text("utf-8"))
        rows, warnings = int(facts["rows"]), tuple(str(warning) for warning in facts["warnings"])
        try:
            preprocessor = Preprocessor.load(folder)
        except errors.ModelFolderError as cause:  # this is an entry of the cache, which another process may remove
            if isinstance(cause.__cause__, FileNotFoundError):
                raise cause.__cause__ from None
            raise ValueError(cause.message) from cause
    return FitResult(preprocessor, rows, warnings)


def _load_vectors(folder: Path) -> np.ndarray:
    with damaged_entry_errors():
        vectors: np.ndarray = np.load(folder / VECTORS_FILE, allow_pickle=False)
        if vectors.ndim != 2 or vectors.dtype.kind != "f":
            raise ValueError(f"{VECTORS_FILE} holds {vectors.dtype} of shape {vectors.shape}")
    return vectors


def _describe_source(channel: Channel | SplitPart, file_hashes: Mapping[Path, str]) -> list[Any]:
    """Return what the rows of a channel depend on: the contents of its files, and which of the rows are selected."""
    files: list[Any] = [[file.format, file.gzipped, file.partition, file_hashes[file.path]] for file in channel.files]
    return files if isinstance(channel, Channel) else [files, channel.selection_hash]


def _stat_file(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or written to, without reading it; None if the file is missing."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
