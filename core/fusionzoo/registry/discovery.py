"""Find architectures and text encoders in package metadata; import one only when it is chosen.

An entry point's name is what `model_class` or `text_encoder` says; its value is a module or object with hooks.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pluggy

from fusionzoo import __version__, errors, hookspecs

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import nn

    from fusionzoo.nn.schema import InputSpec
    from fusionzoo.settings import ModelSettings

CORE_DISTRIBUTION = "fusionzoo"
MODELS_GROUP = "fusionzoo.models"
TEXT_ENCODERS_GROUP = "fusionzoo.text_encoders"
GROUP_KINDS = {MODELS_GROUP: "model_class", TEXT_ENCODERS_GROUP: "text_encoder"}
REQUIRED_HOOKS = {
    MODELS_GROUP: ("settings_class", "build_model"),
    TEXT_ENCODERS_GROUP: ("settings_class", "build_text_encoder"),
}
HOOKS = {
    name: tuple(inspect.signature(hook).parameters)
    for name, hook in vars(hookspecs).items()
    if hasattr(hook, f"{CORE_DISTRIBUTION}_spec")
}
FIRST_PARTY = ("bert", "cnn", "lstm", "moe", "gate_fusion", "cross_attn")
FIRST_PARTY_ENCODERS = FIRST_PARTY[:3]
UPPER_BOUNDS = ("<", "<=", "~=", "==", "===")
FUSION_PREFIX = "multimodal_"  # how the names of models of text and table begin


@dataclass(frozen=True)
class Provider:
    """One installed distribution's claim to a name; without a version, its metadata cannot be read."""

    entry_point: EntryPoint
    metadata: Distribution
    distribution: str
    version: str

    @property
    def claim(self) -> errors.Claim:
        """Who provides what, as error messages say it."""
        point = self.entry_point
        return errors.Claim(GROUP_KINDS[point.group], point.name, self.distribution, self.version, point.value)

    def check_requirements(self) -> None:
        """Raise IncompatiblePluginError if an installed version violates the metadata; imports nothing."""
        from packaging.requirements import Requirement

        if not self.version:
            raise errors.BrokenPluginError.unreadable(self.claim)
        unmet: list[tuple[str, str | None]] = []
        try:
            for needed in map(Requirement, self.metadata.requires or ()):
                if needed.marker and not needed.marker.evaluate({"extra": ""}):
                    continue
                is_core = normalize_name(needed.name) == CORE_DISTRIBUTION
                dist = None if is_core else _first(needed.name, sys.path)
                found = __version__ if is_core else dist.version if dist else None
                if not found or not needed.specifier.contains(found, prereleases=True):
                    wanted = needed.name + (f" @ {needed.url}" if needed.url else str(needed.specifier))
                    if is_core:
                        raise errors.IncompatiblePluginError.core(self.claim, wanted, __version__)
                    unmet.append((wanted, found))
        except ValueError as fault:  # a requirement, marker or version that packaging cannot read
            raise errors.BrokenPluginError.unreadable(self.claim, fault) from fault
        if unmet:
            raise errors.IncompatiblePluginError.requirements(self.claim, unmet)

    def check_bounds(self) -> None:
        """Raises IncompatiblePluginError where the metadata asks for no fusionzoo, or for any that may ever come."""
        from packaging.requirements import Requirement

        if not self.version:
            raise errors.BrokenPluginError.unreadable(self.claim)
        try:
            needed = [
                one
                for one in map(Requirement, self.metadata.requires or ())
                if normalize_name(one.name) == CORE_DISTRIBUTION
            ]
            needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
        except ValueError as fault:
            raise errors.BrokenPluginError.unreadable(self.claim, fault) from fault
        if not any(bound.operator in UPPER_BOUNDS for one in needed for bound in one.specifier):
            raise errors.IncompatiblePluginError.unbounded(
                self.claim, ", ".join(map(str, needed)), core_version_bounds()
            )

    def load(self) -> Plugin:
        """Import the plugin, after its requirements and before its hooks are checked.

        Raises IncompatiblePluginError or BrokenPluginError, whichever is found first.
        """
        self.check_requirements()
        try:
            implementation = self.entry_point.load()
        except (Exception, SystemExit) as fault:
            raise errors.BrokenPluginError.import_failed(self.claim, fault) from fault
        return Plugin(self, implementation)


class Plugin:
    """A chosen, imported architecture or text encoder; alone in a plugin manager of its own, its hooks checked."""

    def __init__(self, provider: Provider, implementation: object) -> None:
        self.name = provider.entry_point.name
        self.distribution = provider.distribution
        self.version = provider.version
        self._claim = provider.claim
        self._hooks = _checked_hooks(self._claim, REQUIRED_HOOKS[provider.entry_point.group], implementation)

    @cached_property
    def settings_class(self) -> type[ModelSettings]:
        """The plugin's settings class. Raises BrokenPluginError if it is invalid."""
        from fusionzoo.settings import JobSettings, ModelSettings

        found = self._call("settings_class")
        if not (isinstance(found, type) and issubclass(found, ModelSettings)):
            raise errors.BrokenPluginError.not_settings(self._claim, found)
        names = {*found.model_fields, *(field.alias for field in found.model_fields.values())}
        if taken := [name for name in JobSettings.model_fields if name in names]:
            raise errors.BrokenPluginError.settings_collide(self._claim, taken)
        return found

    def build_model(self, spec: InputSpec, settings: ModelSettings, text_encoder: nn.Module | None) -> nn.Module:
        """The architecture, with fresh weights, around the text encoder that core hands in."""
        return self._build("build_model", spec=spec, settings=settings, text_encoder=text_encoder)

    def build_text_encoder(self, spec: InputSpec, settings: ModelSettings) -> nn.Module:
        """The text encoder, with fresh weights."""
        return self._build("build_text_encoder", spec=spec, settings=settings)

    def load_pretrained(self, text_encoder: nn.Module, settings: ModelSettings) -> bool:
        """Put pretrained weights in place; False where the plugin has none to offer."""
        return bool(self._call("load_pretrained", text_encoder=text_encoder, settings=settings))

    def parameter_groups(self, model: nn.Module, settings: ModelSettings) -> list[dict[str, Any]]:
        """The plugin's own parameter groups; empty where core is to group all parameters."""
        return list(self._call("parameter_groups", model=model, settings=settings) or ())

    def callbacks(self, settings: ModelSettings) -> list[Callback]:
        """Lightning callbacks that the plugin adds to a training."""
        return list(self._call("callbacks", settings=settings) or ())

    def _build(self, hook: str, **arguments: Any) -> nn.Module:
        built: nn.Module | None = self._call(hook, **arguments)
        if built is None:
            raise errors.BrokenPluginError.returned_nothing(self._claim, hook)
        return built

    def _call(self, hook: str, **arguments: Any) -> Any:
        try:
            return getattr(self._hooks, hook)(**arguments)
        except errors.ZooError:
            raise
        except Exception as fault:
            fault.add_note(errors.hook_note(self._claim, hook))
            raise


class Registry(Mapping[str, tuple[Provider, ...]]):
    """Name -> who provides it, for one entry-point group; nothing but `load` imports a plugin.

    `unreadable` names the metadata folders whose entry points could not be read.
    """

    def __init__(self, group: str, providers: Mapping[str, tuple[Provider, ...]], unreadable: Sequence[str]) -> None:
        self.group, self.kind, self.unreadable = group, GROUP_KINDS[group], tuple(unreadable)
        self._providers = dict(sorted(providers.items()))

    @classmethod
    def discover(cls, group: str, path: Sequence[str] | None = None) -> Registry:
        """All that installed distributions provide; `path` holds the folders to search, by default `sys.path`.

        Where a distribution stands on the path more than once, only the first counts, as it does for an import.
        """
        folders = list(sys.path if path is None else path)
        found: dict[str, dict[tuple[str, str], Provider]] = {}
        unreadable: list[str] = []
        for dist in distributions(path=folders):
            try:
                if group not in (dist.read_text("entry_points.txt") or ""):
                    continue
                name, version = _identity(dist)
                visible = _first(name, folders) if version else dist
                points = visible.entry_points.select(group=group) if visible else ()
            except Exception:  # noqa: BLE001 - any package's files may hold anything, and most are bystanders
                unreadable.append(_folder(dist))
                continue
            for point in points:
                provider = Provider(point, visible or dist, *_identity(visible or dist))
                found.setdefault(point.name, {})[normalize_name(name), point.value] = provider
        return cls(group, {name: tuple(providers.values()) for name, providers in found.items()}, unreadable)

    def __getitem__(self, name: str) -> tuple[Provider, ...]:
        return self._providers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)

    def provider(self, name: str) -> Provider:
        """The one distribution that provides `name`; `dist-name:name` chooses among several.

        Raises UnknownModelError where none does, AmbiguousModelError where several do.
        """
        wanted, _, bare = name.rpartition(":")
        claims = [p for p in self.get(bare, ()) if normalize_name(wanted) in ("", normalize_name(p.distribution))]
        claims = [p for p in claims if p.version] or claims
        if not claims:
            raise self._unknown(name, bare)
        if len(claims) > 1:
            raise errors.AmbiguousModelError.among(self.kind, name, [p.claim for p in claims])
        return claims[0]

    def load(self, name: str) -> Plugin:
        """Import the plugin that provides `name`, after its requirements and before its hooks are checked.

        Raises UnknownModelError, AmbiguousModelError, IncompatiblePluginError or BrokenPluginError.
        """
        return self.provider(name).load()

    def _unknown(self, name: str, bare: str) -> errors.UnknownModelError:
        ours = {plugin: plugin for plugin in FIRST_PARTY_ENCODERS}
        if self.group == MODELS_GROUP:
            ours |= {f"{FUSION_PREFIX}{plugin}": plugin for plugin in FIRST_PARTY}
        close: list[str] = []
        if bare in self:  # but not from the distribution that was named
            qualified = [f"{p.distribution}:{bare}" for p in self[bare]]
            close = errors.nearest_names(name, qualified) or qualified
        elif bare not in ours:
            known = {*self, *ours}
            close = [f"{FUSION_PREFIX}{bare}"] if f"{FUSION_PREFIX}{bare}" in known else _nearest(bare, known)
        meant = close[0] if close else None
        plugin = ours.get(meant or bare) if (meant or bare) not in self else None
        package = f"{CORE_DISTRIBUTION}-{plugin.replace('_', '-')}" if plugin else None
        return errors.UnknownModelError.named(self.kind, name, list(self), meant, package, self.unreadable)


def _nearest(name: str, known: Collection[str]) -> list[str]:
    """The known name that is most like `name`, if any is: the beginning that fusions share makes no two alike."""
    alike = errors.nearest_names(name, sorted(known), how_many=len(FIRST_PARTY))
    rest = name.removeprefix(FUSION_PREFIX)
    return [n for n in alike if rest == name or errors.nearest_names(rest, [n.removeprefix(FUSION_PREFIX)])][:1]


def _checked_hooks(claim: errors.Claim, required: Sequence[str], implementation: object) -> pluggy.HookRelay:
    """The hooks, in a manager of their own. Raises BrokenPluginError where they break the contract of `hookspecs`."""
    manager = pluggy.PluginManager(CORE_DISTRIBUTION)
    try:
        manager.register(implementation, name=claim.name)
        callers = manager.get_hookcallers(implementation) or ()
        given = [(caller.name, hook) for caller in callers for hook in caller.get_hookimpls()]
        _check_hooks(claim, required, implementation, given)
        manager.add_hookspecs(hookspecs)
    except errors.ZooError:
        raise
    except Exception as fault:
        raise errors.BrokenPluginError.hooks_refused(claim, fault) from fault
    return manager.hook


def _check_hooks(
    claim: errors.Claim, required: Sequence[str], implementation: object, given: Sequence[tuple[str, pluggy.HookImpl]]
) -> None:
    names = [name for name, _ in given]
    if unknown := [name for name, hook in given if name not in HOOKS and not hook.optionalhook]:
        raise errors.BrokenPluginError.unknown_hook(claim, unknown[0], list(HOOKS))
    static = {name: inspect.getattr_static(implementation, name, None) for name in HOOKS if name not in names}
    if bare := [name for name, value in static.items() if inspect.isroutine(value)]:
        raise errors.BrokenPluginError.undecorated(claim, bare)
    for name, hook in given:
        wrong = [
            str(argument.replace(annotation=argument.empty))
            for argument in inspect.signature(hook.function).parameters.values()
            if argument.name not in HOOKS.get(name, ())
            or argument.kind not in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD)
            or argument.default is not argument.empty  # pluggy would never pass it
        ]
        if wrong and name in HOOKS:
            raise errors.BrokenPluginError.wrong_arguments(claim, name, wrong, HOOKS[name])
    if missing := [name for name in required if name not in names]:
        raise errors.BrokenPluginError.hooks_missing(claim, missing, names)


def _identity(dist: Distribution) -> tuple[str, str]:
    """Name and version; the metadata folder's name and "" where they cannot be read."""
    try:
        name, version = dist.metadata["Name"], dist.metadata["Version"]
    except Exception:  # noqa: BLE001 - Pythons differ in what broken metadata raises, and most are bystanders
        return _folder(dist), ""
    return (name, version) if name and version else (_folder(dist), "")


def _first(name: str, folders: Sequence[str]) -> Distribution | None:
    """The first readable distribution of this name on the path: the one that an import would meet."""
    return next((dist for dist in distributions(name=name, path=list(folders)) if _identity(dist)[1]), None)


def _folder(dist: Distribution) -> str:
    return PurePath(str(getattr(dist, "_path", dist.locate_file("")))).name


def core_version_bounds() -> str:
    """The requirement of a plugin that is built for this core; below 1.0, a minor version may change the contract."""
    major, minor = map(int, __version__.split(".")[:2])
    return f"{CORE_DISTRIBUTION}>={major}.{minor},<{f'{major}.{minor + 1}' if major == 0 else major + 1}"


def normalize_name(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
