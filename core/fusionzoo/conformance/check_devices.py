"""The check that a model works on a GPU, on a device that is simulated on the CPU."""

from __future__ import annotations

from fusionzoo.conformance.forward import build_trained_briefly, run_model
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.simulated_device import MixedDevicesError, simulate_device
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows
from fusionzoo.errors import add_note

ROWS = 12
ON_GPU = (
    "on a GPU, forward fails. Fix: create tensors with device=..., such as that of batch.row, and register constant "
    "tensors as buffers"
)
ONLY_SIMULATED = (
    "this happens with the model and its batch on a simulated device, not on the CPU. If it works on a GPU, "
    "name this check in expected_failed_checks"
)


def check_forward_on_a_device(subject: Subject) -> None:
    """Forward works on a GPU, which is simulated: no operation combines a tensor on it with one on the CPU."""
    model, batch = build_trained_briefly(subject), make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=6))
    for mode in (True, False):
        run_model(model.train(mode), batch)  # on the CPU: raises what has nothing to do with the device
    with simulate_device() as device:
        model.to(device)
        try:
            devices = {run_model(model.train(mode), batch.to(device))[0].device for mode in (True, False)}
        except MixedDevicesError as error:
            add_note(error, ON_GPU)
            raise
        except Exception as error:
            add_note(error, ONLY_SIMULATED)
            raise
    if devices != {device}:
        raise ConformanceError(
            "forward returns logits on the CPU for a batch on a GPU, which costs a copy, and the loss fails. "
            "Fix: remove .cpu() and create tensors with device=..., such as that of batch.row"
        )
