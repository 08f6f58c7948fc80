"""scripts/publish.py against a hub on the loopback interface."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import finished_run
import hub_pages
import pytest
from hub_pages import TOKEN
from hub_server import HubServer
from hub_store import Entry

from winnow.arms import Arm
from winnow.errors import UserError

ROOT = Path(__file__).parents[2]
REPO = "someone/small"
POLICY, MIXED = Arm("460", "policy", 4), Arm("460", "kl_symmetry", 4)
DATA = "training_data/step-460/policy/n-4"
LARGE = 200
"""Prompts that make files that the server of the tests stores as large ones."""


@pytest.fixture
def run(tmp_path):
    found = finished_run.FinishedRun(tmp_path)
    found.add_arm(POLICY, prompts=LARGE)
    return found


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub.constants

    # Its storage protocol is binary; without it the library speaks HTTP, as it does to mirrors.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("publish_program", ROOT / "scripts" / "publish.py")
    module = importlib.util.module_from_spec(spec)
    before = sys.path[0]
    spec.loader.exec_module(module)
    sys.path[0] = before

    def call(run, *arguments, repo=REPO):
        given = ["--results", str(run.results), "--repo_id", repo, *arguments]
        module.main(module.flags().parse_args(given))

    return call


def local(run, path):
    return (run.results / path).read_bytes()


def test_a_push(run, hub, program, caplog):
    caplog.set_level(logging.DEBUG)
    program(run, "--license", "apache-2.0")
    repository = hub.repositories[REPO]
    assert repository.private
    first, pushed = repository.branches["main"]
    assert set(pushed.files) == {
        ".gitattributes", "README.md", "winnow.json", "selected/step-460/policy/n-4/statistics.json",
        f"{DATA}/messages.jsonl", f"{DATA}/prompt_completion.jsonl", f"{DATA}/sharegpt.json",
    }  # fmt: skip
    for path in pushed.files.keys() - {".gitattributes", "README.md", "winnow.json"}:
        assert pushed.files[path].content == local(run, path)
    assert pushed.files[f"{DATA}/sharegpt.json"].large and not pushed.files["README.md"].large
    assert pushed.message == "small: step-460/policy/n-4" and first.message == "initial commit"
    assert hub.tokens == {f"Bearer {TOKEN}"}
    # The token is sent to the hub, and stands nowhere else.
    assert TOKEN not in caplog.text
    assert all(TOKEN.encode() not in entry.content for entry in pushed.files.values())
    assert (
        f"one commit, 6 files written, 0 removed: {hub.endpoint}/datasets/{REPO}/tree/{pushed.oid}"
        in caplog.text
    )


def test_the_same_state_again_makes_no_commit(run, hub, program, caplog):
    program(run)
    caplog.set_level(logging.INFO)
    program(run)
    assert len(hub.repositories[REPO].branches["main"]) == 2
    assert hub.count("PUT", "/lfs/") == 4 and hub.count("POST", "/commit/") == 1
    assert "nothing to do: the repository holds these files already" in caplog.text


def test_public_only_where_it_is_said(run, hub, program):
    program(run, "--public")
    assert not hub.repositories[REPO].private
    with pytest.raises(UserError, match="the repository is public, and --public is not given"):
        program(run)
    hub.create("someone/hidden")
    with pytest.raises(UserError, match="the repository is private, and --public is given"):
        program(run, "--public", repo="someone/hidden")
    assert len(hub.repositories["someone/hidden"].branches["main"]) == 1


def start(run, hub, *arguments):
    environment = {
        **os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN,
    }  # fmt: skip
    command = [
        sys.executable,
        str(ROOT / "scripts/publish.py"),
        "--results",
        str(run.results),
        "--repo_id",
        REPO,
    ]
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_killed_half_way_and_run_again(run, hub, monkeypatch):
    monkeypatch.undo()
    from winnow.manifest import file_hash

    arrived = {file_hash(run.results / DATA / name) for name in ("messages.jsonl", "prompt_completion.jsonl")}
    late = file_hash(run.results / DATA / "sharegpt.json")
    hub.held = {late}
    process = start(run, hub)
    deadline = time.monotonic() + 30
    while not (hub.waiting.is_set() and arrived <= hub.objects.keys()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert len(hub.repositories[REPO].branches["main"]) == 1, "nothing is committed before all is there"
    hub.held = set()
    hub.release.set()
    again = start(run, hub)
    text, _ = again.communicate(timeout=60)
    assert again.returncode == 0, text
    sent = {oid: hub.asked["PUT", f"/lfs/{oid}"] for oid in (*arrived, late)}
    assert sent == dict.fromkeys(arrived, 1) | {late: 2}
    _, pushed = hub.repositories[REPO].branches["main"]
    assert pushed.files[f"{DATA}/sharegpt.json"].content == local(run, f"{DATA}/sharegpt.json")
    assert TOKEN not in text


@pytest.mark.parametrize(
    "part",
    [
        "whoami",
        "validate-yaml",
        "/api/repos/create",
        "/tree/",
        "/preupload/",
        "objects/batch",
        "/lfs/",
        "/commit/",
    ],
)
def test_a_server_that_fails_now_and_then(run, hub, program, part):
    hub.script = lambda method, path, before: 503 if part in path and before == 0 else None
    program(run)
    assert len(hub.repositories[REPO].branches["main"]) == 2
    assert len(hub.objects) == 4


def test_a_server_that_fails_for_good(run, hub, program):
    hub.script = lambda method, path, before: 500 if "/commit/" in path else None
    with pytest.raises(UserError, match="it answers 500") as error:
        program(run)
    assert "run the same command again: what was sent is kept" in error.value.mend
    hub.script = lambda method, path, before: None
    program(run)
    assert hub.count("PUT", "/lfs/") == 4, "each large file once"
    assert len(hub.repositories[REPO].branches["main"]) == 2


def test_an_answer_that_is_lost_after_the_commit(run, hub, program):
    """The commit is made, and its answer is not heard: the next look finds it, and makes no second one."""
    original = hub_pages.Handler.commit

    def commit_and_fail(handler, body, name, branch):
        answer, handler.answer = handler.answer, lambda *ignored: None
        original(handler, body, name, branch)
        handler.answer = answer
        handler.answer(504, {"error": "gateway"})

    routes = hub_pages.ROUTES
    try:
        hub_pages.ROUTES = tuple((m, p, commit_and_fail if a is original else a) for m, p, a in routes)
        program(run)
    finally:
        hub_pages.ROUTES = routes
    assert len(hub.repositories[REPO].branches["main"]) == 2


def test_a_hub_that_is_not_there(run, hub, program, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(UserError, match="no answer") as error:
        program(run)
    assert "check HF_ENDPOINT" in error.value.mend


@pytest.mark.parametrize("status, told", [(401, "refuses the token of HF_TOKEN"), (403, "may not do this")])
def test_a_refused_token(run, hub, program, status, told):
    hub.script = lambda method, path, before: status if status == 401 or "create" in path else None
    with pytest.raises(UserError, match=told) as error:
        program(run)
    assert "HF_TOKEN" in str(error.value) and TOKEN not in str(error.value)
    assert not hub.repositories


def test_a_wrong_token(run, hub, program, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(UserError, match="refuses the token of HF_TOKEN") as error:
        program(run)
    assert "hf_another" not in str(error.value)


@pytest.mark.parametrize(
    "value, found", [(None, "not set"), ("  ", "not set"), ("hf_a\nb", "odd characters")]
)
def test_no_token(run, hub, program, monkeypatch, value, found):
    monkeypatch.delenv("HF_TOKEN") if value is None else monkeypatch.setenv("HF_TOKEN", value)
    with pytest.raises(UserError, match="environment variable HF_TOKEN") as error:
        program(run)
    assert found in error.value.found and not hub.requests


def test_the_token_does_not_go_along(run, hub, program):
    shard = run.results / "prompts" / "train" / "00000-of-00001.jsonl"
    run.record(shard, "prompts", "prompts.py", f"--dataset=a --prompt_template={TOKEN}")
    with pytest.raises(UserError, match="it would hold the value of HF_TOKEN") as error:
        program(run)
    assert TOKEN not in str(error.value) and not hub.requests


def test_a_push_by_another_in_between(run, hub, program):
    """Two jobs that push to one repository: the second is told, and overwrites nothing."""
    hub.create(REPO)

    def another():
        files = {**hub.head(REPO).files, "README.md": Entry(b"theirs", False)}
        hub.repositories[REPO].add("main", "theirs", files)

    hub.before_commit = another
    with pytest.raises(UserError, match=r"somebody pushed to it in the meantime.*\(412\)"):
        program(run)
    assert hub.head(REPO).files["README.md"].content == b"theirs"
    assert f"{DATA}/messages.jsonl" not in hub.head(REPO).files


def test_two_pushes_at_once(run, hub, program):
    run.add_arm(MIXED, prompts=LARGE)
    hub.create(REPO)
    hub.before_commit = threading.Barrier(2, timeout=30).wait
    ends = []

    def call(alpha):
        try:
            program(run, "--alpha", alpha)
            ends.append("pushed")
        except UserError as error:
            ends.append(error.found)

    both = [threading.Thread(target=call, args=(alpha,)) for alpha in ("policy", "kl_symmetry")]
    for each in both:
        each.start()
    for each in both:
        each.join()
    told = "somebody pushed to it in the meantime, and what they pushed is not this (412)"
    assert sorted(ends) == ["pushed", told]
    assert len(hub.repositories[REPO].branches["main"]) == 2
    arms = {path.split("/")[2] for path in hub.head(REPO).files if path.startswith("training_data/")}
    assert len(arms) == 1


def test_the_same_push_by_another_in_between(run, hub, program, caplog):
    program(run, repo="someone/first")
    hub.create(REPO)

    def another():
        hub.before_commit = lambda: None
        files = dict(hub.head("someone/first").files)
        readme = files["README.md"].content.replace(b"someone/first", REPO.encode())
        hub.repositories[REPO].add("main", "same", {**files, "README.md": Entry(readme, False)})

    hub.before_commit = another
    caplog.set_level(logging.INFO)
    program(run)
    assert hub.head(REPO).message == "same" and "nothing to do" in caplog.text


def test_a_repository_in_use(run, hub, program):
    hub.create(REPO, files={"notes.txt": b"mine", "README.md": b"# mine"})
    with pytest.raises(
        UserError, match=r"README\.md with other content; notes.txt of somebody else's"
    ) as error:
        program(run)
    assert "--update" in error.value.mend and hub.count("PUT", "/lfs/") == 0
    program(run, "--update")
    assert hub.head(REPO).files["notes.txt"].content == b"mine"
    assert hub.head(REPO).files["README.md"].content.startswith(b"---\npretty_name: small\n")


def test_an_update_sends_what_differs_and_removes_what_is_gone(run, hub, program):
    program(run)
    sent = hub.count("PUT", "/lfs/")
    with pytest.raises(UserError, match=r"prompt_completion\.jsonl, .*sharegpt\.json not of this push"):
        program(run, "--formats", "messages")
    program(run, "--formats", "messages", "--update")
    assert hub.count("PUT", "/lfs/") == sent + 1, "winnow.json"
    left = {path for path in hub.head(REPO).files if path.startswith("training_data/")}
    assert left == {f"{DATA}/messages.jsonl"}
    assert len(hub.repositories[REPO].branches["main"]) == 3


def test_a_branch_and_a_message(run, hub, program):
    program(run, "--revision", "round/1", "--commit_message", "Round 1")
    assert hub.head(REPO, "round/1").message == "Round 1"
    assert len(hub.repositories[REPO].branches["main"]) == 1
    assert "revision='round/1'" in hub.head(REPO, "round/1").files["README.md"].content.decode()


def test_a_license_that_the_hub_does_not_know(run, hub, program):
    with pytest.raises(UserError, match="the hub does not take the card") as error:
        program(run, "--license", "nonsense")
    assert "correct --license" in error.value.mend


@pytest.mark.parametrize(
    "change", [lambda path: os.utime(path, (1, 1)), lambda path: path.unlink(missing_ok=True)]
)
def test_a_file_that_changes_on_the_way(run, hub, program, change):
    path = run.results / DATA / "sharegpt.json"

    def touched(method, request, before):
        # A request is counted when its body was read: all files have been sent.
        if method == "PUT" and hub.count("PUT", "/lfs/") == 4 and path.exists():
            change(path)

    hub.script = touched
    with pytest.raises(UserError, match="it has changed while it was being published"):
        program(run)
    assert len(hub.repositories[REPO].branches["main"]) == 1


@pytest.mark.parametrize(
    "name", ["small", "a/b/c", "so me/x", "someone/x--y", "someone/-x", "someone/x.git", ""]
)
def test_a_name_that_is_none(run, hub, program, name):
    with pytest.raises(UserError, match="--repo_id"):
        program(run, repo=name)
    assert not hub.requests


def test_a_dry_run_asks_nobody(run, program, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")

    def no_socket(*arguments, **options):
        raise AssertionError("a dry run opened a socket")

    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "create_connection", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    program(run, "--dry_run", "--license", "mit")
    told = capsys.readouterr().out
    content = local(run, f"{DATA}/messages.jsonl")
    from hashlib import sha256

    line = next(line for line in told.splitlines() if line.startswith(f"  {DATA}/messages.jsonl"))
    assert line.split() == [f"{DATA}/messages.jsonl", f"{len(content):,}", sha256(content).hexdigest()]
    assert "repository  https://mirror.example/datasets/someone/small\nvisibility  private\n" in told
    assert "license: mit" in told and "| rejected | did not pass | 700 |" in told


def test_a_dry_run_loads_neither_torch_nor_the_hub(run):
    code = (
        "import sys; sys.argv = ['publish.py', '--results', sys.argv[1], '--repo_id', 'a/b', '--dry_run'];"
        f"import runpy; runpy.run_path({str(ROOT / 'scripts/publish.py')!r}, run_name='__main__');"
        "heavy = {'torch', 'transformers', 'datasets', 'huggingface_hub'} & sys.modules.keys();"
        "print('loaded:', *sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.results)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "loaded:", done.stderr
