"""The limits of a server in a batch transform job, whose only client is SageMaker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from fusionzoo.server.server_limits import ServerLimits

BATCH_VARIABLE = "SAGEMAKER_BATCH"  # SageMaker sets it to "true" in the container of a batch transform job
TRANSFORM_LIMITS: Mapping[str, Any] = {
    "max_body_bytes": 100 * 2**20,  # the largest MaxPayloadInMB
    "max_rows": 10_000_000,  # MultiRecord fills a payload, however short its lines are
    "queue_seconds": 600.0,  # how long SageMaker waits for a response by default; a job fails at a status 503
}


def fit_transform_job(limits: ServerLimits, given: Collection[str], environ: Mapping[str, str]) -> ServerLimits:
    """Return the limits that a batch transform job needs, or `limits` outside of one.

    The arguments of the job decide how large a request is, and a request that is refused fails the whole job.

    Args:
        limits: those of the options and their defaults.
        given: the names of the limits that the user has set, which stay.
        environ: the environment variables of the container.
    """
    if environ.get(BATCH_VARIABLE, "").lower() != "true":
        return limits
    raised = {name: max(value, getattr(limits, name)) for name, value in TRANSFORM_LIMITS.items() if name not in given}
    return replace(limits, **raised)
