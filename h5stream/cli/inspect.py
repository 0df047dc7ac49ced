"""h5stream inspect: what a file holds, and how each dataset of it would be read."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from h5stream.cli.screen import errors_in_one_line, make_console, read_options
from h5stream.decode import describe_filter
from h5stream.errors import UnsupportedError
from h5stream.explain import format_bytes
from h5stream.fetch import Access
from h5stream.layout import (
    DatasetLayout,
    FileLayout,
    Fingerprint,
    Source,
    SparseSource,
    scan_file,
)
from h5stream.reader.routes import choose_route

__all__ = ["draw_tree", "inspect"]


Part = str | tuple[str, str] | Text

_WIDE = 1000
"""Columns when the output goes to a file or another program: no line is broken."""


def inspect(
    file: Annotated[str, typer.Argument(help="An HDF5 file: path or URL.", show_default=False)],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="A storage option of a remote file system: name=value."),
    ] = None,
) -> None:
    """Show a file's datasets: how they are stored, and how h5stream would read them."""
    with errors_in_one_line():
        access = Access(read_options(option))
        source = access.source(access.name(file))
        tree = draw_tree(scan_file(source.name, source=source), source)
    console = make_console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(tree)


def draw_tree(file: FileLayout, source: Source | None = None) -> Tree:
    """Draw the groups and datasets of a file.

    Parameters
    ----------
    file : FileLayout
        Scanned with tables.
    source : Source, optional
        How it was scanned, if it is remote.
    """
    sparse = source if isinstance(source, SparseSource) else None
    size = format_bytes(file.fingerprints[file.path].size_bytes)
    root = Tree(Text.assemble((file.path, "bold"), f"  {size}"), guide_style="dim")
    groups = {"": root}
    for name, layout in file.datasets.items():
        group, _, leaf = name.rpartition("/")
        reading = _describe_reading(layout, file.fingerprints[layout.file], sparse)
        facts: list[Part] = [(leaf, "cyan"), *_facts(layout)]
        if reading.plain == "direct":
            facts += ["  ", reading]
        node = _grow_group(groups, group).add(Text.assemble(*facts))
        if reading.plain != "direct":
            node.add(reading)
    return root


def _grow_group(groups: dict[str, Tree], name: str) -> Tree:
    if name not in groups:
        parent, _, leaf = name.rpartition("/")
        groups[name] = _grow_group(groups, parent).add(Text(f"{leaf}/", style="bold blue"))
    return groups[name]


def _facts(layout: DatasetLayout) -> list[Part]:
    if layout.refused:
        return [f"  {layout.shape}"]
    stored = f"{format_bytes(layout.stored_bytes)} of {format_bytes(layout.nbytes)}"
    if layout.filters and layout.stored_bytes:
        stored += f" ({layout.nbytes / layout.stored_bytes:.1f}x)"
    chunks = f"chunks {layout.chunks}" if layout.chunks else str(layout.storage)
    filters = [_short_name(spec.id, spec.name) for spec in layout.filters]
    return [
        f"  {layout.shape}  ",
        (_type_name(layout), "magenta"),
        "  ",
        "  ".join([chunks, ", ".join(filters) or "no filter", stored]),
    ]


def _type_name(layout: DatasetLayout) -> str:
    if layout.dtype.names is not None:
        return f"compound({', '.join(layout.dtype.names)})"
    return str(layout.dtype)


def _short_name(number: int, stored_name: str) -> str:
    return describe_filter(number, stored_name).split(" (")[0]


def _describe_reading(
    layout: DatasetLayout, fingerprint: Fingerprint, source: SparseSource | None
) -> Text:
    """Say how the dataset is read, or why it is not."""
    if layout.refused:
        return Text(f"not streamable: {layout.refused}", style="yellow")
    try:
        route = choose_route(layout, fingerprint, source)
    except UnsupportedError as error:
        return Text(f"not streamable: {error}", style="yellow")
    return Text(str(route), style="green" if route.direct else "yellow")
