"""A model folder that is incomplete, damaged, changed, or of another version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import list_names, pluralize, quote_name, short

USE_JOB_FOLDER = "give a model folder that a job of fusionzoo wrote."
COPY_AGAIN = "copy the whole model folder of the job again, or unpack its model.tar.gz again; do not mix files of jobs."


class ModelFolderError(ZooError):
    """A model folder lacks a file, or holds one that cannot be used."""

    @classmethod
    def unreadable(cls, path: Path, cause: Exception) -> ModelFolderError:
        """A file of the model folder is missing or damaged."""
        return cls(f"{path} cannot be read ({short(cause)}).", USE_JOB_FOLDER, "FZ-O002")

    @classmethod
    def not_a_model_folder(cls, folder: Path, found: Path | None) -> ModelFolderError:
        """The folder does not exist, is a file such as model.tar.gz, or holds something else.

        Fix: give a model folder that a job of fusionzoo wrote.
        """
        if folder.is_file():
            return cls.unreadable(folder, NotADirectoryError("it is a file; unpack it, and give the folder"))
        problem = "has no manifest.json" if folder.is_dir() else "does not exist"
        fix = USE_JOB_FOLDER if found is None else f"give {found}, which is a model folder."
        return cls(f"The folder {folder} {problem}.", fix, "FZ-O210")

    @classmethod
    def not_an_object(cls, path: Path) -> ModelFolderError:
        """A JSON file of the model folder holds a list or a single value."""
        return cls(f"{path} does not hold a JSON object.", USE_JOB_FOLDER, "FZ-O003")

    @classmethod
    def other_version(cls, path: Path, version: object, supported: int) -> ModelFolderError:
        """Another version of fusionzoo wrote the model folder."""
        message = f"{path} has format version {version}, but this fusionzoo reads version {supported}."
        return cls(message, "load it with the version of fusionzoo that wrote it.", "FZ-O004")

    @classmethod
    def without_onnx(cls, path: Path) -> ModelFolderError:
        """The model was trained without an ONNX export, or the file was removed."""
        return cls(
            f"{path} does not exist: the job exported no ONNX file, or it was removed.",
            "train with onnx: required; or use fusionzoo.artifacts.model_folder.load_model, which needs the plugins.",
            "FZ-O025",
        )

    @classmethod
    def not_computed(cls, rows: int, cause: Exception) -> ModelFolderError:
        """onnxruntime loads the model, but cannot compute it."""
        message = f"onnxruntime cannot compute model.onnx for a batch of {pluralize(rows, 'row')} ({short(cause)})."
        return cls(message, USE_JOB_FOLDER, "FZ-O220")

    @classmethod
    def without_manifest(cls, folder: Path) -> ModelFolderError:
        """The job was stopped while it wrote the folder, the folder was copied in part, or an old version wrote it."""
        return cls(
            f"The model folder {folder} has no manifest.json, which a job writes last.",
            "copy the whole model folder of the job again; if the job itself left no manifest.json, train again.",
            "FZ-O230",
        )

    @classmethod
    def missing_file(cls, path: Path) -> ModelFolderError:
        """A file that manifest.json lists was removed, or not copied."""
        return cls(f"{path} does not exist, but the manifest.json of this model lists it.", COPY_AGAIN, "FZ-O231")

    @classmethod
    def not_a_regular_file(cls, path: Path, kind: str) -> ModelFolderError:
        """A folder, pipe, socket or device has the name of a file of the model."""
        return cls(f"{path} is {kind}, not a file.", COPY_AGAIN, "FZ-O232")

    @classmethod
    def link_out_of_folder(cls, path: Path, target: Path) -> ModelFolderError:
        """A symbolic link points outside of the model folder."""
        return cls(
            f"{path} is a link to {target}, which is outside of the model folder.",
            "replace the link by a copy of the file, for example with cp -L.",
            "FZ-O233",
        )

    @classmethod
    def wrong_size(cls, path: Path, listed: int, found: int) -> ModelFolderError:
        """A file was cut off, extended, edited, or comes from another job."""
        return cls(
            f"{path} has {pluralize(found, 'byte')}, but the manifest.json of this model lists "
            f"{pluralize(listed, 'byte')}: the file is damaged, edited, or of another model.",
            COPY_AGAIN,
            "FZ-O234",
        )

    @classmethod
    def wrong_content(cls, path: Path) -> ModelFolderError:
        """A file has the right size, but other bytes than the job wrote."""
        return cls(
            f"{path} is not the file that the manifest.json of this model lists (its SHA-256 differs): it is damaged, "
            "edited, or of another model.",
            COPY_AGAIN,
            "FZ-O235",
        )

    @classmethod
    def damaged_manifest(cls, path: Path, reason: object) -> ModelFolderError:
        """The manifest is not what a job wrote."""
        return cls(f"{path} is damaged or edited ({short(str(reason))}).", COPY_AGAIN, "FZ-O236")

    @classmethod
    def changed(cls, path: Path) -> ModelFolderError:
        """Something wrote to a file between its verification and its use."""
        return cls(f"{path} changed while it was loaded.", "load the model again when the file is complete.", "FZ-O237")

    @classmethod
    def not_listed(cls, path: Path) -> ModelFolderError:
        """The manifest lacks a file that the model needs."""
        return cls(f"{path} is needed, but the manifest.json of this model does not list it.", COPY_AGAIN, "FZ-O238")

    @classmethod
    def newer_format(cls, path: Path, version: int, supported: int, writer: object) -> ModelFolderError:
        """A later version of fusionzoo wrote the model folder.

        Fix: install the version of fusionzoo that wrote it, or a later one.
        """
        needed = f"fusionzoo {quote_name(writer)}" if isinstance(writer, str) else "the version that wrote it"
        return cls(
            f"{path} has format version {version}, but this fusionzoo reads versions up to {supported}.",
            f"install {needed}, or a later version.",
            "FZ-O239",
        )

    @classmethod
    def other_plugins(
        cls, folder: Path, written: Mapping[str, str], installed: Mapping[str, str], cause: Exception | None = None
    ) -> ModelFolderError:
        """A plugin that wrote the model is not installed, or its installed version does not fit the model.

        Fix: install the versions of the plugins that wrote it.
        """
        found = list_names(
            [
                f"{name} {version} ({installed[name]} is installed)"
                if name in installed
                else f"{name} {version} (not installed)"
                for name, version in sorted(written.items())
            ]
        )
        pins = " ".join(f"'{name}=={version}'" for name, version in sorted(written.items()))
        reason = "" if cause is None else f" ({short(cause)})"
        message = f"The model in {folder} cannot be built: it was written with {found}.{reason}"
        return cls(message, f"pip install {pins}", "FZ-O242")

    @classmethod
    def changed_plugins(cls, folder: Path, written: Mapping[str, str], cause: Exception) -> ModelFolderError:
        """The plugins have the versions that wrote the model, but their code has changed since, and does not fit."""
        found = list_names([f"{name} {version}" for name, version in sorted(written.items())])
        message = (
            f"The model in {folder} cannot be built with the installed {found}, although these versions wrote it: the "
            f"code of a plugin has changed since then. ({short(cause)})"
        )
        return cls(message, "restore the code that wrote the model, or train a new model.", "FZ-O243")

    @classmethod
    def copy_without_folder(cls) -> ModelFolderError:
        """A predictor that was not loaded from a folder cannot be pickled: its copy could not load the model."""
        return cls(
            "This predictor cannot be pickled, because it was not loaded from a model folder.",
            "create it with Predictor.load(folder).",
            "FZ-O244",
        )

    @classmethod
    def copy_without_model(cls, folder: Path) -> ModelFolderError:
        """A predictor was pickled, and this process or machine does not have its model folder, or no longer."""
        return cls(
            f"The folder {folder} does not exist, so that this copy of a predictor cannot load its model.",
            "keep the folder under this path, on every machine that uses the predictor.",
            "FZ-O245",
        )

    @classmethod
    def copy_of_other_model(cls, folder: Path) -> ModelFolderError:
        """A predictor was pickled, and its folder has another model in this process, or by now."""
        return cls(
            f"{folder} does not have the model of this copy of a predictor: its manifest.json has another checksum.",
            "write each model to a folder of its own, and create the predictor again with Predictor.load.",
            "FZ-O246",
        )

    @classmethod
    def external_data(cls, path: Path) -> ModelFolderError:
        """The ONNX file is not one of a job: its weights are in other files, which nothing verifies."""
        return cls(f"{path} keeps weights in other files, so that it cannot be verified.", COPY_AGAIN, "FZ-O240")
