"""Tokenizers, word vectors, the cache, and the folder of the demo data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.machine_fixes import READ_FIXES
from fusionzoo.errors.wording import cut, list_names, pluralize, short


class TokenizerError(ZooError):
    """The tokenizer is neither on the hub nor a local folder, or it is not a fast tokenizer."""

    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(
            f"Tokenizer '{name}' could not be loaded ({type(cause).__name__}: {short(cause)}).",
            "set tokenizer to a Hugging Face model name (needs the hub), to a folder with tokenizer.json, or to word "
            "for a vocabulary of the training text.",
            "FZ-D201",
        )


class EmbeddingsError(ZooError):
    """The word vectors that `embeddings` names could not be loaded."""

    @classmethod
    def unknown(cls, value: str, methods: Sequence[str]) -> EmbeddingsError:
        """`embeddings` is neither a file nor the name of a method."""
        message = f"embeddings = '{value}' is neither a file nor one of {', '.join(methods)}."
        return cls(message, "give the path of a file, or one of these names.", "FZ-D202")

    @classmethod
    def unreadable(cls, path: str, cause: Exception) -> EmbeddingsError:
        """The file of word vectors is damaged or of an unknown format."""
        return cls(
            f"embeddings = '{path}' could not be read ({type(cause).__name__}: {short(cause)}).",
            "give vectors in word2vec or GloVe text format, or word2vec .bin, uncompressed or gzip.",
            "FZ-D203",
        )

    @classmethod
    def too_short(cls, path: str, words: int, dimensions: int, size: int) -> EmbeddingsError:
        """The header of the file states more vectors than the file can hold: it is cut short or damaged."""
        return cls(
            f"embeddings = '{path}' has at most {size:,} bytes, but its header states {words:,} words of "
            f"{dimensions:,} dimensions.",
            "copy or download the file again: it is cut short or damaged.",
            "FZ-D220",
        )

    @classmethod
    def other_format(cls, path: str, kind: str, fix: str) -> EmbeddingsError:
        """The first bytes of the file are those of an archive, or of a format that is none of word vectors.

        Fix: unpack the file, or save the vectors as text with gensim's save_word2vec_format.
        """
        return cls(f"embeddings = '{path}' is {kind}.", f"{fix}.", "FZ-D324")

    @classmethod
    def not_finite(cls, path: str, words: Sequence[str]) -> EmbeddingsError:
        """The file of word vectors holds NaN or infinity."""
        return cls(
            f"embeddings = '{path}' has vectors with NaN or infinity: {list_names(words, 200)}.",
            "remove these words from the file; they then get random vectors.",
            "FZ-D221",
        )

    @classmethod
    def url(cls, value: str) -> EmbeddingsError:
        """`embeddings` is a URL, such as that of S3, and files are read from this machine only."""
        return cls(
            f"embeddings = '{cut(value, 300)}' is a URL, but word vectors are read from a file of this machine.",
            "mount the file's folder as a channel of the job, and give the path of the file in that channel.",
            "FZ-D222",
        )

    @classmethod
    def wrong_width(cls, path: str, line: int, found: int, expected: int, stated_by: str) -> EmbeddingsError:
        """A line has more or fewer numbers than the others, or than the header states."""
        return cls(
            f"embeddings = '{path}', line {line:,}: there {'is' if found == 1 else 'are'} {pluralize(found, 'number')} "
            f"after the word, but {stated_by} states {pluralize(expected, 'dimension')}.",
            "copy or download the file again: it is cut short or damaged; or correct the line.",
            "FZ-D224",
        )

    @classmethod
    def wrong_count(cls, path: str, stated: int, found: str) -> EmbeddingsError:
        """The file has more or fewer vectors than its header states."""
        return cls(
            f"embeddings = '{path}' has a header that states {pluralize(stated, 'word')}, but {found}.",
            "copy or download the file again: it is cut short or damaged; or correct its first line.",
            "FZ-D225",
        )

    @classmethod
    def unreadable_line(cls, path: str, place: str, cause: str) -> EmbeddingsError:
        """A line of the file is not a word with numbers, or the word is not UTF-8."""
        return cls(
            f"embeddings = '{path}', {place}: {short(cause)}.",
            "give vectors in word2vec or GloVe text format in UTF-8, with one space between word and numbers, or "
            "word2vec .bin.",
            "FZ-D226",
        )

    @classmethod
    def no_known_word(cls, path: str) -> EmbeddingsError:
        """The file of word vectors shares no word with train."""
        return cls(
            f"embeddings = '{path}' has no vector for any word in train.",
            "give vectors of the language of the text, for lower-case words, or set embeddings: word2vec.",
            "FZ-D204",
        )


class CacheError(ZooError):
    """The folder of the cache cannot be used, so that data is held in memory."""

    @classmethod
    def unwritable(cls, folder: Path, cause: Exception) -> CacheError:
        """The folder of the cache is full, read-only or on a failing disk."""
        reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else short(cause)
        message = f"The cache {folder} cannot be written: {reason}."
        return cls(message, "set FUSIONZOO_CACHE to another folder.", "FZ-D205")

    @classmethod
    def unreadable(cls, entry: Path, cause: OSError) -> CacheError:
        """A permission, the disk or a limit prevents that an entry of the cache is read, which may be intact.

        Fix: let this user read it, check the disk, or raise the limit on open files; or set FUSIONZOO_CACHE to another
        folder.
        """
        reason, change = os.strerror(cause.errno or 0), READ_FIXES.get(cause.errno or 0, "check the disk")
        message = f"The cache entry {entry} cannot be read: {reason}."
        return cls(message, f"{change}; or set FUSIONZOO_CACHE to another folder.", "FZ-D360")

    @classmethod
    def no_home(cls) -> CacheError:
        """The cache would be in the home folder of the user, who has none."""
        message = "There is no place for the cache: this user has no home folder, and FUSIONZOO_CACHE is not set."
        return cls(message, "set FUSIONZOO_CACHE to a folder.", "FZ-D361")

    @classmethod
    def no_inodes(cls, folder: Path) -> CacheError:
        """Return the error of a file system that has room for bytes, but not for another file."""
        return cls.unwritable(folder, ValueError("the file system holds as many files as it can (no free inodes)"))

    @classmethod
    def damaged_after_write(cls, entry: Path) -> CacheError:
        """Return the error of an entry that does not read back as it was written."""
        cause = ValueError("the entry does not read back as it was written; the disk may be failing")
        return cls.unwritable(entry, cause)


class DemoFolderError(ZooError):
    """The folder for the demo data holds a file that no earlier demo wrote."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(
            f"{folder} holds '{name}', which is not demo data. Nothing was written or deleted.",
            "give the demo an empty folder, or the folder of an earlier demo.",
            "FZ-D206",
        )
