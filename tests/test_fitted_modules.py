"""Modules that are fitted on train: which ones are, what core checks of them, and what other processes get."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusionzoo import errors
from fusionzoo.conformance.synthetic_rows import encode_rows, make_rows, make_spec
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.nn.fitted_module import (
    FittedModule,
    fit_module,
    list_fitted_modules,
    list_modules_with_unused_fit,
    make_fitted,
)
from fusionzoo.nn.schema import Batch
from fusionzoo.training.fitting import fit_modules

REFERENCE = Path(__file__).parents[1] / "docs/plugin-reference.md"
SPEC = make_spec({"table"})
TRAIN = encode_rows(SPEC, make_rows(SPEC, 30, seed=0))
TARGET = LabelMap("y", (0, 1))


class NumberMeans(FittedModule):
    """The means of the numbers, and a trained scale."""

    def __init__(self) -> None:
        super().__init__()
        self.means, self.scale = make_fitted(TRAIN.numbers.shape[1]), nn.Parameter(torch.ones(1))

    def fit(self, train: EncodedSplit) -> None:
        self.means.copy_(torch.from_numpy(np.nan_to_num(train.numbers).mean(axis=0)) + 1)


class Outer(FittedModule):
    def __init__(self, fits: bool = True) -> None:
        super().__init__()
        self.inner, self.fits, self.own = NumberMeans(), fits, make_fitted(1)

    def fit(self, train: EncodedSplit) -> None:
        self.own.fill_(1)
        if self.fits:
            self.inner.fit(train)


class Plain(nn.Module):
    """A module with a method `fit`, as of other libraries."""

    def fit(self, *arguments: Any) -> None:
        raise AssertionError("is not called")


class Resizing(NumberMeans):
    def fit(self, train: EncodedSplit) -> None:
        self.means = nn.Parameter(torch.ones(7), requires_grad=False)


class Adding(NumberMeans):
    def fit(self, train: EncodedSplit) -> None:
        super().fit(train)
        self.register_buffer("more", torch.ones(2))


class Dividing(NumberMeans):
    def fit(self, train: EncodedSplit) -> None:
        self.means.fill_(float("nan"))


class Returning(NumberMeans):
    def fit(self, train: EncodedSplit) -> Any:
        return torch.from_numpy(train.numbers.mean(axis=0))


def test_a_module_of_any_part_of_a_model_is_fitted_and_its_trained_weights_are_not_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), NumberMeans())
    assert fit_modules(model, TRAIN, TARGET) == {"1.means"}
    assert model[1].means.abs().sum() > 0
    assert fit_modules(nn.Linear(2, 2), TRAIN, TARGET) == frozenset()


def test_a_fitted_module_fits_the_ones_inside_it_itself() -> None:
    model = nn.ModuleDict({"one": nn.Sequential(nn.Linear(1, 1), Outer()), "two": NumberMeans()})
    assert list(list_fitted_modules(model)) == ["one.1", "two"]
    assert list(list_fitted_modules(Outer())) == [""]
    assert fit_module("one.1", Outer(), TRAIN) == []
    with pytest.raises(TypeError, match="abstract"):
        FittedModule()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Resizing(), r"fit\(\) of part \(Resizing\) has changed the names or shapes of means"),
        (Adding(), "names or shapes of more"),
        (Dividing(), r"fit\(\) of part \(Dividing\) has written NaN or infinity into means"),
    ],
)
def test_a_fit_that_no_saved_model_could_hold_is_an_error_before_the_training(
    module: FittedModule, message: str
) -> None:
    with pytest.raises(errors.FittedModuleError, match=message):
        fit_modules(nn.ModuleDict({"part": module}), TRAIN, TARGET)


@pytest.mark.parametrize(
    ("module", "unchanged"), [(Returning(), ["part"]), (Outer(fits=False), ["part.inner"]), (Outer(), [])]
)
def test_a_fit_that_stores_nothing_is_reported(module: FittedModule, unchanged: list[str], caplog: Any) -> None:
    fit_modules(nn.ModuleDict({"part": module}), TRAIN, TARGET)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [f"fit() of {name} has changed no parameter or buffer." for name in unchanged] == warnings


def test_a_method_fit_that_core_does_not_call_is_reported(caplog: Any) -> None:
    model = nn.ModuleDict({"plain": Plain(), "fitted": Outer()})
    model["fitted"].inner.helper = Plain()
    assert list_modules_with_unused_fit(model) == ["plain"]
    assert list_modules_with_unused_fit(Plain()) == ["the model"]
    fit_modules(model, TRAIN, TARGET)
    assert "plain has a method fit, which is not called" in caplog.text


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(40) % 3,
        np.where(np.arange(40) % 5 == 0, -1, np.arange(40) % 2),
        (np.arange(80).reshape(40, 2) % 3 == 0).astype(np.int8),
        np.where(np.arange(40)[:, None] % 7 == 0, np.nan, np.arange(40.0)[:, None]),
    ],
    ids=["classes", "missing classes", "labels", "missing numbers"],
)
def test_the_fitted_module_of_the_reference_is_fitted_on_labels_of_every_kind(labels: np.ndarray) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", REFERENCE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (source,) = [block for block in blocks if "class CategoryMeans" in block]
    names: dict[str, Any] = {"__name__": "category_means"}
    exec(compile(source, str(REFERENCE), "exec", dont_inherit=True), names)
    train = replace(encode_rows(SPEC, make_rows(SPEC, 40, seed=0)), labels=labels)
    module = names["CategoryMeans"](SPEC)
    assert fit_module("", module, train) == []
    features = module(Batch.from_arrays(train.batch(np.arange(40))))
    assert features.shape == (40, len(SPEC.categories))
    assert features.isfinite().all()
    assert features.std(dim=0).min() > 0
