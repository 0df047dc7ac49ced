"""What counters mean: which part a run was bound by, in a line that a person can act on. Pure.

The loop's time is what it waited for items and what it worked between them. If it hardly waited,
it is the bound itself. Else the verdict looks at what the items waited for: the threads that
fetch, decode and place rows; the thread that makes batches of rows; or the network, if none of
those was busy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from h5stream.decode import describe_filter
from h5stream.reader import padding_waste

__all__ = ["Stored", "StreamStats", "judge", "stream_stats"]

_LITTLE = 0.1
"""A loop that waited for this part of its time was not held up."""

_BUSY = 0.6
"""Threads that were busy for this part of the time had no more to give."""

_GZIP, _LIGHT = 1, frozenset({2, 3, 32001, 32004, 32008, 32015})
"""Filter numbers: gzip; and those that take little time."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How streamed rows are stored, as far as it matters for their speed.

    Parameters
    ----------
    filters : frozenset of int
        Numbers of their HDF5 filters.
    direct : bool
        All are read directly.
    row_bytes : int
        Decoded bytes of a sample.
    """

    filters: frozenset[int] = frozenset()
    direct: bool = True
    row_bytes: int = 0


class StreamStats(dict[str, float]):
    """Counters of a stream by name, since it was made; print it for the verdict.

    Parameters
    ----------
    counters : mapping
        By name.
    epoch : mapping
        Those of the last epoch.
    verdict : str
        What bounded the last epoch, and what would make it faster.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, batch_size=100)
    >>> for epoch in range(2):
    ...     for batch in stream:
    ...         pass
    >>> stats = stream.stats()
    >>> stats["rows"], stats.epoch["rows"]
    (1400, 700)
    >>> print(stats)
    last epoch  700 rows in ... s: waited ... s, worked ... s
    in all      1400 rows in ... s: waited ... s, worked ... s
    verdict     ...
    """

    def __init__(
        self, counters: Mapping[str, float], epoch: Mapping[str, float], verdict: str
    ) -> None:
        super().__init__(counters)
        self.epoch = dict(epoch)
        self.verdict = verdict

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self.epoch, self.verdict)

    def __str__(self) -> str:
        lines = (
            f"last epoch  {_told(self.epoch)}",
            f"in all      {_told(self)}",
            f"verdict     {self.verdict}",
        )
        return "\n".join(lines)


def stream_stats(
    counters: Mapping[str, float],
    epoch: Mapping[str, float],
    stored: Callable[[], Stored],
    opening_requests: int,
) -> StreamStats:
    """Put counters together with what they mean.

    Parameters
    ----------
    counters, epoch : mapping
        In all, and of the last epoch.
    stored : callable
        Says how rows are stored; called if any were streamed.
    opening_requests : int
        That opened remote files.
    """
    everything = {
        **counters,
        "padding_waste": padding_waste(counters),
        "opening_requests": opening_requests,
    }
    epoch = {**epoch, "padding_waste": padding_waste(epoch)}
    verdict = judge(epoch, stored()) if epoch["batches"] else "nothing was streamed yet"
    return StreamStats(everything, epoch, verdict)


def judge(counters: Mapping[str, float], stored: Stored) -> str:
    """Say in one line what bounded a run.

    Parameters
    ----------
    counters : mapping
        Of `Stats`, over the run.
    stored : Stored
        How its rows are stored.

    Examples
    --------
    >>> seconds = {"wait_s": 0.1, "work_s": 9.9, "process_s": 10, "thread_s": 20, "make_s": 0.1}
    >>> threads = {"fetch_s": 1.0, "decode_s": 4.0, "gather_s": 1.0, "first_s": 0.0}
    >>> counted = {"requests": 0, "batches": 10, "rows": 10, "decoded_bytes": 100}
    >>> judge({**seconds, **threads, **counted}, Stored())
    'the loop is the bound: it waited 1% of the time, and the loader could be 3.3x faster than it \
is asked for'
    """
    total = counters["wait_s"] + counters["work_s"]
    if total <= 0:
        return "nothing was streamed yet"
    if counters["wait_s"] < _LITTLE * total:
        return _loop_bound(counters, total)
    waited = f"the loop waited {counters['wait_s'] / total:.0%} of the time"
    return f"{_what_held(counters, stored)}; {waited}"


def _loop_bound(counters: Mapping[str, float], total: float) -> str:
    text = f"the loop is the bound: it waited {counters['wait_s'] / total:.0%} of the time"
    needed = max(_busy_part(counters), counters["make_s"] / max(1e-9, counters["process_s"]))
    if counters["requests"] or needed <= 0:
        return text  # nobody knows what the network could bring
    return f"{text}, and the loader could be {1 / needed:.1f}x faster than it is asked for"


def _what_held(counters: Mapping[str, float], stored: Stored) -> str:
    process_s = max(1e-9, counters["process_s"])
    parts = {name: counters[f"{name}_s"] for name in ("fetch", "decode", "gather")}
    making = counters["make_s"] / process_s
    if counters["first_s"] > counters["wait_s"] / 2 and counters["batches"] > 1:
        return (
            f"start bound: {counters['first_s']:.1f} of {counters['wait_s']:.1f} s waited were for "
            "the first batch; a smaller buffer_size gives it sooner, and long epochs hide it"
        )
    if making >= _BUSY * counters["wait_s"] / (counters["wait_s"] + counters["work_s"]) and (
        making > _busy_part(counters)
    ):
        return (
            f"bound by making batches: collate and functions of yours take {making:.0%} of the "
            "time of the thread that asks; give them to processes: Loader(stream, num_workers=n)"
        )
    if _busy_part(counters) < _BUSY:
        return _not_busy(counters)
    largest = max(parts, key=lambda name: parts[name])
    threads = counters["thread_s"] / process_s
    how = f"{threads:.0f} {'thread' if round(threads) == 1 else 'threads'} busy"
    if largest == "decode":
        return f"decode bound: {how}; {_decode_advice(counters, stored)}"
    if largest == "fetch":
        return (
            f"fetch bound: {how} with reading files ({_rate(counters)}); a faster disk would "
            "help, or stronger compression"
        )
    return f"place bound: {how} with copying rows; add cores, or make rows smaller"


def _busy_part(counters: Mapping[str, float]) -> float:
    busy = counters["fetch_s"] + counters["decode_s"] + counters["gather_s"]
    return busy / counters["thread_s"] if counters["thread_s"] else 0.0


def _not_busy(counters: Mapping[str, float]) -> str:
    if counters["requests"]:
        return (
            f"network bound: {_rate(counters)} in {counters['requests']:.0f} requests; more "
            "requests= at once, larger chunks, or a cache_dir for the epochs after the first"
        )
    return (
        f"nothing is busy (threads {_busy_part(counters):.0%}): rows come too late; read further "
        "ahead with prefetch=, or in smaller pieces with a smaller buffer_size"
    )


def _decode_advice(counters: Mapping[str, float], stored: Stored) -> str:
    if not stored.direct:
        return "fields go through h5py, behind one lock; explain() says why"
    again = counters["decoded_bytes"] / max(1, counters["rows"] * stored.row_bytes)
    if stored.row_bytes and again >= 1.5:
        return f"each byte is decoded {again:.1f} times over; explain() says what to do"
    heavy = stored.filters - _LIGHT
    if _GZIP in heavy:
        return "repack with zstd (h5stream repack) or add cores"
    if heavy:
        names = ", ".join(describe_filter(number).split(" (")[0] for number in sorted(heavy))
        return f"repack from {names} to zstd or lz4 (h5stream repack), or add cores"
    return "add cores"


def _rate(counters: Mapping[str, float]) -> str:
    total = max(1e-9, counters["process_s"])
    return f"{counters['fetched_bytes'] / total / 1e6:.0f} MB/s a process"


def _told(counters: Mapping[str, float]) -> str:
    wait, work = counters["wait_s"], counters["work_s"]
    return (
        f"{counters['rows']:.0f} rows in {wait + work:.2f} s: waited {wait:.2f} s, worked "
        f"{work:.2f} s"
    )
