"""Every kind of encoder in docs/encoders.md works from the folder of a model to the exported scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

from encoder_kinds import KINDS, EncoderKind, format_table, save_kind
from fusionzoo.artifacts.onnx_export import export_onnx
from fusionzoo.data.text.text_tokenizer import load_tokenizer
from fusionzoo.errors import ExportError, SettingError
from fusionzoo.nn.schema import Batch, InputSpec, TextSpec
from fusionzoo.nn.transformer_layers import count_layers_above
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.class_objective import Softmax
from fusionzoo_bert import BertEncoder, BertEncoderSettings
from shop import made_split

AVAILABLE = [kind for kind in KINDS if kind.is_available]
MAX_TOKENS = 32
TEXTS = ("the red order was fine!", "a", "broken, late; é ☃", "box and order late fine")  # with unknown characters
JOB = {"model_class": "bert", "id_name": "id", "label_name": "y", "text_name": "t", "num_classes": 2}


@pytest.fixture(scope="module", params=AVAILABLE, ids=lambda kind: kind.family)
def kind(request: pytest.FixtureRequest) -> EncoderKind:
    assert isinstance(request.param, EncoderKind)
    return request.param


@pytest.fixture(scope="module")
def folder(kind: EncoderKind, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_kind(kind, tmp_path_factory.mktemp(kind.family))


def resolve(folder: str, max_sen_len: int = MAX_TOKENS, **settings: Any) -> BertEncoderSettings:
    job = JobSettings(**JOB, tokenizer=folder, max_sen_len=max_sen_len)
    return BertEncoderSettings(encoder_name=folder, **settings).resolve(job)


def build(folder: str, settings: BertEncoderSettings) -> BertEncoder:
    tokenizer = load_tokenizer(folder)
    spec = InputSpec(TextSpec(tokenizer.vocab_size, tokenizer.pad_id, MAX_TOKENS, 2, folder), (), (), 2)
    return BertEncoder(spec, settings)


def make_batch(folder: str) -> Batch:
    """Return one chunk per text, padded to more than the longest one, and a row with two more chunks."""
    tokenizer = load_tokenizer(folder)
    chunks = [[*tokenizer.prefix, *ids.tolist(), *tokenizer.suffix] for ids in tokenizer.encode(TEXTS)]
    lengths = [len(chunk) for chunk in [*chunks, *chunks[:2]]]
    split = made_split(
        np.array([0, 1, 2, 3, 4, 6]),
        np.cumsum([0, *lengths]),
        tokens=np.concatenate([*chunks, *chunks[:2]]).astype(np.int32),
        pad_id=tokenizer.pad_id,
    )
    return Batch.from_arrays(split.batch(np.arange(5)))


def encode_alone(folder: str, text: str) -> Tensor:
    """Return what transformers computes for one text, [length, dim]."""
    auto_class = AutoModelForTextEncoding if Path(folder).name.startswith("t5") else AutoModel
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(text)["input_ids"]])
    with torch.inference_mode():
        features: Tensor = auto_class.from_pretrained(folder).float().eval()(input_ids=ids).last_hidden_state[0]
    return features


def test_the_page_has_the_table_of_the_tested_kinds() -> None:
    page = (Path(__file__).parents[1] / "docs/encoders.md").read_text("utf-8")
    assert "".join(line for line in page.splitlines(keepends=True) if line.startswith("|")) == format_table()


def test_texts_in_a_batch_have_the_features_that_transformers_computes_alone(kind: EncoderKind, folder: str) -> None:
    settings = resolve(folder)
    encoder = build(folder, settings).eval()
    assert encoder.load_pretrained(settings)
    with torch.inference_mode():
        features = encoder(make_batch(folder))
    for i, text in enumerate(TEXTS):
        expected = encode_alone(folder, text)
        assert torch.allclose(features.tokens[i, : len(expected)], expected, atol=1e-5)
        assert torch.allclose(features.pooled[i], expected.mean(dim=0), atol=1e-5)


def test_the_pooler_is_that_of_the_family_or_an_error(kind: EncoderKind, folder: str) -> None:
    if not kind.has_pooler:
        with pytest.raises(SettingError, match=f"family {kind.family} have no pooler"):
            resolve(folder, pooling="pooler")
        return
    settings = resolve(folder, pooling="pooler")
    encoder = build(folder, settings).eval()
    encoder.load_pretrained(settings)
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(TEXTS[0])["input_ids"]])
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(folder).eval()(input_ids=ids).pooler_output[0]
        assert torch.allclose(encoder(make_batch(folder)).pooled[0], expected, atol=1e-5)


def test_the_longest_chunk_is_found(kind: EncoderKind, folder: str) -> None:
    if kind.limit is None:
        resolve(folder, max_sen_len=100)
        return
    resolve(folder, max_sen_len=kind.limit)
    with pytest.raises(SettingError, match=f"has positions for {kind.limit} tokens"):
        resolve(folder, max_sen_len=kind.limit + 1)


def test_gradient_checkpointing_computes_the_same_gradients_or_is_an_error(kind: EncoderKind, folder: str) -> None:
    if not kind.can_checkpoint:
        with pytest.raises(SettingError, match=f"family {kind.family} do not support gradient checkpointing"):
            resolve(folder, use_gradient_checkpointing=True)
        return
    batch, gradients = make_batch(folder), []
    for is_on in (False, True):
        settings = resolve(folder, use_gradient_checkpointing=is_on)
        encoder = build(folder, settings).train()
        encoder.load_pretrained(settings)
        torch.manual_seed(0)
        encoder(batch).pooled.square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert gradients[0]
    assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-5) for name in gradients[0])


def test_the_last_layers_can_start_anew_and_have_rates_of_their_own_or_it_is_an_error(
    kind: EncoderKind, folder: str
) -> None:
    if not kind.has_layers:
        with pytest.raises(SettingError, match=f"layers of {kind.family} share their weights"):
            resolve(folder, reinit_layers=1)
        assert count_layers_above(build(folder, resolve(folder))) is None
        return
    settings = resolve(folder, reinit_layers=1)
    torch.manual_seed(1)  # the folder has the weights of seed 0
    encoder, complete = build(folder, settings), build(folder, resolve(folder))
    encoder.load_pretrained(settings)
    complete.load_pretrained(resolve(folder))
    depths = count_layers_above(encoder)
    assert depths is not None
    layers = encoder.backbone.config.num_hidden_layers
    assert set(depths.values()) >= set(range(layers + 1))
    pretrained = dict(complete.named_parameters())
    matrices = {name: p for name, p in encoder.named_parameters() if p.dim() > 1 and ".pooler." not in name}
    is_new = {name: not torch.equal(weight, pretrained[name]) for name, weight in matrices.items()}
    in_last_layer = {name: depths[name] == 0 and not name.startswith("backbone.pooler") for name in matrices}
    assert is_new == in_last_layer


class Classifier(nn.Module):
    """Two classes from the pooled features of an encoder."""

    def __init__(self, encoder: BertEncoder) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.dim, 2)

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(self.encoder(batch).pooled)
        return logits


def test_the_export_scores_every_shape_as_pytorch_or_is_an_error(
    kind: EncoderKind, folder: str, tmp_path: Path
) -> None:
    lengths = [3, 9, 20, 24, 7, 12, 5, 24, 30, 17]
    split = made_split(np.array([0, 1, 3, 5, 6, 8, 10]), np.cumsum([0, *lengths]))
    settings = resolve(folder)
    model = Classifier(build(folder, settings)).eval()
    model.encoder.load_pretrained(settings)
    if not kind.exports:
        with pytest.raises(ExportError, match=f"Hugging Face encoder of family {kind.family}"):
            export_onnx(model, Softmax(), split, tmp_path / "model.onnx", MAX_TOKENS)
        return
    checked = export_onnx(model, Softmax(), split, tmp_path / "model.onnx", MAX_TOKENS)
    assert {each["length"] for each in checked["batches"]} >= {MAX_TOKENS, 30}


def test_a_saved_encoder_loads_without_the_folder_of_the_pretrained_model(
    kind: EncoderKind, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(folder)
    encoder = build(folder, settings).eval()
    encoder.load_pretrained(settings)
    batch = make_batch(folder)
    restored = BertEncoderSettings.model_validate_json(settings.model_dump_json().replace(folder, "/nowhere"))
    tokenizer = load_tokenizer(folder)
    spec = InputSpec(TextSpec(tokenizer.vocab_size, tokenizer.pad_id, MAX_TOKENS, 2, "x"), (), (), 2)
    loaded = BertEncoder(spec, restored).eval()
    loaded.load_state_dict(encoder.state_dict())
    with torch.inference_mode():
        assert torch.equal(loaded(batch).pooled, encoder(batch).pooled)
