"""A local server that speaks as much of the Hugging Face hub's protocol as data sets and models
need.

It serves repositories from memory: their description with digests, their tree, and their files
with ``ETag``, ``X-Repo-Commit`` and ranges. Those of models can be made and written to
(``hub_models``). Switches make it fail as the real one may.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hub_models


@dataclass
class Repository:
    """Files of one commit, or of several: ``commits``; ``token`` is asked of every request; nobody
    may read ``gated`` ones."""

    files: dict[str, bytes]
    revisions: dict[str, str] = field(default_factory=dict)  # branch -> commit
    token: str | None = None
    gated: bool = False
    digests: bool = True  # whether the description has them
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)  # of commits that were written

    def __post_init__(self) -> None:
        if not self.revisions:
            contents = b"".join(self.files[path] for path in sorted(self.files))
            self.revisions["main"] = hashlib.sha1(contents).hexdigest()

    def files_at(self, commit: str) -> dict[str, bytes]:
        return self.commits.get(commit, self.files)


@dataclass
class Switches:
    """What goes wrong from now on."""

    cut: str = ""  # a file of this path is sent in part, and the connection closed
    cut_after: int = 0  # bytes
    cuts_left: int = 0  # how often
    flip: str | None = None  # the path of a file whose first byte is sent wrong
    status: int | None = None  # of every answer
    echo: bool = False  # whether such an answer repeats the authorization
    delay: float = 0  # seconds before every answer


class HubServer:
    """The server and what it was asked: ``(method, path, authorization, bytes sent)``.

    ``models`` are repositories of models; ``writers`` has the tokens that may write to those of
    each owner.
    """

    def __init__(
        self,
        repositories: dict[str, Repository],
        models: dict[str, Repository] | None = None,
        writers: dict[str, str] | None = None,
    ) -> None:
        self.repositories = repositories
        self.models = {} if models is None else models
        self.writers = {} if writers is None else writers
        self.uploads: dict[str, bytes] = {}  # large files by SHA-256, before their commit
        self.switches = Switches()
        self.requests: list[tuple[str, str, str | None, int]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def sent(self, suffix: str) -> int:
        """Bytes of content that were sent of the files whose path ends so."""
        return sum(count for _, path, _, count in self.requests if path.endswith(suffix))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        path, query = unquote(url.path), parse_qs(url.query)
        authorization = request.headers.get("Authorization")
        time.sleep(self.switches.delay)
        sent = 0
        size = int(request.headers.get("Content-Length") or 0)
        body = _read_chunks(request) if _is_chunked(request) else request.rfile.read(size)
        if self.switches.status is not None:
            said = authorization if self.switches.echo else ""
            fail(request, self.switches.status, "", {"X-Error-Message": f"no: {said}"})
        elif request.command in ("POST", "PUT"):
            hub_models.write(self, request, path, body, authorization)
        elif (found := self._repository(path)) is None:
            fail(request, 404 if authorization else 401, "RepoNotFound")
        else:
            repository, rest = found
            if repository.gated:
                fail(request, 403 if authorization else 401, "GatedRepo")
            elif repository.token and authorization != f"Bearer {repository.token}":
                fail(request, 401, "RepoNotFound")
            else:
                sent = self._serve(request, repository, rest, query)
        self.requests.append((request.command, path, authorization, sent))

    def _repository(self, path: str) -> tuple[Repository, str] | None:
        for kind, repositories in (("datasets/", self.repositories), ("models/", self.models)):
            for name, repository in repositories.items():
                page = f"/{kind.removeprefix('models/')}{name}"
                for start in (f"/api/{kind}{name}", page):
                    if path == start or path.startswith(f"{start}/"):
                        return repository, path.removeprefix(start).strip("/")
        return None

    def _serve(
        self,
        request: BaseHTTPRequestHandler,
        repository: Repository,
        rest: str,
        query: dict[str, list[str]],
    ) -> int:
        """Content bytes that were sent; ``rest`` is the path behind the repository's."""
        kind, _, rest = rest.partition("/")
        revision, rest = _split_revision(repository, rest) if kind else ("main", "")
        commit = repository.revisions.get(revision)
        if commit is None and revision in repository.revisions.values():
            commit = revision
        if commit is None:
            fail(request, 404, "RevisionNotFound")
            return 0
        files = repository.files_at(commit)
        if kind in ("", "revision"):
            blobs = "blobs" in query and repository.digests
            siblings = [_sibling(path, files[path], blobs) for path in files]
            told = {"id": "x/y", "sha": commit, "private": repository.private}
            send_json(request, {**told, "siblings": siblings})
        elif kind == "tree":
            recursive = query.get("recursive", ["False"])[0].lower() == "true"
            send_json(request, _tree(files, rest, recursive))
        elif kind == "resolve" and rest in files:
            return self._send_file(request, rest, files[rest], commit)
        else:
            fail(request, 404, "EntryNotFound", {"X-Repo-Commit": commit})
        return 0

    def _send_file(
        self, request: BaseHTTPRequestHandler, path: str, content: bytes, commit: str
    ) -> int:
        tag = sha256_of(content) if is_large(path) else git_sha1(content)
        headers = {
            "ETag": f'"{tag}"',
            "X-Linked-ETag": f'"{tag}"',
            "X-Linked-Size": str(len(content)),
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        if path == self.switches.flip:
            content = bytes([content[0] ^ 1]) + content[1:]
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        status, body = 200, content
        if asked:
            first = int(asked[1])
            status, body = 206, content[first:]
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if request.command == "GET" and path == self.switches.cut and self.switches.cuts_left:
            self.switches.cuts_left -= 1
            _send(request, body, status, headers, only=self.switches.cut_after)
            request.close_connection = True
            return self.switches.cut_after
        _send(request, body, status, headers)
        return len(body) if request.command == "GET" else 0


def _split_revision(repository: Repository, rest: str) -> tuple[str, str]:
    """``refs/convert/parquet/a/b`` is a revision with slashes, and a path."""
    for revision in [*repository.revisions, *repository.revisions.values()]:
        if rest == revision or rest.startswith(f"{revision}/"):
            return revision, rest.removeprefix(revision).strip("/")
    revision, _, path = rest.partition("/")
    return revision, path


def _send(
    request: BaseHTTPRequestHandler,
    body: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
    only: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body[:only])
        request.wfile.flush()


def fail(
    request: BaseHTTPRequestHandler, status: int, code: str, headers: dict[str, str] | None = None
) -> None:
    _send(request, b"{}", status, {"X-Error-Code": code, **(headers or {})})


def send_json(request: BaseHTTPRequestHandler, value: Any, status: int = 200) -> None:
    _send(request, json.dumps(value).encode(), status, {"Content-Type": "application/json"})


def _is_chunked(request: BaseHTTPRequestHandler) -> bool:
    return request.headers.get("Transfer-Encoding", "").lower() == "chunked"


def _read_chunks(request: BaseHTTPRequestHandler) -> bytes:
    parts = []
    while size := int(request.rfile.readline(), 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(parts)


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str) -> bool:
    """Whether the hub keeps the file outside of git, under its SHA-256."""
    return path.endswith((".parquet", ".zip", ".safetensors"))


def _sibling(path: str, content: bytes, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    found = {"rfilename": path, "size": len(content), "blobId": git_sha1(content)}
    if is_large(path):
        found["lfs"] = {"sha256": sha256_of(content), "size": len(content), "pointerSize": 130}
    return found


def _tree(files: dict[str, bytes], below: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below a folder, as the tree endpoint lists them."""
    start = f"{below}/" if below else ""
    found: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        if not path.startswith(start):
            continue
        parts = path.removeprefix(start).split("/")
        for depth in range(1, len(parts)):
            folder = start + "/".join(parts[:depth])
            found[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
        entry: dict[str, Any] = {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": git_sha1(content),
        }
        if is_large(path):
            size = len(content)
            entry["lfs"] = {"oid": sha256_of(content), "size": size, "pointerSize": 130}
        found[path] = entry
    if recursive:
        return list(found.values())
    return [entry for path, entry in found.items() if "/" not in path.removeprefix(start)]
