"""Pretrained models: where they are loaded from, and whether they can be the text encoder of this job."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fusionzoo.errors.base import Problem
from fusionzoo.errors.setting_errors import SettingError, setting_problem
from fusionzoo.errors.wording import format_json, list_names, quote_name, short

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")  # of a layer, in the name of a weight


def no_pretrained_model(setting: str, name: str, cause: BaseException | str) -> SettingError:
    """The value is neither the folder of a Hugging Face model nor the name of one on the hub."""
    message = f"no Hugging Face model could be loaded from it ({short(cause)})"
    fix = "give the name of a model on the Hugging Face Hub, or a local folder with config.json"
    return SettingError(setting, name, message, fix, "FZ-E001")


def hub_unreachable(setting: str, name: str, cause: BaseException) -> SettingError:
    """The model is not a local folder, and the Hugging Face Hub does not answer or HF_HUB_OFFLINE is set."""
    message = (
        "there is no such folder here, no copy in the Hugging Face cache, and the Hugging Face Hub cannot be reached "
        f"({type(cause).__name__}: {short(cause)})"
    )
    fix = (
        "give the job network access, or save the model to a folder, ship it as a channel named pretrained, and set "
        f"{setting}: pretrained"
    )
    return SettingError(setting, name, message, fix, "FZ-E002")


def own_python_code(setting: str, name: str) -> SettingError:
    """The model or tokenizer needs Python code from its own folder, which is never run."""
    message = "it needs Python code that its folder or repository contains, and such code is never run"
    fix = "choose a model of a family that the installed version of transformers contains"
    return SettingError(setting, name, message, fix, "FZ-E003")


def git_lfs_pointers(setting: str, name: str, files: Sequence[str]) -> SettingError:
    """The folder was cloned without git-lfs, so its files only say where the content is."""
    message = f"these files are Git LFS pointers without the content: {list_names(files)}"
    return SettingError(
        setting, name, message, "run `git lfs pull` in the folder, or download the model again", "FZ-E004"
    )


def no_weights(setting: str, name: str, files: Sequence[str]) -> SettingError:
    """The folder has no file with weights that transformers would load."""
    message = f"the folder has no weights (it contains: {list_names(files)})"
    fix = "add model.safetensors or pytorch_model.bin, or save the model again with save_pretrained"
    return SettingError(setting, name, message, fix, "FZ-E005")


def damaged_weights(setting: str, name: str, file: str, cause: BaseException | str) -> SettingError:
    """A file of weights is cut short or damaged."""
    message = f"its weights cannot be read: {file} ({short(cause)})"
    return SettingError(setting, name, message, "copy or download the model again", "FZ-E006")


def no_tensors(setting: str, name: str, file: str, keys: Sequence[str]) -> SettingError:
    """A file of weights holds a pickled model, which is never loaded, or the checkpoint of a training."""
    found = f"its keys are {list_names(keys, 150)}" if keys else "it holds Python objects, such as a model"
    message = f"{file} has no tensors by the names of parameters: {found}"
    fix = "load it with the program that wrote it, and save the encoder itself with save_pretrained"
    return SettingError(setting, name, message, fix, "FZ-E032")


def missing_weights(setting: str, name: str, parameters: Sequence[str], others: Sequence[str] = ()) -> SettingError:
    """The weights belong to a model of another shape or family, or are part of a larger model, such as a checkpoint.

    Fix: choose another model, or save the encoder alone with save_pretrained, without the module that contains it.
    """
    message, fix = f"its weights lack {list_names(parameters)}", "choose another model, or save this one again"
    if others:
        message = f"its weights lack {list_names(parameters, 150)}; they have other names: {list_names(others, 150)}"
        fix = (
            "save the encoder itself with save_pretrained, not the checkpoint of a training or of a module that "
            "contains it, such as DistributedDataParallel; or choose another model"
        )
    return SettingError(setting, name, message, fix, "FZ-E007")


def other_tokens(tokenizer: str, encoder: str, reason: str) -> SettingError:
    """The tokenizer's ids mean other tokens than those that the encoder was trained with."""
    message = f"its tokens are not those of the encoder {format_json(encoder)}: {reason}"
    fix = "remove tokenizer, so that the encoder's own one is used"
    return SettingError("tokenizer", tokenizer, message, fix, "FZ-E008")


def too_few_positions(max_sen_len: int, limit: int, family: str) -> SettingError:
    """A chunk of max_sen_len tokens is longer than the encoder's table of positions."""
    message = f"the encoder, of family {family}, has positions for {limit} tokens"
    fix = f"set {limit} or less; longer texts are split in chunks"
    return SettingError("max_sen_len", max_sen_len, message, fix, "FZ-E009")


def unsupported_family(setting: str, value: object, family: str, reason: str) -> SettingError:
    """The model does not run on token ids alone, or does not encode each text independently."""
    message = f"models of family {family} cannot be the text encoder: {reason}"
    fix = "choose another family; docs/encoders.md lists tested ones"
    return SettingError(setting, value, message, fix, "FZ-E010")


def no_pooler(family: str) -> SettingError:
    """The encoder has no pooler."""
    message = f"models of family {family} have no pooler"
    return SettingError("pooling", "pooler", message, "set pooling: mean or first", "FZ-E011")


def no_pretrained_channel(setting: str, value: object, folder: str) -> Problem:
    """The setting names the channel `pretrained`, and the job does not have it, or it is empty."""
    message = f"there is no such folder, or it is empty: {quote_name(folder)}"
    fix = "add a channel named pretrained with the model's folder, or give a name on the Hugging Face Hub"
    return setting_problem(setting, value, message, fix, "FZ-E012")


def invalid_encoder_config(values: object, cause: Exception | None) -> SettingError:
    """The configuration has no model_type, or transformers refuses it."""
    message = "it has no model_type" if cause is None else f"it is invalid ({short(cause)})"
    fix = 'give valid values, and for example "model_type": "bert"'
    return SettingError("encoder_config", values, message, fix, "FZ-E013")


def shared_layers(count: int, family: str) -> SettingError:
    """The layers of the encoder share their weights, as in ALBERT."""
    message = f"the layers of {family} share their weights"
    return SettingError("reinit_layers", count, message, "remove it, or choose another encoder", "FZ-E014")


def no_weights_to_load(tokenizer: str) -> SettingError:
    """The encoder is pretrained by default, and the tokenizer does not name a pretrained model."""
    fix = "give a Hugging Face tokenizer, or set encoder_config to train one from random weights"
    return SettingError("tokenizer", tokenizer, "the text encoder has no weights to load", fix, "FZ-E015")


def wrong_layer_count(setting: str, value: object, layers: object, limit: int) -> SettingError:
    """The configuration of the encoder has no layer, or an absurd number of them."""
    message = f"num_hidden_layers is {format_json(layers)}"
    return SettingError(setting, value, message, f"give an encoder with 1 to {limit:,} layers", "FZ-E016")


def encoder_too_large(setting: str, value: object, needed: int, available: int) -> SettingError:
    """A single layer of the encoder, with its embeddings, exceeds the memory of this machine."""
    message = (
        f"one layer and the embeddings of the encoder need {needed / 1e9:,.1f} GB, but this machine has "
        f"{available / 1e9:,.1f} GB"
    )
    fix = "choose a smaller encoder, or lower the sizes of encoder_config"
    return SettingError(setting, value, message, fix, "FZ-E017")


def unknown_family(setting: str, name: str, family: str, version: str) -> SettingError:
    """The installed transformers does not contain the family of the model, for example because it is older."""
    message = f"transformers {version} does not contain its family {quote_name(family)}"
    fix = "install a newer transformers, or choose an encoder of another family; docs/encoders.md lists tested ones"
    return SettingError(setting, name, message, fix, "FZ-E018")


def no_sentencepiece(setting: str, name: str) -> SettingError:
    """The vocabulary is a SentencePiece model, as in DeBERTa-v3, and the packages that read it are not installed."""
    message = "its tokenizer is a SentencePiece model, and the packages that read it are not installed"
    fix = "run `pip install sentencepiece protobuf`, or add the file tokenizer.json to the model"
    return SettingError(setting, name, message, fix, "FZ-E019")


def no_gradient_checkpointing(family: str) -> SettingError:
    """Transformers has no gradient checkpointing for the family of the encoder, as for ALBERT and MPNet."""
    message = f"models of family {family} do not support gradient checkpointing"
    fix = "set it to false; a smaller batch_size also needs less memory"
    return SettingError("use_gradient_checkpointing", True, message, fix, "FZ-E020")


def no_pooler_weights(name: str) -> SettingError:
    """The encoder has a pooler, and the pretrained model was saved without its weights."""
    message = f"the pretrained model {quote_name(name)} has no weights of a pooler"
    fix = "set pooling: mean or first, or set reinit_pooler: true to train a pooler from random weights"
    return SettingError("pooling", "pooler", message, fix, "FZ-E021")


def damaged_modules(setting: str, name: str, file: str, cause: BaseException) -> SettingError:
    """A file of a sentence-transformers model that states its modules or its pooling is absent or damaged."""
    message = f"the file {quote_name(file)} of a sentence-transformers model cannot be read ({short(cause)})"
    return SettingError(setting, name, message, "copy or download the model again", "FZ-E022")


def no_linear_layers(method: str, family: str) -> SettingError:
    """The encoder has no linear layers that adapters could change."""
    message = f"the encoder, of family {family}, has no linear layers of its own"
    return SettingError("peft", method, message, "remove peft, or choose another encoder", "FZ-E023")


def unknown_peft_target(target: str, targets: Sequence[str], layers: Sequence[str]) -> SettingError:
    """A target is the name of no linear layer of the encoder, nor the last part of one."""
    names = list(dict.fromkeys(NUMBER.sub("*", layer) for layer in layers))
    message = f"{quote_name(target)} is not a linear layer of the encoder. Its linear layers are: {list_names(names)}"
    fix = 'list names or their last parts, such as "query" for all that end in .query, or remove peft_targets'
    return SettingError("peft_targets", list(targets), message, fix, "FZ-E024")


def adapter_without_base(setting: str, name: str, file: str) -> SettingError:
    """The folder or repository holds a PEFT adapter, which changes another model and is none on its own."""
    message = f"it holds a PEFT adapter ({file}), which only changes the weights of another model"
    fix = (
        "merge the adapter into its base model first: PeftModel.from_pretrained(base_model, adapter)"
        ".merge_and_unload().save_pretrained(folder), save the base model's tokenizer there, and give that folder; "
        f"if the folder holds a merged model already, delete {file} from it"
    )
    return SettingError(setting, name, message, fix, "FZ-E025")


def weights_do_not_fit(
    setting: str, name: str, tensor: str, shapes: tuple[Sequence[int], Sequence[int]], config: str
) -> SettingError:
    """A tensor has another shape than the configuration states: the two belong to different models.

    Fix: copy config.json and the weights of one model, or save the model again with save_pretrained; remove
    encoder_config if it is set.
    """
    found, stated = shapes
    message = (
        f"{tensor} has the shape {list(found)} in the weights and {list(stated)} according to {config}, so the two "
        "belong to different models"
    )
    fix = "copy config.json and the weights of one model, or save the model again with save_pretrained"
    if config == "encoder_config":
        fix = "remove encoder_config, so that the model's own config.json is used"
    return SettingError(setting, name, message, fix, "FZ-E026")


def nonfinite_weights(setting: str, name: str, location: str, tensors: Sequence[str]) -> SettingError:
    """The pretrained weights hold NaN or infinity, for example because the run that saved them diverged."""
    message = f"the weights in {location} hold NaN or infinity: {list_names(tensors)}"
    fix = "download the model again, save it again from a run that did not diverge, or choose another model"
    return SettingError(setting, name, message, fix, "FZ-E027")


def quantized_weights(setting: str, name: str, file: str, tensor: str, dtype: str) -> SettingError:
    """The weights are integers, or 8-bit numbers with separate scales: they are quantized, or damaged."""
    message = f"{tensor} in {file} has the type {dtype}, so the weights are quantized or damaged"
    fix = "give the model with weights in float32, float16 or bfloat16, such as the one that was quantized"
    return SettingError(setting, name, message, fix, "FZ-E028")


def model_url(setting: str, url: str, name_on_hub: str | None) -> SettingError:
    """The value is a URL, and a model is read from a folder of this machine or from the Hugging Face Hub, by its name.

    Fix: for a model on the Hugging Face Hub, give its name; otherwise mount its folder as a channel named pretrained,
    and set the setting to pretrained.
    """
    message = "it is a URL, but a model is loaded from a folder of this machine, or from the Hugging Face Hub by name"
    fix = (
        f"mount the model's folder as a channel named pretrained, and set {setting}: pretrained"
        if name_on_hub is None
        else f"give its name: {format_json(name_on_hub)}"
    )
    return SettingError(setting, url, message, fix, "FZ-E029")


def too_few_embeddings(setting: str, name: str, tokens: Sequence[str], size: int) -> SettingError:
    """Tokens were added to the tokenizer, and the embeddings of the model were not resized before it was saved."""
    message = f"it has embeddings for {size:,} tokens, and none for these tokens of the tokenizer: {list_names(tokens)}"
    fix = (
        "call model.resize_token_embeddings(len(tokenizer)) and save the model again with save_pretrained, or use the "
        "tokenizer without these tokens"
    )
    return SettingError(setting, name, message, fix, "FZ-E030")


def no_config(setting: str, name: str, folders: Sequence[str]) -> SettingError:
    """The folder has no config.json: it contains the folders of models, or is none of Hugging Face.

    Fix: give the folder of the model itself, with config.json.
    """
    message = "the folder has no config.json"
    fix = "give the folder of a Hugging Face model, with config.json, or the name of a model on the Hugging Face Hub"
    if folders:
        message = f"{message}, but these folders in it have one: {list_names(folders)}"
        fix = f"give the folder of the model itself: add {quote_name(f'/{folders[-1]}')} to the path"
    return SettingError(setting, name, message, fix, "FZ-E031")
