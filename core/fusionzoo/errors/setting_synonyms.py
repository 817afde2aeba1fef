"""Which setting the writer of an unknown one probably meant: by its words, its spelling, and its value."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from fusionzoo.errors.wording import nearest_names

SYNONYMS = {
    "accumulate_grad_batches": "accumulation_steps gradient_accumulation gradient_accumulation_steps grad_accum_steps",
    "adam_epsilon": "eps epsilon adam_eps",
    "average_checkpoints": "model_soup greedy_soup average_top_k",
    "batch_size": "batch train_batch_size per_device_train_batch_size mini_batch_size bs",
    "cat_field_list": "cat cats category categories categorical categoricals categoric nominal discrete",
    "class_weights": "class_weight weights pos_weight loss_weights label_weights",
    "classes": "class_names class_list class_labels label_list label_names target_names labels_order",
    "devices": "gpus gpu_count num_gpus n_gpus n_devices num_devices num_processes",
    "dropout": "dropout_rate dropout_prob dropout_probability drop_rate",
    "early_stop_metric": "metric monitor eval_metric best_metric metric_for_best_model objective_metric",
    "early_stop_patience": "patience early_stopping early_stopping_patience early_stopping_rounds",
    "embedding_dim": "embedding_size embed_dim emb_dim word_dim vector_size",
    "embeddings": "word_vectors word_embeddings embedding_file pretrained_embeddings glove",
    "encoder_name": "encoder pretrained pretrained_model model_name_or_path pretrained_model_name_or_path hf_model "
    "backbone checkpoint bert_model",
    "focal_gamma": "gamma",
    "freeze_text_encoder": "freeze freeze_encoder freeze_bert freeze_backbone frozen",
    "gradient_clip_val": "max_grad_norm clip_grad_norm gradient_clip grad_clip gradient_clipping clip_norm",
    "group_field": "group groups grouping",
    "hidden_common_dim": "hidden_size hidden_dim hidden hidden_units",
    "id_name": "id ids identifier row_id record_id example_id uid uuid primary_key",
    "is_binary": "binary binary_classification",
    "label_name": "label labels target targets y ground_truth outcome outcomes response dependent dependent_variable "
    "predict_column class_label",
    "label_separator": "label_delimiter label_sep labels_separator tag_separator separator",
    "label_smoothing": "label_smoothing_factor smoothing",
    "layer_decay": "llrd layerwise_lr_decay layer_wise_lr_decay",
    "loss": "loss_function loss_fn criterion objective",
    "lr": "learning_rate learningrate base_lr peak_lr eta",
    "max_epochs": "epoch epochs num_epochs n_epochs num_train_epochs train_epochs",
    "max_sen_len": "max_length max_len max_seq_length max_seq_len sequence_length max_tokens model_max_length",
    "max_total_chunks": "max_chunks num_chunks n_chunks",
    "model_class": "model model_type model_name architecture arch network",
    "num_classes": "num_class n_class n_classes num_labels n_labels class_count number_of_classes",
    "optimizer": "optim optimizer_name",
    "precision": "bf16 amp mixed_precision dtype half use_amp",
    "schedule": "scheduler lr_scheduler lr_scheduler_type lr_schedule",
    "seed": "random_state random_seed rng_seed",
    "tab_field_list": "tab tabular table num nums numeric numerics numerical numericals number numbers continuous "
    "numeric_only dense",
    "test_fraction": "test_size test_split test_ratio test_share",
    "text_name": "text texts txt sentence sentences message messages document documents body content",
    "text_processing_steps": "cleaning text_cleaning preprocessing",
    "tokenizer": "tokenizer_name tokenizer_path vocab",
    "torch_compile": "compile compile_model",
    "val_check_interval": "eval_steps eval_interval validation_interval",
    "val_fraction": "val_size val_split val_ratio val_share validation_size validation_split validation_fraction "
    "valid_size valid_fraction eval_fraction dev_fraction",
    "warmup_fraction": "warmup_ratio warmup_proportion warmup_share",
    "warmup_steps": "num_warmup_steps warmup n_warmup_steps",
    "weight_decay": "wd l2 l2_regularization",
    "word_vocab_size": "vocab_size vocabulary_size max_vocab_size",
    "checkpoint_every_n_steps": "save_steps checkpoint_steps",
}
"""Names by which Hugging Face's trainer, Lightning, scikit-learn and other trainers call a setting."""

COLUMN_ROLES: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    "id_name": ("the id column", str),
    "label_name": ("the label column", str),
    "text_name": ("text columns", (str, list)),
    "cat_field_list": ("categorical columns", list),
    "tab_field_list": ("numeric columns", list),
}
"""What each setting that names columns means, and the types of its value."""

ROLE_WORDS = frozenset(
    "column columns col cols field fields feature features feat feats name names list var vars".split()
)


def suggest_settings(key: str, value: object, known: Collection[str]) -> list[str]:
    """Return the settings that an unknown one probably means, best first: a synonym, or a similar name."""
    words = _words(key)
    stem = [word for word in words if word not in ROLE_WORDS] or words
    for candidate in ("_".join(words), "_".join(stem)):
        meanings = [name for name, synonyms in SYNONYMS.items() if candidate in (*synonyms.split(), name)]
        if isinstance(value, list) and "label_name" in meanings:
            meanings = ["classes", *meanings]  # a list of labels, not a column
        if meanings := [name for name in meanings if name in known]:
            return meanings[:1]
    return nearest_names("_".join(words), known)[:1] or _nearest_synonyms("_".join(words), known)


def suggest_roles(value: object, absent: Collection[str]) -> str:
    """Return which of the absent settings for columns the value could belong to, in words; empty if to none."""
    roles = [
        f"{name} ({meaning})"
        for name, (meaning, types) in COLUMN_ROLES.items()
        if name in absent and isinstance(value, types)
    ]
    return " or ".join(roles)


def _words(key: str) -> list[str]:
    """Return the words of a name in lower case: of labelColumn, label-column and LABEL_COLUMN, label and column."""
    separated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return [word for word in re.split(r"[\W_]+", separated.lower()) if word]


def _nearest_synonyms(name: str, known: Collection[str]) -> list[str]:
    names = {
        synonym: setting for setting, synonyms in SYNONYMS.items() if setting in known for synonym in synonyms.split()
    }
    return [names[synonym] for synonym in nearest_names(name, names)]
