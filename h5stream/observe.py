"""Watching a run: a progress bar, and numbers for TensorBoard or any other logger.

Both iterate over a loader and give what it gives; what they show comes from its `stats`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from h5stream.arguments import a_callable, a_count

__all__ = ["Observed", "progress", "report"]

_MEGA = 1e6


def progress(loader: Iterable[Any], description: str = "", *, console: Any = None) -> Observed:
    """Show a bar on the terminal while iterating: how many batches of how many, and how fast.

    After a resume it begins where the epoch goes on. It also tells which part of the time the
    loop waited: near 0 %, nothing needs to be made faster here.

    Parameters
    ----------
    loader : iterable
        A `Loader`, an `H5Stream`, what `to_device` returns, or any other iterable.
    description : str
        Stands before the bar.
    console : rich.console.Console, optional
        Where to; by default the terminal's stderr, and nowhere if that is none.

    Returns
    -------
    Observed
        Iterable like the loader, as often.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, batch_size=100)
    >>> for batch in h5s.progress(stream, "epoch 1"):
    ...     x = batch["x"]
    """

    def watched() -> Iterator[Any]:
        yield from _with_bar(loader, description, console)

    return Observed(loader, watched)


def report(
    loader: Iterable[Any], log: Callable[[str, float, int], Any], *, every: int = 100
) -> Observed:
    """Tell a logger how fast the loader is, while iterating.

    Parameters
    ----------
    loader : iterable
        A `Loader`, an `H5Stream`, or what `to_device` or `progress` returns.
    log : callable
        Gets a name, a value and the number of the batch: ``SummaryWriter(...).add_scalar``, or
        ``lambda name, value, step: wandb.log({name: value}, step=step)``. Names are
        ``h5stream/rows_per_s``, ``h5stream/batches_per_s``, ``h5stream/waited`` (the part of the
        time that the loop waited), ``h5stream/fetched_mb_per_s`` and
        ``h5stream/decoded_mb_per_s``, each since the last time.
    every : int
        After so many batches.

    Returns
    -------
    Observed
        Iterable like the loader; batches are counted on over all its epochs.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, batch_size=100)
    >>> seen = []
    >>> for batch in h5s.report(stream, lambda *told: seen.append(told), every=5):
    ...     pass
    >>> [(name, step) for name, _value, step in seen][:2]
    [('h5stream/rows_per_s', 5), ('h5stream/batches_per_s', 5)]
    """
    a_callable("report", log)
    a_count("every", every)
    steps = _Steps()

    def watched() -> Iterator[Any]:
        before = _counters(loader)
        began = time.perf_counter()
        for batch in loader:
            yield batch
            steps.done += 1
            if steps.done % every:
                continue
            now, at = _counters(loader), time.perf_counter()
            for name, value in _rates(before, now, at - began, every).items():
                log(name, value, steps.done)
            before, began = now, at

    return Observed(loader, watched)


class Observed(Iterable[Any]):
    """What `progress` and `report` return: an iterable that gives what its loader gives.

    Parameters
    ----------
    loader : iterable
        What is watched; its other methods and attributes are those of this object too.
    watched : callable
        Begins an iteration.
    """

    def __init__(self, loader: Iterable[Any], watched: Callable[[], Iterator[Any]]) -> None:
        self.loader = loader
        self._watched = watched

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch of the loader."""
        return self._watched()

    def __len__(self) -> int:
        """Count what the loader gives in an epoch."""
        return len(self.loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "loader" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.loader, name)


class _Steps:
    done = 0


def _with_bar(loader: Iterable[Any], description: str, console: Any) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = console or Console(stderr=True)
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not (console.is_terminal or console.is_jupyter),
    )
    done, total = _known(loader, "done"), _length(loader)
    before, began, given = _counters(loader), time.perf_counter(), 0
    with shown as bar:
        task = bar.add_task(description, total=total, completed=done or 0, told="")
        for batch in loader:
            yield batch
            given += 1
            seconds = time.perf_counter() - began
            if bar.disable:
                continue
            rates = _rates(before, _counters(loader), seconds, given)
            bar.update(task, completed=(done or 0) + given, told=_told(rates))


def _told(rates: Mapping[str, float]) -> str:
    text = f"{rates['h5stream/batches_per_s']:.1f} batches/s"
    waited = rates.get("h5stream/waited")
    return text if waited is None else f"{text}, waited {waited:.0%}"


def _rates(
    before: Mapping[str, float], now: Mapping[str, float], seconds: float, batches: int
) -> dict[str, float]:
    """Turn two readings of counters into what happened in a second."""
    seconds = max(1e-9, seconds)
    rates = {"h5stream/batches_per_s": batches / seconds}
    if not now:
        return rates
    more = {name: now[name] - before.get(name, 0.0) for name in now}
    alive = more["wait_s"] + more["work_s"]
    return {
        "h5stream/rows_per_s": more["rows"] / seconds,
        **rates,
        "h5stream/waited": more["wait_s"] / alive if alive else 0.0,
        "h5stream/fetched_mb_per_s": more["fetched_bytes"] / _MEGA / seconds,
        "h5stream/decoded_mb_per_s": more["decoded_bytes"] / _MEGA / seconds,
    }


def _counters(loader: Iterable[Any]) -> dict[str, float]:
    stats = _known(loader, "counters")
    return {} if stats is None else stats()


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError:
        return None


def _known(loader: Any, name: str) -> Any:
    """Look an attribute up in a loader, or in the one that it wraps."""
    while loader is not None:
        if hasattr(type(loader), name):
            return getattr(loader, name)
        loader = getattr(loader, "loader", None)
    return None
