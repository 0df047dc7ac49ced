"""Looks at who iterates over a pipe, for two callers that would spoil it without a word.

Both are seen in the frame that asks for the iterator, once an iteration.
"""

from __future__ import annotations

import sys

from h5stream.errors import ConfigError

__all__ = ["refuse_callers"]


def refuse_callers(*, gives_batches: bool) -> None:
    """Refuse a DataLoader that batches batches, and a wrapper that shards shards.

    Called by `__iter__` of a pipe, so the frame before that is the caller's.

    Raises
    ------
    ConfigError
        With the line to write instead.
    """
    frame = sys._getframe(2)
    caller = frame.f_code.co_qualname.partition(".")[0]
    # Only of a fetcher the locals are looked at: a frame keeps what was seen of them alive.
    if caller == "_IterableDatasetFetcher" and gives_batches and frame.f_locals["auto_collation"]:
        raise ConfigError(
            "this stream gives batches, and the DataLoader would make batches of them; write "
            "DataLoader(stream, batch_size=None), or h5stream.Loader(stream)"
        )
    if caller == "IterableDatasetShard":
        raise ConfigError(
            "this stream gives each rank its own part, of which Accelerate or Transformers would "
            "take a part again; iterate over h5stream.Loader(stream) without prepare()"
        )
