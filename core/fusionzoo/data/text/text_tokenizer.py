"""Tokenizers: one of Hugging Face's by name or folder, or `word`, fitted on the training text. Saved as JSON."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from fusionzoo import errors
from fusionzoo.data.ragged import Ragged, starts_of

BATCH_LENGTH = 2**20  # characters that are tokenized together: what the library keeps of a token takes 150 bytes
MOST_WORDS = 1_000_000
LONGEST_WORD = 100  # characters, as BERT's WordPiece has it; a longer one is unknown
REMEMBERED_BYTES = 16 * 2**20
TOKENIZER_FILES = ("*token*.json", "config.json", "vocab*", "merges*", "*.model")  # all that decides one, no weights
WORD = "word"
PAD_TOKEN, UNKNOWN_TOKEN = "[PAD]", "[UNK]"


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and the special tokens that it sets around a text."""

    name: str
    backend: Tokenizer
    pad_id: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    empty_id: int  # stands for an empty text where prefix and suffix are empty
    special: Mapping[int, str]  # the special tokens, which no text may become; the unknown one is not among them

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Ids of each text, int32, no special tokens: a "[SEP]" that stands in a text is text."""
        # Without positions in the text, which versions from 0.20 on can leave out, it is a quarter faster.
        encode = getattr(self.backend, "encode_batch_fast", self.backend.encode_batch)
        parts: list[np.ndarray] = []
        lengths: list[int] = []
        for batch in _batches(texts):
            encodings = encode(batch, add_special_tokens=False)
            lengths += map(len, encodings)
            parts.append(np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32))
        ids = Ragged(np.concatenate([np.zeros(0, np.int32), *parts]), starts_of(lengths))
        return self._without_special(ids, texts)

    def _without_special(self, ids: Ragged, texts: Sequence[str]) -> Ragged:
        """The ids, with texts in which the model itself saw special tokens encoded anew."""
        found = np.flatnonzero(np.isin(ids.values, np.array(list(self.special), np.int32)))
        if not len(found):
            return ids
        wrong = set(np.searchsorted(ids.starts, found, "right") - 1)
        lists = [
            np.array(self._encode_broken_up(text), np.int32) if i in wrong else own
            for i, (text, own) in enumerate(zip(texts, ids, strict=True))
        ]
        return Ragged(np.concatenate(lists), starts_of([len(own) for own in lists]))

    def _encode_broken_up(self, text: str) -> list[int]:
        """Ids of a text in which the model itself sees special tokens, as a Unigram model with "</s>" does."""
        for token in self.special.values():
            text = text.replace(token, f"{token[0]} {token[1:]}")
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return [i for i in ids if i not in self.special]


def tokenizer_fingerprint(name: str) -> str | None:
    """A hash of the tokenizer itself, which a name or folder does not tell; None for `word`, which is fitted.

    Raises:
        errors.TokenizerError: there is none.
    """
    if name == WORD:
        return None
    folder = Path(name)
    if not folder.is_dir():
        return hashlib.sha256(load_tokenizer(name).backend.to_str().encode()).hexdigest()
    found = hashlib.sha256()
    for path in sorted(path for pattern in TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()):
        found.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


class Memory:
    """A tokenizer that encodes a text once, as long as it is among the last that came.

    It keeps two generations of texts with their ids, each of `REMEMBERED_BYTES` at most.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}
        self._bytes = 0

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Ids of each text, as `TextTokenizer.encode` gives them."""
        known: dict[str, bytes] = {}
        for text in dict.fromkeys(texts):
            ids = self._young.get(text) or self._old.get(text)
            if ids is not None:
                known[text] = ids
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        encoded = self.tokenizer.encode(fresh)
        flat, ends = encoded.values.tobytes(), (encoded.starts * encoded.values.itemsize).tolist()
        known.update({text: flat[ends[i] : ends[i + 1]] for i, text in enumerate(fresh)})
        self._remember(known)
        parts = [known[text] for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts)) // encoded.values.itemsize
        return Ragged(np.frombuffer(b"".join(parts), np.int32), starts_of(lengths))

    def _remember(self, known: Mapping[str, bytes]) -> None:
        for text, ids in known.items():
            if text not in self._young:
                self._young[text] = ids
                self._bytes += len(text) + len(ids) + 150  # for the two objects and their place in the dictionary
            if self._bytes > REMEMBERED_BYTES:
                self._old, self._young, self._bytes = self._young, {}, 0


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts in batches of about `BATCH_LENGTH` characters."""
    batch: list[str] = []
    length = 0
    for text in texts:
        batch.append(text)
        length += len(text)
        if length >= BATCH_LENGTH:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def wrap(name: str, backend: Tokenizer, pad_id: int | None = None) -> TextTokenizer:
    """A tokenizer with truncation and padding off and its special tokens found out."""
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    probe = backend.encode("a")
    text = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
    first, last = (text[0], text[-1] + 1) if text else (len(probe.ids), len(probe.ids))
    unknown = backend.token_to_id(getattr(backend.model, "unk_token", None) or UNKNOWN_TOKEN)
    pad = 0 if pad_id is None else pad_id
    return TextTokenizer(
        name=name,
        backend=backend,
        pad_id=pad,
        prefix=tuple(probe.ids[:first]),
        suffix=tuple(probe.ids[last:]),
        empty_id=pad if unknown is None else unknown,
        special={i: t.content for i, t in backend.get_added_tokens_decoder().items() if t.special and i != unknown},
    )


def load_tokenizer(name: str) -> TextTokenizer:
    """The tokenizer of a Hugging Face model, by name or local folder.

    Raises:
        errors.TokenizerError: it is neither a folder with a tokenizer nor to be had from the hub.
    """
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as cause:
        raise errors.TokenizerError(name, cause) from cause
    backend = getattr(found, "backend_tokenizer", None)
    if backend is None:
        raise errors.TokenizerError(name, TypeError(f"{type(found).__name__} is not a fast tokenizer"))
    tokenizer = wrap(name, Tokenizer.from_str(backend.to_str()), found.pad_token_id)
    if tokenizer.backend.get_vocab_size() <= len(tokenizer.special) + 1:  # transformers makes one up from a config.json
        raise errors.TokenizerError(name, ValueError("it has no vocabulary"))
    return tokenizer


def restore_tokenizer(name: str, saved: str, pad_id: int) -> TextTokenizer:
    """The tokenizer that `backend.to_str()` gave, needing neither network nor the folder that it came from.

    Raises:
        ValueError: `saved` is damaged.
    """
    try:
        backend = Tokenizer.from_str(saved)
    except Exception as cause:  # tokenizers raises nothing more specific
        raise ValueError(str(cause)) from cause
    return wrap(name, backend, pad_id)


class WordCounter:
    """The running fit of tokenizer `word`: lower-cased words and punctuation marks, counted.

    Beyond `MOST_WORDS` different ones the rarest so far are forgotten, as gensim's `max_vocab_size` does it.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._forgotten = 0  # words that came so often, or less, were forgotten
        self._normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=True)
        self._splitter = pre_tokenizers.BertPreTokenizer()

    def add(self, texts: Iterable[str]) -> None:
        """Count the words of some training texts."""
        for text in texts:
            pieces = self._splitter.pre_tokenize_str(self._normalizer.normalize_str(text))
            self.counts.update(word for word, _ in pieces if len(word) <= LONGEST_WORD)
            while len(self.counts) > MOST_WORDS:
                self._forgotten += 1
                self.counts = Counter({word: n for word, n in self.counts.items() if n > self._forgotten})

    def fit(self, vocab_size: int, min_count: int) -> TextTokenizer:
        """The most frequent words, ties in the order of the alphabet; id 0 pads, 1 is unknown.

        Raises:
            errors.DataError: no word occurs `min_count` times.
        """
        frequent = [word for word, count in self.counts.items() if count >= min_count]
        if not frequent:
            raise errors.DataError([errors.no_frequent_word(min_count)])
        frequent.sort(key=lambda word: (-self.counts[word], word))
        special = [PAD_TOKEN, UNKNOWN_TOKEN]
        ids = {word: i for i, word in enumerate(dict.fromkeys([*special, *frequent[: vocab_size - len(special)]]))}
        backend = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN_TOKEN))
        backend.normalizer = self._normalizer
        backend.pre_tokenizer = self._splitter
        return wrap(WORD, backend, pad_id=0)
