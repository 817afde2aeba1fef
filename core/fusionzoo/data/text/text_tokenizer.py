"""Tokenizers: one of Hugging Face by name or folder, or `word`, which is fitted on the text of train. Saved as JSON."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from fusionzoo import errors
from fusionzoo.data.hashing import hash_file
from fusionzoo.data.ragged import Ragged, compute_starts
from fusionzoo.data.text.pretrained_files import (
    PretrainedSource,
    download_file,
    find_pretrained,
    is_folder,
    is_own_code_error,
    needs_sentencepiece,
)
from fusionzoo.data.text.sentence_transformers_folder import ENCODER_FILE, ENCODER_FILES, lowers_case

BATCH_LENGTH = 2**20  # characters tokenized at once; the library holds about 150 bytes per token
MAX_WORDS = 1_000_000
MAX_WORD_LENGTH = 100  # characters, as in BERT's WordPiece; a longer word is unknown
MAX_CACHED_BYTES = 16 * 2**20
# All files that define a tokenizer, and no weights.
TOKENIZER_FILES = ("*token*.json", "config.json", ENCODER_FILES, "vocab*", "merges*", "*.model")
SPECIAL_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# Their usual names: a tokenizer need not state which tokens have a role.
ROLE_TOKENS = frozenset(
    {
        *(f"[{role.upper()}]" for role in SPECIAL_ROLES),
        *(f"<{role}>" for role in SPECIAL_ROLES),
        *("<s>", "</s>", "<|endoftext|>"),
    }
)
WORD_TOKENIZER = "word"
PAD_TOKEN, UNKNOWN_TOKEN = "[PAD]", "[UNK]"
NONCHARACTER = "\ufdd0"  # Unicode guarantees that it is no character, so no vocabulary has it


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and the special tokens that it adds around a text."""

    name: str
    backend: Tokenizer
    pad_id: int
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    empty_id: int  # the token of an empty text if prefix and suffix are empty
    special: Mapping[int, str]  # special tokens that no text is encoded as; the unknown token is not one of them
    unknown_id: int | None  # of text that the vocabulary lacks; None if the tokenizer falls back to bytes

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Return the ids of each text, int32, without special tokens: a "[SEP]" in a text is plain text."""
        # Since version 0.20, tokenizers can skip the offsets, which makes it a quarter faster.
        encode_batch = getattr(self.backend, "encode_batch_fast", self.backend.encode_batch)
        parts: list[np.ndarray] = []
        lengths: list[int] = []
        for batch in _batch_texts(texts):
            encodings = encode_batch(batch, add_special_tokens=False)
            lengths += map(len, encodings)
            parts.append(np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32))
        ids = Ragged(np.concatenate([np.zeros(0, np.int32), *parts]), compute_starts(lengths))
        return self._remove_special_tokens(ids, texts)

    def _remove_special_tokens(self, ids: Ragged, texts: Sequence[str]) -> Ragged:
        """Return the ids; texts in which the model itself found special tokens are encoded again."""
        positions = np.flatnonzero(np.isin(ids.values, np.array(list(self.special), np.int32)))
        if not len(positions):
            return ids
        affected = set(np.searchsorted(ids.starts, positions, "right") - 1)
        lists = [
            np.array(self._encode_with_broken_special_tokens(text), np.int32) if i in affected else text_ids
            for i, (text, text_ids) in enumerate(zip(texts, ids, strict=True))
        ]
        return Ragged(np.concatenate(lists), compute_starts([len(text_ids) for text_ids in lists]))

    def _encode_with_broken_special_tokens(self, text: str) -> list[int]:
        """Return the ids of a text in which the model finds special tokens, as a Unigram model does with "</s>"."""
        for token in self.special.values():
            text = text.replace(token, f"{token[0]} {token[1:]}")
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return [i for i in ids if i not in self.special]


def tokenizer_fingerprint(name: str) -> str | None:
    """Return a hash of the tokenizer's content, which its name or folder does not identify; None for `word`.

    Raises:
        errors.TokenizerError: the tokenizer cannot be loaded.
    """
    if name == WORD_TOKENIZER:
        return None
    if not is_folder(name):
        return hashlib.sha256(load_tokenizer(name).backend.to_str().encode()).hexdigest()
    folder = Path(find_pretrained(PretrainedSource("tokenizer", name)))
    digest = hashlib.sha256()
    for path in sorted(path for pattern in TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()):
        digest.update(path.name.encode() + b"\0" + bytes.fromhex(hash_file(path)))
    return digest.hexdigest()


class CachedTokenizer:
    """A tokenizer that encodes a repeated text once, if it is among the most recent texts.

    It holds two generations of texts with their ids, each of at most `MAX_CACHED_BYTES`. When the young generation is
    full, it replaces the old one.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}
        self._young_bytes = 0

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Return the ids of each text, the same as `TextTokenizer.encode`."""
        ids_of_text: dict[str, bytes] = {}
        for text in dict.fromkeys(texts):
            ids = self._young.get(text) or self._old.get(text)
            if ids is not None:
                ids_of_text[text] = ids
        new_texts = [text for text in dict.fromkeys(texts) if text not in ids_of_text]
        encoded = self.tokenizer.encode(new_texts)
        flat, ends = encoded.values.tobytes(), (encoded.starts * encoded.values.itemsize).tolist()
        ids_of_text.update({text: flat[ends[i] : ends[i + 1]] for i, text in enumerate(new_texts)})
        self._store(ids_of_text)
        parts = [ids_of_text[text] for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts)) // encoded.values.itemsize
        return Ragged(np.frombuffer(b"".join(parts), np.int32), compute_starts(lengths))

    def _store(self, ids_of_text: Mapping[str, bytes]) -> None:
        for text, ids in ids_of_text.items():
            if text not in self._young:
                self._young[text] = ids
                self._young_bytes += len(text) + len(ids) + 150  # for the two objects and their dictionary entry
            if self._young_bytes > MAX_CACHED_BYTES:
                self._old, self._young, self._young_bytes = self._young, {}, 0


def _batch_texts(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in batches of about `BATCH_LENGTH` characters."""
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


def wrap_tokenizer(name: str, backend: Tokenizer, pad_id: int | None = None) -> TextTokenizer:
    """Turn truncation and padding off and detect the special tokens."""
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    probe = backend.encode("a")
    text_positions = [i for i, is_special in enumerate(probe.special_tokens_mask) if not is_special]
    if text_positions:
        start, end = text_positions[0], text_positions[-1] + 1
    else:
        start = end = len(probe.ids)
    unknown_id = _find_unknown_id(backend)
    pad_id = 0 if pad_id is None else pad_id
    added_tokens = backend.get_added_tokens_decoder()
    return TextTokenizer(
        name=name,
        backend=backend,
        pad_id=pad_id,
        prefix=tuple(probe.ids[:start]),
        suffix=tuple(probe.ids[end:]),
        empty_id=pad_id if unknown_id is None else unknown_id,
        special={i: token.content for i, token in added_tokens.items() if token.special and i != unknown_id},
        unknown_id=unknown_id,
    )


def _find_unknown_id(backend: Tokenizer) -> int | None:
    """Return the id of text that the vocabulary lacks; None if the tokenizer falls back to bytes."""
    if isinstance(backend.model, models.Unigram):  # it knows the id, and has no attribute with it
        try:
            pieces = backend.model.tokenize(NONCHARACTER)
        except Exception:  # noqa: BLE001 - tokenizers raises nothing more specific if there is no unknown token
            return None
        return int(pieces[0].id) if len(pieces) == 1 else None
    unknown_id: int | None = backend.token_to_id(getattr(backend.model, "unk_token", None) or UNKNOWN_TOKEN)
    return unknown_id


def load_tokenizer(name: str, setting: str = "tokenizer") -> TextTokenizer:
    """Load the tokenizer of a Hugging Face model, by name or local folder; `setting` is the one that names it.

    Raises:
        errors.TokenizerError: the model has no tokenizer that can be loaded.
        errors.SettingError: there is no such model, the hub cannot be reached, or the tokenizer needs its own code.
    """
    from transformers import AutoTokenizer

    source = PretrainedSource(setting, name)
    location = find_pretrained(source)
    try:
        loaded = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        tokenizer = wrap_tokenizer(name, _copy_backend(loaded), loaded.pad_token_id)
    except Exception as cause:  # tokenizers raises nothing more specific for a damaged file
        if is_own_code_error(cause):
            raise errors.own_python_code(setting, name) from cause
        if needs_sentencepiece(location, cause):
            raise errors.no_sentencepiece(setting, name) from cause
        raise errors.TokenizerError(name, cause) from cause
    # transformers builds an empty tokenizer if a folder only holds a config.json.
    added = tokenizer.backend.get_added_tokens_decoder()
    if not set(tokenizer.backend.get_vocab().values()) - {*added, tokenizer.unknown_id}:
        raise errors.TokenizerError(name, ValueError("it has no vocabulary"))
    if _was_trained_on_lower_case(source, location):
        own = tokenizer.backend.normalizer
        steps = [normalizers.Lowercase(), *([] if own is None else [own])]
        tokenizer.backend.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _copy_backend(loaded: Any) -> Tokenizer:
    """Return a copy of the fast tokenizer of one of transformers, in which special tokens without a role are words.

    The model was trained on texts with them, such as "<url>". Those with a role, such as "[SEP]", stay special.

    Raises:
        TypeError: it is not a fast tokenizer.
    """
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise TypeError(f"{type(loaded).__name__} is not a fast tokenizer")
    probe = backend.encode("a")
    around_text = compress(probe.tokens, probe.special_tokens_mask)
    stated = (str(getattr(loaded, f"{role}_token", None)) for role in SPECIAL_ROLES)
    with_role = {*ROLE_TOKENS, *around_text, *stated}
    saved = json.loads(backend.to_str())
    for token in saved["added_tokens"]:
        token["special"] = token["special"] and token["content"] in with_role
    return Tokenizer.from_str(json.dumps(saved))


def _was_trained_on_lower_case(source: PretrainedSource, location: str) -> bool:
    """Return whether sentence-transformers converts texts to lower case before this tokenizer reads them.

    Raises:
        errors.SettingError: its file is damaged, or the hub cannot be reached.
    """
    if is_folder(location):
        return lowers_case(source.setting, source.name, Path(location))
    file = download_file(source, ENCODER_FILE)
    return file is not None and lowers_case(source.setting, source.name, file.parent)


def find_other_token(tokenizer: TextTokenizer, own: TextTokenizer) -> str | None:
    """Return how the ids of a tokenizer differ from those of an encoder's own one; None if they mean the same tokens.

    The tokenizer may lack tokens of the encoder, but not have others.
    """
    own_ids = own.backend.get_vocab(with_added_tokens=True)
    ids = tokenizer.backend.get_vocab(with_added_tokens=True)
    different = sorted((i, token) for token, i in ids.items() if own_ids.get(token) != i)
    if not different:
        return None
    example_id, token = next(((i, t) for i, t in different if t in own_ids), different[0])
    own_id = f"id {own_ids[token]}" if token in own_ids else "unknown"
    count = f"{len(different):,} of its {len(ids):,} tokens differ"
    return f"{count}; {token!r} is id {example_id}, and {own_id} in the encoder"


def restore_tokenizer(name: str, saved: str, pad_id: int) -> TextTokenizer:
    """Load a tokenizer that was saved with `backend.to_str()`. Needs no network and no original folder.

    Raises:
        ValueError: `saved` is damaged.
    """
    try:
        backend = Tokenizer.from_str(saved)
    except Exception as cause:  # tokenizers raises nothing more specific
        raise ValueError(str(cause)) from cause
    return wrap_tokenizer(name, backend, pad_id)


class WordCounter:
    """The running fit of tokenizer `word`: counts lower-cased words and punctuation marks.

    Beyond `MAX_WORDS` distinct words, the rarest ones so far are discarded, like gensim's `max_vocab_size`.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._discarded_count = 0  # words with this count, or less, were discarded
        self._normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=True)
        self._splitter = pre_tokenizers.BertPreTokenizer()

    def add(self, texts: Iterable[str]) -> None:
        """Count the words of training texts."""
        for text in texts:
            pieces = self._splitter.pre_tokenize_str(self._normalizer.normalize_str(text))
            self.counts.update(word for word, _ in pieces if len(word) <= MAX_WORD_LENGTH)
            while len(self.counts) > MAX_WORDS:
                self._discarded_count += 1
                self.counts = Counter({word: n for word, n in self.counts.items() if n > self._discarded_count})

    def fit(self, vocab_size: int, min_count: int) -> TextTokenizer:
        """Return a tokenizer of the most frequent words, ties in alphabetical order. Id 0 is padding, 1 is unknown.

        Raises:
            errors.DataError: no word occurs `min_count` times.
        """
        frequent = [word for word, count in self.counts.items() if count >= min_count]
        if not frequent:
            raise errors.DataError([errors.no_frequent_word(min_count)])
        frequent.sort(key=lambda word: (-self.counts[word], word))
        special = [PAD_TOKEN, UNKNOWN_TOKEN]
        words = dict.fromkeys([*special, *frequent[: vocab_size - len(special)]])
        backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN_TOKEN))
        backend.normalizer = self._normalizer
        backend.pre_tokenizer = self._splitter
        return wrap_tokenizer(WORD_TOKENIZER, backend, pad_id=0)
