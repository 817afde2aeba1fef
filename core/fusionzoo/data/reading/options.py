"""How the files of a channel are read: the dialect of delimited files, and what SageMaker says about them."""

from __future__ import annotations

from dataclasses import dataclass

from fusionzoo.data.data_settings import DataSettings


@dataclass(frozen=True)
class ReadOptions:
    """The settings `csv_delimiter`, `csv_quote`, `csv_escape` and `csv_header`, without the prefix.

    `content_type` is the type that SageMaker declares for the channel. `folder_name` is the name of the channel's
    folder, if that is not the name of the split. The limits are those of `max_file_gb`, `max_row_mb` and
    `max_expansion`.
    """

    delimiter: str = ","
    quote: str | None = None
    escape: str | None = None
    header: bool | tuple[str, ...] = True
    content_type: str | None = None
    folder_name: str | None = None
    max_file_bytes: float = 50e9
    max_row_bytes: int = 64_000_000
    max_expansion: float = 200.0

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
