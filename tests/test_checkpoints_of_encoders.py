"""Checkpoints of pretrained encoders: heads, missing weights, models of sentence-transformers, and unknown families."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from encoder_folders import SIZES, save_encoder
from encoder_kinds import KINDS, TOKENIZERS, UNIGRAM, WORDS, EncoderKind, save_kind
from fusionzoo.data.text import pretrained_files
from fusionzoo.data.text.pretrained_files import PretrainedSource, find_pretrained
from fusionzoo.data.text.text_tokenizer import (
    TextTokenizer,
    load_tokenizer,
    restore_tokenizer,
    tokenizer_fingerprint,
    wrap_tokenizer,
)
from fusionzoo.errors import SettingError, TokenizerError
from fusionzoo.nn.hugging_face import create_encoder, load_weights, make_config, read_config
from fusionzoo.nn.pooling import last_token
from fusionzoo.nn.pretrained_pooling import choose_pooling
from fusionzoo.settings import JobSettings
from fusionzoo_bert import BertEncoderSettings

JOB = {"model_class": "bert", "id_name": "id", "label_name": "y", "text_name": "t", "num_classes": 2, "max_sen_len": 12}
UNIGRAM_KINDS = [kind for kind in KINDS if kind.tokenizer == UNIGRAM and kind.is_available]
WITH_HEADS = [kind for kind in KINDS if kind.is_available and kind.family in ("bert", "roberta", "deberta-v2", "mpnet")]


def load_encoder(folder: str, with_pooler: bool = False, skip: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """Return the weights of an encoder after loading those of a folder."""
    torch.manual_seed(1)
    backbone = create_encoder(make_config(read_config(PretrainedSource("encoder_name", folder))), with_pooler)
    load_weights(backbone, folder, skip)
    return dict(backbone.state_dict())


# --- weights


@pytest.mark.parametrize("head", [AutoModelForMaskedLM, AutoModelForSequenceClassification])
@pytest.mark.parametrize("kind", WITH_HEADS, ids=lambda kind: kind.family)
def test_the_weights_of_a_model_with_a_head_load_and_the_log_names_those_of_the_head(
    kind: EncoderKind, head: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_kind(kind, tmp_path, head)
    saved = load_file(tmp_path / "model.safetensors")
    with caplog.at_level(logging.INFO):
        loaded = load_encoder(folder)
    assert "has weights that the encoder does not use" in caplog.text
    found = {key.partition(".")[2]: value for key, value in saved.items()}
    assert loaded
    assert all(torch.equal(value, found[key]) for key, value in loaded.items() if key in found)
    assert len(loaded.keys() & found.keys()) > 20


def rename_weights(folder: Path, rename: Callable[[str], str | None]) -> None:
    """Rename the weights of a folder; None removes one."""
    file = folder / "model.safetensors"
    names = {key: rename(key) for key in load_file(file)}
    weights = load_file(file)
    save_file({new: weights[old] for old, new in names.items() if new is not None}, file, {"format": "pt"})


def test_weights_that_a_checkpoint_lacks_are_an_error_that_names_them_and_never_random(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path)
    rename_weights(tmp_path, lambda key: None if "layer.1.output.dense" in key else key)
    with pytest.raises(SettingError, match=r"its weights lack encoder\.layer\.1\.output\.dense\.bias"):
        load_encoder(folder)


def test_weights_under_other_names_are_an_error(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path)
    for prefix in ("someone_elses.", "module."):
        rename_weights(tmp_path, lambda key, prefix=prefix: prefix + key)  # type: ignore[misc]
        with pytest.raises(SettingError, match=rf"its weights lack .*; they have other names: {prefix}.*") as refused:
            load_encoder(folder)
        assert "save the encoder itself with save_pretrained" in str(refused.value)


@pytest.mark.parametrize("inside", ["", "checkpoint-500", "snapshots/0123abcd"])
def test_a_folder_without_config_json_is_an_error_that_names_the_models_in_it(tmp_path: Path, inside: str) -> None:
    (tmp_path / "refs").mkdir()
    if inside:
        save_encoder(tmp_path / inside)
    with pytest.raises(SettingError, match=r"the folder has no config\.json") as refused:
        BertEncoderSettings(encoder_name=str(tmp_path)).resolve(JobSettings(**JOB, tokenizer=str(tmp_path)))
    assert (f"itself: add '/{inside}' to the path" in str(refused.value)) == bool(inside)
    assert refused.value.setting == "encoder_name"


def test_a_pooler_without_weights_is_an_error_unless_it_starts_anew(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path)
    rename_weights(tmp_path, lambda key: None if key.startswith("pooler") else key)
    assert load_encoder(folder)
    assert load_encoder(folder, with_pooler=True, skip=("pooler.",))
    with pytest.raises(SettingError, match="no weights of a pooler") as refused:
        load_encoder(folder, with_pooler=True)
    assert refused.value.setting == "pooling"


def test_a_family_that_transformers_does_not_contain_is_an_error_that_names_both(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "modernbert9"}))
    with pytest.raises(SettingError, match=f"transformers {transformers.__version__} does not contain .*modernbert9"):
        read_config(PretrainedSource("encoder_name", folder))


def change_json(file: Path, **changes: Any) -> None:
    """Change values of a JSON file, which may not exist yet."""
    file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | changes))


@pytest.mark.parametrize(
    "stated",
    [
        {"return_dict": False},
        {"torchscript": True},
        {"output_hidden_states": True, "output_attentions": True},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flash_attention_2"},
    ],
    ids=str,
)
def test_what_another_program_needed_from_a_model_does_not_change_its_features(
    tmp_path: Path, stated: dict[str, Any]
) -> None:
    folder = save_encoder(tmp_path)
    expected = load_encoder(folder)
    change_json(tmp_path / "config.json", **stated)
    settings = BertEncoderSettings(encoder_name=folder).resolve(JobSettings(**JOB, tokenizer=folder))
    assert settings.encoder_config is not None
    backbone = create_encoder(make_config(settings.encoder_config))
    output = backbone.eval()(input_ids=torch.tensor([[5, 6, 7]]))
    assert output.last_hidden_state.shape[:2] == (1, 3)
    assert output.hidden_states is output.attentions is None
    loaded = load_encoder(folder)
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("is_special", [True, False])
def test_tokens_without_an_embedding_are_an_error_before_data_is_read(tmp_path: Path, is_special: bool) -> None:
    folder = save_encoder(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["covid", "[NEW]"], special_tokens=is_special)
    tokenizer.save_pretrained(folder)
    with pytest.raises(SettingError, match=r"covid, \[NEW\]\.\nFix: call model\.resize_token_embeddings") as refused:
        BertEncoderSettings(encoder_name=folder).resolve(JobSettings(**JOB, tokenizer=folder))
    assert refused.value.setting == "encoder_name"
    model = AutoModel.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    BertEncoderSettings(encoder_name=folder).resolve(JobSettings(**JOB, tokenizer=folder))


# --- models of sentence-transformers


def save_sentence_model(folder: Path, pooling: dict[str, Any], encoder: str = "") -> None:
    """Save a model of sentence-transformers with the encoder in a subfolder."""
    save_encoder(folder / encoder)
    kinds = {encoder: "models.Transformer", "1_Pooling": "models.Pooling", "2_Normalize": "models.Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
        ({"pooling_mode": "cls", "embedding_dimension": 16}, "first"),
    ],
)
def test_pooling_is_by_default_what_the_model_states(
    tmp_path: Path, pooling: dict[str, Any], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    save_sentence_model(tmp_path, pooling)
    with caplog.at_level(logging.INFO):
        assert choose_pooling(PretrainedSource("encoder_name", str(tmp_path))) == expected
    assert f"pooling = {expected}" in caplog.text


@pytest.mark.parametrize("pooling", [{"pooling_mode": "max"}, {"pooling_mode": ["mean", "max"]}, {}])
def test_a_pooling_that_does_not_exist_here_is_the_mean_with_a_warning(
    tmp_path: Path, pooling: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    save_sentence_model(tmp_path, pooling)
    assert choose_pooling(PretrainedSource("encoder_name", str(tmp_path))) == "mean"
    assert "pooling is mean" in caplog.text


def test_other_models_have_the_mean_and_a_setting_wins(tmp_path: Path) -> None:
    plain = save_encoder(tmp_path / "plain")
    assert choose_pooling(PretrainedSource("encoder_name", plain)) == "mean"
    save_sentence_model(tmp_path / "cls", {"pooling_mode": "cls"})
    name = str(tmp_path / "cls")
    job = JobSettings(**JOB, tokenizer=name)
    assert BertEncoderSettings(encoder_name=name).resolve(job).pooling == "first"
    assert BertEncoderSettings(encoder_name=name, pooling="mean").resolve(job).pooling == "mean"


@pytest.mark.parametrize("file", ["modules.json", "1_Pooling/config.json"])
def test_damaged_files_of_a_sentence_model_are_named(tmp_path: Path, file: str) -> None:
    save_sentence_model(tmp_path, {"pooling_mode": "cls"})
    for content in ("{", "[1]", '"x"'):
        (tmp_path / file).write_text(content)
        with pytest.raises(SettingError, match=file):
            choose_pooling(PretrainedSource("encoder_name", str(tmp_path)))


def test_the_encoder_of_an_older_sentence_model_is_found_in_its_subfolder(tmp_path: Path) -> None:
    save_sentence_model(tmp_path, {"pooling_mode_mean_tokens": True}, encoder="0_Transformer")
    name = str(tmp_path)
    assert find_pretrained(PretrainedSource("tokenizer", name)) == str(tmp_path / "0_Transformer")
    assert load_encoder(name).keys() == AutoModel.from_pretrained(tmp_path / "0_Transformer").state_dict().keys() - {
        "pooler.dense.weight",
        "pooler.dense.bias",
    }
    assert load_tokenizer(name).prefix == (0,)
    assert tokenizer_fingerprint(name) == tokenizer_fingerprint(str(tmp_path / "0_Transformer"))


@pytest.mark.parametrize("file", ["sentence_bert_config.json", "sentence_xlm-roberta_config.json"])
@pytest.mark.parametrize("encoder", ["", "0_Transformer"])
def test_text_is_lower_case_if_the_sentence_model_was_trained_so(tmp_path: Path, file: str, encoder: str) -> None:
    save_sentence_model(tmp_path, {"pooling_mode": "mean"}, encoder)
    name, folder = str(tmp_path), tmp_path / encoder
    change_json(folder / "tokenizer.json", normalizer=None)  # that of a cased model
    change_json(folder / file, max_seq_length=12, do_lower_case=False)
    assert lists(load_tokenizer(name), "RED Box") != lists(load_tokenizer(name), "red box")
    fingerprint = tokenizer_fingerprint(name)
    change_json(folder / file, do_lower_case=True)
    tokenizer = load_tokenizer(name)
    assert lists(tokenizer, "RED Box") == lists(tokenizer, "red box")
    restored = restore_tokenizer(name, tokenizer.backend.to_str(), tokenizer.pad_id)
    assert lists(restored, "RED Box") == lists(restored, "red box")
    assert tokenizer_fingerprint(name) != fingerprint
    (folder / file).write_text("[1]")
    with pytest.raises(SettingError, match=file):
        load_tokenizer(name)


# --- tokenizers


def lists(tokenizer: TextTokenizer, text: str) -> list[int]:
    return [int(i) for i in tokenizer.encode([text]).values]


@pytest.mark.parametrize("token", ["<url>", "[NUM]", "red", "Red"])
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_extra_special_tokens_are_encoded_as_transformers_does_and_those_with_a_role_are_plain_text(
    tmp_path: Path, family: str, token: str
) -> None:
    folder = save_kind(next(kind for kind in KINDS if kind.family == family), tmp_path)
    loaded = AutoTokenizer.from_pretrained(folder)
    key = "extra_special_tokens" if hasattr(loaded, "extra_special_tokens") else "additional_special_tokens"
    loaded.add_special_tokens({key: [token, loaded.sep_token]})
    loaded.save_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    restored = restore_tokenizer(folder, tokenizer.backend.to_str(), tokenizer.pad_id)
    text = f"the {token} order Red {token}"
    expected = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
    assert lists(tokenizer, text) == lists(restored, text) == expected
    assert loaded.convert_tokens_to_ids(token) in expected
    for special in (loaded.sep_token, loaded.cls_token, loaded.pad_token):
        assert loaded.convert_tokens_to_ids(special) not in lists(tokenizer, f"the {special} order")


@pytest.mark.parametrize("family", ["deberta-v2", "xlm-roberta", "roberta", "bert"])
def test_a_folder_without_a_vocabulary_is_an_error(tmp_path: Path, family: str) -> None:
    save_encoder(tmp_path, family)
    for file in tmp_path.glob("token*"):
        file.unlink()
    with pytest.raises(TokenizerError, match="could not be loaded"):
        load_tokenizer(str(tmp_path))


@pytest.fixture(scope="module")
def piece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like that of DeBERTa-v3: a SentencePiece model and no tokenizer.json."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("pieces")
    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    texts = [f"{a} {b} was the {c}" for a in WORDS for b in WORDS for c in WORDS]
    sizes = {"vocab_size": 30, "model_type": "unigram", "num_threads": 1, "minloglevel": 2}
    with (folder / "spm.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=file, **pieces, **ids, **sizes
        )
    AutoConfig.for_model("deberta-v2", **SIZES).save_pretrained(folder)
    return folder


def test_a_sentencepiece_model_without_tokenizer_json_encodes_as_sentencepiece_does(piece_folder: Path) -> None:
    import sentencepiece

    expected = sentencepiece.SentencePieceProcessor(model_file=str(piece_folder / "spm.model"))
    tokenizer = load_tokenizer(str(piece_folder))
    assert (tokenizer.prefix, tokenizer.suffix, tokenizer.pad_id, tokenizer.unknown_id) == ((1,), (2,), 0, 3)
    for text in ("the red order was fine", "redbox é!"):
        assert tokenizer.encode([text]).values.tolist() == expected.encode(text)


def test_without_sentencepiece_the_error_names_the_package(
    piece_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(piece_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "spm.model").write_bytes(b"transformers asks for tiktoken, as it does without sentencepiece")
    monkeypatch.setattr(pretrained_files, "_is_installed", lambda module: module != "sentencepiece")
    with pytest.raises(SettingError, match="pip install sentencepiece protobuf") as refused:
        load_tokenizer(str(tmp_path), "encoder_name")
    assert refused.value.setting == "encoder_name"


@pytest.mark.parametrize("kind", UNIGRAM_KINDS, ids=lambda kind: kind.family)
def test_text_that_a_unigram_vocabulary_lacks_becomes_the_unknown_token(kind: EncoderKind) -> None:
    backend = TOKENIZERS[kind.tokenizer](kind)
    backend.add_special_tokens(list(kind.special))
    tokenizer = wrap_tokenizer("x", backend, 0)
    unknown = kind.special.index(str(kind.token("unk_token")))
    assert tokenizer.unknown_id == unknown
    assert unknown in tokenizer.encode(["the ☃ order"]).values.tolist()
    assert not set(tokenizer.special) & set(tokenizer.encode([f"the {kind.special[0]} order"]).values.tolist())


def test_last_token_ignores_padding_and_averages_the_chunks_of_a_row() -> None:
    tokens = torch.arange(12.0).reshape(3, 4, 1)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True], [True, False, False, False]])
    pooled = last_token(tokens, mask, torch.tensor([0, 0, 1]), 3)
    assert pooled.tolist() == [[(1 + 7) / 2], [8], [0]]
