"""A server's life: it comes up, is watched, is started again, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from marked import Marked

from winnow.errors import UserError
from winnow.qstar.parameters import SamplingParameters
from winnow.records import Prompt
from winnow.serving import server as server_module
from winnow.serving.answers import Choice
from winnow.serving.client import Client, Limits, chat
from winnow.serving.discovery import endpoint_at
from winnow.serving.requests import asks, body
from winnow.serving.server import HOST, Launch, Server, free_port, healthy

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def marked() -> Marked:
    return Marked()


def launch(marked: Marked, **more: str) -> Launch:
    environment = {"PYTHONPATH": str(STAND_IN), "MARK": marked.mark, **more}
    return Launch(Path("/models/m"), "the-model", ["--dtype=float32"], environment=environment)


def test_checkpoints_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    first, second = (tmp_path / step / "huggingface" for step in ("step-18", "step-36"))
    for folder in (first, second):
        folder.mkdir(parents=True)
    served = Launch(first, "huggingface", environment={"PYTHONPATH": str(STAND_IN)})
    with Server(served, tmp_path / "vllm.log") as server:
        endpoint = server.endpoint()
        assert endpoint is not None
        found = endpoint_at(endpoint.base_url, endpoint.key, model=str(first))
        assert found.model == "huggingface"
        # Where the server's folder is not on this machine, the name has to do.
        found = endpoint_at(endpoint.base_url, endpoint.key, model="/elsewhere/huggingface")
        assert found.model == "huggingface"
        with pytest.raises(UserError, match=r"it serves huggingface, not .*step-36"):
            endpoint_at(endpoint.base_url, endpoint.key, model=str(second))


def test_it_comes_up_for_its_job_alone_and_leaves_nothing_behind(marked: Marked, tmp_path: Path) -> None:
    with Server(launch(marked), tmp_path / "logs" / "m_vllm.log") as server:
        endpoint = server.endpoint()
        assert endpoint is not None
        assert (endpoint.model, endpoint.vllm, endpoint.context, endpoint.life) == ("the-model", True, 64, 0)
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        assert endpoint.key not in repr(endpoint)
        # The server, its two workers and the guard.
        assert len(marked.alive()) == 4
        for pid in marked.alive():
            assert endpoint.key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        with pytest.raises(UserError, match="the key is refused"):
            endpoint_at(endpoint.base_url, "another")
        with pytest.raises(UserError, match="it serves the-model, not the-modle") as error:
            endpoint_at(endpoint.base_url, endpoint.key, "the-modle")
        assert "did you mean 'the-model'?" in error.value.mend
        # Without a name, the model that is asked for has to be the one that is served.
        assert endpoint_at(endpoint.base_url, endpoint.key, model="org/the-model").model == "the-model"
        assert endpoint_at(endpoint.base_url, endpoint.key, model="/models/m").model == "the-model"
        with pytest.raises(UserError, match="it serves the-model, not org/another"):
            endpoint_at(endpoint.base_url, endpoint.key, model="org/another")
    assert marked.gone(1.0)
    assert "--dtype=float32" in (tmp_path / "logs" / "m_vllm.log").read_text()
    with pytest.raises(UserError, match="no server answers"):
        endpoint_at(endpoint.base_url, endpoint.key)


@pytest.mark.parametrize(
    ("says", "cause", "mend"),
    [
        ("ValueError: Free memory on device (3/80 GiB) is less", "GPU's memory", "gpu_memory_utilization"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "GPU's memory", "tensor_parallel_size"),
        ("To serve at least one request, 5 GiB KV cache is needed, which is larger than", "KV cache",
         "--max_model_len"),
        ("Model architectures ['X'] are not supported for now.", "architecture", "--backend transformers"),
        ("OSError: [Errno 98] Address already in use", "port", "--model_port"),
        ("/models/m does not appear to have a file named config.json", "no model", "config.json"),
        ("Please pass the argument `trust_remote_code=True`", "code of its own", "--trust_remote_code"),
        ("something else went wrong", "ended with code 1", "the first error in it"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_come_up(
    says: str, cause: str, mend: str, marked: Marked, tmp_path: Path
) -> None:
    given = launch(marked, STAND_IN="fail", STAND_IN_SAYS=says)
    # With a port of the user's own: no other one is tried.
    given = Launch(given.model, given.name, port=free_port(), environment=given.environment)
    start = time.monotonic()
    with pytest.raises(UserError) as error, Server(given, tmp_path / "log"):
        pass
    assert time.monotonic() - start < 10
    text = str(error.value)
    assert says.splitlines()[-1] in text
    assert cause in text
    assert mend in error.value.mend
    assert marked.gone(1.0)


def test_a_python_without_vllm(marked: Marked, tmp_path: Path) -> None:
    given = Launch(
        Path("/m"), "m", python=sys.executable, environment={"PYTHONPATH": "", "MARK": marked.mark}
    )
    with pytest.raises(UserError, match="vLLM is not installed") as error, Server(given, tmp_path / "log"):
        pass
    assert "--vllm_python" in error.value.mend


def test_a_server_that_never_gets_ready(marked: Marked, tmp_path: Path) -> None:
    given = launch(marked, STAND_IN="never")
    with (
        pytest.raises(UserError, match="did not answer within 2 s"),
        Server(given, tmp_path / "log", patience=2.0),
    ):
        pass
    assert marked.gone(1.0)


def test_a_free_port_that_was_taken_meanwhile(
    marked: Marked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        ports = [taken.getsockname()[1], free_port()]
        monkeypatch.setattr(server_module, "free_port", lambda: ports.pop(0))
        with Server(launch(marked), tmp_path / "log") as server:
            endpoint = server.endpoint()
        assert endpoint is not None
        assert ports == []


def test_a_port_in_use_is_refused_before_anything_is_started(marked: Marked, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = Launch(Path("/m"), "m", port=port, environment={"MARK": marked.mark})
        with (
            pytest.raises(UserError, match=f"port {port}: it cannot be listened on") as error,
            Server(given, tmp_path / "log"),
        ):
            pass
    assert "--skip_vllm_launch" in error.value.mend
    assert not (tmp_path / "log").exists()


def test_what_ends_the_watching_is_told_to_who_asks(
    marked: Marked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(launch(marked), tmp_path / "log") as server:

        def full(*_: object) -> None:
            raise OSError("No space left on device")

        monkeypatch.setattr(Server, "_spawn", full)
        os.kill(marked.server(), signal.SIGKILL)
        end = time.monotonic() + 20
        with pytest.raises(OSError, match="No space left"):
            while time.monotonic() < end:
                server.endpoint()
                time.sleep(0.05)
    assert marked.gone(1.0)


def test_a_server_that_dies_is_started_again_and_nothing_is_lost(marked: Marked, tmp_path: Path) -> None:
    given = launch(marked, STAND_IN="crash-9", STAND_IN_LIVES=str(tmp_path / "lives"))
    work = [
        (Prompt(f"p{i}", [{"role": "user", "content": f"q{i}"}]), sample, f"p{i}/{sample}")
        for i in range(20)
        for sample in range(3)
    ]
    found: dict[str, Any] = {}
    with Server(given, tmp_path / "log") as server:
        client = Client(
            [server.endpoint],
            chat(lambda ask, endpoint: body(ask, endpoint, SamplingParameters(), Path())),
            # No retry of the HTTP client is needed: the death is noticed.
            Limits(4, 0),
        )
        for completion, seed, outcome in client.draw(asks(work, False, 1, 3)):
            assert completion not in found
            found[completion] = outcome
            assert isinstance(outcome, Choice)
            assert outcome.text == f"q{completion[1:].split('/')[0]}#{seed}"
        endpoint = server.endpoint()
        assert endpoint is not None
        assert endpoint.life == 1
    assert found.keys() == {completion for _, _, completion in work}
    assert marked.gone(1.0)


def test_a_server_that_dies_too_often_ends_the_job(marked: Marked, tmp_path: Path) -> None:
    with Server(launch(marked), tmp_path / "log", restarts=1) as server:
        for life in range(2):
            while (endpoint := server.endpoint()) is None or endpoint.life < life:
                time.sleep(0.05)
            os.kill(marked.server(), signal.SIGKILL)
        with pytest.raises(UserError, match="it was killed: usually the machine's") as error:
            while True:
                server.endpoint()
                time.sleep(0.05)
    assert "mem_mb" in error.value.mend
    assert marked.gone(1.0)


def test_a_hung_server_is_started_again(
    marked: Marked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CHECK_SECONDS", 1.0)
    monkeypatch.setattr(server_module, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(server_module, "GRACE_SECONDS", 0.5)
    with Server(launch(marked), tmp_path / "log") as server:
        os.kill(marked.server(), signal.SIGSTOP)
        end = time.monotonic() + 60
        while (endpoint := server.endpoint()) is None or endpoint.life == 0:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert healthy(endpoint.base_url.removesuffix("/v1"))
    assert marked.gone(1.0)


@pytest.mark.parametrize("victim", ["job", "guard"])
def test_no_orphans(victim: str, marked: Marked, tmp_path: Path) -> None:
    """Killed so that nothing of it can run any more, the job takes its server with it."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from winnow.serving.server import Launch, Server\n"
        "with Server(Launch(Path('/m'), 'm'), Path(sys.argv[1]), restarts=0) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(STAND_IN), str(Path(__file__).parents[2])]),
        "MARK": marked.mark,
    }
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], env=environment, stdout=subprocess.PIPE
    ) as job:
        assert job.stdout is not None
        guard = int(job.stdout.readline())
        assert len(marked.alive()) == 5
        server = marked.server()
        if victim == "guard":
            os.kill(guard, signal.SIGKILL)
            end = time.monotonic() + 5
            while server in marked.alive() and time.monotonic() < end:
                time.sleep(0.05)
            assert server not in marked.alive()
            # What stood behind it is on its own: nobody is left who knew of it.
            for pid in set(marked.alive()) - {job.pid}:
                os.kill(pid, signal.SIGKILL)
        job.kill()
        job.wait()
    assert marked.gone()
