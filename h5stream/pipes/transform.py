"""transform: applies a function to each sample, with random numbers that belong to its row.

Before each sample the generators of torch, NumPy and Python are seeded by (seed, epoch, row), and
afterwards they are what they were: whatever a function draws is the same for every number of
workers, and after a resume. A function that has an argument `generator` gets one of its own
instead, and the others are left alone.
"""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from h5stream.block import Block
from h5stream.collation import TENSOR_CHARS, to_tensor
from h5stream.errors import ConfigError
from h5stream.pipes.stage import Lane, LaneIterator, Runtime, State, Upstream
from h5stream.pipes.unbatch import Flattened, Unbatch, damaged
from h5stream.plan import row_seeds
from h5stream.reader import ROW_NUMBERS

__all__ = ["Transform", "as_sample", "checked", "keep_generators", "wants_generator", "with_seed"]

_AT_ONCE = 16
"""So many samples are made for one look at the state of the generators."""

Function = Callable[..., Any]


@dataclass(frozen=True)
class Transform(Unbatch):
    """Yield what a function makes of each row.

    Parameters
    ----------
    function : callable
        Gets a sample, a dict of its values, and perhaps a `generator`.
    seed : int
        Of what it draws.
    tensors : bool
        Values are tensors; else as they were read.
    """

    function: Function
    seed: int = 0
    tensors: bool = True

    method: ClassVar[str] = "transform"

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return what decides which rows come when, and what is drawn for them."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {"transform": name, "transform_seed": self.seed}

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on ``state[-1]`` samples after the upstream's state."""
        return _Transformed(upstream(state[:-1]), state[-1] if state else 0, self, lane.epoch)


class _Transformed(Flattened):
    def __init__(self, upstream: LaneIterator, skip: int, stage: Transform, epoch: int) -> None:
        super().__init__(upstream, skip)
        self._apply = with_seed(stage.function)
        self._name = stage.plan_parameters()["transform"]
        self._seed, self._epoch, self._tensors = stage.seed, epoch, stage.tensors

    def open(self, item: Block, skip: int) -> Iterator[Any]:
        if skip > item.n_rows:
            raise damaged(skip, item.n_rows)
        if ROW_NUMBERS not in item:
            raise ConfigError(
                "transform() needs the numbers of rows, which a map() before it left out; put "
                "transform() first"
            )
        rows = np.asarray(item[ROW_NUMBERS])
        seeds = row_seeds(rows, seed=self._seed, epoch=self._epoch).tolist()
        columns = {name: column for name, column in item.columns.items() if name != ROW_NUMBERS}
        block = Block(columns, item.tree)
        for start in range(skip, item.n_rows, _AT_ONCE):
            stop = min(start + _AT_ONCE, item.n_rows)
            samples = block.part(start, stop).samples()
            with keep_generators():
                made = [
                    checked(self._name, self._apply(as_sample(sample, self._tensors), seed))
                    for sample, seed in zip(samples, seeds[start:stop], strict=True)
                ]
            yield from made


def as_sample(sample: Any, tensors: bool) -> Any:
    """Return the values of a sample as tensors, where torch has their type."""
    if not tensors or not isinstance(sample, dict):
        return sample
    return {name: _as_tensor(value, name) for name, value in sample.items()}


def _as_tensor(value: Any, name: str) -> Any:
    plain = isinstance(value, np.ndarray | np.generic)
    return to_tensor(value, name) if plain and value.dtype.char in TENSOR_CHARS else value


def checked(name: Any, made: Any) -> Any:
    """Refuse what is no sample."""
    if made is None:
        raise ConfigError(
            f"{name} returned None; a transform returns the sample. To leave rows out, choose them "
            "with subset=, or with where() before"
        )
    if isinstance(made, Iterator):
        raise ConfigError(
            f"{name} yields several samples for one; write .unbatch().map({name}) in a chain of "
            "pipes"
        )
    return made


def wants_generator(function: Function) -> bool:
    """Tell whether a function takes a generator of its own."""
    try:
        return "generator" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def with_seed(function: Function) -> Callable[[Any, int], Any]:
    """Make a function of a sample and a seed out of one of a sample."""
    seeded = _with_own if wants_generator(function) else _with_global
    return partial(seeded, function)


def _with_own(function: Function, sample: Any, seed: int) -> Any:
    generator = np.random.Generator(np.random.Philox(key=seed))
    return function(sample, generator=generator)


def _with_global(function: Function, sample: Any, seed: int) -> Any:
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
    return function(sample)


@contextlib.contextmanager
def keep_generators() -> Iterator[None]:
    """Leave the generators of torch, NumPy and Python as they were."""
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])
        random.setstate(kept[2])
