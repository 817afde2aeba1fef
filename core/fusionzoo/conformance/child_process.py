"""What the kit does in fresh processes."""

from __future__ import annotations

import os
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from fusionzoo.conformance.subject import Subject

OTHER_SEED = 4321
RANKS = ("rows of every kind", "rows of one chunk, without missing or unknown values, all of one class")
SECONDS_APART = 60  # that one of two processes waits for the other


def main(job: dict[str, Any]) -> NoReturn:
    """Do the task; where the plugin is at fault, write down how, and end with status 1.

    Ends without tearing anything down: the destructor of DistributedDataParallel may wait for ever.
    """
    folder, rank, status = Path(job["folder"]), int(job["rank"]), 1
    try:
        kept = _do(job["task"], job["request"], folder, rank)  # noqa: F841 - until the end
        status = 0
    except (Exception, SystemExit) as fault:  # noqa: BLE001 - a plugin may raise anything
        written = folder / f"writing-{rank}"
        written.write_text(_told(fault, job["request"]), "utf-8")
        written.rename(failure_file(folder, rank))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def failure_file(folder: Path, rank: int | str) -> Path:
    """Where a process, by its rank, writes what it found wrong."""
    return folder / f"failure-{rank}.txt"


def _told(fault: BaseException, request: dict[str, Any]) -> str:
    from fusionzoo.conformance.results import ConformanceError, describe_exception
    from fusionzoo.registry import Registry

    if isinstance(fault, ConformanceError):
        return str(fault)
    return describe_exception(fault, Registry.discover(request["group"]).provider(request["name"]).entry_point.module)


def _do(task: str, request: dict[str, Any], folder: Path, rank: int) -> object:
    if task == "import":
        from fusionzoo.conformance.import_watch import import_quietly

        import_quietly(request["group"], request["name"])
        return None
    from fusionzoo.conformance.subject import Subject, SubjectRequest

    subject = Subject(SubjectRequest(**request))
    if task == "train":
        return _train(subject, folder, rank)
    _score(subject, folder)
    return None


def _score(subject: Subject, folder: Path) -> None:
    """Without a network, load the weights into a model drawn from another seed, and score the batch."""
    import torch

    from fusionzoo.conformance.forward import compute_logits
    from fusionzoo.conformance.network_block import forbid_network
    from fusionzoo.conformance.results import ConformanceError
    from fusionzoo.nn.schema import Batch

    tried: list[str] = []
    forbid_network(tried.append)
    model = subject.build(seed=OTHER_SEED)
    model.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    batch = Batch(**torch.load(folder / "batch.pt", weights_only=True))
    torch.save(compute_logits(model, batch), folder / "logits.pt")
    if tried:
        raise ConformanceError(
            f"building or scoring {'; '.join(dict.fromkeys(tried))}: `resolve` may do that, once per training; models "
            "are loaded where there is no network"
        )


def _train(subject: Subject, folder: Path, rank: int) -> object:
    """Two steps of a training that two processes share; returns what must not be destroyed."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    from fusionzoo.conformance.forward import compute_loss
    from fusionzoo.conformance.results import ConformanceError
    from fusionzoo.conformance.synthetic_rows import make_batch, make_plain_rows, make_rows

    if loopback := [name for _, name in socket.if_nameindex() if name.startswith("lo")]:
        os.environ["GLOO_SOCKET_IFNAME"] = loopback[0]  # the host's own name need not have an address
    meeting, patience = f"file://{folder / 'meeting'}", timedelta(seconds=SECONDS_APART)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=len(RANKS), timeout=patience)
    model = DistributedDataParallel(subject.build().train())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    make = (make_rows, make_plain_rows)[rank]
    for step in range(2):
        optimizer.zero_grad()
        compute_loss(model, make_batch(subject.spec, make(subject.spec, 8, 10 + step))).backward()  # type: ignore[no-untyped-call]
        if unused := [name for name, p in model.module.named_parameters() if p.requires_grad and p.grad is None]:
            raise ConformanceError(
                f"with {RANKS[rank]}, no gradient reaches {', '.join(unused[:5])}: another process would wait for it "
                "forever. Use every parameter in every batch: torch.where, not `if batch.numbers_missing.any()`"
            )
        optimizer.step()
    distributed.barrier()
    return model
