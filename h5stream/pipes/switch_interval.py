"""Makes threads take turns more often while a stream runs.

A thread that comes back from reading or decoding waits for Python's interpreter lock. Beside a
thread that runs pure Python it waits for a whole switch interval, 5 ms by default, which is longer
than most of its work takes. While any stream of this process runs, the interval is therefore at
most a tenth of a millisecond; afterwards it is what it was before.
"""

from __future__ import annotations

import sys
import threading

from h5stream.system import after_fork

__all__ = ["restore_switch_interval", "shorten_switch_interval"]

_INTERVAL_S = 0.0001

_lock = threading.Lock()
_running = 0
_interval_before_s = _interval_meanwhile_s = 0.0


def _start_over() -> None:
    """Forget the parent's streams: their threads did not come along."""
    global _lock, _running
    _lock = threading.Lock()
    if _running:
        _running = 0
        sys.setswitchinterval(_interval_before_s)


after_fork(_start_over)


def shorten_switch_interval() -> None:
    """Count a stream that starts."""
    global _running, _interval_before_s, _interval_meanwhile_s
    with _lock:
        _running += 1
        if _running == 1:
            _interval_before_s = sys.getswitchinterval()
            sys.setswitchinterval(min(_interval_before_s, _INTERVAL_S))
            _interval_meanwhile_s = sys.getswitchinterval()


def restore_switch_interval() -> None:
    """Count a stream that ended; what somebody else has set meanwhile stays."""
    global _running
    with _lock:
        _running -= 1
        if _running == 0 and sys.getswitchinterval() == _interval_meanwhile_s:
            sys.setswitchinterval(_interval_before_s)
