"""Faulty plugins, made from the correct ones by small changes, each with the checks that must fail."""

from __future__ import annotations

from correct_plugins import BERT, CORE, Mutant
from device_mutants import DEVICE_MUTANTS
from effect_mutants import EFFECT_MUTANTS
from fitted_mutants import FITTED_MUTANTS
from import_mutants import IMPORT_MUTANTS
from mutant_changes import (
    IMPORTED,
    NESTED_SETTINGS,
    POOLED,
    TEXT,
    WIDTH,
    add_before_return,
    add_hook,
    add_to_init,
    make_common_mistake,
    make_encoder_mutants,
    make_mutants,
)
from scale_mutants import SCALE_MUTANTS
from side_effect_mutants import SIDE_EFFECT_MUTANTS

MUTANTS: tuple[Mutant, ...] = (
    *EFFECT_MUTANTS,
    *FITTED_MUTANTS,
    *SCALE_MUTANTS,
    *DEVICE_MUTANTS,
    *SIDE_EFFECT_MUTANTS,
    *IMPORT_MUTANTS,
    # the package
    Mutant("name_in_camel_case", frozenset({"check_metadata"}), entry_point="LateSum"),
    Mutant("distribution_in_camel_case", frozenset({"check_metadata"}), distribution="AcmeMutant"),
    Mutant("requires_any_core", frozenset({"check_metadata"}), requires=("fusionzoo>=0.1", BERT)),
    Mutant("requires_no_core", frozenset({"check_metadata"}), requires=("torch<99", BERT)),
    Mutant("requires_no_encoder", frozenset({"check_metadata"}), requires=(CORE,)),
    Mutant("requires_encoder_as_an_extra", frozenset({"check_metadata"}), requires=(CORE, f"{BERT}; extra == 'bert'")),
    Mutant("requires_core_as_an_extra", frozenset({"check_metadata"}), requires=(f"{CORE}; extra == 'core'", BERT)),
    *make_mutants(
        "check_default_settings",
        setting_without_default=(
            WIDTH,
            'width: int = Field(ge=1, description="Width.")\n\n    @classmethod\n    def small(cls):\n'
            "        return cls(width=16)",
        ),
    ),
    *make_mutants(
        "check_unknown_settings_are_rejected",
        settings_allow_anything=(WIDTH, f'model_config = {{"extra": "allow"}}\n    {WIDTH}'),
        settings_ignore_unknown=(WIDTH, f'model_config = {{"extra": "ignore"}}\n    {WIDTH}'),
        nested_settings_ignore_unknown=NESTED_SETTINGS,
    ),
    *make_mutants(
        "check_settings_have_descriptions",
        setting_without_description=(WIDTH, "width: int = Field(16, ge=1)"),
        setting_with_an_empty_description=(WIDTH, 'width: int = Field(16, ge=1, description=" ")'),
    ),
    *make_mutants(
        "check_settings_json_round_trip",
        setting_changed_by_json=[
            (WIDTH, f'{WIDTH}\n    widths: Any = Field((1, 2), description="Other widths.")'),
            (IMPORTED, "import torch\nfrom typing import Any\n"),
        ],
        setting_in_a_private_attribute=(WIDTH, f"{WIDTH}\n    _half: int = 8"),
        setting_is_a_set=(WIDTH, f'{WIDTH}\n    tags: frozenset[str] = Field(frozenset("a"), description="Tags.")'),
    ),
    # outputs
    *make_mutants(
        "check_logits",
        at_most_four_classes=("nn.Linear(width, spec.num_outputs)", "nn.Linear(width, min(spec.num_outputs, 4))"),
    ),
    *make_mutants(
        "check_penalties_and_metrics",
        penalty_per_class=("logits.square().mean()", "logits.square().mean(dim=0)"),
        metric_is_a_number=("joined.detach().float().mean()", "float(joined.detach().sum())"),
        metric_called_loss=('"level"', '"loss"'),
        metric_with_the_name_of_a_penalty=('"level"', '"penalty_size"'),
        metric_with_a_space_in_its_name=('"level"', '"level of words"'),
        penalty_without_a_name=('"size"', "0"),
        metric_is_nan=("joined.detach().float().mean()", "joined.detach().float().mean() / 0 * 0"),
    ),
    *make_mutants("check_batch_is_not_modified", writes_into_the_batch=add_before_return("batch.row.zero_()")),
    # one row, one score
    *make_mutants(
        "check_batch_size_invariance",
        depends_on_the_number_of_rows=add_before_return("logits = logits * (1 + 0.01 * rows)"),
    ),
    *make_mutants(
        "check_row_order_invariance",
        depends_on_a_descending_order=add_before_return(
            "descends = (batch.row[1:] < batch.row[:-1]).sum() >= 0.9 * rows\n"
            "        logits = torch.where(descends, 1.1 * logits, logits)"
        ),
    ),
    *make_mutants(
        "check_padding_invariance",
        finds_padding_by_its_id=(POOLED, POOLED.replace("mask", "batch.tokens != self.pad_id")),
    ),
    *make_mutants(
        "check_rows_are_independent",
        scales_by_the_batch=add_before_return(
            "logits = logits / (batch.numbers.square().sum().sqrt() / 100).clamp_min(1.0)"
        ),
    ),
    *make_mutants(
        "check_scoring_is_deterministic",
        noise_in_evaluation=add_before_return(
            "logits = logits if self.training else logits + 5e-7 * torch.randn_like(logits)"
        ),
    ),
    # inputs
    *make_mutants(
        "check_every_input_affects_logits",
        last_number_left_out=(
            "numbers, missing = batch.numbers,",
            "numbers, missing = torch.cat([batch.numbers[:, :-1], 0 * batch.numbers[:, -1:]], dim=1),",
        ),
        last_chunk_of_four_left_out=(
            POOLED,
            "fourth = torch.cat([chunk_row.new_full((3,), -1), chunk_row])[: chunk_row.shape[0]] == chunk_row\n"
            "        pooled = token_mean(tokens, mask & ~fourth[:, None], chunk_row, rows)",
        ),
    ),
    *make_mutants(
        "check_missing_numbers",
        missing_is_zero=("batch.numbers_missing.float()", "0 * batch.numbers"),
    ),
    make_common_mistake(
        "mean_of_no_numbers",
        "check_missing_numbers check_onnx_export",  # the export check has rows without any number
        add_before_return(
            "known = (missing == 0).sum(dim=1, keepdim=True)\n"
            "        logits = logits + (numbers.sum(dim=1, keepdim=True) / known if self.numbers is not None else 0)"
        ),
    ),
    *make_mutants(
        "check_missing_and_unknown_categories",
        missing_is_unknown=("batch.categories[:, i])", "batch.categories[:, i].clamp(min=1))"),
    ),
    # unusual shapes
    *make_mutants(
        "check_empty_text",
        deviation_of_one_token=(
            TEXT,
            f"{TEXT}        n = sum_per_row(mask.sum(dim=1, keepdim=True), chunk_row, rows)\n"
            "        spread = (token_mean(tokens.float() ** 2, mask, chunk_row, rows) - pooled**2).clamp_min(0)\n"
            "        joined = joined + 0.01 * (spread * n / (n - 1)).sum(dim=1, keepdim=True)\n",
        ),
    ),
    *make_mutants(
        "check_empty_batch", maximum_of_no_rows=add_before_return("logits = logits + 0.0 * batch.row.float().max()")
    ),
    *make_mutants(
        "check_text_only_and_table_only",
        says_that_it_needs_no_table=(WIDTH, f'needs = frozenset({{"text"}})\n    {WIDTH}'),
        needs_what_it_does_not_read=[
            (WIDTH, f'reads = frozenset({{"text"}})\n    {WIDTH}'),
            ("joined = joined + torch.stack(fields).sum(dim=0)", "assert not fields"),
        ],
    ),
    *make_mutants(
        "check_categories_only_and_numbers_only",
        needs_a_category=(TEXT, f"{TEXT}        torch.stack([e.weight for e in self.categories[:1]])\n"),
        needs_a_number=(
            "numbers, missing = batch.numbers,",
            "numbers, missing = torch.stack(batch.numbers.unbind(1), dim=1),",
        ),
    ),
    # training
    *make_mutants(
        "check_seed_determines_weights",
        sets_the_seed=add_to_init("torch.manual_seed(0)"),
        own_random_generator=add_to_init(
            "self.text.weight.data.uniform_(-0.1, 0.1, generator=(g := torch.Generator(), g.seed())[0])"
        ),
    ),
    *make_mutants(
        "check_gradients_reach_all_parameters",
        dead_layer=[
            add_to_init("self.dead = nn.Linear(width, spec.num_outputs)"),
            add_before_return("logits = logits + 0.0 * self.dead(joined)"),
        ],
    ),
    *make_mutants(
        "check_parameter_groups",
        parameter_in_two_groups=add_hook("parameter_groups(model)", "[{'params': [*model.text.parameters()]}] * 2"),
        group_with_an_unknown_key=add_hook(
            "parameter_groups(model)", "[{'params': [*model.text.parameters()], 'lr': 1.0}]"
        ),
        parameter_of_another_model=add_hook("parameter_groups(model)", "[{'params': [*nn.Linear(1, 1).parameters()]}]"),
    ),
    *make_mutants(
        "check_callbacks",
        callback_is_a_name=add_hook("callbacks()", "['early_stopping']"),
    ),
    *make_mutants("check_overfits_small_dataset", bounded_logits=add_before_return("logits = 1.2 * logits.tanh()")),
    *make_mutants(
        "check_bf16",
        float32_buffer=(
            TEXT,
            f"{TEXT}        at = torch.arange(rows, device=joined.device)[:, None].expand(joined.shape)\n"
            "        joined = torch.zeros(joined.shape, device=at.device).scatter_add(0, at, joined)\n",
        ),
    ),
    # tasks
    *make_mutants(
        "check_task",
        resolve_needs_classes=(
            WIDTH,
            f"{WIDTH}\n\n    def resolve(self, job):\n        assert job.num_classes\n        return self",
        ),
        log_softmax_at_the_end=add_before_return("logits = logits.log_softmax(dim=-1)"),
        reads_the_numbers_to_predict=add_before_return(
            "if batch.labels is not None and batch.labels.is_floating_point():\n"
            "            logits = logits + 0.1 * batch.labels.float().mean()"
        ),
    ),
    # export
    *make_mutants(
        "check_state_dict_is_complete",
        connects_when_it_is_built=add_to_init(
            "import contextlib, socket\n        with contextlib.suppress(OSError):\n"
            "            socket.create_connection(('127.0.0.1', 9), timeout=1).close()"
        ),
        state_outside=[
            add_to_init("self.shift = torch.randn(width)"),
            (TEXT, f"{TEXT}        joined = joined + self.shift.to(joined.device)\n"),
        ],
    ),
    *make_mutants(
        "check_onnx_export",
        index_add=(
            POOLED,
            "real = mask.unsqueeze(-1).float()\n"
            "        total = torch.zeros(rows, tokens.shape[-1], device=tokens.device)\n"
            "        total = total.index_add(0, chunk_row, (tokens.float() * real).sum(dim=1))\n"
            "        pooled = total / sum_per_row(real.sum(dim=1), chunk_row, rows).clamp_min(1.0)",
        ),
    ),
    *make_mutants(
        "check_distributed_training",
        parameter_for_some_batches=[
            add_to_init("self.note = nn.Parameter(torch.randn(width))"),
            (
                TEXT,
                f"{TEXT}        if tokens.shape[0] > rows:\n"
                "            many = sum_per_row(torch.ones_like(tokens[:, :1, 0]), chunk_row, rows) > 1\n"
                "            joined = joined + many.float() * self.note\n",
            ),
        ],
    ),
    # text encoders
    *make_encoder_mutants(
        "check_encoder_dim",
        tokens_are_wider_than_dim=("TextFeatures(tokens,", "TextFeatures(tokens.repeat(1, 1, 2),"),
    ),
    *make_encoder_mutants(
        "check_encoder_features", infinite_padding=("TextFeatures(tokens,", "TextFeatures(tokens / mask.unsqueeze(-1),")
    ),
    *make_encoder_mutants(
        "check_encoder_mask_and_chunk_row",
        all_tokens_are_real=("TextFeatures(tokens, mask,", "TextFeatures(tokens, torch.ones_like(mask),"),
    ),
    *make_encoder_mutants(
        "check_encoder_rows_are_independent",
        tokens_less_the_mean_of_the_batch=(
            "TextFeatures(tokens,",
            "TextFeatures(tokens - tokens.mean(dim=(0, 1)) if len(tokens) else tokens,",
        ),
    ),
    Mutant(
        "dead_layer_on_the_tokens",
        frozenset({"check_encoder_tokens_in_a_model"}),
        (
            (
                "self.dim = settings.width",
                "self.dim = settings.width\n        self.dead = nn.Linear(self.dim, self.dim)",
            ),
            ("TextFeatures(tokens,", "TextFeatures(tokens + 0.0 * self.dead(tokens),"),
        ),
        is_encoder=True,
    ),
    # common mistakes fail several checks
    make_common_mistake(
        "softmax_at_the_end",
        "check_logits check_overfits_small_dataset check_task",
        add_before_return("logits = logits.softmax(dim=-1)"),
    ),
    make_common_mistake(
        "three_classes_only", "check_logits check_task", ("nn.Linear(width, spec.num_outputs)", "nn.Linear(width, 3)")
    ),
    make_common_mistake(
        "unmasked_mean",
        "check_batch_size_invariance check_padding_invariance",
        (POOLED, POOLED.replace("mask", "torch.ones_like(mask)")),
    ),
    make_common_mistake(
        "unused_layer",
        "check_gradients_reach_all_parameters check_distributed_training",
        add_to_init("self.unused = nn.Linear(width, width)"),
    ),
    make_common_mistake(
        "text_is_ignored",
        "check_every_input_affects_logits check_gradients_reach_all_parameters",
        (TEXT, "joined = 0.0 * self.text(pooled)\n"),
    ),
    make_common_mistake(
        "dropout_is_always_on",
        "check_scoring_is_deterministic check_batch_size_invariance check_row_order_invariance "
        "check_padding_invariance check_rows_are_independent check_state_dict_is_complete check_onnx_export "
        "check_task",
        ("self.dropout(joined.tanh())", "nn.functional.dropout(joined.tanh(), 0.3)"),
    ),
    make_common_mistake(
        "softmax_over_the_batch",
        "check_batch_size_invariance check_rows_are_independent",
        (TEXT, f"{TEXT}        joined = joined * joined.softmax(dim=0)\n"),
    ),
    make_common_mistake(
        "loop_over_rows",
        "check_empty_batch check_onnx_export",
        (
            POOLED,
            "pooled = torch.stack([tokens[chunk_row == r][mask[chunk_row == r]].mean(dim=0) for r in range(rows)])",
        ),
    ),
)
