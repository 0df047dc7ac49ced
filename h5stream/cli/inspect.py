"""h5stream inspect: what a file holds, how each dataset would be read, and who wrote it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from h5stream.cli.screen import errors_in_one_line, make_console, read_options
from h5stream.conventions import recognise
from h5stream.decode import describe_filter
from h5stream.errors import H5StreamError, UnsupportedError
from h5stream.fetch import Access
from h5stream.fields import Chosen, Dense, FileSpec, Grouped, Known, Picked, Slices, Sparse, Vlen
from h5stream.layout import (
    DatasetLayout,
    FileLayout,
    Fingerprint,
    PartialFile,
    Source,
    scan_file,
)
from h5stream.native import choose_executor
from h5stream.opening.routes import choose_route
from h5stream.pipes.explain import format_bytes

__all__ = ["describe_convention", "draw_tree", "inspect"]


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
    """Show a file's datasets: how they are stored, and how h5stream would read them.

    For files of h5torch, h5mapper, AnnData and others it knows, also their fields.
    """
    with errors_in_one_line():
        access = Access(read_options(option))
        source = access.source(access.name(file))
        tree = draw_tree(scan_file(source.name, source=source), source)
        convention = source.run(describe_convention)
    console = make_console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(tree)
    console.print(Text.assemble(("executor    ", "bold"), str(choose_executor())))
    if convention.plain:
        console.print()
        console.print(convention)


_MOST_NAMES = 30
"""So many further fields are named."""


def describe_convention(file: Any) -> Text:
    """Say which convention an open file follows, its default fields and how to ask for others."""
    convention = recognise(file)
    if convention is None:
        return Text()
    lines = [Text.assemble(("convention  ", "bold"), f"{convention.name}: {convention.about}")]
    try:
        made = convention.default_fields(file)
        further = [name for name in convention.field_names(file) if name not in made]
    except H5StreamError as error:
        return Text("\n").join([*lines, Text(f"not streamable: {error}", style="yellow")])
    width = max(map(len, made), default=0)
    for at, (name, spec) in enumerate(made.items()):
        label = "" if at else "fields"
        lines.append(
            Text.assemble(
                (f"{label:<12}", "bold"), (f"{name:<{width}}", "cyan"), f"  {_told(spec)}"
            )
        )
    if further:
        more = len(further) - _MOST_NAMES
        shown = ", ".join(further[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        lines.append(Text.assemble(("also        ", "bold"), shown))
    lines.append(Text.assemble(("otherwise   ", "bold"), convention.override))
    return Text("\n").join(lines)


def _told(spec: FileSpec | str) -> str:
    """Say in a few words where a field comes from."""
    match spec:
        case Dense(axis=0) | Vlen():
            return spec.path
        case Dense():
            return f"{spec.path}, axis {spec.axis}"
        case Sparse():
            return f"{spec.path}, sparse, {spec.n_columns} columns"
        case Grouped(attribute=None):
            return f"one dataset a sample: {spec.pattern}"
        case Grouped():
            return f"attribute {spec.attribute} of {spec.pattern}"
        case Slices():
            return f"slices of {_told(spec.base)}"
        case Picked():
            return f"rows of {_told(spec.base)}"
        case Chosen():
            return f"{len(spec.columns)} columns of {_told(spec.base)}"
        case Known():
            return "read when the file is opened, kept in memory"
    return str(spec)


def draw_tree(file: FileLayout, source: Source | None = None) -> Tree:
    """Draw the groups and datasets of a file.

    Parameters
    ----------
    file : FileLayout
        Scanned with tables.
    source : Source, optional
        How it was scanned, if it is remote.
    """
    partial_file = source if isinstance(source, PartialFile) else None
    size = format_bytes(file.fingerprints[file.path].size_bytes)
    root = Tree(Text.assemble((file.path, "bold"), f"  {size}"), guide_style="dim")
    groups = {"": root}
    for name, layout in file.datasets.items():
        group, _, leaf = name.rpartition("/")
        reading = _describe_reading(layout, file.fingerprints[layout.file], partial_file)
        facts: list[Part] = [(leaf, "cyan"), *_facts(layout)]
        if reading.plain == "direct":
            facts += ["  ", reading]
        node = _grow_group(groups, group).add(Text.assemble(*facts))
        if reading.plain != "direct":
            node.add(reading)
        if layout.packing is not None and layout.packing.matters and not layout.refused:
            node.add(Text(f"comes out as stored, without decode_cf=True: {layout.packing}"))
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
    if layout.vlen is not None:
        return "text" if layout.vlen.text else f"{layout.vlen.dtype} of variable length"
    if layout.dtype.names is not None:
        return f"compound({', '.join(layout.dtype.names)})"
    return str(layout.dtype)


def _short_name(number: int, stored_name: str) -> str:
    return describe_filter(number, stored_name).split(" (")[0]


def _describe_reading(
    layout: DatasetLayout, fingerprint: Fingerprint, source: PartialFile | None
) -> Text:
    """Say how the dataset is read, or why it is not."""
    if layout.refused:
        return Text(f"not streamable: {layout.refused}", style="yellow")
    try:
        route = choose_route(layout, fingerprint, source)
    except UnsupportedError as error:
        return Text(f"not streamable: {error}", style="yellow")
    return Text(str(route), style="green" if route.direct else "yellow")
