"""Checks that every input of a row affects its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from fusionzoo.conformance.forward import MIN_CHANGE, build_trained_briefly, compute_logits, measure_change
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import (
    FIRST_VALUE,
    MAX_CHUNKS,
    MISSING,
    UNKNOWN,
    Row,
    make_batch,
    make_rows,
    replace_tokens,
)
from fusionzoo.nn.schema import InputSpec

ROWS = 12


def check_every_input_affects_logits(subject: Subject) -> None:
    """Each input affects the logits: a word of any chunk, each category, each number.

    Rounding noise does not count. Neither does, in a model for classification, an equal change of all logits of a row.
    """
    models, rows = _build_models(subject), make_rows(subject.spec, ROWS, seed=4)
    for name, change in _changes(subject.spec):
        if not _differs(models, subject, rows, [change(row) for row in rows]):
            raise ConformanceError(
                f"{name} has no effect on the {_outputs(subject)} of any of {ROWS} rows, so the model cannot learn "
                "from it. Fix: use this input in forward, with a last layer of spec.num_outputs outputs"
            )


def check_missing_numbers(subject: Subject) -> None:
    """A missing number and the number 0 give different logits, and rows without any number give finite ones."""
    spec = subject.spec
    if not spec.numbers:
        return
    models, rows = _build_models(subject), make_rows(spec, ROWS, seed=4)
    for i, number in enumerate(spec.numbers):
        present, missing = (_with_number(rows, i, flag) for flag in (False, True))
        if not _differs(models, subject, present, missing):
            raise ConformanceError(
                f"the number '{number.name}' gives the same logits for missing and for 0: its value is 0 in both. "
                "Fix: use batch.numbers_missing in forward"
            )
    fields = len(spec.numbers)
    empty = [replace(row, numbers=np.zeros(fields, np.float32), missing=np.ones(fields, bool)) for row in rows]
    if not bool(compute_logits(models[0], make_batch(spec, empty)).isfinite().all()):
        raise ConformanceError(
            "rows without any number have logits that are not finite. Fix: look for a mean over an empty set"
        )


def check_missing_and_unknown_categories(subject: Subject) -> None:
    """MISSING (id 0), UNKNOWN (id 1) and a known value of a category give different logits."""
    models, rows = _build_models(subject), make_rows(subject.spec, ROWS, seed=4)
    for i, category in enumerate(subject.spec.categories):
        kinds = {"MISSING": MISSING, "UNKNOWN": UNKNOWN, "a known value": FIRST_VALUE}
        for one, other in (("MISSING", "UNKNOWN"), ("MISSING", "a known value"), ("UNKNOWN", "a known value")):
            if not _differs(models, subject, *(_with_category(rows, i, kinds[kind]) for kind in (one, other))):
                raise ConformanceError(
                    f"{one} and {other} of the category '{category.name}' give the same logits. "
                    "Fix: embed each id separately (0 = MISSING, 1 = UNKNOWN, 2.. = values)"
                )


def _build_models(subject: Subject) -> tuple[nn.Module, nn.Module]:
    """Return the model after a few training steps, and with its initial weights.

    Each of them can hide an input that the model reads: layers that start with zeros do, and so do trained weights of
    a sparse choice of fields, such as a sparsemax.
    """
    return build_trained_briefly(subject), subject.build()


def _differs(models: Sequence[nn.Module], subject: Subject, one: Sequence[Row], other: Sequence[Row]) -> bool:
    """Return whether one of the models gives rows other outputs than the same rows with a change."""
    batches = [make_batch(subject.spec, rows) for rows in (one, other)]
    pairs = ([compute_logits(model, batch) for batch in batches] for model in models)
    return any(measure_change(first, second, subject.has_classes) > MIN_CHANGE for first, second in pairs)


def _outputs(subject: Subject) -> str:
    return "probabilities" if subject.has_classes else "outputs"


def _changes(spec: InputSpec) -> Iterator[tuple[str, Callable[[Row], Row]]]:
    """Yield a description of each change, and the function that applies it to a row."""
    if spec.text is not None:
        yield "the first word of a text", lambda row: _with_word(row, 0, 0)
        yield "the last word of a text of one chunk", _last_word(1)
        for chunks in range(2, MAX_CHUNKS + 1):
            yield f"the last word of a text of {chunks} chunks", _last_word(chunks)
    for i, category in enumerate(spec.categories):
        yield f"the category '{category.name}'", _next_value(i, category.cardinality)
    for i, number in enumerate(spec.numbers):
        yield f"the number '{number.name}'", _next_number(i)


def _with_word(row: Row, chunk: int, word: int) -> Row:
    chunks = [tokens.copy() for tokens in row.chunks]
    chunks[chunk][word] = replace_tokens(chunks[chunk])[word]
    return replace(row, chunks=tuple(chunks))


def _last_word(chunks: int) -> Callable[[Row], Row]:
    return lambda row: _with_word(row, -1, -1) if len(row.chunks) == chunks else row


def _next_value(position: int, cardinality: int) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        categories = row.categories.copy()
        if categories[position] >= FIRST_VALUE:
            known = cardinality - FIRST_VALUE
            categories[position] = FIRST_VALUE + (categories[position] - FIRST_VALUE + 1) % known
        return replace(row, categories=categories)

    return change


def _next_number(position: int) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        numbers = row.numbers.copy()
        if not row.missing[position]:
            numbers[position] += 1
        return replace(row, numbers=numbers)

    return change


def _with_number(rows: Sequence[Row], position: int, is_missing: bool) -> list[Row]:
    """Return the rows with the value 0 at a position, present or missing."""
    changed = []
    for row in rows:
        numbers, missing = row.numbers.copy(), row.missing.copy()
        numbers[position], missing[position] = 0, is_missing
        changed.append(replace(row, numbers=numbers, missing=missing))
    return changed


def _with_category(rows: Sequence[Row], position: int, value: int) -> list[Row]:
    changed = []
    for row in rows:
        categories = row.categories.copy()
        categories[position] = value
        changed.append(replace(row, categories=categories))
    return changed
