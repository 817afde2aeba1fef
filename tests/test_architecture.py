"""Choosing an architecture: names, plugins, settings, in this order and each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fusionzoo import architecture
from fusionzoo.architecture import choose_architecture
from fusionzoo.artifacts import model_folder
from fusionzoo.errors import UnknownModelError
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from shop import JobFolder

REQUIRED = {
    "model_class": "multimodal_moe",
    "text_encoder": "cnn",
    "id_name": "id",
    "text_name": "text",
    "label_name": "target",
    "num_classes": 2,
    "tab_field_list": ["feature"],
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls that parse settings, and those of `resolve` by the class of settings."""
    counter: Counter[str] = Counter()

    def count(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            counter[name] += 1
            return function(*arguments, **keywords)

        return counted

    monkeypatch.setattr(architecture, "parse_hyperparameters", count("parse", architecture.parse_hyperparameters))
    for group, name in ((MODELS_GROUP, "multimodal_moe"), (TEXT_ENCODERS_GROUP, "cnn")):
        settings_class = Registry.discover(group).load(name).settings_class
        monkeypatch.setattr(settings_class, "resolve", count(f"resolve {name}", settings_class.resolve))
    return counter


def test_a_job_resolves_its_settings_once_and_loading_its_model_folder_resolves_nothing(
    job: JobFolder, calls: Counter[str]
) -> None:
    job.fill(model_class="multimodal_moe", text_encoder="cnn", max_epochs=1)
    assert job.run() == 0
    # The second time, the job reads its model folder back before it puts the files in place.
    assert calls == {"parse": 2, "resolve multimodal_moe": 1, "resolve cnn": 1}
    calls.clear()
    model_folder.load_model(job.model)
    assert calls == {"parse": 1}


def test_choosing_an_architecture_parses_and_resolves_once(calls: Counter[str]) -> None:
    chosen = choose_architecture(REQUIRED)
    assert (chosen.model.name, chosen.job.tokenizer) == ("multimodal_moe", "word")
    assert calls == {"parse": 1, "resolve multimodal_moe": 1, "resolve cnn": 1}


@pytest.mark.parametrize("changes", [{"model_class": "unheard_of"}, {"text_encoder": "unheard_of"}])
def test_errors_of_the_registry_are_raised_unchanged(changes: dict[str, Any]) -> None:
    with pytest.raises(UnknownModelError, match="unheard_of"):
        choose_architecture({**REQUIRED, **changes})
