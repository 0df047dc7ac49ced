"""The table of conventions, in the order in which they are tried.

Those that other packages publish come behind the ones of libraries, which they cannot take files
from, and before those of customs, which many files look like.
"""

from __future__ import annotations

import h5py

from h5stream.conventions import anndata, h5mapper, h5torch, own, trajectories
from h5stream.conventions.convention import Convention
from h5stream.conventions.published import load_published

__all__ = ["all_conventions", "find_convention", "recognise"]

_OF_LIBRARIES = (
    Convention(
        name="h5stream",
        about="columns that h5stream.Writer wrote: dense, ragged, sparse and text",
        override='fields=["splits/train", …] takes splits as well',
        options=(),
        recognises=own.recognise,
        names=own.field_names,
        make=own.default_fields,
    ),
    Convention(
        name="h5torch",
        about="a central object, with objects that are aligned to its axes",
        override='convention_options={"sampling": 1} samples along axis 1, "coo" each element',
        options=("sampling", "window_size", "overlap", "window_indices"),
        recognises=h5torch.recognise,
        names=h5torch.field_names,
        make=h5torch.default_fields,
        omits=h5torch.omitted,
    ),
    Convention(
        name="h5mapper",
        about="features of sources: each source id has rows of each feature's array",
        override='convention_options={"by": "whole"} samples each element of the concatenation',
        options=("by",),
        recognises=h5mapper.recognise,
        names=h5mapper.field_names,
        make=h5mapper.default_fields,
    ),
    Convention(
        name="AnnData",
        about="a matrix of cells by genes, with annotations of the cells",
        override='fields=["raw/X", "obs/…/codes", …] takes other matrices, or codes of categories',
        options=("genes",),
        recognises=anndata.recognise,
        names=anndata.field_names,
        make=anndata.default_fields,
        meaning=anndata.meaning,
    ),
)

_OF_CUSTOMS = (
    Convention(
        name="trajectories",
        about="one group or dataset for each sample, numbered; attributes are labels",
        override='fields={"x": h5s.Grouped("data/demo_*/actions")} names datasets by a pattern',
        options=(),
        recognises=trajectories.recognise,
        names=trajectories.field_names,
        make=trajectories.default_fields,
        omits=trajectories.omitted,
    ),
)


def all_conventions() -> tuple[Convention, ...]:
    """List the conventions; a file belongs to the first that recognises it.

    Those that are published under a name that is taken are left out.
    """
    own = {known.name for known in (*_OF_LIBRARIES, *_OF_CUSTOMS)}
    others = {each.name: each for each in load_published() if each.name not in own}
    return (*_OF_LIBRARIES, *others.values(), *_OF_CUSTOMS)


def find_convention(name: str | None) -> Convention | None:
    """Return the convention of a name, None if there is none."""
    return next((known for known in all_conventions() if known.name == name), None)


def recognise(file: h5py.File) -> Convention | None:
    """Return the convention in which a file was written, None if it is none that is known.

    Examples
    --------
    >>> import h5stream as h5s
    >>> with h5py.File(h5s.example_file()) as file:
    ...     recognise(file).name
    'AnnData'
    """
    return next((known for known in all_conventions() if known.recognise(file)), None)
