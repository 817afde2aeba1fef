"""Every error that a user can fix: what is wrong, in which file, column, row, setting or package, and the fix.

Use as `from fusionzoo import errors`, then `raise errors.DataError([errors.missing_channel(...)])`. Each message is
written here, once, with a stable code; docs/errors.md lists them. The first 1,024 characters of a message become the
FailureReason of a SageMaker job.
"""

from fusionzoo.errors.base import (
    MAX_LISTED_PROBLEMS as MAX_LISTED_PROBLEMS,
    Problem as Problem,
    ProblemsError as ProblemsError,
    ZooError as ZooError,
    add_note as add_note,
)
from fusionzoo.errors.channel_errors import (
    DataError as DataError,
    changed_channel as changed_channel,
    changed_file as changed_file,
    channel_without_rows as channel_without_rows,
    empty_channel as empty_channel,
    file_not_utf8 as file_not_utf8,
    invalid_json_line as invalid_json_line,
    json_element_not_an_object as json_element_not_an_object,
    json_key_repeated as json_key_repeated,
    json_line_not_an_object as json_line_not_an_object,
    missing_channel as missing_channel,
    no_group_for_split as no_group_for_split,
    no_row_for_split as no_row_for_split,
    rows_with_wrong_column_count as rows_with_wrong_column_count,
    scoring_fixes as scoring_fixes,
    split_from_two_sources as split_from_two_sources,
    unknown_file_type as unknown_file_type,
    unreadable_file as unreadable_file,
    unterminated_quote as unterminated_quote,
)
from fusionzoo.errors.checkpoint_errors import (
    AnotherJobError as AnotherJobError,
    CheckpointFileError as CheckpointFileError,
    FewerEpochsError as FewerEpochsError,
    ForeignCheckpointError as ForeignCheckpointError,
    ReplacedCheckpointError as ReplacedCheckpointError,
    TerminatedError as TerminatedError,
    UnusableCheckpointError as UnusableCheckpointError,
)
from fusionzoo.errors.column_errors import (
    WRITE_INSTEAD as WRITE_INSTEAD,
    column_not_numeric as column_not_numeric,
    column_not_utf8 as column_not_utf8,
    column_of_outer_folder as column_of_outer_folder,
    duplicate_column as duplicate_column,
    ids_without_common_type as ids_without_common_type,
    infinite_labels as infinite_labels,
    labels_contradict_num_classes as labels_contradict_num_classes,
    labels_outside_classes as labels_outside_classes,
    missing_column as missing_column,
    no_frequent_word as no_frequent_word,
    no_rows_to_balance as no_rows_to_balance,
    no_text as no_text,
    null_labels as null_labels,
    single_class as single_class,
    too_many_categories as too_many_categories,
    unseen_labels as unseen_labels,
    val_with_single_class as val_with_single_class,
    val_without_weight as val_without_weight,
    values_not_numeric as values_not_numeric,
    values_too_large as values_too_large,
    wrong_column_type as wrong_column_type,
)
from fusionzoo.errors.consistency_errors import (
    column_with_two_roles as column_with_two_roles,
    duplicate_classes as duplicate_classes,
    focal_gamma_without_focal_loss as focal_gamma_without_focal_loss,
    fp16_contradicts_precision as fp16_contradicts_precision,
    fractions_too_large as fractions_too_large,
    group_field_is_label as group_field_is_label,
    group_field_without_fraction as group_field_without_fraction,
    invalid_class_weights as invalid_class_weights,
    invalid_csv_character as invalid_csv_character,
    is_binary_contradicts_num_classes as is_binary_contradicts_num_classes,
    label_smoothing_with_focal_loss as label_smoothing_with_focal_loss,
    layer_decay_without_encoder as layer_decay_without_encoder,
    layer_decay_without_layers as layer_decay_without_layers,
    library_too_old_for_fsdp as library_too_old_for_fsdp,
    max_sen_len_too_small as max_sen_len_too_small,
    missing_compiler as missing_compiler,
    missing_modality as missing_modality,
    modality_dropout_with_one_modality as modality_dropout_with_one_modality,
    baseline_quantiles as baseline_quantiles,
    setting_unsupported_by_fsdp as setting_unsupported_by_fsdp,
    torch_too_old_to_compile as torch_too_old_to_compile,
    unknown_metric as unknown_metric,
    warmup_too_long as warmup_too_long,
    wrong_length_for_classes as wrong_length_for_classes,
)
from fusionzoo.errors.file_errors import (
    ambiguous_quotes as ambiguous_quotes,
    content_contradicts_suffix as content_contradicts_suffix,
    dangling_link as dangling_link,
    file_too_large as file_too_large,
    header_does_not_fit as header_does_not_fit,
    invalid_json_array as invalid_json_array,
    json_not_rows as json_not_rows,
    json_rows_in_array as json_rows_in_array,
    link_loop as link_loop,
    merged_rows as merged_rows,
    not_a_folder as not_a_folder,
    not_a_regular_file as not_a_regular_file,
    pipe_mode as pipe_mode,
    repeated_header as repeated_header,
    row_too_long as row_too_long,
    several_channels as several_channels,
    suspicious_compression as suspicious_compression,
    text_not_utf8 as text_not_utf8,
    too_many_blank_lines as too_many_blank_lines,
    unexpected_header as unexpected_header,
    unreadable_folder as unreadable_folder,
)
from fusionzoo.errors.machine_fixes import (
    READ_FIXES as READ_FIXES,
    WRITE_FIXES as WRITE_FIXES,
    find_machine_fix as find_machine_fix,
)
from fusionzoo.errors.library_errors import LibraryVersionsError as LibraryVersionsError
from fusionzoo.errors.library_errors import AdapterLibraryError as AdapterLibraryError
from fusionzoo.errors.archive_errors import ModelArchiveError as ModelArchiveError
from fusionzoo.errors.model_folder_errors import ModelFolderError as ModelFolderError
from fusionzoo.errors.library_errors import MissingPackagesError as MissingPackagesError
from fusionzoo.errors.metric_errors import PluginMetricError as PluginMetricError
from fusionzoo.errors.path_errors import PathError as PathError
from fusionzoo.errors.output_errors import (
    ContainerError as ContainerError,
    ExportError as ExportError,
    OutputError as OutputError,
    PredictionColumnsError as PredictionColumnsError,
    ReadBackError as ReadBackError,
    ReportEntryError as ReportEntryError,
    TorchrunVariableError as TorchrunVariableError,
)
from fusionzoo.errors.plugin_contract_errors import (
    FittedModuleError as FittedModuleError,
    PluginContractError as PluginContractError,
)
from fusionzoo.errors.plugin_errors import (
    AmbiguousModelError as AmbiguousModelError,
    BrokenPluginError as BrokenPluginError,
    Claim as Claim,
    IncompatiblePluginError as IncompatiblePluginError,
    NewPluginError as NewPluginError,
    UnknownModelError as UnknownModelError,
    describe_exception as describe_exception,
    hook_note as hook_note,
)
from fusionzoo.errors.predictor_errors import (
    PredictorInputError as PredictorInputError,
    absent_column as absent_column,
)
from fusionzoo.errors.pretrained_errors import (
    damaged_modules as damaged_modules,
    damaged_weights as damaged_weights,
    encoder_too_large as encoder_too_large,
    git_lfs_pointers as git_lfs_pointers,
    hub_unreachable as hub_unreachable,
    invalid_encoder_config as invalid_encoder_config,
    missing_weights as missing_weights,
    no_gradient_checkpointing as no_gradient_checkpointing,
    no_pooler as no_pooler,
    no_pooler_weights as no_pooler_weights,
    no_linear_layers as no_linear_layers,
    unknown_peft_target as unknown_peft_target,
    no_pretrained_channel as no_pretrained_channel,
    no_pretrained_model as no_pretrained_model,
    no_sentencepiece as no_sentencepiece,
    no_weights as no_weights,
    no_weights_to_load as no_weights_to_load,
    other_tokens as other_tokens,
    own_python_code as own_python_code,
    shared_layers as shared_layers,
    too_few_positions as too_few_positions,
    unknown_family as unknown_family,
    unsupported_family as unsupported_family,
    wrong_layer_count as wrong_layer_count,
)
from fusionzoo.errors.process_errors import (
    FolderInUseError as FolderInUseError,
    OtherModelError as OtherModelError,
    ProcessesError as ProcessesError,
    ProcessLostError as ProcessLostError,
)
from fusionzoo.errors.resource_errors import (
    CacheError as CacheError,
    DemoFolderError as DemoFolderError,
    EmbeddingsError as EmbeddingsError,
    TokenizerError as TokenizerError,
)
from fusionzoo.errors.score_errors import (
    ScoresError as ScoresError,
)
from fusionzoo.errors.setting_errors import (
    HyperparametersError as HyperparametersError,
    SettingError as SettingError,
    chunk_truncation_without_cap as chunk_truncation_without_cap,
    contradicting_legacy_setting as contradicting_legacy_setting,
    duplicate_setting as duplicate_setting,
    escaped_character as escaped_character,
    hyperparameters_not_an_object as hyperparameters_not_an_object,
    inconsistent_settings as inconsistent_settings,
    invalid_json as invalid_json,
    invalid_legacy_setting as invalid_legacy_setting,
    invalid_plugin_setting as invalid_plugin_setting,
    invalid_setting as invalid_setting,
    invalid_setting_item as invalid_setting_item,
    missing_hyperparameters as missing_hyperparameters,
    missing_setting as missing_setting,
    nested_setting as nested_setting,
    nonfinite_setting as nonfinite_setting,
    setting_not_a_list as setting_not_a_list,
    settings_in_object as settings_in_object,
    setting_not_checked as setting_not_checked,
    setting_of_two_plugins as setting_of_two_plugins,
    setting_problem as setting_problem,
    unencodable_setting as unencodable_setting,
    unknown_setting as unknown_setting,
    unreadable_hyperparameters as unreadable_hyperparameters,
    unsupported_legacy_setting as unsupported_legacy_setting,
)
from fusionzoo.errors.training_errors import (
    OUT_OF_MEMORY as OUT_OF_MEMORY,
    BatchMemoryError as BatchMemoryError,
    MemoryExhaustedError as MemoryExhaustedError,
    ThreadLimitError as ThreadLimitError,
    CompileError as CompileError,
    MetricUndefinedError as MetricUndefinedError,
    ModelMemoryError as ModelMemoryError,
    TrainingDivergedError as TrainingDivergedError,
    divergence_fix as divergence_fix,
    gradient_overflows as gradient_overflows,
    gradients_largest as gradients_largest,
    gradients_not_finite as gradients_not_finite,
    is_machine_limit as is_machine_limit,
    is_out_of_memory as is_out_of_memory,
    rows_finite_loss_not as rows_finite_loss_not,
    rows_not_finite as rows_not_finite,
    rows_of_step as rows_of_step,
    rows_of_val as rows_of_val,
)
from fusionzoo.errors.warm_start_errors import InitFromError as InitFromError
from fusionzoo.errors.wording import (
    format_json as format_json,
    nearest_names as nearest_names,
)
