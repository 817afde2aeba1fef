"""Word vectors for tokenizer `word`: trained on the training split by gensim, read from a file, or random."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.text.text_tokenizer import TextTokenizer

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

log = logging.getLogger(__name__)

TRAINED = ("word2vec", "fasttext")
RANDOM = "random"
FASTTEXT_BUCKETS = 100_000  # gensim's own 2,000,000 take 800 MB at 100 dimensions


class _Sentences:
    """The rows of a split as lists of words, to be walked several times."""

    def __init__(self, split: EncodedSplit, words: Sequence[str]) -> None:
        self.split, self.words = split, words

    def __iter__(self) -> Iterator[list[str]]:
        starts = self.split.chunk_starts[self.split.row_starts]
        for begin, end in pairwise(starts):
            yield [self.words[i] for i in self.split.tokens[begin:end]]


def check_source(settings: DataSettings) -> None:
    """Raises errors.EmbeddingsError where `embeddings` names neither a method nor a file; reads nothing."""
    known = (*TRAINED, RANDOM)
    if settings.embeddings not in known and not Path(settings.embeddings).is_file():
        raise errors.EmbeddingsError.unknown(settings.embeddings, known)


def build_word_vectors(settings: DataSettings, tokenizer: TextTokenizer, train: EncodedSplit, seed: int) -> np.ndarray:
    """Vectors [vocab_size, dim] float32, the same for the same seed; padding is zero, words without one are random.

    Raises:
        errors.EmbeddingsError: the file cannot be read or knows none of the words.
    """
    vocabulary = tokenizer.backend.get_vocab()
    words = sorted(vocabulary, key=lambda word: vocabulary[word])
    found = _find(settings, train, words, seed)
    dim = settings.embedding_dim if found is None else found.vector_size
    rng = np.random.default_rng(seed)
    table = rng.normal(0.0, 0.1, size=(len(words), dim)).astype(np.float32)
    if found is not None:
        known = np.array([word in found.key_to_index for word in words])
        if not known.any():
            raise errors.EmbeddingsError.no_word_known(settings.embeddings)
        table[known] = found[[word for word, is_known in zip(words, known, strict=True) if is_known]]
        log.info("Word vectors (%s): %.1f %% of %d words", settings.embeddings, 100 * known.mean(), len(words))
    table[tokenizer.pad_id] = 0.0
    return table


def _find(settings: DataSettings, train: EncodedSplit, words: Sequence[str], seed: int) -> KeyedVectors | None:
    if settings.embeddings == RANDOM:
        return None
    if settings.embeddings not in TRAINED:
        return _read(Path(settings.embeddings))
    from gensim.models import FastText, Word2Vec

    sentences = _Sentences(train, words)
    # One worker: with more, gensim's result depends on how the threads happen to run.
    common = {"vector_size": settings.embedding_dim, "min_count": 1, "seed": seed, "workers": 1}
    if settings.embeddings == "word2vec":
        return Word2Vec(sentences, **common).wv
    return FastText(sentences, bucket=FASTTEXT_BUCKETS, **common).wv


def _read(path: Path) -> KeyedVectors:
    """word2vec text or binary (.bin), or GloVe text (no header), each plain or gzip."""
    from gensim.models import KeyedVectors

    gzipped = path.suffix == ".gz"
    binary = Path(path.stem if gzipped else path.name).suffix == ".bin"
    try:
        with gzip.open(path) if gzipped else path.open("rb") as stream:
            headed = len(stream.readline().split()) == 2
        return KeyedVectors.load_word2vec_format(str(path), binary=binary, no_header=not headed)
    except (OSError, ValueError, EOFError, zlib.error) as cause:
        raise errors.EmbeddingsError.unreadable(str(path), cause) from cause
