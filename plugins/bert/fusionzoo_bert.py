"""Any Hugging Face text encoder, text-only and in late fusion with a table (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from fusionzoo.errors import SettingError
from fusionzoo.nn.adapters import add_adapters, merge_adapters
from fusionzoo.nn.encoder_choice import EncoderChoice, choose_encoder
from fusionzoo.nn.hugging_face import (
    check_gradient_checkpointing,
    check_layers,
    create_encoder,
    create_encoder_without_storage,
    last_layer_prefixes,
    load_weights,
    make_config,
)
from fusionzoo.nn.length_groups import encode_in_groups
from fusionzoo.nn.peft_settings import PeftSettings
from fusionzoo.nn.pooling import first_token, last_token, mean_per_row, token_mean
from fusionzoo.nn.pretrained_pooling import DEFAULT_POOLING, Pooling
from fusionzoo.nn.recipes import Encoder, LateFusion, TextOnly
from fusionzoo.nn.saved_weights import check_saved_weights
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.settings import FusionSettings, JobSettings, TextSettings

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("fusionzoo.bert")

PAPER = "Devlin et al. 2019, arXiv 1810.04805"


class BertEncoderSettings(PeftSettings):
    """Settings of the text encoder `bert`."""

    default_tokenizer = "bert-base-uncased"
    needs = reads = frozenset({"text"})
    paper = PAPER

    encoder_name: str | None = Field(
        None, description="Hugging Face name or folder of the pretrained encoder; by default that of `tokenizer`."
    )
    encoder_config: dict[str, Any] | None = Field(
        None, description="Hugging Face configuration; without encoder_name, the encoder starts from random weights."
    )
    pooling: Pooling | None = Field(
        None,
        description="A text's vector: mean of its tokens, first or last token of each chunk, or the encoder's own "
        "pooler; by default what a sentence-transformers model states, and mean for other models.",
    )
    reinit_layers: int = Field(0, ge=0, le=1000, description="How many of the last layers start from random weights.")
    reinit_pooler: bool = Field(False, description="Whether the pooler starts from random weights.")
    use_gradient_checkpointing: bool = Field(False, description="Trade a third more time for much less memory.")
    freeze_text_encoder: bool = Field(False, description="Keep the pretrained weights as they are.")

    @classmethod
    def small(cls) -> Self:
        """Return the settings of a random encoder with two narrow layers."""
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        return cls.model_validate({"encoder_config": {"model_type": "bert", **sizes}})

    def choose_tokenizer(self) -> str:
        """Return the pretrained encoder, which has a tokenizer of its own."""
        return self.encoder_name or self.default_tokenizer

    @property
    def pretrained(self) -> bool:
        return self.encoder_name is not None

    def resolve(self, job: JobSettings) -> Self:
        """Return the settings with the encoder's name and configuration, checked against the job."""
        choice = choose_encoder(self.encoder_name, self.encoder_config, job, self.pooling)
        config = make_config(choice.config)
        layers = config.num_hidden_layers
        if self.reinit_layers > layers:
            raise SettingError(
                "reinit_layers", self.reinit_layers, f"the encoder has {layers} layers", f"set 0 to {layers}"
            )
        check_layers(config, self.reinit_layers)
        if self.use_gradient_checkpointing:
            check_gradient_checkpointing(config)
        self._check_saved_weights(config, choice)
        if self.reinit_pooler and choice.pooling != "pooler":
            log.warning("reinit_pooler has no effect: with pooling '%s', the pooler is not used.", choice.pooling)
        is_loaded = choice.name is not None or job.init_from is not None
        self.check_peft(config, choice.pooling == "pooler", is_loaded)
        chosen = {"encoder_name": choice.name, "encoder_config": choice.config, "pooling": choice.pooling}
        return self.model_copy(update=chosen)

    def _check_saved_weights(self, config: PretrainedConfig, choice: EncoderChoice) -> None:
        """Check that the pretrained weights have the types and shapes of the encoder, before any data is read."""
        backbone = None if choice.name is None else create_encoder_without_storage(config, choice.pooling == "pooler")
        if choice.name is None or backbone is None:
            return
        setting = "tokenizer" if self.encoder_name is None else "encoder_name"
        stated_by = "config.json" if self.encoder_config is None else "encoder_config"
        check_saved_weights(backbone, setting, choice.name, stated_by, self.list_new_weights(backbone))

    def list_new_weights(self, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Return the name prefixes of the parameters that start from random weights."""
        layers = last_layer_prefixes(backbone, self.reinit_layers)
        return (*layers, "pooler.") if self.reinit_pooler else layers


class BertSettings(TextSettings):
    """Settings of the text-only model `bert`."""

    paper = PAPER
    text_encoder: Literal["bert"] = Field("bert", description="The text encoder of this model.")


class MultimodalBertSettings(FusionSettings):
    """Settings of `multimodal_bert`, the late fusion."""

    paper = PAPER
    text_encoder: Literal["bert"] = Field("bert", description="The text encoder of this model.")


class BertEncoder(nn.Module):
    """A Hugging Face encoder over packed chunks: token features [chunks, length, dim] and one vector per row."""

    def __init__(self, spec: InputSpec, settings: BertEncoderSettings) -> None:
        super().__init__()
        if spec.text is None or settings.encoder_config is None:
            raise ValueError("the text encoder 'bert' needs text and resolved settings")
        self.pooling, self.frozen = settings.pooling or DEFAULT_POOLING, settings.freeze_text_encoder
        config, text = make_config(settings.encoder_config), spec.text
        if not settings.pretrained:
            config.vocab_size, config.pad_token_id = text.vocab_size, text.pad_id
        if text.vocab_size > config.vocab_size:
            problem = f"it has {text.vocab_size} tokens, the encoder {settings.encoder_name} only {config.vocab_size}"
            raise SettingError("tokenizer", text.tokenizer, problem, "use the encoder's own tokenizer")
        self.backbone: PreTrainedModel = create_encoder(config, with_pooler=self.pooling == "pooler")
        if settings.use_gradient_checkpointing:
            self.backbone.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
        if self.frozen:
            self.backbone.requires_grad_(False)
        self.dim = int(config.hidden_size)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen encoder stays in evaluation mode. (`from_pretrained` returns a model in that mode.)"""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self

    def forward(self, batch: Batch) -> TextFeatures:
        if batch.tokens.shape[0] == 0:
            return TextFeatures.empty(batch, self.dim)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens, *pooler = encode_in_groups(self._encode, batch.tokens, batch.token_mask)
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, self._pool(tokens, pooler, batch))

    def _encode(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        output = self.backbone(input_ids=tokens, attention_mask=mask.long())
        return (output.last_hidden_state, *([output.pooler_output] if self.pooling == "pooler" else []))

    def _pool(self, tokens: Tensor, pooler: list[Tensor], batch: Batch) -> Tensor:
        match self.pooling:
            case "mean":
                return token_mean(tokens, batch.token_mask, batch.chunk_row, batch.rows)
            case "first":
                return first_token(tokens, batch.chunk_row, batch.rows)
            case "last":
                return last_token(tokens, batch.token_mask, batch.chunk_row, batch.rows)
            case "pooler":
                return mean_per_row(pooler[0], batch.chunk_row, batch.rows)

    def load_pretrained(self, settings: BertEncoderSettings) -> bool:
        """Load the pretrained weights, except those of reinitialized layers and of a reinitialized pooler."""
        if settings.encoder_name is None:
            return False
        load_weights(self.backbone, settings.encoder_name, settings.list_new_weights(self.backbone))
        return True

    def add_adapters(self, settings: BertEncoderSettings) -> None:
        """Add the adapters that `peft` asks for."""
        if settings.adapters is not None:
            add_adapters(self.backbone, settings.adapters)

    def merge_adapters(self, settings: BertEncoderSettings) -> None:
        """Merge the adapters into the weights."""
        merge_adapters(self.backbone)


encoder = Encoder(BertEncoderSettings, BertEncoder)
text_only = TextOnly(BertSettings)
late_fusion = LateFusion(MultimodalBertSettings)
