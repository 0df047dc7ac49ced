"""Says what to write instead of arguments and methods that other libraries have."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterable, Mapping

from h5stream.errors import ConfigError

__all__ = ["UnknownArgumentError", "UnknownMethodError", "method_hint", "refuse_unknown"]

_OF_LOADER = (
    "in_order",
    "multiprocessing_context",
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "timeout",
    "worker_init_fn",
)

_OF_BATCHES = ("batch_sampler", "batch_size", "drop_last", "sampler", "shuffle")

_OF_DATASET = {
    name: f"it is a DataLoader that makes batches: DataLoader(dataset, {name}=...)"
    for name in (*_OF_LOADER, *_OF_BATCHES)
}

_WORKERS = "reading runs on threads; for worker processes write Loader(stream, num_workers=...)"

_ARGUMENTS = {
    **{
        name: f"reading runs on threads; for worker processes write Loader(stream, {name}=...)"
        for name in _OF_LOADER
    },
    **dict.fromkeys(("n_workers", "workers"), _WORKERS),
    **dict.fromkeys(
        ("augment", "augmentation", "augmentations", "preprocess", "preprocessing"),
        "write transform=, a function of one sample",
    ),
    "bs": "write batch_size=",
    "chunk_size": "chunks are those of the file; write buffer_size= for the rows of a window",
    "collate_fn": "write collate=",
    "num_epochs": "write epochs=",
    "class_weights": 'write weights=Balanced("label"), or {"label": {value: weight}}',
    "columns": "write fields=",
    "datasets": "write fields=",
    "device": 'write to_device(stream, "cuda")',
    "epoch": "write stream.set_epoch(n)",
    "epoch_size": "write rows_per_epoch=n",
    "filter": 'write subset={"name": value}, or .where(predicate) in a chain of pipes',
    "keys": "write fields=",
    "limit": "write subset=slice(n)",
    "map": "write stream.map(function) for batches, or transform= for samples",
    "map_fn": "write stream.map(function) for batches, or transform= for samples",
    "max_rows": "write subset=slice(n)",
    "max_samples": "write subset=slice(n)",
    "n_rows": "write subset=slice(n)",
    "num_replicas": "write world_size=",
    "num_samples": "write rows_per_epoch=n to draw so many rows in each epoch, or "
    "subset=slice(n) for the first ones",
    "oversample": 'write weights=Balanced("label")',
    "sampler": "write shuffle=True, weights= to draw rows by weight, or subset= for the rows in an "
    "order of yours; or give the sampler to a DataLoader of Dataset(...)",
    "samples_per_epoch": "write rows_per_epoch=n",
    "batch_sampler": "write batch_size=; or give the sampler to a DataLoader of Dataset(...)",
    "shuffle_buffer_size": "write buffer_size=",
    "split": 'write subset={"split": "train"}, or subset=Split(validation=0.1)["train"]',
    "streaming": "leave it out: everything is streamed",
    "transforms": "write transform=",
}

_METHODS = {
    "__getitem__": "a stream has an order of its own; rows by number are those of "
    "Dataset(sources, fields)[number]",
    "batched": "write batch_size= when the stream is made, or .batch(n) in a chain of pipes",
    "cuda": 'write to_device(stream, "cuda")',
    "apply": "write .map(function) for batches, or transform= for samples",
    "batch_size": "it is what batch_size= said when the stream is made; explain() tells all of it",
    "columns": "stream.fields tells the fields",
    "cycle": "iterate over the stream again for each epoch: for batch in stream",
    "dataset": "the stream is the dataset; stream.fields tells its fields",
    "enumerate": "write enumerate(stream)",
    "filter": 'write subset={"name": value} when the stream is made, or .where(predicate) before '
    "batches are made: open_files(...)...read_chunks().where(predicate).batch(n)",
    "head": "write next(iter(stream)), or subset=slice(n) when the stream is made",
    "iter_batches": "iterate over the stream itself: for batch in stream",
    "iter_epochs": "iterate over the stream again for each epoch: for batch in stream",
    "keys": "stream.fields tells the fields",
    "repeat": "iterate over the stream again for each epoch: for batch in stream",
    "sample": "write shuffle=True when the stream is made",
    "select": "write subset=row_numbers when the stream is made",
    "select_columns": "write fields= when the stream is made",
    "shuffle": "write shuffle=True when the stream is made, or .shuffle_chunks(seed) and "
    ".shuffle_rows() in a chain of pipes",
    "shape": "len(stream) counts batches, and stream.fields tells what a row is",
    "skip": "write subset=slice(n, None) when the stream is made; to go on after a stop, "
    "load_state_dict()",
    "take": "write subset=slice(n) when the stream is made, or itertools.islice(stream, n) for "
    "some batches",
    "to": 'write to_device(stream, "cuda")',
    "zip": "rows of two shuffled streams do not belong together: ask for both as fields of one "
    "stream",
    "with_format": 'write output="numpy" when the stream is made',
}


class UnknownArgumentError(ConfigError, TypeError):
    """There is no such argument."""


class UnknownMethodError(ConfigError, AttributeError):
    """There is no such method."""


def refuse_unknown(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse arguments that are not known.

    Raises
    ------
    UnknownArgumentError
        Naming the first, and what to write instead.
    """
    of_others = _ARGUMENTS | _OF_DATASET if what == "Dataset" else _ARGUMENTS
    for name in given:
        if name not in known:
            hint = of_others.get(name) or _same(name, known, of_others) or _close(name, known)
            raise UnknownArgumentError(f"{what} has no argument {name!r}; {hint}")


def _same(name: str, known: Collection[str], others: Mapping[str, str]) -> str | None:
    """Answer ``batchsize`` as ``batch_size``."""
    plain = name.replace("_", "").lower()
    ours = (f"did you mean {each}?" for each in known if each.replace("_", "") == plain)
    theirs = (hint for each, hint in others.items() if each.replace("_", "") == plain)
    return next(itertools.chain(ours, theirs), None)


def method_hint(name: str, known: Collection[str]) -> str | None:
    """Say what to write instead of a method, None if nothing comes close."""
    if name in _METHODS:
        return _METHODS[name]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.75)
    return f"did you mean {', '.join(close)}?" if close else None


def _close(name: str, known: Collection[str]) -> str:
    plain = {each.replace("_", ""): each for each in known}
    close = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=3, cutoff=0.6)
    if close:
        return f"did you mean {', '.join(plain[each] for each in close)}?"
    return f"it has {', '.join(sorted(known))}"
