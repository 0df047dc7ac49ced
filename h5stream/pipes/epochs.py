"""Counts epochs, the same in every DataLoader worker, without locks.

Workers of one `DataLoader` iterator must agree on the epoch, whether they live on
(``persistent_workers=True``) or are made anew, and no code of ours runs in the parent when they
start. So the count lies in memory that parent and workers share:

1. Word 0 holds a generation and the epoch that it begins with. Only the parent writes it: when
   `set_epoch` is called, and when the parent itself iterates.
2. Word 1 + w belongs to worker w alone. It holds the generation, a tag of the DataLoader iterator
   (the base seed that all its workers know) and the epoch that the worker began last.
3. A worker begins the epoch after its own last, if its word has this generation and tag; else the
   one that another worker with this generation and tag has begun; else the one after the last
   that any worker began in this generation; else the generation's first.

Each word is written at once, and workers within one epoch find the same answer whoever is first.
"""

from __future__ import annotations

from h5stream.errors import ConfigError
from h5stream.pipes.shared import MOST_WORKERS, SharedWords

__all__ = ["EpochCount"]

_EPOCH_BITS, _TAG_BITS, _GENERATION_BITS = 24, 20, 20
_LARGEST_EPOCH = (1 << _EPOCH_BITS) - 1


def _pack(generation: int, tag: int, epoch: int) -> int:
    return ((generation << _TAG_BITS | tag) << _EPOCH_BITS) | epoch


def _unpack(word: int) -> tuple[int, int, int]:
    epoch = word & _LARGEST_EPOCH
    tag = word >> _EPOCH_BITS & ((1 << _TAG_BITS) - 1)
    return word >> (_EPOCH_BITS + _TAG_BITS), tag, epoch


def _tag_of(base_seed: int) -> int:
    return base_seed % ((1 << _TAG_BITS) - 1) + 1


class EpochCount:
    """The next epoch of a pipe, shared with the workers that it is handed to."""

    def __init__(self) -> None:
        self._shared = SharedWords(1 + MOST_WORKERS)
        self._write(0, _pack(1, 0, 0))

    def set(self, epoch: int) -> None:
        """Make the next iteration begin `epoch`, in this process and in its workers.

        Raises
        ------
        ConfigError
            If it is not in [0, 2**24).
        """
        if not 0 <= epoch <= _LARGEST_EPOCH:
            raise ConfigError(f"epoch must be an integer in [0, {_LARGEST_EPOCH}], not {epoch}")
        generation, _tag, _epoch = self._read(0)
        following = (generation + 1) % (1 << _GENERATION_BITS) or 1
        self._write(0, _pack(following, 0, epoch))

    def peek(self) -> int:
        """Return the epoch that comes next."""
        generation, _tag, first = self._read(0)
        begun = [epoch for g, _tag, epoch in self._workers() if g == generation]
        return max(begun) + 1 if begun else first

    def begun_by_workers(self) -> bool:
        """Say whether the epoch that was begun last was begun by DataLoader workers."""
        generation, _tag, _first = self._read(0)
        return any(g == generation for g, _tag, _epoch in self._workers())

    def begin(self) -> int:
        """Begin the next epoch in the process that made the pipe."""
        epoch = self.peek()
        self.set(epoch + 1)
        return epoch

    def begin_in_worker(self, worker: int, base_seed: int) -> int:
        """Begin the next epoch in a DataLoader worker.

        Parameters
        ----------
        worker : int
            Its number.
        base_seed : int
            What all workers of the same DataLoader iterator have in common.

        Raises
        ------
        ConfigError
            If there are more workers than the shared memory has words.
        """
        if worker >= MOST_WORKERS:
            raise ConfigError(f"at most {MOST_WORKERS} DataLoader workers are possible")
        generation, _tag, first = self._read(0)
        tag = _tag_of(base_seed)
        own = self._read(1 + worker)
        current = [word for word in self._workers() if word[0] == generation]
        together = [epoch for _g, t, epoch in current if t == tag]
        if own[:2] == (generation, tag):
            epoch = own[2] + 1
        elif together:
            epoch = max(together)
        else:
            epoch = max((epoch for _g, _t, epoch in current), default=first - 1) + 1
        self._write(1 + worker, _pack(generation, tag, epoch))
        return epoch

    def go_on_from(self, epoch: int, worker: int | None = None, base_seed: int = 0) -> None:
        """Note that this process is in `epoch`, because it resumed there."""
        if worker is None:
            self.set(epoch + 1)
            return
        generation, _tag, _first = self._read(0)
        self._write(1 + worker, _pack(generation, _tag_of(base_seed), epoch))

    def _workers(self) -> list[tuple[int, int, int]]:
        return [_unpack(word) for word in self._shared.words[1:].tolist() if word]

    def _read(self, at: int) -> tuple[int, int, int]:
        return _unpack(int(self._shared.words[at]))

    def _write(self, at: int, word: int) -> None:
        self._shared.words[at] = word
