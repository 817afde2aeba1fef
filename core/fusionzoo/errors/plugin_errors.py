"""Plugins: names, versions, hooks, and what is wrong with a package."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import cut, list_names, nearest_names, quote_name

if TYPE_CHECKING:
    from typing_extensions import Self

OBJECT_REFERENCE = re.compile(r"[\w.]+\s*(:\s*[\w.]+\s*)?(\[.*\]\s*)?")
"""The value of an entry point, as the packaging specification has it."""


@dataclass(frozen=True)
class Claim:
    """What a plugin's metadata says: which distribution provides which name, and the module or object behind it."""

    kind: str
    name: str
    distribution: str
    version: str
    value: str

    @property
    def owner(self) -> str:
        """The distribution and its version, such as "acme-film 1.0"."""
        return cut(f"{self.distribution} {self.version}".strip(), 80)

    def __str__(self) -> str:
        return f"{self.kind} {quote_name(self.name)} from {self.owner} ({cut(self.value, 80)})"


class UnknownModelError(ZooError):
    """No installed plugin provides the name."""

    @classmethod
    def named(
        cls,
        kind: str,
        name: str,
        installed: Sequence[str],
        nearest: str | None,
        package: str | None,
        unreadable: Sequence[str],
    ) -> UnknownModelError:
        """The name is misspelled, or the plugin that provides it is not installed here."""
        fix = (
            "install the plugin that provides it, or choose an installed name. If the plugin is installed, "
            "fusionzoo doctor looks for the reason."
        )
        if package:
            fix = f"pip install {package}"
        elif nearest:
            fix = f"set {kind} to {quote_name(nearest)}."
        question = f" Did you mean {quote_name(nearest)}?" if nearest else ""
        damaged = ""
        if unreadable:
            damaged = f"\nPackages with unreadable entry points, which may provide it: {list_names(unreadable, 150)}."
        return cls(
            f"No installed plugin provides {kind} {quote_name(name)}.{question}\n"
            f"Installed: {list_names(installed)}.{damaged}",
            fix,
            "FZ-P001",
        )

    @classmethod
    def in_unread_group(cls, kind: str, name: str, owner: str, group: str, known: Sequence[str]) -> UnknownModelError:
        """An installed package has the name in an entry-point group that fusionzoo does not read."""
        close = nearest_names(group, known) or list(known)
        return cls(
            f"No installed plugin provides {kind} {quote_name(name)}. {cut(owner, 80)} has it in the entry-point group "
            f"{quote_name(group)}, which fusionzoo does not read.",
            f"in {cut(owner, 80)}, rename the group to {' or '.join(close)}, and install it again.",
            "FZ-P072",
        )


class AmbiguousModelError(ZooError):
    """Several installed distributions provide the name."""

    @classmethod
    def among(cls, kind: str, name: str, claims: Sequence[Claim]) -> AmbiguousModelError:
        """Two or more installed distributions provide the same name."""
        first = quote_name(f"{claims[0].distribution}:{claims[0].name}")
        owners = list_names([f"{claim.owner} ({cut(claim.value, 80)})" for claim in claims])
        return cls(
            f"{kind} {quote_name(name)} is provided by {len(claims)} installed distributions: {owners}.",
            f"set {kind} to one of them, for example {first}, or pip uninstall the others.",
            "FZ-P002",
        )


class IncompatiblePluginError(ZooError):
    """The plugin was not imported, because its requirements are not met in this environment."""

    @classmethod
    def core(cls, claim: Claim, required: str, version: str) -> IncompatiblePluginError:
        """The plugin was built for another version of fusionzoo."""
        message = f"{claim} was built for {cut(required, 100)}, but this is fusionzoo {version}."
        return cls(message, f"pip install --upgrade {claim.distribution[:80]} fusionzoo", "FZ-P003")

    @classmethod
    def requirements(cls, claim: Claim, unmet: Sequence[tuple[str, str | None]]) -> IncompatiblePluginError:
        """A package that the plugin requires is missing or has another version."""
        problems = [f"{line} ({f'found {version}' if version else 'not installed'})" for line, version in unmet]
        command = " ".join(f"'{line}'" for line, _ in unmet)
        command = command if len(command) < 300 else f"--upgrade {claim.distribution[:80]}"
        message = f"{claim} has requirements that are not met: {list_names(problems, 300)}."
        return cls(message, f"pip install {command}", "FZ-P004")

    @classmethod
    def unbounded(cls, claim: Claim, required: str, bounded: str) -> IncompatiblePluginError:
        """The plugin does not state an upper bound on the version of fusionzoo."""
        has = f"requires {cut(required, 100)} without an upper bound" if required else "does not require fusionzoo"
        message = f"{claim} does not state the versions of fusionzoo that it was built for: it {has}."
        return cls(message, f"in {claim.owner}, require '{bounded}'.", "FZ-P005")


class BrokenPluginError(ZooError):
    """The plugin cannot be imported, or it does not follow `fusionzoo.hookspecs`."""

    @classmethod
    def unreadable(cls, claim: Claim, cause: Exception | None = None) -> BrokenPluginError:
        """The metadata of an installed package is damaged."""
        reason = cut(str(cause), 200) if cause else "it has no name or no version"
        message = f"The metadata of {claim} cannot be read: {reason}."
        return cls(message, "uninstall the package and install it again.", "FZ-P006")

    @classmethod
    def entry_points_unreadable(cls, folder: str) -> BrokenPluginError:
        """The file entry_points.txt of an installed package is damaged."""
        message = f"{cut(folder, 150)} has entry points that cannot be read, so its plugins are unknown."
        return cls(message, "uninstall the package and install it again.", "FZ-P007")

    @classmethod
    def unknown_group(cls, owner: str, group: str, names: Sequence[str], known: Sequence[str]) -> BrokenPluginError:
        """A package has an entry-point group that looks like one of fusionzoo's, but is not."""
        close = nearest_names(group, known) or list(known)
        plugins = list_names(names, 150)
        return cls(
            f"{owner} has the entry-point group {quote_name(group)}, which fusionzoo does not read. Nothing finds "
            f"{plugins}.",
            f"in {owner}, rename the group to {' or '.join(close)}, and install it again.",
            "FZ-P026",
        )

    @classmethod
    def import_failed(cls, claim: Claim, cause: BaseException) -> BrokenPluginError:
        """The plugin's module, or a package that it imports, raised an exception."""
        place, missing = find_own_line(claim, cause), getattr(cause, "name", "") or "."
        owner = claim.owner if place else f"{claim.owner} or in a package that it imports"
        fix = f"pip install --upgrade {claim.distribution[:80]}"
        if place:
            fix = f"in {claim.owner}, correct {place}."
        elif isinstance(cause, ModuleNotFoundError) and "." not in missing:
            package = f"the package that has the module {quote_name(missing)}"
            fix = f"pip install {package}, and list it in the dependencies of {claim.owner}."
        return cls(
            f"Importing {claim} failed: {describe_exception(cause)}.\nThe error is in {owner}, not in fusionzoo.",
            fix,
            "FZ-P008",
        )

    @classmethod
    def hooks_refused(cls, claim: Claim, cause: Exception) -> BrokenPluginError:
        """pluggy cannot register the hooks."""
        message = f"its hooks cannot be registered: {cut(str(cause), 400)}"
        return cls._in_plugin(claim, message, "correct the hooks", "FZ-P009")

    @classmethod
    def unknown_hook(cls, claim: Claim, hook: str, known: Sequence[str]) -> BrokenPluginError:
        """A function is marked as a hook that fusionzoo does not call: often a typing error."""
        close = nearest_names(hook, known)
        fix = f"rename it to {close[0]}()" if close else f"remove it; the hooks are {list_names(known)}"
        return cls._in_plugin(claim, f"{cut(hook, 80)}() is not a hook of fusionzoo", fix, "FZ-P010")

    @classmethod
    def undecorated(cls, claim: Claim, hooks: Sequence[str]) -> BrokenPluginError:
        """A function has a hook's name but not the decorator, so it would never be called."""
        message = f"it defines {_list_calls(hooks)} without the decorator @fusionzoo.hookimpl"
        return cls._in_plugin(claim, message, "put @fusionzoo.hookimpl directly above its def", "FZ-P011")

    @classmethod
    def wrong_arguments(
        cls, claim: Claim, hook: str, wrong: Sequence[str], accepted: Sequence[str]
    ) -> BrokenPluginError:
        """A hook has parameters that fusionzoo does not pass."""
        fix = f"write def {hook}({', '.join(accepted)}), or fewer of these, none with a default"
        if "self" in wrong:
            fix = f"let the entry point name an instance, not the class; {fix}"
        message = f"{hook}() has parameters that fusionzoo does not pass: {list_names(wrong, 200)}"
        return cls._in_plugin(claim, message, fix, "FZ-P012")

    @classmethod
    def hooks_missing(cls, claim: Claim, missing: Sequence[str], defined: Sequence[str], kind: str) -> Self:
        """The plugin lacks a hook that its entry-point group requires."""
        rest = f"it has only {_list_calls(defined)}" if defined else "it has no hooks"
        message = f"it lacks {_list_calls(missing)}; {rest}"
        fix = "define it, with @fusionzoo.hookimpl above"
        if kind and not defined:
            fix = f"let the entry point name a plugin object, such as plugin = Fusion(Settings, Model), not a {kind}"
        return cls._in_plugin(claim, message, fix, "FZ-P013")

    @classmethod
    def not_a_module(cls, claim: Claim, hook: str, value: object) -> BrokenPluginError:
        """A hook that builds a module has no return statement, or returned something else, such as the class."""
        message = f"{hook}() returned {cut(repr(value), 200)}, which is not a torch.nn.Module"
        fix = f"return the module that {hook}() builds, and nothing else"
        return cls._in_plugin(claim, message, fix, "FZ-P014")

    @classmethod
    def not_settings(cls, claim: Claim, value: object) -> BrokenPluginError:
        """`settings_class()` returned something other than a settings class."""
        message = f"settings_class() returned {cut(repr(value), 200)}, which is not a subclass of ModelSettings"
        fix = "return a class that inherits from fusionzoo.settings.ModelSettings"
        return cls._in_plugin(claim, message, fix, "FZ-P015")

    @classmethod
    def settings_collide(cls, claim: Claim, taken: Sequence[str]) -> BrokenPluginError:
        """A plugin's settings have names that fusionzoo's own settings have."""
        message = f"its settings have names that belong to fusionzoo: {list_names(taken, 300)}"
        return cls._in_plugin(claim, message, "rename them", "FZ-P016")

    @classmethod
    def hook_failed(cls, claim: Claim, hook: str, cause: BaseException) -> BrokenPluginError:
        """A hook raised an exception."""
        message = f"{hook}() raised {describe_exception(cause)}"
        return cls._in_plugin(claim, message, "correct the hook", "FZ-P017")

    @classmethod
    def no_schema(cls, claim: Claim, cause: Exception) -> BrokenPluginError:
        """The settings class has a field that pydantic cannot describe as JSON."""
        message = f"its settings have no JSON schema: {describe_exception(cause)}"
        fix = "use numbers, text, booleans, and lists or dicts of them as settings"
        return cls._in_plugin(claim, message, fix, "FZ-P018")

    @classmethod
    def no_modalities(cls, claim: Claim, name: str, value: object) -> BrokenPluginError:
        """The settings class does not say which modalities the architecture reads."""
        message = f"`{name}` of its settings is {cut(repr(value), 200)}, not a subset of 'text' and 'table'"
        fix = f'write for example {name} = frozenset({{"text"}})'
        return cls._in_plugin(claim, message, fix, "FZ-P019")

    @classmethod
    def wrong_tasks(cls, claim: Claim, value: object, known: Sequence[str]) -> BrokenPluginError:
        """The settings class names a task that fusionzoo does not have, or none."""
        message = f"`tasks` of its settings is {cut(repr(value), 200)}, not a set of one or more of {', '.join(known)}"
        fix = f'write for example tasks = frozenset({{"{known[0]}"}}), or remove it to support all'
        return cls._in_plugin(claim, message, fix, "FZ-P035")

    @classmethod
    def ended_python(cls, claim: Claim, how: str, last_line: str, is_late: bool) -> BrokenPluginError:
        """Importing the plugin ended or blocked the Python process."""
        output = f" Its last line of output: {cut(last_line, 300)}" if last_line else ""
        fix = f"in {claim.owner}, let the import and settings_class() only define things."
        if is_late:
            fix = f"if the machine is busy or slow, wait longer: fusionzoo doctor --timeout 600. Otherwise, {fix}"
        return cls(f"The process that loaded {claim} {how}.{output}", fix, "FZ-P020")

    @classmethod
    def _in_plugin(cls, claim: Claim, message: str, fix: str, code: str) -> Self:
        return cls(f"{claim} is broken: {message}.", f"in {claim.owner}, {fix}.", code)


class NewPluginError(ZooError):
    """A new plugin cannot have this name, or cannot be written to this folder."""

    @classmethod
    def malformed(cls, name: str, max_length: int) -> NewPluginError:
        """The name is not in snake_case, or is too long."""
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        better = "_".join(words).lstrip("0123456789_")[:max_length].rstrip("_") or "my_idea"
        return cls(
            f"{quote_name(name)} is not a valid name for an architecture: use a-z, 0-9 and single _ between words, "
            f"begin with a letter, and use at most {max_length} characters.",
            f"choose a name like {quote_name(better)}.",
            "FZ-P021",
        )

    @classmethod
    def keyword(cls, name: str) -> NewPluginError:
        """The name is a keyword of Python, so no module can have it."""
        return cls(f"{quote_name(name)} is a keyword of Python.", "choose another name.", "FZ-P022")

    @classmethod
    def taken(cls, kind: str, name: str, owner: str) -> NewPluginError:
        """An installed plugin provides the name."""
        message = f"{kind} {quote_name(name)} is already provided by {owner}."
        return cls(message, "choose another name.", "FZ-P023")

    @classmethod
    def module_exists(cls, module: str) -> NewPluginError:
        """An installed module has the name of the new plugin's module."""
        message = f"A module {quote_name(module)} is already installed, and the new one would hide it."
        return cls(message, "choose another name.", "FZ-P024")

    @classmethod
    def folder_exists(cls, folder: Path) -> NewPluginError:
        """The folder of the new plugin exists."""
        message = f"The folder {folder} already exists. Nothing was written."
        return cls(message, "move it away, or choose another --folder.", "FZ-P025")


def hook_note(claim: Claim, hook: str) -> str:
    """Return the note for an exception that a plugin's hook raised."""
    return f"This happened in {hook}() of {claim.owner}, which provides {claim.kind} {quote_name(claim.name)}."


def find_own_line(claim: Claim, cause: BaseException) -> str:
    """Return the place in the plugin's own code that the exception comes from; empty if it is not the plugin's.

    A package that is not installed, or lacks a name, is not the plugin's own code.
    """
    module, _, attribute = claim.value.partition(":")
    package = module.partition(".")[0]
    if not OBJECT_REFERENCE.fullmatch(claim.value):
        return f"its entry point: {quote_name(claim.value)} is not MODULE or MODULE:OBJECT"
    if isinstance(cause, SyntaxError):
        # Only the code that has the error knows its file: no frame of it has run.
        folders = Path(cause.filename or "").with_suffix("").parts
        return f"{cut(str(cause.filename), 150)}, line {cause.lineno}" if package in folders else ""
    if isinstance(cause, ModuleNotFoundError) and f"{module}.".startswith(f"{cause.name}."):
        return f"its entry point, or the list of files in its wheel: it has no module {quote_name(module)}"
    frames = [
        (frame.f_globals.get("__name__", ""), frame, line) for frame, line in traceback.walk_tb(cause.__traceback__)
    ]
    name, frame, line = frames[-1] if frames else ("", None, 0)
    if isinstance(cause, AttributeError) and attribute and name.partition(".")[0] != package:
        return f"its entry point: module {quote_name(module)} has no {quote_name(attribute)}"
    if frame is None or isinstance(cause, ImportError) or str(name).partition(".")[0] != package:
        return ""
    return f"{cut(frame.f_code.co_filename, 150)}, line {line}"


def describe_exception(cause: BaseException) -> str:
    """Return the type and the message of an exception."""
    return cut(f"{type(cause).__name__}: {cause}".removesuffix(": "), 400)


def _list_calls(hooks: Sequence[str]) -> str:
    return list_names([f"{hook}()" for hook in hooks])
