"""A hub on the loopback interface.

It stores commits and large files as the hub does (by hash, a commit refused when its parent is not the head),
remembers what it was asked, and misbehaves as it is told to.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Self

from hub_pages import Handler
from hub_store import Commit, Entry, Repository

Script = Callable[[str, str, int], int | None]
"""From method, path, and how often it was asked before, to a status that is answered instead, or None."""


class HubServer:
    """Listens while it is entered.

    Attributes:
        repositories: by name.
        objects: large files that arrived, by SHA-256.
        requests: (method, path) as they came.
        tokens: authorization headers that came with requests to the hub itself.
        held: paths whose upload waits until `release` is set.
    """

    def __init__(self, script: Script = lambda method, path, before: None) -> None:
        self.script = script
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.held: set[str] = set()
        self.waiting = threading.Event()
        self.release = threading.Event()
        self.before_commit: Callable[[], None] = lambda: None
        self.asked: Counter[tuple[str, str]] = Counter()
        self.lock = threading.RLock()

    def __enter__(self) -> Self:
        hub = self

        class Bound(Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def create(self, name: str, private: bool = True, files: dict[str, bytes] | None = None) -> Repository:
        """A repository as the hub makes it, with a first commit."""
        repository = self.repositories[name] = Repository(private)
        content = {".gitattributes": b"*.parquet filter=lfs\n", **(files or {})}
        repository.add("main", "initial commit", {path: Entry(data, False) for path, data in content.items()})
        return repository

    def head(self, name: str, branch: str = "main") -> Commit:
        return self.repositories[name].branches[branch][-1]

    def count(self, method: str, part: str) -> int:
        """Requests of a method whose path has a part."""
        return sum(m == method and part in path for m, path in self.requests)
