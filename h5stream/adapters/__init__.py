"""Streams for people whose code is built on another library: one module for each.

Each imports its library when it is asked for, and none is needed by the rest of the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from h5stream.adapters import ray
    from h5stream.adapters.datapipe import to_datapipe
    from h5stream.adapters.huggingface import to_hf
    from h5stream.adapters.lightning import HDF5DataModule
    from h5stream.adapters.nodes import to_node

__all__ = ["HDF5DataModule", "ray", "to_datapipe", "to_hf", "to_node"]

_ROOMS = {
    "HDF5DataModule": "lightning",
    "to_datapipe": "datapipe",
    "to_hf": "huggingface",
    "to_node": "nodes",
}
"""Name -> the module that has it."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "ray":
            return import_module("h5stream.adapters.ray")
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"h5stream.adapters.{_ROOMS[name]}"), name)
