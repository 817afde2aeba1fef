"""Build the model of a job: with fresh and pretrained weights, or with those of the model that `init_from` names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from fusionzoo import errors
from fusionzoo.architecture import Architecture, BuiltModel
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.errors.wording import list_names
from fusionzoo.nn.fitted_module import list_fitted_modules
from fusionzoo.nn.schema import InputSpec
from fusionzoo.training.warm_start.parameter_axes import describe_tensors
from fusionzoo.training.warm_start.source_model import SourceModel
from fusionzoo.training.warm_start.weight_transfer import ModelSide, describe_values, transfer_weights

log = logging.getLogger(__name__)


def start_from_model(
    built: BuiltModel,
    architecture: Architecture,
    preprocessor: Preprocessor,
    source: SourceModel,
    fitted: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Load into a freshly built model what fits of a trained one; return what was taken, for metrics.json.

    Pretrained weights are loaded only for a text encoder that does not get all its weights from the trained model. The
    tensors `fitted` on train stay as they are.

    Raises:
        errors.InitFromError: nothing fits, or the tokens of the text encoder differ.
    """
    spec, old_spec = (InputSpec.from_preprocessor(each) for each in (preprocessor, source.preprocessor))
    encoder_names = _list_encoder_tensors(built)
    layouts = describe_tensors(architecture, spec)
    new = ModelSide(preprocessor, layouts | {name: replace(layouts[name], is_fitted=True) for name in fitted})
    old = ModelSide(source.preprocessor, describe_tensors(source.architecture, old_spec))
    transfer = transfer_weights(built.model.state_dict(), new, source.weights, old)
    if not transfer.weights:
        raise errors.InitFromError.nothing_in_common(source.place)
    _check_tokens(source, new, old, encoder_names - fitted)
    if architecture.encoder_is_pretrained and encoder_names - fitted - set(transfer.reused):
        architecture.load_pretrained(built)
        transfer = transfer_weights(built.model.state_dict(), new, source.weights, old)
    built.model.load_state_dict(transfer.weights, strict=False)
    log.info("init_from: starting from %s; metrics.json lists the tensors (training.init_from)", source.place)
    for line in (*describe_values(transfer, new, old), transfer.describe()):
        log.info("init_from: %s", line)
    normalization = compare_normalization(preprocessor, source.preprocessor)
    for name, change in normalization.items():
        log.warning("init_from: the normalization of '%s' differs from that of the trained model: %s", name, change)
    return {"place": str(source.place), "digest": source.digest, **transfer.as_json(), "normalization": normalization}


def check_comparable_features(model: nn.Module, source: SourceModel) -> None:
    """Check that what the modules that are fitted on train compute means the same in the trained model.

    Raises:
        errors.InitFromError: it does not.
    """
    for name, module in list_fitted_modules(model).items():
        if not module.is_comparable:
            raise errors.InitFromError.other_features(source.place, name or "the model", type(module).__name__)


def _list_encoder_tensors(built: BuiltModel) -> set[str]:
    """Return the names of the text encoder's tensors in the state of the model."""
    if built.text_encoder is None:
        return set()
    own = {value.data_ptr() for value in built.text_encoder.state_dict().values() if value.numel()}
    return {name for name, value in built.model.state_dict().items() if value.numel() and value.data_ptr() in own}


def _check_tokens(source: SourceModel, new: ModelSide, old: ModelSide, encoder_names: set[str]) -> None:
    """Check that the weights of different tokenizers can be matched.

    Raises:
        errors.InitFromError: they cannot.
    """
    tokens, old_tokens = ([v for axis, v in side.values.items() if axis.kind == "token"] for side in (new, old))
    layouts = {name: new.layouts[name] for name in encoder_names}
    has_axis = any(axis is not None and axis.kind == "token" for layout in layouts.values() for axis in layout.axes)
    if tokens != old_tokens and layouts and not has_axis:
        raise errors.InitFromError.other_tokens(source.place, list_names(sorted(layouts), 60))


def compare_normalization(new: Preprocessor, old: Preprocessor) -> dict[str, str]:
    """Return how the mean and standard deviation of each number column changed, by column; only of changed ones."""
    before: Mapping[str, Any] = {number.name: number for number in old.numbers}
    changes = {}
    for number in new.numbers:
        earlier = before.get(number.name)
        if earlier is not None and (earlier.mean, earlier.std) != (number.mean, number.std):
            mean, std = f"{earlier.mean:.6g} -> {number.mean:.6g}", f"{earlier.std:.6g} -> {number.std:.6g}"
            changes[number.name] = f"mean {mean}, standard deviation {std}"
    return changes
