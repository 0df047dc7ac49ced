"""Row i of all fields comes from one group of one file: against a slow, obvious reader."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.layout.names import natural_key
from tests.places import PLACES as ALL_PLACES
from tests.places import placed

PLACES = st.sampled_from(ALL_PLACES)
ORDERS = st.sampled_from(["natural", "listed"])


@dataclass(frozen=True)
class Group:
    """One recording: what its group holds."""

    name: str
    x: np.ndarray
    has_y: bool
    label: int


@st.composite
def groups(draw: st.DrawFn, file: int) -> list[Group]:
    """Draw groups in any order of writing; y is missing in some."""
    numbers = draw(st.lists(st.integers(0, 30), min_size=1, max_size=13, unique=True))
    return [
        Group(
            f"g_{number}",
            1000 * file + 10 * number + np.arange(draw(st.integers(1, 6)), dtype="i8"),
            draw(st.integers(0, 5)) > 0,
            draw(st.integers(0, 9)),
        )
        for number in numbers
    ]


files_of_groups = st.integers(1, 3).flatmap(
    lambda count: st.tuples(*(groups(file) for file in range(count)))
)


Files = tuple[list[Group], ...]


def write(folder: Path, files: Files, *, listed: bool) -> list[str]:
    """Write each file; groups are listed in the order of writing, or by their names."""
    paths = [str(folder / f"{number}.h5") for number in range(len(files))]
    for path, members in zip(paths, files, strict=True):
        with h5py.File(path, "w", track_order=listed) as file:
            for group in members:
                made = file.create_group(group.name)
                made["x"] = group.x
                made.attrs["label"] = group.label
                if group.has_y:
                    made["y"] = -group.x
    return paths


def ordered(members: list[Group], order: str, *, listed: bool) -> list[Group]:
    if order == "natural":
        return sorted(members, key=lambda group: natural_key(group.name))
    return members if listed else sorted(members, key=lambda group: group.name)


def kept(files: Files, order: str, *, listed: bool) -> list[list[Group]]:
    return [[g for g in ordered(members, order, listed=listed) if g.has_y] for members in files]


@contextmanager
def streamed(
    files: Files, fields: dict[str, Any], where: str, *, listed: bool = False, **options: Any
) -> Iterator[h5s.H5Stream]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as until_the_end:
        paths = [
            until_the_end.enter_context(placed(path, where))
            for path in write(Path(folder), files, listed=listed)
        ]
        yield h5s.H5Stream(paths, fields, output="numpy", **options)


def rows_of(stream: h5s.H5Stream) -> list[dict[str, Any]]:
    return [{key: np.asarray(value).tolist() for key, value in row.items()} for row in stream]


def refusal(stream: h5s.H5Stream) -> str:
    with pytest.raises(h5s.ConfigError) as caught:
        len(stream)
    return str(caught.value)


@given(files=files_of_groups, order=ORDERS, listed=st.booleans(), where=PLACES, data=st.data())
def test_fields_of_groups_are_joined_by_name(
    files: Files, order: Any, listed: bool, where: str, data: st.DataObject
) -> None:
    names = sorted({group.name for members in files for group in members})
    values = {name: data.draw(st.integers(0, 99)) for name in names}
    fields = {
        "x": h5s.Grouped("g_*/x", order=order),
        "y": h5s.Grouped("g_*/y"),
        "label": h5s.Grouped("g_*", attribute="label"),
        "given": h5s.Given(values, by="name"),
    }
    groups = kept(files, order, listed=listed)
    assume(all(groups))
    expected = [
        {"x": g.x.tolist(), "y": (-g.x).tolist(), "label": g.label, "given": values[g.name]}
        for members in groups
        for g in members
    ]
    with streamed(files, fields, where, listed=listed, missing="drop") as stream:
        assert rows_of(stream) == expected
        rows = stream.rows()
        assert rows.group == [g.name for members in groups for g in members]
        assert rows.file.tolist() == [number for number, m in enumerate(groups) for _ in m]
    with streamed(files, fields, where, listed=listed) as stream:
        if all(group.has_y for members in files for group in members):
            assert rows_of(stream) == expected
        else:
            assert "lack" in refusal(stream)


@given(files=files_of_groups, where=PLACES, length=st.integers(1, 4), stride=st.integers(1, 3))
def test_slices_keep_to_their_group_and_its_constants(
    files: Files, where: str, length: int, stride: int
) -> None:
    fields = {
        "x": h5s.Slices(h5s.Grouped("g_*/x"), length, stride=stride),
        "y": h5s.Slices(h5s.Grouped("g_*/y"), length, stride=stride),
        "label": h5s.Grouped("g_*", attribute="label"),
    }
    groups = kept(files, "natural", listed=False)
    assume(all(groups))
    expected = [
        (g, {"x": x.tolist(), "y": (-x).tolist(), "label": g.label})
        for members in groups
        for g in members
        for start in range(0, len(g.x) - length + 1, stride)
        for x in [g.x[start : start + length]]
    ]
    with streamed(files, fields, where, missing="drop") as stream:
        if not expected:
            assert "no slice fits" in refusal(stream)
            return
        assert rows_of(stream) == [row for _group, row in expected]
        assert stream.rows().group == [group.name for group, _row in expected]


@given(files=files_of_groups, where=PLACES, data=st.data(), shift=st.integers(-1, 1))
def test_explicit_slices_count_over_all_files_and_stay_in_their_group(
    files: Files, where: str, data: st.DataObject, shift: int
) -> None:
    groups = [(n, g) for n, m in enumerate(files) for g in ordered(m, "natural", listed=False)]
    values = np.concatenate([group.x for _number, group in groups])
    owners = np.repeat(np.arange(len(groups)), [len(group.x) for _number, group in groups])
    starts = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=8))
    starts.sort(key=lambda start: groups[owners[start]][0])
    stops = [min(len(values), start + data.draw(st.integers(1, 3))) for start in starts]
    fields = {
        "x": h5s.Slices(
            h5s.Grouped("g_*/x", order="natural"), starts=starts, stops=stops, shift=shift
        ),
        "label": h5s.Grouped("g_*", attribute="label"),
        "number": h5s.Given(list(range(len(starts)))),
    }
    within = [
        0 <= a + shift < b + shift <= len(values)
        and {owners[a]} == set(owners[a + shift : b + shift].tolist())
        for a, b in zip(starts, stops, strict=True)
    ]
    expected = [
        {
            "x": values[a + shift : b + shift].tolist(),
            "label": groups[owners[a]][1].label,
            "number": number,
        }
        for number, (a, b) in enumerate(zip(starts, stops, strict=True))
    ]
    with streamed(files, fields, where) as stream:
        if all(within):
            assert rows_of(stream) == expected
        else:
            with pytest.raises(h5s.LayoutError, match=r"slice \d+ goes from"):
                len(stream)


@given(files=files_of_groups, where=PLACES, by_file=st.booleans(), data=st.data())
def test_given_values_count_over_all_files_or_by_file(
    files: Files, where: str, by_file: bool, data: st.DataObject
) -> None:
    groups = [ordered(members, "natural", listed=False) for members in files]
    columns = [[data.draw(st.integers(0, 9)) for _ in members] for members in groups]
    values = [value for column in columns for value in column]
    x = h5s.Grouped("g_*/x", order="natural")
    asked = h5s.Given(columns, by="file") if by_file else h5s.Given(values)
    everything = [group for members in groups for group in members]
    with streamed(files, {"x": x, "v": asked}, where) as stream:
        assert rows_of(stream) == [
            {"x": group.x.tolist(), "v": value}
            for group, value in zip(everything, values, strict=True)
        ]
    in_doubt = any([g.name for g in m] != sorted(g.name for g in m) for m in groups)
    with streamed(files, {"x": h5s.Grouped("g_*/x"), "v": asked}, where) as stream:
        if in_doubt:
            assert 'order="natural"' in refusal(stream)
        else:
            assert [row["v"] for row in rows_of(stream)] == values
