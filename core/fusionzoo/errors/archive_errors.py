"""A model.tar.gz that is damaged, unsafe to unpack, or holds no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import join_first, pluralize, quote_name, short

PACK_AGAIN = "use the model.tar.gz of a training job or of fusionzoo package, which have plain files only."


class ModelArchiveError(ZooError):
    """A model archive cannot be unpacked, or what it holds cannot be used."""

    @classmethod
    def missing(cls, archive: Path, others: Sequence[str] = ()) -> ModelArchiveError:
        """There is no file at the path, or it is a folder."""
        problem = "is a folder" if archive.is_dir() else "does not exist"
        found = f" Its folder holds {join_first([quote_name(name) for name in others], 5)}." if others else ""
        fix = f"put the {archive.name} that a training job left at this path."
        return cls(f"The model archive {archive} {problem}.{found}", fix, "FZ-O250")

    @classmethod
    def unreadable(cls, archive: Path, cause: BaseException | str) -> ModelArchiveError:
        """The file is cut off or damaged, or not an archive."""
        return cls(
            f"The model archive {archive} cannot be unpacked ({short(cause)}).",
            "copy the archive again; it must be a tar file, with or without gzip compression.",
            "FZ-O251",
        )

    @classmethod
    def unsafe_member(cls, archive: Path, member: str, reason: str) -> ModelArchiveError:
        """An entry is of a kind that no model has, such as a link, or has a name that could overwrite another file."""
        return cls(
            f"The model archive {archive} is refused because of its entry {quote_name(member)}: {reason}.",
            PACK_AGAIN,
            "FZ-O252",
        )

    @classmethod
    def too_large(cls, archive: Path, member: str, limit: int) -> ModelArchiveError:
        """The content is much larger than the archive, as in one that is made to fill a disk."""
        return cls(
            f"The model archive {archive} is refused because of its entry {quote_name(member)}: with it, the content "
            f"has more than {limit:,} bytes, which is too much for the size of the archive.",
            "set max_expansion (of a script: --max-expansion) to a larger value if you trust the archive.",
            "FZ-O253",
        )

    @classmethod
    def too_many_members(cls, archive: Path, limit: int) -> ModelArchiveError:
        """The archive has far more entries than a model has files."""
        return cls(f"The model archive {archive} has more than {limit:,} entries.", PACK_AGAIN, "FZ-O254")

    @classmethod
    def no_space(cls, archive: Path, folder: Path, needed: int, free: int) -> ModelArchiveError:
        """The disk is too small for the files of the model."""
        return cls(
            f"The model in {archive} has {pluralize(needed, 'byte')}, but the disk of {folder} has only {free:,} free.",
            "free space on this disk, or use a larger volume.",
            "FZ-O255",
        )

    @classmethod
    def no_model(cls, archive: Path) -> ModelArchiveError:
        """No folder of the archive has a manifest.json, which a job writes last."""
        return cls(
            f"The model archive {archive} has no manifest.json, so that no folder in it is the model of a job.",
            "use the model.tar.gz of a training job that succeeded.",
            "FZ-O256",
        )

    @classmethod
    def several_models(cls, archive: Path, folders: Sequence[str]) -> ModelArchiveError:
        """Several folders of the archive are model folders, and none of them is its top folder."""
        return cls(
            f"The model archive {archive} has models in several folders: "
            f"{join_first([quote_name(name) for name in folders], 5)}.",
            "pack the files of one model at the top of the archive.",
            "FZ-O257",
        )

    @classmethod
    def exists(cls, archive: Path) -> ModelArchiveError:
        """There is something at the path of the archive to write."""
        return cls(f"{archive} already exists.", "delete it, or give another path.", "FZ-O260")

    @classmethod
    def inside_model(cls, archive: Path, folder: Path) -> ModelArchiveError:
        """The archive to write would become a part of the model folder."""
        return cls(
            f"The model archive {archive} would be in the model folder {folder}.",
            "give a path outside of the model folder.",
            "FZ-O261",
        )

    @classmethod
    def other_suffix(cls, archive: Path, suffix: str) -> ModelArchiveError:
        """The archive to write has a name that SageMaker refuses."""
        fix = f"give a file name that ends in {suffix}, such as model{suffix}."
        return cls(
            f"The name of the model archive {archive} does not end in {suffix}, as SageMaker requires.", fix, "FZ-O262"
        )
