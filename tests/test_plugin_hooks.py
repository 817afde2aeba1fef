"""The hooks of a plugin and its settings class are checked when it is loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from fusionzoo.errors import (
    BrokenPluginError,
    PluginContractError,
    SettingError,
)
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from fusionzoo.registry.plugin import HOOKS, OPTIONAL_HOOKS, REQUIRED_HOOKS
from registry_helpers import ENCODER_HOOK, HEAD, MODEL_HOOK, SETTINGS_HOOK, VALID, load_error

if TYPE_CHECKING:
    from conftest import Installer


# --- hooks


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            VALID.replace("build_model", "build_modle"),
            ["build_modle() is not a hook of fusionzoo", "rename it to build_model()"],
        ),
        (VALID + "@hookimpl\ndef xyzzy(): ...", ["xyzzy() is not a hook of fusionzoo", "parameter_groups"]),
        (
            VALID.replace("spec, settings,", "spec, cfg,"),
            ["build_model() has parameters", "fusionzoo does not pass: cfg."],
        ),
        (
            VALID.replace("encoder)", "encoder=None)", 1),
            ["fusionzoo does not pass: text_encoder=None.", "none with a default"],
        ),
        (VALID.replace("(spec, settings, text_encoder)", "(**batch)", 1), ["fusionzoo does not pass: **batch."]),
        (VALID.replace("text_encoder)", "*, text_encoder)", 1), ["fusionzoo does not pass: text_encoder."]),
        (HEAD + SETTINGS_HOOK, ["it lacks build_model(); it has only settings_class()"]),
        (HEAD + MODEL_HOOK, ["it lacks settings_class(); it has only build_model()"]),
        (HEAD, ["it lacks settings_class(), build_model(); it has no hooks"]),
        (HEAD + SETTINGS_HOOK + ENCODER_HOOK, ["it lacks build_model()"]),
        (
            VALID.replace("@hookimpl", ""),
            ["settings_class(), build_model() without the decorator", "fusionzoo.hookimpl"],
        ),
        (VALID.replace("@hookimpl", "", 1), ["it defines settings_class() without the decorator"]),
        (VALID + "def callbacks(settings): ...", ["it defines callbacks() without the decorator"]),
        (VALID.replace("@hookimpl", "@hookimpl(hookwrapper=True)", 1), ["cannot be registered", "generator"]),
    ],
)
def test_the_error_for_a_wrong_hook_names_the_hook_and_the_fix(
    install: Installer, source: str, says: list[str]
) -> None:
    install("acme-bad", models=["bad"], source=source)
    message = str(load_error("bad", BrokenPluginError))
    assert message.startswith("model_class 'bad' from acme-bad 1.0 (acme_bad) is broken: ")
    assert "\nFix: in acme-bad 1.0, " in message
    for words in says:
        assert words in message


def test_a_text_encoder_requires_build_text_encoder(install: Installer) -> None:
    install("acme-bad", text_encoders=["bad"], source=VALID)
    message = str(load_error("bad", BrokenPluginError, TEXT_ENCODERS_GROUP))
    assert message.startswith(
        "text_encoder 'bad' from acme-bad 1.0 (acme_bad) is broken: it lacks build_text_encoder()"
    )


def test_an_entry_point_that_names_a_class_is_an_error(install: Installer) -> None:
    body = "class Gate:\n" + "".join(
        f"    {line}\n" for line in MODEL_HOOK.replace("(spec", "(self, spec").splitlines()
    )
    install("acme-bad", models={"bad": "acme_bad:Gate"}, source=HEAD + body)
    message = str(load_error("bad", BrokenPluginError))
    assert "fusionzoo does not pass: self." in message
    assert "name an instance, not the class" in message


@pytest.mark.parametrize(("body", "kind"), [("class Gate: pass", "class"), ("def Gate(): return None", "function")])
def test_the_error_for_an_entry_point_of_a_class_or_function_without_hooks_says_to_name_an_object(
    install: Installer, body: str, kind: str
) -> None:
    install("acme-bad", models={"bad": "acme_bad:Gate"}, source=f"{HEAD}{body}\n")
    message = str(load_error("bad", BrokenPluginError))
    assert "it has no hooks" in message
    assert f"name a plugin object, such as plugin = Fusion(Settings, Model), not a {kind}" in message


@pytest.mark.parametrize(
    "plugin",
    [
        "import types; plugin = types.SimpleNamespace(settings_class=settings_class, build_model=build_model)",
        "class Gate:\n"
        "    @hookimpl\n    def settings_class(self): return Settings\n"
        "    @hookimpl\n    def build_model(self, spec): return make_module('model', spec)\n"
        "plugin = Gate()",
        "class plugin:\n"
        "    @staticmethod\n    @hookimpl\n    def settings_class(): return Settings\n"
        "    @staticmethod\n    @hookimpl\n    def build_model(spec, settings): return make_module('model', spec)\n",
    ],
    ids=["namespace", "instance", "class of static methods"],
)
def test_any_object_with_hooks_is_a_plugin_and_a_hook_may_declare_fewer_arguments(
    install: Installer, plugin: str
) -> None:
    install("acme-good", models={"good": "acme_good:plugin"}, source=VALID + plugin)
    loaded = Registry.discover(MODELS_GROUP).load("good")
    built: Any = loaded.build_model("spec", loaded.settings_class(), None)  # type: ignore[arg-type]
    assert built.parts[:2] == ("model", "spec")


def test_missing_optional_hooks_have_no_effect(install: Installer) -> None:
    install("acme-good", models=["good"], source=VALID)
    install("acme-words", text_encoders=["words"], source=HEAD + SETTINGS_HOOK + ENCODER_HOOK)
    plugin: Any = Registry.discover(MODELS_GROUP).load("good")
    encoder: Any = Registry.discover(TEXT_ENCODERS_GROUP).load("words")
    assert encoder.load_pretrained("encoder", "settings") is False
    assert plugin.parameter_groups("model", "settings") == []
    assert plugin.callbacks("settings") == []


def test_optional_hooks_are_called_with_the_arguments_that_they_declare(install: Installer) -> None:
    loads = '@hookimpl\ndef load_pretrained(settings): return settings == "settings"\n'
    more = """
@hookimpl
def parameter_groups(model, settings): return ({"params": [model], "lr_scale": 0.1},)
@hookimpl
def callbacks(): return ("log",)
"""
    install("acme-good", models=["good"], source=VALID + more)
    install("acme-words", text_encoders=["words"], source=HEAD + SETTINGS_HOOK + ENCODER_HOOK + loads)
    plugin: Any = Registry.discover(MODELS_GROUP).load("good")
    encoder: Any = Registry.discover(TEXT_ENCODERS_GROUP).load("words")
    assert encoder.load_pretrained("encoder", "settings") is True
    assert plugin.parameter_groups("model", "settings") == [{"params": ["model"], "lr_scale": 0.1}]
    assert plugin.callbacks("settings") == ["log"]


ENCODER_HOOKS, MODEL_HOOKS = ("load_pretrained", "add_adapters", "merge_adapters"), ("parameter_groups", "callbacks")


@pytest.mark.parametrize("decorator", ["@hookimpl\n", ""], ids=["decorated", "undecorated"])
@pytest.mark.parametrize("hook", ENCODER_HOOKS)
def test_a_hook_of_text_encoders_in_a_model_is_an_error(install: Installer, hook: str, decorator: str) -> None:
    install("acme-bad", models=["bad"], source=f"{VALID}{decorator}def {hook}(): ...\n")
    message = str(load_error("bad", PluginContractError))
    assert message.startswith("model_class 'bad' from acme-bad 1.0 (acme_bad) is broken: it defines ")
    assert f"defines {hook}(), which fusionzoo calls for text encoders only, not for models." in message
    assert "pretrained weights belong in a text encoder" in message
    assert "group fusionzoo.text_encoders. [FZ-P051]" in message


@pytest.mark.parametrize("decorator", ["@hookimpl\n", ""], ids=["decorated", "undecorated"])
@pytest.mark.parametrize("hook", MODEL_HOOKS)
def test_a_hook_of_models_in_a_text_encoder_is_an_error(install: Installer, hook: str, decorator: str) -> None:
    source = f"{HEAD}{SETTINGS_HOOK}{ENCODER_HOOK}{decorator}def {hook}(): ...\n"
    install("acme-bad", text_encoders=["bad"], source=source)
    message = str(load_error("bad", PluginContractError, TEXT_ENCODERS_GROUP))
    assert message.startswith("text_encoder 'bad' from acme-bad 1.0 (acme_bad) is broken: it defines ")
    assert f"defines {hook}(), which fusionzoo calls for models only, not for text encoders." in message
    assert "move it to a model: an object under an entry point in the group fusionzoo.models. [FZ-P052]" in message


def test_a_module_that_is_a_model_and_a_text_encoder_may_have_the_hooks_of_both(install: Installer) -> None:
    hooks = "".join(f"@hookimpl\ndef {hook}(): ...\n" for hook in (*ENCODER_HOOKS, *MODEL_HOOKS))
    install("acme-both", models=["both"], text_encoders=["both"], source=VALID + ENCODER_HOOK + hooks)
    for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP):
        assert Registry.discover(group).load("both").name == "both"


def test_every_hook_is_called_for_models_or_text_encoders() -> None:
    tables = [*REQUIRED_HOOKS.values(), *OPTIONAL_HOOKS.values()]
    assert {hook for table in tables for hook in table} == set(HOOKS)


def test_a_model_with_a_method_that_loads_weights_is_an_error(install: Installer) -> None:
    model = "from torch import nn\nclass Net(nn.Module):\n    def load_pretrained(self, settings): return True\n"
    install(
        "acme-bad",
        models=["bad"],
        source=VALID.replace('make_module("model", spec, settings, text_encoder)', "Net()") + model,
    )
    plugin: Any = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(PluginContractError) as caught:
        plugin.build_model(None, plugin.settings_class(), None)
    message = str(caught.value)
    assert "build_model() returned Net with a method load_pretrained(), which is called for text encoders" in message
    assert "publish the part that has them under an entry point in the group fusionzoo.text_encoders" in message


@pytest.mark.parametrize("returned", ["None", "Settings", "(make_module(), 8)", "make_module"])
@pytest.mark.parametrize("hook", ["build_model", "build_text_encoder"])
def test_a_builder_that_returns_no_module_is_an_error(install: Installer, hook: str, returned: str) -> None:
    source = re.sub(r"return make_module\(.*\)", f"return {returned}", VALID + ENCODER_HOOK)
    install("acme-bad", models=["bad"], text_encoders=["bad"], source=source)
    plugin: Any = Registry.discover(TEXT_ENCODERS_GROUP if "encoder" in hook else MODELS_GROUP).load("bad")
    arguments = {**dict.fromkeys(HOOKS[hook]), "settings": plugin.settings_class()}
    with pytest.raises(BrokenPluginError, match=r"acme-bad 1\.0 .*torch\.nn\.Module[^$]*\[FZ-P014\]") as caught:
        getattr(plugin, hook)(**arguments)
    assert f"{hook}() returned " in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "built", "code", "shown"),
    [
        ("widths: list = [8]", "settings.widths.append(1) or nn.Linear(1, 1)", "FZ-P064", "was given: widths. Fix"),
        ("sizes: dict = {}", "settings.sizes.update(a=1) or nn.Linear(1, 1)", "FZ-P064", "was given: sizes. Fix"),
        ("width: int = 8", "nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2))", "FZ-P065", "yet: 1.weight, 1.bias. Fix"),
        ("width: int = 8", "nn.Sequential(nn.LazyBatchNorm1d())", "FZ-P065", "0.running_mean"),
    ],
)
def test_a_builder_that_leaves_a_model_that_cannot_be_built_again_is_an_error(
    install: Installer, fields: str, built: str, code: str, shown: str
) -> None:
    source = VALID.replace("width: int = 8", fields).replace(
        'make_module("model", spec, settings, text_encoder)', built
    )
    install("acme-bad", models=["bad"], source=source.replace("class Settings", "from torch import nn\nclass Settings"))
    plugin: Any = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(PluginContractError) as caught:
        plugin.build_model(None, plugin.settings_class(), None)
    assert caught.value.code == code
    assert shown in str(caught.value).replace("\n", " ")


def test_an_exception_in_a_hook_is_raised_unchanged_with_a_note_about_the_plugin(install: Installer) -> None:
    install("acme-bad", models=["bad"], source=VALID.replace('return make_module("model"', 'spec.missing, ("model"'))
    plugin: Any = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(AttributeError) as caught:
        plugin.build_model(None, plugin.settings_class(), None)
    note = "This happened in build_model() of acme-bad 1.0, which provides model_class 'bad'."
    assert caught.value.__notes__ == [note]


@pytest.mark.parametrize("status", ["2", "", "'bye'"])
def test_a_hook_that_ends_the_process_is_an_error_of_the_plugin(status: str, install: Installer) -> None:
    leave = f"raise SystemExit({status})"
    install("acme-bad", models=["bad"], source=VALID.replace('return make_module("model"', f'{leave}; ("model"'))
    plugin: Any = Registry.discover(MODELS_GROUP).load("bad")
    with pytest.raises(BrokenPluginError, match=r"(?s)acme-bad 1\.0 .*build_model\(\) raised SystemExit.*FZ-P017"):
        plugin.build_model(None, plugin.settings_class(), None)


def test_a_setting_error_of_a_plugin_is_raised_unchanged(install: Installer) -> None:
    refuse = "raise fusionzoo.errors.SettingError('width', 8, 'odd', 'give 7')"
    install("acme-good", models=["good"], source=VALID.replace('return make_module("model"', f'{refuse}; ("model"'))
    plugin: Any = Registry.discover(MODELS_GROUP).load("good")
    with pytest.raises(SettingError) as caught:
        plugin.build_model(None, plugin.settings_class(), None)
    assert str(caught.value) == "width = 8: odd.\nFix: give 7. [FZ-S001]"
    assert not hasattr(caught.value, "__notes__")
