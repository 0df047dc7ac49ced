"""shard: this rank's and this worker's lanes of the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from h5stream.errors import ConfigError
from h5stream.pipes.instance import Instance
from h5stream.pipes.stage import Items, Stage
from h5stream.plan import Cut
from h5stream.plan.lanes import Uneven

__all__ = ["Shard"]


@dataclass(frozen=True)
class Shard(Stage):
    """Cut the epoch into lanes, and keep those of one instance.

    Parameters
    ----------
    lanes : int or None
        How many lanes; None: one for each instance.
    uneven : str or None
        What to do with rows that do not divide; None: "drop" with several ranks, else "keep".
    rank, world_size : int or None
        None: found out when the stream starts.
    groups : int or None
        How many equal parts the lanes belong to; None: each lane is one if `lanes` is given, else
        there is one for each rank.
    """

    lanes: int | None = None
    uneven: Uneven | None = None
    rank: int | None = None
    world_size: int | None = None
    groups: int | None = None

    method: ClassVar[str] = "shard"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.ROW_CHUNKS})

    def gives(self, taken: Items) -> Items:
        """Row chunks."""
        return Items.ROW_CHUNKS

    def cut(self, instance: Instance) -> Cut:
        """Say how an epoch is cut for an instance and those beside it.

        Raises
        ------
        ConfigError
            If the number of instances does not divide `lanes`.
        """
        uneven = self.uneven or ("keep" if instance.world_size == 1 else "drop")
        if self.lanes is None:
            return Cut(instance.count, instance.world_size, uneven)
        if self.lanes % instance.count:
            fitting = [n for n in range(1, self.lanes + 1) if self.lanes % n == 0]
            raise ConfigError(
                f"lanes={self.lanes} cannot be shared by {instance.count} instances "
                f"({instance.world_size} ranks of {instance.num_workers} workers); counts that "
                f"fit: {fitting}"
            )
        return Cut(self.lanes, self.groups or self.lanes, uneven)
