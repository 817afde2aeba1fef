"""Run, train briefly and compare models in a check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.architecture import BuiltModel
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import Row, make_batch, make_rows
from fusionzoo.errors import add_note
from fusionzoo.nn.schema import Batch, InputSpec, ModelOutput, TextFeatures

TOLERANCE = 1e-5  # absolute and relative, between the float32 logits of the same row
MIN_CHANGE = 2e-6  # relative to the logits, if these are above 1; a smaller change counts as rounding noise
BRIEF_STEPS = 3
BACKWARD_NOTES = {
    "backward through the graph a second time": (
        "forward uses a tensor that it computed for an earlier batch. Fix: store value.detach(), not value, and do not "
        "let logits depend on earlier batches"
    ),
    "does not require grad and does not have a grad_fn": (
        "the logits of forward have no gradient. Fix: remove torch.no_grad(), torch.inference_mode(), detach() and "
        "numpy from what computes them"
    ),
    "modified by an inplace operation": (
        "forward changes a tensor after another operation has used it. Fix: look for methods that end in _, such as "
        "clamp_, and for x[...] = ... and +=, and compute new tensors instead"
    ),
}
WARMUP_STEPS, EVALUATE_EVERY = 10, 5


def run_model(model: nn.Module, batch: Batch) -> tuple[Tensor, ModelOutput]:
    """Return the logits [rows, classes] and the complete output of a model.

    Raises:
        ConformanceError: forward returned neither a tensor nor a `ModelOutput`.
    """
    try:
        output: object = model(batch)
    except RuntimeError as error:
        _explain_dtype(error, model)
        raise
    if isinstance(output, Tensor):
        return output, ModelOutput(output)
    if isinstance(output, ModelOutput):
        return output.logits, output
    raise ConformanceError(
        f"forward returned {type(output).__name__}, not logits [rows, classes] or a ModelOutput. "
        "Fix: return one of these two"
    )


def _explain_dtype(error: RuntimeError, model: nn.Module) -> None:
    """Add the names of the model's float64 tensors to an error about a dtype, which torch calls double."""
    if "double" not in str(error).lower():
        return
    tensors = [*model.named_parameters(), *model.named_buffers()]
    if names := [name for name, tensor in tensors if tensor.dtype == torch.float64]:
        fix = "create it in float32, for example by torch.tensor(values, dtype=torch.float32)"
        add_note(error, f"{', '.join(names[:5])} of the model is float64, as arrays of numpy are. Fix: {fix}")


def compute_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Return the logits [rows, classes] float32, without gradients."""
    with torch.no_grad():
        return run_model(model, batch)[0].float()


def compute_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return the loss as core computes it: cross-entropy plus penalties."""
    logits, output = run_model(model, batch)
    loss = compute_cross_entropy(logits, batch)
    for penalty in output.penalties.values():
        loss = loss + penalty.float().mean()
    return loss


def compute_cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy [] of a batch with class indices as labels.

    Raises:
        ConformanceError: the logits do not have the shape [rows, classes].
    """
    if batch.labels is None:
        raise ValueError("a batch without labels has no loss")
    smallest = int(batch.labels.max()) + 1 if len(batch.labels) else 1
    if logits.ndim != 2 or logits.shape[0] != batch.rows or logits.shape[1] < smallest:
        raise ConformanceError(
            f"logits have shape {list(logits.shape)} for {batch.rows} rows with labels up to {smallest - 1}, but "
            "[rows, classes] was expected. Fix: size the last layer by spec.num_outputs, and pool chunks to rows"
        )
    return F.cross_entropy(logits.float(), batch.labels)


def run_backward(loss: Tensor, model: nn.Module) -> None:
    """Compute the gradients of a loss.

    Raises:
        ConformanceError: a gradient is sparse.
        RuntimeError: the gradients cannot be computed; with a note about the mistake in forward that mostly causes it.
    """
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        for text, note in BACKWARD_NOTES.items():
            if text in str(error):
                add_note(error, note)
        raise
    if names := [name for name, p in model.named_parameters() if p.grad is not None and p.grad.is_sparse]:
        raise ConformanceError(
            f"the gradient of {', '.join(names[:5])} is sparse, which core's optimizers reject. Fix: remove sparse=True"
        )


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters with requires_grad."""
    return [p for p in model.parameters() if p.requires_grad]


def find_unread_parameters(built: BuiltModel, batch: Batch) -> set[int]:
    """Return the ids of the text encoder's parameters that affect only features that the model does not read.

    A model may read the tokens, the pooled vectors, or both. Empty if it reads none of them.
    """
    encoder = built.text_encoder
    parameters = [] if encoder is None else trainable_parameters(encoder)
    if encoder is None or not parameters:
        return set()
    own = encoder(batch)
    tokens, pooled = own.tokens.detach().requires_grad_(), own.pooled.detach().requires_grad_()
    # copies: the model may change features in place, but not a tensor that has no operation before it
    features = TextFeatures(tokens.clone(), own.mask, own.chunk_row, pooled.clone())
    handle = encoder.register_forward_hook(lambda *_: features)
    try:
        loss = compute_loss(built.model, batch)
    finally:
        handle.remove()
    is_read = [grad is not None for grad in _compute_gradients(loss, [tokens, pooled])]
    reached = [
        {
            id(p)
            for p, grad in zip(parameters, _compute_gradients(feature.sum(), parameters), strict=True)
            if grad is not None
        }
        for feature in (own.tokens, own.pooled)
    ]
    if not any(is_read):
        return set()
    read = set[int]().union(*(ids for ids, flag in zip(reached, is_read, strict=True) if flag))
    return (reached[0] | reached[1]) - read


def _compute_gradients(output: Tensor, inputs: list[Any]) -> Sequence[Tensor | None]:
    """Return the gradient of each input, or None if the output does not depend on it."""
    if not output.requires_grad:
        return [None] * len(inputs)
    return torch.autograd.grad(output, inputs, retain_graph=True, allow_unused=True)


def build_trained_briefly(subject: Subject, spec: InputSpec | None = None) -> nn.Module:
    """Return the model in evaluation mode with the weights of a few training steps, which are run once.

    A layer that is initialized with zeros would hide the effect of the layers before it.
    """
    spec = spec or subject.spec
    if spec not in subject.trained_weights:
        state = train_briefly(subject, spec).state_dict()
        subject.trained_weights[spec] = {name: deepcopy(value) for name, value in state.items()}
    model = subject.build(spec)
    model.load_state_dict(subject.trained_weights[spec])
    return model.eval()


def train_briefly(subject: Subject, spec: InputSpec) -> nn.Module:
    """Return the model in evaluation mode after a few training steps, with all state that it keeps."""
    batches = [make_batch(spec, make_rows(spec, 12, seed=100 + step)) for step in range(BRIEF_STEPS)]
    return train_on(subject.build(spec), batches)


def train_on(model: nn.Module, batches: Sequence[Batch]) -> nn.Module:
    """Return the model in evaluation mode after one step of Adam on each batch."""
    model.train()
    if parameters := trainable_parameters(model):
        optimizer = torch.optim.Adam(parameters, lr=1e-2)
        for batch in batches:
            optimizer.zero_grad()
            run_backward(compute_loss(model, batch), model)
            optimizer.step()
    return model.eval()


def fit_until(
    model: nn.Module, batch: Batch, loss_of: Callable[[Tensor], Tensor], target: float, rate: float, max_steps: int
) -> float:
    """Train with Adam on one batch until its loss is below the target; return the minimum loss in evaluation mode.

    Args:
        loss_of: returns the loss [] of outputs [rows, outputs]; the penalties of the model are added for training.
    """
    best, parameters = float("inf"), trainable_parameters(model)
    if not parameters:
        return best
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for step in range(1, max_steps + 1):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, step / WARMUP_STEPS)
        optimizer.zero_grad()
        outputs, complete = run_model(model.train(), batch)
        loss = loss_of(outputs.float()) + sum(penalty.float().mean() for penalty in complete.penalties.values())
        run_backward(loss, model)
        optimizer.step()
        if step % EVALUATE_EVERY == 0:
            best = min(best, float(loss_of(compute_logits(model.eval(), batch))))
            if best < target:
                break
    return best


def compare_alone_and_in_batch(model: nn.Module, spec: InputSpec, rows: Sequence[Row]) -> float:
    """Return the `largest_difference` of the logits of rows alone and in one batch."""
    in_batch = compute_logits(model, make_batch(spec, rows))
    alone = torch.cat([compute_logits(model, make_batch(spec, [row])) for row in rows])
    return largest_difference(alone, in_batch)


def largest_difference(logits: Tensor, expected: Tensor) -> float:
    """Return the maximum absolute difference of two tensors of logits, or 0 if they agree within `TOLERANCE`.

    NaN differs from everything.
    """
    if logits.shape != expected.shape:
        raise ConformanceError(f"logits have shape {list(logits.shape)}, but {list(expected.shape)} was expected")
    if torch.allclose(logits, expected, rtol=TOLERANCE, atol=TOLERANCE):
        return 0.0
    return float((logits - expected).abs().max())


def measure_change(logits: Tensor, expected: Tensor, has_classes: bool) -> float:
    """Return the maximum difference of two tensors of logits, relative to the largest logit if that is above 1.

    Args:
        has_classes: whether softmax follows, which ignores what is added to the logits of all classes.
    """
    change = logits - expected
    if has_classes and change.shape[1] > 1:
        change = change - change.mean(dim=1, keepdim=True)
    scale = max(1.0, float(logits.abs().max()), float(expected.abs().max()))
    return float(change.abs().max()) / scale
