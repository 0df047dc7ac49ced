"""What can be asked for as a field: one small frozen class for each way to lay rows over datasets.

A plain path means what its dataset or group suggests: `Dense` for a dataset of plain elements,
`Vlen` for one of variable-length elements, `Sparse` for a group with ``data``, ``indices`` and
``indptr``, `Grouped` for any other group of datasets. Everything can be said explicitly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from h5stream.columns import Padding

__all__ = [
    "Casting",
    "Concat",
    "Constant",
    "Dense",
    "FieldSpec",
    "Given",
    "Grouped",
    "Listed",
    "Mask",
    "Origin",
    "Patches",
    "Picked",
    "Ragged",
    "Shape",
    "Slices",
    "Sparse",
    "Table",
    "TimeSlices",
    "Vlen",
    "Whole",
]


Casting = Literal["exact", "unsafe"]


@dataclass(frozen=True)
class Dense:
    """Row i is ``dataset[i]``, or ``dataset[:, i]`` and so on for another axis.

    Parameters
    ----------
    path : str
        The dataset; members of a compound type in brackets.
    axis : int
        Which axis counts samples.
    dtype : str or None
        Convert to this type; None: as stored.
    casting : {"exact", "unsafe"}
        What `dtype` may do to values: floats may be rounded to a narrower float, but nothing may
        wrap, overflow, lose a fraction or NaN; or whatever NumPy does.
    decode_cf : bool
        Numbers that netCDF packed are decoded: multiplied by the attribute ``scale_factor``, added
        to ``add_offset``, and NaN where they are ``_FillValue`` or ``missing_value``; see
        `h5stream.layout.Packing`. Dates stay numbers.
    n_rows : int or None
        Rows that are filled, if the dataset is longer.
    inner : index or None
        Only this part of each row, as NumPy takes it: ``np.s_[:3, ::2]``, a number, a list. Chunks
        that hold nothing of it are not read.
    ragged : bool
        Rows may be longer in one file than in another, along their first axis.
    flat : bool
        Flatten each row, where they differ in more than that; `Shape` beside has the shape of each
        file's dataset.

    Examples
    --------
    >>> import h5stream as h5s
    >>> import numpy as np
    >>> north = h5s.Dense("noy", inner=np.s_[:, 72:])
    >>> next(iter(h5s.H5Stream(h5s.example_file("climate"), {"x": north})))["x"].shape
    torch.Size([39, 72])
    """

    path: str
    axis: int = 0
    dtype: str | None = None
    n_rows: int | None = None
    casting: Casting = "exact"
    decode_cf: bool = False
    inner: Any = None
    ragged: bool = False
    flat: bool = False


@dataclass(frozen=True)
class Vlen:
    """Row i is ``dataset[i]``, where elements have variable length: numbers or strings.

    Parameters
    ----------
    path : str
        The dataset.
    text : bool or None
        Rows of a string type are `str` (True) or bytes, as a ragged uint8 column (False);
        None: `str`.
    errors : {"strict", "replace"}
        What to do with text that is not UTF-8: an error, or U+FFFD.
    dtype : str or None
        Convert numbers to this type.
    casting : {"exact", "unsafe"}
        What `dtype` may do to values; see `Dense`.
    n_rows : int or None
        Rows that are filled, if the dataset is longer.
    """

    path: str
    text: bool | None = None
    errors: Literal["strict", "replace"] = "strict"
    dtype: str | None = None
    n_rows: int | None = None
    casting: Casting = "exact"


@dataclass(frozen=True)
class Ragged:
    """Row i is ``values[offsets[i] : offsets[i + 1]]``.

    Parameters
    ----------
    values : str
        Dataset of the elements of all rows, which may have trailing axes.
    offsets : str, Dense or None
        Dataset of rows + 1 offsets that do not decrease.
    lengths : str, Dense or None
        Dataset of the length of each row; one of its columns: ``Dense(path, inner=0)``.
    ends : str, tuple of str, or None
        Datasets of one flag for each element, which is set at the last one of a row, as D4RL's
        ``terminals`` and ``timeouts`` are; what follows the last flag is a row as well. Give one of
        `offsets`, `lengths` and `ends`.
    dtype : str or None
        Convert to this type.
    casting : {"exact", "unsafe"}
        What `dtype` may do to values: floats may be rounded to a narrower float, but nothing may
        wrap, overflow, lose a fraction or NaN; or whatever NumPy does.
    decode_cf : bool
        Numbers that netCDF packed are decoded: multiplied by the attribute ``scale_factor``, added
        to ``add_offset``, and NaN where they are ``_FillValue`` or ``missing_value``; see
        `h5stream.layout.Packing`. Dates stay numbers.
    partial : bool
        Values may be left over: before the first offset, after the last, or beyond all lengths.
        Else that is an error, for then offsets or lengths are likely to mean something else.
    text : bool
        The values are bytes (uint8) of UTF-8, and rows are `str`.
    errors : {"strict", "replace"}
        What to do with text that is not UTF-8: an error, or U+FFFD.
    """

    values: str
    offsets: str | Dense | None = None
    lengths: str | Dense | None = None
    dtype: str | None = None
    partial: bool = False
    casting: Casting = "exact"
    decode_cf: bool = False
    ends: str | tuple[str, ...] | None = None
    text: bool = False
    errors: Literal["strict", "replace"] = "strict"


@dataclass(frozen=True)
class Sparse:
    """Row i of a matrix in compressed sparse row form.

    Parameters
    ----------
    path : str
        Group with the datasets ``data``, ``indices`` and ``indptr``.
    n_columns : int or None
        Width of the matrix; None: as the group's attribute ``shape`` or ``h5sparse_shape`` says.
    dtype : str or None
        Convert the elements to this type.
    casting : {"exact", "unsafe"}
        What `dtype` may do to values; see `Dense`.
    n_rows : int or None
        Rows that are filled, if there are more.
    dense : bool
        Rows are plain arrays of `n_columns` elements.
    """

    path: str
    n_columns: int | None = None
    dtype: str | None = None
    n_rows: int | None = None
    dense: bool = False
    casting: Casting = "exact"


@dataclass(frozen=True)
class Grouped:
    """A row is a whole dataset, one of those that a pattern names.

    Fields of one stream are joined by what the ``*`` stands for: ``Grouped("mol_*/x")`` and
    ``Grouped("mol_*/y")`` have one row for each ``mol_…``. A group that lacks one of the fields is
    an error, unless the stream leaves such groups out (``missing="drop"``). A field of groups that
    hold others is repeated for each of those: ``Grouped("patient_*", attribute="age")`` beside
    ``Grouped("patient_*/run_*/eeg")``.

    Parameters
    ----------
    pattern : str
        Path with ``*``, which stands for part of one name: ``"trajectory_*"``,
        ``"data/demo_*/actions"``. A group without ``*`` means all its datasets.
    attribute : str or None
        Not the data: this attribute of the object that the pattern names (dataset or group).
    dtype : str or None
        Convert to this type.
    casting : {"exact", "unsafe"}
        What `dtype` may do to values: floats may be rounded to a narrower float, but nothing may
        wrap, overflow, lose a fraction or NaN; or whatever NumPy does.
    decode_cf : bool
        Numbers that netCDF packed are decoded: multiplied by the attribute ``scale_factor``, added
        to ``add_offset``, and NaN where they are ``_FillValue`` or ``missing_value``; see
        `h5stream.layout.Packing`. Dates stay numbers.
    n_rows : int or None
        Only the first so many datasets.
    flat : bool
        Flatten each dataset, for those that differ in more than the length of axis 0.
    order : {"natural", "listed"} or None
        In which order rows count: 2 before 10, or as h5py lists the group. None: natural; but where
        the two differ, values and slices that are given by position are refused until this says
        which is meant.
    axis : int
        Which axis of each dataset counts its elements: 1 for recordings of shape (channels, time).
    inner : index or None
        Only this part of each element, as in `Dense`: chosen channels.
    elements : slice or None
        Only these elements of each dataset: of observations that are one more than actions,
        ``np.s_[:-1]`` stand beside the actions, and ``np.s_[1:]`` follow them.
    """

    pattern: str
    attribute: str | None = None
    dtype: str | None = None
    n_rows: int | None = None
    flat: bool = False
    order: Literal["natural", "listed"] | None = None
    casting: Casting = "exact"
    decode_cf: bool = False
    axis: int = 0
    inner: Any = None
    elements: slice | None = None


@dataclass(frozen=True)
class Slices:
    """Rows are slices of a longer field: of fixed length, or from explicit starts to stops.

    Parameters
    ----------
    base : str or FieldSpec
        What is cut: a dense field as one long sequence, or a ragged or grouped one, whose rows no
        slice leaves; also slices between bounds that files hold, and windows in time: intervals.
    length : int or None
        Elements of a slice; None: as `starts` and `stops` say.
    stride : int or None
        From the start of one slice to that of the next; None: one slice of each sequence.
    random : bool
        Each slice begins anywhere in its stretch of `stride` elements, or of the whole sequence,
        and elsewhere in every epoch: by the seed, the epoch and the row. All slices of a stream
        move together.
    shift : int
        Added to every start: with 1, the next-step target of the same slices without.
        Slices that any field of the stream would carry over an edge are left out.
    starts, stops : sequence of int, mapping or None
        Explicit bounds; rows of unequal length make a ragged column. With `length`, `starts` only.
        They count the elements of all files, one sequence after the other; in a mapping from the
        names or paths of files, those of each file. No slice may leave its sequence. The path of a
        dataset: each file has its own; `starts` may be one of shape (rows, 2), with both.
    counts_from : int
        What the first element is called in `starts` and `stops`: 1 in files that MATLAB wrote.
    inclusive : bool
        Slices have the element at their stop as well.
    step : int
        Take every `step`-th element of a slice.
    center : bool
        Slice i is centred on element ``i * stride`` and padded at the edges, as audio frames are.
    before, after : int
        So many elements of a slice may lie before its sequence begins, or after it ends; they are
        padded, and `Mask` tells them. With ``after=length - 1`` slices begin at every element, as
        chunks of actions do. Around events: ``starts="events", shift=-100, before=100, after=100``.
    padding : {"constant", "edge", "reflect"}
        What pads slices: zeros, the nearest element, or a mirror image.
    axis : int
        0 cuts along the rows of `base`. With another axis of a dataset each of its rows is a
        sequence along that axis, which no slice leaves: of trajectories of shape (runs, time, x, y)
        windows over time are cut with ``axis=1``, and have shape (length, x, y).

    Examples
    --------
    >>> import h5stream as h5s
    >>> window = h5s.Slices("noy", 3, axis=1, stride=12)
    >>> stream = h5s.H5Stream(h5s.example_file("climate"), {"x": window})
    >>> len(stream), next(iter(stream))["x"].shape
    (48, torch.Size([3, 144]))
    """

    base: Any
    length: int | None = None
    stride: int | None = 1
    shift: int = 0
    starts: Any = None
    stops: Any = None
    step: int = 1
    center: bool = False
    padding: Padding = "constant"
    axis: int = 0
    before: int = 0
    after: int = 0
    counts_from: int = 0
    inclusive: bool = False
    random: bool = False


@dataclass(frozen=True)
class TimeSlices:
    """Rows are the elements of windows in time, as many as lie in each: a ragged column.

    Windows are at regular steps, with a length and a stride; or they have starts, and a length or
    stops. A window has the elements from its start on to before its stop. Fields of one stream may
    have timestamps of their own: their windows begin together.

    Parameters
    ----------
    base : str or Dense
        The dataset of the elements: signals, events, spikes.
    time : str
        The dataset of their timestamps, which do not decrease; kept in memory.
    length, stride : float or None
        Of a window, and from one window to the next, in units of the timestamps. The first window
        begins at the first timestamp, of several fields at the latest.
    starts, stops : str, sequence of float, mapping or None
        When windows begin and end: the path of a dataset, which each file has; numbers, for a
        single file; or a mapping from the names or paths of files to numbers.
    shift : float
        Added to the times of a window: for a target that comes later.

    Examples
    --------
    >>> import h5stream as h5s
    >>> season = h5s.TimeSlices("noy", "time", length=90, stride=90)
    >>> stream = h5s.H5Stream(
    ...     h5s.example_file("climate"), {"x": season, "start": h5s.Origin("start")}
    ... )
    >>> [(len(row["x"]), float(row["start"])) for row in stream]
    [(3, 54015.0), (3, 54105.0), (3, 54195.0)]
    """

    base: Any
    time: str
    length: float | None = None
    stride: float | None = None
    starts: Any = None
    stops: Any = None
    shift: float = 0.0


@dataclass(frozen=True)
class Concat:
    """Rows of several datasets, one dataset after the other.

    Fields of one stream are joined by what the ``*`` stands for, as with `Grouped`, and must have
    as many rows in each dataset. A field with one row a dataset, such as an attribute of `Grouped`,
    is repeated for each of its rows, and ``Origin("group")`` names it.

    Parameters
    ----------
    base : str or Grouped
        The datasets: a pattern with ``*``, or `Grouped` with options. With ``flat=True`` each row
        is flattened; `Shape` of the same pattern has the shape of its dataset.
    ragged : bool
        Rows may be longer in one dataset than in another, along their first axis.

    Examples
    --------
    >>> import h5py, h5stream as h5s, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "buckets.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["data/bucket0"], file["data/bucket1"] = [[1, 2]], [[3, 4], [5, 6]]
    >>> fields = {"x": h5s.Concat("data/bucket*"), "bucket": h5s.Origin("group")}
    >>> [(row["x"].tolist(), row["bucket"]) for row in h5s.H5Stream(path, fields)]
    [([1, 2], 'bucket0'), ([3, 4], 'bucket1'), ([5, 6], 'bucket1')]
    """

    base: Any
    ragged: bool = False


@dataclass(frozen=True)
class Mask:
    """Which elements of slices lie in their sequence: True, and False where they are padded.

    Parameters
    ----------
    slices : Slices
        At regular steps, as those that are streamed beside it.

    Examples
    --------
    >>> import h5stream as h5s
    >>> chunk = h5s.Slices("noy", 4, after=3, padding="edge")
    >>> fields = {"chunk": chunk, "mask": h5s.Mask(chunk)}
    >>> rows = list(h5s.H5Stream(h5s.example_file("climate"), fields))
    >>> len(rows), rows[-2]["mask"]
    (12, tensor([ True,  True, False, False]))
    """

    slices: Slices


@dataclass(frozen=True)
class Picked:
    """Row i is row ``at[i]`` of another field: how an element of a matrix finds its axes' rows.

    Parameters
    ----------
    base : str or FieldSpec
        Any field; that of an axis is small beside the matrix, and best kept in memory.
    at : numpy.ndarray
        int64: which row.
    within : numpy.ndarray or None
        int64: only this element of the flattened row.
    """

    base: Any
    at: np.ndarray
    within: np.ndarray | None = None


@dataclass(frozen=True)
class Given:
    """A column that is in memory.

    Parameters
    ----------
    values : Column, sequence or mapping
        What the rows are, as `by` says.
    by : {"row", "name", "file"}
        "row": one for each row of all files, in the order of `H5Stream.rows`. "name": a mapping
        from names of groups, such as those of a `Grouped` field, to their values; slices get that
        of the group they come from. "file": a mapping from the names or paths of files to columns
        of their rows, or a list of as many columns as there are files.

    Examples
    --------
    >>> Given([3, 1, 2])
    Given(values=[3, 1, 2], by='row')
    >>> Given({"utt_0": "yes", "utt_1": "no"}, by="name")
    Given(values={'utt_0': 'yes', 'utt_1': 'no'}, by='name')
    """

    values: Any
    by: Literal["row", "name", "file"] = "row"


@dataclass(frozen=True)
class Whole:
    """A file is one row: the whole dataset.

    Files whose datasets differ in the length of axis 0 make a ragged column.

    Parameters
    ----------
    path : str
        The dataset.
    dtype : str or None
        Convert to this type.
    flat : bool
        Flatten it, for files that differ in more than the length of axis 0; ask for `Shape` beside.
    casting : {"exact", "unsafe"}
        What `dtype` may do to values; see `Dense`.
    decode_cf : bool
        Numbers that netCDF packed are decoded; see `Dense`.
    axis : int
        Which axis comes first.
    inner : index or None
        Only this part of the others, as in `Dense`.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file("climate"), {"x": h5s.Whole("noy")})
    >>> len(stream), next(iter(stream))["x"].shape
    (1, torch.Size([12, 39, 144]))
    """

    path: str
    dtype: str | None = None
    flat: bool = False
    casting: Casting = "exact"
    decode_cf: bool = False
    axis: int = 0
    inner: Any = None


@dataclass(frozen=True)
class Constant:
    """Every row of a file has the same value, which the file holds once.

    It is read when the file is opened, and kept once in memory. Where it differs from group to
    group, ask for `Grouped`, which is repeated for all rows that a group has.

    Parameters
    ----------
    path : str
        A dataset; with `attribute` also a group, ``"/"`` for the file's own attributes.
    attribute : str or None
        Not the data: this attribute of the dataset or group.
    dtype : str or None
        Convert to this type.
    casting : {"exact", "unsafe"}
        What `dtype` may do to values; see `Dense`.
    decode_cf : bool
        Numbers that netCDF packed are decoded; see `Dense`.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(
    ...     h5s.example_file("climate"),
    ...     {"x": "noy", "lat": h5s.Constant("lat"), "unit": h5s.Constant("lat", "units")},
    ...     batch_size=4,
    ... )
    >>> batch = next(iter(stream))
    >>> batch["lat"].shape, batch["unit"][0]
    (torch.Size([4, 144]), 'degrees_north')
    """

    path: str
    attribute: str | None = None
    dtype: str | None = None
    casting: Casting = "exact"
    decode_cf: bool = False


@dataclass(frozen=True)
class Shape:
    """The shape of a dataset, beside one that comes flattened.

    Parameters
    ----------
    path : str
        The dataset of each file; or a pattern with ``*``, as `Grouped` takes it: of each group.

    Examples
    --------
    >>> import h5stream as h5s
    >>> fields = {"x": h5s.Whole("noy", flat=True), "shape": h5s.Shape("noy")}
    >>> row = next(iter(h5s.H5Stream(h5s.example_file("climate"), fields)))
    >>> row["x"].shape, row["shape"]
    (torch.Size([67392]), tensor([ 12,  39, 144]))
    """

    path: str


@dataclass(frozen=True)
class Origin:
    """Where each row comes from; what `H5Stream.rows` tells, as a column of batches.

    Parameters
    ----------
    what : {"path", "name", "stem", "file", "group", "within", "start", "row", "index"}
        Of the row's file: "path" as it was given, "name" without folders, "stem" without suffix
        either, or "file", its number. "group": the name of the group, as the ``*`` of a `Grouped`
        pattern finds it. "within": the number of the row among those of its group. "start": of a
        slice, the element of its sequence that it begins with; of a window in time, its time.
        "row": its number in its file. "index": its number over all files, as `subset` counts.

    Examples
    --------
    >>> import h5stream as h5s
    >>> fields = {"x": "noy", "row": h5s.Origin("row"), "file": h5s.Origin("stem")}
    >>> batch = next(iter(h5s.H5Stream(h5s.example_file("climate"), fields, batch_size=3)))
    >>> batch["row"], batch["file"][0]
    (tensor([0, 1, 2]), 'ukesm1_noy_200001-200012')
    """

    what: Literal["path", "name", "stem", "file", "group", "within", "start", "row", "index"]


@dataclass(frozen=True)
class Table:
    r"""Each row has what a table says of its key.

    Parameters
    ----------
    source : path, data frame, table or mapping
        A CSV or parquet file, local or by URL; a data frame of pandas or polars, or a table of
        pyarrow; a mapping from the names of columns to columns. Without `column`: a mapping from
        keys to values, or a series of pandas.
    column : str, tuple of str, or None
        The column that rows get; of several columns of numbers they get a list.
    key : str, tuple of str, or None
        The column, or columns, that rows are found by; no key may stand there twice, unless rows
        may get `several`.
    by : str, FieldSpec, or tuple of them
        What a row's key is: the path of a dataset with one number or string a row, or a field that
        is in memory: `Origin`, `Constant`, an attribute or scalar of `Grouped`. As many as `key`
        has columns.
    pattern : str or None
        A regular expression for the text of the key, whose groups are the parts of the key:
        ``r"(bucket\d+)\$(\d+)"`` for ``"bucket0$5,:3,:6000"``.
    several : bool
        Rows get all values of their key, as a ragged column, and may have none.

    Notes
    -----
    A row whose key is not in the table is an error, unless the stream leaves such rows out
    (``missing="drop"``). Parquet files need pyarrow: ``pip install 'h5stream[parquet]'``.

    Examples
    --------
    >>> import h5stream as h5s
    >>> table = {"month": [0, 1, 2], "name": ["January", "February", "March"]}
    >>> month = h5s.Table(table, "name", key="month", by=h5s.Origin("row"))
    >>> fields = {"x": "noy", "month": month}
    >>> stream = h5s.H5Stream(h5s.example_file("climate"), fields, missing="drop")
    >>> [row["month"] for row in stream]
    ['January', 'February', 'March']
    """

    source: Any
    column: str | tuple[str, ...] | None = None
    key: str | tuple[str, ...] | None = None
    by: Any = None
    pattern: str | None = None
    several: bool = False


@dataclass(frozen=True)
class Listed:
    """The rows that a list or table names, in its order: what `subset` takes.

    Parameters
    ----------
    source : sequence, path, data frame, table or mapping
        Keys, or tuples of their parts; or a table of which one or more columns are the keys, as
        `Table` takes it. A key may stand there several times.
    key : str, tuple of str, or None
        Those columns.
    by : str, FieldSpec, or tuple of them
        What a row's key is, as in `Table`. Rows that have the same one come together.
    pattern : str or None
        A regular expression whose groups are the parts of a key, as in `Table`.

    Notes
    -----
    A key that no row has is an error, or is left out with ``missing="drop"``. A stream that
    shuffles takes the same rows in its own order.

    Examples
    --------
    >>> import h5stream as h5s
    >>> rows = h5s.Listed([7, 2, 2], by=h5s.Origin("row"))
    >>> fields = {"x": "noy", "row": h5s.Origin("row")}
    >>> stream = h5s.H5Stream(h5s.example_file("climate"), fields, subset=rows)
    >>> [int(row["row"]) for row in stream]
    [7, 2, 2]
    """

    source: Any
    key: str | tuple[str, ...] | None = None
    by: Any = None
    pattern: str | None = None


@dataclass(frozen=True)
class Patches:
    """Rows are boxes of a volume, one volume a file, which may overlap.

    Parameters
    ----------
    base : str or Dense
        The dataset of the volume.
    shape : tuple of int
        Of a patch, along `axes`; the other axes are whole.
    stride : tuple of int, or None
        From one patch to the next along each axis; None: as long as a patch.
    axes : tuple of int or None
        Along which patches are cut; None: the last ones.
    cover : bool
        Where strides leave a rest, one more patch ends where the volume does; if not, the rest is
        left out.

    Examples
    --------
    >>> import h5stream as h5s
    >>> patch = h5s.Patches("noy", (6, 20, 50), stride=(3, 10, 50))
    >>> stream = h5s.H5Stream(h5s.example_file("climate"), {"x": patch}, shuffle=True)
    >>> len(stream), next(iter(stream))["x"].shape
    (12, torch.Size([6, 20, 50]))
    """

    base: Any
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None
    cover: bool = False


FieldSpec = (
    Dense
    | Vlen
    | Ragged
    | Sparse
    | Grouped
    | Slices
    | Picked
    | Given
    | Whole
    | Constant
    | Shape
    | Origin
    | Table
    | Mask
    | Patches
    | Concat
    | TimeSlices
)
"""Any of them."""
