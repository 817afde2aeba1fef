"""A hook that calls a class with wrong arguments: the error names the plugin, the class and the line."""

from __future__ import annotations

import pytest

from conformance_runs import install_model, run_one_check
from conftest import Installer
from correct_plugins import MODEL
from fusionzoo import errors
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.subject_request import make_requests
from mutant_changes import add_to_init
from shop import JobFolder

CALL = "return LateSum(spec, settings, text_encoder)"
WRONG_CALL = (CALL, "return LateSum(spec, settings, encoder=text_encoder)")
SIGNATURE = "def __init__(self, spec, settings, text_encoder):"
HOOKS = MODEL[MODEL.index("@hookimpl\ndef settings_class") :]
RECIPE = (
    HOOKS,
    "plugin = Fusion(Settings, LateSum)\nsettings_class, build_model = plugin.settings_class, plugin.build_model\n",
)
RECIPE_IMPORTED = ("from fusionzoo import hookimpl\n", "from fusionzoo.nn.recipes import Fusion\n")
CLASS_LINE = 1 + MODEL[: MODEL.index("class LateSum")].count("\n")


def line_of(code: str) -> int:
    return 1 + MODEL[: MODEL.index(code)].count("\n")


def build(install: Installer, *changes: tuple[str, str]) -> errors.PluginContractError:
    """Return the error of building the correct model with these changes."""
    install_model(install, MODEL, *changes)
    (request,) = make_requests("mutant", None, {}, {})
    with pytest.raises(errors.PluginContractError) as caught:
        Subject(request).build()
    assert caught.value.code == "FZ-P066"
    return caught.value


def test_a_wrong_keyword_is_named_with_the_class_and_both_lines(install: Installer) -> None:
    message, fix = build(install, WRONG_CALL).parts
    assert message.startswith(
        "model_class 'mutant' from acme-mutant 1.0 (acme_mutant) is broken: build_model() calls LateSum"
    )
    assert "LateSum.__init__() got an unexpected keyword argument 'encoder'" in message
    file = install.folder / "acme_mutant.py"
    assert f"correct the call in {file}, line {line_of(CALL)}, or the parameters of LateSum" in fix
    assert f"(defined in {file}, line {CLASS_LINE})" in fix


@pytest.mark.parametrize(
    ("code", "callee"),
    [
        ("self.other = nn.Linear(width, out=3)", "Linear"),
        ("self.other = nn.Linear()", "Linear"),
        ("self.other = LateSum(spec)", "LateSum"),
        ("self.other = nn.LayerNorm(width, 1e-5, True, True, None, None, 7)", "LayerNorm"),
    ],
)
def test_a_call_in_the_model_is_named(install: Installer, code: str, callee: str) -> None:
    message, fix = build(install, add_to_init(code)).parts
    assert f"build_model() calls {callee} with wrong arguments: TypeError: {callee}.__init__() " in message
    assert "acme_mutant.py, line 28" in fix


def test_a_class_with_other_parameters_than_a_recipe_passes_gets_those_to_write(install: Installer) -> None:
    error = build(install, RECIPE, RECIPE_IMPORTED, (SIGNATURE, "def __init__(self, spec, settings):"))
    assert "write def __init__(self, spec, settings, text_encoder) in LateSum (defined in " in error.fix
    assert "acme_mutant.py, line " in error.fix


def test_the_check_shows_the_error_without_a_line_of_core(install: Installer) -> None:
    install_model(install, MODEL, WRONG_CALL)
    detail = run_one_check("mutant", "check_logits").detail
    assert detail.endswith("[FZ-P066]")
    assert "registry" not in detail


@pytest.mark.parametrize("raised", ["TypeError('wrong number of fields')", "ValueError('takes no fields')"])
def test_another_exception_is_raised_unchanged(install: Installer, raised: str) -> None:
    install_model(install, MODEL, add_to_init(f"raise {raised}"))
    (request,) = make_requests("mutant", None, {}, {})
    with pytest.raises((TypeError, ValueError)) as caught:
        Subject(request).build()
    assert caught.value.__notes__ == [
        "This happened in build_model() of acme-mutant 1.0, which provides model_class 'mutant'."
    ]


def test_a_job_names_the_call_in_its_failure_file(install: Installer, job: JobFolder) -> None:
    install_model(install, MODEL, WRONG_CALL)
    job.fill(rows=48, model_class="mutant", text_encoder="cnn", max_epochs=1)
    assert job.run() == 1
    cause = (job.root / "output/failure").read_text()
    assert "build_model() calls LateSum with wrong arguments" in cause
    assert f"acme_mutant.py, line {line_of(CALL)}" in cause
    assert "Traceback" not in cause
