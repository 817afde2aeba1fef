"""How much of a split the preprocessor does not know: shares of missing, UNKNOWN and clipped values and of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.table.categories import MISSING, UNKNOWN
from fusionzoo.data.table.numbers import MAX_STANDARDIZED, find_clipped
from fusionzoo.data.text.text_tokenizer import TextTokenizer

# Shares above these cause a warning.
MAX_UNKNOWN = 0.3  # of the present values of a category column, or of the tokens, in val and test
MAX_UNKNOWN_IN_TRAIN = 0.5  # rare values and words of train are UNKNOWN too
MAX_MISSING_ABOVE_TRAIN = 0.3  # share of missing values minus that of train
TOKENS_AT_ONCE = 2**20


@dataclass(frozen=True)
class CategoryShares:
    """Of one category column: the share of missing values, and of UNKNOWN among the others."""

    missing: float
    unknown: float


@dataclass(frozen=True)
class NumberShares:
    """Of one number column: the share of missing values, and of values clipped to `MAX_STANDARDIZED` among the rest."""

    missing: float
    clipped: float


@dataclass(frozen=True)
class TextShares:
    """Of the text: the share of rows without text, of unknown tokens, and of tokens beyond `max_total_chunks`.

    `unknown_tokens` is None if the tokenizer has no unknown token.
    """

    missing: float
    unknown_tokens: float | None
    dropped_tokens: float


@dataclass(frozen=True)
class SplitReport:
    """The shares of one split, 0 to 1; columns by name."""

    categories: Mapping[str, CategoryShares]
    numbers: Mapping[str, NumberShares]
    text: TextShares | None

    def as_json(self) -> dict[str, Any]:
        """Return the split's entry of metrics.json."""
        return {
            "categories": {name: asdict(shares) for name, shares in self.categories.items()},
            "numbers": {name: asdict(shares) for name, shares in self.numbers.items()},
            "text": None if self.text is None else asdict(self.text),
        }


def report_split(split: EncodedSplit, preprocessor: Preprocessor) -> SplitReport:
    """Return the shares of a split that `preprocessor` encoded."""
    categories = {
        column.name: _category_shares(split.categories[:, i]) for i, column in enumerate(preprocessor.categories)
    }
    return SplitReport(categories, report_numbers(split, preprocessor), _text_shares(split, preprocessor))


def report_numbers(split: EncodedSplit, preprocessor: Preprocessor) -> dict[str, NumberShares]:
    """Return the shares of the number columns."""
    return {
        column.name: _number_shares(split.numbers[:, i], split.numbers_missing[:, i])
        for i, column in enumerate(preprocessor.numbers)
    }


def warn_of_shares(name: str, report: SplitReport, train: SplitReport) -> Iterator[str]:
    """Yield the warnings about the split called `name`, in comparison with train."""
    yield from warn_of_clipping(name, report.numbers)
    if name == "train":
        yield from _warn_of_unknown(report)
        return
    yield from warn_of_unknown_categories(name, {c: shares.unknown for c, shares in report.categories.items()})
    if report.text is not None:
        advice = ", or choose a tokenizer for this language: 'word' needs spaces between words."
        yield from warn_of_unknown_tokens(name, report.text.unknown_tokens, advice)
    yield from _warn_of_missing(name, report, train)


def warn_of_unknown_categories(name: str, shares: Mapping[str, float]) -> Iterator[str]:
    """Yield a warning for each category column of which a large share of the present values is UNKNOWN."""
    for column, share in shares.items():
        if share > MAX_UNKNOWN:
            yield (
                f"{name}: {share:.1%} of the values of category column '{column}' are UNKNOWN: train does not "
                "have them, or in fewer than min_category_count rows. Compare their spelling, case and spaces with "
                "train."
            )


def warn_of_unknown_tokens(name: str, share: float | None, advice: str = ".") -> Iterator[str]:
    """Yield a warning if a large share of the tokens is unknown; `advice` ends it. None: all tokens are known."""
    if share is not None and share > MAX_UNKNOWN:
        yield (
            f"{name}: {share:.1%} of the tokens are unknown to the tokenizer, so the model does not see these words. "
            f"Compare the language and the cleaning of the text with train{advice}"
        )


def warn_of_clipping(name: str, numbers: Mapping[str, NumberShares]) -> Iterator[str]:
    """Yield a warning for each number column with clipped values."""
    for column, shares in numbers.items():
        if shares.clipped:
            yield (
                f"{name}: {shares.clipped:.2%} of the values of number column '{column}' are more than "
                f"{MAX_STANDARDIZED:,g} standard deviations from the mean of train and were clipped. Check their unit, "
                "and correct them."
            )


def _warn_of_unknown(train: SplitReport) -> Iterator[str]:
    for column, shares in train.categories.items():
        if shares.unknown > MAX_UNKNOWN_IN_TRAIN:
            yield (
                f"train: {shares.unknown:.1%} of the values of category column '{column}' are UNKNOWN, because they "
                "occur in fewer than min_category_count rows. Lower min_category_count, group rare values, or leave "
                "the column out."
            )
    if train.text is not None and (train.text.unknown_tokens or 0) > MAX_UNKNOWN_IN_TRAIN:
        yield (
            f"train: {train.text.unknown_tokens:.1%} of the tokens are unknown to the tokenizer. Choose a tokenizer "
            "for this language ('word' needs spaces between words), or lower word_min_count."
        )


def _warn_of_missing(split: str, report: SplitReport, train: SplitReport) -> Iterator[str]:
    columns: Mapping[str, CategoryShares | NumberShares] = {**report.categories, **report.numbers}
    train_columns: Mapping[str, CategoryShares | NumberShares] = {**train.categories, **train.numbers}
    shares = [
        (f"column '{column}'", values.missing, train_columns[column].missing) for column, values in columns.items()
    ]
    if report.text is not None and train.text is not None:
        shares.append(("the text", report.text.missing, train.text.missing))
    for column, missing, missing_in_train in shares:
        if missing - missing_in_train > MAX_MISSING_ABOVE_TRAIN:
            yield (
                f"{split}: {missing:.1%} of the values of {column} are missing, but {missing_in_train:.1%} in train. "
                "Check how the two were extracted."
            )


def _category_shares(ids: np.ndarray) -> CategoryShares:
    missing, unknown = int(np.count_nonzero(ids == MISSING)), int(np.count_nonzero(ids == UNKNOWN))
    return CategoryShares(missing / max(1, len(ids)), unknown / max(1, len(ids) - missing))


def _number_shares(values: np.ndarray, is_missing: np.ndarray) -> NumberShares:
    missing, clipped = int(np.count_nonzero(is_missing)), int(np.count_nonzero(find_clipped(values)))
    return NumberShares(missing / max(1, len(values)), clipped / max(1, len(values) - missing))


def _text_shares(split: EncodedSplit, preprocessor: Preprocessor) -> TextShares | None:
    if preprocessor.text is None:
        return None
    unknown, tokens = count_tokens(split, preprocessor.text.tokenizer)
    unknown_share = None if unknown is None else unknown / max(1, tokens)
    return TextShares(split.empty_texts / max(1, len(split)), unknown_share, split.dropped_share)


def count_tokens(split: EncodedSplit, tokenizer: TextTokenizer) -> tuple[int | None, int]:
    """Return the number of unknown tokens, None if the tokenizer has no unknown token, and that of all tokens."""
    special_per_chunk = len(tokenizer.prefix) + len(tokenizer.suffix)
    placeholders = 0 if special_per_chunk else split.empty_texts  # an empty text is one token then
    tokens = len(split.tokens) - special_per_chunk * (len(split.chunk_starts) - 1) - placeholders
    if tokenizer.unknown_id is None:
        return None, tokens
    blocks = range(0, len(split.tokens), TOKENS_AT_ONCE)
    unknown = sum(
        int(np.count_nonzero(split.tokens[start : start + TOKENS_AT_ONCE] == tokenizer.unknown_id)) for start in blocks
    )
    return unknown - placeholders, tokens
