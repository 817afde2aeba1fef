"""Paths that a user gives to options and environment variables."""

from __future__ import annotations

from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import cut, quote_name


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
    def impossible(cls, name: str, text: str, cause: str) -> PathError:
        """No file or folder can have this path: it is too long, a loop of links, or begins with an unknown home."""
        message = f"{name} is {quote_name(text)}, which cannot be a path here ({cause})."
        return cls(message, "give another path.", "FZ-J045")

    @classmethod
    def not_text(cls, name: str, text: str) -> PathError:
        """The value has bytes that are not UTF-8, or the locale of the process cannot hold its characters."""
        message = f"{name} is {quote_name(text)}, which is not text in UTF-8."
        fix = "rename the folder; if its name is correct, set LC_ALL=C.UTF-8, so that Python can read it."
        return cls(message, fix, "FZ-J046")

    @classmethod
    def stream(cls, name: str) -> PathError:
        """The value is the name of standard input or output, which this option does not take."""
        message = f"{name} is '-', the name of standard input and output, but a file or folder is needed."
        return cls(message, "give the path of a file or folder; './-' is one that is called '-'.", "FZ-J041")

    @classmethod
    def no_working_folder(cls) -> PathError:
        """The folder in which the process was started was deleted since; torch ends the process without one."""
        return cls(
            "The working folder was deleted, perhaps created again, and torch cannot be loaded without one.",
            "change to a folder that exists (cd), to the same one if it was created again, and run again.",
            "FZ-J051",
        )

    @classmethod
    def in_output(cls, name: str, place: Path) -> PathError:
        """A setting names a file of the job's own model folder: the job moves what is there, and writes its own."""
        message = f"{name}: {place} is in a folder of this job, which replaces the files there."
        return cls(message, f"copy it to another folder, and set {name} to the copy.", "FZ-J052")
