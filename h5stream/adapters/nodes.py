"""A stream as a node of `torchdata.nodes`, with its state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torchdata.nodes import BaseNode

from h5stream.errors import ConfigError
from h5stream.loader import Loader
from h5stream.pipes.chain import Chain

__all__ = ["StreamNode", "to_node"]


def to_node(stream: Chain | Loader) -> StreamNode:
    """Make a node of a stream or a loader, from which a graph of `torchdata.nodes` can start.

    Parameters
    ----------
    stream : H5Stream, Pipe or Loader
        What to stream; a `Loader` reads in worker processes.

    Examples
    --------
    >>> import h5stream as h5s
    >>> import torchdata.nodes
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, batch_size=100)
    >>> node = torchdata.nodes.Prefetcher(h5s.adapters.to_node(stream), prefetch_factor=2)
    >>> loader = torchdata.nodes.Loader(node)
    >>> len(list(loader))
    7
    """
    if not isinstance(stream, Chain | Loader):
        raise ConfigError(f"to_node needs an H5Stream, a Pipe or a Loader, not {stream!r}")
    return StreamNode(stream)


class StreamNode(BaseNode[Any]):  # type: ignore[misc] # torchdata has no types
    """What `to_node` returns.

    Parameters
    ----------
    stream : Chain or Loader
        What it streams.
    """

    def __init__(self, stream: Chain | Loader) -> None:
        super().__init__()
        self.stream = stream
        self._items: Iterator[Any] = iter(())

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Begin the next epoch, or go on from a state."""
        super().reset(initial_state)
        if initial_state is not None:
            self.stream.load_state_dict(initial_state)
        self._items = iter(self.stream)

    def next(self) -> Any:
        """Return the next item."""
        return next(self._items)

    def get_state(self) -> dict[str, Any]:
        """Return where the stream stands."""
        return self.stream.state_dict()
