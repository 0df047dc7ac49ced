"""open_files: names the files and the fields. Scanned once, when first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from h5stream.errors import ConfigError
from h5stream.fields import Asked, FieldSpec, Subset
from h5stream.pipes.stage import Items, Stage
from h5stream.reader import Catalog, choose_rows, open_catalog
from h5stream.reader.catalog import Sources

__all__ = ["OpenFiles"]


class OpenFiles(Stage):
    """The files and fields of a pipe.

    Parameters
    ----------
    sources : path or sequence of paths
        Files and glob patterns.
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
    ) -> None:
        self.sources = _as_paths(sources)
        self.fields = _named(fields)
        self.subset = subset
        self.keep_order = keep_order
        self.convention = convention
        self.options = dict(options or {})
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
                whole = self._open(self.fields)
                self._catalog = choose_rows(
                    whole,
                    self.subset,
                    partial(self._open_field, whole),
                    keep_order=self.keep_order,
                )
            return self._catalog

    def _open(self, fields: Mapping[str, Asked] | None) -> Catalog:
        return open_catalog(self.sources, fields, convention=self.convention, options=self.options)

    def _open_field(self, whole: Catalog, name: str) -> Catalog:
        """Open one more field, beside the others: which rows there are may depend on all."""
        if all(file.convention is None for file in whole.files):
            return self._open({name: name})
        fields = self.fields or {key: key for key in whole.files[0].fields}
        return self._open({**fields, name: name})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_scanning"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._scanning = threading.Lock()


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
