"""Tokenizers: one of Hugging Face's by name or folder, or `word`, fitted on the training text. Saved as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from fusionzoo import errors

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

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, no special tokens: a "[SEP]" that stands in a text is text."""
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            ids if self.special.keys().isdisjoint(ids := encoding.ids) else self._encode_broken_up(text)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _encode_broken_up(self, text: str) -> list[int]:
        """Ids of a text in which the model itself sees special tokens, as a Unigram model with "</s>" does."""
        for token in self.special.values():
            text = text.replace(token, f"{token[0]} {token[1:]}")
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return [i for i in ids if i not in self.special]


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


def pretrained(name: str) -> TextTokenizer:
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


def restore(name: str, saved: str, pad_id: int) -> TextTokenizer:
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
    """The running fit of tokenizer `word`: lower-cased words and punctuation marks, counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=True)
        self._splitter = pre_tokenizers.BertPreTokenizer()

    def add(self, texts: Iterable[str]) -> None:
        """Count the words of some training texts."""
        for text in texts:
            pieces = self._splitter.pre_tokenize_str(self._normalizer.normalize_str(text))
            self.counts.update(word for word, _ in pieces)

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
