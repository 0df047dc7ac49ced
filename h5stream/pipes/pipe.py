"""The pipe: a chain with methods that add stages.

Every method returns a longer pipe and leaves this one as it is.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack, get_args

from h5stream.arguments import a_callable, a_count, a_seed
from h5stream.collation import CollateOptions, Collation
from h5stream.errors import ConfigError
from h5stream.fetch import open_access
from h5stream.fields import Asked, Missing, Subset, Weights
from h5stream.opening import Sources
from h5stream.opening.layouts import LayoutOption
from h5stream.pipes.batch import Batch
from h5stream.pipes.bucket import Bucket, By
from h5stream.pipes.chain import Chain
from h5stream.pipes.collate import Collate
from h5stream.pipes.draw_rows import DrawRows
from h5stream.pipes.epoch import unit_of
from h5stream.pipes.explain import Explanation, explain
from h5stream.pipes.hints import UnknownMethodError, method_hint
from h5stream.pipes.instance import find_rank
from h5stream.pipes.list_chunks import ListChunks
from h5stream.pipes.map import Map
from h5stream.pipes.mix import Mix, common_shard
from h5stream.pipes.open_files import OpenFiles
from h5stream.pipes.prefetch import Prefetch
from h5stream.pipes.read_chunks import ReadChunks
from h5stream.pipes.shard import Shard
from h5stream.pipes.shown import show_html, show_pipe
from h5stream.pipes.shuffle_chunks import ShuffleChunks
from h5stream.pipes.shuffle_rows import ShuffleRows
from h5stream.pipes.stage import Items, Stage
from h5stream.pipes.transform import Transform
from h5stream.pipes.unbatch import Unbatch
from h5stream.pipes.where import Where
from h5stream.plan.draws import StopCriteria
from h5stream.plan.lanes import Uneven

__all__ = ["Pipe", "mix", "open_files"]

_TARGET_BYTES = 2**20
_CACHE_BYTES = 10 * 2**30


class Pipe(Chain):
    """A chain of stages from files to batches.

    Start one with `open_files`, and add stages with the methods. A pipe is an iterable dataset of
    torch: iterate over it, or pass it to a `DataLoader` with ``batch_size=None``.

    Parameters
    ----------
    stages : sequence of Stage
        The first opens files; each accepts what the one before gives.

    Raises
    ------
    ConfigError
        If two neighbours do not fit.

    Examples
    --------
    >>> import h5stream as h5s
    >>> pipe = (
    ...     h5s.open_files(h5s.example_file(), fields={"x": "X", "cell_type": "obs[louvain]"})
    ...     .list_chunks()
    ...     .shuffle_chunks(seed=0)
    ...     .shard()
    ...     .read_chunks()
    ...     .shuffle_rows()
    ...     .batch(128)
    ...     .collate()
    ... )
    >>> batch = next(iter(pipe))
    >>> batch["x"].shape, batch["cell_type"].dtype
    (torch.Size([128, 765]), torch.int8)
    """

    def __repr__(self) -> str:
        return show_pipe(type(self).__name__, self.stages)

    def _repr_html_(self) -> str:
        return show_html(type(self).__name__, self.stages)

    def explain(self) -> Explanation:
        """Say what the next epoch will read, what it costs, and what would make it better.

        Returns
        -------
        Explanation
            Text when printed, tables in a notebook.
        """
        return explain(self)

    def __getattr__(self, name: str) -> Any:
        hint = None if name.startswith("_") else method_hint(name, dir(type(self)))
        raise UnknownMethodError(
            f"{type(self).__name__} has no attribute {name!r}{f'; {hint}' if hint else ''}"
        )

    def __getitem__(self, index: Any) -> Any:
        """Refuse: rows by number are those of `Dataset`."""
        raise UnknownMethodError(
            f"{type(self).__name__} has no rows by number: {method_hint('__getitem__', ())}"
        )

    def then(self, stage: Stage) -> Pipe:
        """Add a stage; what all other methods do, and how a stage of your own is added."""
        return Pipe((*self.stages, stage))

    def list_chunks(self, target_bytes: int = _TARGET_BYTES) -> Pipe:
        """Cut the files into row chunks, on chunk boundaries of each file's heaviest field.

        Parameters
        ----------
        target_bytes : int
            Neighbouring chunks are joined up to this many decoded bytes, so that tiny chunks do
            not cost a call each.
        """
        return self.then(ListChunks(a_count("target_bytes", target_bytes)))

    def shuffle_chunks(self, seed: int = 0) -> Pipe:
        """Put the row chunks in another order in every epoch.

        Parameters
        ----------
        seed : int
            In [0, 2**64). Also keys the permutations of `shuffle_rows`.
        """
        return self.then(ShuffleChunks(a_seed(seed)))

    def draw_rows(
        self,
        weights: Weights = None,
        *,
        rows_per_epoch: int | None = None,
        replacement: bool = True,
        seed: int = 0,
    ) -> Pipe:
        """Draw rows by weight, in place of giving each once; after `list_chunks`.

        An epoch draws exactly `rows_per_epoch` rows. A row comes as often as its weight lets
        expect, rounded down or up, and those of a row chunk are drawn together: so no chunk is
        read more than once in an epoch, and a row that comes often does so within one window.
        Row chunks that are expected to give few rows give some in only some epochs.

        Parameters
        ----------
        weights : Weights, optional
            Of each row: numbers, the name of a column, `Balanced`, a mapping from a column to the
            weights of its values, or a function of columns; see `H5Stream`. By default all alike.
        rows_per_epoch : int, optional
            By default as many as there are.
        replacement : bool
            Rows may come several times in an epoch. If not, those that would do come once, and the
            others more often in their place.
        seed : int
            Of the draws, in [0, 2**64).
        """
        first, *others = self.stages
        if not isinstance(first, OpenFiles) or any(
            isinstance(stage, ShuffleChunks | DrawRows) for stage in others
        ):
            raise ConfigError(
                "draw_rows() is for one stream of files, once, after list_chunks() and before "
                "shuffle_chunks()"
            )
        if rows_per_epoch is not None:
            a_count("rows_per_epoch", rows_per_epoch)
        stage = DrawRows(a_seed(seed), rows_per_epoch, replacement)
        return Pipe((first.weighed(weights), *others)).then(stage)

    def shard(
        self,
        *,
        lanes: int | None = None,
        uneven: Uneven | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Pipe:
        """Keep the lanes of this rank and this DataLoader worker.

        Parameters
        ----------
        lanes : int, optional
            How many lanes the epoch has. Fixed, the order of batches is the same for every
            number of ranks and workers that divides it. By default one for each of them.
        uneven : {"drop", "pad", "keep"}, optional
            What to do with rows that do not divide into equal lanes: leave them out (the default
            with several ranks), repeat some, or let lanes differ by a row (the default with one).
        rank, world_size : int, optional
            By default those of torch.distributed, else of the environment's ``RANK`` and
            ``WORLD_SIZE``.
        """
        if lanes is not None:
            a_count("lanes", lanes)
        if uneven not in (None, "drop", "pad", "keep"):
            raise ConfigError(f'uneven must be "drop", "pad", "keep" or None, not {uneven!r}')
        if rank is not None or world_size is not None:
            find_rank(rank, world_size)
        return self.then(Shard(lanes, uneven, rank, world_size))

    def read_chunks(
        self,
        *,
        prefetch: int | None = None,
        threads: int | None = None,
        epochs: int | None = None,
    ) -> Pipe:
        """Fetch and decode each row chunk into a block, ahead of the caller.

        Parameters
        ----------
        prefetch : int, optional
            How many row chunks are read ahead; by default as many as fit in 32 MiB. Before
            `shuffle_rows` whole windows are read ahead: as many as hold that many row chunks, by
            default one.
        threads : int, optional
            By default one for each core that this process may use.
        epochs : int, optional
            How many epochs you will iterate over. Then there is no pause between them: while the
            last rows of each are given, the first ones of the next are read. By default that is
            done from the second epoch on, as if there were always one more.
        """
        for name, value in {"prefetch": prefetch, "threads": threads, "epochs": epochs}.items():
            if value is not None:
                a_count(name, value)
        return self.then(ReadChunks(prefetch, threads, epochs))

    def shuffle_rows(self, buffer_size: int | None = None) -> Pipe:
        """Permute the rows within windows of consecutive row chunks.

        Parameters
        ----------
        buffer_size : int, optional
            A window has at least this many rows, but the last; by default as many as fit in
            128 MiB.
        """
        if buffer_size is not None:
            a_count("buffer_size", buffer_size)
        return self.then(ShuffleRows(buffer_size))

    def unbatch(self) -> Pipe:
        """Take blocks apart into samples: dicts of one row's values."""
        return self.then(Unbatch())

    def transform(
        self, function: Callable[..., Any], *, seed: int = 0, tensors: bool = True
    ) -> Pipe:
        """Take blocks apart into samples, and apply a function to each.

        What the function draws at random belongs to the seed, the epoch and the row: it is the same
        for every number of workers, and after a resume. The generators of torch, NumPy and Python
        are seeded for each sample and then put back as they were; or the function has an argument
        `generator` and gets a `numpy.random.Generator` of its own, which is better where it runs
        on a thread beside the training loop, after `prefetch` for one.

        Parameters
        ----------
        function : callable
            Gets a sample, a dict of values, and returns one: a dict, or another tree of dicts,
            tuples and lists, the same for every sample.
        seed : int
            In [0, 2**64).
        tensors : bool
            Values are tensors, where torch has their type; else arrays as they were read.

        Examples
        --------
        >>> import h5stream as h5s, torch
        >>> def jitter(sample):
        ...     return {"x": sample["X"] + 0.1 * torch.randn(sample["X"].shape)}
        >>> pipe = h5s.open_files(h5s.example_file(), ["X"]).list_chunks().read_chunks()
        >>> pipe = pipe.transform(jitter, seed=1).batch(50).collate()
        >>> next(iter(pipe))["x"].shape
        torch.Size([50, 765])
        """
        first, *others = self.stages
        if not isinstance(first, OpenFiles):
            raise ConfigError(
                "transform() is for one stream; transform each of those that are mixed"
            )
        stage = Transform(a_callable("transform", function), a_seed(seed), tensors)
        return Pipe((first.numbered(), *others)).then(stage)

    def map(self, function: Callable[[dict[str, Any]], Any]) -> Pipe:
        """Apply a function to each item.

        Parameters
        ----------
        function : callable
            Gets a dict and returns one: of columns before `unbatch` and after `batch`, of values
            after `unbatch`, of tensors after `collate`. A generator function may yield any number
            of items for one.
        """
        self._tell_of_one_draw(function)
        return self.then(Map(a_callable("map", function), unit_of(self.stages) is Items.SAMPLES))

    def _tell_of_one_draw(self, function: Any) -> None:
        """Warn of an augmentation that would treat all images of a batch alike."""
        of_images = str(type(function).__module__).startswith("torchvision.transforms")
        if of_images and unit_of(self.stages) is Items.BLOCKS:
            warnings.warn(
                f"map() gets whole batches here, and {type(function).__name__} draws once for all "
                "their images: the same flip or crop; write H5Stream(..., transform=function) for "
                "one sample at a time",
                stacklevel=3,
            )

    def where(self, predicate: Callable[[dict[str, Any]], Any]) -> Pipe:
        """Keep some rows.

        Parameters
        ----------
        predicate : callable
            Gets a dict. Over blocks it returns a boolean array with one entry a row; over samples
            it returns whether to keep the sample.
        """
        return self.then(Where(a_callable("where", predicate)))

    def batch(self, batch_size: int, *, drop_last: bool = False) -> Pipe:
        """Make batches of exactly `batch_size` rows; only a lane's last may be shorter.

        Parameters
        ----------
        batch_size : int
            Rows of a batch.
        drop_last : bool
            Leave a lane's short last batch out.
        """
        stage = Batch(a_count("batch_size", batch_size), drop_last)
        if self.gives is not Items.TENSORS:
            return self.then(stage)
        if unit_of(self.stages) is Items.BLOCKS:
            raise ConfigError(
                "this stream gives batches already; for others write batch_size= when it is made, "
                "or for functions of single samples batch_size=None"
            )
        collate = next(each for each in reversed(self.stages) if isinstance(each, Collate))
        return self.then(stage).then(collate)

    def bucket(
        self,
        batch_size: int | None = None,
        *,
        by: By,
        max_tokens: int | None = None,
        drop_last: bool = False,
        buffer_size: int | None = None,
        shuffle: bool = True,
    ) -> Pipe:
        """Make batches of rows that are alike in length, so that little is padded.

        The order of the batches within a window is drawn, like the order of rows by
        `shuffle_rows`: it differs in every epoch, and a run that resumes goes on in it.

        Parameters
        ----------
        batch_size : int, optional
            Rows of a batch; only a lane's last may be shorter. With `max_tokens`: at most so many.
        by : str or callable
            The field whose rows are ragged or sparse, or one that holds a length for each row; or a
            function that gets a dict of columns and returns the lengths.
        max_tokens : int, optional
            Instead of a number of rows: the most elements of a batch, when its rows are padded to
            the longest. A longer row makes a batch of its own. Only a run can tell how many batches
            there are.
        drop_last : bool
            Leave a lane's short last batch out.
        buffer_size : int, optional
            Rows of the windows within which rows are put together; by default 100 batches, or 8192
            rows with `max_tokens` alone, but no more than fit in 64 MiB.
        shuffle : bool
            Draw the order of the batches; False: within each window, the longest come first.
        """
        for name, value in {"batch_size": batch_size, "max_tokens": max_tokens}.items():
            if value is not None:
                a_count(name, value)
        if batch_size is None and max_tokens is None:
            raise ConfigError("bucket() needs batch_size or max_tokens")
        if drop_last and max_tokens is not None:
            raise ConfigError("with max_tokens no batch is short, so drop_last would do nothing")
        if buffer_size is not None:
            a_count("buffer_size", buffer_size)
        if not isinstance(by, str) and not callable(by):
            raise ConfigError(f"bucket() needs by= a field or a function, not {by!r}")
        return self.then(Bucket(by, batch_size, max_tokens, drop_last, buffer_size, shuffle))

    def collate(
        self,
        function: Callable[[dict[str, Any]], Any] | None = None,
        **options: Unpack[CollateOptions],
    ) -> Pipe:
        """Turn blocks and samples into dicts of tensors.

        Parameters
        ----------
        function : callable, optional
            Gets a dict of columns or values and returns the batch; by default `h5stream.collate`.
        **options
            Those of `h5stream.collate`: ``ragged``, ``padding_value``, ``padding_side``,
            ``padding_info``, ``pad_to``, ``pad_to_multiple_of``, ``max_length`` and ``sparse``.
        """
        if function is None:
            collation = Collation.from_options(options)
            fitted = Pipe(tuple(stage.fitted(collation) for stage in self.stages))
            return fitted.then(Collate(None, collation))
        if options:
            raise ConfigError(
                f"a function of yours makes the batches, so {', '.join(options)} would do nothing; "
                "call h5stream.collate() in it, or leave it out"
            )
        return self.then(Collate(a_callable("collate", function)))

    def prefetch(self, items: int = 2) -> Pipe:
        """Run everything before this on a thread of its own, ahead of the caller.

        Parameters
        ----------
        items : int
            How many items are kept ready.
        """
        return self.then(Prefetch(a_count("items", items)))


def open_files(
    sources: Sources,
    fields: Mapping[str, Asked] | Sequence[str] | None = None,
    *,
    subset: Subset = None,
    keep_order: bool = True,
    convention: str | None = "auto",
    convention_options: Mapping[str, Any] | None = None,
    missing: Missing = "error",
    storage_options: Mapping[str, Any] | None = None,
    requests: int | None = None,
    retry_s: float | None = None,
    layout: LayoutOption = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_limit: int | None = None,
) -> Pipe:
    """Start a pipe on HDF5 files.

    Parameters
    ----------
    sources : path, sequence of paths, or mapping
        A file, a glob pattern, or a list of them. The matches of a pattern come in natural order.
        Remote files go by URLs that fsspec knows: ``s3://``, ``gs://``, ``https://`` and others.
        Where fields of the same rows lie in files of their own, a mapping from each field to its
        files: ``{"x": "train_x.h5", "y": "train_y.h5"}``; file i of each holds the same rows.
    fields : mapping, sequence of str, or None
        Key of the column -> dataset path or field spec, or dataset paths that are keys as well. A
        member of a compound type is named in brackets: ``"obs[louvain]"``. None: what the files'
        convention suggests, or else every dataset that shares the leading length of the largest
        one.
    subset : Subset
        Which rows: numbers, a mask, a slice, ``{"split": "train"}``, a part of a `Split`, or a
        function of small columns. Only chunks that hold wanted rows are read.
    keep_order : bool
        Rows of a subset keep the order in which they were given, however far apart they lie; if
        not, they come in the order of the files.
    convention : str or None
        What wrote the files: "auto", as they show; the name of a convention; None: plain datasets.
    convention_options : mapping, optional
        Options of the convention, such as ``{"sampling": "coo"}`` for h5torch.
    missing : {"error", "drop"}
        What to do with a group that lacks one of the fields, where fields come from groups, and
        with a row whose key a `Table` does not have: raise an error that names it, or leave it out,
        which `explain()` tells.
    storage_options : mapping, optional
        Credentials and other options of a remote file system, as fsspec takes them.
    requests : int, optional
        Requests to remote files that are in flight at once; by default as many as are found to be
        worth it.
    retry_s : float, optional
        How long a range that does not arrive is asked for again; by default two minutes.
    layout : path, URL or False, optional
        What `index_files` wrote, or kerchunk references: then chunks are not looked for. By default
        the layouts of remote files, and of many local ones, are kept in the user's cache directory;
        False scans anew.
    cache_dir : path, optional
        Keep what is fetched from remote files in this directory, as it is stored there, for all
        processes of this machine; layouts as well.
    cache_limit : int, optional
        Bytes that may be kept there, by default 10 GiB; what was read longest ago goes first.

    Returns
    -------
    Pipe
        Yields the files, until more stages are added.

    Examples
    --------
    >>> import h5stream as h5s
    >>> pipe = h5s.open_files(h5s.example_file(), fields={"x": "X", "y": "obs[louvain]"})
    >>> next(iter(pipe)).n_rows
    700
    """
    access = open_access(
        storage_options,
        requests=requests,
        retry_s=retry_s,
        cache_dir=cache_dir,
        cache_limit=cache_limit,
    )
    files = OpenFiles(
        sources,
        fields,
        subset=subset,
        keep_order=keep_order,
        convention=convention,
        options=convention_options,
        missing=missing,
        access=access,
        layout=layout,
        cache_dir=cache_dir,
    )
    return Pipe((files,))


def mix(
    streams: Sequence[Pipe],
    weights: Sequence[float] | None = None,
    *,
    stop_criteria: StopCriteria = "first_exhausted",
    seed: int = 0,
) -> Pipe:
    """Draw batches or samples from several streams.

    All ranks draw from the same stream in the same step. Every stream keeps its own shuffle and
    its own order; the place of a mix can be saved and resumed like that of any pipe.

    Parameters
    ----------
    streams : sequence of H5Stream or Pipe
        Each with a `shard`, and all giving the same kind of item.
    weights : sequence of float, optional
        How often to draw from each, in proportion; by default equally often.
    stop_criteria : {"first_exhausted", "all_exhausted", "cycle"}
        When a stream is exhausted: end the epoch; go on with the others until each has given all
        its items once; or start that stream again, in another order, and never end.
    seed : int
        Of the draws, in [0, 2**64).

    Returns
    -------
    Pipe
        Yields the streams' items as they are; more stages can be added. Its length depends on the
        number of workers unless the streams have `lanes`.

    Raises
    ------
    ConfigError
        If the streams do not fit each other.

    Examples
    --------
    >>> import h5stream as h5s
    >>> options = {"fields": {"x": "X"}, "batch_size": 50, "lanes": 2}
    >>> often = h5s.H5Stream(h5s.example_file(), shuffle=True, **options)
    >>> seldom = h5s.H5Stream(h5s.example_file(), **options)
    >>> mixed = h5s.mix([often, seldom], weights=[3, 1], stop_criteria="all_exhausted")
    >>> len(mixed), len(list(mixed))
    (28, 28)
    """
    shares = tuple(map(float, [1.0] * len(streams) if weights is None else weights))
    if not streams or not all(isinstance(stream, Pipe) for stream in streams):
        raise ConfigError(f"mix() takes H5Streams or Pipes, not {streams!r}")
    if len(shares) != len(streams) or not all(0 < share < math.inf for share in shares):
        raise ConfigError(f"mix() needs a positive weight for each of {len(streams)}: {weights!r}")
    if stop_criteria not in get_args(StopCriteria):
        raise ConfigError(f"stop_criteria must be one of {get_args(StopCriteria)}")
    gets = {stream.gives for stream in streams}
    if len(gets) > 1 or not gets <= {Items.BLOCKS, Items.SAMPLES, Items.TENSORS}:
        raise ConfigError(f"mix() takes streams of one kind of item, not {sorted(gets)}")
    parts = tuple(stream.stages for stream in streams)
    units = {str(unit_of(part)) for part in parts if not isinstance(part[0], Mix)}
    if len(units) > 1:
        raise ConfigError(
            "mix() takes streams of batches or streams of single samples, not both; give all a "
            "batch_size, or none"
        )
    if any(isinstance(part[0], Mix) for part in parts):
        raise ConfigError("mix() takes streams of files; mix all of them in one call")
    return Pipe((Mix(parts, common_shard(parts), gets.pop(), shares, stop_criteria, a_seed(seed)),))
