"""shard: this rank's and this worker's lanes of the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from h5stream.errors import ConfigError
from h5stream.pipes.instance import Instance
from h5stream.pipes.stage import Items, Stage
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
    """

    lanes: int | None = None
    uneven: Uneven | None = None
    rank: int | None = None
    world_size: int | None = None

    method: ClassVar[str] = "shard"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.ROW_CHUNKS})

    def gives(self, taken: Items) -> Items:
        """Row chunks."""
        return Items.ROW_CHUNKS

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when."""
        return {"uneven": self.uneven}

    def lane_count(self, instance: Instance) -> int:
        """Say how many lanes an epoch has.

        Raises
        ------
        ConfigError
            If the number of instances does not divide `lanes`.
        """
        if self.lanes is None:
            return instance.count
        if self.lanes % instance.count:
            fitting = [n for n in range(1, self.lanes + 1) if self.lanes % n == 0]
            raise ConfigError(
                f"lanes={self.lanes} cannot be shared by {instance.count} instances "
                f"({instance.world_size} ranks of {instance.num_workers} workers); counts that "
                f"fit: {fitting}"
            )
        return self.lanes

    def uneven_for(self, world_size: int) -> Uneven:
        """Say what happens to rows that do not divide."""
        if self.uneven is not None:
            return self.uneven
        return "keep" if world_size == 1 else "drop"
