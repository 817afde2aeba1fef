"""Loading a plugin: its requirements, its import, and broken metadata of other distributions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fusionzoo import __version__
from fusionzoo.errors import (
    BrokenPluginError,
    IncompatiblePluginError,
    UnknownModelError,
)
from fusionzoo.registry import MODELS_GROUP, Registry
from registry_helpers import MUST_NOT_BE_IMPORTED, VALID, load_error

if TYPE_CHECKING:
    from conftest import Installer


# --- requirements


@pytest.mark.parametrize(
    ("requires", "says", "fix"),
    [
        (["einopsy>=1"], "einopsy>=1 (not installed)", "pip install 'einopsy>=1'"),
        (["einopsy[all]>=1"], "einopsy>=1 (not installed)", "pip install 'einopsy>=1'"),
        (["acme-old>=2,<3"], "acme-old<3,>=2 (found 1.5)", "pip install 'acme-old<3,>=2'"),
        (["einopsy @ https://acme.test/e.whl"], "einopsy @ https://acme.test/e.whl (not installed)", "pip install"),
        (["acme-old==1.5", "one", "two"], "one (not installed), two (not installed)", "pip install 'one' 'two'"),
    ],
)
def test_an_unmet_requirement_is_an_error_before_anything_is_imported(
    install: Installer, requires: list[str], says: str, fix: str
) -> None:
    install("acme-old", "1.5")
    install("acme-bad", models=["bad"], source=MUST_NOT_BE_IMPORTED, requires=requires)
    message = str(load_error("bad", IncompatiblePluginError))
    assert message.startswith("model_class 'bad' from acme-bad 1.0 (acme_bad) has requirements that are not met: ")
    assert says in message
    assert fix in message


def test_a_wrong_version_of_core_is_reported_before_other_requirements(install: Installer) -> None:
    install("acme-new", models=["new"], source=MUST_NOT_BE_IMPORTED, requires=["einopsy", "FusionZoo>=9,<10"])
    assert str(load_error("new", IncompatiblePluginError)) == (
        "model_class 'new' from acme-new 1.0 (acme_new) was built for FusionZoo<10,>=9, but "
        f"this is fusionzoo {__version__}.\nFix: pip install --upgrade acme-new fusionzoo [FZ-P003]"
    )


def test_requirements_that_are_met_or_do_not_apply_are_accepted(install: Installer) -> None:
    install("acme-dep", "2.0rc1")
    requires = [
        f"fusionzoo=={__version__}",
        "Acme_Dep>=1.9,<3",
        "missing-one; python_version < '3'",
        "missing-two; extra == 'dev'",
        "acme-dep[no-such-extra]",
    ]
    install("acme-good", models=["good"], source=VALID, requires=requires)
    assert Registry.discover(MODELS_GROUP).load("good").name == "good"


def test_an_unreadable_requirement_is_an_error_of_the_plugin(install: Installer) -> None:
    install("acme-bad", models=["bad"], source=MUST_NOT_BE_IMPORTED, requires=["???"])
    error = load_error("bad", BrokenPluginError)
    assert "acme-bad 1.0 (acme_bad) cannot be read: " in str(error)
    assert isinstance(error.__cause__, ValueError)


# --- imports


@pytest.mark.parametrize(
    ("source", "cause", "says"),
    [
        ("import einopsy", ModuleNotFoundError, "ModuleNotFoundError: No module named 'einopsy'"),
        ("from fusionzoo import no_such_thing", ImportError, "cannot import name 'no_such_thing'"),
        ("def f(:", SyntaxError, "SyntaxError: invalid syntax"),
        ("raise SystemExit('no license')", SystemExit, "SystemExit: no license"),
        ("raise OSError('libcuda.so.1')", OSError, "OSError: libcuda.so.1"),
        ("1 / 0", ZeroDivisionError, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failed_import_names_the_distribution_and_chains_its_cause(
    install: Installer, source: str, cause: type[BaseException], says: str
) -> None:
    install("acme-bad", models=["bad"], source=source)
    error = load_error("bad", BrokenPluginError)
    assert str(error).startswith("Importing model_class 'bad' from acme-bad 1.0 (acme_bad) failed: ")
    assert says in str(error)
    assert "Fix: " in str(error)
    assert type(error.__cause__) is cause


@pytest.mark.parametrize(
    ("value", "says"),
    [("acme_gone", "No module named"), ("acme_bad:gone", "no attribute 'gone'"), ("not a module!", "not a module!")],
)
def test_an_entry_point_without_a_target_is_a_broken_plugin(install: Installer, value: str, says: str) -> None:
    install("acme-bad", models={"bad": value}, source=VALID)
    error = load_error("bad", BrokenPluginError)
    assert f"acme-bad 1.0 ({value})" in str(error)
    assert says in str(error)


def test_ctrl_c_during_an_import_is_not_an_error_of_the_plugin(install: Installer) -> None:
    install("acme-slow", models=["slow"], source="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry.discover(MODELS_GROUP).load("slow")


# --- bystanders


def _remove_metadata(info: Path) -> None:
    (info / "METADATA").unlink()


def _remove_name(info: Path) -> None:
    (info / "METADATA").write_text("Metadata-Version: 2.1\n\nno name here\n")


def _remove_version(info: Path) -> None:
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-bad\n\n")


def _write_binary_metadata(info: Path) -> None:
    (info / "METADATA").write_bytes(b"\xff\xfe\x00Name")


def _write_binary_entry_points(info: Path) -> None:
    (info / "entry_points.txt").write_bytes(b"[fusionzoo.models]\n\xff\xfe = x\n")


def _write_entry_points_without_values(info: Path) -> None:
    (info / "entry_points.txt").write_text("[fusionzoo.models]\nbad\n")


def _replace_entry_points_by_a_folder(info: Path) -> None:
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").mkdir()


WAYS_TO_BREAK_METADATA = [
    _remove_metadata,
    _remove_name,
    _remove_version,
    _write_binary_metadata,
    _write_binary_entry_points,
    _write_entry_points_without_values,
    _replace_entry_points_by_a_folder,
]


@pytest.mark.parametrize("break_metadata", WAYS_TO_BREAK_METADATA)
def test_broken_metadata_of_another_distribution_has_no_effect(install: Installer, break_metadata: Any) -> None:
    break_metadata(install("acme-bad", models=["bad"], source=MUST_NOT_BE_IMPORTED))
    install("acme-good", models=["good"], source=VALID, requires=["fusionzoo>=0.1"])
    assert Registry.discover(MODELS_GROUP).load("good").distribution == "acme-good"


def test_another_plugin_that_cannot_be_imported_has_no_effect(install: Installer) -> None:
    install("acme-bad", models=["bad"], source="raise SystemExit", requires=["einopsy", "fusionzoo>=9"])
    install("acme-good", models=["good"], source=VALID)
    assert Registry.discover(MODELS_GROUP).load("good").distribution == "acme-good"


@pytest.mark.parametrize("break_metadata", WAYS_TO_BREAK_METADATA[:4])
def test_loading_a_plugin_with_unreadable_metadata_is_an_error(install: Installer, break_metadata: Any) -> None:
    break_metadata(install("acme-bad", models=["bad"], source=MUST_NOT_BE_IMPORTED))
    message = str(load_error("bad", BrokenPluginError))
    assert message.startswith("The metadata of model_class 'bad' from acme_bad-1.0.dist-info (acme_bad) cannot")


@pytest.mark.parametrize("break_metadata", WAYS_TO_BREAK_METADATA[4:6])
def test_the_error_for_an_unknown_name_lists_unreadable_entry_points(install: Installer, break_metadata: Any) -> None:
    break_metadata(install("acme-bad", models=["bad"], source=MUST_NOT_BE_IMPORTED))
    assert Registry.discover(MODELS_GROUP).unreadable == ("acme_bad-1.0.dist-info",)
    message = str(load_error("bad", UnknownModelError))
    assert "which may provide it: acme_bad-1.0.dist-info.\n" in message


def test_the_remains_of_a_failed_uninstall_are_no_clash(install: Installer, tmp_path: Path) -> None:
    install("acme-good", "2.0", models=["good"], source=VALID)
    _remove_metadata(install("acme-good", "1.0", models=["good"], source=VALID))
    renamed = install("acme-good", "0.9", models=["good"], source=VALID)
    renamed.rename(renamed.with_name("~cme_good-0.9.dist-info"))
    assert Registry.discover(MODELS_GROUP).load("good").version == "2.0"
