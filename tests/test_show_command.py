"""`fusionzoo show`: the settings of a plugin in plain words and as JSON."""

from __future__ import annotations

import json
import re

import pytest

from cli_helpers import invoke, make_plugin_source
from conftest import Installer
from fusionzoo.settings import ALL_TASKS, JobSettings


def parse_table(output: str) -> dict[str, list[str]]:
    """Return the other cells of each line of an aligned table by its first cell."""
    cells = [re.split(r"  +", line.strip()) for line in output.splitlines()]
    return {row[0]: row[1:] for row in cells if len(row) > 1}


def test_show_describes_each_setting_in_plain_words(install: Installer) -> None:
    install(
        "acme-film",
        "2.0",
        models=["film"],
        source=make_plugin_source(
            prologue="class Mode(str, enum.Enum):\n    fast = 'fast'\n    slow = 'slow'",
            attribute='paper = "Perez et al. 2018"',
            depth='int = Field(2, ge=1, le=16, description="Layers.")',
            widths='list[int] = Field(default_factory=lambda: [8, 8], min_length=1, description="Widths.")',
            mode='Mode = Field(Mode.fast, description="How.")',
            limit='float = Field(0.5, gt=0, description="At most.")',
            name='str = Field(min_length=1, description="No default.")',
        ),
    )
    done = invoke("show", "film")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "model_class film (acme-film 2.0)"
    assert parse_table(done.stdout) == {
        "paper": ["Perez et al. 2018"],
        "needs": ["text and table"],
        "reads": ["text and table"],
        "tasks": [", ".join(sorted(ALL_TASKS))],
        "setting": ["default", "allowed values", "meaning"],
        "depth": ["2", "an integer from 1 to 16", "Layers."],
        "widths": ["[8, 8]", "a non-empty list of integers, like [1, 2]", "Widths."],
        "mode": ['"fast"', 'one of "fast", "slow"', "How."],
        "limit": ["0.5", "a number above 0", "At most."],
        "name": ["required", "a non-empty string", "No default."],
    }


NESTED = """
class Gate(BaseModel, extra="forbid"):
    kind: Literal["sum", "max"] = Field("sum", description="How.")
    rate: float = Field(0.5, ge=0, le=1)

class Table(BaseModel, extra="forbid"):
    depth: int = Field(ge=1, description="Layers.")
    gate: Gate = Field(Gate(), description="Gate.")
"""


def test_show_lists_the_keys_of_nested_settings(install: Installer) -> None:
    fields = {
        "table": 'Table = Field(Table(depth=2), description="A table.")',
        "gates": 'list[Gate] = Field([], description="Gates.")',
        "named": 'dict[str, Gate] = Field({}, description="By name.")',
        "maybe": 'Gate | None = Field(None, description="One or none.")',
        "sizes": 'dict[str, int] = Field({}, description="Sizes.")',
    }
    install("acme-film", models=["film"], source=make_plugin_source(prologue=NESTED, **fields))
    done = invoke("show", "film")
    table = parse_table(done.stdout)
    shown = {name: cells for name, cells in table.items() if name.partition(".")[0] in fields}
    gate = {"kind": ['"sum"', 'one of "sum", "max"', "How."], "rate": ["0.5", "a number from 0 to 1"]}
    like, keys = '{"kind": "sum"}', "with the keys kind, rate"
    assert shown == {
        "table": [
            '{"depth": 2, "gate": {"kind": "sum", "rate": 0.5}}',
            'an object with the keys depth, gate, like {"depth": 1}',
            "A table.",
        ],
        "table.depth": ["required", "an integer of at least 1", "Layers."],
        "table.gate": ['{"kind": "sum", "rate": 0.5}', f"an object {keys}, like {like}", "Gate."],
        **{f"table.gate.{key}": cells for key, cells in gate.items()},
        "gates": ["[]", f"a list of objects {keys}, like [{like}]", "Gates."],
        **{f"gates.0.{key}": cells for key, cells in gate.items()},
        "named": ["{}", f'an object of objects {keys}, like {{"name": {like}}}', "By name."],
        **{f"named.name.{key}": cells for key, cells in gate.items()},
        "maybe": ["null", f"an object {keys}, like {like} or null", "One or none."],
        **{f"maybe.{key}": cells for key, cells in gate.items()},
        "sizes": ["{}", 'an object of integers, like {"name": 1}', "Sizes."],
    }


def test_show_of_settings_that_contain_themselves_ends(install: Installer) -> None:
    tree = 'class Tree(BaseModel, extra="forbid"):\n    size: int = 1\n    parts: list["Tree"] = []'
    field = 'Tree = Field(Tree(), description="A tree.")'
    install("acme-film", models=["film"], source=make_plugin_source(prologue=tree, tree=field))
    table = parse_table(invoke("show", "film").stdout)
    assert table["tree.size"] == ["1", "an integer"]
    assert "tree.parts" in table


def test_show_as_json_prints_the_schema_and_the_attributes_of_the_class(install: Installer) -> None:
    printing = make_plugin_source(
        "TextSettings", prologue="print('noise')", depth='int = Field(2, ge=1, description="Layers.")'
    )
    install("acme-film", models=["film"], source=printing)
    done = invoke("show", "film", "--json")
    (film,) = json.loads(done.stdout)
    assert film["settings"]["properties"]["depth"] == {
        "default": 2,
        "description": "Layers.",
        "minimum": 1,
        "title": "Depth",
        "type": "integer",
    }
    del film["settings"]
    assert film == {
        "kind": "model_class",
        "name": "film",
        "distribution": "acme-film",
        "version": "1.0",
        "paper": None,
        "needs": ["text"],
        "reads": ["text"],
        "tasks": sorted(ALL_TASKS),
        "metrics": [],
    }


def test_show_of_a_name_of_both_kinds_shows_each_once() -> None:
    shown = json.loads(invoke("show", "cnn", "--json").stdout)
    assert [(entry["kind"], entry["name"]) for entry in shown] == [("model_class", "cnn"), ("text_encoder", "cnn")]


def test_show_of_a_model_with_one_encoder_also_shows_the_settings_of_the_encoder() -> None:
    tied, free = invoke("show", "multimodal_cnn").stdout, invoke("show", "multimodal_gate_fusion").stdout
    assert "text_encoder cnn (fusionzoo-cnn" in tied
    assert "kernel_size" in parse_table(tied)
    assert "any installed one: bert, cnn, lstm" in free
    assert "text_encoder cnn" not in free


def test_show_core_lists_the_settings_of_every_job_and_show_of_a_plugin_omits_them() -> None:
    done = invoke("show", "core", "--json")
    (core,) = json.loads(done.stdout)
    assert set(core["settings"]["properties"]) == set(JobSettings.model_fields)
    assert parse_table(invoke("show", "core").stdout)["batch_size"][1] == "an integer from 1 to 65536"
    assert "batch_size" not in invoke("show", "cnn").stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('boom')", "failed: RuntimeError: boom"),
        (make_plugin_source(attribute='needs = "text"'), "`needs` of its settings is 'text'"),
        (make_plugin_source(thing="Callable[[int], int] = abs"), "its settings have no JSON schema"),
        (make_plugin_source().replace("return Settings", "raise KeyError('gone')"), "settings_class() raised KeyError"),
        (make_plugin_source().replace("return Settings", "raise SystemExit"), "settings_class() raised SystemExit"),
    ],
)
def test_show_of_a_broken_plugin_is_an_error_without_a_stack_trace(
    install: Installer, source: str, message: str
) -> None:
    install("acme-film", models=["film"], source=source)
    done = invoke("show", "film")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "model_class 'film' from acme-film 1.0" in done.stderr.partition("\n")[0]
    assert message in done.stderr
    assert "Fix: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["show", "check"])
def test_an_unknown_name_is_an_error_with_a_suggestion(command: str) -> None:
    done = invoke(command, "multimodal_cn")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: No installed plugin provides model_class 'multimodal_cn'. Did you mean")


@pytest.mark.parametrize("arguments", [("show",), ("check",), ("new",), ("show", "cnn", "--nope"), ("nope",)])
def test_a_wrong_command_line_exits_with_status_2(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2
