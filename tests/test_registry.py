"""Discovery of names on real distributions in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fusionzoo.errors import (
    AmbiguousModelError,
    BrokenPluginError,
    IncompatiblePluginError,
    UnknownModelError,
    ZooError,
)
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from registry_helpers import ENCODER_HOOK, HEAD, MUST_NOT_BE_IMPORTED, VALID, load_error

if TYPE_CHECKING:
    from conftest import Installer


# --- names


def test_a_plugin_is_found_by_its_entry_point_and_builds_its_model(install: Installer) -> None:
    install("acme-gate", "2.3", models=["gate"], source=VALID)
    plugin = Registry.discover(MODELS_GROUP).load("gate")
    assert (plugin.name, plugin.distribution, plugin.version) == ("gate", "acme-gate", "2.3")
    assert plugin.settings_class.__name__ == "Settings"
    settings = plugin.settings_class()
    built: Any = plugin.build_model("spec", settings, "encoder")  # type: ignore[arg-type]
    assert built.parts == ("model", "spec", settings, "encoder")


def test_models_and_text_encoders_are_separate_groups(install: Installer) -> None:
    install("acme-both", models=["gate"], text_encoders=["glove"], source=VALID + ENCODER_HOOK)
    assert list(Registry.discover(MODELS_GROUP, [str(install.folder)])) == ["gate"]
    assert list(Registry.discover(TEXT_ENCODERS_GROUP, [str(install.folder)])) == ["glove"]
    encoder = Registry.discover(TEXT_ENCODERS_GROUP).load("glove")
    built: Any = encoder.build_text_encoder("spec", encoder.settings_class())  # type: ignore[arg-type]
    assert built.parts[0] == "encoder"


def test_names_are_sorted_whatever_their_order_on_disk(install: Installer) -> None:
    install("acme-b", models=["zebra", "beta"])
    install("acme-a", models=["alpha"])
    assert list(Registry.discover(MODELS_GROUP, [str(install.folder)])) == ["alpha", "beta", "zebra"]


def test_the_error_for_a_misspelled_installed_name_suggests_the_name(install: Installer) -> None:
    install("acme-gate", models=["gated_sum"], source=MUST_NOT_BE_IMPORTED)
    assert str(load_error("gated_smu", UnknownModelError, path=[str(install.folder)])) == (
        "No installed plugin provides model_class 'gated_smu'. Did you mean 'gated_sum'?\n"
        "Installed: gated_sum.\n"
        "Fix: set model_class to 'gated_sum'. [FZ-P001]"
    )


def test_the_error_for_a_misspelled_installed_first_party_name_suggests_no_pip_install(install: Installer) -> None:
    install("fusionzoo-bert", models=["bert", "multimodal_bert"], source=MUST_NOT_BE_IMPORTED)
    message = str(load_error("mutlimodal_bert", UnknownModelError, path=[str(install.folder)]))
    assert "Did you mean 'multimodal_bert'?\n" in message
    assert "\nFix: set model_class to 'multimodal_bert'." in message
    assert "pip install" not in message


def test_the_error_for_a_misspelled_first_party_name_that_is_not_installed_names_its_package(
    install: Installer,
) -> None:
    install("fusionzoo-bert", models=["bert", "multimodal_bert"], source=MUST_NOT_BE_IMPORTED)
    assert str(load_error("multimodal_gate_fuson", UnknownModelError, path=[str(install.folder)])) == (
        "No installed plugin provides model_class 'multimodal_gate_fuson'. Did you mean 'multimodal_gate_fusion'?\n"
        "Installed: bert, multimodal_bert.\n"
        "Fix: pip install fusionzoo-gate-fusion [FZ-P001]"
    )


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("bert", "fusionzoo-bert"),
        ("multimodal_lstm", "fusionzoo-lstm"),
        ("multimodal_moe", "fusionzoo-moe"),
        ("multimodal_cross_attn", "fusionzoo-cross-attn"),
    ],
)
def test_the_error_for_a_first_party_name_that_is_not_installed_suggests_pip_install_only(
    install: Installer, name: str, package: str
) -> None:
    assert str(load_error(name, UnknownModelError, path=[str(install.folder)])) == (
        f"No installed plugin provides model_class '{name}'.\nInstalled: none.\nFix: pip install {package} [FZ-P001]"
    )


@pytest.mark.parametrize("name", ["moe", "gate_fusion", "cross_attn"])
def test_the_error_for_a_fusion_without_its_prefix_suggests_the_full_name(install: Installer, name: str) -> None:
    message = str(load_error(name, UnknownModelError, path=[str(install.folder)]))
    assert f"Did you mean 'multimodal_{name}'?\n" in message
    assert f"\nFix: pip install fusionzoo-{name.replace('_', '-')} [" in message


def test_the_prefix_that_all_fusions_share_does_not_make_two_names_similar(install: Installer) -> None:
    install("fusionzoo-bert", models=["bert", "multimodal_bert"], source=MUST_NOT_BE_IMPORTED)
    message = str(load_error("multimodal_film", UnknownModelError, path=[str(install.folder)]))
    assert message.startswith("No installed plugin provides model_class 'multimodal_film'.\nInstalled: ")
    assert "\nFix: install the plugin" in message
    assert "fusionzoo doctor" in message
    assert "Did you mean" not in message


def test_the_error_for_an_unrelated_name_lists_the_installed_names_without_a_suggestion(install: Installer) -> None:
    install("acme-gate", models=["gate", "tower"])
    message = str(load_error("xyzzy", UnknownModelError, path=[str(install.folder)]))
    assert message.startswith("No installed plugin provides model_class 'xyzzy'.\nInstalled: gate, tower.\nFix: ")
    assert "Did you mean" not in message


@pytest.mark.parametrize("group", ["fusionzoo.model", "fusionzoo_models", "fusionzoo.Models"])
def test_a_name_in_a_misspelled_group_is_reported_with_its_package_and_the_right_group(
    install: Installer, group: str
) -> None:
    info = install("acme-gate", "1.2", models=["gate"], source=MUST_NOT_BE_IMPORTED)
    file = info / "entry_points.txt"
    file.write_text(file.read_text().replace("fusionzoo.models", group))
    assert str(load_error("gate", UnknownModelError, path=[str(install.folder)])) == (
        "No installed plugin provides model_class 'gate'. acme-gate 1.2 has it in the entry-point group "
        f"'{group}', which fusionzoo does not read.\n"
        "Fix: in acme-gate 1.2, rename the group to fusionzoo.models, and install it again. [FZ-P072]"
    )
    assert "acme-gate" not in str(load_error("tower", UnknownModelError, path=[str(install.folder)]))


def test_the_error_for_a_text_encoder_does_not_suggest_a_fusion(install: Installer) -> None:
    folder = [str(install.folder)]
    message = str(load_error("lsmt", UnknownModelError, TEXT_ENCODERS_GROUP, folder))
    assert message.startswith("No installed plugin provides text_encoder 'lsmt'. Did you mean 'lstm'?\n")
    assert "\nFix: pip " in message
    assert "pip install" not in str(load_error("multimodal_moe", UnknownModelError, TEXT_ENCODERS_GROUP, folder))


# --- clashes


def test_a_name_of_two_distributions_is_an_error_and_a_qualified_name_chooses_one(install: Installer) -> None:
    install("acme-one", "1.1", models=["gate"], source=VALID)
    install("Acme.Two", "2.2", models=["gate"], source=VALID)
    message = str(load_error("gate", AmbiguousModelError))
    assert message.startswith("model_class 'gate' is provided by 2 installed distributions: ")
    assert "acme-one 1.1 (acme_one)" in message
    assert "Acme.Two 2.2 (Acme_Two)" in message
    for name, distribution in (("acme-one:gate", "acme-one"), ("acme_two:gate", "Acme.Two")):
        plugin = Registry.discover(MODELS_GROUP).load(name)
        assert (plugin.name, plugin.distribution) == ("gate", distribution)


def test_the_fix_in_the_error_about_a_name_clash_works(install: Installer) -> None:
    install("acme-one", models=["gate"], source=VALID)
    install("acme-two", models=["gate"], source=VALID)
    offered = str(load_error("gate", AmbiguousModelError)).split("for example '")[1].split("'")[0]
    assert Registry.discover(MODELS_GROUP).load(offered).distribution == offered.split(":")[0]


def test_the_error_for_a_distribution_without_the_name_suggests_one_that_provides_it(install: Installer) -> None:
    install("acme-two", models=["gate"], source=VALID)
    message = str(load_error("acme-tow:gate", UnknownModelError))
    assert message.startswith("No installed plugin provides model_class 'acme-tow:gate'. Did you mean 'acme-two:gate'?")
    assert "Did you mean 'acme-two:gate'?" in str(load_error("zzz:gate", UnknownModelError))


def test_a_distribution_that_is_on_the_path_twice_is_no_clash_and_the_first_one_counts(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older"
    install("acme_gate", "1.0", models=["gate", "dropped"], source=MUST_NOT_BE_IMPORTED, folder=older)
    install("acme-gate", "2.0", models=["gate"], source=VALID)
    monkeypatch.setattr(sys, "path", [*sys.path, str(older), str(install.folder)])
    registry = Registry.discover(MODELS_GROUP)
    assert [provider.version for provider in registry["gate"]] == ["2.0"]
    assert registry.load("gate").version == "2.0"
    assert "dropped" not in registry


def test_a_clash_of_another_name_has_no_effect(install: Installer) -> None:
    install("acme-one", models=["gate"], source=MUST_NOT_BE_IMPORTED)
    install("acme-two", models=["gate"], source=MUST_NOT_BE_IMPORTED)
    install("acme-good", models=["good"], source=VALID)
    assert Registry.discover(MODELS_GROUP).load("good").distribution == "acme-good"


# --- costs


def test_discovery_and_its_errors_import_no_plugin_and_no_heavy_library(install: Installer) -> None:
    install("acme-boom", models=["boom"], text_encoders=["boom"], source=MUST_NOT_BE_IMPORTED)
    code = """
import json, sys
import fusionzoo
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from fusionzoo.errors import UnknownModelError
found = [name for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP) for name in Registry.discover(group)]
try:
    Registry.discover(MODELS_GROUP).load("bomo")
except UnknownModelError as error:
    found.append(str(error))
print(json.dumps([found, sorted(sys.modules)]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found, modules = json.loads(done.stdout)
    assert found.count("boom") == 2
    assert "Did you mean 'boom'?" in found[-1]
    heavy = {"torch", "lightning", "transformers", "pandas", "numpy", "gensim", "pydantic", "pyarrow", "acme_boom"}
    assert heavy & set(modules) == set()
    assert not [module for module in modules if module.startswith("fusionzoo_")]


LONG_TEXT = "x" * 3000


def test_messages_are_short_and_start_with_the_cause_however_much_is_installed(install: Installer) -> None:
    for number in range(200):
        install(f"acme-plugin-number-{number}", models=[f"a_long_name_of_a_model_{number}", "shared"])
    unknown = str(load_error("zzz", UnknownModelError))
    assert unknown.startswith("No installed plugin provides model_class 'zzz'.")
    assert " more." in unknown
    clash = str(load_error("shared", AmbiguousModelError))
    assert clash.startswith("model_class 'shared' is provided by 200 installed distributions: acme-plugin-number-")
    assert "Fix: " in clash


@pytest.mark.parametrize(
    ("source", "requires", "error"),
    [
        (f"raise RuntimeError('{LONG_TEXT}')", [], BrokenPluginError),
        (VALID, [f"einopsy-{number}>=1" for number in range(200)], IncompatiblePluginError),
        (VALID, [f"einopsy-{LONG_TEXT}"], IncompatiblePluginError),
        (VALID, [f"?{LONG_TEXT}"], BrokenPluginError),
        (VALID, ["fusionzoo!=" + ",!=".join(f"{number}" for number in range(9, 500)) + ",>9"], IncompatiblePluginError),
        (HEAD + f"@hookimpl\ndef {LONG_TEXT}(): ...", [], BrokenPluginError),
        (VALID.replace("spec,", ", ".join(f"cfg_{number}" for number in range(250)) + ",", 1), [], BrokenPluginError),
    ],
)
def test_messages_are_short_and_contain_the_fix_however_long_the_cause(
    install: Installer, source: str, requires: list[str], error: type[ZooError]
) -> None:
    name = "a_model_class_with_a_long_name_" + "y" * 300
    distribution = "acme-" + "z" * 180
    install(distribution, models={name: f"{distribution.replace('-', '_')}"}, source=source, requires=requires)
    message = str(load_error(name, error))
    assert "model_class 'a_model_class_with_a_long_name_" in message[:120]
    assert " from acme-zzz" in message
    assert "\nFix: " in message
    assert len(str(load_error(LONG_TEXT, UnknownModelError))) < 1024
