"""to_device: copies the next batches to a device while the current one trains.

One thread takes batches from the loader; another pins their memory, and starts copies and the
transform on a stream of their own. The stream that trains waits for a batch's copy, and for
nothing else. Where the device is the processor there is nothing to copy, and the loop's own thread
does all.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import torch

from h5stream.errors import ConfigError

__all__ = ["OnDevice", "to_device"]

_END = object()


def to_device(
    loader: Iterable[Any],
    device: torch.device | str | int,
    transform: Callable[[Any], Any] | None = None,
    *,
    ahead: int = 2,
) -> OnDevice:
    """Copy batches to a device ahead of the training loop.

    What is sent is what the file holds, so bytes stay bytes on the way: convert, normalise and
    permute in `transform`, which runs on the device beside the training step.

    Parameters
    ----------
    loader : iterable
        An `H5Stream`, a `Loader` or any other that gives batches: tensors in dicts, lists and
        tuples. What is no tensor stays as it is.
    device : torch.device, str or int
        Where to.
    transform : callable, optional
        Takes a batch on the device and returns what the loop gets. It runs on one thread, batch
        after batch, in the loader's order.
    ahead : int
        Batches that are on their way, or there, while the loop has another: at least 1.

    Returns
    -------
    OnDevice
        Iterable like the loader; its `state_dict` is that of the loader after the batch that the
        loop got last, however many were copied ahead.

    Raises
    ------
    ConfigError
        If `ahead` is less than 1, or torch has no such device.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, batch_size=128, shuffle=True)
    >>> def standardize(batch):
    ...     x = batch["x"].float()
    ...     return {**batch, "x": (x - x.mean()) / x.std()}
    >>> for batch in h5s.to_device(stream, "cpu", standardize):
    ...     x = batch["x"]
    >>> x.shape, abs(float(x.mean())) < 1e-3
    (torch.Size([60, 765]), True)
    """
    return OnDevice(loader, device, transform, ahead)


class OnDevice(Iterable[Any]):
    """What `to_device` returns: an iterable of batches on a device, as often as the loader is one.

    Parameters
    ----------
    loader, device, transform, ahead
        See `to_device`.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        device: torch.device | str | int,
        transform: Callable[[Any], Any] | None,
        ahead: int,
    ) -> None:
        if ahead < 1:
            raise ConfigError(f"ahead must be at least 1, but is {ahead}")
        self.loader = loader
        self.device = _known_device(device)
        self._transform = transform
        self._ahead = ahead
        self._state: Any = None
        self._last: weakref.ref[_Copies] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch of the loader; what was left of the pass before is given up."""
        last = self._last() if self._last is not None else None
        if last is not None:
            last.close()
        batches = iter(self.loader)
        self._state = self._loader_state()
        copies = _Copies(self, batches, self._transform, self._ahead)
        self._last = weakref.ref(copies)
        return copies

    def __len__(self) -> int:
        """Count the batches of an epoch, if the loader can."""
        return len(self.loader)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the loader after the batch that was given last.

        Raises
        ------
        TypeError
            If the loader has no state.
        """
        state = self._loader_state() if self._state is None else self._state
        if state is None:
            raise TypeError(
                f"{type(self.loader).__name__} has no state_dict; use an h5stream.Loader"
            )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration go on from a state; see the method of the loader."""
        self.loader.load_state_dict(state)  # type: ignore[attr-defined]
        self._state = None

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration stream this epoch from its beginning."""
        self.loader.set_epoch(epoch)  # type: ignore[attr-defined]
        self._state = None

    def _loader_state(self) -> Any:
        tell = getattr(self.loader, "state_dict", None)
        return None if tell is None else tell()


class _Copied(NamedTuple):
    batch: Any
    done: torch.cuda.Event | None
    state: Any


class _Copies(Iterator[Any]):
    """One pass over the loader: a thread copies, where there is something to copy."""

    def __init__(
        self,
        owner: OnDevice,
        batches: Iterator[Any],
        transform: Callable[[Any], Any] | None,
        ahead: int,
    ) -> None:
        self._owner = owner
        self._batches = batches
        self._transform = transform
        self._ahead = ahead
        device = owner.device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._threads = tuple(
            ThreadPoolExecutor(1, thread_name_prefix=f"h5stream-to-device-{task}")
            for task in ("take", "copy")
            if device.type != "cpu"
        )
        self._pending: deque[Future[_Copied | None]] = deque()
        self._ended = False

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        try:
            copied = self._next()
        except BaseException:
            self.close()
            raise
        if copied is None:
            self.close()
            self._owner._state = None
            raise StopIteration
        self._owner._state = copied.state
        if copied.done is not None:
            stream = torch.cuda.current_stream(self._owner.device)
            stream.wait_event(copied.done)
            _mapped(partial(_keep_for, stream), copied.batch)
        return copied.batch

    def close(self) -> None:
        """End the thread, once the batch that it is busy with is there."""
        self._ended = True
        for thread in self._threads:
            thread.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()
        self._batches = iter(())

    def _next(self) -> _Copied | None:
        if not self._threads:
            return self._copy(*self._take())
        takes, copies = self._threads
        while len(self._pending) <= self._ahead:
            self._pending.append(copies.submit(self._copy_of, takes.submit(self._take)))
        return self._pending.popleft().result()

    def _take(self) -> tuple[Any, Any]:
        batch = next(self._batches, _END)
        return batch, self._owner._loader_state()

    def _copy_of(self, taken: Future[tuple[Any, Any]]) -> _Copied | None:
        return self._copy(*taken.result())

    def _copy(self, batch: Any, state: Any) -> _Copied | None:
        if batch is _END:
            return None
        with torch.cuda.stream(self._stream):
            batch = _mapped(partial(_send, self._owner.device), batch)
            if self._transform is not None:
                batch = self._transform(batch)
            done = None if self._stream is None else self._stream.record_event()
        return _Copied(batch, done, state)


def _known_device(device: torch.device | str | int) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(f"torch has no device {device!r} here: {error}") from error


def _mapped(function: Callable[[Any], Any], batch: Any) -> Any:
    """Apply a function to the tensors of a batch."""
    if isinstance(batch, torch.Tensor):
        return function(batch)
    if isinstance(batch, Mapping):
        return {key: _mapped(function, value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_mapped(function, value) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)([_mapped(function, value) for value in batch])
    return batch


def _send(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """Start a copy; from pinned memory, where that lets it run beside other work."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    if tensor.layout is torch.sparse_csr:
        rows, columns, values = (_send(device, part) for part in _parts(tensor))
        size = tensor.shape
        return torch.sparse_csr_tensor(rows, columns, values, size, check_invariants=False)
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)


def _keep_for(stream: torch.cuda.Stream, tensor: torch.Tensor) -> None:
    """Let the memory of a tensor be used again only after what the stream does with it."""
    if tensor.layout is torch.sparse_csr:
        for part in _parts(tensor):
            part.record_stream(stream)
    elif tensor.device.type == "cuda":
        tensor.record_stream(stream)


def _parts(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tensor.crow_indices(), tensor.col_indices(), tensor.values()
