"""A stream as an `IterableDataset` of Hugging Face's datasets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from h5stream.arguments import a_count
from h5stream.errors import ConfigError
from h5stream.pipes import Instance
from h5stream.pipes.chain import Chain
from h5stream.pipes.epoch import unit_of
from h5stream.pipes.stage import Items
from h5stream.plan import Cut

__all__ = ["to_hf"]


def to_hf(stream: Chain, *, num_shards: int = 1, epoch: int = 0, features: Any = None) -> Any:
    """Make an `IterableDataset` of Hugging Face's datasets of a stream of single samples.

    It is cut into shards, which their library deals to DataLoader workers and to nodes
    (``datasets.distributed.split_dataset_by_node``): every row is in one shard. All its iterations
    stream the same epoch, so that its `state_dict`, which counts examples, stays right: make one
    for each epoch. Reading goes faster by batches; this is for code that takes nothing else.

    Parameters
    ----------
    stream : H5Stream or Pipe
        Of samples: ``batch_size=None``. With ``output="numpy"`` nothing is converted twice.
    num_shards : int
        At least as many as there are workers times nodes.
    epoch : int
        Whose order it streams.
    features : datasets.Features, optional
        What examples are made of; by default found out where it is asked for.

    Returns
    -------
    datasets.IterableDataset

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"phase": "obs/phase/codes"}, output="numpy")
    >>> dataset = h5s.adapters.to_hf(stream, num_shards=4)
    >>> dataset.num_shards, len(list(dataset))
    (4, 700)
    """
    from datasets import IterableDataset

    if not isinstance(stream, Chain):
        raise ConfigError(f"to_hf needs an H5Stream or a Pipe, not {stream!r}")
    if unit_of(stream.stages) is not Items.SAMPLES:
        raise ConfigError(
            "to_hf needs single samples; make the stream with batch_size=None, and batch with "
            "dataset.batch(n) or a DataLoader"
        )
    a_count("num_shards", num_shards)
    told = {
        "stream": stream,
        "epoch": epoch,
        "num_shards": num_shards,
        "shards": list(range(num_shards)),
    }
    return IterableDataset.from_generator(_samples, features=features, gen_kwargs=told)


def _samples(stream: Chain, epoch: int, num_shards: int, shards: list[int]) -> Iterator[Any]:
    for shard in shards:
        cut = Cut(num_shards, num_shards, "keep")
        yield from stream.run(epoch, cut=cut, instance=Instance(shard, num_shards, 0, 1))
