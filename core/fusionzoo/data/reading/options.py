"""How the files of a channel are read: the dialect of delimited files, and what SageMaker says about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fusionzoo.data.data_settings import DataSettings

RejectRow = Callable[[str, int, str, str], None]
"""Takes the file, the row number from 1, the column ("" if it is the whole row), and the reason."""


@dataclass(frozen=True)
class ReadOptions:
    """The settings `csv_delimiter`, `csv_quote`, `csv_escape` and `csv_header`, without the prefix.

    `content_type` is the type that SageMaker declares for the channel. `folder_name` is the name of the channel's
    folder, if that is not the name of the split. The limits are those of `max_file_gb`, `max_row_mb` and
    `max_expansion`. `max_scanned_rows` limits the rows of JSON in which columns are searched.

    `reject_row` is called for each row that its format does not allow, which is then left out; None: such a row is an
    error. With it, arrays and objects in those of `plain_columns` that are read from JSON are such rows too.

    `id_columns` are columns of JSON in which each value keeps its type. They are no features or labels.

    `optional_names` are names of `header` that a file may lack, all of them together: the labels of rows to score.

    `checks_first_row` is whether a first row that repeats the names of `header` is an error. A client of the server may
    state that there is no header; then it is a row.
    """

    delimiter: str = ","
    quote: str | None = None
    escape: str | None = None
    header: bool | tuple[str, ...] = True
    optional_names: tuple[str, ...] = ()
    checks_first_row: bool = True
    content_type: str | None = None
    folder_name: str | None = None
    max_file_bytes: float = 50e9
    max_row_bytes: int = 64_000_000
    max_expansion: float = 200.0
    max_scanned_rows: int | None = None
    reject_row: RejectRow | None = None
    plain_columns: frozenset[str] = frozenset()
    id_columns: frozenset[str] = frozenset()

    @classmethod
    def from_settings(cls, settings: DataSettings) -> ReadOptions:
        """Return the options that the settings of a job give."""
        header = settings.csv_header
        return cls(
            settings.csv_delimiter,
            settings.csv_quote,
            settings.csv_escape,
            header if isinstance(header, bool) else tuple(header),
        )

    @classmethod
    def for_scoring(cls, settings: DataSettings) -> ReadOptions:
        """Return the options for files that may lack labels, for a model that was trained with these settings."""
        labels = tuple(settings.label_columns)
        ids = frozenset([] if settings.id_name is None else [settings.id_name])
        id_columns = ids.difference(settings.feature_columns, labels)
        return replace(cls.from_settings(settings), optional_names=labels, id_columns=id_columns)

    @property
    def is_numbered(self) -> bool:
        """Whether the names of the columns are their numbers: `header` is False, or it is the list of the numbers."""
        if isinstance(self.header, bool):
            return not self.header
        return self.header == number_columns(len(self.header))

    def choose_names(self, width: int) -> tuple[str, ...]:
        """Return the names that `header` gives to the columns of a file of this width; none if it gives no names."""
        names = () if isinstance(self.header, bool) else self.header
        required = tuple(name for name in names if name not in self.optional_names)
        if required and width == len(required):
            return required
        return number_columns(width) if self.is_numbered else names


def number_columns(width: int) -> tuple[str, ...]:
    """Return the names of columns without names."""
    return tuple(map(str, range(width)))
