"""The table of conventions, in the order in which they are tried."""

from __future__ import annotations

import h5py

from h5stream.conventions import anndata, h5mapper, h5torch, own, trajectories
from h5stream.conventions.convention import Convention

__all__ = ["CONVENTIONS", "recognise"]

CONVENTIONS: tuple[Convention, ...] = (
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
"""One entry for each; a file belongs to the first that recognises it."""


def recognise(file: h5py.File) -> Convention | None:
    """Return the convention in which a file was written, None if it is none of ours.

    Examples
    --------
    >>> import h5stream as h5s
    >>> with h5py.File(h5s.example_file()) as file:
    ...     recognise(file).name
    'AnnData'
    """
    return next((known for known in CONVENTIONS if known.recognise(file)), None)
