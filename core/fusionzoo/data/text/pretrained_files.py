"""Find a pretrained model in a folder or on the Hugging Face Hub, and check its files before they are loaded."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fusionzoo import errors
from fusionzoo.data.text.sentence_transformers_folder import CONFIG_FILE, find_encoder_folder
from fusionzoo.data.text.weight_layouts import SafetensorsHeader
from fusionzoo.errors.pretrained_errors import adapter_without_base, model_url, no_config
from fusionzoo.local_paths import URL, to_local_path

log = logging.getLogger(__name__)

HUB_TIMEOUT_SECONDS = 5.0  # timeout of the request that checks whether the hub can be reached
GIT_LFS_POINTER = b"version https://git-lfs"
# In the order in which transformers looks for them. An index lists the files that share the weights.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
ADAPTER_FILE = "adapter_config.json"  # of a PEFT adapter
HUB_URL = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+(?:/[\w.-]+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class PretrainedSource:
    """The setting that names a pretrained model, and its value: a name on the Hugging Face Hub or a folder."""

    setting: str
    name: str


def find_pretrained(source: PretrainedSource) -> str:
    """Return what to load a pretrained encoder and its tokenizer from: a folder, or a name on the hub.

    In an older model of sentence-transformers it is a subfolder, such as 0_Transformer.

    Raises:
        errors.SettingError: there is no such model, or it is not cached and the hub cannot be reached.
    """
    location = find_repository(source)
    if not is_folder(location):
        return location
    folder = find_encoder_folder(source.setting, source.name, Path(location))
    _check_git_lfs(source, folder)
    return str(folder)


def find_repository(source: PretrainedSource) -> str:
    """Return where a pretrained model is: the folder, the name on the hub, or the cached copy of a hub model.

    The cached copy is used if the hub cannot be reached, which one short request finds out.

    Raises:
        errors.SettingError: there is no such model, it is a URL, or it is not cached and the hub cannot be reached.
    """
    name = source.name
    if URL.match(name):
        on_hub = HUB_URL.match(name)
        raise model_url(source.setting, name, on_hub[1] if on_hub else None)
    if is_folder(name):
        return str(to_local_path(source.setting, name))
    from huggingface_hub import get_session, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    # documented, but not listed in __all__
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    try:
        cached = try_to_load_from_cache(name, "config.json")
        url = hf_hub_url(name, "config.json")
        # `get_hf_file_metadata` repeats the request in versions before 1
        hf_raise_for_status(get_session().head(url, headers=build_hf_headers(), timeout=HUB_TIMEOUT_SECONDS))
    except HFValidationError as cause:
        reason = "there is no such folder, and it cannot be a name on the hub"
        raise errors.no_pretrained_model(source.setting, name, reason) from cause
    except EntryNotFoundError:
        return name  # a tokenizer does not need config.json
    except RepositoryNotFoundError as cause:
        reason = "it is neither a folder nor a public model on the hub"
        raise errors.no_pretrained_model(source.setting, name, reason) from cause
    except Exception as cause:  # the hub's client raises the errors of several HTTP libraries
        if isinstance(cause, HfHubHTTPError) and cause.response is not None and cause.response.status_code < 500:
            raise errors.no_pretrained_model(source.setting, name, cause) from cause
        if not isinstance(cached, str):
            raise errors.hub_unreachable(source.setting, name, cause) from cause
        log.info("The Hugging Face Hub cannot be reached; '%s' is loaded from the cached copy %s", name, cached)
        return str(Path(cached).parent)
    return name


def download_file(source: PretrainedSource, file: str) -> Path | None:
    """Return a file of a model on the hub, in the local copy of the model; None if the model does not have it.

    Raises:
        errors.SettingError: the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(source.name, file))
    except LocalEntryNotFoundError as cause:
        raise errors.hub_unreachable(source.setting, source.name, cause) from cause
    except EntryNotFoundError:
        return None


def is_folder(name: str) -> bool:
    """Return whether a value is the path of a folder; a URL, or text that no path can have, is not."""
    try:
        return to_local_path("the folder", name).is_dir()
    except (OSError, errors.PathError):
        return False


def find_local_copy(location: str) -> Path | None:
    """Return the folder, or the folder of the downloaded copy of a model on the hub; None if it is not downloaded."""
    if is_folder(location):
        return Path(location)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(location, "config.json")
    return Path(cached).parent if isinstance(cached, str) else None


def check_no_adapter(source: PretrainedSource, location: str) -> None:
    """Check that a folder does not hold a PEFT adapter, which has no weights of its own; a name is not checked.

    Raises:
        errors.SettingError: it does.
    """
    if (Path(location) / ADAPTER_FILE).is_file():
        raise adapter_without_base(source.setting, source.name, ADAPTER_FILE)


def check_no_adapter_on_hub(source: PretrainedSource, location: str) -> None:
    """Check that a model on the hub is not a PEFT adapter; called if its configuration cannot be loaded.

    Raises:
        errors.SettingError: it is, or the hub cannot be reached.
    """
    if not is_folder(location) and download_file(source, ADAPTER_FILE) is not None:
        raise adapter_without_base(source.setting, source.name, ADAPTER_FILE)


def check_config_file(source: PretrainedSource, location: str) -> None:
    """Check that a folder has a configuration; a name on the hub is not checked.

    Raises:
        errors.SettingError: it has none; names the folders of models in it, such as checkpoints or snapshots.
    """
    folder = Path(location)
    if not is_folder(location) or (folder / CONFIG_FILE).is_file():
        return
    folders = [file.parent for pattern in ("*/", "*/*/") for file in folder.glob(pattern + CONFIG_FILE)]
    models = [each for each in folders if any(each.glob("*token*")) or any(each.glob("vocab*"))]
    raise no_config(source.setting, source.name, sorted(str(each.relative_to(folder)) for each in models))


def check_weights(source: PretrainedSource, location: str) -> None:
    """Check that a folder has weights and that their files are complete; a name on the hub is not checked.

    Raises:
        errors.SettingError: weights are absent, cut short or damaged; names the file.
    """
    folder = Path(location)
    if not folder.is_dir():
        return
    for path in list_weight_files(source, folder):
        try:
            _check_complete(path)
        except (OSError, ValueError) as cause:
            raise errors.damaged_weights(source.setting, source.name, path.name, cause) from cause


def list_weight_files(source: PretrainedSource, folder: Path) -> list[Path]:
    """Return the files of weights that transformers loads from a folder: one, or all that its index lists.

    Raises:
        errors.SettingError: the folder has no weights, or the index is damaged.
    """
    first = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if first is None:
        names = sorted(path.name for path in folder.iterdir())
        raise errors.no_weights(source.setting, source.name, names)
    return _list_shards(source, first)


def is_own_code_error(cause: BaseException) -> bool:
    """Return whether transformers refused to run Python code of a model's folder or repository."""
    return "trust_remote_code" in str(cause)


def needs_sentencepiece(location: str, cause: BaseException) -> bool:
    """Return whether transformers could not read a SentencePiece model because a package is not installed."""
    if all(map(_is_installed, ("sentencepiece", "google.protobuf"))):
        return False
    if is_folder(location) and not any(Path(location).glob("*.model")):
        return False
    # Without sentencepiece, transformers 5 takes the file for a tiktoken model.
    return any(word in str(cause) for word in ("sentencepiece", "SentencePiece", "tiktoken"))


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that contains the module is not installed
        return False


def _check_git_lfs(source: PretrainedSource, folder: Path) -> None:
    pointers = [path.name for path in sorted(folder.iterdir()) if path.is_file() and _is_git_lfs_pointer(path)]
    if pointers:
        raise errors.git_lfs_pointers(source.setting, source.name, pointers)


def _is_git_lfs_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(GIT_LFS_POINTER)) == GIT_LFS_POINTER


def _list_shards(source: PretrainedSource, path: Path) -> list[Path]:
    if path.suffix != ".json":
        return [path]
    try:
        names = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
        return [path.parent / name for name in names]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as cause:
        raise errors.damaged_weights(source.setting, source.name, path.name, cause) from cause


def _check_complete(path: Path) -> None:
    """Raise OSError or ValueError if a file of weights is absent or shorter than its own table of contents states."""
    size = path.stat().st_size
    if path.suffix == ".safetensors":
        expected = SafetensorsHeader.read(path).file_size
        if size != expected:
            raise ValueError(f"it has {size:,} bytes, and {expected:,} according to its header")
        return
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"  # torch.save since 1.6; older files have no table of contents
    if size == 0 or (is_zip and not zipfile.is_zipfile(path)):
        raise ValueError(f"it is cut short at {size:,} bytes")
