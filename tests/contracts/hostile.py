"""A server that answers what a script says, byte for byte, on threads of the test's process."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["Asked", "Hostile", "hostile", "ranged"]

_RANGE = re.compile(rb"(?i)\r\nrange: bytes=(\d+)-(\d+)\r\n")
_MOST_REQUESTS = 400


@dataclass(frozen=True)
class Asked:
    """One request: its number over all connections, what it was, and which range it wants."""

    number: int
    head: bytes
    start: int
    stop: int

    @property
    def is_head(self) -> bool:
        return self.head.startswith(b"HEAD ")


Answer = Callable[[Asked], Iterable[bytes]]
"""Pieces to send; after the last one the connection stays open, but for an empty piece."""


@dataclass
class Hostile:
    """A server that is running."""

    answer: Answer
    port: int = 0
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def talk(self, connection: socket.socket) -> None:
        """Answer the requests of one connection."""
        waiting = b""
        with connection, contextlib.suppress(OSError):
            while not self.stopped.is_set():
                while b"\r\n\r\n" not in waiting:
                    received = connection.recv(65536)
                    if not received:
                        return
                    waiting += received
                head, _, waiting = waiting.partition(b"\r\n\r\n")
                found = _RANGE.search(head + b"\r\n")
                start, last = (int(found[1]), int(found[2])) if found else (0, -1)
                asked = Asked(len(self.requests), head, start, last + 1)
                self.requests.append(asked)
                if len(self.requests) > _MOST_REQUESTS:
                    return
                for piece in self.answer(asked):
                    if not piece or self.stopped.is_set():
                        return
                    connection.sendall(piece)


@contextlib.contextmanager
def hostile(answer: Answer) -> Iterator[Hostile]:
    """Run a server until the block ends."""
    server = Hostile(answer)
    open_connections: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.port = listening.getsockname()[1]

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = listening.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    server.connections += 1
                    open_connections.append(connection)
                    talking = threading.Thread(target=server.talk, args=(connection,), daemon=True)
                    threads.append(talking)
                    talking.start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.stopped.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            for connection in open_connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in [accepting, *threads]:
                thread.join(10)


def ranged(data: bytes, asked: Asked, *lines: str, status: str = "206 Partial Content") -> bytes:
    """Answer as a good server does, with further lines in the head."""
    stop = min(asked.stop, len(data)) if asked.stop else len(data)
    body = data[asked.start : stop]
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        f"Content-Range: bytes {asked.start}-{stop - 1}/{len(data)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (b"" if asked.is_head else body)
