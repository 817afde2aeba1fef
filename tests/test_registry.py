"""The registry, on real distributions in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fusionzoo import __version__
from fusionzoo.errors import (
    AmbiguousModelError,
    BrokenPluginError,
    IncompatiblePluginError,
    SettingError,
    UnknownModelError,
    ZooError,
)
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry

if TYPE_CHECKING:
    from conftest import Installer

HEAD = """
import fusionzoo
from fusionzoo import hookimpl
from fusionzoo.settings import ModelSettings

class Settings(ModelSettings):
    width: int = 8

"""
SETTINGS_HOOK = """
@hookimpl
def settings_class():
    return Settings

"""
MODEL_HOOK = """
@hookimpl
def build_model(spec, settings, text_encoder):
    return ("model", spec, settings, text_encoder)

"""
ENCODER_HOOK = """
@hookimpl
def build_text_encoder(spec, settings):
    return ("encoder", spec, settings)

"""
GOOD = HEAD + SETTINGS_HOOK + MODEL_HOOK
NEVER = "raise RuntimeError('this module must not be imported')"


def refusal(name: str, error: type[ZooError], group: str = MODELS_GROUP, path: list[str] | None = None) -> ZooError:
    """The error that loading `name` raises: of exactly this type, and short enough for a FailureReason."""
    with pytest.raises(error) as caught:
        Registry.discover(group, path).load(name)
    assert type(caught.value) is error
    assert len(str(caught.value)) < 1024
    return caught.value


# --- names


def test_a_plugin_is_found_by_its_entry_point_and_builds_what_it_says(install: Installer) -> None:
    install("acme-gate", "2.3", models=["gate"], source=GOOD)
    plugin = Registry.discover(MODELS_GROUP).load("gate")
    assert (plugin.name, plugin.distribution, plugin.version) == ("gate", "acme-gate", "2.3")
    assert plugin.settings_class.__name__ == "Settings"
    settings = plugin.settings_class()
    built: Any = plugin.build_model("spec", settings, "encoder")  # type: ignore[arg-type]
    assert built == ("model", "spec", settings, "encoder")


def test_models_and_text_encoders_are_two_lists(install: Installer) -> None:
    install("acme-both", models=["gate"], text_encoders=["glove"], source=GOOD + ENCODER_HOOK)
    assert list(Registry.discover(MODELS_GROUP, [str(install.folder)])) == ["gate"]
    assert list(Registry.discover(TEXT_ENCODERS_GROUP, [str(install.folder)])) == ["glove"]
    encoder = Registry.discover(TEXT_ENCODERS_GROUP).load("glove")
    assert encoder.build_text_encoder("spec", encoder.settings_class())[0] == "encoder"  # type: ignore[arg-type, index]


def test_names_are_listed_in_order_whatever_the_order_on_disk(install: Installer) -> None:
    install("acme-b", models=["zebra", "beta"])
    install("acme-a", models=["alpha"])
    assert list(Registry.discover(MODELS_GROUP, [str(install.folder)])) == ["alpha", "beta", "zebra"]


def test_a_misspelled_installed_name_is_answered_with_the_right_one(install: Installer) -> None:
    install("acme-gate", models=["gated_sum"], source=NEVER)
    assert str(refusal("gated_smu", UnknownModelError, path=[str(install.folder)])) == (
        "No installed plugin provides model_class 'gated_smu'.\n"
        "Did you mean 'gated_sum'?   Fix: set model_class to 'gated_sum'\n"
        "Installed: gated_sum."
    )


def test_a_misspelled_name_of_ours_that_is_installed_is_not_offered_for_installing(install: Installer) -> None:
    install("fusionzoo-bert", models=["bert", "multimodal_bert"], source=NEVER)
    message = str(refusal("mutlimodal_bert", UnknownModelError, path=[str(install.folder)]))
    assert "Did you mean 'multimodal_bert'?   Fix: set model_class to 'multimodal_bert'\n" in message
    assert "pip install" not in message


def test_a_misspelled_name_of_ours_that_is_not_installed_is_answered_with_its_package(install: Installer) -> None:
    install("fusionzoo-bert", models=["bert", "multimodal_bert"], source=NEVER)
    assert str(refusal("multimodal_gate_fuson", UnknownModelError, path=[str(install.folder)])) == (
        "No installed plugin provides model_class 'multimodal_gate_fuson'.\n"
        "Did you mean 'multimodal_gate_fusion'?   Fix: pip install fusionzoo-gate-fusion\n"
        "Installed: bert, multimodal_bert."
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
def test_a_name_of_ours_that_is_not_installed_is_answered_with_pip_install_alone(
    install: Installer, name: str, package: str
) -> None:
    assert str(refusal(name, UnknownModelError, path=[str(install.folder)])) == (
        f"No installed plugin provides model_class '{name}'.\nFix: pip install {package}\nInstalled: none."
    )


@pytest.mark.parametrize("name", ["moe", "gate_fusion", "cross_attn"])
def test_a_fusion_named_without_multimodal_is_understood(install: Installer, name: str) -> None:
    message = str(refusal(name, UnknownModelError, path=[str(install.folder)]))
    assert f"Did you mean 'multimodal_{name}'?   Fix: pip install fusionzoo-{name.replace('_', '-')}\n" in message


def test_the_beginning_that_all_fusions_share_makes_no_two_names_alike(install: Installer) -> None:
    install("fusionzoo-bert", models=["bert", "multimodal_bert"], source=NEVER)
    message = str(refusal("multimodal_film", UnknownModelError, path=[str(install.folder)]))
    assert message.startswith("No installed plugin provides model_class 'multimodal_film'.\nFix: install the plugin")
    assert "Did you mean" not in message


def test_an_unlike_name_gets_no_suggestion_but_the_list(install: Installer) -> None:
    install("acme-gate", models=["gate", "tower"])
    message = str(refusal("xyzzy", UnknownModelError, path=[str(install.folder)]))
    assert message.startswith("No installed plugin provides model_class 'xyzzy'.\nFix: ")
    assert "Did you mean" not in message
    assert message.endswith("Installed: gate, tower.")


def test_a_text_encoder_is_called_so_and_no_fusion_is_offered_for_one(install: Installer) -> None:
    folder = [str(install.folder)]
    message = str(refusal("lsmt", UnknownModelError, TEXT_ENCODERS_GROUP, folder))
    assert message.startswith("No installed plugin provides text_encoder 'lsmt'.\nDid you mean 'lstm'?   Fix: pip ")
    assert "pip install" not in str(refusal("multimodal_moe", UnknownModelError, TEXT_ENCODERS_GROUP, folder))


# --- clashes


def test_two_distributions_of_one_name_are_an_error_and_the_longer_name_chooses(install: Installer) -> None:
    install("acme-one", "1.1", models=["gate"], source=GOOD)
    install("Acme.Two", "2.2", models=["gate"], source=GOOD)
    message = str(refusal("gate", AmbiguousModelError))
    assert message.startswith("model_class 'gate' is provided by 2 installed distributions: ")
    assert "acme-one 1.1 (acme_one)" in message
    assert "Acme.Two 2.2 (Acme_Two)" in message
    for name, distribution in (("acme-one:gate", "acme-one"), ("acme_two:gate", "Acme.Two")):
        plugin = Registry.discover(MODELS_GROUP).load(name)
        assert (plugin.name, plugin.distribution) == ("gate", distribution)


def test_the_fix_that_a_clash_offers_works(install: Installer) -> None:
    install("acme-one", models=["gate"], source=GOOD)
    install("acme-two", models=["gate"], source=GOOD)
    offered = str(refusal("gate", AmbiguousModelError)).split("for example '")[1].split("'")[0]
    assert Registry.discover(MODELS_GROUP).load(offered).distribution == offered.split(":")[0]


def test_a_distribution_that_does_not_provide_the_name_is_answered_with_one_that_does(install: Installer) -> None:
    install("acme-two", models=["gate"], source=GOOD)
    message = str(refusal("acme-tow:gate", UnknownModelError))
    assert message.startswith(
        "No installed plugin provides model_class 'acme-tow:gate'.\nDid you mean 'acme-two:gate'?"
    )
    assert "Did you mean 'acme-two:gate'?" in str(refusal("zzz:gate", UnknownModelError))


def test_a_distribution_that_stands_on_the_path_twice_is_no_clash_and_the_first_counts(
    install: Installer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older"
    install("acme_gate", "1.0", models=["gate", "dropped"], source=NEVER, folder=older)
    install("acme-gate", "2.0", models=["gate"], source=GOOD)
    monkeypatch.setattr(sys, "path", [*sys.path, str(older), str(install.folder)])
    registry = Registry.discover(MODELS_GROUP)
    assert [provider.version for provider in registry["gate"]] == ["2.0"]
    assert registry.load("gate").version == "2.0"
    assert "dropped" not in registry


def test_a_clash_that_was_not_asked_for_changes_nothing(install: Installer) -> None:
    install("acme-one", models=["gate"], source=NEVER)
    install("acme-two", models=["gate"], source=NEVER)
    install("acme-good", models=["good"], source=GOOD)
    assert Registry.discover(MODELS_GROUP).load("good").distribution == "acme-good"


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
def test_an_unmet_requirement_is_named_before_anything_is_imported(
    install: Installer, requires: list[str], says: str, fix: str
) -> None:
    install("acme-old", "1.5")
    install("acme-bad", models=["bad"], source=NEVER, requires=requires)
    message = str(refusal("bad", IncompatiblePluginError))
    assert message.startswith("model_class 'bad' from acme-bad 1.0 (acme_bad) has requirements that are not met: ")
    assert says in message
    assert fix in message


def test_a_plugin_for_another_core_says_so_before_its_other_requirements(install: Installer) -> None:
    install("acme-new", models=["new"], source=NEVER, requires=["einopsy", "FusionZoo>=9,<10"])
    assert str(refusal("new", IncompatiblePluginError)) == (
        "model_class 'new' comes from acme-new 1.0 (acme_new), which was built for FusionZoo<10,>=9; "
        f"this is fusionzoo {__version__}.\nFix: pip install --upgrade acme-new fusionzoo"
    )


def test_requirements_that_hold_or_do_not_apply_are_no_obstacle(install: Installer) -> None:
    install("acme-dep", "2.0rc1")
    requires = [
        f"fusionzoo=={__version__}",
        "Acme_Dep>=1.9,<3",
        "missing-one; python_version < '3'",
        "missing-two; extra == 'dev'",
        "acme-dep[no-such-extra]",
    ]
    install("acme-good", models=["good"], source=GOOD, requires=requires)
    assert Registry.discover(MODELS_GROUP).load("good").name == "good"


def test_a_requirement_that_cannot_be_read_is_the_plugins_fault(install: Installer) -> None:
    install("acme-bad", models=["bad"], source=NEVER, requires=["???"])
    error = refusal("bad", BrokenPluginError)
    assert "acme-bad 1.0 (acme_bad) cannot be read: " in str(error)
    assert isinstance(error.__cause__, ValueError)


# --- imports


@pytest.mark.parametrize(
    ("source", "cause", "says"),
    [
        ("import einopsy", ModuleNotFoundError, "ModuleNotFoundError: No module named 'einopsy'"),
        ("from fusionzoo import no_such_thing", ImportError, "cannot import name 'no_such_thing'"),
        ("def f(:", SyntaxError, "SyntaxError: invalid syntax"),
        ("raise SystemExit('no licence')", SystemExit, "SystemExit: no licence"),
        ("raise OSError('libcuda.so.1')", OSError, "OSError: libcuda.so.1"),
        ("1 / 0", ZeroDivisionError, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failed_import_names_the_distribution_and_keeps_its_cause(
    install: Installer, source: str, cause: type[BaseException], says: str
) -> None:
    install("acme-bad", models=["bad"], source=source)
    error = refusal("bad", BrokenPluginError)
    assert str(error).startswith("Importing model_class 'bad' from acme-bad 1.0 (acme_bad) failed: ")
    assert says in str(error)
    assert "Fix: " in str(error)
    assert type(error.__cause__) is cause


@pytest.mark.parametrize(
    ("value", "says"),
    [("acme_gone", "No module named"), ("acme_bad:gone", "no attribute 'gone'"), ("not a module!", "not a module!")],
)
def test_an_entry_point_that_points_nowhere_is_a_broken_plugin(install: Installer, value: str, says: str) -> None:
    install("acme-bad", models={"bad": value}, source=GOOD)
    error = refusal("bad", BrokenPluginError)
    assert f"acme-bad 1.0 ({value})" in str(error)
    assert says in str(error)


def test_ctrl_c_during_an_import_is_not_taken_for_a_fault(install: Installer) -> None:
    install("acme-slow", models=["slow"], source="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry.discover(MODELS_GROUP).load("slow")


# --- hooks


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            GOOD.replace("build_model", "build_modle"),
            ["build_modle() is not a hook of fusionzoo", "rename it to build_model()"],
        ),
        (GOOD + "@hookimpl\ndef xyzzy(): ...", ["xyzzy() is not a hook of fusionzoo", "parameter_groups"]),
        (
            GOOD.replace("spec, settings,", "spec, cfg,"),
            ["build_model() has parameters", "fusionzoo does not pass: cfg."],
        ),
        (
            GOOD.replace("encoder)", "encoder=None)", 1),
            ["fusionzoo does not pass: text_encoder=None.", "none with a default"],
        ),
        (GOOD.replace("(spec, settings, text_encoder)", "(**batch)", 1), ["fusionzoo does not pass: **batch."]),
        (GOOD.replace("text_encoder)", "*, text_encoder)", 1), ["fusionzoo does not pass: text_encoder."]),
        (HEAD + SETTINGS_HOOK, ["it lacks build_model(); it has only settings_class()"]),
        (HEAD + MODEL_HOOK, ["it lacks settings_class(); it has only build_model()"]),
        (HEAD, ["it lacks settings_class(), build_model(); it has no hooks"]),
        (HEAD + SETTINGS_HOOK + ENCODER_HOOK, ["it lacks build_model()"]),
        (
            GOOD.replace("@hookimpl", ""),
            ["settings_class(), build_model() without the decorator", "fusionzoo.hookimpl"],
        ),
        (GOOD.replace("@hookimpl", "", 1), ["it defines settings_class() without the decorator"]),
        (GOOD + "def callbacks(settings): ...", ["it defines callbacks() without the decorator"]),
        (GOOD.replace("@hookimpl", "@hookimpl(hookwrapper=True)", 1), ["cannot be registered", "generator"]),
    ],
)
def test_a_wrong_hook_is_named_with_what_is_right(install: Installer, source: str, says: list[str]) -> None:
    install("acme-bad", models=["bad"], source=source)
    message = str(refusal("bad", BrokenPluginError))
    assert message.startswith("model_class 'bad' comes from acme-bad 1.0 (acme_bad), and ")
    assert "\nFix: in acme-bad 1.0, " in message
    for words in says:
        assert words in message


def test_a_text_encoder_needs_its_own_hook(install: Installer) -> None:
    install("acme-bad", text_encoders=["bad"], source=GOOD)
    message = str(refusal("bad", BrokenPluginError, TEXT_ENCODERS_GROUP))
    assert message.startswith(
        "text_encoder 'bad' comes from acme-bad 1.0 (acme_bad), and it lacks build_text_encoder()"
    )


def test_a_class_in_place_of_its_instance_is_named(install: Installer) -> None:
    body = "class Gate:\n" + "".join(
        f"    {line}\n" for line in MODEL_HOOK.replace("(spec", "(self, spec").splitlines()
    )
    install("acme-bad", models={"bad": "acme_bad:Gate"}, source=HEAD + body)
    message = str(refusal("bad", BrokenPluginError))
    assert "fusionzoo does not pass: self." in message
    assert "name an instance, not the class" in message


@pytest.mark.parametrize(
    "plugin",
    [
        "import types; plugin = types.SimpleNamespace(settings_class=settings_class, build_model=build_model)",
        "class Gate:\n"
        "    @hookimpl\n    def settings_class(self): return Settings\n"
        "    @hookimpl\n    def build_model(self, spec): return ('model', spec)\n"
        "plugin = Gate()",
        "class plugin:\n"
        "    @staticmethod\n    @hookimpl\n    def settings_class(): return Settings\n"
        "    @staticmethod\n    @hookimpl\n    def build_model(spec, settings): return ('model', spec)\n",
    ],
    ids=["namespace", "instance", "class of static methods"],
)
def test_any_object_with_hooks_can_be_a_plugin_and_a_hook_may_take_fewer_arguments(
    install: Installer, plugin: str
) -> None:
    install("acme-good", models={"good": "acme_good:plugin"}, source=GOOD + plugin)
    loaded = Registry.discover(MODELS_GROUP).load("good")
    built: Any = loaded.build_model("spec", loaded.settings_class(), None)  # type: ignore[arg-type]
    assert built[:2] == ("model", "spec")


def test_optional_hooks_that_a_plugin_lacks_do_nothing(install: Installer) -> None:
    install("acme-good", models=["good"], source=GOOD)
    plugin: Any = Registry.discover(MODELS_GROUP).load("good")
    assert plugin.load_pretrained("encoder", "settings") is False
    assert plugin.parameter_groups("model", "settings") == []
    assert plugin.callbacks("settings") == []


def test_optional_hooks_that_a_plugin_has_are_called_with_what_they_ask_for(install: Installer) -> None:
    more = """
@hookimpl
def load_pretrained(settings): return settings == "settings"
@hookimpl
def parameter_groups(model, settings): return ({"params": [model], "lr_scale": 0.1},)
@hookimpl
def callbacks(): return ("log",)
"""
    install("acme-good", models=["good"], source=GOOD + more)
    plugin: Any = Registry.discover(MODELS_GROUP).load("good")
    assert plugin.load_pretrained("encoder", "settings") is True
    assert plugin.parameter_groups("model", "settings") == [{"params": ["model"], "lr_scale": 0.1}]
    assert plugin.callbacks("settings") == ["log"]


def test_a_builder_that_forgets_to_return_is_named(install: Installer) -> None:
    install("acme-bad", models=["bad"], source=GOOD.replace('return ("model"', 'unused = ("model"'))
    plugin: Any = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(BrokenPluginError, match=r"acme-bad 1\.0 .*build_model\(\) returned None"):
        plugin.build_model(None, None, None)


def test_an_error_raised_in_a_hook_stays_itself_and_says_whose_hook_it_was(install: Installer) -> None:
    install("acme-bad", models=["bad"], source=GOOD.replace('return ("model"', 'spec.missing, ("model"'))
    plugin: Any = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(AttributeError) as caught:
        plugin.build_model(None, None, None)
    note = "This happened in build_model() of acme-bad 1.0, which provides model_class 'bad'."
    assert caught.value.__notes__ == [note]


def test_a_setting_that_a_plugin_refuses_is_reported_as_the_plugin_wrote_it(install: Installer) -> None:
    refuse = "raise fusionzoo.errors.SettingError('width', 8, 'odd', 'give 7')"
    install("acme-good", models=["good"], source=GOOD.replace('return ("model"', f'{refuse}; ("model"'))
    plugin: Any = Registry.discover(MODELS_GROUP).load("good")
    with pytest.raises(SettingError) as caught:
        plugin.build_model(None, None, None)
    assert str(caught.value) == "width = 8: odd.\nFix: give 7. [FZ-S001]"
    assert not hasattr(caught.value, "__notes__")


# --- settings


@pytest.mark.parametrize(
    ("found", "shown"),
    [("dict", "<class 'dict'>"), ("Settings()", "Settings(width=8)"), ("None", "None"), ("fusionzoo", "<module")],
)
def test_settings_that_are_no_model_settings_are_named(install: Installer, found: str, shown: str) -> None:
    install("acme-bad", models=["bad"], source=GOOD.replace("return Settings", f"return {found}"))
    plugin = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(BrokenPluginError) as caught:
        plugin.settings_class  # noqa: B018 - a property that checks
    assert "from acme-bad 1.0 (acme_bad) is broken: settings_class() returned " + shown in str(caught.value)
    assert "fusionzoo.settings.ModelSettings" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    ["lr: float = 1.0; label_name: str = ''", "a: float = Field(1.0, alias='lr'); label_name: str = ''"],
)
def test_settings_that_core_has_already_are_named(install: Installer, fields: str) -> None:
    source = "from pydantic import Field" + GOOD.replace("width: int = 8", f"width: int = 8; {fields}")
    install("acme-bad", models=["bad"], source=source)
    plugin = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(BrokenPluginError) as caught:
        plugin.settings_class  # noqa: B018 - a property that checks
    message = str(caught.value)
    assert "acme-bad 1.0 (acme_bad), and its settings have names that belong to core: label_name, lr." in message
    assert "width" not in message


# --- bystanders


def _without_metadata(info: Path) -> None:
    (info / "METADATA").unlink()


def _without_a_name(info: Path) -> None:
    (info / "METADATA").write_text("Metadata-Version: 2.1\n\nno name here\n")


def _without_a_version(info: Path) -> None:
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-bad\n\n")


def _with_metadata_that_is_no_text(info: Path) -> None:
    (info / "METADATA").write_bytes(b"\xff\xfe\x00Name")


def _with_entry_points_that_are_no_text(info: Path) -> None:
    (info / "entry_points.txt").write_bytes(b"[fusionzoo.models]\n\xff\xfe = x\n")


def _with_entry_points_without_values(info: Path) -> None:
    (info / "entry_points.txt").write_text("[fusionzoo.models]\nbad\n")


def _with_a_folder_for_entry_points(info: Path) -> None:
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").mkdir()


BREAKAGES = [
    _without_metadata,
    _without_a_name,
    _without_a_version,
    _with_metadata_that_is_no_text,
    _with_entry_points_that_are_no_text,
    _with_entry_points_without_values,
    _with_a_folder_for_entry_points,
]


@pytest.mark.parametrize("break_it", BREAKAGES)
def test_a_bystander_with_broken_metadata_changes_nothing(install: Installer, break_it: Any) -> None:
    break_it(install("acme-bad", models=["bad"], source=NEVER))
    install("acme-good", models=["good"], source=GOOD, requires=["fusionzoo>=0.1"])
    assert Registry.discover(MODELS_GROUP).load("good").distribution == "acme-good"


def test_a_bystander_that_cannot_be_imported_changes_nothing(install: Installer) -> None:
    install("acme-bad", models=["bad"], source="raise SystemExit", requires=["einopsy", "fusionzoo>=9"])
    install("acme-good", models=["good"], source=GOOD)
    assert Registry.discover(MODELS_GROUP).load("good").distribution == "acme-good"


@pytest.mark.parametrize("break_it", BREAKAGES[:4])
def test_a_plugin_without_readable_metadata_is_refused_when_it_is_asked_for(install: Installer, break_it: Any) -> None:
    break_it(install("acme-bad", models=["bad"], source=NEVER))
    message = str(refusal("bad", BrokenPluginError))
    assert message.startswith("The metadata of model_class 'bad' from acme_bad-1.0.dist-info (acme_bad) cannot")


@pytest.mark.parametrize("break_it", BREAKAGES[4:6])
def test_an_unknown_name_may_stand_in_entry_points_that_cannot_be_read(install: Installer, break_it: Any) -> None:
    break_it(install("acme-bad", models=["bad"], source=NEVER))
    assert Registry.discover(MODELS_GROUP).unreadable == ("acme_bad-1.0.dist-info",)
    message = str(refusal("bad", UnknownModelError))
    assert message.endswith("which may provide it: acme_bad-1.0.dist-info.")


def test_what_a_failed_uninstall_left_behind_is_no_clash(install: Installer, tmp_path: Path) -> None:
    install("acme-good", "2.0", models=["good"], source=GOOD)
    _without_metadata(install("acme-good", "1.0", models=["good"], source=GOOD))
    renamed = install("acme-good", "0.9", models=["good"], source=GOOD)
    renamed.rename(renamed.with_name("~cme_good-0.9.dist-info"))
    assert Registry.discover(MODELS_GROUP).load("good").version == "2.0"


# --- costs


def test_discovering_and_failing_to_find_imports_no_plugin_and_nothing_heavy(install: Installer) -> None:
    install("acme-boom", models=["boom"], text_encoders=["boom"], source=NEVER)
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


LONG = "x" * 3000


def test_messages_stay_short_and_begin_with_the_cause_however_much_is_installed(install: Installer) -> None:
    for number in range(200):
        install(f"acme-plugin-number-{number}", models=[f"a_long_name_of_a_model_{number}", "shared"])
    unknown = str(refusal("zzz", UnknownModelError))
    assert unknown.startswith("No installed plugin provides model_class 'zzz'.")
    assert " more." in unknown
    clash = str(refusal("shared", AmbiguousModelError))
    assert clash.startswith("model_class 'shared' is provided by 200 installed distributions: acme-plugin-number-")
    assert "Fix: " in clash


@pytest.mark.parametrize(
    ("source", "requires", "error"),
    [
        (f"raise RuntimeError('{LONG}')", [], BrokenPluginError),
        (GOOD, [f"einopsy-{number}>=1" for number in range(200)], IncompatiblePluginError),
        (GOOD, [f"einopsy-{LONG}"], IncompatiblePluginError),
        (GOOD, [f"?{LONG}"], BrokenPluginError),
        (GOOD, ["fusionzoo!=" + ",!=".join(f"{number}" for number in range(9, 500)) + ",>9"], IncompatiblePluginError),
        (HEAD + f"@hookimpl\ndef {LONG}(): ...", [], BrokenPluginError),
        (GOOD.replace("spec,", ", ".join(f"cfg_{number}" for number in range(250)) + ",", 1), [], BrokenPluginError),
    ],
)
def test_messages_stay_short_and_say_how_to_mend_however_long_the_cause(
    install: Installer, source: str, requires: list[str], error: type[ZooError]
) -> None:
    name = "a_model_class_with_a_long_name_" + "y" * 300
    distribution = "acme-" + "z" * 180
    install(distribution, models={name: f"{distribution.replace('-', '_')}"}, source=source, requires=requires)
    message = str(refusal(name, error))
    assert message.startswith("model_class 'a_model_class_with_a_long_name_")
    assert "comes from acme-zzz" in message
    assert "\nFix: " in message
    assert len(str(refusal(LONG, UnknownModelError))) < 1024
