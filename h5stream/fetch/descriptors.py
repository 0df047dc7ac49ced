"""Keeps local files open, but not too many: a part of the descriptors that this process may have.

Who reads takes a descriptor and gives it back. Beyond the limit, what was used longest ago is
closed, but nothing that is in use; whoever needs it later opens it again.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable

from h5stream.errors import FetchError
from h5stream.system import most_descriptors

__all__ = ["Descriptors", "descriptor_limit", "explain_too_many"]

_LEAST, _MOST = 8, 512
_SHARE = 4
"""A quarter of the descriptors of a process at most are for the files that it streams."""

_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def descriptor_limit() -> int:
    """Return how many local files are kept open."""
    most = most_descriptors()
    return _MOST if most is None else min(_MOST, max(_LEAST, most // _SHARE))


def explain_too_many(path: str, error: OSError) -> FetchError | None:
    """Make the error that names the limit, None if something else is wrong."""
    if error.errno not in _TOO_MANY and "Too many open files" not in str(error):
        return None
    return FetchError(
        f"{path}: cannot be opened, because this process has as many files open as it may have "
        f"(RLIMIT_NOFILE is {most_descriptors()}); raise the limit with `ulimit -n`, or close "
        "other files",
        url=path,
    )


class Descriptors:
    """Open descriptors of one process, under numbers that their owners chose."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # garbage may be collected, and closed, inside
        self._open: OrderedDict[int, int] = OrderedDict()
        self._users: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, number: int, open_file: Callable[[], int]) -> int:
        """Return the descriptor under a number, which stays open until it is given back."""
        with self._lock:
            descriptor = self._open.get(number)
            if descriptor is not None:
                self._open.move_to_end(number)
                self._users[number] = self._users.get(number, 0) + 1
                return descriptor
        return self._add(number, self._open_new(open_file))

    def _open_new(self, open_file: Callable[[], int]) -> int:
        try:
            return open_file()
        except OSError as error:
            if error.errno not in _TOO_MANY:
                raise
        self._close_unused(0)
        return open_file()

    def _add(self, number: int, opened: int) -> int:
        with self._lock:
            descriptor = self._open.setdefault(number, opened)
            self._users[number] = self._users.get(number, 0) + 1
        if descriptor != opened:  # another thread was faster
            os.close(opened)
        self._close_unused(descriptor_limit())
        return descriptor

    def give_back(self, number: int) -> None:
        """Let a descriptor be closed when another is needed."""
        with self._lock:
            self._users[number] -= 1

    def close(self, number: int) -> None:
        """Close a descriptor that nobody will take again, if it is open."""
        with self._lock:
            self._users.pop(number, None)
            descriptor = self._open.pop(number, None)
        if descriptor is not None:
            os.close(descriptor)

    def close_unless_used(self, number: int) -> None:
        """Close a descriptor; whoever takes it again opens the file again."""
        with self._lock:
            if not self._users.get(number):
                self.close(number)

    def _close_unused(self, most: int) -> None:
        """Close what was used longest ago until no more than so many are open."""
        with self._lock:
            for number in list(self._open):
                if len(self._open) <= most:
                    break
                if not self._users.get(number):
                    self.close(number)

    def renew(self) -> None:
        """Forget the threads of the parent, in a process that was forked."""
        self._lock = threading.RLock()
        self._users.clear()
