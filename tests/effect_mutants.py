"""Models with parts that change no probability, but for rounding noise, or that need labels; and undeclared imports."""

from __future__ import annotations

from correct_plugins import BERT, CORE, Mutant
from mutant_changes import IMPORTED, add_before_return, add_to_init, make_common_mistake, make_mutants

LAST_LAYER = "self.classify = nn.Linear(width, spec.num_outputs)"
LOGITS = "logits = self.classify(self.dropout(joined.tanh()))"
NUMBERS_READ = "numbers, missing = batch.numbers,"

EFFECT_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "imports_what_it_does_not_require", frozenset({"check_metadata"}), ((IMPORTED, f"{IMPORTED}import pytest\n"),)
    ),
    Mutant(
        "imports_an_extra_of_core",
        frozenset({"check_metadata"}),
        requires=(CORE.replace("[train]", ""), BERT),  # torch is in the extra `train` only
    ),
    *make_mutants(
        "check_logits",
        two_equal_logits=add_before_return("logits = logits[:, :1].expand(-1, 2) if logits.shape[1] == 2 else logits"),
    ),
    *make_mutants(
        "check_every_input_affects_logits",
        last_number_changes_all_logits_equally=[
            (NUMBERS_READ, "numbers, missing = torch.cat([batch.numbers[:, :-1], 0 * batch.numbers[:, -1:]], dim=1),"),
            add_before_return("logits = logits + 0.1 * batch.numbers[:, -1:].sum(dim=1, keepdim=True)"),
        ],
        last_number_is_rounding_noise=[
            (NUMBERS_READ, "numbers, missing = torch.cat([batch.numbers[:, :-1], 0 * batch.numbers[:, -1:]], dim=1),"),
            add_before_return(
                "score = joined + batch.numbers[:, -1:].sum(dim=1, keepdim=True)\n"
                "        logits = logits * (1 + (score.softmax(dim=1) * joined).mean(dim=1, keepdim=True))"
            ),
        ],
    ),
    *make_mutants(
        "check_gradients_reach_all_parameters",
        one_column_for_all_classes=[
            add_to_init("self.fused = nn.Linear(width, 1)"),
            add_before_return("logits = logits + self.fused(joined)"),
        ],
        score_that_softmax_cancels=[
            add_to_init("self.score = nn.Linear(width, 1)"),
            add_before_return(
                "gate = (self.score(joined) + joined).softmax(dim=1)\n"
                "        logits = logits * (1 + (gate * joined).sum(dim=1, keepdim=True))"
            ),
        ],
    ),
    make_common_mistake(
        "one_output_for_all_classes",
        "check_logits check_every_input_affects_logits check_missing_numbers check_missing_and_unknown_categories "
        "check_gradients_reach_all_parameters check_overfits_small_dataset check_task",
        (LAST_LAYER, "self.classify, self.outputs = nn.Linear(width, 1), spec.num_outputs"),
        (LOGITS, f"{LOGITS}.expand(-1, self.outputs)"),
    ),
    make_common_mistake(
        "reads_class_labels",
        "check_scoring_is_deterministic check_onnx_export check_task",
        add_before_return(
            "if batch.labels is not None and batch.labels.ndim == 1 and logits.shape[1] > 1:\n"
            "            logits = logits + nn.functional.one_hot(batch.labels, logits.shape[1])"
        ),
    ),
)
