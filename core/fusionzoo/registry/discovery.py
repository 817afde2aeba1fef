"""Find architectures and text encoders in package metadata. A plugin is imported only when it is loaded."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

from importlib_metadata import Distribution

from fusionzoo import errors
from fusionzoo.registry.entry_points import (
    FIRST_PARTY_PLUGINS,
    FUSION_PREFIX,
    GROUP_KINDS,
    first_party_distributions,
)
from fusionzoo.registry.plugin import Plugin
from fusionzoo.registry.providers import (
    Provider,
    find_distribution,
    metadata_folder_name,
    normalize_name,
    read_identity,
)
from fusionzoo.registry.unread_groups import find_unread_groups


class Registry(Mapping[str, tuple[Provider, ...]]):
    """The providers of each name in one entry-point group. Only `load` imports a plugin.

    `kind` is the setting that names an entry of the group. `unreadable` lists the metadata folders whose entry points
    cannot be read.
    """

    def __init__(
        self,
        group: str,
        providers: Mapping[str, tuple[Provider, ...]],
        unreadable: Sequence[str],
        path: Sequence[str] | None = None,
    ) -> None:
        self.group, self.kind, self.unreadable, self._path = group, GROUP_KINDS[group], tuple(unreadable), path
        self._providers = dict(sorted(providers.items()))

    @classmethod
    def discover(cls, group: str, path: Sequence[str] | None = None) -> Registry:
        """Return the registry of all installed distributions.

        If a distribution is on the path more than once, only the first one counts, as for an import.

        Args:
            group: an entry-point group.
            path: the folders to search, by default `sys.path`.
        """
        folders = list(sys.path if path is None else path)
        providers: dict[str, dict[tuple[str, str], Provider]] = {}
        unreadable: list[str] = []
        for dist in Distribution.discover(path=folders):
            try:
                if group not in (dist.read_text("entry_points.txt") or ""):
                    continue
                name, version = read_identity(dist)
                visible = find_distribution(name, folders) if version else dist
                entry_points = visible.entry_points.select(group=group) if visible else ()
            except Exception:  # noqa: BLE001 - an unrelated package's files may contain anything
                unreadable.append(metadata_folder_name(dist))
                continue
            for entry_point in entry_points:
                provider = Provider(entry_point, visible or dist, *read_identity(visible or dist))
                key = normalize_name(name), entry_point.value
                providers.setdefault(entry_point.name, {})[key] = provider
        return cls(
            group,
            {name: tuple(by_key[key] for key in sorted(by_key)) for name, by_key in providers.items()},
            unreadable,
            path,
        )

    def __getitem__(self, name: str) -> tuple[Provider, ...]:
        return self._providers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)

    def provider(self, name: str, preferred: Sequence[str] = ()) -> Provider:
        """Return the only distribution that provides `name`; `dist-name:name` chooses one of several.

        Args:
            name: the name, or the name with its distribution.
            preferred: the distributions of which the first is meant if several provide a name without one.

        Raises:
            errors.UnknownModelError: no distribution provides it.
            errors.AmbiguousModelError: several distributions provide it.
        """
        distribution, _, bare_name = name.rpartition(":")
        candidates = [
            provider
            for provider in self.get(bare_name, ())
            if normalize_name(distribution) in ("", normalize_name(provider.distribution))
        ]
        candidates = [provider for provider in candidates if provider.version] or candidates
        if not candidates:
            raise self._unknown_name(name, bare_name)
        for wanted in map(normalize_name, preferred):
            own = [provider for provider in candidates if normalize_name(provider.distribution) == wanted]
            if len(own) == 1:
                return own[0]
        if len(candidates) > 1:
            raise errors.AmbiguousModelError.among(self.kind, name, [provider.claim for provider in candidates])
        return candidates[0]

    def load(self, name: str, preferred: Sequence[str] = ()) -> Plugin:
        """Import the plugin that provides `name`, after its requirements and before its hooks are checked.

        `preferred` are the distributions of which the first is meant if several provide the name: for a text encoder,
        that of the model; for a model folder, those that wrote it.

        Raises:
            errors.UnknownModelError: no distribution provides it.
            errors.AmbiguousModelError: several distributions provide it.
            errors.IncompatiblePluginError: its requirements are not met.
            errors.BrokenPluginError: it cannot be imported, or breaks the contract of hooks.
        """
        return self.provider(name, preferred).load()

    def _unknown_name(self, name: str, bare_name: str) -> errors.UnknownModelError:
        for unread in find_unread_groups(self._path):
            if bare_name in unread.names:
                group = unread.owner, unread.group
                return errors.UnknownModelError.in_unread_group(self.kind, name, *group, list(GROUP_KINDS))
        first_party = first_party_distributions(self.group)
        suggestion: str | None = None
        if bare_name in self:  # another distribution provides it
            qualified = [f"{provider.distribution}:{bare_name}" for provider in self[bare_name]]
            suggestion = (errors.nearest_names(name, qualified) or qualified)[0]
        elif bare_name not in first_party:
            suggestion = _suggest_name(bare_name, {*self, *first_party})
        wanted = suggestion or bare_name
        package = None if wanted in self else first_party.get(wanted)
        return errors.UnknownModelError.named(self.kind, name, list(self), suggestion, package, self.unreadable)


def _suggest_name(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is most similar, ignoring the prefix that all fusions share; None if none is."""
    if f"{FUSION_PREFIX}{name}" in known:
        return f"{FUSION_PREFIX}{name}"
    similar = errors.nearest_names(name, sorted(known), how_many=len(FIRST_PARTY_PLUGINS))
    suffix = name.removeprefix(FUSION_PREFIX)
    for candidate in similar:
        if suffix == name or errors.nearest_names(suffix, [candidate.removeprefix(FUSION_PREFIX)]):
            return candidate
    return None
