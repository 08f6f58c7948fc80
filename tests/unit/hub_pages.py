"""The pages of a hub that `huggingface_hub` asks for when it pushes and reads a data set."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from hub_store import Commit, Entry, Repository, described

if TYPE_CHECKING:
    from hub_server import HubServer

TOKEN = "hf_of_the_tests"
LARGE = 1_000
"""Bytes from which a file is stored as a large one, by its SHA-256."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # An answer in one piece, at once: in two, the second waits for the other side's delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    server_hub: HubServer

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: the tests read `requests`."""

    def handle_all(self) -> None:
        """Read the request whole, then answer it, or misbehave."""
        hub = self.server_hub
        body = self.body()
        path = unquote(urlsplit(self.path).path)
        with hub.lock:
            before = hub.asked[self.command, path]
            hub.asked[self.command, path] += 1
            hub.requests.append((self.command, path))
        status = hub.script(self.command, path, before)
        if status is not None:
            self.answer(status, {"error": f"fault {status}"})
            return
        if not path.startswith("/lfs/"):
            given = self.headers.get("authorization", "")
            hub.tokens.add(given)
            if given != f"Bearer {TOKEN}":
                self.answer(
                    401,
                    {"error": "Invalid credentials in Authorization header"},
                    {"X-Error-Message": "Invalid credentials in Authorization header"},
                )
                return
        for method, pattern, action in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method:
                action(self, body, *match.groups())
                return
        self.answer(404, {"error": f"no such page: {path}"})

    do_GET = do_POST = do_PUT = do_HEAD = handle_all  # noqa: N815

    def body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def repository(self, name: str) -> Repository | None:
        found = self.server_hub.repositories.get(name)
        if found is None:
            # As the hub says it: a private repository and none at all look the same.
            self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return found

    def commit_of(self, name: str, revision: str) -> Commit | None:
        repository = self.repository(name)
        if repository is None:
            return None
        found = repository.find(revision)
        if found is None:
            self.answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        return found

    def whoami(self, body: bytes) -> None:
        self.answer(200, {"type": "user", "name": "someone", "orgs": [], "auth": {}})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        assert asked["type"] == "dataset"
        if name in self.server_hub.repositories:
            self.answer(409, {"error": "You already created this dataset repo", "url": self.url(name)})
            return
        self.server_hub.create(name, asked.get("visibility") == "private" or asked.get("private") is True)
        self.answer(200, {"url": self.url(name), "name": name, "id": name})

    def url(self, name: str) -> str:
        return f"{self.server_hub.endpoint}/datasets/{name}"

    def info(self, body: bytes, name: str, revision: str | None = None) -> None:
        commit = self.commit_of(name, revision or "main")
        if commit is not None:
            files = [{"rfilename": path} for path in sorted(commit.files)]
            private = self.server_hub.repositories[name].private
            said = {"id": name, "sha": commit.oid, "private": private, "siblings": files, "tags": []}
            self.answer(200, said)

    def branch(self, body: bytes, name: str, branch: str) -> None:
        repository = self.repository(name)
        if repository is not None:
            repository.branches[branch] = list(repository.branches["main"])
            self.answer(200, {})

    def tree(self, body: bytes, name: str, revision: str, below: str | None = None) -> None:
        commit = self.commit_of(name, revision)
        if commit is None:
            return
        recursive = "recursive=true" in urlsplit(self.path).query.lower()
        start = f"{below}/" if below else ""
        found: dict[str, Any] = {}
        for path in sorted(p for p in commit.files if p.startswith(start)):
            parts = path.removeprefix(start).split("/")
            for depth in range(1, len(parts)):
                folder = start + "/".join(parts[:depth])
                if recursive or depth == 1:
                    found[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
            if recursive or len(parts) == 1:
                found[path] = described(path, commit.files[path])
        self.answer(200, list(found.values()))

    def paths_info(self, body: bytes, name: str, revision: str) -> None:
        commit = self.commit_of(name, revision)
        if commit is not None:
            asked = json.loads(body)["paths"]
            told = [described(path, commit.files[path]) for path in asked if path in commit.files]
            told += [
                {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}
                for path in asked
                if path and any(p.startswith(f"{path}/") for p in commit.files)
            ]
            self.answer(200, told)

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        wrong = [{"message": '"license" must be one of the known'}] if "license: nonsense" in content else []
        self.answer(400 if wrong else 200, {"errors": wrong, "warnings": []})

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        commit = self.commit_of(name, revision)
        if commit is None:
            return
        told = []
        for file in json.loads(body)["files"]:
            entry = commit.files.get(file["path"])
            mode = "lfs" if file["size"] >= LARGE and file["path"] != "README.md" else "regular"
            there = entry and (entry.sha256 if entry.large else entry.git_hash)
            told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": there})
        self.answer(200, {"files": told})

    def batch(self, body: bytes, name: str) -> None:
        told = []
        for entry in json.loads(body)["objects"]:
            if entry["oid"] not in self.server_hub.objects:
                href = f"{self.server_hub.endpoint}/lfs/{entry['oid']}"
                told.append({**entry, "actions": {"upload": {"href": href}}})
            else:
                told.append(entry)
        self.answer(200, {"transfer": "basic", "objects": told})

    def upload(self, body: bytes, oid: str) -> None:
        hub = self.server_hub
        if oid in hub.held:
            hub.waiting.set()
            hub.release.wait()
            return
        assert hashlib.sha256(body).hexdigest() == oid
        hub.objects[oid] = body
        self.answer(200, b"")

    def commit(self, body: bytes, name: str, branch: str) -> None:
        hub = self.server_hub
        hub.before_commit()
        with hub.lock:
            head = self.commit_of(name, branch)
            if head is None:
                return
            lines = [json.loads(line) for line in body.splitlines()]
            header = lines[0]["value"]
            if header.get("parentCommit", head.oid) != head.oid:
                self.answer(412, {"error": "A commit has happened since. Please refresh and try again."})
                return
            files = dict(head.files)
            for line in lines[1:]:
                kind, value = line["key"], line["value"]
                if kind == "file":
                    files[value["path"]] = Entry(base64.b64decode(value["content"]), False)
                elif kind == "lfsFile":
                    files[value["path"]] = Entry(hub.objects[value["oid"]], True)
                else:
                    assert kind == "deletedFile"
                    del files[value["path"]]
            made = hub.repositories[name].add(branch, header["summary"], files)
        url = f"{self.url(name)}/commit/{made.oid}"
        self.answer(200, {"commitUrl": url, "commitOid": made.oid, "success": True})

    def resolve(self, body: bytes, name: str, revision: str, path: str) -> None:
        commit = self.commit_of(name, revision)
        if commit is None:
            return
        entry = commit.files.get(path)
        if entry is None:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.oid})
            return
        etag = entry.sha256 if entry.large else entry.git_hash
        self.answer(200, entry.content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit.oid})


NAME = r"([^/]+/[^/]+)"
ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("GET", r"/api/whoami-v2", Handler.whoami),
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.validate),
    ("GET", rf"/api/datasets/{NAME}", Handler.info),
    ("GET", rf"/api/datasets/{NAME}/revision/(.+)", Handler.info),
    ("POST", rf"/api/datasets/{NAME}/branch/(.+)", Handler.branch),
    ("GET", rf"/api/datasets/{NAME}/tree/([^/]+)", Handler.tree),
    ("GET", rf"/api/datasets/{NAME}/tree/([^/]+)/(.+)", Handler.tree),
    ("POST", rf"/api/datasets/{NAME}/paths-info/(.+)", Handler.paths_info),
    ("POST", rf"/api/datasets/{NAME}/preupload/(.+)", Handler.preupload),
    ("POST", rf"/datasets/{NAME}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", r"/lfs/([0-9a-f]{64})", Handler.upload),
    ("POST", rf"/api/datasets/{NAME}/commit/(.+)", Handler.commit),
    ("GETHEAD", rf"/datasets/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
)  # fmt: skip
