"""Checks of fields as few jobs have them: without values, without quantile edges, and with unusual names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fusionzoo.conformance.check_sizes import find_spec_error
from fusionzoo.conformance.results import ConformanceError, describe_cause
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import FIRST_VALUE
from fusionzoo.errors import SettingError
from fusionzoo.nn.schema import InputSpec

CATEGORY_NAMES = ("type", "order.kind")  # `nn.ModuleDict` rejects both as keys
NUMBER_NAMES = ("order.total", "keys", "unit price, $")
EDGES_FIX = "size layers by len(field.edges), which may be 0 or 1; replace too few edges, for example by (-1.0, 1.0)"


def check_smallest_fields(subject: Subject) -> None:
    """The smallest fields of a job work: categories without values, and numbers with one quantile edge or none.

    They are columns that are empty or constant in train. A text without a maximum number of chunks works, too. Unless
    the model rejects them by a SettingError.
    """
    if find_spec_error(subject, subject.spec) is not None:  # which the other checks report
        return
    for title, fix, spec in _make_smallest_specs(subject.spec):
        cause = find_spec_error(subject, spec)
        if cause is not None and not isinstance(cause, SettingError):
            raise ConformanceError(
                f"the model works with the fields of the other checks, but fails with {title}. Fix: {fix}, or raise a "
                f"SettingError for fields that the model cannot have\n  {describe_cause(cause, subject.module)}"
            ) from cause


def _make_smallest_specs(spec: InputSpec) -> Iterator[tuple[str, str, InputSpec]]:
    """Yield the title of each kind of smallest field, what to correct if it fails, and a spec with it."""
    if spec.categories:
        first, *others = spec.categories
        empty = (replace(first, cardinality=FIRST_VALUE), *others)
        fix = "size layers by the cardinality, which is at least 2"
        yield "a category without values in train (cardinality 2)", fix, replace(spec, categories=empty)
    if spec.numbers:
        number, *rest = spec.numbers
        kinds = (("a number without values in train (edges=())", ()), ("a constant number (one edge)", (0.0,)))
        for title, edges in kinds:
            changed = replace(number, mean=0.0, std=1.0, edges=edges)
            yield title, EDGES_FIX, replace(spec, numbers=(changed, *rest))
        empty_numbers = tuple(replace(each, edges=()) for each in spec.numbers)
        yield "numbers that are all without values in train (edges=())", EDGES_FIX, replace(spec, numbers=empty_numbers)
    if spec.text is not None:
        unlimited = replace(spec.text, max_chunks=None)
        fix = "do not size layers by spec.text.max_chunks, which is None in jobs with max_total_chunks: null"
        yield "a text without a maximum number of chunks (max_chunks=None)", fix, replace(spec, text=unlimited)


def check_column_names(subject: Subject) -> None:
    """Columns may have any names, such as `type` and `order.total`, which torch rejects as names of layers."""
    spec = subject.spec
    renamed = replace(
        spec,
        categories=tuple(replace(field, name=CATEGORY_NAMES[i]) for i, field in enumerate(spec.categories)),
        numbers=tuple(replace(field, name=NUMBER_NAMES[i]) for i, field in enumerate(spec.numbers)),
    )
    if renamed == spec or find_spec_error(subject, spec) is not None:  # which the other checks report
        return
    cause = find_spec_error(subject, renamed)
    if cause is not None and not isinstance(cause, SettingError):
        names = ", ".join((*CATEGORY_NAMES, *NUMBER_NAMES))
        raise ConformanceError(
            f"the model works, but not with columns called {names}. Fix: keep layers of fields in an nn.ModuleList or "
            "nn.ParameterList, in the order of the spec, and use no column names as names of layers"
            f"\n  {describe_cause(cause, subject.module)}"
        ) from cause
