"""WHAT a row is: how a named column of every sample is laid over datasets.

1. `specs` says what can be asked for, and `resolve` makes it concrete with the file open.
2. `make` makes fields of four kinds: `dense` is one dataset whose axis 0 counts samples; a row of
   a `region` is a range of elements (ragged, sparse, one dataset a row, slices, picked rows);
   a row of `vlen` lies in a heap; `given` is in memory. `sliced` cuts slices out of them, and
   `computed` makes what follows from which rows there are: constants, and where they come from.
3. `bind` makes the fields of all files: `join` brings those of groups together by name,
   `over_files` shares out what is given for all files, and all are checked against each other.
4. `subset` and `split` say which rows are wanted, `weights` how often.

Nothing is read here but what `bind` is given a way to read: offsets and descriptors.
"""

from h5stream.fields.bind import FileFields, Unbound, bind, default_names, omitted_by_default
from h5stream.fields.dense import DenseField
from h5stream.fields.field import ColumnType, Field, Reading
from h5stream.fields.given import GivenField, MemoryField, RepeatedField
from h5stream.fields.join import Missing
from h5stream.fields.names import RowNames, Rows
from h5stream.fields.region import Elements, RegionField
from h5stream.fields.resolve import (
    Asked,
    Chosen,
    FileSlices,
    FileSpec,
    Known,
    Meaning,
    Members,
    names_of,
    resolve,
    resolve_known,
)
from h5stream.fields.sliced import MaskField, StartField
from h5stream.fields.specs import (
    Concat,
    Constant,
    Dense,
    FieldSpec,
    Given,
    Grouped,
    Listed,
    Mask,
    Origin,
    Patches,
    Picked,
    Ragged,
    Shape,
    Slices,
    Sparse,
    Table,
    TimeSlices,
    Vlen,
    Whole,
)
from h5stream.fields.split import Part, Split
from h5stream.fields.subset import Subset, WindowRows, locate_rows, resolve_subset, window_rows
from h5stream.fields.vlen import VlenField
from h5stream.fields.weights import Balanced, Weights, resolve_weights

__all__ = [
    "Asked",
    "Balanced",
    "Chosen",
    "ColumnType",
    "Concat",
    "Constant",
    "Dense",
    "DenseField",
    "Elements",
    "Field",
    "FieldSpec",
    "FileFields",
    "FileSlices",
    "FileSpec",
    "Given",
    "GivenField",
    "Grouped",
    "Known",
    "Listed",
    "Mask",
    "MaskField",
    "Meaning",
    "Members",
    "MemoryField",
    "Missing",
    "Origin",
    "Part",
    "Patches",
    "Picked",
    "Ragged",
    "Reading",
    "RegionField",
    "RepeatedField",
    "RowNames",
    "Rows",
    "Shape",
    "Slices",
    "Sparse",
    "Split",
    "StartField",
    "Subset",
    "Table",
    "TimeSlices",
    "Unbound",
    "Vlen",
    "VlenField",
    "Weights",
    "Whole",
    "WindowRows",
    "bind",
    "default_names",
    "locate_rows",
    "names_of",
    "omitted_by_default",
    "resolve",
    "resolve_known",
    "resolve_subset",
    "resolve_weights",
    "window_rows",
]
