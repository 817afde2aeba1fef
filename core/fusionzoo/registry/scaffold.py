"""Write a new plugin from the templates in this package. It works without changes."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from fusionzoo import errors
from fusionzoo.atomic_files import staged_folder
from fusionzoo.registry.discovery import Registry
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION, FUSION_PREFIX, MODELS_GROUP, TEXT_ENCODERS_GROUP
from fusionzoo.registry.providers import core_version_bounds

NAME_PATTERN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MAX_NAME_CHARACTERS = 36  # keeps the lines of the templates short


@dataclass(frozen=True)
class WrittenPlugin:
    """The folder of a new plugin, the files in it, and the names that it provides."""

    folder: Path
    files: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class _PluginNames:
    """The names of a plugin's parts. `stem` is the given name without the prefix of fusions."""

    stem: str
    is_encoder: bool

    @property
    def module(self) -> str:
        return f"{CORE_DISTRIBUTION}_{self.stem}"

    @property
    def distribution(self) -> str:
        return self.module.replace("_", "-")

    @property
    def entry_points(self) -> dict[str, list[str]]:
        """The names of the entry points in each group."""
        fusion = f"{FUSION_PREFIX}{self.stem}"
        if self.is_encoder:
            return {MODELS_GROUP: [self.stem, fusion], TEXT_ENCODERS_GROUP: [self.stem]}
        return {MODELS_GROUP: [fusion]}

    @property
    def substitutions(self) -> dict[str, str]:
        """The value of each placeholder in the templates."""
        return {
            "name": self.stem,
            "model": f"{FUSION_PREFIX}{self.stem}",
            "module": self.module,
            "distribution": self.distribution,
            "Class": "".join(word.capitalize() for word in self.stem.split("_")),
            "core": core_version_bounds(),
            "bert": core_version_bounds().replace(f"{CORE_DISTRIBUTION}[train]", f"{CORE_DISTRIBUTION}-bert"),
        }


def write_plugin(name: str, folder: Path, is_encoder: bool) -> WrittenPlugin:
    """Write a fusion of text and table, or a text encoder with two models, to `folder/fusionzoo-<name>`.

    Raises:
        fusionzoo.errors.ZooError: the name is invalid or already provided, the folder exists, or the files cannot be
            written.
    """
    if not NAME_PATTERN.fullmatch(name) or len(name) > MAX_NAME_CHARACTERS:
        raise errors.NewPluginError.malformed(name, MAX_NAME_CHARACTERS)
    names = _PluginNames(name.removeprefix(FUSION_PREFIX), is_encoder)
    _check_availability(names)
    target = folder / names.distribution
    if target.exists() or target.is_symlink():
        raise errors.NewPluginError.folder_exists(target)
    contents = _render_files(names)
    with staged_folder(target) as staging:
        for place, text in contents.items():
            (staging / place).parent.mkdir(exist_ok=True)
            (staging / place).write_text(text, "utf-8")
    provided = tuple(dict.fromkeys(entry for entries in names.entry_points.values() for entry in entries))
    return WrittenPlugin(target, tuple(contents), provided)


def _check_availability(names: _PluginNames) -> None:
    if keyword.iskeyword(names.stem):
        raise errors.NewPluginError.keyword(names.stem)
    for group, entries in names.entry_points.items():
        registry = Registry.discover(group)
        for entry in entries:
            if providers := registry.get(entry):
                raise errors.NewPluginError.taken(registry.kind, entry, providers[0].claim.owner)
    if importlib.util.find_spec(names.module) is not None:
        raise errors.NewPluginError.module_exists(names.module)


def _render_files(names: _PluginNames) -> dict[str, str]:
    """Return the text of each file, by its path in the plugin's folder."""
    templates = files(CORE_DISTRIBUTION) / "registry/templates"
    variant = templates / ("encoder" if names.is_encoder else "fusion")
    sources = {
        "pyproject.toml": variant / "pyproject.toml.template",
        "README.md": variant / "README.md.template",
        f"{names.module}.py": variant / "plugin.py.template",
        "tests/test_conformance.py": variant / "test_conformance.py.template",
        ".gitignore": templates / "gitignore.template",
        "LICENSE": templates / "LICENSE",
    }
    substitutions = names.substitutions
    return {place: Template(source.read_text("utf-8")).substitute(substitutions) for place, source in sources.items()}
