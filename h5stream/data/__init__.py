"""Small real files for the demo, the examples and the documentation.

`10x_pbmc68k_reduced.h5ad`: 700 blood cells by 765 genes, from the 10x Genomics "Fresh 68k PBMCs"
data as reduced by Scanpy's authors. `ukesm1_noy_200001-200012.nc`: monthly zonal-mean reactive
nitrogen of a climate model (UKESM1, CMIP6).
"""

from __future__ import annotations

from pathlib import Path

from h5stream.errors import ConfigError

__all__ = ["example_file"]

_FILES = {
    "cells": "10x_pbmc68k_reduced.h5ad",
    "climate": "ukesm1_noy_200001-200012.nc",
}


def example_file(name: str = "cells") -> str:
    """Return the path of a small real HDF5 file that comes with h5stream.

    Parameters
    ----------
    name : {"cells", "climate"}
        A single-cell expression matrix with cell types, or a year of a climate model.

    Examples
    --------
    >>> example_file().endswith(".h5ad")
    True
    """
    if name not in _FILES:
        raise ConfigError(f"there is no example file {name!r}; there are {sorted(_FILES)}")
    return str(Path(__file__).parent / _FILES[name])
