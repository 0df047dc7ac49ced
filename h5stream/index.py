"""Writes down the layouts of files, so that whoever streams them need not scan."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from h5stream.errors import ConfigError, LayoutError
from h5stream.fetch import Access
from h5stream.layout import scan_file
from h5stream.layout.kerchunk import pack_references
from h5stream.reader.catalog import Sources, expand_sources
from h5stream.reader.layouts import save_scanned
from h5stream.reader.scanned import ScannedFile, map_files, scan_names

__all__ = ["index_files", "scan_sources", "write_file"]


def index_files(
    sources: Sources,
    output: str | os.PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> int:
    """Write the layouts of files to one file, for ``H5Stream(..., layout=output)``.

    A stream with it asks nothing of remote files but their rows, and refuses rows of any other
    version of them.

    Parameters
    ----------
    sources : path or sequence of paths
        A file, a URL, a glob pattern, or a list of them; as they will be streamed.
    output : path
        The file to write; replaced at once if it is there. With the suffix ``.json`` it gets
        kerchunk references, which hold one file and not everything that HDF5 has.
    fields : sequence of str, optional
        Dataset paths; by default all that can be streamed.
    storage_options : mapping, optional
        For remote files; not written down.

    Returns
    -------
    int
        How many files were indexed.

    Raises
    ------
    UnsupportedError
        If references cannot hold a dataset: where chunks skip filters, for one.

    Examples
    --------
    >>> import h5stream as h5s, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> h5s.index_files(h5s.example_file(), folder / "layout.npz")
    1
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, layout=folder / "layout.npz")
    >>> len(stream)
    700
    """
    suffix = Path(output).suffix
    if suffix in (".parq", ".parquet"):
        raise ConfigError(f"{output}: references are written as .json, not as {suffix}")
    files = scan_sources(sources, fields=fields, access=Access(storage_options))
    if suffix == ".json":
        write_file(output, _references(files))
    else:
        write_file(output, save_scanned(files))
    return len(files)


def _references(files: Sequence[ScannedFile]) -> bytes:
    if len(files) != 1:
        raise ConfigError(
            f"kerchunk references are for one file, not for {len(files)}; write one for each, or a "
            "layout of h5stream (any suffix but .json)"
        )
    return pack_references(files[0].layout)


def scan_sources(
    sources: Sources, *, fields: Sequence[str] | None, access: Access
) -> list[ScannedFile]:
    """Scan files for some datasets, or for all that can be streamed."""
    paths = expand_sources(sources, access)
    return map_files(partial(_scan, fields=fields, access=access), paths, access)


def _scan(path: str, fields: Sequence[str] | None, access: Access) -> ScannedFile:
    source = access.source(path)
    if fields is None:
        datasets = scan_file(path, tables=False, source=source).datasets
        fields = [name for name, layout in datasets.items() if not layout.refused]
    if not fields:
        raise ConfigError(f"{path}: has no dataset that can be streamed; name datasets to index")
    return scan_names(source, fields)


def write_file(output: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, or leave what was there."""
    path = Path(output)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LayoutError(f"{path}: cannot be written ({error.strerror})") from error
