"""The plugin tutorial and reference match the code: files, signatures, names, commands and messages."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tomli
import torch
import typer.main

from conftest import Installer
from fusionzoo import conformance, errors, hookspecs
from fusionzoo.cli.commands import app
from fusionzoo.conformance import checks
from fusionzoo.nn import schema
from fusionzoo.nn.schema import Batch, CategoryField, InputSpec, NumberField, TextSpec
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from fusionzoo.registry.plugin import HOOKS
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings
from parsing_helpers import parse_with_classes

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/write-a-plugin.md"
FILM = ROOT / "docs/film"
REFERENCE = ROOT / "docs/plugin-reference.md"
TEXT = PAGE.read_text("utf-8") + "\n" + REFERENCE.read_text("utf-8")
REQUIRED = tomli.loads((FILM / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
WORDS = " ".join(TEXT.split())
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [body for found, body in FENCE.findall(TEXT) if found == language]


def section(title: str) -> str:
    return re.split(r"^## ", TEXT.partition(f"## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


# --- files


def test_each_block_that_names_a_file_of_the_example_is_that_file() -> None:
    named = dict(NAMED.findall(TEXT))
    shown = {name for name in named if (FILM / name).exists()}
    files = {str(path.relative_to(FILM)) for path in FILM.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert shown == files
    for name in shown:
        assert named[name] == (FILM / name).read_text("utf-8"), f"docs/film/{name} and the page differ"


def test_links_lead_to_existing_files_and_headings() -> None:
    links = [link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT)]
    assert len(links) >= 2
    for file, _, anchor in links:
        assert (PAGE.parent / file).exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (PAGE.parent / file).read_text("utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_every_import_on_the_page_works() -> None:
    imports = [
        (node.module, alias.name)
        for source in blocks("python")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fusionzoo")
        for alias in node.names
    ]
    assert len(imports) > 20
    for module, name in imports:
        assert hasattr(importlib.import_module(str(module)), name), f"{module}.{name}"


# --- the contract


@pytest.mark.parametrize("hook", list(HOOKS))
def test_every_hook_is_on_the_page_with_its_signature(hook: str) -> None:
    live = getattr(hookspecs, hook)
    arguments = [f"{p.name}: {p.annotation}" for p in inspect.signature(live).parameters.values()]
    signature = f"def {hook}({', '.join(arguments)}) -> {inspect.signature(live).return_annotation}: ..."
    assert f"{signature} ``` {' '.join(str(inspect.getdoc(live)).split())} " in WORDS


def test_every_hook_on_the_page_exists() -> None:
    shown = re.findall(r"^def (\w+)\(.*: \.\.\.$", TEXT, re.MULTILINE)
    assert sorted(shown) == sorted(HOOKS)


@pytest.mark.parametrize(
    "name", ["InputSpec", "TextSpec", "CategoryField", "NumberField", *"Batch TextFeatures ModelOutput".split()]
)
def test_the_data_contract_is_on_the_page_field_by_field(name: str) -> None:
    (shown,) = [s for source in blocks("python") for s in source.split("\n\n\n") if f"\nclass {name}:\n" in s]
    lines = [line.strip() for line in shown.rstrip().partition(f"class {name}:\n")[2].splitlines()]
    live = [line.strip() for line in inspect.getsource(getattr(schema, name)).splitlines()]
    assert [line.partition(":")[0] for line in lines] == [f.name for f in fields(getattr(schema, name))]
    assert [line for line in lines if line not in live] == []


def test_every_attribute_of_a_settings_class_is_on_the_page() -> None:
    own = {name for name in vars(ModelSettings) if not name.startswith("_") and name != "model_config"}
    own = {name for name in own if not name.startswith("model_")}
    rows = re.findall(r"^\| `(\w+)(?:\(\w*\))?` \|", section("Settings"), re.MULTILINE)
    assert sorted(rows) == sorted(own)


def test_the_fields_of_a_base_class_are_on_the_page() -> None:
    said = section("Settings")
    for kind in (TextSettings, FusionSettings):
        assert f"`{kind.__name__}`" in said
        assert all(f"`{field}`" in said for field in kind.model_fields)
    brought = re.findall(r"`(\w+)`", said.partition("brings ")[2].partition(")")[0])
    assert sorted(brought) == sorted(FusionSettings.model_fields)
    assert set(brought[: len(TextSettings.model_fields)]) == set(
        TextSettings.model_fields
    )  # "the first three of these"


def test_the_building_blocks_are_in_the_modules_on_the_page() -> None:
    rows = re.findall(r"^\| `(fusionzoo\.nn\.\w+)` \| (.+) \|$", section("Building blocks"), re.MULTILINE)
    shown = [(module, name) for module, said in rows for name in re.findall(r"`(\w+)`", said)]
    assert len(shown) > 10
    for module, name in shown:
        assert getattr(importlib.import_module(module), name).__module__ == module


# --- the checks

CHECK_TABLES = {
    "PLUGIN_CHECKS": "every plugin",
    "ENCODER_CHECKS": "text encoders",
    "MODEL_CHECKS": "architectures",
    "TASK_CHECKS": "architectures, once for each kind of job",
}


@pytest.mark.parametrize("kind", list(CHECK_TABLES))
def test_every_check_of_the_kit_is_on_the_page_with_its_contract(kind: str) -> None:
    table = section("Conformance checks").partition(f"\n| {CHECK_TABLES[kind]} | contract |\n")[2].partition("\n\n")[0]
    shown = dict(re.findall(r"^\| `(check_\w+)` \| (.+) \|$", table, re.MULTILINE))
    assert shown == {check.__name__: " ".join(str(inspect.getdoc(check)).split()) for check in vars(checks)[kind]}


def test_every_check_on_the_page_exists() -> None:
    live = {check for kind in CHECK_TABLES for check in vars(checks)[kind]}
    named = set(re.findall(r"\bcheck_\w+", TEXT)) - {"check_plugin"}
    assert named == {check.__name__ for check in live}


@pytest.mark.usefixtures("forked_checks")
def test_the_example_passes_every_check(install: Installer) -> None:
    install_film(install)
    assert [result for result in conformance.check_plugin("multimodal_film") if not result.ok] == []


@pytest.mark.usefixtures("forked_checks")
def test_the_text_encoder_on_the_page_passes_every_check(install: Installer) -> None:
    install_word_set(install)
    assert [result for result in conformance.check_plugin("word_set") if not result.ok] == []


# --- commands and settings files


def test_every_fusionzoo_command_on_the_page_exists_with_its_options() -> None:
    inline = [code for code in re.findall(r"`(fusionzoo [^`]+)`", WORDS) if re.match(r"fusionzoo [a-z]", code)]
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("fusionzoo ")]
    commands = vars(typer.main.get_command(app))["commands"]
    assert len({*inline, *lines}) >= 6
    for line in {*inline, *lines}:
        _, command, *arguments = shlex.split(line)
        assert command in commands, line
        known = {option for parameter in commands[command].params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= known, line


def test_the_settings_file_on_the_page_is_accepted(install: Installer) -> None:
    (shown,) = blocks("json")
    install_film(install)
    film = Registry.discover(MODELS_GROUP, [str(install.folder)]).load("multimodal_film")
    parsed = parse_with_classes(json.loads(shown), film.settings_class)
    assert parsed.model.model_dump()["num_layers"] == 2
    assert parsed.warnings == ()


# --- code on the page runs


def install_word_set(install: Installer) -> None:
    (source,) = [body for name, body in NAMED.findall(TEXT) if name == "fusionzoo_word_set.py"]
    (points,) = [tomli.loads(body)["project"] for body in blocks("toml") if "word_set" in body]
    points = points["entry-points"]
    install(
        "fusionzoo-word-set",
        source=source,
        models=points[MODELS_GROUP],
        text_encoders=points[TEXT_ENCODERS_GROUP],
        requires=REQUIRED,
    )


def test_the_settings_on_the_page_behave_as_described(install: Installer) -> None:
    first, second = [body for body in blocks("python") if "class TableOnly" in body or "class Pair" in body]
    install("page-settings", source=f"{first}\n\n{second}")
    made = importlib.import_module("page_settings")
    given = {"model_class": "x", "id_name": "id", "label_name": "y", "num_classes": 2}

    def accept(kind: type[ModelSettings], **columns: Any) -> None:
        parse_with_classes({**given, **columns}, kind)

    def refusal(kind: type[ModelSettings], **columns: Any) -> str:
        with pytest.raises(errors.HyperparametersError) as refused:
            accept(kind, **columns)
        return str(refused.value)

    assert "table" in refusal(made.TableOnlySettings, text_name="t")
    assert "text" in refusal(made.OptionalTableSettings, cat_field_list=["c"])
    accept(made.OptionalTableSettings, text_name="t")
    assert "no pair of numbers" in refusal(made.PairSettings, text_name="t", tab_field_list=["n"])
    accept(made.PairSettings, text_name="t", tab_field_list=["n", "m"])


SPEC = InputSpec(
    text=TextSpec(30, 0, 8, 4, "word"),
    categories=(CategoryField("a", 5),),
    numbers=(NumberField("n", 0.0, 1.0, (-1.0, 0.0, 1.0)),),
    num_outputs=3,
)


def batch(padding: int = 0) -> Batch:
    """Three rows of one, two and one chunks; `padding` more columns, which hold other ids."""
    lengths = torch.tensor([5, 8, 2, 1])
    width = 8 + padding
    mask = torch.arange(width) < lengths[:, None]
    ids = torch.arange(1, 9).repeat(4, 1) + torch.arange(4)[:, None]
    tokens = torch.cat([ids, torch.full((4, padding), 29)], dim=1) if padding else ids * mask
    return Batch(
        tokens=tokens,
        token_mask=mask,
        chunk_row=torch.tensor([0, 1, 1, 2]),
        categories=torch.tensor([[0], [1], [4]]),
        numbers=torch.tensor([[0.5], [-1.0], [0.0]]),
        numbers_missing=torch.tensor([[False], [False], [True]]),
        labels=None,
        row=torch.arange(3),
    )


def test_the_text_encoder_on_the_page_works_with_its_two_models(install: Installer) -> None:
    install_word_set(install)
    encoder = Registry.discover(TEXT_ENCODERS_GROUP, [str(install.folder)]).load("word_set")
    for name, models in Registry.discover(MODELS_GROUP, [str(install.folder)]).items():
        assert [model.distribution for model in models] == ["fusionzoo-word-set"]
        plugin = Registry.discover(MODELS_GROUP, [str(install.folder)]).load(name)
        assert plugin.settings_class().model_dump()["text_encoder"] == "word_set"
        text_encoder = encoder.build_text_encoder(SPEC, encoder.settings_class())
        model = plugin.build_model(SPEC, plugin.settings_class(), text_encoder).eval()
        with torch.no_grad():
            logits, padded = model(batch()), model(batch(padding=3))
        assert logits.shape == (3, 3)
        torch.testing.assert_close(logits, padded, atol=1e-5, rtol=0)


# --- messages


def install_film(install: Installer, **changes: Any) -> None:
    film = {"source": (FILM / "fusionzoo_film.py").read_text("utf-8"), "requires": REQUIRED}
    install("fusionzoo-film", "0.1.0", models={"multimodal_film": "fusionzoo_film:plugin"}, **{**film, **changes})


def film_with(old: str, new: str) -> dict[str, str]:
    source = (FILM / "fusionzoo_film.py").read_text("utf-8")
    assert old in source
    return {"source": source.replace(old, new)}


PLUGIN = "plugin = Fusion(FilmSettings, Film)"


def plugin_with_hook(signature: str) -> str:
    """The plugin object with one more method."""
    lines = ["from fusionzoo import hookimpl", "class FilmPlugin(Fusion):", f"    {signature}: return []"]
    return "\n".join([*lines, "plugin = FilmPlugin(FilmSettings, Film)"])


FAULTS: Mapping[str, Mapping[str, Any]] = {
    "was built for": {"requires": ["fusionzoo>=0.2,<0.3"]},
    "Importing": film_with("from torch import", "import einops_of_old\nfrom torch import"),
    "without the decorator": film_with(PLUGIN, plugin_with_hook("def callbacks(self, settings)")),
    "has parameters": film_with(PLUGIN, plugin_with_hook("@hookimpl\n    def callbacks(self, trainer)")),
    "belong to fusionzoo": film_with("num_layers: int = Field(1, ge=1, le=16", "lr: float = Field(0.1, gt=0, le=1"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_the_messages_on_the_page_are_what_a_user_sees(fault: str, install: Installer) -> None:
    install_film(install, **FAULTS[fault])
    assert str(_refusal(install, "multimodal_film")) == _shown(fault)


def test_the_message_of_a_misspelled_name_is_on_the_page(install: Installer) -> None:
    install_film(install)
    assert str(_refusal(install, "multimodal_flim")) == _shown("No installed plugin")


def test_the_message_of_a_clash_is_on_the_page(install: Installer) -> None:
    install_film(install)
    install("acme-fusions", "2.1.0", models=["multimodal_film"])
    assert str(_refusal(install, "multimodal_film")) == _shown("installed distributions")


def test_the_note_on_a_failing_hook_is_on_the_page(install: Installer) -> None:
    install_film(install, **film_with("FilmSettings, Film)", "FilmSettings, lambda *_: int('no module'))"))
    plugin = Registry.discover(MODELS_GROUP, [str(install.folder)]).load("multimodal_film")
    with pytest.raises(ValueError) as raised:
        plugin.build_model(SPEC, plugin.settings_class(), None)
    assert raised.value.__notes__ == [_shown("This happened in").splitlines()[-1]]


def test_every_message_on_the_page_has_a_test() -> None:
    shown = FENCE.findall(section("Error messages about plugins"))
    assert len(shown) == len(FAULTS) + 3


def _refusal(install: Installer, name: str) -> errors.ZooError:
    with pytest.raises(errors.ZooError) as refused:
        _ = Registry.discover(MODELS_GROUP, [str(install.folder)]).load(name).settings_class
    return refused.value


def _shown(part: str) -> str:
    (found,) = [block.rstrip("\n") for block in blocks("text") if part in block]
    return found
