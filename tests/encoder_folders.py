"""Folders of tiny Hugging Face encoders with random weights and a tokenizer of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

ROBERTA_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # begin, padding, end and unknown
BERT_TOKENS = ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save_tokenizer(folder: Path, special: Sequence[str] = ROBERTA_TOKENS, words: Sequence[str] = ()) -> dict[str, int]:
    """Save a WordPiece tokenizer with letters and these words to a folder, and return its ids."""
    begin, padding, end, unknown = special
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    ids = {token: i for i, token in enumerate([*special, *words, *letters, *(f"##{letter}" for letter in letters)])}
    backend = Tokenizer(models.WordPiece(ids, unk_token=unknown))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, ids[begin]), (end, ids[end])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=padding, unk_token=unknown, cls_token=begin, sep_token=end
    ).save_pretrained(folder)
    return ids


def save_encoder(folder: Path, family: str = "roberta", words: Sequence[str] = (), **config: Any) -> str:
    """Save a tokenizer and a random encoder of a family that fits it to a folder, and return the folder's path."""
    ids = save_tokenizer(folder, words=words)
    sizes = {**SIZES, "max_position_embeddings": 34, "vocab_size": len(ids), "pad_token_id": ids["<pad>"]}
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(family, **{**sizes, **config})).save_pretrained(folder)
    return str(folder)
