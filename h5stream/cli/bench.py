"""h5stream bench: how fast a file of one's own streams here, and what bounds that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from h5stream.cli.screen import errors_in_one_line, make_console, read_options
from h5stream.measure import Measurement, as_svg, measure

__all__ = ["bench"]


def bench(
    sources: Annotated[list[str], typer.Argument(help="Paths, URLs or patterns.")],
    field: Annotated[
        list[str] | None,
        typer.Option("--field", "-f", help="A field; by default those that a stream has."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Rows of a batch.")] = 128,
    step_ms: Annotated[
        float, typer.Option("--step-ms", min=0, help="What a training step takes, simulated.")
    ] = 0.0,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.01, help="Of each measurement.")
    ] = 2.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each is made.")] = 3,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Of the ways with some.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the figures into this SVG file.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="A storage option of a remote file system: name=value."),
    ] = None,
) -> None:
    """Measure how fast files stream here, beside the machine's limit and h5py, and say why."""
    console = make_console(stderr=True)
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=as_json or not console.is_terminal,
    )
    with errors_in_one_line(), shown as bar:
        task = bar.add_task("opening", total=None)
        found = measure(
            sources,
            field or None,
            batch_size=batch_size,
            step_s=step_ms / 1000,
            seconds=seconds,
            rounds=rounds,
            num_workers=workers,
            progress=lambda name, done, total: bar.update(
                task, description=name, completed=done, total=total
            ),
            storage_options=read_options(option),
        )
    if plot is not None:
        plot.write_text(as_svg(Path(sources[0]).name, found.ways))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        _print(found, with_step=step_ms > 0)


def _print(found: Measurement, *, with_step: bool) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("way", no_wrap=True)
    for name in ("rows/s", "from", "to", *(["step is busy"] if with_step else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for way in found.ways:
        figures = [f"{rate:,.0f}" for rate in (way.median, min(way.rates), max(way.rates))]
        limit = way.name.startswith("limit")
        busy = ["" if limit else f"{way.busy:.0%}"] if with_step else []
        table.add_row(way.name, *figures, *busy)
    console = make_console()
    console.print(table)
    console.print(f"verdict  {found.verdict}", markup=False, soft_wrap=True)
    for advice in found.advice:
        console.print(f"advice   {advice}", markup=False, soft_wrap=True)
