"""Check a job before it reads its data."""

from __future__ import annotations

import logging

import torch

from fusionzoo import errors
from fusionzoo.architecture import Architecture
from fusionzoo.atomic_files import check_writable, delete_leftovers
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import torch_compile
from fusionzoo.training.channel_folders import ALIASES
from fusionzoo.training.distributed import collectives, fsdp_support
from fusionzoo.training.distributed.world import World
from fusionzoo.training.guards import model_memory

log = logging.getLogger(__name__)

MIN_ROWS_PER_GPU = 8  # per step and GPU


def check_before_reading_data(paths: Paths, architecture: Architecture, world: World) -> None:
    """Check what can be checked without the data, and log the warnings about the settings.

    Raises:
        errors.OutputError: a folder is not writable.
        errors.ProcessesError: the processes cannot share the work.
        errors.SettingError: this machine or the installed libraries do not support a setting.
    """
    for warning in architecture.hyperparameters.warnings:
        log.warning(warning)
    torch_compile.check_torch_compile(architecture.job)
    fsdp_support.check_fsdp(architecture.job)
    if world.is_first:
        for folder in (paths.model, paths.output_data, paths.checkpoints):
            check_writable(folder)
        delete_leftovers(paths.checkpoints)
    check_processes(paths, architecture.job, world)
    model_memory.check_model_memory(architecture, model_memory.smallest_spec(architecture.data_settings), world)


def check_processes(paths: Paths, job: JobSettings, world: World) -> None:
    """Check that every process of the job has rows in each step, and that all hosts see the same data.

    Raises:
        errors.ProcessesError: the hosts run different numbers of processes, a step has fewer rows than processes, or a
            channel is sharded over the hosts.
    """
    positions = collectives.all_gather((world.local_rank, world.local_size))
    per_host = [size for local_rank, size in positions if local_rank == 0]
    if len(set(per_host)) > 1:
        raise errors.ProcessesError.unequal_hosts(per_host)
    if world.size > 1 and job.max_batch_tokens is None:
        if job.batch_size < world.size:
            raise errors.ProcessesError.too_few_rows(job.batch_size, world.size)
        if torch.cuda.is_available() and job.batch_size < MIN_ROWS_PER_GPU * world.size:
            log.warning(
                "%d processes share a batch_size of %d, about %.0f rows per process and step, which does not use the "
                "GPUs well. Increase batch_size, and lr with it.",
                *(world.size, job.batch_size, job.batch_size / world.size),
            )
    split_channels = {name for names in ALIASES.values() for name in names}
    for name, channel in (paths.read_channel_configs() or {}).items():
        is_sharded = isinstance(channel, dict) and channel.get("S3DistributionType") == "ShardedByS3Key"
        if is_sharded and world.hosts > 1 and name in split_channels:
            raise errors.ProcessesError.sharded(name, world.hosts)
