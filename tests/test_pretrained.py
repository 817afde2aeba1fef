"""The source of a pretrained encoder and its tokenizer, and the errors before any data is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from encoder_folders import BERT_TOKENS, SIZES, save_encoder, save_tokenizer
from fusionzoo.data.text.pretrained_files import PretrainedSource, check_weights, find_pretrained
from fusionzoo.data.text.text_tokenizer import load_tokenizer
from fusionzoo.errors import HyperparametersError, SettingError, ZooError
from fusionzoo.hyperparameters import locate_pretrained_models
from fusionzoo.nn.hugging_face import check_tokenizer, create_encoder, load_weights, make_config, read_config
from fusionzoo.registry import TEXT_ENCODERS_GROUP, Registry
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings, ModelSettings
from shop import JobFolder

NOT_BERT = {"num_channels": None, "embedding_dim": None, "model_class": "multimodal_bert", "max_epochs": 1}


def make_source(name: str | Path, setting: str = "encoder_name") -> PretrainedSource:
    return PretrainedSource(setting, str(name))


def resolve_bert_settings(job_changes: dict[str, Any], **changes: Any) -> ModelSettings:
    columns = {"model_class": "bert", "id_name": "id", "label_name": "y", "text_name": "t", "num_classes": 2}
    job = JobSettings(**{**columns, "max_sen_len": 12, **job_changes})
    return Registry.discover(TEXT_ENCODERS_GROUP).load("bert").settings_class(**changes).resolve(job)


# --- the tokenizer of a pretrained encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_encoder(tmp_path_factory.mktemp("encoder"), words=["order", "box", "fine"])


def test_a_job_with_encoder_name_alone_uses_the_encoders_own_tokenizer(job: JobFolder, encoder: str) -> None:
    job.fill(rows=60, encoder_name=encoder, tokenizer=None, **NOT_BERT)
    assert job.run() == 0, job.failure
    assert json.loads((job.model / "hyperparameters.json").read_text())["tokenizer"] == encoder
    saved = json.loads((job.model / "tokenizer.json").read_text())
    assert saved["model"]["vocab"]["order"] == 4


@pytest.mark.parametrize("words", [["box", "order", "fine"], ["order", "box", "fine", "new"], []])
def test_a_tokenizer_with_other_tokens_than_those_of_the_encoder_is_an_error(
    tmp_path: Path, encoder: str, words: list[str]
) -> None:
    save_tokenizer(tmp_path, words=words)
    with pytest.raises(SettingError, match="tokens are not those of the encoder") as refused:
        resolve_bert_settings({"tokenizer": str(tmp_path)}, encoder_name=encoder)
    assert refused.value.setting == "tokenizer"


def test_the_same_words_with_other_special_tokens_are_an_error(tmp_path: Path, encoder: str) -> None:
    save_tokenizer(tmp_path, BERT_TOKENS, ["order", "box", "fine"])
    with pytest.raises(SettingError, match=r"4 of its \d+ tokens differ; '\[CLS\]' is id 0, and unknown"):
        resolve_bert_settings({"tokenizer": str(tmp_path)}, encoder_name=encoder)


def test_a_vocabulary_of_train_with_a_pretrained_encoder_is_an_error(encoder: str) -> None:
    with pytest.raises(SettingError, match="training text"):
        resolve_bert_settings({"tokenizer": "word"}, encoder_name=encoder)


def test_a_copy_of_the_encoders_tokenizer_is_accepted(tmp_path: Path, encoder: str) -> None:
    save_tokenizer(tmp_path, words=["order", "box", "fine"])
    assert resolve_bert_settings({"tokenizer": str(tmp_path)}, encoder_name=encoder).pretrained


def test_an_encoder_without_a_tokenizer_is_used_with_a_warning(
    tmp_path: Path, encoder: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "no_tokenizer"
    AutoModel.from_config(AutoConfig.for_model("roberta", vocab_size=90, **SIZES)).save_pretrained(folder)
    check_tokenizer(make_source(folder), encoder)
    assert "has no tokenizer of its own" in caplog.text


# --- files that are absent or damaged


def damage(folder: Path, how: str) -> str:
    """Damage the weights in a folder, and return what the message must contain."""
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 90868376\n"
    match how:
        case "lfs pointer":
            weights.write_bytes(pointer)
        case "lfs pointer of the tokenizer":
            (folder / "tokenizer.json").write_bytes(pointer)
            return "tokenizer.json"
        case "cut in the header":
            weights.write_bytes(content[:100])
        case "cut in the tensors":
            weights.write_bytes(content[:-10])
        case "empty":
            weights.write_bytes(b"")
        case "garbage":
            weights.write_bytes(b"\xff" * 5000)
        case "header without offsets":
            weights.write_bytes(b"\x0b\0\0\0\0\0\0\0" + b'{"a":{"b":1')
        case "absent":
            weights.unlink()
            return "no weights (it contains: config.json"
        case "torch file cut short":
            torch.save(AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
            saved = (folder / "pytorch_model.bin").read_bytes()
            (folder / "pytorch_model.bin").write_bytes(saved[: len(saved) // 2])
            weights.unlink()
            return "pytorch_model.bin"
        case "shard absent":
            weights.unlink()
            index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
            return "model-00001-of-00002.safetensors"
        case "index damaged":
            weights.unlink()
            (folder / "model.safetensors.index.json").write_text("[]")
            return "model.safetensors.index.json"
    return "model.safetensors"


DAMAGES = [
    "lfs pointer",
    "lfs pointer of the tokenizer",
    "cut in the header",
    "cut in the tensors",
    "empty",
    "garbage",
    "header without offsets",
    "absent",
    "torch file cut short",
    "shard absent",
    "index damaged",
]


@pytest.mark.parametrize("setting", ["encoder_name", "tokenizer"])
@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_files_are_named_with_the_setting_before_data_is_read(tmp_path: Path, how: str, setting: str) -> None:
    name = save_encoder(tmp_path)
    expected = damage(tmp_path, how)
    changes = {"encoder_name": name} if setting == "encoder_name" else {}
    with pytest.raises(SettingError) as refused:
        resolve_bert_settings({"tokenizer": name}, **changes)
    assert refused.value.setting == setting
    assert expected in str(refused.value)


def test_intact_weights_in_each_format_are_accepted(tmp_path: Path) -> None:
    save_encoder(tmp_path)
    check_weights(make_source(tmp_path), str(tmp_path))
    state = AutoModel.from_pretrained(tmp_path).state_dict()
    (tmp_path / "model.safetensors").unlink()
    for is_zip in (True, False):
        torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
        check_weights(make_source(tmp_path), str(tmp_path))


def test_weights_with_damaged_content_are_an_error_when_they_are_loaded(tmp_path: Path) -> None:
    name = save_encoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"garbage" * 100)
    backbone = create_encoder(make_config(read_config(make_source(name))))
    with pytest.raises(SettingError, match="cannot be read"):
        load_weights(backbone, name)


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    name = save_encoder(tmp_path)
    for content in ("{", "[]", "", '{"model_type": "roberta", "num_attention_heads": "x"}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(SettingError) as refused:
            resolve_bert_settings({"tokenizer": name})
        assert refused.value.setting == "tokenizer"


def test_a_job_with_damaged_weights_fails_with_the_cause_and_no_stack_trace(
    job: JobFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = save_encoder(tmp_path / "encoder")
    damage(tmp_path / "encoder", "lfs pointer")
    job.fill(rows=60, tokenizer=name, **NOT_BERT)
    assert job.run() == 1
    assert "git lfs pull" in job.failure
    assert "encoder_name" not in job.failure
    assert "Traceback" not in job.failure + caplog.text


# --- names


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./x/y/z", "a b", "x" * 300])
def test_a_value_that_is_neither_a_folder_nor_a_name_is_an_error(name: str) -> None:
    with pytest.raises(SettingError, match="no such folder") as refused:
        find_pretrained(make_source(name, "tokenizer"))
    assert refused.value.setting == "tokenizer"


# --- the channel `pretrained`


def test_the_channel_pretrained_provides_encoder_and_tokenizer(job: JobFolder) -> None:
    save_encoder(job.root / "input/data/pretrained")
    job.fill(rows=60, encoder_name="pretrained", tokenizer=None, **NOT_BERT)
    assert job.run() == 0, job.failure
    used = json.loads((job.model / "hyperparameters.json").read_text())
    assert used["encoder_name"] == used["tokenizer"] == str(job.root / "input/data/pretrained")


def test_a_folder_of_the_channel_pretrained_is_found(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "checkpoints", tmp_path / "cache")
    (paths.channel("pretrained") / "mini").mkdir(parents=True)
    with pytest.raises(HyperparametersError, match="or it is empty"):
        locate_pretrained_models({"tokenizer": "pretrained/mini"}, paths)
    (paths.channel("pretrained") / "mini/config.json").touch()
    located = locate_pretrained_models({"tokenizer": '"pretrained/mini"', "encoder_name": "pretrainedish"}, paths)
    assert located == {"tokenizer": str(paths.channel("pretrained") / "mini"), "encoder_name": "pretrainedish"}
    with pytest.raises(HyperparametersError, match="add a channel named pretrained"):
        locate_pretrained_models({"encoder_name": "pretrained/maxi"}, paths)


# --- Python code of a model


CODE = """
import pathlib
pathlib.Path(__file__).with_name("was_run").touch()
from transformers import PretrainedConfig, PreTrainedTokenizerFast
class Config(PretrainedConfig):
    model_type = "new_family"
class Tokens(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize("part", ["config", "tokenizer"])
def test_python_code_of_a_model_is_never_run_and_causes_no_prompt(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, home = tmp_path / "encoder", tmp_path / "home"
    name = save_encoder(folder)
    (folder / "code_x.py").write_text(CODE)
    config, tokenizer = folder / "config.json", folder / "tokenizer_config.json"
    if part == "config":
        new = {"model_type": "new_family", "auto_map": {"AutoConfig": "code_x.Config"}}
        config.write_text(json.dumps(json.loads(config.read_text()) | new))
    else:
        config.unlink()  # otherwise the library's own class for the family is used, without the code
        tokenizer.write_text(json.dumps({"tokenizer_class": "Tok", "auto_map": {"AutoTokenizer": ["code_x.Tokens"]}}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("there was a prompt"))
    monkeypatch.setenv("HF_HOME", str(home))
    load = (lambda: resolve_bert_settings({"tokenizer": name})) if part == "config" else (lambda: load_tokenizer(name))
    with pytest.raises(ZooError) as refused:
        load()
    assert name[:60] in str(refused.value)
    assert "trust_remote_code=True" not in str(refused.value)
    assert not list(tmp_path.rglob("was_run"))
    assert not list(home.rglob("*.py"))


def test_encoder_config_with_python_code_builds_the_class_of_the_library() -> None:
    config = make_config({"model_type": "bert", "auto_map": {"AutoModel": "code_x.Model"}, **SIZES})
    assert type(create_encoder(config)).__name__ == "BertModel"
