"""h5stream: stream training data out of HDF5 files into PyTorch."""

from h5stream.block import Block
from h5stream.collate import Packed, Pairs, collate
from h5stream.data import example_file
from h5stream.dataset import Dataset
from h5stream.device import to_device
from h5stream.errors import (
    ConfigError,
    DecodeError,
    FetchError,
    H5StreamError,
    LayoutError,
    StateError,
    UnsupportedError,
)
from h5stream.explain import Explanation
from h5stream.fields import (
    Concat,
    Constant,
    Dense,
    Given,
    Grouped,
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
    Vlen,
    Whole,
    window_rows,
)
from h5stream.index import index_files
from h5stream.loader import Loader
from h5stream.pipes import Pipe, mix, open_files
from h5stream.read import read
from h5stream.statistics import Normalize, Statistics, statistics
from h5stream.stream import H5Stream

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Concat",
    "ConfigError",
    "Constant",
    "Dataset",
    "DecodeError",
    "Dense",
    "Explanation",
    "FetchError",
    "Given",
    "Grouped",
    "H5Stream",
    "H5StreamError",
    "LayoutError",
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
    "Shape",
    "Slices",
    "Sparse",
    "Split",
    "StateError",
    "Statistics",
    "Table",
    "UnsupportedError",
    "Vlen",
    "Whole",
    "collate",
    "example_file",
    "index_files",
    "mix",
    "open_files",
    "read",
    "statistics",
    "to_device",
    "window_rows",
]
