"""Paths that a user gives to options and environment variables."""

from __future__ import annotations

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import cut


class PathError(ZooError):
    """An option or environment variable does not give the path of a file or folder on this machine."""

    @classmethod
    def url(cls, name: str, text: str) -> PathError:
        """The value is a URL, such as that of S3, which would be taken for a folder of this machine."""
        return cls(
            f"{name} is the URL {cut(text, 300)}, but only files and folders of this machine are read and written.",
            "give a local path. Download what is read first, or mount it as a channel of the job; upload what is "
            "written afterwards.",
            "FZ-J040",
        )

    @classmethod
    def stream(cls, name: str) -> PathError:
        """The value is the name of standard input or output, which this option does not take."""
        message = f"{name} is '-', the name of standard input and output, but a file or folder is needed."
        return cls(message, "give the path of a file or folder; './-' is one that is called '-'.", "FZ-J041")
