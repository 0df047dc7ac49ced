"""create: loads sources on several threads or processes, and writes what they give, in order.

Rows go into a file beside the output that grows in whole steps and says how many sources it holds;
so a run that was stopped or killed goes on with the next source.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, get_args

from h5stream.arguments import a_count
from h5stream.conventions.schema import SOURCE_IDS
from h5stream.creating.sources import find_sources
from h5stream.errors import ConfigError, WriteError
from h5stream.progress_bar import progress_bar
from h5stream.system import available_cores
from h5stream.write import Writer
from h5stream.write.columns import ColumnSpec, TextColumn
from h5stream.write.written import attribute_of

__all__ = ["Created", "create"]

OnError = Literal["raise", "skip", "collect"]
Load = Callable[[Any], Mapping[str, Any] | Iterable[Mapping[str, Any]] | None]

_AHEAD = 4
"""Sources that are loaded ahead, for each worker."""

_FLUSH_ROWS = 4096
_DONE = "h5stream_sources_done"
_PLAN = "h5stream_sources"


@dataclass(frozen=True)
class Created:
    """What came of it.

    Parameters
    ----------
    path : Path
        The file.
    n_rows : int
        How many rows it has.
    n_sources : int
        How many sources there were.
    failures : tuple of (str, str)
        Sources that were left out, and why.
    """

    path: Path
    n_rows: int
    n_sources: int
    failures: tuple[tuple[str, str], ...] = ()


def create(
    path: str | os.PathLike[str],
    sources: Any,
    load: Load,
    columns: Mapping[str, ColumnSpec] | None = None,
    *,
    pattern: str | None = None,
    workers: int | None = None,
    processes: bool = False,
    on_error: OnError = "raise",
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] | bool | None = None,
    **options: Any,
) -> Created:
    r"""Make a file of what a function loads from each source.

    Sources are loaded at once, a few ahead, and written in their order. Where a run stopped, by an
    error or by kill -9, it goes on when it is started again with the same sources.

    Parameters
    ----------
    path : path
        The file to write.
    sources : path, glob pattern, folder, or iterable
        What `load` gets, one after the other; see `find_sources`.
    load : callable
        Source -> a sample (a mapping), several, or None to leave the source out. `load_image`,
        `load_lines` and others are ready; ``lambda path: load_image(path) | label(path)`` joins
        two.
    columns : mapping of str to ColumnSpec, optional
        As for `Writer`; by default they follow from the first samples.
    pattern : str, optional
        Which files of a folder: ``"*.jpg|*.png"``.
    workers : int, optional
        How many threads or processes load; by default one for each core.
    processes : bool
        Load in processes, where `load` is pure Python; it must then be a function of a module.
    on_error : {"raise", "skip", "collect"}
        What to do with a source that `load` fails on, or whose samples do not fit: stop; leave it
        out; or leave it out and tell in the result. What `load` raises is kept as its cause.
    overwrite : bool
        Whether a file of that name is replaced.
    progress : callable or bool, optional
        Told how many sources are done, of how many, and how many failed. True: a bar on the
        terminal, with the rate and the time that is left.
    **options
        Of `Writer`: compression, chunk_bytes, attributes and so on.

    Returns
    -------
    Created
        What was written. The column ``source/ids``, no field by default, names the source of each
        row: ``subset=Listed([...], by="source/ids")`` takes the rows of some.

    Raises
    ------
    ConfigError
        If there are no sources, or the file is there already.
    WriteError
        If a source cannot be loaded, or its samples do not fit; naming it.

    Examples
    --------
    >>> import tempfile
    >>> import h5stream as h5s
    >>> folder = Path(tempfile.mkdtemp())
    >>> for number in range(3):
    ...     _ = (folder / f"{number}.txt").write_text("one\ntwo\n")
    >>> done = h5s.create(folder / "lines.h5", folder, h5s.load_lines, pattern="*.txt")
    >>> done.n_rows, next(iter(h5s.H5Stream(done.path, batch_size=6)))["text"][:3]
    (6, ['one', 'two', 'one'])
    """
    output = Path(path)
    if on_error not in get_args(OnError):
        raise ConfigError(f'on_error must be "raise", "skip" or "collect", not {on_error!r}')
    for name in ("mode", "n_rows", "sources"):
        if name in options:
            raise ConfigError(f"create() has no argument {name!r}")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists; write overwrite=True to replace it")
    if not output.parent.is_dir():
        raise ConfigError(f"{output}: there is no folder {output.parent}; make it first")
    listed = find_sources(sources, pattern)
    _refuse_twice(listed)
    count = available_cores() if workers is None else a_count("workers", workers)
    part = output.with_name(f".{output.name}.create")
    told = [str(each) for each in listed], sorted((options.get("attributes") or {}).items())
    plan = hashlib.sha256(repr(told).encode()).hexdigest()
    if part.exists() and attribute_of(part, _PLAN) != plan:
        part.unlink()
    done = int(attribute_of(part, _DONE) or 0) if part.exists() else 0
    specs = None if columns is None else {**columns, SOURCE_IDS: TextColumn()}
    with (
        _bar(progress) as tell,
        Writer(part, None if done else specs, mode="append", **options) as writer,
    ):
        run = _Run(writer, listed, plan, on_error, tell)
        with _executor(count, processes=processes) as executor:
            run.write(executor, load, done, _AHEAD * count)
        writer.set_attributes({_PLAN: None, _DONE: None})
        n_rows = len(writer)
    if not n_rows:
        part.unlink()
        raise WriteError(f"{output}: none of {len(listed)} sources gave a sample")
    part.replace(output)
    return Created(output, n_rows, len(listed), tuple(run.failures))


@contextmanager
def _bar(
    progress: Callable[[int, int, int], None] | bool | None,
) -> Iterator[Callable[[int, int, int], None] | None]:
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    else:
        with progress_bar("sources") as tell:
            yield partial(tell, "creating")


def _refuse_twice(sources: Sequence[Any]) -> None:
    """Refuse the same source twice: its id would name rows of both."""
    seen: set[str] = set()
    for source in map(str, sources):
        if source in seen:
            raise ConfigError(f"source {source!r:.80} is listed twice")
        seen.add(source)


def _executor(count: int, *, processes: bool) -> Executor:
    if processes:
        return ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    return ThreadPoolExecutor(count, thread_name_prefix="h5stream-load")


def _load(load: Load, source: Any) -> list[Mapping[str, Any]]:
    """Load a source, on a worker."""
    found = load(source)
    if found is None:
        return []
    samples = [found] if isinstance(found, Mapping) else list(found)
    for sample in samples:
        if not isinstance(sample, Mapping):
            raise WriteError(f"load() gave {type(sample).__name__}, expected a mapping or several")
    return samples


class _Run:
    """Loads sources and writes their samples.

    Parameters
    ----------
    writer : Writer
        Where they go.
    sources : sequence
        All of them.
    plan : str
        What tells the list from another.
    on_error : {"raise", "skip", "collect"}
        What to do with failures.
    progress : callable or None
        Told how far it is.
    """

    def __init__(
        self,
        writer: Writer,
        sources: Sequence[Any],
        plan: str,
        on_error: OnError,
        progress: Callable[[int, int, int], None] | None,
    ) -> None:
        self._writer = writer
        self._sources = sources
        self._plan = plan
        self._on_error = on_error
        self._progress = progress
        self._failed = 0
        self.failures: list[tuple[str, str]] = []

    def write(self, executor: Executor, load: Load, first: int, ahead: int) -> None:
        """Write the samples of all sources from one of them on."""
        flushed = len(self._writer)
        try:
            for number, loaded in self._loaded(executor, load, first, ahead):
                self._take(self._sources[number], loaded)
                self._note(number + 1)
                if len(self._writer) - flushed >= _FLUSH_ROWS:
                    self._writer.flush()
                    flushed = len(self._writer)
                if self._progress is not None:
                    self._progress(number + 1, len(self._sources), self._failed)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise

    def _note(self, done: int) -> None:
        self._writer.set_attributes({_PLAN: self._plan, _DONE: done})

    def _loaded(
        self, executor: Executor, load: Load, first: int, ahead: int
    ) -> Iterator[tuple[int, Future[list[Mapping[str, Any]]]]]:
        """Load a few sources ahead; give them in order."""
        pending: deque[tuple[int, Future[list[Mapping[str, Any]]]]] = deque()
        for number in range(first, len(self._sources)):
            pending.append((number, executor.submit(_load, load, self._sources[number])))
            if len(pending) > ahead:
                yield pending.popleft()
        yield from pending

    def _take(self, source: Any, loaded: Future[list[Mapping[str, Any]]]) -> None:
        """Write all samples of a source, or none of them."""
        try:
            samples = [{**sample, SOURCE_IDS: str(source)} for sample in loaded.result()]
            self._writer.append_all(samples)
        except Exception as error:
            if self._on_error == "raise" or self._writer.is_closed:
                raise WriteError(
                    f"source {str(source)!r:.200}: {error}; what was loaded before is kept: mend "
                    'it and run again, or write on_error="skip"'
                ) from error
            self._failed += 1
            if self._on_error == "collect":
                self.failures.append((str(source), str(error)))
