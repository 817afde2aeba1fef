"""Plugins that can be imported, but have code that is never called, or settings that contradict themselves."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.plugin_errors import BrokenPluginError, Claim, describe_exception, find_own_line
from fusionzoo.errors.wording import cut, list_names


class PluginContractError(BrokenPluginError):
    """A plugin does not do what `fusionzoo.hookspecs` and `fusionzoo.settings.ModelSettings` ask for."""

    @classmethod
    def unused_model_hooks(cls, claim: Claim, hooks: Sequence[str]) -> PluginContractError:
        """A model has hooks that fusionzoo calls for text encoders only, such as one that loads weights."""
        calls = list_names([f"{hook}()" for hook in hooks])
        message = f"it defines {calls}, which fusionzoo calls for text encoders only, not for models"
        fix = (
            "remove it; pretrained weights belong in a text encoder: publish the part that has them under an entry "
            "point in the group fusionzoo.text_encoders"
        )
        return cls._in_plugin(claim, message, fix, "FZ-P051")

    @classmethod
    def unused_encoder_hooks(cls, claim: Claim, hooks: Sequence[str]) -> PluginContractError:
        """A text encoder has hooks that fusionzoo calls for models only, such as `callbacks`."""
        calls = list_names([f"{hook}()" for hook in hooks])
        message = f"it defines {calls}, which fusionzoo calls for models only, not for text encoders"
        fix = "remove it, or move it to a model: an object under an entry point in the group fusionzoo.models"
        return cls._in_plugin(claim, message, fix, "FZ-P052")

    @classmethod
    def wrong_output(cls, claim: Claim, found: str) -> PluginContractError:
        """The module of a model returns something else than one number for each row and output."""
        message = f"{found}, but floating-point logits [rows, outputs], or a ModelOutput with them, are needed"
        fix = "return one of these two; size the last layer by spec.num_outputs, and pool chunks to rows"
        return cls._in_plugin(claim, message, fix, "FZ-P071")

    @classmethod
    def wrong_small(cls, claim: Claim, settings_class: str, returned: str | None) -> PluginContractError:
        """`small()` of the settings class is no class method, or returned something else than settings."""
        message = f"small of its settings {settings_class} is not a class method, but the checks call it on the class"
        fix = "write @classmethod above it, and def small(cls)"
        if returned is not None:
            message, fix = f"{settings_class}.small() returned {returned}, not {settings_class}", "return cls(...)"
        return cls._in_plugin(claim, message, fix, "FZ-P073")

    @classmethod
    def unused_method(cls, claim: Claim, module: str, method: str) -> PluginContractError:
        """The module of a model has a method with the name of a text encoder's hook, which would never be called."""
        message = f"build_model() returned {module} with a method {method}(), which is called for text encoders only"
        fix = (
            "rename it if other code calls it; pretrained weights belong in a text encoder: publish the part that has "
            "them under an entry point in the group fusionzoo.text_encoders"
        )
        return cls._in_plugin(claim, message, fix, "FZ-P053")

    @classmethod
    def pretrained_but_not_loaded(cls, claim: Claim, settings_class: str) -> PluginContractError:
        """The settings announce pretrained weights, and no weights were loaded."""
        message = (
            f"`pretrained` of its settings {settings_class} is True, but load_pretrained() loaded nothing: it is not "
            "defined, or it did not return True"
        )
        fix = "return True at the end of load_pretrained(), or let `pretrained` be False where it loads nothing"
        return cls._in_plugin(claim, message, fix, "FZ-P054")

    @classmethod
    def loaded_but_not_pretrained(cls, claim: Claim, settings_class: str) -> PluginContractError:
        """Weights were loaded that the settings do not announce, so they would be trained as new weights."""
        message = (
            f"load_pretrained() returned True, but `pretrained` of its settings {settings_class} is False, so the "
            "loaded weights would get the learning rate of new ones"
        )
        fix = f"add to {settings_class} a property `pretrained` that is True whenever load_pretrained() loads weights"
        return cls._in_plugin(claim, message, fix, "FZ-P055")

    @classmethod
    def needs_word_vectors(cls, claim: Claim, cause: BaseException) -> PluginContractError:
        """Without word vectors, which a model folder does not have, the model is another one, or none."""
        message = (
            "the model cannot be loaded again, because `spec.text.embeddings` is None when its folder is loaded "
            f"({describe_exception(cause)})"
        )
        fix = (
            "size layers by `spec.text.embedding_dim`, and copy `embeddings` only if it is not None, as "
            "fusionzoo.nn.word_embedding.WordEmbedding does"
        )
        return cls._in_plugin(claim, message, fix, "FZ-P061")

    @classmethod
    def invalid_defaults(cls, claim: Claim, settings_class: str, problems: Sequence[str]) -> PluginContractError:
        """A setting has a default that its own bounds or validators reject, so no saved model could be loaded."""
        message = f"defaults of its settings {settings_class} are not valid: {list_names(problems, 400)}"
        fix = "give each setting a default that its own type, bounds and validators accept"
        return cls._in_plugin(claim, message, fix, "FZ-P056")

    @classmethod
    def computed_fields(cls, claim: Claim, settings_class: str, fields: Sequence[str]) -> PluginContractError:
        """The settings have fields that are saved but cannot be read back, so no saved model could be loaded."""
        message = f"its settings {settings_class} have computed fields, which cannot be read back: {list_names(fields)}"
        fix = "remove the decorator @computed_field, and keep @property"
        return cls._in_plugin(claim, message, fix, "FZ-P060")

    @classmethod
    def aliased_fields(cls, claim: Claim, settings_class: str, fields: Sequence[str]) -> PluginContractError:
        """The settings have fields with aliases. Settings have one name, in every file and command."""
        message = f"its settings {settings_class} have fields with an alias: {list_names(fields)}"
        fix = "remove alias, validation_alias, serialization_alias and alias_generator, and rename the fields"
        return cls._in_plugin(claim, message, fix, "FZ-P062")

    @classmethod
    def resolve_raised(cls, claim: Claim, settings_class: str, cause: BaseException) -> PluginContractError:
        """`resolve` of a settings class raised something other than an error of fusionzoo."""
        place = find_own_line(claim, cause)
        message = f"resolve() of its settings {settings_class} raised {describe_exception(cause)}"
        fix = f"correct {place or 'it'}; to refuse a value, raise fusionzoo.errors.SettingError"
        return cls._in_plugin(claim, message, fix, "FZ-P057")

    @classmethod
    def resolve_returned(cls, claim: Claim, settings_class: str, value: object) -> PluginContractError:
        """`resolve` has no return statement, or returned something other than settings of its class."""
        message = f"resolve() of its settings {settings_class} returned {cut(repr(value), 200)}"
        fix = f"return self, or a copy of it: an object of the class {settings_class}"
        return cls._in_plugin(claim, message, fix, "FZ-P058")

    @classmethod
    def resolved_invalid(cls, claim: Claim, settings_class: str, problems: Sequence[str]) -> PluginContractError:
        """`resolve` returned settings that their own class rejects, so no saved model could be loaded."""
        message = f"resolve() of its settings {settings_class} returned invalid values: {list_names(problems, 400)}"
        fix = "let resolve() return only values that the class accepts; model_copy(update=...) does not validate"
        return cls._in_plugin(claim, message, fix, "FZ-P059")

    @classmethod
    def changed_by_reading(cls, claim: Claim, settings_class: str, changes: Sequence[str]) -> PluginContractError:
        """The settings are others after they are written and read, so a saved model would be built differently."""
        message = (
            f"its settings {settings_class} change when a model folder with them is read: {list_names(changes, 400)}"
        )
        fix = (
            "let validators accept their own results unchanged, and compute other values in resolve() or in a property"
        )
        return cls._in_plugin(claim, message, fix, "FZ-P063")

    @classmethod
    def changed_by_building(cls, claim: Claim, hook: str, names: Sequence[str]) -> PluginContractError:
        """The code of a model changes a list or dict of the settings, which build the model again later."""
        message = f"{hook}() changed the settings that it was given: {list_names(names)}"
        fix = "copy a list or dict before changing it, such as widths = [*settings.widths, 1]"
        return cls._in_plugin(claim, message, fix, "FZ-P064")

    @classmethod
    def wrong_call(cls, claim: Claim, hook: str, cause: TypeError, places: tuple[str, str, str]) -> PluginContractError:
        """A hook calls a class or function of the plugin with other arguments than it has.

        `places` are the name of what is called, the line of the plugin that calls it, and the line that defines it.
        """
        callee, caller, definition = places
        defined = f" (defined in {cut(definition, 150)})" if definition else ""
        message = f"{hook}() calls {callee} with wrong arguments: {describe_exception(cause)}"
        fix = f"correct the call in {cut(caller, 150)}, or the parameters of {callee}{defined}"
        if not caller:  # a recipe of core calls it
            parameters = "spec, settings, text_encoder" if hook == "build_model" else "spec, settings"
            fix = f"write def __init__(self, {parameters}) in {callee}{defined}, which fusionzoo calls"
        return cls._in_plugin(claim, message, fix, "FZ-P066")

    @classmethod
    def lazy_parameters(cls, claim: Claim, hook: str, names: Sequence[str]) -> PluginContractError:
        """A model has lazy modules, such as `nn.LazyLinear`, which have no weights before the first batch."""
        message = f"{hook}() returned a model with lazy parameters, which have no shape yet: {list_names(names)}"
        fix = "size layers by spec and settings instead, such as nn.Linear(text_encoder.dim, ...)"
        return cls._in_plugin(claim, message, fix, "FZ-P065")

    @classmethod
    def mixes_rows(cls, claim: Claim, difference: float) -> PluginContractError:
        """The scores of a row are others alone than in a batch, so a deployed model has no score of its own for it."""
        message = (
            "the scores of a row depend on the other rows of its batch, or on padding: alone, a row has scores that "
            f"differ by {difference:.1e}"
        )
        fix = (
            "look for a mean, a norm or a softmax over the rows of the batch, and for positions outside of token_mask. "
            f"fusionzoo check {claim.name} tries each"
        )
        return cls._in_plugin(claim, message, fix, "FZ-P074")

    @classmethod
    def other_after_loading(cls, claim: Claim, found: str) -> PluginContractError:
        """The model that is built again from its settings, as when its folder is loaded, is another one."""
        message = f"built again from the same settings, as when its folder is loaded, the model {found}"
        fix = (
            "keep each tensor that building draws at random in an nn.Parameter or with register_buffer, without "
            "persistent=False, build the same layers from the same settings, and give each parameter memory of its "
            "own, as clone() does"
        )
        return cls._in_plugin(claim, message, fix, "FZ-P075")

    @classmethod
    def not_only_tensors(cls, claim: Claim, hook: str, names: Sequence[str]) -> PluginContractError:
        """The state_dict of a model has values other than tensors, which get_extra_state of a module adds."""
        message = (
            f"{hook}() returned a model whose state_dict has values that are not tensors, which a model folder cannot "
            f"store: {list_names(names)}"
        )
        fix = "store them with register_buffer, such as torch.tensor(3), instead of get_extra_state"
        return cls._in_plugin(claim, message, fix, "FZ-P076")

    @classmethod
    def wrong_scalar(cls, claim: Claim, value: str, found: str) -> PluginContractError:
        """A penalty or a metric of a model is no tensor, or one with a value for each row."""
        message = f"forward() returned {value} as {found}, but a tensor of one number is needed"
        fix = f"return the mean or the sum of {value} as a tensor, such as values.mean()"
        return cls._in_plugin(claim, message, fix, "FZ-P077")

    @classmethod
    def no_gradient(cls, claim: Claim) -> PluginContractError:
        """Nothing of the model would be trained: its logits are computed without gradients."""
        message = "the logits that forward() computes in training have no gradient, so nothing would be trained"
        fix = "remove torch.no_grad(), torch.set_grad_enabled(False), detach() and numpy from what computes them"
        return cls._in_plugin(claim, message, fix, "FZ-P078")


class FittedModuleError(ZooError):
    """The method `fit` of a plugin's `FittedModule` does not do what it has to."""

    @classmethod
    def resized(cls, name: str, kind: str, tensors: Sequence[str]) -> FittedModuleError:
        """`fit` has replaced, added or removed tensors, so no saved model could be loaded."""
        return cls(
            f"fit() of {name or 'the model'} ({kind}) has changed the names or shapes of {list_names(tensors, 100)}.",
            "in the plugin, size tensors by spec and settings in __init__, and write into them with copy_ in fit.",
            "FZ-P041",
        )

    @classmethod
    def not_finite(cls, name: str, kind: str, tensors: Sequence[str]) -> FittedModuleError:
        """`fit` has computed NaN or infinity."""
        return cls(
            f"fit() of {name or 'the model'} ({kind}) has written NaN or infinity into {list_names(tensors, 100)}.",
            "in the plugin, look for a division by zero, such as the deviation of a constant column, and for missing "
            "labels and numbers, which are NaN.",
            "FZ-P042",
        )
