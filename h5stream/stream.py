"""H5Stream: the chain of pipes with defaults that suit most training."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Unpack

from h5stream.arguments import a_seed
from h5stream.collation import CollateOptions, batch_as_tensordict, sample_as_tensordict
from h5stream.errors import ConfigError
from h5stream.fields import Asked, Missing, Subset, Weights
from h5stream.opening import Sources
from h5stream.opening.layouts import LayoutOption
from h5stream.pipes import Pipe, open_files
from h5stream.pipes.bucket import By
from h5stream.pipes.hints import refuse_unknown
from h5stream.plan.lanes import Uneven

__all__ = ["H5Stream", "as_arrays"]

_IN_ORDER_BYTES = 8 * 2**20
"""Rows in file order are read in larger row chunks: a batch that spans two of them is copied."""


class H5Stream(Pipe):
    """Stream batches of tensors out of HDF5 files.

    Nothing but a chain of pipes: open files, list chunks, shuffle chunks, shard, read chunks,
    shuffle rows, batch (or unbatch), collate. Every method of `Pipe` works on it.

    Parameters
    ----------
    sources : path, sequence of paths, or mapping
        A file, a glob pattern, or a list of them; URLs that fsspec knows are remote files. Where
        fields of the same rows lie in files of their own, a mapping from each field to its files:
        ``{"x": "train_x.h5", "y": "train_y.h5"}``; file i of each holds the same rows.
    fields : mapping, sequence of str, or None
        Key in the batch -> dataset path, or dataset paths that are keys as well; members of a
        compound type in brackets: ``"obs[louvain]"``. Ragged, sparse, grouped and sliced fields
        by specs: ``{"x": h5s.Slices("signal", 100)}``. None: what the files' convention
        suggests, or else every dataset that shares the leading length of the largest one.
    batch_size : int or None
        Rows of a batch; None streams single samples.
    shuffle : bool
        Another order in every epoch: row chunks are permuted, and rows within windows of them.
    seed : int
        Of all permutations.
    weights : Weights
        Draw rows by weight: numbers, one for each row of all files; the name of a small column that
        holds them; ``Balanced("label")``, for all values of a column equally often;
        ``{"label": {"cat": 1, "dog": 10}}``; or a function of small columns. See `Pipe.draw_rows`.
    rows_per_epoch : int or None
        How many rows an epoch draws; None: as many as there are.
    replacement : bool
        Rows that are drawn may come several times in an epoch.
    drop_last : bool
        Leave a lane's short last batch out.
    bucket_by : str or callable or None
        Put rows of similar length into a batch: the ragged field that has the lengths, or what
        else `Pipe.bucket` takes.
    max_tokens : int or None
        With `bucket_by`: the most elements of a batch, padding included. `batch_size` may be None
        then, or the most rows.
    buffer_size : int or None
        Rows of a shuffle window; None: as many as fit in 128 MiB. Also rows of the windows in which
        `bucket_by` puts rows together; None: 100 batches.
    lanes : int or None
        Parts of an epoch; fixed, the order of batches is the same for every number of ranks and
        workers that divides it.
    uneven : {"drop", "pad", "keep"} or None
        What to do with rows that do not divide among lanes. None: "drop" with several ranks,
        else "keep".
    rank, world_size : int or None
        None: those of torch.distributed, else of ``RANK`` and ``WORLD_SIZE``.
    prefetch : int or None
        Row chunks that are read ahead; None: 32 MiB of them, or one window when shuffling.
    threads : int or None
        Threads that read and decode; None: one for each core that this process may use.
    epochs : int or None
        How many epochs you will iterate over. Then there is no pause between them: while the last
        rows of each are given, the first ones of the next are read. None: from the second epoch on.
    transform : callable or None
        Makes a sample of a sample: an augmentation, or a transform of torchvision. It gets a dict
        of tensors (of arrays, with ``output="numpy"``). What it draws at random is the same for
        every number of workers and after a resume; see `Pipe.transform`.
    collate : callable or None
        Makes the batch out of a dict of arrays; None: tensors (`h5stream.collate`).
    output : {"torch", "numpy", "tensordict"}
        Tensors, arrays as they were read, or tensors in a `TensorDict` of the tensordict package,
        whose batch size is the number of rows.
    subset : Subset
        Which rows: numbers, a mask, a slice, ``{"split": "train"}``, a part of a `Split`, what a
        table names (`Listed`), or a function of small columns. Of several in a list each chooses
        among the rows that are left. Only chunks that hold wanted rows are read.
    convention : str or None
        What wrote the files: "auto", as they show; the name of a convention; None: plain datasets.
    convention_options : mapping, optional
        Options of the convention, such as ``{"sampling": "coo"}`` for h5torch.
    missing : {"error", "drop"}
        What to do with a group that lacks one of the fields, where fields come from groups, and
        with a row whose key a `Table` does not have: raise an error that names it, or leave it out,
        which `explain()` tells.
    storage_options : mapping or None
        Credentials and other options of a remote file system, as fsspec takes them.
    requests : int or None
        Requests to remote files that are in flight at once; None: as many as are found to be
        worth it.
    retry_s : float or None
        How long a range that does not arrive is asked for again; None: two minutes.
    layout : path, URL, False or None
        What `index_files` wrote, or kerchunk references: then chunks are not looked for. None: the
        layouts of remote files, and of many local ones, are kept in the user's cache directory;
        False scans anew.
    cache_dir : path or None
        Keep what is fetched from remote files in this directory, as it is stored there, for all
        processes of this machine; layouts as well.
    cache_limit : int or None
        Bytes that may be kept there; what was read longest ago goes first. None: 10 GiB.
    **collate_options
        How ragged and sparse fields become tensors: ``padding_value=-1``,
        ``ragged={"tokens": "nested"}`` and so on; see `h5stream.collate`.

    Raises
    ------
    ConfigError
        If an argument is wrong in itself. What does not fit the files is raised when they are
        first looked at.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(
    ...     h5s.example_file(),
    ...     fields={"x": "X", "cell_type": "obs[louvain]"},
    ...     batch_size=128,
    ...     shuffle=True,
    ...     seed=0,
    ... )
    >>> len(stream)
    6
    >>> for batch in stream:
    ...     x, cell_type = batch["x"], batch["cell_type"]
    >>> x.shape
    torch.Size([60, 765])
    """

    def __init__(
        self,
        sources: Sources,
        fields: Mapping[str, Asked] | Sequence[str] | None = None,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        weights: Weights = None,
        rows_per_epoch: int | None = None,
        replacement: bool = True,
        drop_last: bool = False,
        bucket_by: By | None = None,
        max_tokens: int | None = None,
        buffer_size: int | None = None,
        lanes: int | None = None,
        uneven: Uneven | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        transform: Callable[..., Any] | None = None,
        prefetch: int | None = None,
        threads: int | None = None,
        epochs: int | None = None,
        collate: Callable[[dict[str, Any]], Any] | None = None,
        output: Literal["torch", "numpy", "tensordict"] = "torch",
        subset: Subset = None,
        convention: str | None = "auto",
        convention_options: Mapping[str, Any] | None = None,
        missing: Missing = "error",
        storage_options: Mapping[str, Any] | None = None,
        requests: int | None = None,
        retry_s: float | None = None,
        layout: LayoutOption = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_limit: int | None = None,
        **collate_options: Unpack[CollateOptions],
    ) -> None:
        refuse_unknown("H5Stream", collate_options, _ARGUMENTS)
        if output not in ("torch", "numpy", "tensordict"):
            raise ConfigError(f'output must be "torch", "numpy" or "tensordict", not {output!r}')
        if buffer_size is not None and not shuffle and bucket_by is None:
            raise ConfigError("buffer_size is for shuffling; pass shuffle=True as well")
        if max_tokens is not None and bucket_by is None:
            raise ConfigError("max_tokens needs bucket_by, the field whose elements are counted")
        drawn = weights is not None or rows_per_epoch is not None
        if drawn and not shuffle:
            raise ConfigError("rows are drawn at random; pass shuffle=True as well")
        if not drawn and not replacement:
            raise ConfigError("replacement=False is for rows that are drawn; pass weights= as well")
        a_seed(seed)
        files = open_files(
            sources,
            fields,
            subset=subset,
            keep_order=not shuffle,
            convention=convention,
            convention_options=convention_options,
            missing=missing,
            storage_options=storage_options,
            requests=requests,
            retry_s=retry_s,
            layout=layout,
            cache_dir=cache_dir,
            cache_limit=cache_limit,
        )
        pipe = files.list_chunks() if shuffle else files.list_chunks(_IN_ORDER_BYTES)
        if drawn:
            pipe = pipe.draw_rows(
                weights, rows_per_epoch=rows_per_epoch, replacement=replacement, seed=seed
            )
        if shuffle:
            pipe = pipe.shuffle_chunks(seed)
        pipe = pipe.shard(lanes=lanes, uneven=uneven, rank=rank, world_size=world_size)
        pipe = pipe.read_chunks(prefetch=prefetch, threads=threads, epochs=epochs)
        if shuffle:
            pipe = pipe.shuffle_rows(buffer_size)
        if transform is not None:
            pipe = pipe.transform(transform, seed=seed, tensors=output != "numpy")
        if bucket_by is not None:
            pipe = pipe.bucket(
                batch_size,
                by=bucket_by,
                max_tokens=max_tokens,
                drop_last=drop_last,
                buffer_size=buffer_size,
                shuffle=shuffle,
            )
        elif batch_size is None:
            pipe = pipe.unbatch() if transform is None else pipe
        else:
            pipe = pipe.batch(batch_size, drop_last=drop_last)
        if collate is None and output == "numpy":
            collate = as_arrays
        pipe = pipe.collate(collate, **collate_options)
        if output == "tensordict":
            single = batch_size is None and bucket_by is None
            pipe = pipe.map(sample_as_tensordict if single else batch_as_tensordict)
        super().__init__(pipe.stages)


_ARGUMENTS = frozenset(inspect.signature(H5Stream).parameters) - {"collate_options"} | frozenset(
    CollateOptions.__annotations__
)


def as_arrays(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the batch as it is: a dict of arrays."""
    return columns
