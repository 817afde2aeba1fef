"""Layers of a fixed size: what the conformance kit reports, and what it accepts."""

from __future__ import annotations

import pytest

from conformance_runs import install_model, install_mutant, run_one_check
from conftest import Installer
from correct_plugins import BOUNDED, MODEL, Mutant
from mutant_changes import IMPORTED, add_to_init
from scale_mutants import SCALE_MUTANTS

SIZES = "check_layers_are_sized_from_the_spec"


@pytest.mark.parametrize(
    ("name", "size", "fix"),
    [
        ("embeds_a_thousand_words", "a vocabulary of 5,000 tokens", "spec.text.vocab_size"),
        ("embeds_ten_values", "a category of 300 ids", "its cardinality in spec.categories"),
        ("embeds_sixteen_positions", "chunks of 96 tokens", "spec.text.max_tokens"),
        ("embeds_at_most_ten_fields", "40 more categories and numbers", "len(spec.categories)"),
        ("embeds_eight_chunks", "rows of 40 chunks", "spec.text.max_chunks"),
        ("embeds_fifty_outputs", "100 outputs", "spec.num_outputs"),
    ],
)
def test_a_layer_of_fixed_size_is_reported_with_the_size_and_the_fix(
    install: Installer, name: str, size: str, fix: str
) -> None:
    install_mutant(install, next(mutant for mutant in SCALE_MUTANTS if mutant.name == name))
    detail = run_one_check("mutant", SIZES).detail
    assert detail.startswith("a layer is not sized from the spec")
    assert f"fails with {size}" in detail
    assert fix in detail.partition("Fix: ")[2]
    assert "IndexError" in detail


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("clamps_token_ids", "which of the highest ids a token has (5,000 ids) has no effect"),
        ("clamps_values", "the value of the largest category (300 ids) has no effect"),
        ("reads_ten_numbers", "the value of the last number has no effect"),
        ("pools_sixty_four_tokens", "the last quarter of a chunk of 96 tokens has no effect"),
    ],
)
def test_an_input_that_large_sizes_cut_off_is_reported(install: Installer, name: str, title: str) -> None:
    install_mutant(install, next(mutant for mutant in SCALE_MUTANTS if mutant.name == name))
    assert run_one_check("mutant", "check_large_inputs_affect_logits").detail.startswith(title)


@pytest.mark.parametrize(
    ("name", "title", "fix"),
    [
        (
            "divides_by_the_number_of_values",
            "a category without values in train",
            "the cardinality, which is at least 2",
        ),
        ("reads_the_lowest_edge", "a number without values in train", "len(field.edges), which may be 0 or 1"),
        ("divides_by_the_range", "a constant number (one edge)", "len(field.edges), which may be 0 or 1"),
        ("reads_the_edges_of_any_number", "numbers that are all without values", "len(field.edges)"),
        ("multiplies_the_maximum_of_chunks", "a text without a maximum number of chunks", "max_total_chunks: null"),
    ],
)
def test_a_field_without_values_is_reported_with_the_line_and_the_fix(
    install: Installer, name: str, title: str, fix: str
) -> None:
    mutant = next(mutant for mutant in SCALE_MUTANTS if mutant.name == name)
    install_mutant(install, mutant)
    detail = run_one_check("mutant", "check_smallest_fields").detail
    assert f"fails with {title}" in detail
    assert fix in detail.partition("Fix: ")[2]
    assert mutant.changes[0][1].split("\n")[-2].strip() in detail


def test_layers_with_names_of_columns_are_reported_with_the_line(install: Installer) -> None:
    install_mutant(install, next(mutant for mutant in SCALE_MUTANTS if mutant.name == "names_layers_by_columns"))
    detail = run_one_check("mutant", "check_column_names").detail
    assert "not with columns called type, order.kind, order.total" in detail
    assert "nn.ModuleList" in detail
    assert "KeyError" in detail
    assert "nn.ModuleDict({c.name" in detail


REJECTED_FIELDS = (
    (
        "        width, self.pad_id",
        """\
        if any(len(number.edges) < 2 for number in spec.numbers) or spec.text.max_chunks is None:
            raise SettingError("tab_field_list", "a", "a column is constant", "remove it")
        if any(category.name == "type" or category.cardinality == 2 for category in spec.categories):
            raise SettingError("cat_field_list", "a", "the name is not supported", "rename the column")
        width, self.pad_id""",
    ),
    (IMPORTED, f"{IMPORTED}from fusionzoo.errors import SettingError\n"),
)


@pytest.mark.parametrize("check", ["check_smallest_fields", "check_column_names"])
def test_a_model_may_reject_fields_by_a_setting_error(install: Installer, check: str) -> None:
    install_model(install, MODEL, *REJECTED_FIELDS)
    assert run_one_check("mutant", check).status == "passed"


@pytest.mark.parametrize(
    ("check", "min_fields"),
    [
        ("check_every_input_affects_logits", 1),
        ("check_missing_numbers", 1),
        ("check_missing_and_unknown_categories", 1),
        ("check_large_inputs_affect_logits", 10),
    ],
)
def test_an_input_that_only_the_initial_weights_choose_is_no_fault(
    install: Installer, check: str, min_fields: int
) -> None:
    """The initial weights read the table, and trained ones do not, as in a sparse choice that training sharpens."""
    is_read = f"((self.choice == 1) | (len(fields) < {min_fields}))"
    changes = (
        add_to_init("self.choice = nn.Parameter(torch.ones(1))"),
        ("joined = joined + torch.stack(fields)", f"joined = self.choice * joined + {is_read} * torch.stack(fields)"),
    )
    install_model(install, MODEL, *changes)
    result = run_one_check("mutant", check)
    assert result.status == "passed", result.detail


OWN_VOCABULARY = (
    (
        "        self.words = WordEmbedding(spec.text, settings.width)\n",
        """\
        if spec.text.vocab_size > 1000:
            raise SettingError("tokenizer", spec.text.tokenizer, "the encoder has 1000 tokens", "use its tokenizer")
        self.words = WordEmbedding(spec.text, settings.width)
""",
    ),
    (IMPORTED, f"{IMPORTED}from fusionzoo.errors import SettingError\n"),
)
SIXTEEN_POSITIONS = (
    ("self.dim = settings.width", "self.dim = settings.width\n        self.positions = nn.Embedding(16, self.dim)"),
    ("TextFeatures(tokens,", "TextFeatures(tokens + self.positions.weight[: mask.shape[1]],"),
)


@pytest.mark.parametrize(("changes", "status"), [((), "passed"), (SIXTEEN_POSITIONS, "failed")])
def test_an_encoder_with_its_own_vocabulary_is_checked_with_the_other_sizes(
    install: Installer, changes: tuple[tuple[str, str], ...], status: str
) -> None:
    source = Mutant("own", frozenset(), (*OWN_VOCABULARY, *changes), is_encoder=True).source
    install("acme-words", source=source, text_encoders={"own": "acme_words:encoder"}, requires=BOUNDED)
    result = run_one_check("own", SIZES)
    assert result.status == status, result.detail
    if status == "failed":
        assert "fails with chunks of 96 tokens" in result.detail


@pytest.mark.parametrize("positions", [512, 64, 12])
def test_a_pretrained_architecture_with_fewer_positions_rejects_longer_chunks_and_passes(positions: int) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = {"model_type": "bert", **sizes, "max_position_embeddings": positions}
    for name, arguments in (("multimodal_moe", {"text_encoder": "bert"}), ("multimodal_bert", {})):
        result = run_one_check(name, SIZES, encoder_settings={"encoder_config": config}, **arguments)
        assert result.status == "passed", result.detail


def test_an_error_that_small_sizes_also_have_is_not_reported_again(install: Installer) -> None:
    install_model(install, MODEL, ("nn.Linear(width, spec.num_outputs)", "nn.Linear(width, 2)"))
    assert run_one_check("mutant", SIZES).status == "passed"
