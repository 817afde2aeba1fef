"""manifest.json: what a model folder is, and the size and SHA-256 of each of its other files. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fusionzoo import errors
from fusionzoo.artifacts.file_names import MANIFEST_FILE
from fusionzoo.data.hashing import hash_file

FORMAT_VERSION = 2
"""Increase it when a reader of the earlier version would misunderstand a folder, for example its decision rule."""
MAX_MANIFEST_BYTES = 16 * 2**20
CHECKSUM = "checksum"


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class ListedFile(_Entry):
    """The size in bytes and the SHA-256, hexadecimal, of a file."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Column(_Entry):
    """A column that the job read, and its role. A column with two roles is listed twice."""

    name: str
    role: Literal["id", "text", "category", "number", "label"]


class SplitFingerprint(_Entry):
    """The rows of a split, and a hash of the files that they were read from, the same on every machine."""

    rows: int = Field(ge=0)
    files: str


class Decision(_Entry):
    """How scores become decisions.

    "argmax" is the class with the highest score, "above_half" each label with a score above 0.5, and "identity" the
    score itself. "thresholds" is each label, or class 1 of two classes, with a score above its number in `thresholds`,
    both as float32. "lowest_cost" is the class with the lowest expected cost by `cost_matrix`, [true class][predicted
    class]; of equal ones the first.

    A rule that needs more has further fields here, and a higher `FORMAT_VERSION`.
    """

    model_config = ConfigDict(extra="forbid")
    rule: str
    thresholds: list[float] | None = None
    cost_matrix: list[list[float]] | None = None

    @model_validator(mode="after")
    def _check_fields(self) -> Decision:
        for name, rule in (("thresholds", "thresholds"), ("cost_matrix", "lowest_cost")):
            if (getattr(self, name) is None) == (self.rule == rule):
                raise ValueError(f"{name} belongs to rule {rule}, and the rule is {self.rule}")
        return self


class Calibration(_Entry):
    """How the outputs of the network are calibrated in model.onnx: scale * output + bias, for all or for each."""

    scales: list[float]
    biases: list[float]


class ModelDescription(_Entry):
    """What a model is, who wrote it, and how good it is.

    Attributes:
        plugins: the version of each plugin's distribution, by name.
        text_encoder: None for a model without one.
        target: what is predicted, as in metrics.json: the classes in the order of the scores, or the target columns.
        calibration: None if the outputs are not calibrated.
        training_data: by split.
        metrics: by split and name; None where the rows do not define a metric.
    """

    fusionzoo: str
    plugins: dict[str, str]
    model_class: str
    text_encoder: str | None
    task: str
    target: dict[str, Any]
    columns: list[Column]
    calibration: Calibration | None = None
    decision: Decision
    training_data: dict[str, SplitFingerprint]
    metrics: dict[str, dict[str, float | None]]


def _check_file_name(name: str) -> str:
    """Return a name that means a file directly in the model folder.

    Raises:
        ValueError: it is a path, or cannot be listed.
    """
    if name in ("", ".", "..", MANIFEST_FILE) or set(name) & {"/", "\\", "\0"}:
        raise ValueError(f"{name[:40]!r} is not the name of a file in the folder")
    return name


class Manifest(ModelDescription):
    """The content of manifest.json; `files` lists every other file of the model folder by name.

    `checksum` is that of the entries, once they are in a file.
    """

    files: dict[Annotated[str, AfterValidator(_check_file_name)], ListedFile]
    checksum: str = Field("", exclude=True)


def write_manifest(folder: Path, description: ModelDescription) -> None:
    """Write manifest.json, which lists every file of `folder`. Equal files and descriptions give equal bytes.

    Raises:
        OSError: a file cannot be read or written.
    """
    files = {path.name: {"size": path.stat().st_size, "sha256": hash_file(path)} for path in sorted(folder.iterdir())}
    manifest = Manifest.model_validate({**description.model_dump(), "files": files})
    content = {"format_version": FORMAT_VERSION, **manifest.model_dump()}
    (folder / MANIFEST_FILE).write_bytes(_render({**content, CHECKSUM: _compute_checksum(content)}))


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """Return the manifest that `content` holds; `path` names its file in messages.

    Raises:
        errors.ModelFolderError: a later version of fusionzoo wrote the manifest, or it is damaged.
    """
    try:
        saved = json.loads(content.decode("utf-8"))
        version = _read_format_version(saved)
        if version > FORMAT_VERSION:
            raise errors.ModelFolderError.newer_format(path, version, FORMAT_VERSION, saved.get("fusionzoo"))
        entries = {name: value for name, value in saved.items() if name != CHECKSUM}
        if content != _render(saved) or saved.get(CHECKSUM) != _compute_checksum(entries):
            raise ValueError(f"its content does not match its {CHECKSUM}")
        return Manifest.model_validate(saved)
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise errors.ModelFolderError.damaged_manifest(path, f"{place}: {first['msg']}") from cause
    except (ValueError, RecursionError) as cause:
        raise errors.ModelFolderError.damaged_manifest(path, cause) from cause


def _render(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of manifest.json. Other spaces, a name that occurs twice and NaN are damage too.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _compute_checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content as JSON with sorted keys and without spaces, hexadecimal."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _read_format_version(saved: object) -> int:
    version = saved.get("format_version") if isinstance(saved, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("it is not an object with a format_version")
    return version
