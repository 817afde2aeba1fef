"""The check that a model of large sizes distinguishes its inputs, which it could clamp or cut off without an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from fusionzoo.conformance.check_sizes import LARGE, find_size_error, make_sized_spec
from fusionzoo.conformance.forward import BRIEF_STEPS, MIN_CHANGE, compute_logits, measure_change, train_on
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import SMALL_SIZES, Row, Sizes, make_batch, make_plain_rows, make_tokens
from fusionzoo.nn.schema import InputSpec

ROWS, VARIANTS = 6, 4  # of each row, variants that differ in one input only


def check_large_inputs_affect_logits(subject: Subject) -> None:
    """With large sizes too, each input affects the logits: the highest ids, the end of a chunk, the last fields."""
    both_sizes = (SMALL_SIZES, LARGE)
    if any(find_size_error(subject, sizes) is not None for sizes in both_sizes):
        return  # check_layers_are_sized_from_the_spec and the checks of small sizes report it
    small, large = (_measure_effects(subject, sizes) for sizes in both_sizes)
    for (_, small_effect), (title, effect) in zip(small, large, strict=True):
        if effect <= MIN_CHANGE < small_effect:
            raise ConformanceError(
                f"{title} has no effect on the logits, so the model cannot distinguish rows of a large job; with small "
                "sizes, it has one. Fix: do not clamp ids or cut off inputs; size layers by the spec"
            )


def _measure_effects(subject: Subject, sizes: Sizes) -> list[tuple[str, float]]:
    """Return each input, and how much it changes the logits of the initial or of the briefly trained model.

    Layers that start with zeros hide inputs at first, and a sparse choice of fields, such as a sparsemax, later.
    """
    spec = make_sized_spec(subject, sizes)
    inputs = [part for row in make_plain_rows(spec, ROWS, seed=13) for part in _vary_inputs(spec, row)]
    batch = make_batch(spec, [row for _, rows in inputs for row in rows])
    effects = dict.fromkeys((title for title, _ in inputs), 0.0)
    for steps in (0, BRIEF_STEPS):
        logits = compute_logits(train_on(subject.build(spec), [batch] * steps), batch)
        for (title, _), part in zip(inputs, torch.split(logits, VARIANTS), strict=True):
            effect = measure_change(part, part[:1], subject.has_classes)
            effects[title] = max(effects[title], effect)
    return list(effects.items())


def _vary_inputs(spec: InputSpec, row: Row) -> Iterator[tuple[str, list[Row]]]:
    """Yield the title of each input, and variants of the row that differ in nothing else.

    They have different labels, so that training distinguishes them also if weights start with zeros.
    """
    variants = range(VARIANTS)
    rows = [replace(row, label=i % spec.num_outputs) for i in variants]
    if spec.text is not None:
        size, length = spec.text.vocab_size, spec.text.max_tokens
        start, end = np.split(np.resize(np.arange(2, 40, dtype=np.int32), length), [length * 3 // 4])
        starts = [np.full_like(start, size - 1 - i) for i in variants]
        yield (
            f"which of the highest ids a token has ({size:,} ids)",
            _with_chunks(rows, [(part, end) for part in starts]),
        )
        rng = np.random.default_rng(13)
        ends = [make_tokens(rng, len(end), size) for _ in variants]
        yield f"the last quarter of a chunk of {length} tokens", _with_chunks(rows, [(start, part) for part in ends])
    if spec.categories:
        sizes = [category.cardinality for category in spec.categories]
        for kind, position in (("largest", int(np.argmax(sizes))), ("last", len(sizes) - 1)):
            title = f"the value of the {kind} category ({sizes[position]} ids)"
            values = [_replace_value(row.categories, position, sizes[position] - 1 - i) for i in variants]
            yield title, [replace(r, categories=v) for r, v in zip(rows, values, strict=True)]
    if spec.numbers:
        last = len(spec.numbers) - 1
        numbers = [_replace_value(row.numbers, last, i) for i in variants]
        yield (
            "the value of the last number",
            [replace(r, numbers=v) for r, v in zip(rows, numbers, strict=True)],
        )


def _with_chunks(rows: Sequence[Row], parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Row]:
    """Return the rows, each with one chunk that is joined from two parts."""
    return [replace(row, chunks=(np.concatenate(pair),)) for row, pair in zip(rows, parts, strict=True)]


def _replace_value(values: np.ndarray, position: int, value: float) -> np.ndarray:
    changed: np.ndarray = values.copy()
    changed[position] = value
    return changed
