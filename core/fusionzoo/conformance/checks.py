"""All checks, in the order in which they run."""

from __future__ import annotations

from fusionzoo.conformance import encoders, export, outputs, package, processes, rows, sensitivity, settings, shapes
from fusionzoo.conformance import training as learning
from fusionzoo.conformance.run import Check

PLUGIN_CHECKS: tuple[Check, ...] = (
    package.check_metadata,
    settings.check_default_settings,
    settings.check_unknown_settings_are_refused,
    settings.check_settings_are_described,
    settings.check_settings_survive_json,
    processes.check_import_is_quiet,
)
ENCODER_CHECKS: tuple[Check, ...] = (
    encoders.check_encoder_width,
    encoders.check_encoder_features,
    encoders.check_encoder_mask_and_chunks,
    encoders.check_encoder_tokens_are_of_their_row,
)
MODEL_CHECKS: tuple[Check, ...] = (
    outputs.check_logits,
    outputs.check_penalties_and_figures,
    outputs.check_batch_is_left_alone,
    rows.check_a_row_alone,
    rows.check_order_of_rows,
    rows.check_padding,
    rows.check_rows_are_independent,
    rows.check_scoring_is_not_random,
    sensitivity.check_every_input_matters,
    sensitivity.check_missing_numbers,
    sensitivity.check_missing_and_unknown_categories,
    shapes.check_empty_text,
    shapes.check_empty_batch,
    shapes.check_text_or_table_alone,
    shapes.check_categories_or_numbers_alone,
    learning.check_seed_decides_weights,
    learning.check_gradients_reach_all_parameters,
    learning.check_parameter_groups,
    learning.check_callbacks,
    learning.check_learns_a_small_set,
    learning.check_bf16,
    export.check_state_dict_is_everything,
    export.check_onnx,
    processes.check_distributed_training,
)
