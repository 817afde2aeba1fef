"""An imported plugin: its checked hooks, and how core calls them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pluggy

from fusionzoo import errors, hookspecs
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION, MODELS_GROUP, TEXT_ENCODERS_GROUP
from fusionzoo.registry.wrong_calls import find_wrong_call

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import nn

    from fusionzoo.nn.schema import InputSpec
    from fusionzoo.settings import JobSettings, ModelSettings
    from fusionzoo.tasks.plugin_metrics import RegisteredMetric

REQUIRED_HOOKS = {
    MODELS_GROUP: ("settings_class", "build_model"),
    TEXT_ENCODERS_GROUP: ("settings_class", "build_text_encoder"),
}
OPTIONAL_HOOKS = {
    MODELS_GROUP: ("parameter_groups", "callbacks", "metrics"),
    TEXT_ENCODERS_GROUP: ("load_pretrained", "add_adapters", "merge_adapters", "metrics"),
}
HOOKS = {
    name: tuple(inspect.signature(hook).parameters)
    for name, hook in vars(hookspecs).items()
    if hasattr(hook, f"{CORE_DISTRIBUTION}_spec")
}


class Plugin:
    """An imported architecture or text encoder. It has a plugin manager of its own, and its hooks are checked.

    Raises:
        errors.BrokenPluginError: a hook breaks the contract of `fusionzoo.hookspecs`.
        errors.PluginMetricError: a metric that the plugin registers is invalid.
    """

    def __init__(self, group: str, claim: errors.Claim, implementation: object) -> None:
        self.name, self.distribution, self.version = claim.name, claim.distribution, claim.version
        self.claim = claim
        self._hooks = _register_hooks(claim, group, implementation)
        self.metrics = self._register_metrics()

    @cached_property
    def settings_class(self) -> type[ModelSettings]:
        """The plugin's settings class.

        Raises:
            errors.BrokenPluginError: no job could use it; see `fusionzoo.registry.plugin_settings`.
        """
        from fusionzoo.registry.plugin_settings import check_settings_class  # imports pydantic

        return check_settings_class(self.claim, self._call("settings_class"))

    def resolve(self, settings: ModelSettings, job: JobSettings) -> ModelSettings:
        """Return the plugin's settings resolved for a job.

        Raises:
            errors.ZooError: the settings cannot work in this job.
            errors.PluginContractError: `resolve` fails, or returns something other than valid settings.
        """
        from fusionzoo.registry.plugin_settings import resolve_settings  # imports pydantic

        return resolve_settings(self.claim, settings, job)

    def build_model(self, spec: InputSpec, settings: ModelSettings, text_encoder: nn.Module | None) -> nn.Module:
        """Build the architecture with fresh weights around the text encoder that core passes in."""
        model = self._build("build_model", spec=spec, settings=settings, text_encoder=text_encoder)
        if hasattr(type(model), "load_pretrained"):  # of text encoders, the recipe calls it
            raise errors.PluginContractError.unused_method(self.claim, type(model).__name__, "load_pretrained")
        return model

    def build_text_encoder(self, spec: InputSpec, settings: ModelSettings) -> nn.Module:
        """Build the text encoder with fresh weights."""
        return self._build("build_text_encoder", spec=spec, settings=settings)

    def load_pretrained(self, text_encoder: nn.Module, settings: ModelSettings) -> bool:
        """Load pretrained weights into the text encoder. Return False if the plugin has none."""
        return bool(self._call("load_pretrained", text_encoder=text_encoder, settings=settings))

    def add_adapters(self, text_encoder: nn.Module, settings: ModelSettings) -> None:
        """Add what is trained instead of the weights of the text encoder, if the plugin and the settings have it."""
        self._call("add_adapters", text_encoder=text_encoder, settings=settings)

    def merge_adapters(self, text_encoder: nn.Module, settings: ModelSettings) -> None:
        """Merge what `add_adapters` added into the weights of the text encoder."""
        self._call("merge_adapters", text_encoder=text_encoder, settings=settings)

    def parameter_groups(self, model: nn.Module, settings: ModelSettings) -> list[dict[str, Any]]:
        """Return the plugin's parameter groups; empty if core groups all parameters."""
        return list(self._call("parameter_groups", model=model, settings=settings) or ())

    def callbacks(self, settings: ModelSettings) -> list[Callback]:
        """Return the Lightning callbacks that the plugin adds to training."""
        return list(self._call("callbacks", settings=settings) or ())

    def _register_metrics(self) -> tuple[RegisteredMetric, ...]:
        """Return the checked metrics of the plugin; empty if it has none."""
        if not self._hooks.metrics.get_hookimpls():
            return ()
        from fusionzoo.tasks.plugin_metrics import register_metrics

        try:
            returned = self._hooks.metrics()
        except (Exception, SystemExit) as cause:
            raise errors.BrokenPluginError.hook_failed(self.claim, "metrics", cause) from cause
        return register_metrics(self.claim, returned)

    def _build(self, hook: str, **arguments: Any) -> nn.Module:
        from torch import Tensor, nn  # slow to import, and needed by plugins that build

        settings: ModelSettings = arguments["settings"]
        before = settings.model_dump(mode="json")
        module: object = self._call(hook, **arguments)
        if not isinstance(module, nn.Module):
            raise errors.BrokenPluginError.not_a_module(self.claim, hook, module)
        after = settings.model_dump(mode="json")
        if changed := [name for name in before if before[name] != after[name]]:
            raise errors.PluginContractError.changed_by_building(self.claim, hook, changed)
        tensors = [*module.named_parameters(), *module.named_buffers()]
        if lazy := [name for name, tensor in tensors if nn.parameter.is_lazy(tensor)]:
            raise errors.PluginContractError.lazy_parameters(self.claim, hook, lazy)
        if others := [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]:
            raise errors.PluginContractError.not_only_tensors(self.claim, hook, others)
        return module

    def _call(self, hook: str, **arguments: Any) -> Any:
        try:
            return getattr(self._hooks, hook)(**arguments)
        except errors.ZooError:
            raise
        except SystemExit as cause:  # it would end the process of the caller without a word
            raise errors.BrokenPluginError.hook_failed(self.claim, hook, cause) from cause
        except Exception as error:
            if isinstance(error, TypeError) and (call := find_wrong_call(self.claim, error)) is not None:
                places = (call.callee, call.caller, call.definition)
                raise errors.PluginContractError.wrong_call(self.claim, hook, error, places) from error
            errors.add_note(error, errors.hook_note(self.claim, hook))
            raise


def _register_hooks(claim: errors.Claim, group: str, implementation: object) -> pluggy.HookRelay:
    """Return the plugin's hooks, registered in a plugin manager of their own.

    Raises:
        errors.BrokenPluginError: a hook breaks the contract of `fusionzoo.hookspecs`.
    """
    manager = pluggy.PluginManager(CORE_DISTRIBUTION)
    try:
        manager.register(implementation, name=claim.name)
        callers = manager.get_hookcallers(implementation) or ()
        hooks = [(caller.name, hook) for caller in callers for hook in caller.get_hookimpls()]
        _check_hooks(claim, group, implementation, hooks)
        manager.add_hookspecs(hookspecs)
    except errors.ZooError:
        raise
    except Exception as cause:
        raise errors.BrokenPluginError.hooks_refused(claim, cause) from cause
    return manager.hook


def _check_hooks(
    claim: errors.Claim, group: str, implementation: object, hooks: Sequence[tuple[str, pluggy.HookImpl]]
) -> None:
    names = [name for name, _ in hooks]
    if unknown := [name for name, hook in hooks if name not in HOOKS and not hook.optionalhook]:
        raise errors.BrokenPluginError.unknown_hook(claim, unknown[0], list(HOOKS))
    others = {name: inspect.getattr_static(implementation, name, None) for name in HOOKS if name not in names}
    undecorated = [name for name, value in others.items() if inspect.isroutine(value)]
    if unused := _find_unused_hooks(group, [*names, *undecorated]):
        if group == MODELS_GROUP:
            raise errors.PluginContractError.unused_model_hooks(claim, unused)
        raise errors.PluginContractError.unused_encoder_hooks(claim, unused)
    if undecorated:
        raise errors.BrokenPluginError.undecorated(claim, undecorated)
    for name, hook in hooks:
        if name in HOOKS and (wrong := _find_wrong_arguments(name, hook)):
            raise errors.BrokenPluginError.wrong_arguments(claim, name, wrong, HOOKS[name])
    required = (*REQUIRED_HOOKS[group], *(["merge_adapters"] if "add_adapters" in names else []))
    if missing := [name for name in required if name not in names]:
        kind = "class" if isinstance(implementation, type) else "function" if inspect.isroutine(implementation) else ""
        raise errors.BrokenPluginError.hooks_missing(claim, missing, names, kind)


def _find_unused_hooks(group: str, names: Sequence[str]) -> list[str]:
    """Return the hooks that are never called. An object with the builders of both groups may be a plugin of both."""
    groups = [one for one, (_, builder) in REQUIRED_HOOKS.items() if one == group or builder in names]
    used = {name for one in groups for name in (*REQUIRED_HOOKS[one], *OPTIONAL_HOOKS[one])}
    return [name for name in HOOKS if name in names and name not in used]


def _find_wrong_arguments(name: str, hook: pluggy.HookImpl) -> list[str]:
    return [
        str(argument.replace(annotation=argument.empty))
        for argument in inspect.signature(hook.function).parameters.values()
        if argument.name not in HOOKS[name]
        or argument.kind not in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD)
        or argument.default is not argument.empty  # pluggy would never pass it
    ]
