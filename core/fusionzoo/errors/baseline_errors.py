"""The predictions of a baseline that an evaluation compares with."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import list_names, note_lookalikes, pluralize, quote_first

_SAME_ROWS = "score the rows of the input with the baseline, for example as the test channel of train_xgboost.py"


class BaselineError(ZooError):
    """A model cannot be compared with the predictions of a baseline."""

    @classmethod
    def missing_columns(cls, path: str, missing: Sequence[str], present: Sequence[str]) -> BaselineError:
        """The file lacks the ids, or the scores of a class, a label or a target of the model."""
        message = f"The baseline {path} lacks {pluralize(len(missing), 'column')}: {quote_first(missing)}"
        message += f"{note_lookalikes(missing, present)}."
        fix = f"give predictions with the same ids, classes and targets; its columns are {list_names(present, 200)}."
        return cls(message, fix, "FZ-J029")

    @classmethod
    def other_classes(cls, path: str, names: Sequence[str], known: Sequence[str]) -> BaselineError:
        """The file has scores of classes that the model does not know."""
        subject = pluralize(len(names), "column")
        message = f"The baseline {path} has {subject} of scores of other classes than the model: {quote_first(names)}"
        message += f"{note_lookalikes(names, known)}."
        fix = f"give predictions of the classes of the model: {list_names(known, 200)}."
        return cls(message, fix, "FZ-J030")

    @classmethod
    def missing_scores(cls, path: str, count: int, first: str) -> BaselineError:
        """Scores are missing, so that the metrics would not be those of all rows."""
        verb = "has" if count == 1 else "have"
        message = f"The baseline {path}: {pluralize(count, 'row')} {verb} a missing score, first in {first}."
        return cls(message, f"{_SAME_ROWS}.", "FZ-J031")

    @classmethod
    def invalid_scores(cls, path: str, cause: ZooError) -> BaselineError:
        """The scores are not probabilities."""
        message = f"The scores of the baseline {path} cannot be evaluated. {cause.parts[0]}"
        return cls(message, "give a file with predictions as a training job writes them.", "FZ-J032")

    @classmethod
    def duplicate_ids(cls, where: str, column: str, count: int, examples: Sequence[str | None]) -> BaselineError:
        """Ids occur more than once, and the order of the rows is not the same, so that rows cannot be matched."""
        subject = f"{where} has {pluralize(count, 'duplicate id')} in column '{column}'"
        message = f"{subject}, so its rows cannot be matched: {quote_first(examples)}."
        fix = "make the ids unique, or give the baseline and the input the same rows in the same order."
        return cls(message, fix, "FZ-J033")

    @classmethod
    def missing_rows(cls, path: str, column: str, count: int, examples: Sequence[str | None]) -> BaselineError:
        """Rows of the input have no prediction of the baseline."""
        verb = "is" if count == 1 else "are"
        subject = f"{pluralize(count, 'row')} of the input {verb} not in the baseline {path}"
        return cls(f"{subject}: {column} {quote_first(examples)}.", f"{_SAME_ROWS}.", "FZ-J034")

    @classmethod
    def other_rows(cls, path: str, column: str, count: int, examples: Sequence[str | None]) -> BaselineError:
        """The baseline has rows that the input has not."""
        verb = "is" if count == 1 else "are"
        subject = f"{pluralize(count, 'row')} of the baseline {path} {verb} not in the input"
        return cls(f"{subject}: {column} {quote_first(examples)}.", f"{_SAME_ROWS}.", "FZ-J035")

    @classmethod
    def other_labels(cls, path: str, column: str, count: int, examples: Sequence[str | None]) -> BaselineError:
        """The labels are not those of the input, so the predictions are those of other data."""
        verb = "has" if count == 1 else "have"
        subject = f"{pluralize(count, 'row')} of the baseline {path} {verb} another label than the input"
        return cls(f"{subject}: {column} {quote_first(examples)}.", f"{_SAME_ROWS}.", "FZ-J036")

    @classmethod
    def unknown_keys(cls, path: str, cause: ZooError) -> BaselineError:
        """The id or label columns cannot be read, or have labels that the model does not know."""
        message = f"The ids and labels of the baseline {path} cannot be used. {cause.parts[0]}"
        return cls(message, f"{_SAME_ROWS}.", "FZ-J037")

    @classmethod
    def no_rows(cls, path: str) -> BaselineError:
        """The file has a header, and no rows."""
        return cls(f"The baseline {path} has no rows.", f"{_SAME_ROWS}.", "FZ-J038")
