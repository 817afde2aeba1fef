"""Choose the Hugging Face encoder of a job, and check that it can encode its texts, before any data is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusionzoo import errors
from fusionzoo.data.text.pretrained_files import PretrainedSource
from fusionzoo.data.text.text_tokenizer import WORD_TOKENIZER, load_tokenizer
from fusionzoo.errors.pretrained_errors import too_few_embeddings
from fusionzoo.nn.encoder_probe import check_encoder
from fusionzoo.nn.hugging_face import check_tokenizer, make_config, read_config
from fusionzoo.nn.pretrained_pooling import DEFAULT_POOLING, Pooling, choose_pooling
from fusionzoo.settings import JobSettings


@dataclass(frozen=True)
class EncoderChoice:
    """The encoder of a job."""

    name: str | None  # name or folder of the pretrained weights; None: random weights
    config: dict[str, Any]  # the Hugging Face configuration, as plain values
    pooling: Pooling


def choose_encoder(
    encoder_name: str | None, encoder_config: dict[str, Any] | None, job: JobSettings, pooling: Pooling | None = None
) -> EncoderChoice:
    """Return the encoder of a job, after checks.

    Args:
        encoder_name: the setting; None: the weights are those of `tokenizer`, or random if `encoder_config` is given.
        encoder_config: the setting; None: the configuration is read from the pretrained model.
        job: the settings of the job.
        pooling: the setting; None: what a sentence-transformers model states, and the mean for other models.

    Raises:
        errors.SettingError: the encoder cannot be loaded, cannot compute a chunk of `max_sen_len` tokens, does not fit
            the tokenizer, or is not an encoder of single texts.
    """
    source = _find_weights(encoder_name, encoder_config, job)
    if source is None:
        values = encoder_config or {}
        check_encoder(make_config(values), "encoder_config", values, job.max_sen_len, pooling == "pooler")
        return EncoderChoice(None, values, pooling or DEFAULT_POOLING)
    values = encoder_config or read_config(source)
    config = make_config(values)
    check_encoder(config, source.setting, source.name, job.max_sen_len, pooling == "pooler")
    check_tokenizer(source, job.tokenizer_name)
    _check_vocabulary(source, getattr(config, "vocab_size", None), job.tokenizer_name)
    return EncoderChoice(source.name, values, pooling or choose_pooling(source))


def _find_weights(
    encoder_name: str | None, encoder_config: dict[str, Any] | None, job: JobSettings
) -> PretrainedSource | None:
    """Return the setting that names the pretrained weights; None if the encoder starts from random weights."""
    if encoder_name is not None:
        return PretrainedSource("encoder_name", encoder_name)
    if encoder_config is not None:
        return None
    if job.tokenizer_name == WORD_TOKENIZER:
        raise errors.no_weights_to_load(WORD_TOKENIZER)
    return PretrainedSource("tokenizer", job.tokenizer_name)


def _check_vocabulary(encoder: PretrainedSource, size: object, tokenizer_name: str) -> None:
    """Check that the encoder, with `size` embeddings if it states them, has one for each token of the job's tokenizer.

    Raises:
        errors.SettingError: it does not; names the setting of the encoder.
    """
    if tokenizer_name == WORD_TOKENIZER or not isinstance(size, int):
        return
    vocabulary = load_tokenizer(tokenizer_name).backend.get_vocab(with_added_tokens=True)
    if tokens := sorted((token for token, i in vocabulary.items() if i >= size), key=lambda token: vocabulary[token]):
        raise too_few_embeddings(encoder.setting, encoder.name, tokens, size)
