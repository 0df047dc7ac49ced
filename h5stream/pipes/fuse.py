"""Picks the stages of a pipe that run in a lane."""

from __future__ import annotations

from collections.abc import Sequence

from h5stream.pipes.read_chunks import ReadChunks
from h5stream.pipes.shuffle_rows import ReadWindows, ShuffleRows
from h5stream.pipes.stage import LaneStage, Stage

__all__ = ["lane_stages"]


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
