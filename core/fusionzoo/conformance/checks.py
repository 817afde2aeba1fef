"""All checks, in the order in which they run."""

from __future__ import annotations

from fusionzoo.conformance import (
    check_encoders,
    check_export,
    check_outputs,
    check_package,
    check_processes,
    check_rows,
    check_sensitivity,
    check_settings,
    check_shapes,
)
from fusionzoo.conformance import check_training as learning
from fusionzoo.conformance.run import Check

PLUGIN_CHECKS: tuple[Check, ...] = (
    check_package.check_metadata,
    check_settings.check_default_settings,
    check_settings.check_unknown_settings_are_refused,
    check_settings.check_settings_are_described,
    check_settings.check_settings_survive_json,
    check_processes.check_import_is_quiet,
)
ENCODER_CHECKS: tuple[Check, ...] = (
    check_encoders.check_encoder_width,
    check_encoders.check_encoder_features,
    check_encoders.check_encoder_mask_and_chunks,
    check_encoders.check_encoder_tokens_are_of_their_row,
)
MODEL_CHECKS: tuple[Check, ...] = (
    check_outputs.check_logits,
    check_outputs.check_penalties_and_figures,
    check_outputs.check_batch_is_left_alone,
    check_rows.check_a_row_alone,
    check_rows.check_order_of_rows,
    check_rows.check_padding,
    check_rows.check_rows_are_independent,
    check_rows.check_scoring_is_not_random,
    check_sensitivity.check_every_input_matters,
    check_sensitivity.check_missing_numbers,
    check_sensitivity.check_missing_and_unknown_categories,
    check_shapes.check_empty_text,
    check_shapes.check_empty_batch,
    check_shapes.check_text_or_table_alone,
    check_shapes.check_categories_or_numbers_alone,
    learning.check_seed_decides_weights,
    learning.check_gradients_reach_all_parameters,
    learning.check_parameter_groups,
    learning.check_callbacks,
    learning.check_learns_a_small_set,
    learning.check_bf16,
    check_export.check_state_dict_is_everything,
    check_export.check_onnx,
    check_processes.check_distributed_training,
)
