"""A new plugin's folder, from the templates beside this file: it works as it is written."""

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
from fusionzoo.registry.discovery import (
    CORE_DISTRIBUTION,
    FUSION_PREFIX,
    MODELS_GROUP,
    TEXT_ENCODERS_GROUP,
    Registry,
    core_version_bounds,
)

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST = 36  # so that lines stay short


@dataclass(frozen=True)
class Written:
    """What was written: its folder, the files in it, and the names that it provides."""

    folder: Path
    files: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Names:
    """How the parts of a plugin are called; `idea` is its name without what all fusions begin with."""

    idea: str
    is_encoder: bool

    @property
    def module(self) -> str:
        return f"{CORE_DISTRIBUTION}_{self.idea}"

    @property
    def distribution(self) -> str:
        return self.module.replace("_", "-")

    @property
    def provided(self) -> dict[str, list[str]]:
        """The entry points' names in each group."""
        fusion = f"{FUSION_PREFIX}{self.idea}"
        return (
            {MODELS_GROUP: [self.idea, fusion], TEXT_ENCODERS_GROUP: [self.idea]}
            if self.is_encoder
            else {MODELS_GROUP: [fusion]}
        )

    @property
    def words(self) -> dict[str, str]:
        """What stands for each word of a template."""
        return {
            "name": self.idea,
            "model": f"{FUSION_PREFIX}{self.idea}",
            "module": self.module,
            "distribution": self.distribution,
            "Class": "".join(word.capitalize() for word in self.idea.split("_")),
            "core": core_version_bounds(),
            "bert": core_version_bounds().replace(CORE_DISTRIBUTION, f"{CORE_DISTRIBUTION}-bert", 1),
        }


def write_plugin(name: str, folder: Path, is_encoder: bool) -> Written:
    """Write a fusion of text and table, or a text encoder with two models, to `folder/fusionzoo-<name>`.

    Raises:
        fusionzoo.errors.ZooError: the name cannot be used or is taken, the folder is there already, or the files
            cannot be written.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise errors.NewPluginError.malformed(name, LONGEST)
    names = _Names(name.removeprefix(FUSION_PREFIX), is_encoder)
    _refuse_taken(names)
    target = folder / names.distribution
    if target.exists() or target.is_symlink():
        raise errors.NewPluginError.folder_exists(target)
    contents = _contents(names)
    with staged_folder(target) as staging:
        for place, text in contents.items():
            (staging / place).parent.mkdir(exist_ok=True)
            (staging / place).write_text(text, "utf-8")
    provided = tuple(dict.fromkeys(one for group in names.provided.values() for one in group))
    return Written(target, tuple(contents), provided)


def _refuse_taken(names: _Names) -> None:
    if keyword.iskeyword(names.idea):
        raise errors.NewPluginError.keyword(names.idea)
    for group, provided in names.provided.items():
        registry = Registry.discover(group)
        for one in provided:
            if owners := registry.get(one):
                raise errors.NewPluginError.taken(registry.kind, one, owners[0].claim.owner)
    if importlib.util.find_spec(names.module) is not None:
        raise errors.NewPluginError.module_exists(names.module)


def _contents(names: _Names) -> dict[str, str]:
    """Each file's text, by its place in the plugin's folder."""
    templates = files(CORE_DISTRIBUTION) / "registry/templates"
    mine = templates / ("encoder" if names.is_encoder else "fusion")
    sources = {
        "pyproject.toml": mine / "pyproject.toml.template",
        "README.md": mine / "README.md.template",
        f"{names.module}.py": mine / "plugin.py.template",
        "tests/test_conformance.py": mine / "test_conformance.py.template",
        ".gitignore": templates / "gitignore.template",
    }
    return {place: Template(source.read_text("utf-8")).substitute(names.words) for place, source in sources.items()}
