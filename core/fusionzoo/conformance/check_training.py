"""Checks of how a model starts and learns."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from fusionzoo.conformance.forward import build_trained_briefly, compute_logits, compute_loss, trainable_parameters
from fusionzoo.conformance.fresh_process import run_in_fresh_process
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows

ROWS, SMALL_SET, BATCHES = 12, 16, 40
STEPS, FITTED, LOOK_EVERY = 200, 0.1, 5
WARM_UP = 10
RATES = (3e-3, 3e-2, 3e-4)  # whichever suits the architecture
GROUP_KEYS = frozenset({"params", "lr_scale", "weight_decay"})


def check_gradients_reach_all_parameters(subject: Subject) -> None:
    """Within a few training steps every trainable parameter gets a gradient other than zero; each is finite."""
    model = subject.build().train()
    waiting = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.Adam(trainable_parameters(model), lr=1e-3) if waiting else None
    for seed in range(BATCHES):
        model.zero_grad()
        loss = compute_loss(model, make_batch(subject.spec, make_rows(subject.spec, ROWS, seed)))
        if optimizer is None:
            return
        loss.backward()  # type: ignore[no-untyped-call]
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        if wild := [name for name, grad in grads.items() if not bool(grad.isfinite().all())]:
            raise ConformanceError(f"the gradient of {_some(wild)} is not finite: a square root or a norm of zero?")
        waiting -= {name for name, grad in grads.items() if bool(grad.any())}
        if not waiting:
            return
        optimizer.step()  # after a step, a layer that starts at zero lets gradients through, and a router turns
    raise ConformanceError(
        f"no gradient reaches {_some(sorted(waiting))} in {BATCHES} batches: leave out what is not used, keep what is "
        "frozen at requires_grad=False, and look for a detach() or a no_grad()"
    )


def check_parameter_groups(subject: Subject) -> None:
    """`parameter_groups`, where the plugin has it, names the model's parameters, each once, under core's keys."""
    model = subject.build()
    groups = subject.model.parameter_groups(model, subject.settings)
    own = {id(parameter) for parameter in model.parameters()}
    seen: set[int] = set()
    for i, group in enumerate(groups):
        if "params" not in group or (unknown := sorted(set(group) - GROUP_KEYS)):
            found = unknown if "params" in group else sorted(group)
            raise ConformanceError(f"group {i} has the keys {found}: core reads {sorted(GROUP_KEYS)}")
        for parameter in group["params"]:
            if not isinstance(parameter, nn.Parameter) or id(parameter) not in own:
                raise ConformanceError(
                    f"group {i} holds a {type(parameter).__name__} that is no parameter of the model"
                )
            if id(parameter) in seen:
                raise ConformanceError(f"a parameter of group {i} is in the groups twice: the optimiser refuses that")
            seen.add(id(parameter))


def check_callbacks(subject: Subject) -> None:
    """`callbacks`, where the plugin has it, returns Lightning callbacks."""
    found = subject.model.callbacks(subject.settings)
    if not found:
        return
    from lightning.pytorch import Callback

    if wrong := [type(callback).__name__ for callback in found if not isinstance(callback, Callback)]:
        raise ConformanceError(f"callbacks() returned {_some(wrong)}, not instances of lightning.pytorch.Callback")


def check_overfits_small_dataset(subject: Subject) -> None:
    """200 steps of Adam fit 16 rows whose labels are drawn at random."""
    best = float("inf")
    for rate in RATES:
        best = min(best, _fit(subject, rate))
        if best < FITTED:
            break
    else:
        raise ConformanceError(
            f"after {STEPS} steps of Adam the loss on {SMALL_SET} rows is still {best:.2f} (needed {FITTED}): "
            "are logits squashed, are inputs thrown away, or is a layer detached?"
        )


def _fit(subject: Subject, rate: float) -> float:
    """The lowest loss in evaluation mode; stops once it is low enough."""
    spec = subject.spec
    batch = make_batch(spec, make_rows(spec, SMALL_SET, seed=6))
    model, best = subject.build(), float("inf")
    parameters = trainable_parameters(model)
    if not parameters or batch.labels is None:
        return best
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for step in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, step / WARM_UP)
        optimizer.zero_grad()
        compute_loss(model.train(), batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % LOOK_EVERY == 0:
            best = min(best, float(F.cross_entropy(compute_logits(model.eval(), batch), batch.labels)))
            if best < FITTED:
                break
    return best


def check_seed_determines_weights(subject: Subject) -> None:
    """The torch seed decides the weights: the same, the same; another, others. Building leaves the seed alone."""
    one, again = subject.build(seed=1).state_dict(), subject.build(seed=1).state_dict()
    drawn = torch.rand(4)
    other_model = subject.build(seed=2)
    if torch.equal(drawn, torch.rand(4)):
        raise ConformanceError("building the model sets torch's seed: leave out manual_seed, core sets it once per job")
    if changed := [name for name, value in one.items() if not _same(value, again[name])]:
        raise ConformanceError(
            f"built twice with the same seed, {_some(changed)} differ: draw with torch's own default generator"
        )
    names = {name for name, _ in other_model.named_parameters()}
    if names and all(_same(one[name], value) for name, value in other_model.state_dict().items() if name in names):
        raise ConformanceError("built with another seed, all weights are the same: is there a generator of its own?")


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one == other


def check_bf16(subject: Subject) -> None:
    """Under bfloat16 autocast, logits and gradients stay finite."""
    model, batch = (
        build_trained_briefly(subject).train(),
        make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=7)),
    )
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = compute_loss(model, batch)
    if trainable_parameters(model):
        loss.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad for p in trainable_parameters(model) if p.grad is not None]
    if not bool(loss.isfinite()) or not all(bool(grad.isfinite().all()) for grad in grads):
        raise ConformanceError(
            "in bfloat16 the loss or a gradient is not finite: compute sums, norms and exponentials in float32, "
            "and mask with torch.finfo(x.dtype).min"
        )


def check_distributed_training(subject: Subject) -> None:
    """Two processes with different kinds of rows train together: each uses every parameter in every batch."""
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder:
        run_in_fresh_process("train", subject, Path(folder), processes=2)


def _some(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
