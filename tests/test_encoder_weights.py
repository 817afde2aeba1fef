"""Weights that a pretrained encoder cannot have: NaN, integers, other shapes, adapters; and models given as URLs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM

from encoder_folders import save_encoder
from encoder_kinds import KINDS, save_kind
from fusionzoo.data.text import pretrained_files
from fusionzoo.data.text.pretrained_files import PretrainedSource, find_pretrained, is_folder
from fusionzoo.data.text.text_tokenizer import load_tokenizer, tokenizer_fingerprint
from fusionzoo.errors import SettingError
from fusionzoo.nn.hugging_face import create_encoder, load_weights, make_config, read_config
from fusionzoo.settings import JobSettings
from fusionzoo_bert import BertEncoderSettings
from shop import JobFolder

JOB = {"model_class": "bert", "id_name": "id", "label_name": "y", "text_name": "t", "num_classes": 2, "max_sen_len": 12}
QUERY = "encoder.layer.1.attention.self.query.weight"
FORMATS = ["safetensors", "bin", "shards"]
Weights = dict[str, Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(save_encoder(tmp_path / "encoder"))


def save_weights(folder: Path, weights: Weights, form: str = "safetensors") -> None:
    """Replace the weights of a folder."""
    (folder / "model.safetensors").unlink()
    if form == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
        return
    if form == "safetensors":
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return
    names, files = sorted(weights), {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        files.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def change_weights(folder: Path, change: Callable[[Weights], object], form: str = "safetensors") -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_weights(folder, weights, form)


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def resolve(folder: Path, setting: str = "encoder_name", **changes: Any) -> BertEncoderSettings:
    """Resolve the settings of a job with this encoder."""
    name = {"encoder_name": str(folder)} if setting == "encoder_name" else {}
    return BertEncoderSettings.model_validate({**name, **changes}).resolve(JobSettings(**JOB, tokenizer=str(folder)))


def load(folder: Path, skip: tuple[str, ...] = (), with_pooler: bool = False) -> dict[str, Tensor]:
    """Load the weights of a folder in an encoder of its configuration, without the checks of the settings."""
    backbone = create_encoder(make_config(read_config(PretrainedSource("encoder_name", str(folder)))), with_pooler)
    load_weights(backbone, str(folder), skip)
    return dict(backbone.state_dict())


# --- NaN and infinity


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_with_nan_or_infinity_are_an_error_that_names_folder_and_tensor(
    folder: Path, form: str, value: float
) -> None:
    change_weights(folder, lambda weights: weights[QUERY][3].fill_(value), form)
    with pytest.raises(SettingError, match=r"NaN or infinity: encoder\.layer\.1\.attention\.self\.query\.weight") as no:
        load(folder)
    assert no.value.setting == "encoder_name"
    assert str(folder) in str(no.value)


def test_half_precision_weights_with_infinity_are_an_error_and_finite_ones_are_not(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({k: v.half() for k, v in weights.items()}))
    assert load(folder)[QUERY].dtype == torch.float32
    change_weights(folder, lambda weights: weights[QUERY].mul_(1e8))
    with pytest.raises(SettingError, match="NaN or infinity"):
        load(folder)


def test_nan_in_weights_that_are_not_loaded_is_no_error(folder: Path) -> None:
    change_weights(folder, lambda weights: [weights[k].fill_(torch.nan) for k in (QUERY, "pooler.dense.weight")])
    assert load(folder, skip=("encoder.layer.1.",))
    assert load(folder, skip=("encoder.layer.1.", "pooler."), with_pooler=True)


def test_a_job_with_nan_in_its_encoder_does_not_blame_the_learning_rate(job: JobFolder, folder: Path) -> None:
    change_weights(folder, lambda weights: weights[QUERY].fill_(torch.nan))
    changes = {"num_channels": None, "embedding_dim": None, "model_class": "bert", "max_epochs": 1}
    job.fill(rows=60, tokenizer=None, encoder_name=str(folder), cat_field_list=None, tab_field_list=None, **changes)
    assert job.run() == 1
    assert QUERY in job.failure
    assert "lr" not in job.failure


# --- files without tensors


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        (lambda weights: {"state_dict": weights, "epoch": 3}, "its keys are state_dict, epoch"),
        (lambda weights: list(weights.values()), "it holds Python objects"),
        (lambda weights: torch.nn.Linear(2, 2), "it holds Python objects"),
    ],
)
def test_a_checkpoint_or_a_pickled_model_is_an_error_before_data_is_read(folder: Path, saved: Any, found: str) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(saved(weights), folder / "pytorch_model.bin")
    with pytest.raises(SettingError, match=f"pytorch_model.bin has no tensors by the names of parameters: {found}"):
        resolve(folder)


def test_a_file_of_weights_that_torch_cannot_read_is_an_error_before_data_is_read(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"no weights" * 100)
    with pytest.raises(SettingError, match=r"its weights cannot be read: pytorch_model\.bin"):
        resolve(folder)


# --- integers


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_weights_of_an_integer_type_are_an_error_before_data_is_read(
    folder: Path, form: str, dtype: torch.dtype
) -> None:
    change_weights(folder, lambda weights: weights.update({QUERY: weights[QUERY].to(dtype)}), form)
    for action in (resolve, load):
        with pytest.raises(SettingError, match=r"encoder\.layer\.1\.attention\.self\.query\.weight .* type") as refused:
            action(folder)
        assert "float32" in str(refused.value)
    with pytest.raises(SettingError) as refused:
        resolve(folder, "tokenizer")
    assert refused.value.setting == "tokenizer"


def test_float8_weights_are_an_error_only_if_they_have_scales_of_their_own(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({QUERY: weights[QUERY].to(torch.float8_e4m3fn)}))
    assert resolve(folder).pretrained
    assert load(folder)
    change_weights(folder, lambda weights: weights.update({f"{QUERY}_scale_inv": torch.ones(1)}))
    for action in (resolve, load):
        with pytest.raises(SettingError, match="quantized"):
            action(folder)


def test_integers_that_are_no_weights_of_the_encoder_are_accepted(folder: Path) -> None:
    extra = {"embeddings.position_ids": torch.arange(34)[None], "cls.counter": torch.tensor([1])}
    change_weights(folder, lambda weights: weights.update(extra))
    assert resolve(folder).pretrained
    assert load(folder)


# --- shapes


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_size": 24}, r"embeddings\.LayerNorm\.\w+ has the shape \[16\] in the weights and \[24\]"),
        ({"max_position_embeddings": 20}, r"position_embeddings\.weight has the shape \[34, 16\] .* and \[20, 16\]"),
        ({"intermediate_size": 8}, r"encoder\.layer\.0\.intermediate\.dense\.\w+ has the shape \[32.* and \[8"),
        ({"vocab_size": 300}, r"embeddings\.word_embeddings\.weight has the shape .* and \[300, 16\]"),
    ],
)
def test_weights_that_do_not_fit_config_json_are_an_error_with_both_shapes_before_data_is_read(
    folder: Path, form: str, config: dict[str, int], message: str
) -> None:
    save_weights(folder, load_file(folder / "model.safetensors"), form)
    change_config(folder, **config)
    for action in (resolve, load):
        with pytest.raises(SettingError, match=message) as refused:
            action(folder)
        assert "config.json" in str(refused.value)
        assert "different models" in str(refused.value)
        assert "ignore_mismatched_sizes" not in str(refused.value)


def test_the_shapes_of_a_model_with_a_head_are_compared_under_the_names_of_the_encoder(tmp_path: Path) -> None:
    kind = next(kind for kind in KINDS if kind.family == "bert")
    folder = Path(save_kind(kind, tmp_path, AutoModelForMaskedLM))
    assert any(name.startswith("bert.") for name in load_file(folder / "model.safetensors"))
    assert resolve(folder).pretrained
    change_config(folder, max_position_embeddings=20)
    for action in (resolve, load):
        with pytest.raises(SettingError, match=r"position_embeddings\.weight has the shape"):
            action(folder)


def test_weights_that_start_anew_or_are_not_used_may_have_another_shape(folder: Path) -> None:
    def widen(weights: Weights) -> None:
        weights[QUERY] = torch.zeros(7, 7)
        weights["pooler.dense.weight"] = torch.zeros(7, 7)

    change_weights(folder, widen)
    assert resolve(folder, reinit_layers=1).pretrained
    assert load(folder, skip=("encoder.layer.1.",))
    settings = {"reinit_layers": 1, "pooling": "pooler"}
    assert resolve(folder, reinit_pooler=True, **settings).pretrained
    with pytest.raises(SettingError, match=r"pooler\.dense\.weight has the shape"):
        resolve(folder, **settings)


def test_an_encoder_config_that_contradicts_the_weights_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"hidden_size": 24}
    with pytest.raises(SettingError, match=r"\[24\] according to encoder_config"):
        resolve(folder, encoder_config=config)
    with pytest.raises(SettingError, match=r"\[24\] according to encoder_config"):
        load_weights(create_encoder(make_config(config)), str(folder))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_available], ids=lambda kind: kind.family)
def test_the_weights_of_every_tested_kind_are_accepted(kind: Any, tmp_path: Path) -> None:
    assert resolve(Path(save_kind(kind, tmp_path, AutoModel))).pretrained


# --- adapters


@pytest.mark.parametrize("has_model", [False, True])
def test_a_folder_with_an_adapter_is_an_error_that_says_how_to_merge_it(folder: Path, has_model: bool) -> None:
    config = {"peft_type": "LORA", "base_model_name_or_path": "bert-base-uncased", "r": 4, "target_modules": ["query"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"base_model.x.lora_A.weight": torch.zeros(4, 16)}, folder / "adapter_model.safetensors")
    backbone = create_encoder(make_config(json.loads((folder / "config.json").read_text())))
    if not has_model:
        (folder / "config.json").unlink()
        (folder / "model.safetensors").unlink()
    for action in (lambda: resolve(folder), lambda: load_weights(backbone, str(folder))):
        with pytest.raises(SettingError, match="adapter") as refused:
            action()
        assert "merge_and_unload()" in str(refused.value)
        assert "save_pretrained" in str(refused.value)
    with pytest.raises(SettingError, match="adapter") as refused:
        resolve(folder, "tokenizer")
    assert refused.value.setting == "tokenizer"
    assert load_tokenizer(str(folder)).prefix == (0,)


def test_an_adapter_on_the_hub_is_named_as_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"adapter_config.json": folder / "adapter_config.json"}
    monkeypatch.setattr(pretrained_files, "find_repository", lambda source: source.name)
    monkeypatch.setattr(pretrained_files, "download_file", lambda _, file: files.get(file))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SettingError, match="adapter"):
        read_config(PretrainedSource("encoder_name", "org/no-such-adapter"))
    files.clear()
    with pytest.raises(SettingError, match="no Hugging Face model"):
        read_config(PretrainedSource("encoder_name", "org/no-such-adapter"))


# --- URLs and the home folder


@pytest.mark.parametrize("setting", ["encoder_name", "tokenizer"])
@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("s3://bucket/encoder", "pretrained"),
        ("https://host/encoder.zip", "pretrained"),
        ("file:///encoder", "pretrained"),
        ("https://huggingface.co/bert-base-uncased", 'give its name: "bert-base-uncased"'),
        ("https://huggingface.co/org/model-x/tree/main", 'give its name: "org/model-x"'),
    ],
)
def test_a_url_is_named_as_one_with_a_fix(setting: str, url: str, fix: str) -> None:
    with pytest.raises(SettingError, match="is a URL") as refused:
        find_pretrained(PretrainedSource(setting, url))
    assert refused.value.setting == setting
    assert fix in str(refused.value)


def test_the_home_folder_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert is_folder("~/encoder")
    assert find_pretrained(PretrainedSource("encoder_name", "~/encoder")) == str(folder)
    assert tokenizer_fingerprint("~/encoder") == tokenizer_fingerprint(str(folder))
    job = JobSettings(**JOB, tokenizer="~/encoder")
    assert BertEncoderSettings(encoder_name="~/encoder").resolve(job).pretrained
    with pytest.raises(SettingError, match="no such folder"):
        find_pretrained(PretrainedSource("tokenizer", "~/nowhere"))
