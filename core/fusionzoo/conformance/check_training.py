"""Checks of a model's initialization and training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from fusionzoo.conformance.forward import (
    TOLERANCE,
    build_trained_briefly,
    compare_alone_and_in_batch,
    compute_cross_entropy,
    compute_logits,
    compute_loss,
    find_unread_parameters,
    fit_until,
    largest_difference,
    run_backward,
    trainable_parameters,
)
from fusionzoo.conformance.fresh_process import run_in_fresh_process
from fusionzoo.conformance.parameter_effects import drop_biases_that_cancel, find_effects
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows
from fusionzoo.nn.fitted_module import fit_module, list_fitted_modules, list_modules_with_unused_fit

ROWS, SMALL_DATASET_ROWS, MAX_BATCHES = 12, 16, 40
MAX_STEPS, TARGET_LOSS = 200, 0.1
LEARNING_RATES = (3e-3, 3e-2, 3e-4)  # one of them must work
GROUP_KEYS = frozenset({"params", "lr_scale", "weight_decay"})


def check_fitted_modules(subject: Subject) -> None:
    """Each module with a method `fit` is a `FittedModule`. `fit` gives its tensors finite values of the same shapes."""
    model = subject.build_unfitted().model
    if unused := list_modules_with_unused_fit(model):
        raise ConformanceError(
            f"{_some(unused)} has a method fit, but is no FittedModule, so fit is never called. Fix: inherit from "
            "fusionzoo.nn.fitted_module.FittedModule, or give the method another name"
        )
    train = subject.make_train(subject.spec)
    for name, module in list_fitted_modules(model).items():
        if unchanged := fit_module(name, module, train):
            raise ConformanceError(
                f"fit of {_some([each or 'the model' for each in unchanged])} changes no parameter or buffer. Fix: "
                "write what is fitted into tensors of make_fitted with copy_, and fit the fitted modules inside it"
            )


def check_gradients_reach_all_parameters(subject: Subject) -> None:
    """Every trainable parameter gets a nonzero gradient within a few training steps, and all gradients are finite.

    Its change changes the probabilities or a penalty: a gradient of rounding noise trains nothing. Except for
    parameters of the text encoder that affect only features that the model does not read, and biases that cancel.
    """
    built = subject.build_parts()
    model = built.model.train()
    unread = find_unread_parameters(built, make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=0)))
    names = {name for name, p in model.named_parameters() if p.requires_grad and id(p) not in unread}
    optimizer = torch.optim.Adam(trainable_parameters(model), lr=1e-3) if names else None
    reached, effects = set[str](), dict[str, bool]()
    for seed in range(MAX_BATCHES):
        model.zero_grad()
        batch = make_batch(subject.spec, make_rows(subject.spec, ROWS, seed))
        loss = compute_loss(model, batch)
        if optimizer is None:
            return
        run_backward(loss, model)
        reached |= _find_gradients(model) & names
        effects |= find_effects(model, batch, {name for name in reached if not effects.get(name)}, subject.has_classes)
        with_effect = {name for name, has_effect in effects.items() if has_effect}
        if reached == names and not drop_biases_that_cancel(names - with_effect, with_effect):
            return
        optimizer.step()  # a layer that starts from zero passes gradients on only after a step
    _report_untrained(
        sorted(names - reached), sorted(drop_biases_that_cancel(names - with_effect, with_effect)), effects
    )


def _find_gradients(model: nn.Module) -> set[str]:
    """Return the names of the parameters with a nonzero gradient.

    Raises:
        ConformanceError: a gradient is not finite.
    """
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if nonfinite := [name for name, grad in grads.items() if not bool(grad.isfinite().all())]:
        raise ConformanceError(
            f"the gradient of {_some(nonfinite)} is not finite. "
            "Fix: look for a square root or a norm of zero, or a division by zero"
        )
    return {name for name, grad in grads.items() if bool(grad.any())}


def _report_untrained(unreached: list[str], without_effect: list[str], effects: Mapping[str, bool]) -> NoReturn:
    """Raise an error that names the parameters that are never trained, or are trained for nothing."""
    if unreached:
        raise ConformanceError(
            f"no gradient reaches {_some(unreached)} in {MAX_BATCHES} batches, so it is "
            "never trained. Fix: remove unused layers, set requires_grad=False for frozen ones, and look for a "
            "detach() or a no_grad()"
        )
    if shifting := [name for name in without_effect if name in effects]:
        raise ConformanceError(
            f"a change of {_some(shifting)} only adds the same number to all logits of a row, which softmax ignores, "
            "so it never changes a probability. Its gradient is rounding noise. Fix: give the last layer "
            "spec.num_outputs outputs, not one that is broadcast"
        )
    raise ConformanceError(
        f"a change of {_some(without_effect)} changes no logit and no penalty in {MAX_BATCHES} batches, so its "
        "gradient is rounding noise. Fix: remove it, or look for a softmax or a norm that cancels it, such as a "
        "softmax over scores to which it adds the same number"
    )


def check_parameter_groups(subject: Subject) -> None:
    """The hook `parameter_groups`, if present, lists parameters of the model, each once, with the keys of core."""
    model = subject.build()
    groups = subject.model.parameter_groups(model, subject.settings)
    model_parameters = {id(parameter) for parameter in model.parameters()}
    seen: set[int] = set()
    for i, group in enumerate(groups):
        if "params" not in group or (unknown := sorted(set(group) - GROUP_KEYS)):
            problem = f"unknown keys {unknown}" if "params" in group else f"no key 'params', only {sorted(group)}"
            raise ConformanceError(f"parameter group {i} has {problem}. Fix: use only the keys {sorted(GROUP_KEYS)}")
        for parameter in group["params"]:
            if not isinstance(parameter, nn.Parameter) or id(parameter) not in model_parameters:
                raise ConformanceError(
                    f"parameter group {i} contains a {type(parameter).__name__} that is not a parameter of the model. "
                    "Fix: take parameters from model.parameters()"
                )
            if id(parameter) in seen:
                raise ConformanceError(
                    f"parameter group {i} contains a parameter twice, or one of an earlier group; the optimizer "
                    "rejects that. Fix: list each parameter once"
                )
            seen.add(id(parameter))


def check_overfits_small_dataset(subject: Subject) -> None:
    """The model can overfit 16 rows with random labels in 200 steps of Adam."""
    batch = make_batch(subject.spec, make_rows(subject.spec, SMALL_DATASET_ROWS, seed=6))
    loss_of, best = partial(compute_cross_entropy, batch=batch), float("inf")
    for rate in LEARNING_RATES:
        best = min(best, fit_until(subject.build(), batch, loss_of, TARGET_LOSS, rate, MAX_STEPS))
        if best < TARGET_LOSS:
            return
    raise ConformanceError(
        f"after {MAX_STEPS} steps of Adam, the loss on {SMALL_DATASET_ROWS} rows is still {best:.2f}, not below "
        f"{TARGET_LOSS}, so the model cannot learn. Fix: look for bounded logits, unused inputs and detached layers"
    )


def check_seed_determines_weights(subject: Subject) -> None:
    """The torch seed determines the initial weights, and building the model does not set the seed."""
    first, second = subject.build(seed=1).state_dict(), subject.build(seed=1).state_dict()
    expected = torch.rand(4)
    other_model = subject.build(seed=2)
    if torch.equal(expected, torch.rand(4)):
        raise ConformanceError(
            "building the model sets torch's seed, which core sets once per job. Fix: remove torch.manual_seed"
        )
    if changed := [name for name, value in first.items() if not _same(value, second[name])]:
        raise ConformanceError(
            f"two models built with the same seed differ in {_some(changed)}, so jobs are not reproducible. "
            "Fix: use torch's default random generator"
        )
    names = {name for name, _ in other_model.named_parameters()}
    if names and all(_same(first[name], value) for name, value in other_model.state_dict().items() if name in names):
        raise ConformanceError(
            "models built with different seeds have the same weights. Fix: use torch's default random generator"
        )


def _same(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    return first == second


def check_training_on_one_row(subject: Subject) -> None:
    """A training batch of one row gives a finite loss and gradients, and no layer normalizes over the batch.

    Without dropout, a row's logits in training are the same alone and in a batch.
    """
    model = build_trained_briefly(subject).train()
    layers = [
        (name, layer) for name, layer in model.named_modules() if isinstance(layer, _BatchNorm) and layer.training
    ]
    if layers:
        norms = [f"{name} ({type(layer).__name__})" for name, layer in layers]
        raise ConformanceError(
            f"{_some(norms)} normalizes over the rows of a batch, so in training a row's logits depend on other rows, "
            "and a batch of one row raises an error. Fix: use nn.LayerNorm"
        )
    model.zero_grad()
    loss = compute_loss(model, make_batch(subject.spec, make_rows(subject.spec, 1, seed=5)))
    if trainable_parameters(model):
        run_backward(loss, model)
    grads = [p.grad for p in trainable_parameters(model) if p.grad is not None]
    if not bool(loss.isfinite()) or not all(bool(grad.isfinite().all()) for grad in grads):
        raise ConformanceError(
            "in a training batch of one row, the loss or a gradient is not finite. Fix: look for a deviation over rows"
        )
    _check_no_statistics_of_the_batch(subject)


def _check_no_statistics_of_the_batch(subject: Subject) -> None:
    """Compare rows alone and in a batch in training mode; other randomness than dropout decides nothing."""
    model, rows = build_trained_briefly(subject), make_rows(subject.spec, ROWS, seed=2)
    if compare_alone_and_in_batch(model, subject.spec, rows):
        return  # the checks in evaluation mode report it
    _turn_off_dropout(model.train())
    batch, logits = make_batch(subject.spec, rows), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        logits.append(compute_logits(model, batch))
    if not largest_difference(*logits) and (difference := compare_alone_and_in_batch(model, subject.spec, rows)):
        raise ConformanceError(
            f"in training, without dropout, a row's logits alone and in a batch of {ROWS} differ by {difference:.2g} "
            f"(tolerance {TOLERANCE:.0e}), so the model learns from a statistic of the batch that scoring does not "
            "have. Fix: replace F.batch_norm, or a mean over the rows, by nn.LayerNorm, and do not read batch.row"
        )


def _turn_off_dropout(model: nn.Module) -> None:
    """Set every dropout probability of the modules to 0: that of dropout layers, and each float named after dropout."""
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def check_distributed_training(subject: Subject) -> None:
    """Two processes with different kinds of rows can train together: every batch uses every parameter."""
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder:
        run_in_fresh_process("train", subject, Path(folder), processes=2)


def _some(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
