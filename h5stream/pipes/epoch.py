"""Plans one instance's part of one epoch from the planning stages of a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import get_worker_info

from h5stream.errors import ConfigError
from h5stream.pipes.batch import Batch
from h5stream.pipes.instance import Instance, find_instance, find_rank
from h5stream.pipes.list_chunks import ListChunks
from h5stream.pipes.read_chunks import ReadChunks
from h5stream.pipes.shard import Shard
from h5stream.pipes.shuffle_chunks import ShuffleChunks
from h5stream.pipes.shuffle_rows import ReadWindows, ShuffleRows
from h5stream.pipes.stage import Count, Lane, LaneStage, Seek, Stage
from h5stream.plan import Cut, RowChunks, batches_done, cut_lanes, lane_pieces
from h5stream.reader import Catalog

__all__ = [
    "asked_cut",
    "count_in_turn",
    "count_items",
    "count_of_rank",
    "cut_for",
    "instance_of",
    "lane_stages",
    "ordered_chunks",
    "pin_cut",
    "pin_rank",
    "plan_lanes",
]


def instance_of(stages: Sequence[Stage], *, num_workers: int | None = None) -> Instance:
    """Find out which instance this process is, for a pipe with or without a `shard`.

    Parameters
    ----------
    stages : sequence of Stage
        The pipe.
    num_workers : int, optional
        DataLoader workers that will stream it; by default those that do, seen from one of them.

    Raises
    ------
    ConfigError
        If DataLoader workers would all stream the same rows.
    """
    shard = _find_shard(stages)
    if shard is not None:
        return find_instance(*find_rank(shard.rank, shard.world_size))
    if num_workers is None:
        info = get_worker_info()
        num_workers = 1 if info is None else info.num_workers
    if num_workers > 1:
        raise ConfigError(
            f"{num_workers} DataLoader workers would each stream every row; add .shard() after "
            "list_chunks() and shuffle_chunks()"
        )
    return Instance()


def cut_for(stages: Sequence[Stage], instance: Instance) -> Cut:
    """Say how the epochs of a pipe are cut into lanes.

    Raises
    ------
    ConfigError
        If the instances do not divide the lanes.
    """
    return (_find_shard(stages) or Shard()).cut(instance)


def asked_cut(stages: Sequence[Stage]) -> dict[str, Any]:
    """Return what the pipe itself says about the cut: by the names of `Cut`."""
    shard = _find_shard(stages) or Shard()
    asked = {"lanes": shard.lanes, "uneven": shard.uneven}
    return {name: value for name, value in asked.items() if value is not None}


def pin_cut(stages: Sequence[Stage], cut: Cut) -> tuple[Stage, ...]:
    """Fix how epochs are cut, whatever the number of instances."""

    def pinned(stage: Stage) -> Stage:
        if not isinstance(stage, Shard):
            return stage
        return replace(stage, lanes=cut.lanes, groups=cut.groups, uneven=cut.uneven)

    return tuple(map(pinned, stages))


def pin_rank(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Fix rank and world size as this process sees them, if it is one of several ranks."""

    def pinned(stage: Stage) -> Stage:
        if not isinstance(stage, Shard):
            return stage
        rank, world_size = find_rank(stage.rank, stage.world_size)
        return stage if world_size == 1 else replace(stage, rank=rank, world_size=world_size)

    return tuple(map(pinned, stages))


def _find_shard(stages: Sequence[Stage]) -> Shard | None:
    return next((stage for stage in stages if isinstance(stage, Shard)), None)


def ordered_chunks(stages: Sequence[Stage], catalog: Catalog, epoch: int) -> RowChunks:
    """Cut the files into row chunks and put them in the order of an epoch."""
    listing = next(stage for stage in stages if isinstance(stage, ListChunks))
    chunks = listing.cut(catalog)
    for stage in stages:
        if isinstance(stage, ShuffleChunks):
            chunks = stage.arrange(chunks, epoch)
    return chunks


def plan_lanes(
    stages: Sequence[Stage], catalog: Catalog, instance: Instance, epoch: int
) -> list[Lane]:
    """Plan the lanes that an instance streams, in the order in which they take turns.

    Raises
    ------
    ConfigError
        If the files have no rows, the instances do not divide the lanes, or all lanes would be
        empty.
    """
    chunks = ordered_chunks(stages, catalog, epoch)
    if not chunks.n_rows:
        found = ", ".join(file.path for file in catalog.files[:3])
        raise ConfigError(f"there are no rows to stream in {found}; expected at least one row")
    cut = cut_for(stages, instance)
    rows = cut_lanes(chunks.n_rows, cut, batch_rows=_batch_rows(stages))
    if not len(rows[0]):
        raise ConfigError(
            f"{chunks.n_rows} rows cannot be cut into {cut.groups} equal parts without losing all "
            'of them; use uneven="pad" or "keep", or fewer ranks or lanes'
        )
    seed = next((stage.seed for stage in stages if isinstance(stage, ShuffleChunks)), 0)
    return [
        Lane(number, cut.lanes, lane_pieces(chunks, part), catalog.row_nbytes, seed, epoch)
        for number, part in enumerate(rows)
        if number % instance.count == instance.number
    ]


def _batch_rows(stages: Sequence[Stage]) -> int:
    """Return the rows of a batch if every row reaches one, else 1: then lanes are cut anywhere."""
    rows = 1
    for stage in lane_stages(stages):
        if not stage.keeps_rows:
            break
        if isinstance(stage, Batch):
            rows = stage.batch_size
    return rows


def lane_stages(stages: Sequence[Stage]) -> list[LaneStage]:
    """Pick the stages that run in a lane; reading and shuffling become one where they meet."""
    picked: list[LaneStage] = []
    for stage in stages:
        if not isinstance(stage, LaneStage):
            continue
        if isinstance(stage, ShuffleRows) and picked and isinstance(picked[-1], ReadChunks):
            picked[-1] = ReadWindows(picked[-1], stage)
        else:
            picked.append(stage)
    return picked


def count_items(stages: Sequence[Stage], lanes: Sequence[Lane]) -> list[int] | None:
    """Count the items that each lane gives, None if only a run can tell."""
    totals = []
    for lane in lanes:
        count = Count(0, 0)
        for stage in lane_stages(stages):
            count = stage.count(lane, count)
        if count.items is None:
            return None
        totals.append(count.items)
    return totals


def count_in_turn(stages: Sequence[Stage], catalog: Catalog, epoch: int) -> int | None:
    """Count the items of all lanes; None if only a run can tell, or where a lane starts again.

    Then item k of the epoch is item ``k // T`` of lane ``k % T``, for all of them.
    """
    lanes = plan_lanes(stages, catalog, Instance(), epoch)
    counts = count_items(stages, lanes)
    if counts is None or Seek(lane_stages(stages), lanes[0]).items(0) is None:
        return None
    total = sum(counts)
    in_turn = [batches_done(total, lane.number, lane.lanes) for lane in lanes]
    return total if counts == in_turn else None


def count_of_rank(stages: Sequence[Stage], catalog: Catalog, instance: Instance, epoch: int) -> int:
    """Count the items that all workers of a rank give.

    Raises
    ------
    TypeError
        If only a run can tell.
    """
    total = 0
    for worker in range(instance.num_workers):
        part = replace(instance, worker=worker)
        counts = count_items(stages, plan_lanes(stages, catalog, part, epoch))
        if counts is None:
            raise TypeError(
                "the length is known only after a run: where(), a generator in map(), or a map() "
                "before batch() decide how many items there are"
            )
        total += sum(counts)
    return total
