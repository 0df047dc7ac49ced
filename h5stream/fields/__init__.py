"""WHAT a row is: how a named column of every sample is laid over datasets.

`specs` says what can be asked for. `dense` is one dataset whose axis 0 counts samples. `bind`
checks what was asked for against what the files hold. No data is read here.
"""

from h5stream.fields.bind import FileFields, bind_file, bind_files, default_names
from h5stream.fields.dense import DenseField
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

__all__ = [
    "Dense",
    "DenseField",
    "FieldSpec",
    "FileFields",
    "Given",
    "Grouped",
    "Picked",
    "Ragged",
    "Slices",
    "Sparse",
    "Vlen",
    "bind_file",
    "bind_files",
    "default_names",
]
