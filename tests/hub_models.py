"""What ``hub_server`` answers to those who write: a repository is made, files come, a commit."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import hub_server as hub

if TYPE_CHECKING:
    from hub_server import HubServer, Repository


def write(
    server: HubServer,
    request: BaseHTTPRequestHandler,
    path: str,
    body: bytes,
    authorization: str | None,
) -> None:
    """Answer a POST or a PUT."""
    if request.command == "PUT":
        # As at the hub, the address itself allows it: the token goes to the hub's own pages only.
        oid = path.removeprefix("/upload/")
        assert authorization is None and hashlib.sha256(body).hexdigest() == oid
        server.uploads[oid] = body
        hub.send_json(request, {})
        return
    if path == "/api/validate-yaml":
        hub.send_json(request, {"errors": [], "warnings": []})
        return
    name = _name(path, body)
    owner = name.partition("/")[0]
    if authorization not in {f"Bearer {token}" for token in server.writers.values()}:
        hub.fail(request, 401, "", {"X-Error-Message": "Invalid credentials"})
    elif authorization != f"Bearer {server.writers.get(owner)}":
        hub.fail(request, 403, "", {"X-Error-Message": "You may not write there"})
    elif path == "/api/repos/create":
        _create(server, request, name, json.loads(body))
    elif name not in server.models:
        hub.fail(request, 404, "RepoNotFound")
    else:
        _change(server, request, server.models[name], path, body)


def _name(path: str, body: bytes) -> str:
    if path == "/api/repos/create":
        asked = json.loads(body)
        return f"{asked['organization']}/{asked['name']}"
    found = re.match(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git)?/", path)
    assert found is not None, path
    return found[1]


def _create(server: HubServer, request: BaseHTTPRequestHandler, name: str, asked: Any) -> None:
    url = f"{server.url}/{name}"
    if name in server.models:
        hub.send_json(request, {"url": url}, 409)
        return
    private = asked.get("visibility") == "private" or asked.get("private") is True
    server.models[name] = hub.Repository({".gitattributes": b""}, private=private)
    if private:
        server.models[name].token = server.writers[name.partition("/")[0]]
    hub.send_json(request, {"url": url, "name": name})


def _change(
    server: HubServer,
    request: BaseHTTPRequestHandler,
    repository: Repository,
    path: str,
    body: bytes,
) -> None:
    if "/preupload/" in path:
        branch = path.partition("/preupload/")[2]
        files = repository.files_at(repository.revisions[branch])
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if hub.is_large(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": _oid(file["path"], files.get(file["path"])),
            }
            for file in json.loads(body)["files"]
        ]
        hub.send_json(request, {"files": modes})
    elif path.endswith("/info/lfs/objects/batch"):
        objects = [
            {**one, "actions": {"upload": {"href": f"{server.url}/upload/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        hub.send_json(request, {"transfer": "basic", "objects": objects})
    elif "/branch/" in path:
        branch = path.partition("/branch/")[2]
        if branch in repository.revisions:
            hub.send_json(request, {"error": "it is there"}, 409)
            return
        repository.revisions[branch] = repository.revisions["main"]
        hub.send_json(request, {})
    else:
        page, _, branch = path.removeprefix("/api/models").partition("/commit/")
        _commit(server, request, repository, branch, body, f"{server.url}{page}")


def _commit(
    server: HubServer,
    request: BaseHTTPRequestHandler,
    repository: Repository,
    branch: str,
    body: bytes,
    url: str,
) -> None:
    """One commit of all that the lines of JSON name."""
    before = repository.revisions[branch]
    files = dict(repository.files_at(before))
    repository.commits.setdefault(before, dict(files))
    header, *changes = (json.loads(line) for line in body.splitlines())
    for change in changes:
        value = change["value"]
        if change["key"] == "file":
            assert value["encoding"] == "base64"
            files[value["path"]] = base64.b64decode(value["content"])
        else:
            assert change["key"] == "lfsFile" and value["algo"] == "sha256"
            files[value["path"]] = server.uploads[value["oid"]]
    commit = hashlib.sha1(before.encode() + body).hexdigest()
    repository.commits[commit] = files
    repository.revisions[branch] = commit
    repository.messages[commit] = header["value"]["summary"]
    if branch == "main":
        repository.files = files
    hub.send_json(request, {"commitUrl": f"{url}/commit/{commit}", "commitOid": commit})


def _oid(path: str, content: bytes | None) -> str | None:
    if content is None:
        return None
    return hub.sha256_of(content) if hub.is_large(path) else hub.git_sha1(content)
