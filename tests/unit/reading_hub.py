"""A hub of one data set on loopback: the endpoints that `datasets` uses when it streams."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import orjson

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(name: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """The endpoint of a hub with one data set, and the requests that it was asked, as they come."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            path = urlsplit(self.path).path
            file = path.removeprefix(f"/datasets/{name}/resolve/").partition("/")[2]
            if path in (f"/api/datasets/{name}", f"/api/datasets/{name}/revision/{COMMIT}"):
                self.tell(
                    {"id": name, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files], "tags": []}
                )
            elif path.startswith(f"/api/datasets/{name}/tree/{COMMIT}"):
                self.tell([entry(file) for file in files])
            elif file in files:
                self.send(files[file])
            else:
                self.missing("EntryNotFound" if f"/{name}/" in path else "RepoNotFound")

        do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

        def missing(self, what: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", what)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def tell(self, answer: object) -> None:
            self.send(orjson.dumps(answer), "application/json")

        def send(self, content: bytes, kind: str = "application/octet-stream") -> None:
            size, part = len(content), self.headers.get("Range")
            first, last = 0, size - 1
            if part:
                start, _, stop = part.removeprefix("bytes=").partition("-")
                first, last = int(start), min(int(stop or last), last)
            self.send_response(206 if part else 200)
            for key, value in {
                "Content-Type": kind,
                "Content-Length": str(last + 1 - first),
                "Content-Range": f"bytes {first}-{last}/{size}",
                "Accept-Ranges": "bytes",
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
            }.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[first : last + 1])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    def entry(file: str) -> dict[str, object]:
        content = files[file]
        return {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
