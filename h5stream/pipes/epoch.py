"""Plans one instance's part of one epoch from the planning stages of a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import get_worker_info

from h5stream.errors import ConfigError
from h5stream.pipes.instance import Instance, find_instance, find_rank
from h5stream.pipes.list_chunks import ListChunks
from h5stream.pipes.read_chunks import ReadChunks
from h5stream.pipes.shard import Shard
from h5stream.pipes.shuffle_chunks import ShuffleChunks
from h5stream.pipes.shuffle_rows import ReadWindows, ShuffleRows
from h5stream.pipes.stage import Count, Lane, LaneStage, Stage
from h5stream.plan import LaneRows, RowChunks, cut_lanes, lane_pieces
from h5stream.reader import Catalog

__all__ = ["count_items", "instance_of", "lane_stages", "ordered_chunks", "plan_lanes"]


def instance_of(stages: Sequence[Stage]) -> Instance:
    """Find out which instance this process is, for a pipe with or without a `shard`.

    Raises
    ------
    ConfigError
        If DataLoader workers would all stream the same rows.
    """
    shard = next((stage for stage in stages if isinstance(stage, Shard)), None)
    if shard is not None:
        return find_instance(*find_rank(shard.rank, shard.world_size))
    info = get_worker_info()
    if info is not None and info.num_workers > 1:
        raise ConfigError(
            f"{info.num_workers} DataLoader workers would each stream every row; add .shard() "
            "after list_chunks() and shuffle_chunks()"
        )
    return Instance()


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
    shard = next((stage for stage in stages if isinstance(stage, Shard)), Shard())
    total = shard.lane_count(instance)
    uneven = shard.uneven_for(instance.world_size)
    rows = cut_lanes(chunks.n_rows, lanes=total, uneven=uneven)
    if uneven == "drop" and not len(rows[0]):
        raise ConfigError(
            f"{chunks.n_rows} rows cannot be cut into {total} lanes of equal length without "
            'losing all of them; use uneven="pad" or "keep", or fewer ranks and workers'
        )
    seed = next((stage.seed for stage in stages if isinstance(stage, ShuffleChunks)), 0)

    def lane(number: int, part: LaneRows) -> Lane:
        pieces = lane_pieces(chunks, part)
        return Lane(number, total, pieces, catalog.row_nbytes, seed, epoch)

    return [
        lane(number, part)
        for number, part in enumerate(rows)
        if number % instance.count == instance.number
    ]


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


def count_items(stages: Sequence[Stage], lanes: Sequence[Lane]) -> int | None:
    """Count the items that lanes give, None if only a run can tell."""
    total = 0
    for lane in lanes:
        count = Count(0, 0)
        for stage in lane_stages(stages):
            count = stage.count(lane, count)
        if count.items is None:
            return None
        total += count.items
    return total
