"""Each conformance check fails for its mutants, and for nothing else."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from unittest import mock

import pytest
import torch

from conformance_runs import install_model, install_mutant, run_checks, run_one_check
from conftest import Installer
from correct_plugins import BOUNDED, MODEL, TORCHS_TRANSFORMER, Mutant
from fusionzoo.conformance.checks import ENCODER_CHECKS, MODEL_CHECKS, PLUGIN_CHECKS, TASK_CHECKS
from fusionzoo.conformance.run import plan_cases
from mutants import MUTANTS

CHECKS = [check.__name__ for check in (*PLUGIN_CHECKS, *ENCODER_CHECKS, *MODEL_CHECKS, *TASK_CHECKS)]
CORRECT = (Mutant("correct_model", frozenset()), Mutant("correct_encoder", frozenset(), is_encoder=True))
FEATURES = "features = self.text_encoder(batch)\n"


@pytest.fixture(autouse=True)
def _restore_state() -> Iterator[None]:
    """Undo the side effects of importing mutants."""
    loggers = [logging.getLogger(), logging.getLogger("fusionzoo")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), mock.patch.dict(os.environ):
        yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


# --- mutants


@pytest.mark.parametrize("mutant", [*CORRECT, *MUTANTS], ids=lambda mutant: mutant.name)
@pytest.mark.usefixtures("forked_checks")
def test_a_mutant_fails_exactly_its_checks_and_a_correct_plugin_none(install: Installer, mutant: Mutant) -> None:
    install_mutant(install, mutant)
    cases = plan_cases(mutant.entry_point)
    if "check_task" not in mutant.failed_checks:  # one kind of job suffices, and saves a second for each mutant
        cases = [case for case in cases if case.subjects[0].job_title in ("", "regression of two numbers")]
    failed = {result.check: result.detail for result in (case.run() for case in cases) if not result.ok}
    assert failed.keys() == mutant.failed_checks, failed
    assert all(failed.values()), "every failure has a message"


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_has_a_mutant_that_fails_only_this_check(check: str) -> None:
    assert any(mutant.failed_checks == {check} for mutant in MUTANTS)


def test_mutants_have_distinct_names() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("name", ["state_outside", "parameter_for_some_batches", "seeds_on_import"])
def test_checks_in_fresh_processes_fail_as_they_do_in_forks(install: Installer, name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    install_mutant(install, mutant)
    found = run_checks(checks=set(mutant.failed_checks))
    assert {result.check for result in found if not result.ok} == mutant.failed_checks


# --- correct plugins of other kinds


TABLE_ONLY = """
    from fusionzoo import hookimpl
    from fusionzoo.nn.heads import ClassifierHead
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
        return nn.Sequential(TabularEncoder(spec, 16), ClassifierHead(16, 16, spec.num_outputs))
"""

OWN_EMBEDDING = """
    from fusionzoo import hookimpl
    from fusionzoo.nn.pooling import token_mean
    from fusionzoo.nn.word_embedding import WordEmbedding
    from fusionzoo.settings import ModelSettings
    from torch import nn

    class Settings(ModelSettings):
        needs = reads = frozenset({"text"})

    class Words(nn.Module):
        def __init__(self, spec):
            super().__init__()
            self.words = WordEmbedding(spec.text, 16)
            self.classify = nn.Linear(self.words.dim, spec.num_outputs)

        def forward(self, batch):
            words = self.words(batch.tokens, batch.token_mask)
            return self.classify(token_mean(words, batch.token_mask, batch.chunk_row, batch.rows))

    @hookimpl
    def settings_class():
        return Settings

    @hookimpl
    def build_model(spec):
        return Words(spec)
"""


@pytest.mark.parametrize("source", [TABLE_ONLY, OWN_EMBEDDING], ids=["table_only", "own_embedding"])
@pytest.mark.usefixtures("forked_checks")
def test_a_model_without_a_text_encoder_passes(install: Installer, source: str) -> None:
    install("acme-mutant", source=source, models=["mutant"], requires=BOUNDED)
    found = run_checks()
    assert [result for result in found if not result.ok] == []
    assert {result.subject.partition(" in a ")[0] for result in found} == {"model_class 'mutant'"}


HEAD = "self.classify = nn.Linear(width, spec.num_outputs)"
POOLED = "pooled = token_mean(tokens, mask, chunk_row, rows)"
ZERO_HEAD = (HEAD, f"{HEAD}\n        nn.init.zeros_(self.classify.weight)")
FIRST_TOKEN = (POOLED, "pooled = sum_per_row(tokens[:, :1].sum(dim=1), chunk_row, rows)")
FROZEN_NORM = (  # a batch norm that uses stored statistics, also in training
    "self.dropout = nn.Dropout(settings.dropout)",
    "self.dropout = nn.BatchNorm1d(width).eval()\n        self.dropout.train = lambda mode: self.dropout",
)
FROZEN = ("self.text_encoder = text_encoder\n", "self.text_encoder = text_encoder.requires_grad_(False)\n")


@pytest.mark.parametrize(
    "change", [ZERO_HEAD, FIRST_TOKEN, FROZEN, FROZEN_NORM], ids=["zero_head", "first_token", "frozen", "frozen_norm"]
)
@pytest.mark.usefixtures("forked_checks")
def test_an_unusual_correct_model_passes(install: Installer, change: tuple[str, str]) -> None:
    install_model(install, MODEL, change)
    assert [result for result in run_checks() if not result.ok] == []


def test_a_zero_initialized_head_does_not_hide_a_bug_before_it(install: Installer) -> None:
    install_model(install, MODEL, ZERO_HEAD, (POOLED, POOLED.replace("mask", "torch.ones_like(mask)")))
    assert run_one_check("mutant", "check_padding_invariance").status == "failed"


LIBRARY_WITH_SIDE_EFFECTS = """
    import logging, warnings
    import torch

    logging.getLogger().addHandler(logging.StreamHandler())
    warnings.simplefilter("ignore", ResourceWarning)
    torch.manual_seed(7)
    ONES = torch.ones(3)
"""


@pytest.mark.usefixtures("forked_checks")
def test_side_effects_of_an_imported_library_do_not_fail_the_plugin(install: Installer) -> None:
    install("acme-library", source=LIBRARY_WITH_SIDE_EFFECTS)
    imports = (
        "import acme_library, logging, warnings\n"
        "logging.getLogger(__name__).addHandler(logging.NullHandler())\n"
        "with warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n"
    )
    install_model(install, MODEL, ("import torch\n", f"{imports}import torch\n"))
    assert run_one_check("mutant", "check_import_has_no_side_effects").status == "passed"


@pytest.mark.usefixtures("forked_checks")
def test_a_library_call_at_module_level_with_side_effects_fails_the_plugin(install: Installer) -> None:
    imports = "from fusionzoo.nn.word_embedding import WordEmbedding\nfrom fusionzoo.nn.schema import TextSpec\n"
    call = f"{imports}SHARED = WordEmbedding(TextSpec(9, 0, 4, None, 'word'), 4)\n"
    install_model(install, MODEL, ("import torch\n", f"import torch\n{call}"))
    result = run_one_check("mutant", "check_import_has_no_side_effects")
    assert result.status == "failed"
    assert "draws random numbers with torch" in result.detail


# --- failures


def test_an_exception_in_the_plugin_is_shown_with_type_message_and_line(install: Installer) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        raise LookupError('no such thing')\n"))
    result = run_one_check("mutant", "check_logits")
    assert result.status == "failed"
    assert result.detail.startswith("LookupError: no such thing\n")
    line = 1 + MODEL[: MODEL.index(FEATURES)].count("\n") + 1
    assert f"acme_mutant.py, line {line}, in forward: raise LookupError('no such thing')" in result.detail


CLASS_LINE = 1 + MODEL[: MODEL.index("class LateSum")].count("\n")
WITHOUT_FORWARD = {
    "LateSum": [("def forward(self, batch):", "def forwards(self, batch):")],
    "Norm": [
        ("class LateSum", "class Norm(nn.Module):\n    pass\n\n\nclass LateSum"),
        (FEATURES, f"{FEATURES}        Norm()(features.pooled)\n"),
    ],
}


@pytest.mark.parametrize("name", WITHOUT_FORWARD)
def test_a_class_without_forward_is_named_with_its_line_and_the_fix(install: Installer, name: str) -> None:
    install_model(install, MODEL, *WITHOUT_FORWARD[name])
    result = run_one_check("mutant", "check_logits")
    assert f"the class {name} has no method forward. Fix: define forward in {name}" in result.detail
    assert f"acme_mutant.py, line {CLASS_LINE}, in acme_mutant: class {name}(nn.Module):" in result.detail


IN_INIT = "self.dropout = nn.Dropout(settings.dropout)"
FIXED_LENGTH = (
    (
        "class LateSum",
        "class Attend(nn.Module):\n    def forward(self, x):\n        return x.view(len(x), 16)\n\n\nclass LateSum",
    ),
    (IN_INIT, f"{IN_INIT}\n        self.attend = Attend()"),
    ("joined = self.text(pooled)", "joined = self.text(self.attend(pooled))"),
)
BLOCK = (
    ("import torch\n", "import torch\nfrom fusionzoo.nn.transformer import TransformerBlock\n"),
    (IN_INIT, f"{IN_INIT}\n        self.attend = TransformerBlock(text_encoder.dim, 2)"),
    (FEATURES, f"{FEATURES}        features.tokens = self.attend(features.tokens, features.mask)\n"),
)


def test_the_advice_for_an_export_with_fixed_shapes_names_the_module(install: Installer) -> None:
    install_model(install, MODEL, *FIXED_LENGTH)
    result = run_one_check("mutant", "check_onnx_export")
    assert result.status == "failed"
    assert "The exported model fails in the module 'attend' on " in result.detail
    assert "use tensor.shape or batch.rows, never len() or int()" in result.detail


def test_the_error_for_a_batch_without_rows_explains_why_such_batches_exist(install: Installer) -> None:
    install_model(install, MODEL, *((old, new.replace("if batch.rows", "if True")) for old, new in TORCHS_TRANSFORMER))
    result = run_one_check("mutant", "check_empty_batch")
    assert result.status == "failed"
    assert "a process may get a batch without rows" in result.detail
    assert "if batch.rows:" in result.detail


@pytest.mark.parametrize("changes", [BLOCK, TORCHS_TRANSFORMER], ids=["ours", "torchs"])
@pytest.mark.usefixtures("forked_checks")
def test_a_model_with_a_transformer_passes(install: Installer, changes: tuple[tuple[str, str], ...]) -> None:
    install_model(install, MODEL, *changes)
    assert [result for result in run_checks() if not result.ok] == []


@pytest.mark.parametrize("width", ["2", "spec.num_outputs - 1", "0"])
def test_every_check_names_a_wrong_output_width(install: Installer, width: str) -> None:
    install_model(install, MODEL, ("nn.Linear(width, spec.num_outputs)", f"nn.Linear(width, {width})"))
    results = run_checks(checks={"check_logits", "check_row_order_invariance", "check_overfits_small_dataset"})
    for result in results:
        assert result.status == "failed"
        assert "logits have shape [" in result.detail
        assert "size the last layer by spec.num_outputs" in result.detail


@pytest.mark.parametrize("value", ["(features.pooled, 1)", "None", "features"])
def test_a_wrong_return_type_of_forward_is_named(install: Installer, value: str) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        return {value}\n"))
    result = run_one_check("mutant", "check_logits")
    assert result.detail.startswith("forward returned ")
    assert "not logits [rows, classes] or a ModelOutput" in result.detail


def test_a_plugin_that_raises_system_exit_fails_only_the_check(install: Installer) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        raise SystemExit(3)\n"))
    assert run_one_check("mutant", "check_logits").detail.startswith("SystemExit: 3\n")


CRASHES = """import os
        if torch.distributed.is_initialized() and torch.distributed.get_rank() in {}:
            os._exit(7)
"""


@pytest.mark.parametrize("ranks", ["(1,)", "(0, 1)"])
@pytest.mark.usefixtures("forked_checks")
def test_a_crashed_process_stops_the_other_one_and_is_reported(install: Installer, ranks: str) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        {CRASHES.format(ranks)}"))
    result = run_one_check("mutant", "check_distributed_training")
    assert result.status == "failed"
    assert "a fresh process crashed with exit status 7" in result.detail


def test_a_setting_without_default_fails_model_checks_but_not_package_checks(install: Installer) -> None:
    install_model(install, MODEL, ("width: int = Field(16, ge=1", "width: int = Field(ge=1"))
    found = run_checks(checks={"check_metadata", "check_default_settings", "check_logits"})
    assert [(result.check, result.status) for result in found] == [
        ("check_metadata", "passed"),
        ("check_default_settings", "failed"),
        ("check_logits", "failed"),
    ]
    assert "width" in found[1].detail


HUB_ONLY = """
    def resolve(self, job):
        raise SettingError("width", self.width, "the hub cannot be reached", "try again")
"""


def test_the_error_for_small_settings_that_do_not_resolve_names_small(install: Installer) -> None:
    imported = ("import torch\n", "import torch\nfrom fusionzoo.errors import SettingError\n")
    width = 'width: int = Field(16, ge=1, description="Width of both sides.")\n'
    install_model(install, MODEL, imported, (width, width + HUB_ONLY))
    result = run_one_check("mutant", "check_batch_size_invariance")
    assert result.status == "failed"
    assert "the hub cannot be reached" in result.detail
    assert "`small()`" in result.detail


VECTORS_ONLY = (
    "        super().__init__()\n",
    "        super().__init__()\n        assert spec.text.embeddings is not None\n",
)
REFUSES_OTHERS = """
    def resolve(self, job):
        if job.tokenizer != "word":
            raise SettingError("tokenizer", job.tokenizer, "there are no word vectors", "tokenizer word")
        return self
"""


def test_an_encoder_that_needs_word_vectors_must_reject_other_tokenizers(install: Installer) -> None:
    """The checks also build it without word vectors, unless its `resolve` rejects that."""
    imported = ("import torch\n", "import torch\nfrom fusionzoo.errors import SettingError\n")
    width = 'width: int = Field(16, ge=1, description="Width of the features.")\n'
    for name, changes in (
        ("bare", [VECTORS_ONLY]),
        ("clear", [VECTORS_ONLY, imported, (width, width + REFUSES_OTHERS)]),
    ):
        source = Mutant(name, frozenset(), tuple(changes), is_encoder=True).source
        install(f"acme-{name}", source=source, text_encoders={name: f"acme_{name}:encoder"}, requires=BOUNDED)
    assert run_one_check("bare", "check_logits").status == "failed"
    assert run_one_check("clear", "check_logits").status == "passed"
