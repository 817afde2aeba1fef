"""The tasks that checks run in fresh processes."""

from __future__ import annotations

import os
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from fusionzoo.conformance.subject import Subject
    from fusionzoo.nn.schema import InputSpec

OTHER_SEED = 4321
RANK_ROWS = ("rows of every kind", "rows with one chunk, no missing or unknown values, and the same class")
PEER_TIMEOUT_SECONDS = 60
LIBRARIES_FILE = "libraries.json"
IMPORT_TASKS = ("list_libraries", "watch_import")  # the others build the model


def main(job: dict[str, Any]) -> NoReturn:
    """Run the task. If the plugin fails, write the failure to a file and exit with status 1.

    Exits without cleanup, because the destructor of DistributedDataParallel may block forever.
    """
    folder, rank, status = Path(job["folder"]), int(job["rank"]), 1
    try:
        alive = _run(job["task"], job["request"], folder, rank)  # noqa: F841 - must not be destroyed before the exit
        status = 0
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything
        unfinished = folder / f"writing-{rank}"
        unfinished.write_text(_describe(error, job["request"]), "utf-8")
        unfinished.rename(failure_file(folder, rank))
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # None: the process was started without it
                stream.flush()
        os._exit(status)


def failure_file(folder: Path, rank: int | str) -> Path:
    """Return the file in which the process with this rank describes its failure."""
    return folder / f"failure-{rank}.txt"


def _describe(error: BaseException, request: dict[str, Any]) -> str:
    from fusionzoo.conformance.results import ConformanceError, describe_exception
    from fusionzoo.registry import Registry

    if isinstance(error, ConformanceError):
        return str(error)
    module = Registry.discover(request["group"]).provider(request["name"]).entry_point.module
    return describe_exception(error, module)


def _run(task: str, request: dict[str, Any], folder: Path, rank: int) -> object:
    if task in IMPORT_TASKS:
        from fusionzoo.conformance import import_watch

        getattr(import_watch, task)(request["group"], request["name"], folder / LIBRARIES_FILE)
        return None
    from fusionzoo.conformance.subject import Subject
    from fusionzoo.conformance.subject_request import SubjectRequest

    subject = Subject(SubjectRequest(**request))
    if task == "train":
        return _train(subject, folder, rank)
    _score(subject, folder)
    return None


def _score(subject: Subject, folder: Path) -> None:
    """Without network access, load the saved weights into a model built with another seed, and score the batch."""
    import torch

    from fusionzoo.conformance.forward import compute_logits
    from fusionzoo.conformance.network_block import forbid_network
    from fusionzoo.conformance.results import ConformanceError
    from fusionzoo.nn.schema import Batch

    attempts: list[str] = []
    forbid_network(attempts.append)
    model = _load_as_from_a_folder(subject, torch.load(folder / "state.pt", weights_only=True))
    batch = Batch(**torch.load(folder / "batch.pt", weights_only=True))
    torch.save(compute_logits(model, batch), folder / "logits.pt")
    if attempts:
        raise ConformanceError(
            f"building or scoring the model {'; '.join(dict.fromkeys(attempts))}, but models are also loaded where "
            "there is no network. Fix: move this to `resolve`, which runs once per training"
        )


def _load_as_from_a_folder(subject: Subject, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a model with these weights. A model folder has no word vectors, so it is built without them."""
    from fusionzoo.conformance.results import ConformanceError
    from fusionzoo.errors import PluginContractError

    def load(spec: InputSpec) -> nn.Module:
        model = subject.build_unfitted(spec, seed=OTHER_SEED).model
        model.load_state_dict(weights)
        return model

    try:
        return load(subject.spec.without_vectors())
    except Exception as cause:
        load(subject.spec)  # raises its own error if word vectors are not the reason
        error = PluginContractError.needs_word_vectors(subject.plugin.claim, cause)
        raise ConformanceError(str(error)) from cause


def _train(subject: Subject, folder: Path, rank: int) -> object:
    """Train two steps together with the other process; return the model, which must stay alive until the exit."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from fusionzoo.conformance.forward import compute_loss, find_unread_parameters, run_backward
    from fusionzoo.conformance.results import ConformanceError
    from fusionzoo.conformance.synthetic_rows import make_batch, make_plain_rows, make_rows

    if loopback := [name for _, name in socket.if_nameindex() if name.startswith("lo")]:
        os.environ["GLOO_SOCKET_IFNAME"] = loopback[0]  # the host name may not resolve to an address
    store, timeout = f"file://{folder / 'store'}", timedelta(seconds=PEER_TIMEOUT_SECONDS)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=len(RANK_ROWS), timeout=timeout)
    built = subject.build_parts()
    unread = find_unread_parameters(built, make_batch(subject.spec, make_rows(subject.spec, 8, 9)))
    for parameter in built.model.train().parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) not in unread)
    model = DistributedDataParallel(built.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    make = (make_rows, make_plain_rows)[rank]
    for step in range(2):
        optimizer.zero_grad()
        loss = compute_loss(model, make_batch(subject.spec, make(subject.spec, 8, 10 + step)))
        run_backward(loss, model.module)
        if unused := [name for name, p in model.module.named_parameters() if p.requires_grad and p.grad is None]:
            raise ConformanceError(
                f"with {RANK_ROWS[rank]}, no gradient reaches {', '.join(unused[:5])}. In distributed training, "
                "another process would wait for it forever. Fix: use every parameter in every batch, for example with "
                "torch.where instead of `if batch.numbers_missing.any()`"
            )
        optimizer.step()
    distributed.barrier()
    return model
