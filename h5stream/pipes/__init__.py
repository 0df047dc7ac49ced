"""Composable pipes: each is a small description, and all together an iterable dataset of torch.

A `Pipe` is a chain of stages. A stage is frozen data that says what to do (`Batch(128)`); it
lives in the file of its name and knows only its neighbours' items. `pipe` holds the methods that
add stages, `chain` what every chain of them can do, `running` the iterator that runs one.
"""

from h5stream.pipes.batch import Batch
from h5stream.pipes.bucket import Bucket
from h5stream.pipes.collate import Collate
from h5stream.pipes.instance import Instance
from h5stream.pipes.list_chunks import ListChunks
from h5stream.pipes.map import Map
from h5stream.pipes.mix import Mix
from h5stream.pipes.open_files import OpenFiles
from h5stream.pipes.pipe import Pipe, mix, open_files
from h5stream.pipes.prefetch import Prefetch
from h5stream.pipes.read_chunks import ReadChunks
from h5stream.pipes.running import StreamIterator
from h5stream.pipes.shard import Shard
from h5stream.pipes.shuffle_chunks import ShuffleChunks
from h5stream.pipes.shuffle_rows import ShuffleRows
from h5stream.pipes.stage import Lane, LaneIterator, LaneStage, Stage
from h5stream.pipes.unbatch import Unbatch
from h5stream.pipes.where import Where
from h5stream.pipes.window_stage import Window, WindowStage

__all__ = [
    "Batch",
    "Bucket",
    "Collate",
    "Instance",
    "Lane",
    "LaneIterator",
    "LaneStage",
    "ListChunks",
    "Map",
    "Mix",
    "OpenFiles",
    "Pipe",
    "Prefetch",
    "ReadChunks",
    "Shard",
    "ShuffleChunks",
    "ShuffleRows",
    "Stage",
    "StreamIterator",
    "Unbatch",
    "Where",
    "Window",
    "WindowStage",
    "mix",
    "open_files",
]
