"""nginx, serving ranges of the files of a folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.remote.processes import free_port, running

_CONFIG = """
daemon off;
worker_processes 1;
user root;
pid {state}/nginx.pid;
error_log {state}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format ranges '$status $body_bytes_sent $uri $http_range';
    access_log {state}/access.log ranges;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    sendfile on;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
        autoindex on;
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A server that is running."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[tuple[int, int, str]]:
        """List status, bytes of the body and path of each request so far."""
        lines = (line.split(" ") for line in self.log.read_text().splitlines())
        return [(int(status), int(nbytes), path) for status, nbytes, path, *_range in lines]


@contextlib.contextmanager
def nginx(folder: Path, state: Path, port: int | None = None) -> Iterator[Nginx]:
    """Serve a folder; `state` holds what the server writes."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    state.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = state / "nginx.conf"
    config.write_text(_CONFIG.format(state=state, folder=folder, port=port))
    command = [program, "-p", str(state), "-e", str(state / "error.log"), "-c", str(config)]
    with running(command, port):
        yield Nginx(port, state / "access.log")
