"""Data: channels, part files, columns, rows, tokenizers, word vectors, the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.errors.base import Problem, ProblemsError, ZooError
from fusionzoo.errors.wording import nearest_names, pluralize, quoted, short, shown_examples


class DataError(ProblemsError):
    """The data cannot be used as the settings say."""

    heading = "The data cannot be used: {count}."


@dataclass(frozen=True)
class ValuesProblem(Problem):
    """Values of one column that cannot be used; those of several blocks of a file are one fault."""

    noun: str = ""
    description: str = ""
    count: int = 0
    examples: tuple[tuple[str, object], ...] = ()
    """The first rows and their values."""

    @classmethod
    def of(
        cls, where: str, what: tuple[str, str], count: int, examples: Sequence[tuple[str, object]], fix: str, code: str
    ) -> ValuesProblem:
        """Return the problem of `count` values; `what` is a noun and what is wrong, such as ("label", "null")."""
        noun, description = what
        shown = tuple(examples[:3])
        message = f"{pluralize(count, noun)} {description}: {shown_examples(shown)}"
        return cls(where, message, fix, code, noun, description, count, shown)

    def merged_with(self, other: ValuesProblem) -> ValuesProblem:
        """Return this problem and the same one of a later block as one."""
        what, count = (self.noun, self.description), self.count + other.count
        return self.of(self.where, what, count, self.examples + other.examples, self.fix, self.code)


class ProblemLog:
    """Gathers the faults of several steps, so that a user sees all of them at once."""

    def __init__(self) -> None:
        self._faults: dict[object, Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """The faults so far, in the order in which they were found."""
        return list(self._faults.values())

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the faults of a DataError raised in the block, and go on after it."""
        try:
            yield
        except DataError as error:
            for fault in error.problems:
                self.keep(fault)

    def keep(self, fault: Problem) -> None:
        """Keep a fault; of the same values of a file there is one, however many blocks they stand in."""
        key = (fault.where, fault.description) if isinstance(fault, ValuesProblem) else fault
        earlier = self._faults.get(key)
        if isinstance(earlier, ValuesProblem) and isinstance(fault, ValuesProblem):
            fault = earlier.merged_with(fault)
        self._faults[key] = fault

    def raise_if_any(self) -> None:
        """Raises DataError with all faults kept so far."""
        if self._faults:
            raise DataError(self.problems)


def channel_missing(name: str, folder: Path) -> Problem:
    or_else = "" if name == "train" else f", or set {name}_fraction to take a share of train"
    return Problem(f"channel '{name}'", f"there is no folder {folder}", f"mount the {name} data there{or_else}")


def split_twice(name: str, folder: Path) -> Problem:
    return Problem(
        f"channel '{name}'", f"there is both {folder} and {name}_fraction", f"remove the channel or {name}_fraction"
    )


def channel_empty(name: str, folder: Path) -> Problem:
    return Problem(f"channel '{name}'", f"{folder} holds no part file", "check the channel's S3 prefix")


def no_rows(name: str) -> Problem:
    return Problem(f"channel '{name}'", "its part files hold no row", "check the step that wrote them")


def channel_changed(name: str) -> Problem:
    return Problem(f"channel '{name}'", "its rows changed while the job read them", "start the job on finished files")


def no_row_for_part(name: str, part: str, share: float, rows: int) -> Problem:
    problem = f"{part}_fraction = {share:g} of its {pluralize(rows, 'row')} is none, as each class keeps a row in train"
    return Problem(f"channel '{name}'", problem, f"raise it, or mount a channel '{part}'")


def no_group_for_part(name: str, part: str, share: float, rows: int, group: str, sizes: Sequence[int]) -> Problem:
    return Problem(
        f"channel '{name}', column '{group}'",
        f"no group is left for {part}_fraction = {share:g}: there {'is' if len(sizes) == 1 else 'are'} "
        f"{pluralize(len(sizes), 'group')} of {min(sizes)} to {max(sizes)} of the {pluralize(rows, 'row')}, and each "
        "class keeps a row in train",
        f"raise it, choose a group_field of smaller groups, or mount a channel '{part}'",
    )


def part_of_unknown_type(name: str, suffixes: Sequence[str]) -> Problem:
    return Problem(name, "its name does not say what it is", f"use one of {', '.join(suffixes)}, each also with .gz")


def part_unreadable(name: str, kind: str, cause: Exception) -> Problem:
    text = " ".join(str(cause).split())[:200]
    return Problem(name, f"it cannot be read as {kind} ({text})", "it may be truncated, or not what its name says")


def part_not_utf8(name: str, cause: Exception) -> Problem:
    return Problem(name, f"it is not UTF-8 text ({short(cause)})", "write it as UTF-8; or it is not what its name says")


def part_changed(path: Path) -> Problem:
    return Problem(str(path), "it changed while the job read it", "let writers finish, then start the job again")


def column_not_utf8(name: str, column: str, cause: Exception) -> Problem:
    return Problem(
        f"{name}, column '{column}'", f"it holds text that is not UTF-8 ({short(cause)})", "write it as UTF-8"
    )


def ids_without_common_type(column: str, kinds: Mapping[str, str]) -> Problem:
    seen = ", ".join(f"{kind} in {name}" for kind, name in kinds.items())
    return Problem(
        f"column '{column}'", f"its part files hold ids of types that do not go together: {seen}", "write one"
    )


def column_missing(name: str, column: str, found: Sequence[str]) -> Problem:
    close = nearest_names(column, found, 3)
    meant = f"did you mean {quoted(close)}" if close else f"it has {quoted(n[:60] for n in found[:10]) or 'none'}"
    return Problem(name, f"there is no column '{column}'", meant)


def column_twice(name: str, column: str) -> Problem:
    return Problem(name, f"column '{column}' stands there more than once", "give each column its own name")


def column_of_wrong_type(name: str, column: str, kind: str, wanted: str) -> Problem:
    return Problem(f"{name}, column '{column}'", f"it holds {kind}, not {wanted}", "convert it, or leave it out")


def rows_of_other_width(name: str, expected: int, count: int, examples: Sequence[tuple[int, int]]) -> Problem:
    lines = ", ".join(f"line {line} ({width})" for line, width in examples)
    more = ", ..." if count > len(examples) else ""
    return Problem(
        name,
        f"{pluralize(count, 'row')} with another number of columns than the header's {expected}: {lines}{more}",
        "the file may be truncated, or a text that holds the delimiter is not in quotes",
    )


def line_not_delimited(name: str, line: int, cause: Exception) -> Problem:
    return Problem(
        f"{name} line {line}",
        f"a text in quotes there does not end as it should ({cause})",
        "the file is truncated, or a quote within a text is not doubled",
    )


def line_not_json(name: str, line: int, cause: Exception) -> Problem:
    return Problem(f"{name} line {line}", f"it is not JSON ({cause})", "write one JSON object per line")


def line_not_object(name: str, line: int) -> Problem:
    return Problem(f"{name} line {line}", "it is not a JSON object", 'write one object per line, like {"id": 1}')


def not_numbers(name: str, column: str, count: int, examples: Sequence[tuple[str, object]]) -> Problem:
    remedy = "mend the values (empty is missing), or put the column into cat_field_list"
    return ValuesProblem.of(f"{name}, column '{column}'", ("value", "not a finite number"), count, examples, remedy, "")


def column_without_numbers(name: str, column: str, kind: str, is_category: bool) -> Problem:
    remedy = "convert it to numbers, or leave it out"
    if is_category:
        remedy = "convert it to numbers, such as days since a fixed day, or put it into cat_field_list"
    return Problem(f"{name}, column '{column}'", f"it holds {kind}, not numbers", remedy)


def no_text(columns: Sequence[str]) -> Problem:
    return Problem(f"train, column {quoted(columns)}", "no row has any text", "check text_name and the cleaning steps")


def no_frequent_word(min_count: int) -> Problem:
    return Problem("train", f"no word occurs {min_count} times", "lower word_min_count")


def one_class_only(column: str, counts: Mapping[str, int]) -> Problem:
    seen = ", ".join(f"'{label}' in all {count} rows" for label, count in counts.items())
    return Problem(
        f"train, column '{column}'", f"there is one class only: {seen}", "a classifier needs two; check label_name"
    )


def balance_without_rows(column: str, absent: Sequence[object]) -> Problem:
    problem = f"class_weights: balanced divides by the rows of each class, and there are none of {quoted(absent)}"
    return Problem(f"train, column '{column}'", problem, "add such rows, or give class_weights as a list")


def labels_null(name: str, column: str, count: int, rows: Sequence[str]) -> Problem:
    examples = [(row, None) for row in rows]
    return ValuesProblem.of(f"{name}, column '{column}'", ("label", "null"), count, examples, "drop these rows", "")


def labels_infinite(name: str, column: str, count: int, rows: Sequence[str]) -> Problem:
    examples = [(row, None) for row in rows]
    return ValuesProblem.of(f"{name}, column '{column}'", ("label", "infinite"), count, examples, "drop these rows", "")


def labels_unseen(
    name: str, column: str, count: int, examples: Sequence[tuple[str, object]], classes: Sequence[object]
) -> Problem:
    remedy = f"mend them, or put such rows into train; known are {quoted(classes[:10])}"
    return ValuesProblem.of(f"{name}, column '{column}'", ("label", "never seen in train"), count, examples, remedy, "")


def labels_against_num_classes(
    column: str, counts: Mapping[str, int], first_row: Mapping[str, str], num_classes: int
) -> Problem:
    shown = sorted(counts.items(), key=lambda item: item[1])[:10]
    seen = ", ".join(f"'{label}' ({count} rows, first {first_row[label]})" for label, count in shown)
    return Problem(
        f"train, column '{column}'",
        f"num_classes is {num_classes}, but there are {len(counts)} labels: {seen}",
        "mend the labels or num_classes; `classes` names them where train lacks one",
    )


def labels_outside_classes(
    column: str, extra: Sequence[str], first_row: Mapping[str, str], classes: Sequence[object]
) -> Problem:
    seen = ", ".join(f"'{label}' (first {first_row[label]})" for label in extra[:10])
    return Problem(f"train, column '{column}'", f"not in `classes` ({quoted(classes)}): {seen}", "mend either")


class TokenizerError(ZooError):
    """The tokenizer that the settings name is not to be had."""

    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(
            f"Tokenizer '{name}' could not be loaded ({type(cause).__name__}: {short(cause)}).\n"
            "Fix: give a Hugging Face model name that the hub can be asked for, a folder that holds tokenizer.json, "
            "or 'word' for a vocabulary fitted on the training text."
        )


class EmbeddingsError(ZooError):
    """Word vectors could not be had from where `embeddings` says."""

    @classmethod
    def unknown(cls, given: str, methods: Sequence[str]) -> EmbeddingsError:
        return cls(f"embeddings: '{given}' is neither a file nor one of {', '.join(methods)}.\nFix: give one of them.")

    @classmethod
    def unreadable(cls, path: str, cause: Exception) -> EmbeddingsError:
        return cls(
            f"embeddings: {path} could not be read ({type(cause).__name__}: {short(cause)}).\n"
            "Fix: give vectors in word2vec or GloVe text format, or word2vec .bin, plain or gzip."
        )

    @classmethod
    def no_word_known(cls, path: str) -> EmbeddingsError:
        return cls(
            f"embeddings: {path} has a vector for none of the words in train.\n"
            "Fix: words are lower-cased; give vectors of the same language, or embeddings: word2vec."
        )


def too_many_categories(column: str, count: int) -> Problem:
    return Problem(
        f"train, column '{column}'",
        f"it has more than {count:,} different values",
        "it is an id or free text: put it into text_name, or leave it out",
    )


class CacheError(ZooError):
    """Encoded data cannot be kept in the cache."""

    def __init__(self, folder: Path, cause: Exception) -> None:
        reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else short(cause)
        super().__init__(
            f"The cache {folder} cannot be written: {reason}.\nFix: name another folder in FUSIONZOO_CACHE."
        )

    @classmethod
    def damaged_at_once(cls, entry: Path) -> CacheError:
        """An entry that was just written does not read back."""
        return cls(entry, ValueError("what was written does not read back; the disk may be failing"))


class DemoFolderError(ZooError):
    """A channel that the demo's data should fill holds something else; nothing was changed."""

    def __init__(self, folder: Path, found: str) -> None:
        super().__init__(
            f"{folder} holds '{found}', which the demo did not write, so nothing was written or deleted.\n"
            "Fix: give the demo an empty folder, or one that an earlier demo filled."
        )
