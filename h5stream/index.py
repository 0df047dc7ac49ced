"""Writes down the layouts of files, so that whoever streams them need not scan."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from h5stream.errors import ConfigError, LayoutError
from h5stream.fetch import Access, is_url
from h5stream.layout import FileLayout, scan_file
from h5stream.layout.kerchunk import FOLDER_INDEX, pack_json, pack_parquet
from h5stream.layout.saved import is_layout
from h5stream.opening import Sources, expand_sources
from h5stream.opening.layouts import save_scanned
from h5stream.opening.scanned import ScannedFile, map_files, scan_names

__all__ = ["index_files", "scan_sources", "write_file", "write_folder"]

_FOLDERS = (".parq", ".parquet")
_BEGIN_BYTES = 64
_RECORD = re.compile(r"refs\.\d+\.parq")


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
        The file to write; a layout that is there is replaced at once, and nothing else is. With
        the suffix ``.json`` it gets kerchunk references, which hold one file and not everything
        that HDF5 has; with ``.parq`` or ``.parquet`` a folder gets them (needs
        ``h5stream[kerchunk]``).
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
    ConfigError
        If the output is a URL, or something else is where a folder of references should be.

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
    if is_url(os.fspath(output)):
        raise ConfigError(f"{output}: layouts are written to local paths; copy them to a store")
    suffix = Path(output).suffix
    if suffix in _FOLDERS:
        _require_replaceable(Path(output))
    else:
        _require_layout(Path(output))
    files = scan_sources(sources, fields=fields, access=Access(storage_options))
    if suffix in _FOLDERS:
        write_folder(output, pack_parquet(_only(files)))
    elif suffix == ".json":
        write_file(output, pack_json(_only(files)))
    else:
        write_file(output, save_scanned(files))
    return len(files)


def _require_layout(path: Path) -> None:
    """Refuse to replace anything but a layout: nothing else may be lost."""
    try:
        if not path.is_symlink() and not path.exists():
            return
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                begin = file.read(_BEGIN_BYTES)
            if path.suffix == ".json" and begin[:1] == b"{" and b'"refs"' in begin:
                return
            if path.suffix != ".json" and is_layout(path):
                return
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
    raise ConfigError(f"{path}: is there and holds no layout; remove it, or name another output")


def _only(files: Sequence[ScannedFile]) -> FileLayout:
    if len(files) != 1:
        raise ConfigError(
            f"kerchunk references are for one file, not for {len(files)}; write one for each, or a "
            "layout of h5stream (any other suffix, like .npz)"
        )
    return files[0].layout


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


def write_folder(output: str | os.PathLike[str], files: Iterable[tuple[str, bytes]]) -> None:
    """Write the files of a folder of references, or leave what was there."""
    path = Path(output)
    part, old = (path.with_name(f"{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        part.mkdir()
        for name, data in files:
            inside = part / name
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(data)
        _require_replaceable(path)
        if path.exists():
            path.rename(old)
        part.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.exists() and not path.exists():
            old.rename(path)
        raise LayoutError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _require_replaceable(path: Path) -> None:
    """Refuse to replace anything but references: nothing else may be lost."""
    if not path.exists():
        return
    if not path.is_dir() or path.is_symlink():
        raise ConfigError(f"{path}: is there and no folder; remove it, or name another output")
    inside = [file for file in path.rglob("*") if not file.is_dir()]
    other = [file for file in inside if not _RECORD.fullmatch(file.name)]
    if inside and other != [path / FOLDER_INDEX]:
        raise ConfigError(
            f"{path}: is there and holds more than references, or something else; remove it, or "
            "name another output"
        )
