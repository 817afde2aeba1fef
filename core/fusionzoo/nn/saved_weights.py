"""Check what the files of pretrained weights state about their tensors, before the weights are loaded."""

from __future__ import annotations

import pickle
from collections.abc import Container, Mapping
from pathlib import Path
from zipfile import is_zipfile

import torch
from torch import Tensor
from transformers import PreTrainedModel

from fusionzoo import errors
from fusionzoo.data.text.pretrained_files import (
    PretrainedSource,
    check_no_adapter,
    find_local_copy,
    find_pretrained,
    is_folder,
    list_weight_files,
)
from fusionzoo.data.text.weight_layouts import SafetensorsHeader, TensorLayout
from fusionzoo.errors.pretrained_errors import no_tensors, quantized_weights, weights_do_not_fit


def check_saved_weights(
    backbone: PreTrainedModel, setting: str, name: str, config: str, skip_prefixes: tuple[str, ...] = ()
) -> None:
    """Check the types and shapes of the weights in a folder without loading them; a name on the hub is not checked.

    Args:
        backbone: the encoder, which may be on the meta device.
        setting: the setting that names the weights, for the error.
        name: its value.
        config: what states the shapes, for the error: config.json or encoder_config.
        skip_prefixes: parameters that are not loaded.

    Raises:
        errors.SettingError: a parameter is saved as integers or quantized, or with another shape, a file has no
            tensors, or the folder holds an adapter.
    """
    if is_folder(name):
        source = PretrainedSource(setting, name)
        check_layouts(backbone, source, find_pretrained(source), config, skip_prefixes)


def check_layouts(
    backbone: PreTrainedModel, source: PretrainedSource, location: str, config: str, skip_prefixes: tuple[str, ...]
) -> None:
    """Check the tensors that have the name of a parameter, possibly after that of the base model, such as `bert.`.

    Raises:
        errors.SettingError: see `check_saved_weights`.
    """
    folder = find_local_copy(location)
    if folder is None:
        return
    check_no_adapter(source, str(folder))
    parameters = {name: x for name, x in backbone.named_parameters() if not name.startswith(skip_prefixes)}
    is_quantized = getattr(backbone.config, "quantization_config", None) is not None  # then transformers has the scales
    for file in list_weight_files(source, folder):
        layouts = _read_layouts(source, file)
        for key, layout in layouts.items():
            name = remove_base_name(backbone, key, parameters)
            if name not in parameters:
                continue
            has_scales = layout.is_float8 and any(f"{key}{end}" in layouts for end in ("_scale", "_scale_inv"))
            if not layout.is_floating or (has_scales and not is_quantized):
                raise quantized_weights(source.setting, source.name, file.name, name, layout.dtype)
            if layout.shape != parameters[name].shape:
                raise weights_do_not_fit(
                    source.setting, source.name, name, (layout.shape, parameters[name].shape), config
                )


def remove_base_name(backbone: PreTrainedModel, key: str, names: Container[str]) -> str:
    """Return the name in the encoder of a tensor that may be saved under the name in a model with a head."""
    return key if key in names else key.removeprefix(f"{backbone.base_model_prefix}.")


def _read_layouts(source: PretrainedSource, file: Path) -> dict[str, TensorLayout]:
    """Return the layout of each tensor in a file of weights, by name.

    Raises:
        errors.SettingError: the file is damaged, or holds something else than tensors by name.
    """
    if file.suffix == ".safetensors":
        try:
            return SafetensorsHeader.read(file).list_layouts()
        except (OSError, ValueError) as cause:
            raise errors.damaged_weights(source.setting, source.name, file.name, cause) from cause
    try:
        saved = torch.load(file, map_location="meta", weights_only=True)
    except Exception as cause:  # torch raises nothing more specific
        if isinstance(cause, pickle.UnpicklingError) and is_zipfile(file):  # complete, but it needs other classes
            raise no_tensors(source.setting, source.name, file.name, []) from cause
        raise errors.damaged_weights(source.setting, source.name, file.name, cause) from cause
    values = dict(saved) if isinstance(saved, Mapping) else {}
    tensors = {str(name): value for name, value in values.items() if isinstance(value, Tensor)}
    if not tensors:
        raise no_tensors(source.setting, source.name, file.name, list(map(str, values)))
    return {name: TensorLayout(tuple(x.shape), str(x.dtype).removeprefix("torch.")) for name, x in tensors.items()}
