"""Plans one instance's part of one epoch from the planning stages of a pipe."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from torch.utils.data import get_worker_info

from h5stream.errors import ConfigError
from h5stream.pipes.draw_rows import DrawRows
from h5stream.pipes.fuse import lane_stages
from h5stream.pipes.instance import Instance, find_instance, find_rank
from h5stream.pipes.list_chunks import ListChunks
from h5stream.pipes.mix import Mix
from h5stream.pipes.open_files import OpenFiles
from h5stream.pipes.read_chunks import ReadChunks
from h5stream.pipes.shard import Shard
from h5stream.pipes.shuffle_chunks import ShuffleChunks
from h5stream.pipes.shuffle_rows import ShuffleRows
from h5stream.pipes.stage import Count, Items, Lane, Seek, Stage
from h5stream.plan import (
    Cut,
    Draws,
    Pieces,
    RowChunks,
    batches_done,
    cut_lanes,
    dropped_rows,
    lane_pieces,
)
from h5stream.reader import Catalog

__all__ = [
    "asked_cut",
    "catalogs_of",
    "count_in_turn",
    "count_items",
    "count_of_rank",
    "cut_for",
    "instance_of",
    "ordered_chunks",
    "pin_cut",
    "pin_rank",
    "plan_lanes",
    "rows_of_epoch",
    "source_of",
    "threads_asked",
    "unit_of",
    "warn_of_dropped",
]

_EPOCHS = 2**24
"""Past all epochs that can be asked for: a stream that starts again in one has orders beyond."""


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

    def pinned(shard: Shard) -> Shard:
        return replace(shard, lanes=cut.lanes, groups=cut.groups, uneven=cut.uneven)

    return _with_shard(stages, pinned)


def pin_rank(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Fix rank and world size as this process sees them, if it is one of several ranks."""

    def pinned(shard: Shard) -> Shard:
        rank, world_size = find_rank(shard.rank, shard.world_size)
        return shard if world_size == 1 else replace(shard, rank=rank, world_size=world_size)

    return _with_shard(stages, pinned)


def _with_shard(stages: Sequence[Stage], change: Callable[[Shard], Shard]) -> tuple[Stage, ...]:
    def changed(stage: Stage) -> Stage:
        if isinstance(stage, Mix):
            return replace(stage, shard=change(stage.shard))
        return change(stage) if isinstance(stage, Shard) else stage

    return tuple(map(changed, stages))


def _find_shard(stages: Sequence[Stage]) -> Shard | None:
    for stage in stages:
        if isinstance(stage, Mix):
            return stage.shard
        if isinstance(stage, Shard):
            return stage
    return None


def source_of(stages: Sequence[Stage]) -> OpenFiles | Mix:
    """Return the stage that a pipe begins with: its files, or the streams that it mixes."""
    source = stages[0]
    assert isinstance(source, OpenFiles | Mix), "a pipe begins with its files"
    return source


def unit_of(stages: Sequence[Stage]) -> Items:
    """Say what items are made of, also as tensors: blocks of rows, or single samples."""
    source = source_of(stages)
    unit = unit_of(source.parts[0]) if isinstance(source, Mix) else Items.BLOCKS
    for stage in stages:
        unit = stage.unit(unit)
    return unit


def catalogs_of(stages: Sequence[Stage]) -> tuple[Catalog, ...]:
    """Return the files of each stream."""
    source = source_of(stages)
    return source.catalogs if isinstance(source, Mix) else (source.catalog,)


def threads_asked(stages: Sequence[Stage]) -> int | None:
    """Return the largest number of threads that a stage asks for, None if none does."""
    source = source_of(stages)
    parts = source.parts if isinstance(source, Mix) else (stages,)
    asked = [s.threads for part in parts for s in part if isinstance(s, ReadChunks) and s.threads]
    return max(asked, default=None)


def ordered_chunks(stages: Sequence[Stage], catalog: Catalog, epoch: int) -> RowChunks:
    """Cut the files into row chunks and put them in the order of an epoch.

    Where rows are drawn by weight, row chunks are of draws.
    """
    return _ordered(stages, catalog, epoch)[0]


def _ordered(
    stages: Sequence[Stage], catalog: Catalog, epoch: int
) -> tuple[RowChunks, Draws | None]:
    listing = next(stage for stage in stages if isinstance(stage, ListChunks))
    chunks, draws = listing.cut(catalog), None
    for stage in stages:
        if isinstance(stage, DrawRows) and chunks.n_rows:
            draws = stage.draw(chunks, catalog, epoch)
            chunks = draws.row_chunks()
        if isinstance(stage, ShuffleChunks):
            chunks = stage.arrange(chunks, epoch)
    return chunks, draws


def rows_of_epoch(stages: Sequence[Stage], catalog: Catalog) -> int:
    """Count the rows of an epoch, of all ranks together."""
    drawn = (stage.n_rows(catalog) for stage in stages if isinstance(stage, DrawRows))
    return next(drawn, catalog.n_rows)


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
    cut = cut_for(stages, instance)
    numbers = range(instance.number, cut.lanes, instance.count)
    source = source_of(stages)
    if isinstance(source, Mix):
        return [_mixed_lane(source, cut, number, epoch) for number in numbers]
    return _lanes_of(stages, catalog, cut, numbers, epoch)


def warn_of_dropped(stages: Sequence[Stage], catalog: Catalog, cut: Cut) -> None:
    """Warn of rows that the same ranks drop in every epoch, if nobody asked for that."""
    shard = _find_shard(stages)
    shuffled = any(isinstance(stage, ShuffleChunks | ShuffleRows) for stage in stages)
    if shard is None or shard.uneven is not None or shuffled or isinstance(stages[0], Mix):
        return
    dropped = dropped_rows(catalog.n_rows, cut)
    if dropped:
        warnings.warn(
            f"the last {dropped} of {catalog.n_rows} rows are left out in every epoch, so that "
            f"{cut.groups} ranks get equally many; for validation write "
            'uneven="keep" (ranks '
            'differ by one row) or "pad" (rows are repeated), and uneven="drop" if that is meant',
            stacklevel=2,
        )


def _lanes_of(
    stages: Sequence[Stage],
    catalog: Catalog,
    cut: Cut,
    numbers: Iterable[int],
    epoch: int,
    turn: int = 0,
) -> list[Lane]:
    chunks, draws = _ordered(stages, catalog, epoch)
    if not chunks.n_rows:
        found = ", ".join(file.path for file in catalog.files[:3])
        raise ConfigError(f"there are no rows to stream in {found}; expected at least one row")
    rows = cut_lanes(chunks.n_rows, cut, batch_rows=_batch_rows(stages), turn=turn)
    if not any(map(len, rows)):
        raise ConfigError(
            f"{chunks.n_rows} rows cannot be cut into {cut.groups} equal parts without losing all "
            'of them; use uneven="pad" or "keep", or fewer ranks or lanes'
        )
    seed = next((stage.seed for stage in stages if isinstance(stage, ShuffleChunks)), 0)

    def lane(number: int) -> Lane:
        pieces = lane_pieces(chunks, rows[number])
        return Lane(number, cut.lanes, pieces, catalog.row_nbytes, seed, epoch, draws=draws)

    return [lane(number) for number in numbers]


def _mixed_lane(mix: Mix, cut: Cut, number: int, epoch: int) -> Lane:
    """Plan a lane that draws from the same lane of each stream."""

    def plan_part(part: int, turn: int) -> Lane:
        epoch_of_part = epoch + turn * _EPOCHS
        return _lanes_of(
            mix.parts[part], mix.catalogs[part], own, [number], epoch_of_part, turns[part]
        )[0]

    # What ends with the first stream leaves rows out anyway; so lanes end together.
    ends_early = mix.stop_criteria == "first_exhausted" and cut.uneven == "keep"
    own = replace(cut, uneven="drop") if ends_early else cut
    longer = (
        _longer_groups(stages, rows_of_epoch(stages, catalog), own)
        for stages, catalog in zip(mix.parts, mix.catalogs, strict=True)
    )
    turns = [0, *accumulate(longer)]

    nothing = np.empty(0, np.int64)
    row_nbytes = max(catalog.row_nbytes for catalog in mix.catalogs)
    pieces = Pieces(nothing, nothing, nothing)
    return Lane(number, cut.lanes, pieces, row_nbytes, mix.seed, epoch, plan_part)


def _longer_groups(stages: Sequence[Stage], n_rows: int, cut: Cut) -> int:
    """Count the groups that ``"keep"`` gives an item more than the others."""
    floor, rest = divmod(n_rows, cut.groups)
    if cut.uneven != "keep" or not rest:
        return 0

    def lane(rows: int) -> Lane:
        pieces = Pieces(*(np.array([bound], np.int64) for bound in (0, 0, rows)))
        return Lane(0, cut.lanes, pieces, 0, 0, 0)

    counts = count_items(stages, [lane(floor), lane(floor + 1)])
    return 0 if counts is not None and counts[0] == counts[1] else rest


def _batch_rows(stages: Sequence[Stage]) -> int:
    """Return the rows of a batch if every row reaches one, else 1: then lanes are cut anywhere."""
    rows = 1
    for stage in lane_stages(stages):
        if not stage.keeps_rows:
            break
        rows = stage.whole_rows or rows
    return rows


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
                "the length is known only after a run: where(), max_tokens, a generator in map(), "
                "or a map() before batch() decide how many items there are"
            )
        total += sum(counts)
    return total
