"""open_files: names the files and the fields. Scanned once, when first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any, ClassVar, Literal

import platformdirs

from h5stream.errors import ConfigError
from h5stream.fetch import Access, is_url
from h5stream.fetch.redact import public_url
from h5stream.fetch.store import PieceStore
from h5stream.pipes.stage import Items, Stage
from h5stream.reader import Catalog, open_catalog
from h5stream.reader.catalog import Sources

__all__ = ["LayoutOption", "OpenFiles"]

LayoutOption = str | os.PathLike[str] | Literal[False] | None
"""A sidecar's path or URL; None: the cache; False: neither."""

_LAYOUT_BYTES = 2**28
"""What the layouts of remote files may take on disk."""


class OpenFiles(Stage):
    """The files and fields of a pipe.

    Parameters
    ----------
    sources : path or sequence of paths
        Files and glob patterns.
    fields : mapping, sequence or None
        Key of the column -> dataset path; or dataset paths; or None for the default fields.
    access : Access, optional
        The way to remote files.
    layout : path, False or None
        Layouts that were written down; None: look in the cache; False: scan.
    cache_dir : path, optional
        Where layouts and bytes of remote files are kept.
    """

    method: ClassVar[str] = "open_files"
    takes: ClassVar[frozenset[Items]] = frozenset({Items.NOTHING})

    def __init__(
        self,
        sources: Sources,
        fields: Mapping[str, str] | Sequence[str] | None = None,
        access: Access | None = None,
        layout: LayoutOption = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.sources = _as_paths(sources)
        self.fields = _named(fields)
        self.access = access or Access()
        self.layout = layout if layout is None or layout is False else os.fspath(layout)
        self.cache_dir = None if cache_dir is None else os.fspath(cache_dir)
        self._catalog: Catalog | None = None
        self._scanning = threading.Lock()

    def gives(self, taken: Items) -> Items:
        """Files."""
        return Items.FILES

    @property
    def catalog(self) -> Catalog:
        """What the files hold; scans them if that has not been done."""
        with self._scanning:
            if self._catalog is None:
                self._catalog = open_catalog(
                    self.sources,
                    self.fields,
                    self.access,
                    sidecar=self.layout or None,
                    cache=self._layout_cache(),
                )
            return self._catalog

    def _layout_cache(self) -> PieceStore | None:
        """Find where layouts are kept; those of files in this process's memory are not."""
        lasting = (is_url(s) and not s.startswith("memory://") for s in self.sources)
        if self.layout is not None or not any(lasting):
            return None
        folder = self.cache_dir or platformdirs.user_cache_dir("h5stream", appauthor=False)
        return PieceStore(Path(folder) / "layouts", _LAYOUT_BYTES)

    def __getstate__(self) -> dict[str, Any]:
        sources, layout = self.sources, self.layout
        if get_spawning_popen() is None:  # what is written down has no secrets
            sources = tuple(public_url(s) if is_url(s) else s for s in sources)
            layout = public_url(layout) if layout and is_url(layout) else layout
        return {
            "sources": sources,
            "fields": self.fields,
            "access": self.access,
            "layout": layout,
            "cache_dir": self.cache_dir,
            "catalog": self._catalog,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        catalog = state.pop("catalog")
        self.__init__(**state)  # type: ignore[misc]
        self._catalog = catalog


def _as_paths(sources: Sources) -> tuple[str, ...]:
    given = (sources,) if isinstance(sources, str | os.PathLike) else sources
    try:
        paths = tuple(os.fspath(path) for path in given)
    except TypeError as error:
        raise ConfigError(
            f"sources must be a path, a pattern or a list of them, not {sources!r}"
        ) from error
    if not all(isinstance(path, str) for path in paths):
        raise ConfigError(f"sources must be text, not {paths!r}")
    return paths


def _named(fields: Mapping[str, str] | Sequence[str] | None) -> dict[str, str] | None:
    if fields is None:
        return None
    if isinstance(fields, str):
        fields = [fields]
    named: dict[Any, Any]
    named = dict(fields) if isinstance(fields, Mapping) else {name: name for name in fields}
    if not named:
        raise ConfigError("fields is empty; name at least one dataset, or pass None")
    for key, name in named.items():
        if not isinstance(key, str) or not isinstance(name, str):
            raise ConfigError(f"fields must map names to dataset paths, not {key!r} to {name!r}")
    return named
