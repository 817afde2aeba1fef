"""Faulty plugins that work only with the small sizes of most checks, or only in a batch of several rows."""

from __future__ import annotations

from correct_plugins import Mutant
from mutant_changes import (
    FEATURES_READ,
    IMPORTED,
    TEXT,
    WIDTH,
    add_before_return,
    add_to_init,
    make_encoder_mutants,
    make_mutants,
)

SCALE_MUTANTS: tuple[Mutant, ...] = (
    *make_mutants(
        "check_layers_are_sized_from_the_spec",
        embeds_a_thousand_words=[
            add_to_init("self.own = nn.Embedding(1000, width)"),
            (TEXT, f"{TEXT}        joined = joined + token_mean(self.own(batch.tokens), mask, chunk_row, rows)\n"),
        ],
        embeds_ten_values=("nn.Embedding(c.cardinality, width)", "nn.Embedding(10, width)"),
        embeds_sixteen_positions=[
            add_to_init("self.positions = nn.Embedding(16, text_encoder.dim)"),
            (
                FEATURES_READ,
                "positions = torch.arange(tokens.shape[1], device=tokens.device)\n"
                "        positions = positions.clamp_max(max(15, tokens.shape[1] - 4))  # some checks add padding\n"
                f"        tokens = tokens * (1 + self.positions(positions))\n        {FEATURES_READ}",
            ),
        ],
        embeds_at_most_ten_fields=[
            add_to_init("self.fields = nn.Embedding(10, width)"),
            (
                "fields = [embedding(batch.categories[:, i])",
                "fields = [embedding(batch.categories[:, i]) + self.fields.weight[i]",
            ),
        ],
        embeds_eight_chunks=[
            add_to_init("self.chunks = nn.Embedding(8, text_encoder.dim)"),
            (
                FEATURES_READ,
                "position = (chunk_row[:, None] == chunk_row).long().tril(-1).sum(dim=1)\n"
                f"        tokens = tokens * (1 + self.chunks(position)[:, None])\n        {FEATURES_READ}",
            ),
        ],
        embeds_fifty_outputs=[
            add_to_init("self.prior = nn.Embedding(50, 1)"),
            add_before_return(
                "logits = logits + self.prior(torch.arange(logits.shape[1], device=logits.device)).squeeze(1)"
            ),
        ],
    ),
    *make_mutants(
        "check_missing_and_unknown_categories",
        unknown_is_a_value=(  # if the category has values
            "batch.categories[:, i])",
            "(batch.categories[:, i] + (batch.categories[:, i] == 1)) % len(embedding.weight))",
        ),
    ),
    *make_mutants(
        "check_smallest_fields",
        divides_by_the_number_of_values=add_to_init("self.prior = [1 / (c.cardinality - 2) for c in spec.categories]"),
        reads_the_lowest_edge=add_to_init("self.lowest = [number.edges[0] for number in spec.numbers]"),
        divides_by_the_range=add_to_init("self.range = [1 / (n.edges[-1:] or (1,))[0] for n in spec.numbers]"),
        reads_the_edges_of_any_number=add_to_init(
            "self.last = max(edge for number in spec.numbers for edge in number.edges) if spec.numbers else 0"
        ),
        multiplies_the_maximum_of_chunks=add_to_init("self.limit = 2 * spec.text.max_chunks"),
    ),
    *make_mutants(
        "check_column_names",
        names_layers_by_columns=[
            (
                "nn.ModuleList([nn.Embedding(c.cardinality, width)",
                "nn.ModuleDict({c.name: nn.Embedding(c.cardinality, width)",
            ),
            ("for c in spec.categories])", "for c in spec.categories})"),
            ("enumerate(self.categories)]", "enumerate(self.categories.values())]"),
        ],
        names_a_buffer_by_a_number=[
            (
                "        self.dropout = ",
                "        for number in spec.numbers:\n"
                '            self.register_buffer(f"mean_{number.name}", torch.tensor(number.mean))\n'
                "        self.dropout = ",
            ),
        ],
    ),
    *make_mutants(
        "check_large_inputs_affect_logits",
        clamps_values=("embedding(batch.categories[:, i])", "embedding(batch.categories[:, i].clamp_max(99))"),
        reads_ten_numbers=(
            "numbers, missing = batch.numbers,",
            "numbers, missing = torch.cat([batch.numbers[:, :10], 0 * batch.numbers[:, 10:]], dim=1),",
        ),
    ),
    *make_encoder_mutants(
        "check_large_inputs_affect_logits",
        pools_sixty_four_tokens=(
            "token_mean(tokens, mask, chunk_row, batch.rows)",
            "token_mean(tokens[:, :64], mask[:, :64], chunk_row, batch.rows)",
        ),
        clamps_token_ids=("self.words(batch.tokens, mask)", "self.words(batch.tokens.clamp_max(999), mask)"),
    ),
    *make_mutants(
        "check_task",
        learns_labels_in_training=add_before_return(
            "if self.training and batch.labels is not None and rows == 16 and batch.labels.ndim == 1:\n"
            "            logits = logits + batch.labels.float()[:, None] * self.classify.weight.mean()"
        ),
    ),
    *make_mutants(
        "check_setting_values",
        width_without_bounds=(WIDTH, 'width: int = Field(16, description="Width.")'),
        optional_widths_without_bounds=[
            (WIDTH, f'{WIDTH}\n    widths: list[int] | None = Field([16], description="Widths.")'),
            add_to_init("self.other = nn.Dropout(0.1 * (settings.widths or [0])[0] / 16)"),
        ],
        second_dropout_without_an_upper_bound=[
            (WIDTH, f'{WIDTH}\n    other: float = Field(0.1, ge=0, description="Dropout.")'),
            add_to_init("self.other = nn.Dropout(settings.other)"),
        ],
        chooses_a_pooling_over_padding=[
            (WIDTH, f'{WIDTH}\n    pooling: Literal["mean", "max"] = Field("mean", description="Pooling.")'),
            (IMPORTED, f"{IMPORTED}from typing import Literal\n"),
            add_to_init("self.pooling = settings.pooling"),
            (TEXT, f"{TEXT}        if self.pooling == 'max' and rows:\n            joined = joined + tokens.max()\n"),
        ],
        drops_out_while_scoring=[
            (WIDTH, f'{WIDTH}\n    other: float = Field(0.0, ge=0, lt=1, description="Dropout.")'),
            add_to_init("self.other = settings.other"),
            add_before_return("logits = nn.functional.dropout(logits, self.other)"),
        ],
        fails_with_a_switch=[
            (WIDTH, f'{WIDTH}\n    gated: bool = Field(False, description="Whether a gate is used.")'),
            add_to_init("self.gated = settings.gated"),
            add_before_return("logits = logits * self.gate(logits) if self.gated else logits"),
        ],
        fails_with_a_nested_switch=[
            (
                "class Settings(FusionSettings):",
                'from pydantic import BaseModel\n\n\nclass Table(BaseModel, extra="forbid"):\n'
                '    gated: bool = Field(False, description="Whether a gate is used.")\n\n\n'
                'class Settings(FusionSettings):\n    table: Table = Field(Table(), description="The table.")',
            ),
            add_to_init("self.gated = settings.table.gated"),
            add_before_return("logits = logits * self.gate(logits) if self.gated else logits"),
        ],
        divides_by_a_setting=[
            (WIDTH, f'{WIDTH}\n    parts: int = Field(2, ge=0, description="Parts of the width.")'),
            add_to_init("assert width % settings.parts == 0"),
        ],
    ),
    *make_mutants(
        "check_training_on_one_row",
        batch_norm=("self.dropout = nn.Dropout(settings.dropout)", "self.dropout = nn.BatchNorm1d(width)"),
        batch_norm_of_tokens=[
            add_to_init("self.norm = nn.BatchNorm1d(text_encoder.dim)"),
            (FEATURES_READ, f"tokens = self.norm(tokens.transpose(1, 2)).transpose(1, 2)\n        {FEATURES_READ}"),
        ],
        mean_of_the_batch_in_training=add_before_return(
            "logits = logits - logits.mean(dim=0) if self.training and batch.rows else logits"
        ),
        functional_batch_norm_in_training=(
            TEXT,
            f"{TEXT}        if self.training and batch.rows > 1:\n"
            "            joined = nn.functional.batch_norm(joined, None, None, training=True)\n",
        ),
        deviation_over_rows=add_before_return(
            "logits = logits * (1 + 1e-9 * joined.std(dim=0).sum()) if self.training else logits"
        ),
    ),
)
