"""Plugins: names, versions, hooks, and what is wrong with a package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import cut, named, nearest_names, some


@dataclass(frozen=True)
class Claim:
    """What a plugin says of itself in its metadata: who provides which name, and where."""

    kind: str
    name: str
    distribution: str
    version: str
    value: str

    @property
    def owner(self) -> str:
        return cut(f"{self.distribution} {self.version}".strip(), 80)

    def __str__(self) -> str:
        return f"{self.kind} {named(self.name)} comes from {self.owner} ({cut(self.value, 80)})"


class UnknownModelError(ZooError):
    """No installed plugin provides the name."""

    @classmethod
    def named(
        cls,
        kind: str,
        name: str,
        installed: Sequence[str],
        meant: str | None,
        package: str | None,
        unreadable: Sequence[str],
    ) -> UnknownModelError:
        """`meant` is the name nearest to it; `package` is what to install, where that would help."""
        fix = "install the plugin that provides it, or choose an installed name"
        if package:
            fix = f"pip install {package}"
        elif meant:
            fix = f"set {kind} to {named(meant)}"
        question = f"Did you mean {named(meant)}?   " if meant else ""
        lines = [f"No installed plugin provides {kind} {named(name)}.", f"{question}Fix: {fix}"]
        lines.append(f"Installed: {some(installed) or 'none'}.")
        if unreadable:
            lines.append(f"Could not be read, and may hold it: {some(unreadable, 150)}.")
        return cls("\n".join(lines))


class AmbiguousModelError(ZooError):
    """Several distributions provide the name."""

    @classmethod
    def among(cls, kind: str, name: str, claims: Sequence[Claim]) -> AmbiguousModelError:
        one = f"{claims[0].distribution}:{claims[0].name}"
        return cls(
            f"{kind} {named(name)} is provided by {len(claims)} installed distributions: "
            f"{some([f'{claim.owner} ({cut(claim.value, 80)})' for claim in claims])}.\n"
            f"Fix: set {kind} to the one you want, for example {named(one)}, or pip uninstall the others."
        )


class IncompatiblePluginError(ZooError):
    """The plugin was not imported: its requirements do not hold in this environment."""

    @classmethod
    def core(cls, claim: Claim, wanted: str, found: str) -> IncompatiblePluginError:
        return cls(
            f"{claim}, which was built for {cut(wanted, 100)}; this is fusionzoo {found}.\n"
            f"Fix: pip install --upgrade {claim.distribution[:80]} fusionzoo"
        )

    @classmethod
    def requirements(cls, claim: Claim, unmet: Sequence[tuple[str, str | None]]) -> IncompatiblePluginError:
        """`unmet` holds each requirement with the version that was found, None where there is none."""
        problems = [f"{line} ({f'found {version}' if version else 'not installed'})" for line, version in unmet]
        command = " ".join(f"'{line}'" for line, _ in unmet)
        command = command if len(command) < 300 else f"--upgrade {claim.distribution[:80]}"
        return cls(f"{claim}, whose requirements do not hold: {some(problems, 300)}.\nFix: pip install {command}")

    @classmethod
    def unbounded(cls, claim: Claim, required: str, bounded: str) -> IncompatiblePluginError:
        """`required` is its requirement on fusionzoo, empty where it has none; `bounded` is one as it should be."""
        what = f"requires {cut(required, 100)}, which every future fusionzoo meets" if required else "requires none"
        return cls(
            f"{claim}, which does not say for which fusionzoo it was built: it {what}.\n"
            f"Fix: in {claim.owner}, require '{bounded}'."
        )


class BrokenPluginError(ZooError):
    """The plugin is at fault: it cannot be imported, or it breaks the contract of `fusionzoo.hookspecs`."""

    @classmethod
    def unreadable(cls, claim: Claim, cause: Exception | None = None) -> BrokenPluginError:
        why = cut(str(cause), 200) if cause else "it has no name or no version"
        return cls(f"{claim}, whose metadata cannot be read: {why}.\nFix: uninstall it and install it again.")

    @classmethod
    def entry_points_unreadable(cls, folder: str) -> BrokenPluginError:
        return cls(
            f"{cut(folder, 150)} has entry points that cannot be read, so what it provides is not known.\n"
            "Fix: uninstall it and install it again."
        )

    @classmethod
    def import_failed(cls, claim: Claim, cause: BaseException) -> BrokenPluginError:
        return cls(
            f"{claim}, and importing it failed: {_raised(cause)}.\n"
            f"The fault is in {claim.owner} or in what it imports, not in fusionzoo.\n"
            f"Fix: pip install --upgrade {claim.distribution[:80]}"
        )

    @classmethod
    def hooks_refused(cls, claim: Claim, cause: Exception) -> BrokenPluginError:
        return cls._wrong(claim, f"its hooks cannot be registered: {cut(str(cause), 400)}", "mend them")

    @classmethod
    def unknown_hook(cls, claim: Claim, hook: str, known: Sequence[str]) -> BrokenPluginError:
        close = nearest_names(hook, known)
        meant = f"rename it to {close[0]}()" if close else f"leave it out; the hooks are {some(known)}"
        return cls._wrong(claim, f"its {cut(hook, 80)}() is no hook that core knows", meant)

    @classmethod
    def undecorated(cls, claim: Claim, hooks: Sequence[str]) -> BrokenPluginError:
        remedy = "put @fusionzoo.hookimpl directly above its def"
        return cls._wrong(claim, f"it defines {_calls(hooks)} without the decorator that makes it a hook", remedy)

    @classmethod
    def wrong_arguments(
        cls, claim: Claim, hook: str, wrong: Sequence[str], accepted: Sequence[str]
    ) -> BrokenPluginError:
        remedy = f"write def {hook}({', '.join(accepted)}), or fewer of these, none with a default"
        if "self" in wrong:
            remedy = f"let the entry point name an instance, not the class; {remedy}"
        return cls._wrong(claim, f"its {hook}() takes arguments that core does not pass: {some(wrong, 200)}", remedy)

    @classmethod
    def hooks_missing(cls, claim: Claim, missing: Sequence[str], given: Sequence[str]) -> BrokenPluginError:
        has = f"it has only {_calls(given)}" if given else "it has no hook at all"
        return cls._wrong(claim, f"it lacks {_calls(missing)}; {has}", "define it, with @fusionzoo.hookimpl above")

    @classmethod
    def returned_nothing(cls, claim: Claim, hook: str) -> BrokenPluginError:
        return cls._wrong(claim, f"its {hook}() returned None", "return the module that it builds")

    @classmethod
    def not_settings(cls, claim: Claim, found: object) -> BrokenPluginError:
        problem = f"its settings_class() returned {cut(repr(found), 200)}, which is no subclass of ModelSettings"
        return cls._wrong(claim, problem, "return a class that inherits from fusionzoo.settings.ModelSettings")

    @classmethod
    def settings_collide(cls, claim: Claim, taken: Sequence[str]) -> BrokenPluginError:
        return cls._wrong(claim, f"its settings have names that belong to core: {some(taken, 300)}", "rename them")

    @classmethod
    def hook_failed(cls, claim: Claim, hook: str, cause: BaseException) -> BrokenPluginError:
        return cls._wrong(claim, f"its {hook}() raised {_raised(cause)}", "mend it")

    @classmethod
    def no_schema(cls, claim: Claim, cause: Exception) -> BrokenPluginError:
        problem = f"its settings have no JSON schema: {_raised(cause)}"
        return cls._wrong(
            claim, problem, "let each setting be a number, text, true or false, or a list or dict of them"
        )

    @classmethod
    def no_modalities(cls, claim: Claim, name: str, found: object) -> BrokenPluginError:
        problem = f"`{name}` of its settings is {cut(repr(found), 200)}, not a set out of 'text' and 'table'"
        return cls._wrong(claim, problem, f'write for example {name} = frozenset({{"text"}})')

    @classmethod
    def ended_python(cls, claim: Claim, how: str, last_words: str) -> BrokenPluginError:
        said = f" Its last words: {cut(last_words, 300)}" if last_words else ""
        return cls(
            f"{claim}, and the process that loaded it {how}.{said}\n"
            f"Fix: in {claim.owner}, let its import and its settings_class() only define things."
        )

    @classmethod
    def _wrong(cls, claim: Claim, problem: str, remedy: str) -> BrokenPluginError:
        return cls(f"{claim}, and {problem}.\nFix: in {claim.owner}, {remedy}.")


class NewPluginError(ZooError):
    """A new plugin cannot have this name, or cannot be written there."""

    @classmethod
    def malformed(cls, name: str, longest: int) -> NewPluginError:
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        better = "_".join(words).lstrip("0123456789_")[:longest].rstrip("_") or "my_idea"
        return cls(
            f"{named(name)} is no name for an architecture: it takes a-z, 0-9 and single _ between words, begins with "
            f"a letter, and has {longest} characters at most.\nFix: choose one like {named(better)}."
        )

    @classmethod
    def keyword(cls, name: str) -> NewPluginError:
        return cls(f"{named(name)} is a word of Python itself.\nFix: choose another name.")

    @classmethod
    def taken(cls, kind: str, name: str, owner: str) -> NewPluginError:
        return cls(f"{kind} {named(name)} is already provided by {owner}.\nFix: choose another name.")

    @classmethod
    def module_exists(cls, module: str) -> NewPluginError:
        return cls(f"There is a module {named(module)} already, which it would hide.\nFix: choose another name.")

    @classmethod
    def folder_exists(cls, folder: Path) -> NewPluginError:
        return cls(f"{folder} is there already, and nothing was written.\nFix: move it, or choose another --folder.")


def hook_note(claim: Claim, hook: str) -> str:
    """What is added to an exception that a plugin raised itself."""
    return f"This happened in {hook}() of {claim.owner}, which provides {claim.kind} {named(claim.name)}."


def _raised(cause: BaseException) -> str:
    return cut(f"{type(cause).__name__}: {cause}".removesuffix(": "), 400)


def _calls(hooks: Sequence[str]) -> str:
    return some([f"{hook}()" for hook in hooks])
