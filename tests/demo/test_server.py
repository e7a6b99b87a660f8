"""What the demo's server answers to requests of every kind; bytes go in, and bytes come out."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from ghostnet_small.demo import server as module
from ghostnet_small.demo.server import POLICY, DemoServer, Resource
from ghostnet_small.errors import InputError
from page_kit import running

TABLE = {
    "/": Resource(b"<!doctype html>", "text/html; charset=utf-8"),
    "/page.js": Resource(b"export {};", "text/javascript; charset=utf-8"),
    "/assets/a.wasm": Resource(bytes(range(256)) * 4096, "application/wasm"),
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with running(TABLE) as found:
        yield found


def connect(server: DemoServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=10)


def send(server: DemoServer, request: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    with connect(server) as client:
        parts = []
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(1 << 16):
                parts.append(part)
        except OSError as error:
            # It closed before it had read all; ENOTCONN, from the shutdown, is no ConnectionError.
            if not (isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN):
                raise
        return b"".join(parts)


def ask(server: DemoServer, line: str, host: str | None = "localhost", more: str = "") -> Answer:
    about = "" if host is None else f"Host: {host}\r\n"
    found = send(server, f"{line} HTTP/1.1\r\n{about}{more}\r\n".encode("latin-1"))
    head, _, content = found.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    assert status.startswith("HTTP/1.1 "), found[:200]
    pairs = [header.split(": ", 1) for header in headers]
    assert len(dict(pairs)) == len(pairs)
    return Answer(int(status.split()[1]), dict(pairs), content)


@pytest.mark.parametrize("path", TABLE)
def test_get_and_head(server: DemoServer, path: str) -> None:
    found, head = ask(server, f"GET {path}"), ask(server, f"HEAD {path}")
    assert (found.status, found.content) == (200, TABLE[path].content)
    assert (head.status, head.content) == (200, b"")
    for answer in (found, head):
        assert answer.headers["Content-Type"] == TABLE[path].type
        assert answer.headers["Content-Length"] == str(len(TABLE[path].content))


@pytest.mark.parametrize(
    "path",
    (
        *(
            "/index.html",
            "/nothing",
            "/page.js/",
            "/PAGE.js",
            "/page.js?",
            "/page.js?x=1",
            "/?",
            "",
        ),
        *("/../page.js", "/assets/../page.js", "/./page.js", "/%70age.js", "/page.js%00", "/*"),
        *("/assets", "/assets/", "/assets/%2e%2e/page.js", "/..%2f..%2fetc/passwd", "\\page.js"),
        *("//localhost/page.js", "http://localhost/page.js", "page.js", "/page.js#top"),
        *("", "/etc/passwd", "/../../../../etc/passwd", "file:///etc/passwd"),
    ),
)
def test_no_other_address_is_answered(server: DemoServer, path: str) -> None:
    found = ask(server, f"GET {path}")
    assert found.status in (400, 404)
    assert found.content in (b"404 Not Found\n", b"400 Bad Request\n")


@pytest.mark.parametrize("line", ("GET /", "HEAD /", "GET /nothing", "POST /", "GET / extra word"))
def test_every_answer_has_the_headers(server: DemoServer, line: str) -> None:
    headers = ask(server, line).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Permissions-Policy"].startswith("camera=(self), ")
    assert "=(self" not in headers["Permissions-Policy"].removeprefix("camera=(self)")
    assert headers["Cache-Control"] == "no-store" and headers["Connection"] == "close"
    assert "Server" not in headers and "Date" not in headers


def test_the_policy_lets_nothing_from_elsewhere_in() -> None:
    allowed = dict(part.split(" ", 1) for part in POLICY.split("; "))
    assert allowed["default-src"] == "'none'"
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert allowed[name] == "'none'"
    words = {word for value in allowed.values() for word in value.split()}
    assert words <= {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:", "data:"}
    assert allowed["script-src"] == "'self' 'wasm-unsafe-eval'"


@pytest.mark.parametrize("method", ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "<b>"))
def test_other_methods_are_refused(server: DemoServer, method: str) -> None:
    found = ask(server, f"{method} /page.js")
    assert found.status == 405 and found.headers["Allow"] == "GET, HEAD"
    assert found.content == b"405 Method Not Allowed\n"


# Another page's name for this machine ---------------------------------------------------------


@pytest.mark.parametrize("name", ("localhost", "127.0.0.1", "[::1]", "LocalHost"))
@pytest.mark.parametrize("port", ("", ":8765", ":"))
def test_hosts_that_mean_this_server(server: DemoServer, name: str, port: str) -> None:
    assert ask(server, "GET /", f"{name}{port}").status == 200


@pytest.mark.parametrize(
    "host",
    (
        *("evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("192.168.0.7", "[::2]", "localhost:x", "localhost:80:80", "a@localhost", "", "[::1", "]"),
    ),
)
def test_any_other_host_is_refused(server: DemoServer, host: str) -> None:
    found = ask(server, "GET /", host)
    assert (found.status, found.content) == (421, b"421 Misdirected Request\n")


def test_none_or_two_hosts_are_refused(server: DemoServer) -> None:
    assert ask(server, "GET /", None).status == 400
    assert ask(server, "GET /", more="Host: localhost\r\n").status == 400


def test_the_host_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with DemoServer("0.0.0.0", 0) as everywhere:
        assert everywhere.url == f"http://127.0.0.1:{everywhere.server_port}/"
        # A name can be made to lead here, an address cannot.
        assert everywhere.known_host("192.168.0.7:8765") and everywhere.known_host("[fe80::1]")
        assert not everywhere.known_host("evil.example") and not everywhere.local
    with DemoServer("localhost", 0) as here:
        assert here.local and here.url.startswith("http://")


# What no client should send -------------------------------------------------------------------

MALFORMED = (
    *(
        b"",
        b"\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ),
    *(b"GET / HTTP/x\r\n\r\n", b"GET / HTTP/1.1\r\nHost", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded: first\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"<script> HTTP/1.1\r\nHost: localhost\r\n\r\n",
)


@pytest.mark.parametrize("request_", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_requests(
    server: DemoServer, request_: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    found = send(server, request_)
    if found:
        status = int(found.split(b" ", 2)[1])
        assert found.startswith(b"HTTP/1.1 4") or status == 505
        assert b"script" not in found.partition(b"\r\n\r\n")[2] and b"Traceback" not in found
    # The next one is served, and nothing was printed.
    assert ask(server, "GET /").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_client_that_leaves_early(server: DemoServer, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with connect(server) as client:
            client.sendall(b"GET /assets/a.wasm HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ask(server, "GET /").status == 200
    assert capfd.readouterr() == ("", "")


def test_hanging_clients_stop_nobody(server: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ARRIVAL", 0.3)
    clients = [connect(server) for _ in range(20)]
    try:
        for client in clients[:10]:
            client.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert ask(server, "GET /").status == 200
        # One that sends a little again and again is dropped too, by the time it has had in all.
        dripping = clients[0]
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                dripping.sendall(b"a")
                time.sleep(0.02)
        for client in clients[10:]:
            assert client.recv(1) == b""
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("limit", ("MOST_CONNECTIONS", "MOST_OF_ADDRESS"))
def test_half_open_connections_keep_nobody_out(
    limit: str, server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest gives way at once: nobody waits until its time is over."""
    monkeypatch.setattr(module, limit, 3)
    held = [connect(server) for _ in range(9)]
    try:
        assert ask(server, "GET /").status == 200
        assert held[0].recv(1) == b""
        # The newest are still there.
        held[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert held[-1].recv(12) == b"HTTP/1.1 200"
    finally:
        for client in held:
            client.close()


def test_one_address_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_ADDRESS", 2)
    with running(TABLE) as server:
        here = ("127.0.0.1", server.server_port)
        with socket.create_connection(here, 10, ("127.0.0.2", 0)) as other:
            held = [connect(server) for _ in range(9)]
            other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 200"
            for client in held:
                client.close()


def test_connections_have_a_limit(server: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer under way is not cut short for another client."""
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(server, "table", {"/": Resource(bytes(64 << 20), "text/plain")})
    held = [connect(server) for _ in range(3)]
    try:
        for client in held:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # The request was whole; the rest of the answer is more than waits on the way.
            assert client.recv(12) == b"HTTP/1.1 200"
        with connect(server) as one_more:
            assert one_more.recv(1) == b""
    finally:
        for client in held:
            client.close()
    for _ in range(500):
        try:
            assert ask(server, "HEAD /").status == 200
            break
        except (AssertionError, ConnectionError):
            time.sleep(0.01)
    else:
        pytest.fail("places were not given back")


def test_ports_and_hosts_that_cannot_be_had(server: DemoServer) -> None:
    with pytest.raises(InputError, match=r"--port \d+ is taken by another .* or --port 0 for"):
        DemoServer("127.0.0.1", server.server_port)
    with pytest.raises(InputError, match=r"--host 192\.0\.2\.1 cannot be used \(.*; leave it out"):
        DemoServer("192.0.2.1", 0)
    with pytest.raises(InputError, match=r"--host no\.such\.invalid is not known"):
        DemoServer("no.such.invalid", 0)


def test_an_error_of_the_server_itself_is_told_in_a_line(
    server: DemoServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "table", None)
    assert send(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    assert [record.getMessage() for record in caplog.records] == [
        "a request failed: AttributeError"
    ]
