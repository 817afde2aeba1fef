"""What the conformance kit says about common mistakes: the cause, the line, and a fix that fits."""

from __future__ import annotations

import textwrap

import pytest

from conformance_runs import install_model, install_mutant, run_checks, run_one_check
from conftest import Installer
from correct_plugins import BOUNDED, MODEL
from mutant_changes import IMPORTED, TEXT, WIDTH, add_before_return, add_hook, add_to_init
from side_effect_mutants import ANNEAL, CALLBACK_IMPORTED, SIDE_EFFECT_MUTANTS

SIGNATURE = "    def forward(self, batch):"
ROWS_CHECKS = {"check_batch_size_invariance", "check_row_order_invariance", "check_padding_invariance", "check_task"}


def fail(install: Installer, check: str, *changes: tuple[str, str]) -> str:
    """Return the failure of a check of the correct model with these changes."""
    install_model(install, MODEL, *changes)
    results = run_checks(checks={check})
    assert results[0].status == "failed"
    return results[0].detail


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("seeds_torch_in_training", "as torch.manual_seed does"),
        ("seeds_python_in_training", "as random.seed does"),
        ("seeds_numpy_in_training", "as numpy.random.seed does"),
    ],
)
def test_a_seed_in_forward_is_named_with_its_line(install: Installer, name: str, says: str) -> None:
    install_mutant(install, next(mutant for mutant in SIDE_EFFECT_MUTANTS if mutant.name == name))
    detail = run_one_check("mutant", "check_forward_has_no_side_effects").detail
    assert f"forward sets a seed, {says}" in detail
    assert "\n  at " in detail
    assert "in forward: " in detail
    assert "seed(" in detail.rpartition("in forward: ")[2]


def test_drawing_random_numbers_in_training_is_no_side_effect(install: Installer) -> None:
    draws = "joined = joined * (1 + 0.1 * random.random() + 0.1 * torch.rand(())) if self.training else joined"
    install_model(install, MODEL, (IMPORTED, f"import random\n{IMPORTED}"), (TEXT, f"{TEXT}        {draws}\n"))
    assert run_one_check("mutant", "check_forward_has_no_side_effects").status == "passed"


def test_a_weight_that_forward_changes_is_named(install: Installer) -> None:
    scaled = f"{TEXT}        self.text.weight.data = 0.9 * self.text.weight.data\n"
    detail = fail(install, "check_forward_has_no_side_effects", (TEXT, scaled))
    assert detail.startswith("in evaluation mode, forward changes text.weight, ")


@pytest.mark.parametrize("check", sorted(ROWS_CHECKS))
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("logits = logits * torch.rand(())", "two evaluations of the same batch give different logits"),
        ("logits = torch.nn.Linear(3, 3)(logits) if rows and logits.shape[1] == 3 else logits", "two evaluations of"),
        ("logits = logits if batch.labels is None else logits + batch.labels.sum()", "depend on batch.labels"),
    ],
)
def test_a_check_of_rows_blames_neither_padding_nor_order_for_noise_and_labels(
    install: Installer, check: str, code: str, says: str
) -> None:
    install_model(install, MODEL, add_before_return(code))
    failures = [result.detail for result in run_checks(checks={check}) if not result.ok]
    if "labels" in code and check in ("check_row_order_invariance", "check_padding_invariance"):
        assert failures == [], "the sum of the labels is the same in every order"
    else:
        assert all(says in detail for detail in failures)
        assert failures or "Linear" in code, "a task with other widths does not run the line"


def test_modules_in_a_list_are_named_with_the_container_that_registers_them(install: Installer) -> None:
    listed = add_to_init("self.layers = [nn.Linear(width, width)]")
    detail = fail(install, "check_layers_are_registered", listed)
    assert detail.startswith("the list layers of the model contains a module that torch does not know")
    assert detail.endswith("Fix: make layers an nn.ModuleList")


def test_registered_modules_may_also_be_in_a_list(install: Installer) -> None:
    listed = add_to_init("self.order = [self.text, self.text.weight]\n        self.shared = {'text': self.text}")
    install_model(install, MODEL, listed)
    assert run_one_check("mutant", "check_layers_are_registered").status == "passed"


def test_sparse_gradients_are_named(install: Installer) -> None:
    embedding = "nn.Embedding(c.cardinality, width)"
    detail = fail(install, "check_logits", (embedding, embedding.replace(")", ", sparse=True)")))
    assert detail.startswith("the gradient of categories.0.weight, categories.1.weight is sparse")
    assert detail.endswith("Fix: remove sparse=True")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            [(SIGNATURE, f"    @torch.no_grad()\n{SIGNATURE}")],
            "the logits of forward have no gradient. Fix: remove torch.no_grad()",
        ),
        (
            [add_to_init("self.last = 0.0"), (TEXT, f"{TEXT}        joined = self.last = joined + self.last * 0.1\n")],
            "forward uses a tensor that it computed for an earlier batch",
        ),
        (
            [
                (
                    TEXT,
                    f"{TEXT}        used = joined.exp()\n        joined = joined + used.sin()\n        used.zero_()\n",
                )
            ],
            "forward changes a tensor after another operation has used it",
        ),
    ],
    ids=["no_grad", "kept_graph", "in_place"],
)
def test_an_error_of_autograd_is_explained(install: Installer, changes: list[tuple[str, str]], note: str) -> None:
    assert note in fail(install, "check_overfits_small_dataset", *changes)


def test_a_float64_parameter_is_named_where_dtypes_do_not_fit(install: Installer) -> None:
    constant = add_to_init("self.scale = nn.Parameter(torch.ones(width, dtype=torch.float64))")
    detail = fail(install, "check_logits", constant, (TEXT, f"{TEXT}        joined = joined * self.scale\n"))
    assert "\n  scale of the model is float64, as arrays of numpy are. Fix: create it in float32" in detail


def test_a_forward_with_other_parameters_is_named_with_its_class(install: Installer) -> None:
    detail = fail(install, "check_logits", (SIGNATURE, "    def forward(self, batch, mask):"))
    assert "Fix: write def forward(self, batch) in LateSum, which core calls as model(batch)" in detail
    assert ", in acme_mutant: class LateSum(nn.Module):" in detail


def test_an_operation_without_a_bfloat16_version_is_named_with_the_precision_that_works(install: Installer) -> None:
    layer = add_to_init("self.pair = nn.Bilinear(width, width, width)")
    detail = fail(install, "check_bf16", layer, (TEXT, f"{TEXT}        joined = self.pair(joined, joined)\n"))
    assert "only the bfloat16 version of bilinear fails" in detail
    assert "within torch.autocast(x.device.type, enabled=False)" in detail
    assert "every job needs `precision: 32`" in detail
    assert "in forward: joined = self.pair(joined, joined)" in detail


def test_an_error_in_every_precision_is_not_blamed_on_bfloat16(install: Installer) -> None:
    raises = f"{TEXT}        if self.training:\n            raise LookupError('broken')\n"
    assert "bfloat16" not in fail(install, "check_bf16", (TEXT, raises))


def test_an_attribute_that_a_callback_changes_is_named(install: Installer) -> None:
    scaled = [add_to_init("self.temperature = 1.0"), add_before_return("logits = logits / self.temperature")]
    hook = add_hook("callbacks()", "[Anneal()]")
    detail = fail(install, "check_callbacks", CALLBACK_IMPORTED, ANNEAL, *scaled, hook)
    assert "callbacks change state of the model that is not in its state_dict: temperature." in detail
    assert "Fix: make it a buffer (register_buffer)" in detail


def test_a_callback_may_change_a_buffer(install: Installer) -> None:
    buffer = add_to_init("self.register_buffer('temperature', torch.ones(()))")
    scaled = add_before_return("logits = logits / self.temperature")
    install_model(install, MODEL, CALLBACK_IMPORTED, ANNEAL, buffer, scaled, add_hook("callbacks()", "[Anneal()]"))
    result = run_one_check("mutant", "check_callbacks")
    assert result.status == "passed", result.detail


@pytest.mark.parametrize("callback", ["EarlyStopping('val_loss')", "ModelCheckpoint(monitor='val_loss')", "Timer()"])
def test_callbacks_of_lightning_pass(install: Installer, callback: str) -> None:
    imported = f"{IMPORTED}from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer\n"
    install_model(install, MODEL, (IMPORTED, imported), add_hook("callbacks()", f"[{callback}]"))
    result = run_one_check("mutant", "check_callbacks")
    assert result.status == "passed", result.detail


FEWER_INPUTS = {"check_text_only_and_table_only", "check_categories_only_and_numbers_only"}
TABLE_ONLY = textwrap.dedent("""
    from fusionzoo import hookimpl
    from fusionzoo.nn.tabular import TabularEncoder
    from fusionzoo.settings import ModelSettings
    from torch import nn

    class Settings(ModelSettings):
        needs = reads = frozenset({"table"})

    @hookimpl
    def settings_class():
        return Settings

    @hookimpl
    def build_model(spec):
        return nn.Sequential(TabularEncoder(spec, 16), nn.Linear(17, spec.num_outputs))
""")


def test_a_model_that_fails_with_all_inputs_gets_no_advice_about_fewer(install: Installer) -> None:
    install("acme-mutant", source=TABLE_ONLY, models=["mutant"], requires=BOUNDED)
    assert {result.status for result in run_checks(checks=FEWER_INPUTS)} == {"passed"}
    assert "mat1 and mat2 shapes" in run_one_check("mutant", "check_logits").detail


def test_a_model_that_fails_with_fewer_inputs_is_shown_with_the_line(install: Installer) -> None:
    needs = ("    width: int = Field", '    needs = frozenset({"text"})\n    width: int = Field')
    detail = fail(install, "check_text_only_and_table_only", needs)
    assert detail.startswith("the model works with all of its inputs, but fails in a job with only text. Fix: add")
    assert "in forward: joined = joined + torch.stack(fields).sum(dim=0)" in detail


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def small(self):\n        return self", "small of its settings Settings is not a class method"),
        ("@classmethod\n    def small(cls):\n        return None", "Settings.small() returned NoneType, not Settings"),
    ],
)
def test_a_wrong_small_is_named_with_the_fix(install: Installer, code: str, says: str) -> None:
    install_model(install, MODEL, (WIDTH, f"{WIDTH}\n\n    {code}"))
    checks = {"check_unknown_settings_are_rejected", "check_settings_json_round_trip", "check_logits"}
    results = run_checks(checks=checks)
    assert {result.check for result in results} == checks
    assert all(says in result.detail and "Fix: " in result.detail for result in results), results


def test_a_column_that_is_broadcast_over_the_classes_is_named(install: Installer) -> None:
    fused = [add_to_init("self.fused = nn.Linear(width, 1)"), add_before_return("logits = logits + self.fused(joined)")]
    detail = fail(install, "check_gradients_reach_all_parameters", *fused)
    assert detail.startswith("a change of fused.bias, fused.weight only adds the same number to all logits of a row")
    assert "give the last layer spec.num_outputs outputs" in detail


def test_a_model_of_numbers_may_shift_all_its_outputs(install: Installer) -> None:
    fused = [add_to_init("self.fused = nn.Linear(width, 1)"), add_before_return("logits = logits + self.fused(joined)")]
    tasks = (WIDTH, f'tasks = frozenset({{"regression"}})\n    {WIDTH}')
    install_model(install, MODEL, *fused, tasks)
    assert run_one_check("mutant", "check_gradients_reach_all_parameters").status == "passed"


EFFECTS_THAT_ARE_HARD_TO_SEE = {
    "bias_that_softmax_cancels": [
        add_to_init("self.score = nn.Linear(width, 1)"),
        (
            TEXT,
            f"{TEXT}        pair = torch.stack([joined, joined.tanh()], dim=1)\n"
            "        joined = (self.score(pair).softmax(dim=1) * pair).sum(dim=1)\n",
        ),
    ],
    "zeros_at_first": [
        add_to_init(
            "self.hidden, self.last = nn.Linear(width, width), nn.Linear(width, spec.num_outputs)\n"
            "        nn.init.zeros_(self.last.weight)"
        ),
        add_before_return("logits = logits + self.last(self.hidden(joined).relu())"),
    ],
    "penalty_only": [
        add_to_init("self.other = nn.Linear(width, width)"),
        ('{"size": 1e-4 * logits.square().mean()}', '{"size": 1e-4 * (self.other(joined) - joined).square().mean()}'),
    ],
    "noise_in_training": [
        add_to_init("self.level = nn.Linear(width, width)"),
        (
            TEXT,
            f"{TEXT}        noise = self.level(joined) * torch.randn_like(joined)\n"
            "        joined = joined + noise * self.training\n",
        ),
    ],
}


@pytest.mark.parametrize("name", EFFECTS_THAT_ARE_HARD_TO_SEE)
def test_parameters_with_an_effect_that_is_hard_to_see_pass(install: Installer, name: str) -> None:
    install_model(install, MODEL, *EFFECTS_THAT_ARE_HARD_TO_SEE[name])
    result = run_one_check("mutant", "check_gradients_reach_all_parameters")
    assert result.status == "passed", result.detail
