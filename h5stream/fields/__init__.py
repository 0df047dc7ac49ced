"""WHAT a row is: how a named column of every sample is laid over datasets.

1. `specs` says what can be asked for, and `resolve` makes it concrete with the file open.
2. `make` makes fields of four kinds: `dense` is one dataset whose axis 0 counts samples; a row of
   a `region` is a range of elements (ragged, sparse, one dataset a row, slices, picked rows);
   a row of `vlen` lies in a heap; `given` is in memory. `sliced` cuts slices out of them.
3. `bind` checks the fields of a file against each other, and those of files.
4. `subset` and `split` say which rows are wanted.

Nothing is read here but what `bind_file` is given a way to read: offsets and descriptors.
"""

from h5stream.fields.bind import FileFields, bind_file, bind_files, default_names
from h5stream.fields.dense import DenseField
from h5stream.fields.field import ColumnType, Field
from h5stream.fields.given import GivenField
from h5stream.fields.region import Elements, RegionField
from h5stream.fields.resolve import Asked, names_of, resolve, resolve_known
from h5stream.fields.specs import (
    Dense,
    FieldSpec,
    Given,
    Grouped,
    Picked,
    Ragged,
    Slices,
    Sparse,
    Vlen,
)
from h5stream.fields.split import Part, Split
from h5stream.fields.subset import Subset, locate_rows, resolve_subset, window_rows
from h5stream.fields.vlen import VlenField

__all__ = [
    "Asked",
    "ColumnType",
    "Dense",
    "DenseField",
    "Elements",
    "Field",
    "FieldSpec",
    "FileFields",
    "Given",
    "GivenField",
    "Grouped",
    "Part",
    "Picked",
    "Ragged",
    "RegionField",
    "Slices",
    "Sparse",
    "Split",
    "Subset",
    "Vlen",
    "VlenField",
    "bind_file",
    "bind_files",
    "default_names",
    "locate_rows",
    "names_of",
    "resolve",
    "resolve_known",
    "resolve_subset",
    "window_rows",
]
