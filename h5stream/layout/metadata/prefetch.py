"""Decides which blocks to fetch along with one that HDF5 missed.

1. What HDF5 has read is read here too: the blocks that it points to are known then.
2. With a block that is missed come those of its kind that will be wanted next: a few times as many
   as HDF5 has wanted so far, so that one dataset costs little, and a thousand cost few turns.
3. Of what has come, the blocks below are fetched in the next turn, under the same rule; but an
   index of chunks that HDF5 has begun to walk is fetched whole, a level at once.

All of it is guessed: what HDF5 makes of the blocks is what counts. A block is chosen once or twice,
and the number of blocks is bounded, so damaged files end.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from h5stream.layout.metadata.follow import Bounds, kind_of, pointers_in
from h5stream.layout.metadata.headers import SIGNATURE, page_bytes, read_superblock
from h5stream.layout.metadata.pointers import Kind, Pointer
from h5stream.layout.metadata.trees import TREE_SIGNATURE, is_leaf

__all__ = ["MetadataPrefetch", "PrefetchSizes"]

Read = Callable[[int, int], bytes | None]
"""Offset and size -> bytes, None unless all of them are there."""


@dataclass(frozen=True)
class PrefetchSizes:
    """How far to look ahead; the numbers are those of `benchmarks.scan`.

    Parameters
    ----------
    least_bytes, most_bytes : int
        What is fetched at once where nothing is known: the least, and the most after misses that
        follow each other.
    align_bytes : int
        What is fetched is rounded to so many: what is read together often lies together.
    blocks : int
        So many blocks of a kind come unasked for each one that was wanted.
    nodes : int
        The same, for indexes of chunks.
    data_bytes : int
        So many bytes of elements may come unasked.
    whole_indexes : bool
        Whether an index of chunks that HDF5 has begun to walk comes whole.
    """

    least_bytes: int = 32 * 2**10
    most_bytes: int = 2 * 2**20
    align_bytes: int = 4 * 2**10
    blocks: int = 31
    nodes: int = 3
    data_bytes: int = 4 * 2**20
    whole_indexes: bool = True


_WALKED = (Kind.INDEX, Kind.NODE)
_MOST_BLOCKS = 2**20
_MOST_CHUNKS = 2**10
_SUPERBLOCK_BYTES = 96
_EXTENSION_BYTES = 256
_MOST_USER_BLOCK_BYTES = 2**16


class MetadataPrefetch:
    """Knows the blocks of a file that were pointed to.

    Parameters
    ----------
    size_bytes : int
        Length of the file.
    read : callable
        Gives what is in memory of it.
    sizes : PrefetchSizes
        How much.
    """

    def __init__(self, size_bytes: int, read: Read, sizes: PrefetchSizes) -> None:
        self.page_bytes = 0
        self.sizes = sizes
        self._read = read
        self._bounds = Bounds(0, size_bytes)
        self._begun = False
        self._noted: set[int] = set()
        self._known: dict[int, Pointer] = {}
        self._waiting: dict[Kind, dict[int, Pointer]] = {kind: {} for kind in Kind}
        self._urgent: list[Pointer] = []
        self._whole: set[int] = set()
        self._counted: set[int] = set()
        self._wanted: Counter[Kind] = Counter()
        self._unasked: dict[Kind, dict[int, int]] = {kind: {} for kind in Kind}

    @property
    def base_bytes(self) -> int:
        """Where addresses count from."""
        self._begin()
        return self._bounds.base_bytes

    def note(self, reads: Mapping[int, int]) -> None:
        """Take note of what HDF5 has read: offset -> size."""
        self._begin()
        for place, size in reads.items():
            if place not in self._noted:
                self._note(place, size)

    def beside(self, place: int) -> list[Pointer]:
        """Choose what to fetch along with a block that is missed; it is one of them, if known."""
        missed = self._known.get(place)
        if missed is None:
            return self._take()
        self._want(missed)
        self._walk(missed)
        waiting = self._waiting[missed.kind]
        if place in waiting:  # what comes before it was passed over
            at = list(waiting).index(place)
            order = list(waiting.values())
            self._waiting[missed.kind] = {each.place: each for each in order[at:] + order[:at]}
            del self._waiting[missed.kind][place]
        return [missed, *self._take()]

    def below(self, level: Iterable[Pointer]) -> list[Pointer]:
        """Choose what to fetch next, after a level has come."""
        for pointer in level:
            data = self._read(pointer.place, pointer.nbytes)
            if data is not None:
                self._learn(data, pointer)
        return self._take()

    def _begin(self) -> None:
        """Look at the superblock, if it is there."""
        if self._begun:
            return
        place, size_bytes = 0, self._bounds.size_bytes
        while self._read(place, len(SIGNATURE)) != SIGNATURE:
            place = max(512, 2 * place)
            if place > _MOST_USER_BLOCK_BYTES:
                return
        self._begun = True
        self._bounds = Bounds(place, size_bytes)
        with contextlib.suppress(IndexError, ValueError):
            data = self._read(place, min(_SUPERBLOCK_BYTES, size_bytes - place)) or b""
            root, extension = read_superblock(data)
            self._add(root._replace(place=place + root.place))
            more = self._read(place + extension, _EXTENSION_BYTES) if extension else None
            self.page_bytes = 0 if more is None else page_bytes(more)

    def _note(self, place: int, size: int) -> None:
        data = self._read(place, size)
        if data is None:
            return
        self._noted.add(place)
        kind = kind_of(data)
        pointer = self._known.get(place)
        if pointer is None:
            if kind is None:
                return
            pointer = Pointer(kind, place, size)
            self._known[place] = pointer
        elif data[:4] == TREE_SIGNATURE:  # HDF5 knows how long they are
            pointer = pointer._replace(nbytes=size)
        self._want(pointer)
        self._walk(pointer)
        self._learn(self._read(place, pointer.nbytes) or data, pointer)

    def _walk(self, pointer: Pointer) -> None:
        if pointer.kind in _WALKED and self.sizes.whole_indexes:
            self._whole.add(pointer.place)

    def _want(self, pointer: Pointer) -> None:
        self._unasked[pointer.kind].pop(pointer.place, None)
        if pointer.place not in self._counted:
            self._counted.add(pointer.place)
            self._wanted[pointer.kind] += 1

    def _learn(self, data: bytes, pointer: Pointer) -> None:
        """Find the blocks that a block points to."""
        if is_leaf(data) and len(self._waiting[Kind.DATA]) >= _MOST_CHUNKS:
            return
        whole = pointer.place in self._whole
        for child in pointers_in(data, pointer, self._bounds):
            goes_along = child.kind is Kind.PART or (whole and child.kind is Kind.NODE)
            if goes_along and child.place not in self._whole and len(self._whole) < _MOST_BLOCKS:
                self._whole.add(child.place)
                self._known[child.place] = child
                self._waiting[child.kind].pop(child.place, None)
                self._urgent.append(child)
            elif not goes_along:
                self._add(child)

    def _add(self, pointer: Pointer) -> None:
        if pointer.place not in self._known and len(self._known) < _MOST_BLOCKS:
            self._known[pointer.place] = pointer
            self._waiting[pointer.kind][pointer.place] = pointer

    def _take(self) -> list[Pointer]:
        """Take what must come, and of each kind what may come unasked."""
        level, self._urgent = self._urgent, []
        for kind, waiting in self._waiting.items():
            unasked = self._unasked[kind]
            each = self.sizes.nodes if kind is Kind.NODE else self.sizes.blocks
            room = max(0, each * self._wanted[kind] - len(unasked))
            nbytes = sum(unasked.values()) if kind is Kind.DATA else 0
            for pointer in list(islice(waiting.values(), room)):
                nbytes += pointer.nbytes
                if kind is Kind.DATA and nbytes > self.sizes.data_bytes:
                    break
                del waiting[pointer.place]
                unasked[pointer.place] = pointer.nbytes
                level.append(pointer)
        return level
