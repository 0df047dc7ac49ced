"""Runs tasks: on threads once their ranges are there, or on the calling thread.

No thread waits for the network: all tasks ask for their ranges when they are started, and each is
handed to a thread when they have arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor as Threads
from concurrent.futures import Future
from functools import partial

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.decode import Scratch
from h5stream.fetch import Fetched
from h5stream.reader.execution.executor import Executor
from h5stream.reader.tasks import ReadTask

__all__ = ["run_here", "start_tasks"]


def run_here(
    executor: Executor, tasks: Sequence[ReadTask], memory: Sequence[np.ndarray], scratch: Scratch
) -> None:
    """Run tasks on the calling thread, once all have asked for their ranges."""
    started = [(task, executor.fetch(task)) for task in tasks]
    for task, fetched in started:
        fetched.settle()
        executor.run(task, fetched, memory, scratch)


def start_tasks(
    threads: Threads,
    executor: Executor,
    tasks: Sequence[ReadTask],
    memory: Sequence[np.ndarray],
    until: Cancellation = NEVER,
) -> list[Future[None]]:
    """Hand tasks to threads, each as soon as it can run there without waiting.

    Parameters
    ----------
    threads : concurrent.futures.Executor
        The threads.
    executor : Executor
        Runs a task on one of them.
    tasks : sequence of ReadTask
        The tasks.
    memory : sequence of numpy.ndarray
        The buffers that they fill.
    until : Cancellation
        Ends what waits in them.

    Returns
    -------
    list of Future
        Each is done when its task is. Cancelled, it stops waiting for the bytes as well.
    """
    return [_start(threads, executor, task, memory, until) for task in tasks]


def _start(
    threads: Threads,
    executor: Executor,
    task: ReadTask,
    memory: Sequence[np.ndarray],
    until: Cancellation,
) -> Future[None]:
    fetched = executor.fetch(task, until)
    work = partial(_run, executor, task, fetched, memory, until)
    if fetched.arrived.done():
        return threads.submit(work)
    done = Future[None]()
    done.add_done_callback(lambda future: fetched.cancel() if future.cancelled() else None)
    fetched.arrived.add_done_callback(partial(_go_on, threads, work, done))
    return done


def _run(
    executor: Executor,
    task: ReadTask,
    fetched: Fetched,
    memory: Sequence[np.ndarray],
    until: Cancellation,
) -> None:
    fetched.settle()
    executor.run(task, fetched, memory, executor.scratch(), until)


def _go_on(
    threads: Threads, work: partial[None], done: Future[None], arrived: Future[None]
) -> None:
    if arrived.cancelled() or not done.set_running_or_notify_cancel():
        done.cancel()
        return
    if error := arrived.exception():
        done.set_exception(error)
        return
    try:
        threads.submit(work).add_done_callback(partial(_settle, done))
    except RuntimeError as shut_down:
        done.set_exception(shut_down)


def _settle(done: Future[None], ran: Future[None]) -> None:
    if ran.cancelled():
        done.set_exception(RuntimeError("the stream was closed"))
    elif error := ran.exception():
        done.set_exception(error)
    else:
        done.set_result(None)
