"""A server of a fixed table: the bytes of each address are in memory, and no file is opened.

One connection is one request, which has seconds to arrive. No part of a request becomes a name of
a file, a line of a log or a part of an answer.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from ghostnet_small.errors import InputError, os_error_text

# Seconds for a request to arrive, and from then on for its answer to leave.
ARRIVAL, DEPARTURE = 10.0, 120.0
MOST_CONNECTIONS, MOST_OF_ADDRESS = 128, 64
POLL = 0.2  # seconds
LOCAL = ("localhost", "127.0.0.1", "[::1]")
ANY = ("0.0.0.0", "::")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), "
    + ", ".join(
        f"{feature}=()"
        for feature in (
            *("accelerometer", "autoplay", "display-capture", "geolocation", "gyroscope"),
            *("magnetometer", "microphone", "midi", "payment", "usb"),
        )
    ),
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)


class Resource(NamedTuple):
    """The content of an address: its bytes, and their type as HTTP names it."""

    content: bytes
    type: str


Table = Mapping[str, Resource]


@dataclass
class Connection:
    """A client's ``address``, and its deadline; ``whole``: its request has arrived in
    full."""

    address: str
    until: float
    whole: bool = False


class DemoServer(ThreadingHTTPServer):
    """Serves ``table``, paths to resources, at ``host``; ``port`` 0 takes any that is free.

    The table may be filled until ``serve`` is called: earlier clients wait.

    Raises ``InputError`` if the port or the host cannot be used.
    """

    daemon_threads = True
    block_on_close = False
    # Of connections that wait to be taken: a browser opens several, and tries again after seconds.
    request_queue_size = MOST_CONNECTIONS
    # Two demos on one port would take turns.
    allow_reuse_port = False
    timeout = POLL

    def __init__(self, host: str, port: int) -> None:
        self.table: Table = {}
        self.names = {*LOCAL, _in_url(host).lower()}
        self.any_address = host in ANY
        self._open: dict[socket.socket, Connection] = {}  # the oldest first
        self._guard = threading.Lock()
        try:
            (family, *_, address), *_ = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            self.address_family = family
            super().__init__(address[:2], Handler)  # type: ignore[arg-type]
        except socket.gaierror as error:
            raise InputError(
                f"--host {host} is not known ({error.strerror}); leave it out for this machine only"
            ) from None
        except OSError as error:
            raise InputError(_refused(host, port, error)) from None

    def server_bind(self) -> None:
        """Bind without the look-up of the machine's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        host = str(self.server_address[0])
        return f"http://{_in_url('127.0.0.1' if host in ANY else host)}:{self.server_port}/"

    @property
    def local(self) -> bool:
        """Return whether only this machine reaches it."""
        return ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def serve(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Answer until ``stop`` says so."""
        while not stop():
            self.handle_request()
            self.drop_late()

    def known_host(self, header: str) -> bool:
        """Return whether ``header`` names this server: another site may point its own name to this
        machine's address, and its pages could then read the content here."""
        name = header.lower()
        if not name.endswith("]"):
            before, colon, port = name.rpartition(":")
            if colon and (port.isdigit() or not port):
                name = before
        if name in self.names:
            return True
        return self.any_address and _is_address(name.strip("[]"))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for it. With too many, end the oldest whose request is incomplete."""
        address = str(client_address[0])
        with self._guard:
            of_it = [one for one, client in self._open.items() if client.address == address]
            rivals = of_it if len(of_it) >= MOST_OF_ADDRESS else list(self._open)
            full = rivals is of_it or len(rivals) >= MOST_CONNECTIONS
            if full:
                halves = [one for one in rivals if not self._open[one].whole]
                for oldest in halves[:1]:
                    self._drop(oldest)
                full = not halves
            if not full:
                self._open[request] = Connection(address, time.monotonic() + ARRIVAL)
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def arrived(self, request: socket.socket) -> None:
        """Note that a request is complete; its answer has its own deadline."""
        request.settimeout(DEPARTURE)
        with self._guard:
            # It may have been dropped just now.
            if client := self._open.get(request):
                client.until, client.whole = time.monotonic() + DEPARTURE, True

    def shutdown_request(self, request: Any) -> None:
        """See the base class."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def drop_late(self) -> None:
        """End the connections whose time is over, wherever their threads wait."""
        now = time.monotonic()
        with self._guard:
            for one in [one for one, client in self._open.items() if client.until < now]:
                self._drop(one)

    def _drop(self, request: socket.socket) -> None:
        """End a connection; its thread, which waits for it, closes it."""
        del self._open[request]
        # It may have ended just now.
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that is gone; log any other error in one line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.warning("a request failed: %s", type(error).__name__)


class Handler(BaseHTTPRequestHandler):
    """One request: GET or HEAD of an address in the table."""

    server: DemoServer
    protocol_version = "HTTP/1.1"
    timeout = ARRIVAL

    def parse_request(self) -> bool:
        """See the base class; the older form without a version is refused."""
        found = super().parse_request()
        self.close_connection = True
        if found and self.request_version == "HTTP/0.9":
            self.send_error(HTTPStatus.BAD_REQUEST)
            return False
        if found:
            self.server.arrived(self.connection)
        return found

    def do_GET(self) -> None:
        """Answer with the resource."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer as to GET, without the content."""
        self._answer()

    def _answer(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1:
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif not self.server.known_host(hosts[0].strip()):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif (resource := self.server.table.get(self.path)) is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send(HTTPStatus.OK, resource)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send the status and its usual words, and nothing of the request."""
        status = HTTPStatus(code)
        if status == HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self.close_connection = True
        # Of a request that could not be read, these may be missing or be of the form without head.
        self.request_version = "HTTP/1.1"
        self.command = getattr(self, "command", None) or "GET"
        text = f"{status.value} {status.phrase}\n"
        self._send(status, Resource(text.encode(), "text/plain; charset=utf-8"))

    def _send(self, status: HTTPStatus, resource: Resource) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", resource.type)
        self.send_header("Content-Length", str(len(resource.content)))
        self.send_header("Connection", "close")
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(resource.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests are private."""


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refused(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"--port {port} is taken by another program; give another --port, or --port 0 for "
            "any that is free"
        )
    if error.errno == errno.EACCES:
        return f"--port {port} is not allowed to you; give one from 1024 to 65535, or 0"
    return (
        f"--host {host} cannot be used ({os_error_text(error)}); leave it out for this machine only"
    )
