"""Finds out which part of an epoch this process streams: its rank, and its worker."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch.distributed
from torch.utils.data import get_worker_info

from h5stream.errors import ConfigError

__all__ = ["Instance", "find_instance", "find_rank"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One of ``world_size * num_workers`` streams that share an epoch."""

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    num_workers: int = 1

    @property
    def number(self) -> int:
        """Place among all instances; the ranks' first workers come first."""
        return self.rank + self.world_size * self.worker

    @property
    def count(self) -> int:
        """How many instances there are."""
        return self.world_size * self.num_workers


def find_rank(rank: int | None = None, world_size: int | None = None) -> tuple[int, int]:
    """Find the rank and world size: as given, else torch.distributed's, else the environment's.

    Raises
    ------
    ConfigError
        If they do not fit each other.
    """
    if (rank is None) != (world_size is None):
        raise ConfigError("give rank and world_size together, or neither")
    if rank is None or world_size is None:
        rank, world_size = _surroundings()
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} is not in range(world_size={world_size})")
    return rank, world_size


def _surroundings() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or world_size is None:
        return 0, 1
    try:
        return int(rank), int(world_size)
    except ValueError as error:
        raise ConfigError(
            f"RANK={rank!r} and WORLD_SIZE={world_size!r} in the environment are not integers"
        ) from error


def find_instance(rank: int, world_size: int) -> Instance:
    """Add the DataLoader worker that this process is, if it is one."""
    info = get_worker_info()
    if info is None:
        return Instance(rank, world_size)
    return Instance(rank, world_size, info.id, info.num_workers)
