"""What users read about settings of fusionzoo's predecessor: why a setting has no counterpart, and its new name."""

from __future__ import annotations

from fusionzoo.errors import format_json

_BY_NAME = "columns are read by their names"
_COUNTED = "fusionzoo counts the table's fields, and their width is a setting of the architecture"
_BATCH = "a batch has fixed fields"
_CHANNEL = "all part files of a channel are read, whatever their names"
UNSUPPORTED_SETTINGS = {
    "header": _BY_NAME,
    "full_field_list": _BY_NAME,
    "input_tab_dim": _COUNTED,
    "tab_field_dim": _COUNTED,
    "text_input_ids_key": _BATCH,
    "text_attention_mask_key": _BATCH,
    "fixed_tokenizer_length": "a batch is padded to its longest chunk only, and scores do not depend on the padding",
    "device": "the available hardware is used",
    "load_ckpt": "a job resumes from its checkpoint folder without a setting",
    "text_field_overwrite": "the data is never changed",
    "smooth_factor": "categories have embeddings; there is no target encoding",
    "lr_decay": "the learning rate follows schedule",
    "train_filename": _CHANNEL,
    "val_filename": _CHANNEL,
    "test_filename": _CHANNEL,
    "model_path": "the model is written to the folder that SageMaker uploads",
    "embed_size": "embedding_dim is the width of word vectors; a pretrained encoder has its own",
}
"""Old settings without a counterpart, each with the reason."""

BOOLEAN = "true or false"
COLUMN_LIST = "a list of columns"
METRIC_LIST = "a list of metrics"
CHUNKS_ARE_CAPPED = "max_total_chunks always caps the chunks"
ALL_METRICS_ARE_COMPUTED = "all metrics are always computed"


def format_renamed(old: str, value: object, new: str, new_value: object) -> str:
    """Return the warning about a setting under its old name."""
    return f"{old} = {format_json(value)} is used as {new} = {format_json(new_value)}. Write that instead."


def format_ineffective(old: str, value: object, reason: str) -> str:
    """Return the warning about a setting that has no effect."""
    return f"{old} = {format_json(value)} has no effect: {reason}. Remove it."
