"""The conformance kit: each check rejects the mutants that it is for, and nothing else does."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Installer
from forks import Forks
from fusionzoo import errors
from fusionzoo.conformance import CheckResult, check_plugin, fresh_process, synthetic_rows
from fusionzoo.conformance.checks import ENCODER_CHECKS, MODEL_CHECKS, PLUGIN_CHECKS
from fusionzoo.conformance.run import plan_cases
from fusionzoo.nn.schema import Batch
from mutants import BOUNDED, ENCODER, MODEL, MUTANTS, Mutant

CHECKS = [check.__name__ for check in (*PLUGIN_CHECKS, *ENCODER_CHECKS, *MODEL_CHECKS)]
IN_PROCESSES = {"check_import_has_no_side_effects", "check_state_dict_is_complete", "check_distributed_training"}
HONEST = (Mutant("honest_model", frozenset()), Mutant("honest_encoder", frozenset(), is_encoder=True))
FEATURES = "features = self.text_encoder(batch)\n"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """The kit's processes in a fraction of their time; a few tests below do without."""
    started = Forks()
    yield started
    started.close()


@pytest.fixture
def quick(forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_process, "_start", forks.start)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """What mutants do on import is undone."""
    loggers = [logging.getLogger(), logging.getLogger("fusionzoo")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def install_mutant(install: Installer, mutant: Mutant) -> None:
    module = mutant.distribution.replace("-", "_")
    if mutant.is_encoder:
        names = {mutant.entry_point: f"{module}:encoder"}
        install(mutant.distribution, source=mutant.source, text_encoders=names, requires=mutant.requires)
    else:
        install(mutant.distribution, source=mutant.source, models=[mutant.entry_point], requires=mutant.requires)


def install_model(install: Installer, source: str = MODEL, *changes: tuple[str, str]) -> None:
    """Install the honest model, changed, or another, as `mutant`."""
    install("acme-mutant", source=Mutant("", frozenset(), changes).source if changes else source, **NAMED)


NAMED = {"models": ["mutant"], "requires": BOUNDED}


def results(name: str = "mutant", checks: set[str] | None = None, **arguments: object) -> list[CheckResult]:
    cases = plan_cases(name, **arguments)  # type: ignore[arg-type]
    return [case.run() for case in cases if checks is None or case.check.__name__ in checks]


def only(name: str, check: str, **arguments: object) -> CheckResult:
    (result,) = results(name, {check}, **arguments)
    return result


# --- mutants


@pytest.mark.parametrize("mutant", [*HONEST, *MUTANTS], ids=lambda mutant: mutant.name)
@pytest.mark.usefixtures("quick")
def test_a_mutant_is_rejected_by_its_own_checks_and_an_honest_plugin_by_none(
    install: Installer, mutant: Mutant
) -> None:
    install_mutant(install, mutant)
    failed = {result.check: result.detail for result in results(mutant.entry_point) if not result.ok}
    assert failed.keys() == mutant.rejected_by, failed
    assert all(failed.values()), "a failure says what was seen"


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_has_a_mutant_that_it_alone_rejects(check: str) -> None:
    assert any(mutant.rejected_by == {check} for mutant in MUTANTS)


def test_mutants_have_names_of_their_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("name", ["state_outside", "parameter_for_some_batches", "seeds_on_import"])
def test_the_checks_that_start_processes_find_the_same_in_fresh_ones(install: Installer, name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    install_mutant(install, mutant)
    found = results(checks=IN_PROCESSES)
    assert {result.check for result in found if not result.ok} == mutant.rejected_by


# --- honest plugins of other kinds


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
        return nn.Sequential(TabularEncoder(spec, 16), ClassifierHead(16, 16, spec.num_classes))
"""

OWN_WORDS = """
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
            self.classify = nn.Linear(self.words.dim, spec.num_classes)

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


@pytest.mark.parametrize("source", [TABLE_ONLY, OWN_WORDS], ids=["table_only", "words_of_its_own"])
@pytest.mark.usefixtures("quick")
def test_a_model_without_text_encoder_passes(install: Installer, source: str) -> None:
    install("acme-mutant", source=source, models=["mutant"], requires=BOUNDED)
    found = results()
    assert [result for result in found if not result.ok] == []
    assert {result.subject for result in found} == {"model_class 'mutant'"}


HEAD = "self.classify = nn.Linear(width, spec.num_classes)"
POOLED = "pooled = token_mean(tokens, mask, chunk_row, rows)"
ZERO_HEAD = (HEAD, f"{HEAD}\n        nn.init.zeros_(self.classify.weight)")
BATCH_NORM = ("self.dropout = nn.Dropout(settings.dropout)", "self.dropout = nn.BatchNorm1d(width)")
FIRST_TOKEN = (POOLED, "pooled = sum_per_row(tokens[:, :1].sum(dim=1), chunk_row, rows)")
FROZEN = ("self.text_encoder = text_encoder\n", "self.text_encoder = text_encoder.requires_grad_(False)\n")


@pytest.mark.parametrize(
    "change", [ZERO_HEAD, BATCH_NORM, FIRST_TOKEN, FROZEN], ids=["zero_head", "batch_norm", "first_token", "frozen"]
)
@pytest.mark.usefixtures("quick")
def test_an_unusual_honest_model_passes(install: Installer, change: tuple[str, str]) -> None:
    install_model(install, MODEL, change)
    assert [result for result in results() if not result.ok] == []


def test_a_zero_head_does_not_hide_what_is_wrong_before_it(install: Installer) -> None:
    install_model(install, MODEL, ZERO_HEAD, (POOLED, POOLED.replace("mask", "torch.ones_like(mask)")))
    assert only("mutant", "check_padding_invariance").status == "failed"


NOISY_LIBRARY = """
    import logging, warnings
    import torch

    logging.getLogger().addHandler(logging.StreamHandler())
    warnings.simplefilter("ignore", ResourceWarning)
    torch.manual_seed(7)
    ONES = torch.ones(3)
"""


@pytest.mark.usefixtures("quick")
def test_a_plugin_is_not_blamed_for_what_a_library_does_while_it_is_imported(install: Installer) -> None:
    install("noisy-library", source=NOISY_LIBRARY)
    quiet = (
        "import noisy_library, logging, warnings\n"
        "logging.getLogger(__name__).addHandler(logging.NullHandler())\n"
        "with warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n"
    )
    install_model(install, MODEL, ("import torch\n", f"{quiet}import torch\n"))
    assert only("mutant", "check_import_has_no_side_effects").status == "passed"


@pytest.mark.usefixtures("quick")
def test_a_plugin_is_blamed_for_what_it_asks_a_library_to_do(install: Installer) -> None:
    table = "from fusionzoo.nn.word_embedding import WordEmbedding\nfrom fusionzoo.nn.schema import TextSpec\n"
    made = f"{table}SHARED = WordEmbedding(TextSpec(9, 0, 4, None, 'word'), 4)\n"
    install_model(install, MODEL, ("import torch\n", f"import torch\n{made}"))
    result = only("mutant", "check_import_has_no_side_effects")
    assert result.status == "failed"
    assert "acme_mutant.py, line" in result.detail


# --- failures


def test_an_exception_of_the_plugin_is_told_with_its_type_message_and_place(install: Installer) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        raise LookupError('no such thing')\n"))
    result = only("mutant", "check_logits")
    assert result.status == "failed"
    assert result.detail.startswith("LookupError: no such thing\n")
    line = 1 + MODEL[: MODEL.index(FEATURES)].count("\n") + 1
    assert f"acme_mutant.py, line {line}, in forward: raise LookupError('no such thing')" in result.detail


@pytest.mark.parametrize("value", ["(features.pooled, 1)", "None", "features"])
def test_another_answer_than_logits_is_told_with_its_type(install: Installer, value: str) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        return {value}\n"))
    result = only("mutant", "check_logits")
    assert result.detail.startswith("forward returned ")
    assert "not logits [rows, classes] or a ModelOutput" in result.detail


def test_a_plugin_that_exits_fails_its_checks_and_not_the_caller(install: Installer) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        raise SystemExit(3)\n"))
    assert only("mutant", "check_logits").detail.startswith("SystemExit: 3\n")


DIES = """import os
        if torch.distributed.is_initialized() and torch.distributed.get_rank() in {}:
            os._exit(7)
"""


@pytest.mark.parametrize("ranks", ["(1,)", "(0, 1)"])
@pytest.mark.usefixtures("quick")
def test_a_process_that_dies_without_a_word_takes_the_other_with_it(install: Installer, ranks: str) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        {DIES.format(ranks)}"))
    result = only("mutant", "check_distributed_training")
    assert result.status == "failed"
    assert "a fresh process ended with status 7" in result.detail


def test_a_broken_setting_fails_every_check_of_the_model_but_none_of_the_package(install: Installer) -> None:
    install_model(install, MODEL, ("width: int = Field(16, ge=1", "width: int = Field(ge=1"))
    found = results(checks={"check_metadata", "check_default_settings", "check_logits"})
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


def test_settings_that_need_more_than_small_ones_are_told_of_small(install: Installer) -> None:
    imported = ("import torch\n", "import torch\nfrom fusionzoo.errors import SettingError\n")
    width = 'width: int = Field(16, ge=1, description="Width of both sides.")\n'
    install_model(install, MODEL, imported, (width, width + HUB_ONLY))
    result = only("mutant", "check_batch_size_invariance")
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


def test_an_encoder_that_wants_word_vectors_has_to_refuse_other_tokenizers(install: Installer) -> None:
    """It is built without vectors too, unless its `resolve` says that it cannot be."""
    imported = ("import torch\n", "import torch\nfrom fusionzoo.errors import SettingError\n")
    width = 'width: int = Field(16, ge=1, description="Width of the features.")\n'
    for name, changes in (
        ("bare", [VECTORS_ONLY]),
        ("clear", [VECTORS_ONLY, imported, (width, width + REFUSES_OTHERS)]),
    ):
        source = Mutant(name, frozenset(), tuple(changes), is_encoder=True).source
        install(f"acme-{name}", source=source, text_encoders={name: f"acme_{name}:encoder"}, requires=BOUNDED)
    assert only("bare", "check_logits").status == "failed"
    assert only("clear", "check_logits").status == "passed"


# --- excuses


def test_an_excused_failure_is_ok_and_keeps_its_reason(install: Installer) -> None:
    install_model(install, MODEL, ("nn.Linear(width, spec.num_classes)", "nn.Linear(width, 3)"))
    result = only("mutant", "check_logits", expected_failed_checks={"check_logits": "three classes by design"})
    assert (result.status, result.ok) == ("excused", True)
    assert result.detail.startswith("three classes by design (logits have shape")


def test_an_excuse_for_a_check_that_passes_is_stale(install: Installer) -> None:
    install_model(install)
    result = only("mutant", "check_logits", expected_failed_checks={"check_logits": "three classes by design"})
    assert (result.status, result.ok) == ("stale", False)
    assert "Fix: remove 'check_logits' from expected_failed_checks" in result.detail


@pytest.mark.parametrize(
    ("excuses", "told"),
    [
        ({"check_logit": "why"}, "names no check of this plugin: ['check_logit']"),
        ({"check_encoder_dim": "why"}, "names no check of this plugin"),
        ({"check_logits": " "}, "gives no reason for ['check_logits']"),
    ],
)
def test_an_excuse_for_nothing_or_without_a_reason_is_an_error(
    install: Installer, excuses: dict[str, str], told: str
) -> None:
    install_model(install)
    with pytest.raises(ValueError) as refused:
        check_plugin("mutant", expected_failed_checks=excuses)
    assert told in str(refused.value)


def test_an_excuse_of_a_name_that_is_both_is_needed_by_either(install: Installer) -> None:
    """The encoder's unmasked mean shows in the text classifier, not in the fusion, which pools by itself."""
    pooled = "pooled = token_mean(tokens, mask, chunk_row, batch.rows)"
    wrong = ENCODER.replace(pooled, pooled.replace("mask", "torch.ones_like(mask)"))
    install("acme-words", source=wrong, text_encoders={"both": "acme_words:encoder"}, requires=BOUNDED)
    install("acme-mutant", source=MODEL, models=["both"], requires=BOUNDED)
    statuses = {result.subject: result.status for result in results("both", {"check_padding_invariance"})}
    assert statuses == {
        "model_class 'both' over the kit's own text encoder": "passed",
        "text_encoder 'both' in core's text classifier": "failed",
    }
    excused = only(
        "both", "check_padding_invariance", expected_failed_checks={"check_padding_invariance": "a known fault"}
    )
    assert excused.status == "excused"
    assert "'both' over the kit's own text encoder; text_encoder 'both'" in excused.subject


# --- what is checked


def test_a_fusion_stands_over_the_installed_text_encoder_that_is_named(install: Installer) -> None:
    install_model(install)
    assert only("mutant", "check_logits").subject == "model_class 'mutant' over the kit's own text encoder"
    result = only("mutant", "check_logits", text_encoder="cnn", encoder_settings={"num_channels": [7]})
    assert (result.subject, result.status) == ("model_class 'mutant' over text encoder 'cnn'", "passed")
    (case, *_) = plan_cases("mutant", text_encoder="cnn", encoder_settings={"num_channels": [7]}, settings={"width": 5})
    (subject,) = case.subjects
    assert subject.encoder_settings is not None
    assert subject.encoder_settings.model_dump()["num_channels"] == [7]
    assert subject.settings.model_dump()["width"] == 5


def test_a_model_that_fixes_its_text_encoder_stands_over_that_one() -> None:
    subjects = {result.subject for result in results("multimodal_cnn", {"check_logits"})}
    assert subjects == {"model_class 'multimodal_cnn' over text encoder 'cnn'"}


def test_a_name_that_is_both_is_checked_as_both_and_may_name_its_distribution() -> None:
    for name in ("cnn", "fusionzoo-cnn:cnn"):
        cases = plan_cases(name)
        titles = {case.title for case in cases}
        assert titles == {
            f"model_class '{name}'",
            f"model_class '{name}' over text encoder 'cnn'",
            f"text_encoder '{name}'",
            f"text_encoder '{name}' in core's text classifier",
        }
        assert len({case.id for case in cases}) == len(cases)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("mutnat", {}, "Did you mean 'mutant'?"),
        ("multimodal_cnn", {"text_encoder": "bert"}, "fixes its text encoder"),
        ("words", {"text_encoder": "cnn"}, "'words' is a text encoder itself"),
        ("mutant", {"text_encoder": "nowhere"}, "No installed plugin provides text_encoder 'nowhere'"),
    ],
)
def test_what_cannot_be_checked_is_an_error_at_once(
    install: Installer, name: str, arguments: dict[str, str], told: str
) -> None:
    install_model(install)
    install("acme-words", source=ENCODER, text_encoders={"words": "acme_words:encoder"}, requires=BOUNDED)
    with pytest.raises(errors.ZooError) as refused:
        check_plugin(name, **arguments)  # type: ignore[arg-type]
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "told"), [({"widht": 3}, "widht"), ({"width": 0}, "width"), ({"width": "wide"}, "width")]
)
def test_a_setting_that_the_plugin_refuses_fails_its_checks_by_name(
    install: Installer, changes: dict[str, object], told: str
) -> None:
    install_model(install)
    result = only("mutant", "check_logits", settings=changes)
    assert result.status == "failed"
    assert told in result.detail


def test_results_come_one_by_one_and_leave_the_random_state_as_it_was(install: Installer) -> None:
    install_model(install, MODEL, (FEATURES, f"{FEATURES}        raise LookupError('reached')\n"))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    found = check_plugin("mutant")
    first = next(found)
    assert (first.check, first.status, first.detail) == ("check_metadata", "passed", "")
    assert first.seconds >= 0
    result = next(result for result in found if result.check == "check_logits")
    assert "reached" in result.detail
    assert torch.equal(torch.rand(3), expected)


# --- inputs


def test_generated_rows_keep_the_contract_of_a_batch() -> None:
    spec = synthetic_rows.make_spec({"text", "table"})
    rows = synthetic_rows.make_rows(spec, 24, seed=3)
    batch = Batch.from_arrays(synthetic_rows.encode_rows(spec, rows).batch(np.arange(24)))
    assert batch.tokens.dtype == batch.categories.dtype == batch.chunk_row.dtype == torch.int64
    assert batch.numbers.dtype == torch.float32
    assert batch.chunk_row.unique_consecutive().tolist() == list(range(24))
    assert batch.chunk_row.bincount().unique().tolist() == [1, 2, 3, 4]
    lengths = batch.token_mask.sum(dim=1)
    assert lengths.min() >= 2
    assert torch.equal(batch.token_mask, torch.arange(batch.tokens.shape[1]) < lengths[:, None])
    assert spec.text is not None
    assert bool((batch.tokens[~batch.token_mask] == spec.text.pad_id).all())
    assert not bool((batch.tokens[batch.token_mask] == spec.text.pad_id).any())
    assert {0, 1} <= set(batch.categories.unique().tolist())
    assert all(int(batch.categories[:, i].max()) < c.cardinality for i, c in enumerate(spec.categories))
    assert bool((batch.numbers[batch.numbers_missing] == 0).all())
    assert batch.labels is not None
    assert batch.labels.unique().tolist() == [0, 1, 2]


def test_the_same_seed_makes_the_same_rows_and_another_others() -> None:
    spec = synthetic_rows.make_spec({"text", "table"})
    one, again, other = (synthetic_rows.make_batch(spec, synthetic_rows.make_rows(spec, 9, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(value, vars(again)[name]) for name, value in vars(one).items())
    assert not torch.equal(one.numbers, other.numbers)


def test_plain_rows_have_one_chunk_and_no_gaps() -> None:
    spec = synthetic_rows.make_spec({"text", "table"})
    batch = synthetic_rows.make_batch(spec, synthetic_rows.make_plain_rows(spec, 9, seed=1))
    assert batch.chunk_row.tolist() == list(range(9))
    assert not bool(batch.numbers_missing.any())
    assert int(batch.categories.min()) >= 2


def test_a_spec_without_a_modality_makes_batches_without_it() -> None:
    text, table = synthetic_rows.make_spec({"text"}), synthetic_rows.make_spec({"table"})
    assert synthetic_rows.make_batch(text, synthetic_rows.make_rows(text, 3, seed=1)).numbers.shape == (3, 0)
    batch = synthetic_rows.make_batch(table, synthetic_rows.make_rows(table, 3, seed=1))
    assert (batch.tokens.shape, batch.rows) == ((0, 0), 3)
    assert synthetic_rows.make_batch(replace(table, numbers=()), []).categories.shape == (0, 2)


# --- with pytest, and without


def run_pytest(folder: Path, installed: Path, test: str, *arguments: str) -> str:
    (folder / "test_plugin.py").write_text(textwrap.dedent(test))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "test_plugin.py", *arguments]
    ran = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    return ran.stdout + ran.stderr


def test_one_line_makes_a_pytest_function_of_all_checks(install: Installer, tmp_path: Path) -> None:
    install_model(install, MODEL, ("nn.Linear(width, spec.num_classes)", "nn.Linear(width, 3)"))
    told = run_pytest(
        tmp_path,
        install.folder,
        """
        from fusionzoo.conformance import parametrize_with_checks

        test_conformance = parametrize_with_checks("mutant")
        test_excused = parametrize_with_checks("mutant", expected_failed_checks={"check_logits": "three by design"})
        test_stale = parametrize_with_checks("mutant", expected_failed_checks={"check_padding_invariance": "old news"})
        """,
        "-k",
        "check_logits or check_padding_invariance or check_metadata",
    )
    assert "PASSED test_plugin.py::test_conformance[check_metadata-models]" in told
    assert "FAILED test_plugin.py::test_conformance[check_logits-models]" in told
    assert "logits have shape [12, 3], where [12, 2] is [rows, classes]" in told
    assert "XFAIL test_plugin.py::test_excused[check_logits-models] - three by design" in told
    assert "FAILED test_plugin.py::test_stale[check_padding_invariance-models]" in told
    assert "the check passes, but it is excused (old news)" in told
    assert "3 failed, 5 passed" in told


def test_a_plugin_that_is_not_installed_is_an_error_while_tests_are_collected(
    install: Installer, tmp_path: Path
) -> None:
    told = run_pytest(
        tmp_path,
        install.folder,
        """
        from fusionzoo.conformance import parametrize_with_checks

        test_conformance = parametrize_with_checks("my_modle")
        """,
    )
    assert "No installed plugin provides model_class 'my_modle'." in told


def test_importing_the_kit_imports_neither_torch_nor_pytest() -> None:
    code = "import sys, fusionzoo.conformance; print({'torch', 'pytest', 'numpy', 'pydantic'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_every_check_says_in_its_docstring_what_it_demands() -> None:
    for check in (*PLUGIN_CHECKS, *ENCODER_CHECKS, *MODEL_CHECKS):
        assert check.__name__.startswith("check_")
        assert (check.__doc__ or "").strip().partition("\n\n")[0].endswith(".")
    assert len(set(CHECKS)) == len(CHECKS)
