"""h5stream: stream training data out of HDF5 files into PyTorch.

What needs PyTorch is imported when it is first asked for, so that `read` and `index_files` do
without.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from h5stream.block import Block
from h5stream.creating import (
    Created,
    Feature,
    Features,
    class_of_folder,
    create,
    decode_image,
    feature,
    find_sources,
    load_audio,
    load_csv,
    load_encoded,
    load_image,
    load_lines,
    load_numpy,
    load_parquet,
)
from h5stream.data import example_file
from h5stream.errors import (
    ConfigError,
    DecodeError,
    FetchError,
    H5StreamError,
    LayoutError,
    StateError,
    UnsupportedError,
    WriteError,
)
from h5stream.fields import (
    Balanced,
    Concat,
    Constant,
    Dense,
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
    Split,
    Table,
    TimeSlices,
    Vlen,
    Whole,
    window_rows,
)
from h5stream.index import index_files
from h5stream.read import read
from h5stream.write import (
    DenseColumn,
    H5mapperWriter,
    H5torchWriter,
    RaggedColumn,
    SparseColumn,
    TextColumn,
    Writer,
)

if TYPE_CHECKING:
    from h5stream import adapters as adapters
    from h5stream.collation import Packed, Pairs, collate
    from h5stream.dataset import Dataset
    from h5stream.device import to_device
    from h5stream.exploring import Cells, File
    from h5stream.field_statistics import Normalize, Statistics, statistics
    from h5stream.loader import Loader
    from h5stream.observe import progress, report
    from h5stream.pipes import Pipe, WindowStage, mix, open_files
    from h5stream.pipes.explain import Explanation
    from h5stream.repacking import Repacked, repack, verify
    from h5stream.stream import H5Stream

__version__ = "0.1.0"

__all__ = [
    "Balanced",
    "Block",
    "Cells",
    "Concat",
    "ConfigError",
    "Constant",
    "Created",
    "Dataset",
    "DecodeError",
    "Dense",
    "DenseColumn",
    "Explanation",
    "Feature",
    "Features",
    "FetchError",
    "File",
    "Given",
    "Grouped",
    "H5Stream",
    "H5StreamError",
    "H5mapperWriter",
    "H5torchWriter",
    "LayoutError",
    "Listed",
    "Loader",
    "Mask",
    "Normalize",
    "Origin",
    "Packed",
    "Pairs",
    "Patches",
    "Picked",
    "Pipe",
    "Ragged",
    "RaggedColumn",
    "Repacked",
    "Shape",
    "Slices",
    "Sparse",
    "SparseColumn",
    "Split",
    "StateError",
    "Statistics",
    "Table",
    "TextColumn",
    "TimeSlices",
    "UnsupportedError",
    "Vlen",
    "Whole",
    "WindowStage",
    "WriteError",
    "Writer",
    "class_of_folder",
    "collate",
    "create",
    "decode_image",
    "example_file",
    "feature",
    "find_sources",
    "index_files",
    "load_audio",
    "load_csv",
    "load_encoded",
    "load_image",
    "load_lines",
    "load_numpy",
    "load_parquet",
    "mix",
    "open_files",
    "progress",
    "read",
    "repack",
    "report",
    "statistics",
    "to_device",
    "verify",
    "window_rows",
]

_WITH_TORCH = {
    "Cells": "exploring",
    "Dataset": "dataset",
    "Explanation": "pipes.explain",
    "File": "exploring",
    "H5Stream": "stream",
    "Loader": "loader",
    "Normalize": "field_statistics",
    "Packed": "collation",
    "Pairs": "collation",
    "Pipe": "pipes",
    "Repacked": "repacking",
    "Statistics": "field_statistics",
    "collate": "collation",
    "WindowStage": "pipes",
    "mix": "pipes",
    "open_files": "pipes",
    "progress": "observe",
    "repack": "repacking",
    "report": "observe",
    "statistics": "field_statistics",
    "to_device": "device",
    "verify": "repacking",
}
"""Public name -> the module that has it."""


if not TYPE_CHECKING:  # which else would believe in any name

    def __getattr__(name):
        if name == "adapters":
            return import_module("h5stream.adapters")
        if name not in _WITH_TORCH:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
