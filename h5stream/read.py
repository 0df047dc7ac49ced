"""read: one dataset, or a part of it, as an array."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from h5stream.arguments import a_count
from h5stream.arrays import read_array
from h5stream.conventions import Wanted
from h5stream.errors import ConfigError
from h5stream.fetch import open_access
from h5stream.fields import Dense, Vlen
from h5stream.opening import expand_sources
from h5stream.opening.kinds import SoundKinds
from h5stream.opening.layouts import LayoutFinder, LayoutOption, layout_cache
from h5stream.system import available_cores

__all__ = ["read"]

_SOUND = SoundKinds()
"""The kinds of dataset that this process has read both ways."""


def read(
    source: str | os.PathLike[str],
    dataset: str | Dense | Vlen,
    selection: Any = None,
    *,
    threads: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    requests: int | None = None,
    retry_s: float | None = None,
    layout: LayoutOption = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | None = None,
) -> Any:
    """Read one dataset, or a part of it, into an array.

    What ``h5py.File(source)[dataset][selection]`` gives, but chunks are fetched and decoded on
    several threads outside HDF5's lock, and ranges of remote files are asked for many at once.

    Parameters
    ----------
    source : path
        A file, or a URL that fsspec knows.
    dataset : str, Dense or Vlen
        Its path in the file; a member of a compound type in brackets: ``"obs[louvain]"``. Or a
        field that says how elements are converted: ``Dense(path, dtype="f4")``, ``Dense(path,
        decode_cf=True)``, ``Vlen(path, text=False)`` for `bytes`.
    selection : index, optional
        Which part: an integer, a slice, a list of integers, a boolean mask, or a tuple of these,
        one for each axis, with at most one ``...``; or a boolean mask of the whole shape. Integers
        may stand in any order, repeat, and count from the end. Each axis is selected by itself:
        two lists give all their combinations, as with `numpy.ix_`. By default everything.
    threads : int, optional
        That read and decode; by default one for each core that this process may use.
    storage_options, requests, retry_s, layout, cache_dir, cache_limit
        As for `open_files`.

    Returns
    -------
    numpy.ndarray
        Of the selection's shape, in the machine's byte order; a NumPy scalar, or a `str`, if that
        has no axes. Strings of variable length are objects of type `str`, other elements of
        variable length arrays in an array of objects.

    Raises
    ------
    ConfigError
        If there is no such dataset, or no such part of it.
    LayoutError
        If the file is missing, not HDF5, or damaged.
    UnsupportedError
        If the elements are references, or of a filter that nothing installed can undo.
    DecodeError, FetchError
        If what is stored is damaged, or does not arrive.

    Examples
    --------
    >>> import h5stream as h5s
    >>> import numpy as np
    >>> cells = h5s.example_file()
    >>> h5s.read(cells, "X").shape
    (700, 765)
    >>> h5s.read(cells, "X", np.s_[[5, 2], :3]).shape
    (2, 3)
    >>> h5s.read(cells, "X", h5s.read(cells, "obs[louvain]") == 0).shape
    (130, 765)
    """
    for value, kinds in ((source, (str, os.PathLike)), (dataset, (str, Dense, Vlen))):
        if not isinstance(value, kinds):
            raise ConfigError(
                f"read() takes the path or URL of a file, and the path of a dataset in it, not "
                f"{value!r:.80}"
            )
    count = available_cores() if threads is None else a_count("threads", threads)
    access = open_access(
        storage_options,
        requests=requests,
        retry_s=retry_s,
        cache_dir=cache_dir,
        cache_limit=cache_limit,
    )
    paths = expand_sources(source, access)
    if len(paths) != 1:
        raise ConfigError(f"read() reads one file, but {len(paths)} match {os.fspath(source)!r}")
    sidecar = os.fspath(layout) if layout else None
    cache = layout_cache([os.fspath(source)], cache_dir) if layout is None else None
    name = dataset if isinstance(dataset, str) else dataset.path
    wanted = Wanted({name: dataset}, convention=None)
    (found,) = LayoutFinder(access, sidecar, cache, _SOUND).find(paths, wanted)
    return read_array(found, selection, access, _SOUND, threads=count)
