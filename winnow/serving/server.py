"""A vLLM server for one model, as long as a job needs it: a context manager.

It listens on the loopback interface alone, asks for a key that only this job knows, is started again when it
dies, and never outlives the job; see `guard`.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from winnow.errors import UserError
from winnow.serving import causes, guard
from winnow.serving.discovery import endpoint_at
from winnow.serving.endpoint import Endpoint

log = logging.getLogger("serving")

HOST = "127.0.0.1"
POLL_SECONDS = 0.25
TOLD_SECONDS = 30.0
"""Between two lines that say that a server is still starting."""
PORTS = 5
"""Tried at most, where one that was free is taken a moment later."""
GRACE_SECONDS = 10.0
"""For a server to end by itself."""
CHECK_SECONDS, SILENT_SECONDS = 5.0, 120.0
"""Between two looks at a server's health; how long it may not answer before it counts as hung."""


@dataclass(frozen=True)
class Launch:
    """How to start a server.

    Attributes:
        model: the model's folder.
        name: under which it is served.
        arguments: of vLLM's server, passed through.
        python: that has vLLM.
        port: None takes a free one.
        environment: added to this process's own.
    """

    model: Path
    name: str
    arguments: Sequence[str] = ()
    python: str = sys.executable
    port: int | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, port: int) -> list[str]:
        """vLLM's server on a port of the loopback interface; what the user passes through comes last."""
        return [
            self.python,
            "-m",
            "vllm.entrypoints.openai.api_server",
            f"--model={self.model}",
            f"--served-model-name={self.name}",
            f"--host={HOST}",
            f"--port={port}",
            *self.arguments,
        ]


class Server:
    """A running server.

    Args:
        launch: how to start it.
        log_file: for what it prints; appended to.
        patience: seconds that a start may take.
        restarts: how often it may die while it is needed.

    Raises:
        UserError: on entering, when it does not come up: with the last lines of its log and the likely cause.
    """

    def __init__(self, launch: Launch, log_file: Path, patience: float = 1800.0, restarts: int = 3) -> None:
        self._launch, self._log, self._patience = launch, log_file, patience
        self._restarts_left = restarts
        self._key = secrets.token_urlsafe(24)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._life, self._began = -1, 0
        self._pipe: int | None = None
        self._failure: Exception | None = None
        self._endpoint: Endpoint | None = None
        self._up, self._over = threading.Event(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="serving", daemon=True)

    def __enter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        try:
            self._start()
            seconds = time.monotonic() - start
            log.info("%s is up after %.0f s; its log: %s", self._launch.name, seconds, self._log)
            self._up.set()
            self._watcher.start()
        except BaseException:
            self._over.set()
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        # First: it may be about to start the server again.
        self._watcher.join()
        self._stop()

    def endpoint(self) -> Endpoint | None:
        """Where it listens, perhaps on another port after it was started again; None while it is starting.

        Raises:
            UserError: it died too often.
        """
        if self._failure is not None:
            raise self._failure
        return self._endpoint if self._up.is_set() else None

    @property
    def pid(self) -> int | None:
        """Of its guard."""
        return None if self._process is None else self._process.pid

    def _start(self) -> None:
        """Start it and wait for its health."""
        for left in reversed(range(PORTS)):
            self._port = self._launch.port or free_port()
            if self._launch.port:
                _check_free(self._port)
            self._spawn()
            if self._healthy():
                found = endpoint_at(f"http://{HOST}:{self._port}/v1", self._key, self._launch.name)
                self._endpoint = replace(found, life=self._life, watched=True)
                return
            failure, another_port = self._diagnosis()
            self._stop()
            # A port that was free a moment ago may be taken by now.
            if not (left and another_port and self._launch.port is None):
                raise failure
            log.warning("port %d was taken meanwhile; trying another one", self._port)

    def _spawn(self) -> None:
        self._life += 1
        read, self._pipe = os.pipe()
        try:
            with self._log.open("ab") as file:
                file.write(f"==== {' '.join(self._launch.command(self._port))}\n".encode())
                file.flush()
                self._began = file.tell()
                guarded = [sys.executable, guard.__file__, str(read), str(GRACE_SECONDS)]
                self._process = subprocess.Popen(
                    [*guarded, *self._launch.command(self._port)],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    pass_fds=(read,),
                    # Not ended by the terminal's Ctrl-C, but by the job, when its journal is whole.
                    start_new_session=True,
                    # The key stands in no command line, which everybody on the machine can read.
                    env={**os.environ, **self._launch.environment, "VLLM_API_KEY": self._key},
                )
        finally:
            os.close(read)

    def _healthy(self) -> bool:
        """Wait until it answers; False when it died or took too long."""
        assert self._process is not None
        start = told = time.monotonic()
        while self._process.poll() is None and not self._over.is_set():
            if healthy(f"http://{HOST}:{self._port}"):
                return True
            now = time.monotonic()
            if now - start > self._patience:
                return False
            if now - told > TOLD_SECONDS:
                told = now
                log.info(
                    "%s is starting since %.0f s; its log: %s", self._launch.name, now - start, self._log
                )
            time.sleep(POLL_SECONDS)
        return False

    def _diagnosis(self) -> tuple[UserError, bool]:
        """(why it is not there, whether another port would do)."""
        assert self._process is not None
        code = self._process.poll()
        text = causes.tail(self._log, self._began)
        cause = causes.likely(text, code)
        said = cause.name if cause else causes.first_error(text)
        ended = f"did not answer within {self._patience:.0f} s" if code is None else f"ended with code {code}"
        error = UserError(
            f"vLLM for {self._launch.model}",
            f"the server {ended}"
            + (f": {said}" if said else "")
            + f"; the last lines of {self._log}:\n{causes.shown(text)}",
            "a server that answers /health",
            cause.mend if cause else "read the log; the first error in it led to the rest",
        )
        return error, cause is not None and cause.port

    def _stop(self) -> None:
        # The guard sees the end of the pipe and stops all that the server has started.
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _watch(self) -> None:
        try:
            self._keep_up()
        except Exception as error:
            # A full disk, say. Whoever asks for the endpoint is told; else all would wait for ever.
            self._failure = error

    def _keep_up(self) -> None:
        """Start it again when it dies or hangs, a few times."""
        heard = looked = time.monotonic()
        while not self._over.wait(POLL_SECONDS):
            now = time.monotonic()
            if self._alive() and now - looked < CHECK_SECONDS:
                continue
            looked = now
            if self._alive() and healthy(f"http://{HOST}:{self._port}", CHECK_SECONDS):
                heard = now
            if self._alive() and now - heard < SILENT_SECONDS:
                continue
            self._up.clear()
            if not self._again():
                return
            self._up.set()
            heard = looked = time.monotonic()

    def _again(self) -> bool:
        failure, _ = self._diagnosis()
        self._stop()
        if self._restarts_left <= 0:
            self._failure = failure
            return False
        self._restarts_left -= 1
        log.warning(
            "the server has to be started again (%d times more at most): %s", self._restarts_left, failure
        )
        try:
            self._start()
        except UserError as error:
            self._failure = None if self._over.is_set() else error
            return False
        log.info("%s is up again", self._launch.name)
        return True

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are not forgotten yet is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port}",
                f"it cannot be listened on ({error.strerror})",
                "a free port",
                "leave --model_port out: one is chosen; or use the server that is there: --skip_vllm_launch",
            ) from None


def healthy(address: str, timeout: float = 2.0) -> bool:
    """Whether a server answers /health with 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/health", timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
