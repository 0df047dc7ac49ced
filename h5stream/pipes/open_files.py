"""open_files: names the files and the fields. Scanned once, when first needed."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.context import get_spawning_popen
from typing import Any, ClassVar

from h5stream.errors import ConfigError
from h5stream.fetch import Access, is_url
from h5stream.fetch.disk_cache import DiskCache
from h5stream.fetch.redact import public_url
from h5stream.fields import Asked, FieldSpec, Missing, Subset, Weights, WindowRows
from h5stream.fields.subset import is_chain
from h5stream.opening import Sources, choose_rows, open_catalog
from h5stream.opening.layouts import LayoutOption, layout_cache
from h5stream.pipes.stage import Items, Stage
from h5stream.reader import ROW_NUMBERS, Catalog

__all__ = ["OpenFiles"]


class OpenFiles(Stage):
    """The files and fields of a pipe.

    Parameters
    ----------
    sources : path, sequence of paths, or mapping
        Files and glob patterns; those of each field, where fields lie in files of their own.
    fields : mapping, sequence or None
        Key of the column -> dataset path, name in the files' convention, or field spec; or a list
        of such names; or None for the default fields.
    subset : Subset
        Which rows are streamed.
    keep_order : bool
        Rows of a subset keep the order in which they were given.
    convention : str or None
        How the files were written: "auto", the name of a convention, or None.
    options : mapping or None
        Options of the convention.
    access : Access, optional
        The way to remote files.
    layout : path, False or None
        Layouts that were written down; None: look in the cache; False: scan.
    cache_dir : path, optional
        Where layouts, and bytes of remote files, are kept.
    missing : {"error", "drop"}
        What to do with a group that lacks a field.
    """

    method: ClassVar[str] = "open_files"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.NOTHING})

    def __init__(
        self,
        sources: Sources,
        fields: Mapping[str, Asked] | Sequence[str] | None = None,
        *,
        subset: Subset = None,
        keep_order: bool = True,
        convention: str | None = "auto",
        options: Mapping[str, Any] | None = None,
        access: Access | None = None,
        layout: LayoutOption = None,
        cache_dir: str | os.PathLike[str] | None = None,
        missing: Missing = "error",
    ) -> None:
        self.sources = _as_sources(sources)
        self.fields = _named(fields)
        parts = subset if is_chain(subset) else (subset,)
        if any(isinstance(part, WindowRows) for part in parts) and not keep_order:
            raise ConfigError(
                "window_rows() lists windows row by row, and shuffle=True would take them apart; "
                "stream windows in order, or shuffle slices: Slices(field, length, stride=...)"
            )
        self.subset = subset
        self.keep_order = keep_order
        self.convention = convention
        self.options = dict(options or {})
        self.missing: Missing = missing
        self.access = access or Access()
        self.layout = layout if layout is None or layout is False else os.fspath(layout)
        self.cache_dir = None if cache_dir is None else os.fspath(cache_dir)
        self.numbers = False
        self.weights: Weights = None
        self.weighted = False
        self._catalog: Catalog | None = None
        self._asked = 0
        self._scanning = threading.Lock()

    def gives(self, taken: Items) -> Items:
        """Files."""
        return Items.FILES

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return a digest of the order of rows, if it is not that of the files."""
        order = self.catalog.order
        if order is None:
            return {}
        return {"order": hashlib.blake2b(order.tobytes(), digest_size=8).hexdigest()}

    @property
    def catalog(self) -> Catalog:
        """What the files hold; scans them if that has not been done."""
        with self._scanning:
            if self._catalog is None:
                before = self.access.asked
                whole = self._open(self.fields)
                chosen = choose_rows(
                    whole,
                    self.subset,
                    partial(self._open_fields, whole),
                    keep_order=self.keep_order,
                    missing=self.missing,
                    weights=self.weights,
                    weighted=self.weighted,
                )
                if self.numbers and ROW_NUMBERS in chosen.columns:
                    raise ConfigError(
                        f"{ROW_NUMBERS!r} is what transform() calls the numbers of rows; give the "
                        "field another name: fields={name: path}"
                    )
                self._catalog = replace(chosen, numbered=self.numbers)
                self._asked += self.access.asked - before
            return self._catalog

    def numbered(self) -> OpenFiles:
        """Return the same files, whose rows are read with their numbers beside them."""
        other = self._copy(numbers=True)
        if self._catalog is not None:
            other._catalog = replace(self._catalog, numbered=True)
        return other

    def weighed(self, weights: Weights) -> OpenFiles:
        """Return the same files, whose rows have weights."""
        return self._copy(weights=weights, weighted=True, _catalog=None)

    def _copy(self, **changes: Any) -> OpenFiles:
        other = OpenFiles.__new__(OpenFiles)
        vars(other).update({**vars(self), **changes, "_scanning": threading.Lock()})
        return other

    @property
    def opening_requests(self) -> int:
        """How many requests opened remote files so far, in this process."""
        return self._asked

    @property
    def known(self) -> Catalog | None:
        """What the files hold, if they have been scanned."""
        return self._catalog

    def _open(self, fields: Mapping[str, Asked] | None) -> Catalog:
        return open_catalog(
            self.sources,
            fields,
            self.access,
            convention=self.convention,
            options=self.options,
            sidecar=self.layout or None,
            cache=self._layout_cache(),
            missing=self.missing,
        )

    def _open_fields(self, whole: Catalog, more: Mapping[str, Asked]) -> Catalog:
        """Open more fields, beside the others: which rows there are may depend on all."""
        plain = all(file.convention is None and file.rows is None for file in whole.files)
        named = all(isinstance(asked, str) for asked in more.values())
        if plain and named and not isinstance(self.sources, Mapping):
            return self._open(more)
        fields = self.fields or {key: key for key in whole.files[0].fields}
        return self._open({**fields, **more})

    def _layout_cache(self) -> DiskCache | None:
        """Find where layouts are kept, if they are."""
        if self.layout is not None:
            return None
        paths = [path for paths in _by_key(self.sources).values() for path in paths]
        return layout_cache(paths, self.cache_dir)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_scanning"}
        if get_spawning_popen() is None:  # what is written down has no secrets
            layout = self.layout
            state["sources"] = _public(self.sources)
            state["layout"] = public_url(layout) if layout and is_url(layout) else layout
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._scanning = threading.Lock()


_Paths = tuple[str, ...]


def _by_key(sources: _Paths | Mapping[str, _Paths]) -> Mapping[str, _Paths]:
    return sources if isinstance(sources, Mapping) else {"": sources}


def _public(sources: _Paths | Mapping[str, _Paths]) -> _Paths | Mapping[str, _Paths]:
    """Name sources without secrets."""
    public = {
        key: tuple(public_url(path) if is_url(path) else path for path in paths)
        for key, paths in _by_key(sources).items()
    }
    return public if isinstance(sources, Mapping) else public[""]


def _as_sources(sources: Sources) -> _Paths | Mapping[str, _Paths]:
    if not isinstance(sources, Mapping) or hasattr(sources, "id"):  # a group is a mapping as well
        return _as_paths(sources)
    if not sources or not all(isinstance(key, str) for key in sources):
        raise ConfigError(f"a mapping of sources goes from fields to files, not {sources!r:.80}")
    return {key: _as_paths(paths) for key, paths in sources.items()}


def _as_paths(sources: Any) -> _Paths:
    alone = isinstance(sources, str | os.PathLike) or hasattr(sources, "id")
    given: Any = (sources,) if alone else sources
    if hasattr(given, "read"):
        raise ConfigError(
            f"{sources!r:.80} is an open file, whose bytes go through Python; pass its path or URL"
        )
    try:
        paths = tuple(os.fspath(_path_of(source)) for source in given)
    except TypeError as error:
        raise ConfigError(
            f"sources must be a path, a pattern or a list of them, not {sources!r:.80}"
        ) from error
    if not all(isinstance(path, str) for path in paths):
        raise ConfigError(
            f"sources must be a path, a pattern or a list of them, not {sources!r:.80}"
        )
    return paths


def _path_of(source: Any) -> Any:
    """Take an open `h5py.File` by its path."""
    if not hasattr(source, "id"):
        return source
    if not source:
        raise ConfigError(f"{source!r} is closed; pass the path of the file")
    if not hasattr(source, "driver"):
        file, name = source.file.filename, str(source.name).strip("/")
        if not name:
            raise ConfigError(f"{source!r:.80} is a group; pass the file: H5Stream({file!r})")
        raise ConfigError(
            f"{source!r:.80} is a part of a file; pass the file, and name the part: "
            f"H5Stream({file!r}, fields=[{name!r}])"
        )
    if source.mode != "r":
        raise ConfigError(
            f"{source.filename} is open for writing; close it, and pass its path: "
            f"H5Stream({source.filename!r})"
        )
    if source.driver in ("core", "fileobj"):
        raise ConfigError(
            f"{source!r} is not a file on disk; pass a path, or a URL that fsspec knows"
        )
    return source.filename


def _named(fields: Mapping[str, Asked] | Sequence[str] | None) -> dict[str, Asked] | None:
    if fields is None:
        return None
    if isinstance(fields, str):
        fields = [fields]
    named: dict[Any, Any]
    named = dict(fields) if isinstance(fields, Mapping) else {name: name for name in fields}
    if not named:
        raise ConfigError("fields is empty; name at least one dataset, or pass None")
    for key, name in named.items():
        if not isinstance(key, str) or not isinstance(name, str | FieldSpec):
            raise ConfigError(
                f"fields must map names to dataset paths or specs, not {key!r} to {name!r:.80}"
            )
    return named
