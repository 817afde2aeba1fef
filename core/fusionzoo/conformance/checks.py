"""All checks, in the order in which they run."""

from __future__ import annotations

from fusionzoo.conformance import (
    check_callbacks,
    check_devices,
    check_encoders,
    check_export,
    check_fields,
    check_large_inputs,
    check_outputs,
    check_package,
    check_precision,
    check_registration,
    check_rows,
    check_sensitivity,
    check_setting_values,
    check_settings,
    check_shapes,
    check_side_effects,
    check_sizes,
    check_tasks,
    check_training,
)
from fusionzoo.conformance.results import Check

PLUGIN_CHECKS: tuple[Check, ...] = (
    check_package.check_metadata,
    check_settings.check_default_settings,
    check_settings.check_unknown_settings_are_rejected,
    check_settings.check_settings_have_descriptions,
    check_settings.check_settings_json_round_trip,
    check_package.check_import_has_no_side_effects,
)
ENCODER_CHECKS: tuple[Check, ...] = (
    check_encoders.check_encoder_dim,
    check_encoders.check_encoder_features,
    check_encoders.check_encoder_mask_and_chunk_row,
    check_encoders.check_encoder_rows_are_independent,
    check_encoders.check_encoder_tokens_in_a_model,
)
MODEL_CHECKS: tuple[Check, ...] = (
    check_registration.check_layers_are_registered,
    check_outputs.check_batch_is_not_modified,
    check_outputs.check_logits,
    check_outputs.check_penalties_and_metrics,
    check_side_effects.check_forward_has_no_side_effects,
    check_rows.check_scoring_is_deterministic,
    check_rows.check_batch_size_invariance,
    check_rows.check_row_order_invariance,
    check_rows.check_padding_invariance,
    check_rows.check_rows_are_independent,
    check_sensitivity.check_every_input_affects_logits,
    check_sensitivity.check_missing_numbers,
    check_sensitivity.check_missing_and_unknown_categories,
    check_shapes.check_empty_text,
    check_shapes.check_empty_batch,
    check_shapes.check_text_only_and_table_only,
    check_shapes.check_categories_only_and_numbers_only,
    check_sizes.check_layers_are_sized_from_the_spec,
    check_large_inputs.check_large_inputs_affect_logits,
    check_fields.check_smallest_fields,
    check_fields.check_column_names,
    check_setting_values.check_setting_values,
    check_devices.check_forward_on_a_device,
    check_training.check_fitted_modules,
    check_training.check_seed_determines_weights,
    check_training.check_gradients_reach_all_parameters,
    check_training.check_parameter_groups,
    check_callbacks.check_callbacks,
    check_training.check_overfits_small_dataset,
    check_precision.check_bf16,
    check_training.check_training_on_one_row,
    check_export.check_state_dict_is_complete,
    check_export.check_onnx_export,
    check_training.check_distributed_training,
)
TASK_CHECKS: tuple[Check, ...] = (check_tasks.check_task,)
"""Run once for each kind of job of each task that the plugin supports."""
