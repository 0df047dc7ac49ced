"""A stream as an `IterDataPipe` of torch, for chains that are built of those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import IterDataPipe

from h5stream.errors import ConfigError
from h5stream.pipes.chain import Chain

__all__ = ["StreamDataPipe", "to_datapipe"]


def to_datapipe(pipe: Chain) -> StreamDataPipe:
    """Make an `IterDataPipe` of a pipe.

    Each DataLoader worker and rank gets its own part, as from the pipe itself, so it takes no
    `sharding_filter`. Of a stream of batches, write ``DataLoader(datapipe, batch_size=None)``.

    Its `state_dict` is that of the pipe, and right while it is iterated over in this process. A
    DataLoader hides it, so with workers, and for what torch's own data pipes hold back, there is
    no state; `h5stream.Loader` and torchdata's ``StatefulDataLoader`` have one.

    Parameters
    ----------
    pipe : H5Stream or Pipe
        What to stream.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, batch_size=100)
    >>> datapipe = h5s.adapters.to_datapipe(stream).map(lambda batch: batch["x"].mean())
    >>> len(datapipe), len(list(datapipe))
    (7, 7)
    """
    if not isinstance(pipe, Chain):
        raise ConfigError(f"to_datapipe needs an H5Stream or a Pipe, not {pipe!r}")
    return StreamDataPipe(pipe)


class StreamDataPipe(IterDataPipe[Any]):
    """What `to_datapipe` returns.

    Parameters
    ----------
    pipe : Chain
        What it streams.
    """

    def __init__(self, pipe: Chain) -> None:
        self.pipe = pipe

    def __iter__(self) -> Iterator[Any]:
        """Start the next epoch of the pipe."""
        return iter(self.pipe)

    def __len__(self) -> int:
        """Count the items of an epoch."""
        return len(self.pipe)

    def state_dict(self) -> dict[str, Any]:
        """Return where the pipe stands in this process."""
        return self.pipe.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration go on from a state."""
        self.pipe.load_state_dict(state)
