"""Which cases the conformance kit runs, expected failures, and the kit with pytest and without."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from conformance_runs import install_model, run_checks, run_one_check
from conftest import Installer
from correct_plugins import BOUNDED, CORE, ENCODER, MODEL, Mutant
from fusionzoo import errors
from fusionzoo.conformance import check_plugin
from fusionzoo.conformance.checks import ENCODER_CHECKS, MODEL_CHECKS, PLUGIN_CHECKS, TASK_CHECKS
from fusionzoo.conformance.run import plan_cases
from fusionzoo.tasks.task_choice import TASKS
from fusionzoo.tasks.task_examples import make_examples
from mutant_changes import NESTED_SETTINGS

FEATURES = "features = self.text_encoder(batch)\n"


def default_encoder(name: str) -> tuple[str, str]:
    """Return the change to the correct model after which its default text encoder is this one."""
    field = f'text_encoder: str = Field("{name}", description="Text encoder.")'
    return "    width: int", f"    {field}\n    width: int"


# --- expected failures


def test_an_expected_failure_is_ok_and_shows_its_reason(install: Installer) -> None:
    install_model(install, MODEL, ("nn.Linear(width, spec.num_outputs)", "nn.Linear(width, 3)"))
    result = run_one_check("mutant", "check_logits", expected_failed_checks={"check_logits": "three classes by design"})
    assert (result.status, result.ok) == ("xfailed", True)
    assert result.detail.startswith("three classes by design (logits have shape")


def test_an_expected_failure_that_passes_is_a_failure(install: Installer) -> None:
    install_model(install)
    result = run_one_check("mutant", "check_logits", expected_failed_checks={"check_logits": "three classes by design"})
    assert (result.status, result.ok) == ("xpassed", False)
    assert "Fix: remove 'check_logits' from expected_failed_checks" in result.detail


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"check_logit": "why"}, "contains ['check_logit'], which are not checks of this plugin"),
        ({"check_encoder_dim": "why"}, "which are not checks of this plugin"),
        ({"check_logits": " "}, "gives no reason for ['check_logits']"),
    ],
)
def test_an_expected_failure_of_an_unknown_check_or_without_a_reason_is_an_error(
    install: Installer, expected: dict[str, str], message: str
) -> None:
    install_model(install)
    with pytest.raises(ValueError) as error:
        check_plugin("mutant", expected_failed_checks=expected)
    assert message in str(error.value)


def test_one_expected_failure_covers_the_model_and_the_encoder_of_the_same_name(install: Installer) -> None:
    """The encoder's unmasked mean fails in the text classifier, not in the fusion, which does its own pooling."""
    pooled = "pooled = token_mean(tokens, mask, chunk_row, batch.rows)"
    wrong = ENCODER.replace(pooled, pooled.replace("mask", "torch.ones_like(mask)"))
    install("acme-words", source=wrong, text_encoders={"both": "acme_words:encoder"}, requires=BOUNDED)
    install("acme-mutant", source=MODEL, models=["both"], requires=BOUNDED)
    statuses = {result.subject: result.status for result in run_checks("both", {"check_padding_invariance"})}
    assert statuses == {
        "model_class 'both' with the reference text encoder": "passed",
        "text_encoder 'both' in core's text classifier": "failed",
    }
    result = run_one_check(
        "both", "check_padding_invariance", expected_failed_checks={"check_padding_invariance": "a known bug"}
    )
    assert result.status == "xfailed"
    assert "'both' with the reference text encoder; text_encoder 'both'" in result.subject


# --- what is checked


def test_a_fusion_requires_the_distribution_of_its_default_text_encoder(install: Installer) -> None:
    """Otherwise the job of a user who installs the fusion alone ends with a text encoder that is not installed."""
    install("acme-mutant", source=MODEL, models=["mutant"], requires=[CORE])
    detail = run_one_check("mutant", "check_metadata").detail
    assert "the default of the setting text_encoder is 'bert'" in detail
    assert "add 'fusionzoo-bert' to the dependencies" in detail


def test_a_default_text_encoder_that_nothing_provides_is_named(install: Installer) -> None:
    install_model(install, MODEL, default_encoder("nowhere"))
    assert "provides text_encoder 'nowhere'" in run_one_check("mutant", "check_metadata").detail


def test_a_default_text_encoder_of_the_same_distribution_needs_no_requirement(install: Installer) -> None:
    source = Mutant("", frozenset(), (default_encoder("words"),)).source
    install("acme-mutant", source=source, models=["mutant"], text_encoders=["words"], requires=[CORE])
    assert run_one_check("mutant", "check_metadata").ok


def test_a_fusion_is_checked_with_the_requested_text_encoder(install: Installer) -> None:
    install_model(install)
    assert run_one_check("mutant", "check_logits").subject == "model_class 'mutant' with the reference text encoder"
    result = run_one_check("mutant", "check_logits", text_encoder="cnn", encoder_settings={"num_channels": [7]})
    assert (result.subject, result.status) == ("model_class 'mutant' with text encoder 'cnn'", "passed")
    (case, *_) = plan_cases("mutant", text_encoder="cnn", encoder_settings={"num_channels": [7]}, settings={"width": 5})
    (subject,) = case.subjects
    assert subject.encoder_settings is not None
    assert subject.encoder_settings.model_dump()["num_channels"] == [7]
    assert subject.settings.model_dump()["width"] == 5


def test_a_model_that_fixes_its_text_encoder_is_checked_with_it() -> None:
    subjects = {result.subject for result in run_checks("multimodal_cnn", {"check_logits"})}
    assert subjects == {"model_class 'multimodal_cnn' with text encoder 'cnn'"}


def test_a_name_of_a_model_and_an_encoder_is_checked_as_both() -> None:
    for name in ("cnn", "fusionzoo-cnn:cnn"):
        cases = plan_cases(name)
        titles = {case.title for case in cases}
        jobs = {example.title for task in TASKS for example in make_examples(task, 4)}
        assert len(jobs) >= 5
        assert titles == {
            *(f"model_class '{name}' with text encoder 'cnn' in a {job}" for job in jobs),
            *(f"text_encoder '{name}' in core's text classifier in a {job}" for job in jobs),
            f"model_class '{name}'",
            f"model_class '{name}' with text encoder 'cnn'",
            f"text_encoder '{name}'",
            f"text_encoder '{name}' in core's text classifier",
        }
        assert len({case.id for case in cases}) == len(cases)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("mutnat", {}, "Did you mean 'mutant'?"),
        ("multimodal_cnn", {"text_encoder": "bert"}, "fixes its text encoder"),
        ("words", {"text_encoder": "cnn"}, "'words' is a text encoder itself"),
        ("mutant", {"text_encoder": "nowhere"}, "No installed plugin provides text_encoder 'nowhere'"),
    ],
)
def test_an_unknown_plugin_or_text_encoder_is_an_error_before_any_check(
    install: Installer, name: str, arguments: dict[str, str], message: str
) -> None:
    install_model(install)
    install("acme-words", source=ENCODER, text_encoders={"words": "acme_words:encoder"}, requires=BOUNDED)
    with pytest.raises(errors.ZooError) as error:
        check_plugin(name, **arguments)  # type: ignore[arg-type]
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"), [({"widht": 3}, "widht"), ({"width": 0}, "width"), ({"width": "wide"}, "width")]
)
def test_an_invalid_setting_fails_the_checks_and_is_named(
    install: Installer, changes: dict[str, object], message: str
) -> None:
    install_model(install)
    result = run_one_check("mutant", "check_logits", settings=changes)
    assert result.status == "failed"
    assert message in result.detail


def test_results_are_yielded_one_by_one_and_the_random_state_is_unchanged(install: Installer) -> None:
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


# --- with pytest, and without


def run_pytest(folder: Path, installed: Path, test: str, *arguments: str) -> str:
    (folder / "test_plugin.py").write_text(textwrap.dedent(test))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "test_plugin.py", *arguments]
    ran = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    return ran.stdout + ran.stderr


def test_parametrize_with_checks_returns_a_pytest_function_of_all_checks(install: Installer, tmp_path: Path) -> None:
    install_model(install, MODEL, ("nn.Linear(width, spec.num_outputs)", "nn.Linear(width, 3)"))
    output = run_pytest(
        tmp_path,
        install.folder,
        """
        from fusionzoo.conformance import parametrize_with_checks

        test_conformance = parametrize_with_checks("mutant")
        test_expected = parametrize_with_checks("mutant", expected_failed_checks={"check_logits": "three by design"})
        test_stale = parametrize_with_checks("mutant", expected_failed_checks={"check_padding_invariance": "old news"})
        """,
        "-k",
        "check_logits or check_padding_invariance or check_metadata",
    )
    assert "PASSED test_plugin.py::test_conformance[check_metadata-models]" in output
    assert "FAILED test_plugin.py::test_conformance[check_logits-models]" in output
    assert "logits have shape [12, 3], but [rows, classes] is [12, 2]" in output
    assert "XFAIL test_plugin.py::test_expected[check_logits-models] - three by design" in output
    assert "FAILED test_plugin.py::test_stale[check_padding_invariance-models]" in output
    assert "the check passes, but should fail (old news)" in output
    assert "3 failed, 5 passed" in output


def test_a_plugin_that_is_not_installed_is_a_collection_error(install: Installer, tmp_path: Path) -> None:
    output = run_pytest(
        tmp_path,
        install.folder,
        """
        from fusionzoo.conformance import parametrize_with_checks

        test_conformance = parametrize_with_checks("my_modle")
        """,
    )
    assert "No installed plugin provides model_class 'my_modle'." in output


def test_importing_the_conformance_package_imports_neither_torch_nor_pytest() -> None:
    code = "import sys, fusionzoo.conformance; print({'torch', 'pytest', 'numpy', 'pydantic'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_every_check_has_a_docstring_that_states_its_contract() -> None:
    checks = [*PLUGIN_CHECKS, *ENCODER_CHECKS, *MODEL_CHECKS, *TASK_CHECKS]
    for check in checks:
        assert check.__name__.startswith("check_")
        assert (check.__doc__ or "").strip().partition("\n\n")[0].endswith(".")
    assert len({check.__name__ for check in checks}) == len(checks)


def test_settings_are_resolved_once_per_inputs_and_never_where_a_model_is_loaded(
    install: Installer, tmp_path: Path
) -> None:
    calls = tmp_path / "calls.txt"
    width = 'width: int = Field(16, ge=1, description="Width of both sides.")\n'
    resolve = (
        "\n    def resolve(self, job):\n"
        f"        with open({str(calls)!r}, 'a') as file:\n"
        "            file.write(f'{__import__(\"os\").getpid()} {job.num_classes} {job.tokenizer}\\n')\n"
        "        return self.model_copy(update={'width': 5})\n\n"
    )
    install_model(install, MODEL, (width, width + resolve))
    found = run_checks(checks={"check_logits", "check_batch_size_invariance", "check_state_dict_is_complete"})
    assert [result for result in found if not result.ok] == [], "the fresh process also has the resolved width"
    lines = calls.read_text().splitlines()
    assert len(lines) == len(set(lines)), "once for each kind of job"
    assert {line.split()[0] for line in lines} == {str(os.getpid())}


# --- settings and tasks of few models


def test_nested_settings_that_reject_unknown_keys_pass(install: Installer) -> None:
    forbidding = ("class Table(BaseModel):", 'class Table(BaseModel, extra="forbid"):')
    install_model(install, MODEL, *NESTED_SETTINGS, forbidding)
    assert run_one_check("mutant", "check_unknown_settings_are_rejected").status == "passed"


@pytest.mark.parametrize(("tasks", "status"), [({"classification"}, "passed"), ({"regression"}, "failed")])
def test_a_model_that_supports_no_regression_needs_no_single_output(
    install: Installer, tasks: set[str], status: str
) -> None:
    ordered = ("nn.Linear(width, spec.num_outputs)", "nn.Linear(width, max(2, spec.num_outputs))")
    install_model(install, MODEL, ordered, ("    width: int", f"    tasks = frozenset({tasks})\n\n    width: int"))
    assert run_one_check("mutant", "check_logits").status == status
