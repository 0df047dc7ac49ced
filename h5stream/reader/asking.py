"""Jobs that ask for their bytes before they can run, so that no thread waits for the network.

A job on a local file runs as soon as a thread is free. One on a remote file first asks for its
ranges; it is handed to a thread when they have arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from h5stream.decode import Scratch
from h5stream.fetch import Request, RequestingFile
from h5stream.reader.stats import Stats

__all__ = ["AskingJob", "Job", "ask_for", "can_ask", "is_in_memory", "run_all", "start_job"]

Job = Callable[[Scratch], None]
"""Work for any thread: fills part of a window's buffers."""


def can_ask(file: Any) -> TypeGuard[RequestingFile]:
    """Tell whether a file takes requests ahead."""
    return hasattr(file, "request")


def is_in_memory(file: Any) -> TypeGuard[Request]:
    """Tell whether what is read of a file is in memory already."""
    return hasattr(file, "view")


class AskingJob:
    """Work that needs some ranges.

    Parameters
    ----------
    file : RequestingFile
        Where they come from.
    offset, size : numpy.ndarray
        int64: the ranges.
    work : callable
        Does it, with what has arrived and the thread's scratch memory.
    stats : Stats
        Where requests and bytes are counted.
    """

    def __init__(
        self,
        file: RequestingFile,
        offset: np.ndarray,
        size: np.ndarray,
        work: Callable[[Any, Scratch], None],
        stats: Stats,
    ) -> None:
        self._file = file
        self._offset = offset
        self._size = size
        self._work = work
        self._stats = stats
        self._request: Request | None = None

    @property
    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Offset and size of what it needs."""
        return self._offset, self._size

    def ask(self) -> Request:
        """Ask for the ranges, once."""
        if self._request is None:
            self._request = self._file.request(self._offset, self._size)
            self._stats.add(
                requests=self._request.requests,
                fetched_bytes=self._request.moved_bytes,
                cached_bytes=self._request.cached_bytes,
            )
        return self._request

    def cancel(self) -> None:
        """Stop waiting for the ranges; they may be asked for again."""
        request, self._request = self._request, None
        if request is not None:
            request.cancel()

    def __call__(self, scratch: Scratch) -> None:
        """Do the work, once the ranges are there."""
        request = self.ask()
        request.settle()
        try:
            self._work(request, scratch)
        finally:
            request.drop()
            self._request = None


def ask_for(job: Job) -> Job:
    """Let a job ask for its ranges, if it has any, and return it."""
    if isinstance(job, AskingJob):
        job.ask()
    return job


def run_all(jobs: Iterable[Job], scratch: Scratch) -> None:
    """Do jobs on the calling thread, once all have asked for their ranges."""
    for job in [ask_for(job) for job in jobs]:
        job(scratch)


def start_job(executor: Executor, run: Callable[[Job], None], job: Job) -> Future[None]:
    """Hand a job to a thread, as soon as it can run there without waiting.

    Parameters
    ----------
    executor : Executor
        The threads.
    run : callable
        Runs a job on one of them.
    job : callable
        The job.

    Returns
    -------
    Future
        Done when the job is. Cancelled, it stops waiting for the bytes as well.
    """
    if not isinstance(job, AskingJob):
        return executor.submit(run, job)
    request, done = job.ask(), Future[None]()
    done.add_done_callback(lambda future: job.cancel() if future.cancelled() else None)
    request.arrived.add_done_callback(partial(_go_on, executor, run, job, done))
    return done


def _go_on(
    executor: Executor,
    run: Callable[[Job], None],
    job: Job,
    done: Future[None],
    arrived: Future[None],
) -> None:
    if arrived.cancelled() or not done.set_running_or_notify_cancel():
        done.cancel()
        return
    if error := arrived.exception():
        done.set_exception(error)
        return
    try:
        executor.submit(run, job).add_done_callback(partial(_settle, done))
    except RuntimeError as shut_down:
        done.set_exception(shut_down)


def _settle(done: Future[None], ran: Future[None]) -> None:
    if ran.cancelled():
        done.set_exception(RuntimeError("the stream was closed"))
    elif error := ran.exception():
        done.set_exception(error)
    else:
        done.set_result(None)
