"""Choose the Hugging Face encoder of a job, and check that it can encode its texts, before any data is read."""

from __future__ import annotations

from typing import Any

from fusionzoo import errors
from fusionzoo.data.text.pretrained_files import PretrainedSource
from fusionzoo.data.text.text_tokenizer import WORD_TOKENIZER
from fusionzoo.nn.encoder_probe import check_encoder
from fusionzoo.nn.hugging_face import check_tokenizer, make_config, read_config
from fusionzoo.settings import JobSettings


def choose_encoder(
    encoder_name: str | None, encoder_config: dict[str, Any] | None, job: JobSettings, with_pooler: bool = False
) -> tuple[str | None, dict[str, Any]]:
    """Return the name or folder of the pretrained weights, and the configuration of the encoder as plain values.

    Args:
        encoder_name: the setting; None: the weights are those of `tokenizer`, or random if `encoder_config` is given.
        encoder_config: the setting; None: the configuration is read from the pretrained model.
        job: the settings of the job.
        with_pooler: whether the encoder's own pooler is used.

    Raises:
        errors.SettingError: the encoder cannot be loaded, cannot compute a chunk of `max_sen_len` tokens, does not fit
            the tokenizer, or is not an encoder of single texts.
    """
    source = _find_weights(encoder_name, encoder_config, job)
    if source is None:
        values = encoder_config or {}
        check_encoder(make_config(values), "encoder_config", values, job.max_sen_len, with_pooler)
        return None, values
    values = encoder_config or read_config(source)
    check_encoder(make_config(values), source.setting, source.name, job.max_sen_len, with_pooler)
    check_tokenizer(source, job.tokenizer_name)
    return source.name, values


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
