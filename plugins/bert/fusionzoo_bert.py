"""Any Hugging Face text encoder, alone and in late fusion with a table (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from fusionzoo import hookimpl
from fusionzoo.errors import SettingFault
from fusionzoo.nn.pooling import mean_by_row, token_mean
from fusionzoo.nn.recipes import LateFusion, TextOnly
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.settings import FusionSettings, JobSettings, ModelSettings

log = logging.getLogger("fusionzoo.bert")


class BertEncoderSettings(ModelSettings):
    """Settings of the text encoder `bert`."""

    default_tokenizer = "bert-base-uncased"
    needs = reads = frozenset({"text"})

    encoder_name: str | None = Field(
        None, description="Hugging Face name or folder of the pretrained encoder; by default that of `tokenizer`."
    )
    encoder_config: dict[str, Any] | None = Field(
        None, description="Hugging Face configuration; without encoder_name, the encoder starts from random weights."
    )
    pooling: Literal["mean", "first", "pooler"] = Field(
        "mean", description="A text's vector: mean of its tokens, first token, or the encoder's own pooler."
    )
    reinit_layers: int = Field(0, ge=0, le=1000, description="How many of the last layers start from random weights.")
    reinit_pooler: bool = Field(False, description="Whether the pooler starts from random weights.")
    use_gradient_checkpointing: bool = Field(False, description="Trade a third more time for much less memory.")
    freeze_text_encoder: bool = Field(False, description="Keep the pretrained weights as they are.")

    @property
    def pretrained(self) -> bool:
        return self.encoder_name is not None

    def resolve(self, job: JobSettings) -> Self:
        """The settings with the encoder's name and configuration filled in, and checked against the job."""
        name = self.encoder_name
        if name is None and self.encoder_config is None:
            if job.tokenizer == "word":
                raise SettingFault(
                    "tokenizer",
                    "word",
                    "the text encoder 'bert' was not told which weights to load",
                    "give a Hugging Face tokenizer, or set encoder_config to train one from random weights",
                )
            name = job.tokenizer
        values = self.encoder_config or _config_of(str(name))
        config = _config(values)
        if config.is_encoder_decoder:
            raise SettingFault("encoder_name", name, f"{config.model_type} is no encoder alone", "choose an encoder")
        if self.reinit_layers > config.num_hidden_layers:
            layers = f"the encoder has {config.num_hidden_layers} layers"
            raise SettingFault("reinit_layers", self.reinit_layers, layers, f"0 to {config.num_hidden_layers}")
        limit = _positions(config)
        if limit is not None and job.max_sen_len > limit:
            problem = f"the encoder has positions for {limit} tokens"
            raise SettingFault(
                "max_sen_len", job.max_sen_len, problem, f"give {limit} or less; longer texts are chunked"
            )
        if self.reinit_pooler and self.pooling != "pooler":
            log.warning(
                "reinit_pooler has no effect: pooling is '%s', so the encoder's pooler is not used.", self.pooling
            )
        return self.model_copy(update={"encoder_name": name, "encoder_config": values})


class BertSettings(FusionSettings):
    """Settings of the text-only model `bert`."""

    needs = reads = frozenset({"text"})
    text_encoder: Literal["bert"] = Field("bert", description="The text encoder of this model.")


class MultimodalBertSettings(FusionSettings):
    """Settings of `multimodal_bert`, the late fusion."""

    text_encoder: Literal["bert"] = Field("bert", description="The text encoder of this model.")


class BertEncoder(nn.Module):
    """A Hugging Face encoder over packed chunks: token features [chunks, length, dim] and one vector per row."""

    def __init__(self, spec: InputSpec, settings: BertEncoderSettings) -> None:
        super().__init__()
        if spec.text is None or settings.encoder_config is None:
            raise ValueError("the text encoder 'bert' needs text, and settings that `resolve` has completed")
        self.pooling, self.frozen = settings.pooling, settings.freeze_text_encoder
        config = _config(settings.encoder_config)
        if not settings.pretrained:
            config.vocab_size, config.pad_token_id = spec.text.vocab_size, spec.text.pad_id
        if spec.text.vocab_size > config.vocab_size:
            raise SettingFault(
                "tokenizer",
                spec.text.tokenizer,
                f"it has {spec.text.vocab_size} tokens, the encoder {settings.encoder_name} only {config.vocab_size}",
                "use the encoder's own tokenizer",
            )
        self.backbone: PreTrainedModel = AutoModel.from_config(config).float()  # type: ignore[no-untyped-call]
        if self.pooling != "pooler" and getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # it would get no gradient
        if settings.use_gradient_checkpointing:
            self.backbone.gradient_checkpointing_enable({"use_reentrant": False})
        if self.frozen:
            self.backbone.requires_grad_(False)
        self.dim = int(config.hidden_size)

    def train(self, mode: bool = True) -> Self:
        """Dropout is on while training (`from_pretrained` leaves it off), except in a frozen encoder."""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self

    def forward(self, batch: Batch) -> TextFeatures:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.backbone(input_ids=batch.tokens, attention_mask=batch.token_mask.long())
        tokens = output.last_hidden_state
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, self._pool(output, batch))

    def _pool(self, output: Any, batch: Batch) -> Tensor:
        if self.pooling == "mean":
            return token_mean(output.last_hidden_state, batch.token_mask, batch.chunk_row, batch.rows)
        chunk = output.pooler_output if self.pooling == "pooler" else output.last_hidden_state[:, 0]
        return mean_by_row(chunk, batch.chunk_row, batch.rows)

    def load_pretrained(self, name: str, settings: BertEncoderSettings) -> None:
        """Put the pretrained weights in place, except where a layer or the pooler is to start anew."""
        if not sys.stderr.isatty():
            disable_progress_bar()  # type: ignore[no-untyped-call]  # it would be one huge line of a log
        source = AutoModel.from_pretrained(name).float().state_dict()
        anew = _prefixes_to_reinit(self.backbone, settings)
        wanted = {k: v for k, v in source.items() if k in self.backbone.state_dict() and not k.startswith(anew)}
        left = self.backbone.load_state_dict(wanted, strict=False)
        if missing := [key for key in left.missing_keys if not key.startswith(anew)]:
            raise SettingFault("encoder_name", name, f"its weights lack {missing[:3]}", "choose another, or mend it")


def _prefixes_to_reinit(backbone: PreTrainedModel, settings: BertEncoderSettings) -> tuple[str, ...]:
    prefixes = ["pooler."] if settings.reinit_pooler else []
    count = backbone.config.num_hidden_layers
    stacks = [n for n, m in backbone.named_modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return (*prefixes, *(f"{stacks[0]}.{i}." for i in range(count - settings.reinit_layers, count)))


def _config_of(name: str) -> dict[str, Any]:
    try:
        return dict(AutoConfig.from_pretrained(name).to_dict())
    except (OSError, ValueError, KeyError) as cause:
        problem = f"no Hugging Face model could be loaded from it ({' '.join(str(cause).split())[:200]})"
        raise SettingFault("encoder_name", name, problem, "give a name on the hub, or a local folder") from cause


def _config(values: dict[str, Any]) -> PretrainedConfig:
    rest = dict(values)
    kind = rest.pop("model_type", None)
    if kind is None:
        raise SettingFault("encoder_config", values, "it has no model_type", 'add for example "model_type": "bert"')
    return AutoConfig.for_model(kind, **rest)


def _positions(config: PretrainedConfig) -> int | None:
    """Tokens that absolute positions allow; RoBERTa and its kin count them from pad_token_id + 1."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or limit <= 0:
        return None
    offset = config.pad_token_id + 1 if "roberta" in config.model_type or config.model_type == "camembert" else 0
    return int(limit) - offset


class _Encoder:
    @hookimpl
    def settings_class(self) -> type[BertEncoderSettings]:
        return BertEncoderSettings

    @hookimpl
    def build_text_encoder(self, spec: InputSpec, settings: BertEncoderSettings) -> BertEncoder:
        return BertEncoder(spec, settings)

    @hookimpl
    def load_pretrained(self, text_encoder: BertEncoder, settings: BertEncoderSettings) -> bool:
        if settings.encoder_name is None:
            return False
        text_encoder.load_pretrained(settings.encoder_name, settings)
        return True


encoder = _Encoder()
text_only = TextOnly(BertSettings)
late_fusion = LateFusion(MultimodalBertSettings)
