"""How the files of a channel are read: the dialect of delimited files."""

from __future__ import annotations

from dataclasses import dataclass

from fusionzoo.data.data_settings import DataSettings


@dataclass(frozen=True)
class ReadOptions:
    """The settings `csv_delimiter`, `csv_quote`, `csv_escape` and `csv_header`, without the prefix."""

    delimiter: str = ","
    quote: str | None = None
    escape: str | None = None
    header: bool | tuple[str, ...] = True

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
