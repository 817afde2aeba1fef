"""Word vectors for tokenizer `word`: trained on train by gensim, read from a file, or random."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.text.text_tokenizer import TextTokenizer
from fusionzoo.data.text.word_vector_files import check_word_vector_file, read_word_vectors
from fusionzoo.local_paths import URL, to_local_path

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

log = logging.getLogger(__name__)

TRAINED_METHODS = ("word2vec", "fasttext")
RANDOM = "random"
METHODS = (*TRAINED_METHODS, RANDOM)
FASTTEXT_BUCKETS = 100_000  # gensim's default of 2,000,000 needs 800 MB at 100 dimensions
VECTORS_VERSION = 2  # part of the key of the cache: raise it when other vectors are built from the same text
VECTOR_RMS = 0.3  # root mean square of the elements of a vector that no file states
MIN_TRAINED_TOKENS = 6_000_000  # over all epochs; with fewer, the vectors of all words are nearly parallel
MIN_EPOCHS, MAX_EPOCHS = 5, 150


class _Sentences:
    """The rows of a split as lists of words; can be iterated repeatedly."""

    def __init__(self, split: EncodedSplit, words: Sequence[str]) -> None:
        self.split, self.words = split, words

    def __iter__(self) -> Iterator[list[str]]:
        starts = self.split.chunk_starts[self.split.row_starts]
        for start, end in pairwise(starts):
            yield [self.words[i] for i in self.split.tokens[start:end]]


def check_embeddings_source(settings: DataSettings) -> None:
    """Check that `embeddings` is a known method or a file of word vectors. Reads only the first line of the file.

    Raises:
        errors.EmbeddingsError: it is neither, it is a URL, or the file is empty or shorter than its header says.
    """
    if settings.embeddings in METHODS:
        return
    if URL.match(settings.embeddings):
        raise errors.EmbeddingsError.url(settings.embeddings)
    path = find_vector_file(settings.embeddings)
    if path is None:
        raise errors.EmbeddingsError.unknown(settings.embeddings, METHODS)
    check_word_vector_file(path)


def find_vector_file(embeddings: str) -> Path | None:
    """Return the file of word vectors that the setting names; None if it names a method, or no file."""
    if embeddings in METHODS:
        return None
    try:
        path = to_local_path("embeddings", embeddings)
    except errors.PathError:  # a URL, or no file can have this path
        return None
    return path if os.path.isfile(path) else None  # noqa: PTH113 - Path.is_file may raise PermissionError


def build_word_vectors(settings: DataSettings, tokenizer: TextTokenizer, train: EncodedSplit, seed: int) -> np.ndarray:
    """Return vectors [vocab_size, dim] float32, the same for the same seed.

    Vectors that are trained or random have elements with a root mean square of 0.3; those of a file are not changed.
    The vector of padding is zero; words without a vector in the source have a random one.

    Raises:
        errors.EmbeddingsError: the file cannot be read, or has a vector for none of the words.
    """
    vocabulary = tokenizer.backend.get_vocab()
    words = sorted(vocabulary, key=lambda word: vocabulary[word])
    source = _train_or_read(settings, train, words, seed)
    dim = settings.embedding_dim if source is None else source.vector_size
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0.0, VECTOR_RMS, size=(len(words), dim)).astype(np.float32)
    if source is not None:
        is_known = np.array([word in source.key_to_index for word in words])
        if not is_known.any():
            raise errors.EmbeddingsError.no_known_word(settings.embeddings)
        known_vectors = source[[words[i] for i in np.flatnonzero(is_known)]]
        is_finite = np.isfinite(known_vectors).all(axis=1)
        if not is_finite.all():
            affected = [words[i] for i in np.flatnonzero(is_known)[~is_finite]]
            raise errors.EmbeddingsError.not_finite(settings.embeddings, affected)
        vectors[is_known] = _scale(known_vectors) if settings.embeddings in TRAINED_METHODS else known_vectors
        log.info("Word vectors (%s): %.1f %% of %d words", settings.embeddings, 100 * is_known.mean(), len(words))
    vectors[tokenizer.pad_id] = 0.0
    return vectors


def count_epochs(tokens: int) -> int:
    """Return for how many epochs gensim trains on this number of tokens."""
    return min(MAX_EPOCHS, max(MIN_EPOCHS, math.ceil(MIN_TRAINED_TOKENS / max(tokens, 1))))


def _scale(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors with a root mean square of `VECTOR_RMS` each: frequent words have the longest ones."""
    rms = np.sqrt(np.square(vectors).mean(axis=1, keepdims=True))
    scaled: np.ndarray = vectors * (VECTOR_RMS / np.maximum(rms, np.finfo(np.float32).tiny))
    return scaled


def _train_or_read(settings: DataSettings, train: EncodedSplit, words: Sequence[str], seed: int) -> KeyedVectors | None:
    """Return the vectors of gensim or of the file; None for random ones."""
    if settings.embeddings == RANDOM:
        return None
    if settings.embeddings not in TRAINED_METHODS:
        return read_word_vectors(to_local_path("embeddings", settings.embeddings), set(words))
    from gensim.models import FastText, Word2Vec

    sentences = _Sentences(train, words)
    # One worker: with more, gensim's result depends on the scheduling of threads.
    epochs = count_epochs(len(train.tokens))
    arguments = {"vector_size": settings.embedding_dim, "min_count": 1, "seed": seed, "workers": 1, "epochs": epochs}
    if settings.embeddings == "word2vec":
        return Word2Vec(sentences, **arguments).wv
    return FastText(sentences, bucket=FASTTEXT_BUCKETS, **arguments).wv
