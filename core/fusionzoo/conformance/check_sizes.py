"""The check that a model is sized from the spec: it also works with much larger sizes than the other checks use."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusionzoo.conformance.forward import compute_logits, compute_loss, run_backward, trainable_parameters
from fusionzoo.conformance.results import ConformanceError, describe_cause
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import (
    SMALL_SIZES,
    Sizes,
    make_batch,
    make_rows,
    make_spec,
    with_all_chunks,
    with_highest_ids,
)
from fusionzoo.errors import SettingError
from fusionzoo.nn.schema import InputSpec
from fusionzoo.settings import Modality

ROWS = 8


@dataclass(frozen=True)
class LargeSize:
    """A size that the other checks do not use: what is large, the sizes of the spec, and what to size by it."""

    title: str
    sizes: Sizes
    fix: str
    modality: Modality | None  # that the model must read; None: any


LARGE = Sizes(vocab_size=5_000, max_tokens=96, max_chunks=40, cardinality=300, added_fields=40)
NUM_OUTPUTS = 100
OTHER_SIZES = (SMALL_SIZES, Sizes(num_outputs=2), Sizes(num_outputs=5))  # of the other checks
LARGE_SIZES = (
    LargeSize(
        f"a vocabulary of {LARGE.vocab_size:,} tokens",
        Sizes(vocab_size=LARGE.vocab_size),
        "size embeddings of tokens by spec.text.vocab_size",
        "text",
    ),
    LargeSize(
        f"chunks of {LARGE.max_tokens} tokens",
        Sizes(max_tokens=LARGE.max_tokens),
        "size positions by spec.text.max_tokens",
        "text",
    ),
    LargeSize(
        f"a category of {LARGE.cardinality} ids",
        Sizes(cardinality=LARGE.cardinality),
        "size embeddings of a category by its cardinality in spec.categories",
        "table",
    ),
    LargeSize(
        f"{LARGE.added_fields} more categories and numbers",
        Sizes(added_fields=LARGE.added_fields),
        "size layers over fields by len(spec.categories) and len(spec.numbers)",
        "table",
    ),
    LargeSize(
        f"rows of {LARGE.max_chunks} chunks",
        Sizes(max_chunks=LARGE.max_chunks),
        "size positions of chunks by spec.text.max_chunks",
        "text",
    ),
    LargeSize(
        f"{NUM_OUTPUTS} outputs",
        Sizes(num_outputs=NUM_OUTPUTS),
        "size layers over outputs by spec.num_outputs",
        None,
    ),
)


def check_layers_are_sized_from_the_spec(subject: Subject) -> None:
    """Layers are sized from the spec: larger vocabularies, more tokens, chunks, values, fields and outputs work.

    Unless the model rejects a size by a SettingError.
    """
    error = find_size_error(subject, replace(LARGE, num_outputs=NUM_OUTPUTS))
    if error is None or any(find_size_error(subject, sizes) is not None for sizes in OTHER_SIZES):
        return  # the other checks report it
    sizes = [size for size in LARGE_SIZES if size.modality is None or size.modality in subject.settings.reads]
    for size in sizes:
        cause = find_size_error(subject, size.sizes)
        if cause is not None and not isinstance(cause, SettingError):
            raise ConformanceError(_describe(subject, size.title, size.fix, cause)) from cause
    if not isinstance(error, SettingError):
        titles = " and ".join(size.title for size in sizes)
        raise ConformanceError(_describe(subject, titles, "size every layer by the spec", error)) from error


def _describe(subject: Subject, title: str, fix: str, error: Exception) -> str:
    return (
        f"a layer is not sized from the spec: the model works with the small sizes of the other checks, but fails with "
        f"{title}, as a job may have. Fix: {fix}, or raise a SettingError for sizes that the model cannot have"
        f"\n  {describe_cause(error, subject.module)}"
    )


def find_size_error(subject: Subject, sizes: Sizes) -> Exception | None:
    """Return the exception with which a model of these sizes fails on a batch of the highest ids, or None."""
    return find_spec_error(subject, make_sized_spec(subject, sizes))


def find_spec_error(subject: Subject, spec: InputSpec) -> Exception | None:
    """Return the exception with which a model of these inputs fails on a batch of the highest ids, or None."""
    try:
        _run(subject, spec)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return error
    return None


def make_sized_spec(subject: Subject, sizes: Sizes) -> InputSpec:
    """Return the spec of the subject with other sizes."""
    tokenizer = {} if subject.spec.text is None else {"tokenizer": subject.spec.text.tokenizer}
    return make_spec(subject.settings.reads, **tokenizer, sizes=sizes)


def _run(subject: Subject, spec: InputSpec) -> None:
    """Build the model, and run forward and backward."""
    model, rows = subject.build(spec), make_rows(spec, ROWS, seed=12)
    rows = [with_highest_ids(spec, row) if i % 2 else row for i, row in enumerate(rows)]
    batch = make_batch(spec, [with_all_chunks(spec, rows[0]), *rows[1:]])
    logits = compute_logits(model, batch)
    if logits.shape != (ROWS, spec.num_outputs) or not bool(logits.isfinite().all()):
        raise ConformanceError(f"the logits have shape {list(logits.shape)}, or are not finite")
    loss = compute_loss(model.train(), batch)
    if trainable_parameters(model):
        run_backward(loss, model)
