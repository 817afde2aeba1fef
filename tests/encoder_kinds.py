"""Kinds of Hugging Face encoders, each as a folder with a tiny random model and a tokenizer of its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from packaging.version import Version
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel

from encoder_folders import SIZES

WORDS = "order box red blue fine late broken was the and".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
OLDEST = "4.37"  # version of transformers that is supported
POSITIONS = 40  # size of the position table, where there is one
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
DEBERTA = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
ALBERT = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
CAMEMBERT = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>")
T5 = ("<pad>", "</s>", "<unk>")
QWEN = ("<|endoftext|>",)
GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>")
ROLES = {
    "pad_token": ("[PAD]", "<pad>", "<|endoftext|>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
    "bos_token": ("[CLS]", "<s>", "<bos>"),
    "eos_token": ("[SEP]", "</s>", "<eos>", "<|endoftext|>"),
}


@dataclass(frozen=True)
class EncoderKind:
    """A family of encoders, and what its checkpoints have in common."""

    family: str
    checkpoints: str  # well-known ones
    tokenizer: str  # a key of TOKENIZERS
    special: Sequence[str]
    tokenizer_class: str
    config: Mapping[str, Any] = field(default_factory=dict)
    has_pooler: bool = False
    limit: int | None = POSITIONS  # tokens of the longest chunk; None: no limit
    since: str = OLDEST  # the first version of transformers that contains it
    checkpointing_since: str | None = OLDEST  # the first version with gradient checkpointing; None: no version
    has_layers: bool = True  # with weights of their own
    exports: bool = True

    @property
    def is_available(self) -> bool:
        """Return whether the installed transformers contains it."""
        return Version(transformers.__version__) >= Version(self.since)

    @property
    def can_checkpoint(self) -> bool:
        """Return whether the installed transformers has gradient checkpointing for it."""
        since = self.checkpointing_since
        return since is not None and Version(transformers.__version__) >= Version(since)

    def token(self, role: str) -> str | None:
        """Return the token with a role; None if it has none."""
        return next((token for token in ROLES[role] if token in self.special), None)


def build_word_pieces(kind: EncoderKind) -> Tokenizer:
    """Return a WordPiece tokenizer with words and letters, lower-cased."""
    pieces = [*kind.special, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS), "!", ","]
    backend = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=str(kind.token("unk_token")))
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def build_byte_pairs(kind: EncoderKind) -> Tokenizer:
    """Return a byte-level BPE tokenizer: every byte, and one merge."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # ModernBERT's special tokens come last, those of the others first.
    is_last = kind.family == "modernbert"
    pieces = [*alphabet, "re", "red", *kind.special] if is_last else [*kind.special, *alphabet, "re", "red"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocabulary, [("r", "e"), ("re", "d")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def build_sentence_pieces(kind: EncoderKind) -> Tokenizer:
    """Return a SentencePiece unigram tokenizer with words and letters."""
    unknown = str(kind.token("unk_token"))
    pieces = [(token, 0.0) for token in kind.special]
    pieces += [(f"▁{word}", -2.0) for word in WORDS] + [(letter, -5.0) for letter in f"▁{LETTERS}!"]
    backend = Tokenizer(models.Unigram(pieces, unk_id=kind.special.index(unknown)))
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend


def build_pairs_with_byte_fallback(kind: EncoderKind) -> Tokenizer:
    """Return a SentencePiece BPE tokenizer, which encodes what it lacks as bytes."""
    pieces = [*kind.special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *LETTERS, "re", "red"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    merges = [("r", "e"), ("re", "d")]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return backend


TOKENIZERS: dict[str, Callable[[EncoderKind], Tokenizer]] = {
    "WordPiece": build_word_pieces,
    "byte-level BPE": build_byte_pairs,
    "SentencePiece unigram": build_sentence_pieces,
    "SentencePiece BPE": build_pairs_with_byte_fallback,
}

WORD_PIECE, BYTE_PAIRS, UNIGRAM = "WordPiece", "byte-level BPE", "SentencePiece unigram"
DEBERTA_ATTENTION = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["c2p", "p2c"],
    "type_vocab_size": 0,
}
V2_ATTENTION = {"norm_rel_ebd": "layer_norm", "share_att_key": True, "position_buckets": 8}
ROTARY_KEYS = {"num_key_value_heads": 1}
GENERIC = "PreTrainedTokenizerFast"
SIZES_OF_DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
SIZES_OF_MOBILEBERT = {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}
SIZES_OF_MODERNBERT = {"num_hidden_layers": 4, "local_attention": 8, "global_attn_every_n_layers": 3}
SIZES_OF_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 160}
SIZES_OF_GEMMA = {**ROTARY_KEYS, "head_dim": 8, "sliding_window": 8, "num_hidden_layers": 6, "vocab_size": 304}
NARROW = {"embedding_size": 8}  # embeddings narrower than the layers
FROM_5_23: dict[str, Any] = {"has_pooler": True, "checkpointing_since": "5.23"}
POOLER: dict[str, Any] = {"has_pooler": True}
AFTER_PADDING: dict[str, Any] = {"has_pooler": True, "limit": POSITIONS - 2}  # positions start after that of padding
ANY: dict[str, Any] = {"limit": None}
KINDS = (
    EncoderKind("bert", "BERT, MiniLM, E5, BGE", WORD_PIECE, BERT, "BertTokenizer", **POOLER),
    EncoderKind("distilbert", "DistilBERT", WORD_PIECE, BERT, "DistilBertTokenizer", SIZES_OF_DISTILBERT),
    EncoderKind("electra", "ELECTRA", WORD_PIECE, BERT, "ElectraTokenizer", NARROW),
    EncoderKind("mpnet", "MPNet", WORD_PIECE, ROBERTA, "MPNetTokenizer", checkpointing_since=None, **AFTER_PADDING),
    EncoderKind("mobilebert", "MobileBERT", WORD_PIECE, BERT, "MobileBertTokenizer", SIZES_OF_MOBILEBERT, **FROM_5_23),
    EncoderKind("roberta", "RoBERTa", BYTE_PAIRS, ROBERTA, "RobertaTokenizer", **AFTER_PADDING),
    EncoderKind(
        *("longformer", "Longformer", BYTE_PAIRS, ROBERTA, "LongformerTokenizer", {"attention_window": [16, 16]}),
        exports=False,
        **AFTER_PADDING,
    ),
    EncoderKind("modernbert", "ModernBERT", BYTE_PAIRS, BERT, GENERIC, SIZES_OF_MODERNBERT, since="4.48", **ANY),
    EncoderKind("deberta", "DeBERTa", BYTE_PAIRS, DEBERTA, "DebertaTokenizer", DEBERTA_ATTENTION, **ANY),
    EncoderKind(
        *("deberta-v2", "DeBERTa-v2, DeBERTa-v3, mDeBERTa", UNIGRAM, DEBERTA, "DebertaV2Tokenizer"),
        {**DEBERTA_ATTENTION, **V2_ATTENTION, **NARROW},
        **ANY,
    ),
    EncoderKind(
        *("xlm-roberta", "XLM-R, multilingual E5, BGE-M3", UNIGRAM, ROBERTA, "XLMRobertaTokenizer"), **AFTER_PADDING
    ),
    EncoderKind("camembert", "CamemBERT", UNIGRAM, CAMEMBERT, "CamembertTokenizer", **AFTER_PADDING),
    EncoderKind(
        *("albert", "ALBERT", UNIGRAM, ALBERT, "AlbertTokenizer", NARROW),
        checkpointing_since=None,
        has_layers=False,
        **POOLER,
    ),
    EncoderKind("big_bird", "BigBird", UNIGRAM, ALBERT, "BigBirdTokenizer", **POOLER),
    EncoderKind("t5", "T5, FLAN-T5, sentence-T5", UNIGRAM, T5, "T5Tokenizer", SIZES_OF_T5, **ANY),
    EncoderKind("nomic_bert", "Nomic Embed", WORD_PIECE, BERT, "BertTokenizer", since="5.23", **ANY),
    EncoderKind("gte", "GTE", WORD_PIECE, BERT, "BertTokenizer", since="5.23", **ANY),
    EncoderKind("eurobert", "EuroBERT", BYTE_PAIRS, BERT, GENERIC, ROTARY_KEYS, since="5.23", **ANY),
    EncoderKind(
        *("qwen3", "Qwen3-Embedding", BYTE_PAIRS, QWEN, "Qwen2Tokenizer", {**ROTARY_KEYS, "head_dim": 8}),
        since="4.51",
        **ANY,
    ),
    EncoderKind(
        *("gemma3_text", "EmbeddingGemma", "SentencePiece BPE", GEMMA, "GemmaTokenizer"),
        {**SIZES_OF_GEMMA, "use_bidirectional_attention": True},
        since="4.57",
        exports=False,
        **ANY,
    ),
)


def format_table() -> str:
    """Return the table of docs/encoders.md."""
    header = ["family", "checkpoints", "transformers", "tokenizer", "longest chunk"]
    columns = [*header, "pooler", "gradient checkpointing", "layers", "ONNX"]
    rows = [columns, ["---"] * len(columns)]
    for kind in KINDS:
        limit = "any" if kind.limit is None else "positions" + (" - 2" if kind.limit < POSITIONS else "")
        checkpointing = {OLDEST: "yes", None: "no"}.get(kind.checkpointing_since, f"from {kind.checkpointing_since}")
        pooler, layers, onnx = ("yes" if flag else "no" for flag in (kind.has_pooler, kind.has_layers, kind.exports))
        start = [f"`{kind.family}`", kind.checkpoints, kind.since, kind.tokenizer, limit]
        rows.append([*start, pooler, checkpointing, layers, onnx])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def save_kind(kind: EncoderKind, folder: Path, auto_class: Any = AutoModel) -> str:
    """Save a tokenizer and a random model of a kind, with the head of an auto class, to a folder; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = TOKENIZERS[kind.tokenizer](kind)
    ids = backend.get_vocab()
    backend.add_special_tokens(list(kind.special))
    first, last = kind.token("cls_token"), kind.token("sep_token")
    first = first or ("<bos>" if "<bos>" in kind.special else None)
    used = [token for token in (first, last) if token is not None]
    if used:
        template = " ".join(token for token in (first, "$A", last) if token is not None)
        backend.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(token, ids[token]) for token in used]
        )
    backend.save(str(folder / "tokenizer.json"))
    roles = {role: kind.token(role) for role in ROLES if kind.token(role) is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind.tokenizer_class, **roles}))
    special_ids = {f"{role}_id": ids[token] for role, token in roles.items() if role != "unk_token" and token}
    sizes = {**SIZES, "max_position_embeddings": POSITIONS, "vocab_size": len(ids)}
    config = AutoConfig.for_model(kind.family, **{**sizes, **special_ids, **kind.config})
    torch.manual_seed(0)
    auto_class.from_config(config).save_pretrained(folder)
    return str(folder)
