"""A device simulated on the CPU: operations that combine its tensors with those of the CPU fail, as on a GPU.

The device is called `meta`, as torch knows no other name that works without hardware and a backend. Unlike real tensors
of `meta`, these have values, so models that branch on values or select rows by a mask run as usual. Autocast has no
effect on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

if TYPE_CHECKING:
    from typing_extensions import Self

SIMULATED_DEVICE = torch.device("meta")

_CPU = torch.device("cpu")
_ATEN = torch.ops.aten
_COPYING = frozenset({_ATEN.copy_, _ATEN._to_copy})
_INDEXING = frozenset({_ATEN.index, _ATEN.index_put, _ATEN.index_put_})  # of a tensor, a list of indices, values
_PACKING = _ATEN._pack_padded_sequence  # of a tensor and lengths
_FROM_PYTHON = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
_TO_PYTHON = (Tensor.tolist, Tensor.__format__, Tensor.__repr__)
_TO_NUMPY = (Tensor.numpy, Tensor.__array__)


class MixedDevicesError(RuntimeError):
    """A tensor is on the CPU that must be on the simulated device, or the other way around."""


class _DeviceTensor(Tensor):
    """A tensor of the simulated device, which has its values `on_cpu`."""

    on_cpu: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> Self:
        return Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=SIMULATED_DEVICE,
            requires_grad=values.requires_grad,
        )

    def __init__(self, values: Tensor) -> None:
        self.on_cpu = values

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with _Dispatch():  # type: ignore[no-untyped-call] # outside of `simulate_device`
            return operation(*args, **(kwargs or {}))


class _Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs each operation on the CPU, and checks where its tensors are."""

    def __torch_dispatch__(
        self, operation: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        is_on_device = any(isinstance(tensor, _DeviceTensor) for tensor in tensors)
        if is_on_device:
            _check_devices(operation.overloadpacket, args, tensors)
        target = kwargs.get("device")
        if target is not None:
            kwargs["device"] = _CPU
            is_result_on_device = torch.device(target) == SIMULATED_DEVICE
        else:
            is_result_on_device = is_on_device
        cpu_args, cpu_kwargs = tree_map_only(_DeviceTensor, lambda tensor: tensor.on_cpu, (args, kwargs))
        result = operation(*cpu_args, **cpu_kwargs)
        if not is_result_on_device:
            return result
        if operation.overloadpacket is _PACKING:  # batch sizes stay on the CPU
            return _DeviceTensor(result[0]), result[1]
        result = tree_map_only(Tensor, _DeviceTensor, result)
        if not is_on_device:
            return result
        return return_and_correct_aliasing(operation, args, kwargs, result)  # type: ignore[no-untyped-call]


def _check_devices(operation: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    """Raise MixedDevicesError if a GPU would reject the operation, of whose tensors one is on the device."""
    if operation is _PACKING and isinstance(args[1], _DeviceTensor):
        raise MixedDevicesError("the lengths of pack_padded_sequence are on the device of the model, not on the CPU")
    if operation in _COPYING or operation is _PACKING:
        return
    for tensor in [args[0], *args[2:3]] if operation in _INDEXING else tensors:  # indices may be on the CPU
        if isinstance(tensor, Tensor) and not isinstance(tensor, _DeviceTensor) and tensor.ndim:  # and so may numbers
            raise MixedDevicesError(
                f"{operation.__name__} combines a tensor {list(tensor.shape)} on the CPU with one on the model's device"
            )


class _PythonValues(TorchFunctionMode):
    """Conversions from and to Python's values and arrays, in which torch knows only real devices."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in _TO_PYTHON:
            return function(args[0].cpu(), *args[1:], **kwargs)
        if function in _TO_NUMPY and isinstance(args[0], _DeviceTensor):
            raise MixedDevicesError("numpy reads a tensor on the model's device, for which it needs tensor.cpu()")
        if function not in _FROM_PYTHON:
            return function(*args, **kwargs)
        device = kwargs.pop("device", None)
        if function is Tensor.new_tensor:
            device = args[0].device if device is None else device
            kwargs.setdefault("dtype", args[0].dtype)
            function, args = torch.tensor, args[1:]
        result = function(*args, **kwargs)
        return result if device is None else result.to(device)


@contextmanager
def simulate_device() -> Iterator[torch.device]:
    """Yield the simulated device, onto which modules and batches can be moved within the block.

    Raises:
        MixedDevicesError: in the block, an operation combined a tensor of the device with a tensor of the CPU that has
            at least one dimension, other than to copy it or as indices; or numpy read a tensor of the device.
    """
    with _replace_methods(), _PythonValues(), _Dispatch():  # type: ignore[no-untyped-call]
        yield SIMULATED_DEVICE


@contextmanager
def _replace_methods() -> Iterator[None]:
    """Replace what torch allows for real devices only: autocast, and `inference_mode` by a mode without gradients."""
    init_autocast = torch.autocast.__init__

    def init_autocast_of_cpu(self: torch.autocast, device_type: str, *args: Any, **kwargs: Any) -> None:
        init_autocast(self, "cpu" if device_type == SIMULATED_DEVICE.type else device_type, *args, **kwargs)

    def enter(self: Any) -> None:
        self.gradients = torch.set_grad_enabled(torch.is_grad_enabled() and not self.mode)

    def leave(self: Any, *error: Any) -> None:
        self.gradients.__exit__(*error)

    with (
        mock.patch.object(torch.autocast, "__init__", init_autocast_of_cpu),
        mock.patch.multiple(torch.inference_mode, __enter__=enter, __exit__=leave),
    ):
        yield
