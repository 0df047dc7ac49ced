"""How pipes show themselves: files, rows, fields and stages, without opening anything."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from h5stream.fetch import is_url
from h5stream.fetch.redact import public_url
from h5stream.pipes.list_chunks import ListChunks
from h5stream.pipes.mix import Mix
from h5stream.pipes.open_files import OpenFiles
from h5stream.pipes.stage import Stage
from h5stream.reader import Catalog

__all__ = ["html_of_files", "html_table", "show_files", "show_html", "show_pipe"]

_SHOWN = 6


def show_pipe(kind: str, stages: Sequence[Stage]) -> str:
    """Show a pipe in a line.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream("train-*.h5", ["x", "y"], batch_size=32)
    >>> show_pipe("H5Stream", stream.stages)
    "H5Stream('train-*.h5', not opened yet; fields: x, y; batch_size=32)"
    """
    first, *others = stages
    if isinstance(first, OpenFiles):
        begin = show_files(first)
    else:
        assert isinstance(first, Mix), "a pipe begins with its files"
        begin = f"mix of {len(first.parts)} streams"
    told = [begin, *(text for stage in others if (text := _options(stage, kind)))]
    return f"{kind}({'; '.join(told)})"


def show_html(kind: str, stages: Sequence[Stage]) -> str:
    """Show a pipe as tables: its files and rows, its fields, and its stages.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream("train-*.h5", ["x", "y"], batch_size=32)
    >>> "train-*.h5" in show_html("H5Stream", stream.stages)
    True
    """
    first, *others = stages
    if isinstance(first, OpenFiles):
        rows = _facts_of_files(first)
    else:
        assert isinstance(first, Mix), "a pipe begins with its files"
        rows = [("streams", str(len(first.parts)))]
    rows += [(stage.method, _options(stage, "Pipe")) for stage in others]
    return html_table(kind, rows)


def html_table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Write a table of two columns for a notebook."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{html.escape(label)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for label, value in rows
    )
    return f"<b>{html.escape(title)}</b><table>{lines}</table>"


def html_of_files(kind: str, files: OpenFiles) -> str:
    """Show files, rows and fields as a table."""
    return html_table(kind, _facts_of_files(files))


def _facts_of_files(files: OpenFiles) -> list[tuple[str, str]]:
    catalog = files.known
    if catalog is not None:
        fields = [(f"field {name}", str(column)) for name, column in catalog.columns.items()]
        return [("files", _counted(catalog)), *fields]
    asked = "by default" if files.fields is None else _some(list(files.fields))
    return [("files", f"{_sources(files.sources)}, not opened yet"), ("fields", asked)]


def show_files(files: OpenFiles) -> str:
    """Show what is known of files, and of their fields."""
    catalog = files.known
    if catalog is not None:
        return f"{_counted(catalog)}; fields: {_some(_described(catalog))}"
    asked = "by default" if files.fields is None else _some(list(files.fields))
    subset = "" if files.subset is None else "; some of the rows"
    return f"{_sources(files.sources)}, not opened yet; fields: {asked}{subset}"


def _counted(catalog: Catalog) -> str:
    n_files = len({file.path for file in catalog.files})
    files = "1 file" if n_files == 1 else f"{n_files} files"
    return f"{files}, {catalog.n_rows} row{'' if catalog.n_rows == 1 else 's'}"


def _described(catalog: Catalog) -> list[str]:
    return [f"{name} ({column})" for name, column in catalog.columns.items()]


def _sources(sources: Any) -> str:
    if isinstance(sources, Mapping):
        return ", ".join(f"{key}: {_sources(paths)}" for key, paths in sources.items())
    shown = [repr(public_url(path) if is_url(path) else path) for path in sources[:1]]
    return shown[0] if len(sources) == 1 else f"{shown[0]} and {len(sources) - 1} more"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _options(stage: Stage, kind: str) -> str:
    """Show what of a stage is not as by default; how a stream lists chunks is its own business."""
    if isinstance(stage, ListChunks) and kind != "Pipe":
        return ""
    found = []
    for field in fields(stage):  # type: ignore[arg-type] # stages are dataclasses
        value = getattr(stage, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if value is None or value == default:
            continue
        shown = getattr(value, "__qualname__", None) or repr(value)
        found.append(f"{field.name}={shown}")
    text = ", ".join(found)
    return f"{stage.method}: {text}" if text and stage.method != "batch" else text
