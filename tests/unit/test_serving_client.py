"""The client against a server that misbehaves: every completion once, or why not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import openai._base_client
import pytest
from fault_server import FAULTS, FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from winnow.errors import UserError
from winnow.qstar.parameters import SamplingParameters
from winnow.records import Prompt
from winnow.serving import client as client_module
from winnow.serving.answers import Choice
from winnow.serving.client import Client, Limits, chat
from winnow.serving.endpoint import Endpoint
from winnow.serving.failed import Failed
from winnow.serving.requests import asks, body, prompt_seed

PARAMETERS = SamplingParameters(max_new_tokens=16)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without the waits between them."""
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.001)
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(client_module, "LONGEST_WAIT", 0.001)


def prompts(count: int) -> list[Prompt]:
    return [Prompt(f"p{i}", [{"role": "user", "content": f"question {i}"}]) for i in range(count)]


def wanted(count: int, n: int) -> list[tuple[Prompt, int, str]]:
    return [(prompt, sample, f"{prompt.id}/{sample}") for prompt in prompts(count) for sample in range(n)]


def draw(
    servers: list[FaultServer], work: list[tuple[Prompt, int, str]], limits: Limits, most: int = 4
) -> dict[str, tuple[int, Any]]:
    """Completion id → (seed, outcome); a completion that is told twice is an error."""
    endpoints = [Endpoint(server.base_url, "secret", "the-model") for server in servers]
    client = Client(
        [lambda endpoint=endpoint: endpoint for endpoint in endpoints],  # type: ignore[misc]
        chat(lambda ask, endpoint: body(ask, endpoint, PARAMETERS, Path())),
        limits,
    )
    found: dict[str, tuple[int, Any]] = {}
    for completion, seed, outcome in client.draw(asks(work, False, 5, most)):
        assert completion not in found
        found[completion] = (seed, outcome)
    return found


def check(found: dict[str, tuple[int, Any]], work: list[tuple[Prompt, int, str]]) -> None:
    """Every completion is there, and says of which prompt and sample it is; or why it is not."""
    assert found.keys() == {completion for _, _, completion in work}
    for prompt, sample, completion in work:
        seed, outcome = found[completion]
        assert seed == prompt_seed(5, prompt.id, sample)
        if isinstance(outcome, Failed):
            assert outcome.detail
        else:
            assert outcome.text == f"{prompt.messages[-1]['content']}#{seed}"
            assert (outcome.tokens, outcome.prompt_tokens) == (3, 7)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_mixture_of_faults(data: st.DataObject) -> None:
    """Up to three faults of each request are survived by four retries, and more of them have a reason."""
    n, most = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    # A hang costs the time of a timeout, so there are few.
    fault = st.sampled_from([each for each in FAULTS if each != "hang"])
    faults = data.draw(st.lists(st.lists(fault, max_size=6), min_size=1, max_size=7))
    hangs = data.draw(st.booleans())
    guard = threading.Lock()
    scripts: dict[tuple[str, int], list[str]] = {}

    def script(request: dict[str, Any], before: int) -> str | None:
        key = (request["messages"][-1]["content"], request["seed"])
        with guard:
            if key not in scripts:
                scripts[key] = [*faults[len(scripts) % len(faults)]]
                if hangs and len(scripts) == 1:
                    scripts[key].insert(0, "hang")
        return scripts[key][before] if before < len(scripts[key]) else None

    work = wanted(5, n)
    with FaultServer(script) as server:
        found = draw([server], work, Limits(3, 4, 1.0), most)
    check(found, work)
    longest = max(map(len, scripts.values()))
    if longest <= 4:
        assert not any(isinstance(outcome, Failed) for _, outcome in found.values())


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_survived_and_named_where_it_stays(fault: str) -> None:
    work = wanted(2, 3)
    # Only a hang has to wait for it.
    timeout = 0.5 if fault == "hang" else 30.0
    with FaultServer(lambda request, before: fault if before < 2 else None) as server:
        found = draw([server], work, Limits(2, 3, timeout))
    check(found, work)
    assert all(isinstance(outcome, Choice) for _, outcome in found.values())
    if fault == "fewer choices":
        return
    with FaultServer(lambda request, before: fault) as server:
        found = draw([server], work, Limits(2, 2, timeout))
    check(found, work)
    details = {outcome.detail for _, outcome in found.values()}
    assert len(details) == 1
    named = {"429": "429", "500": "500", "503": "503", "hang": "Timeout", "rubbish": "no JSON"}
    assert named.get(fault, "") in details.pop()
    assert len(server.requests) == 2 * 3


def test_nobody_waits_for_a_slow_one_and_no_more_are_in_flight_than_allowed() -> None:
    work = wanted(12, 2)

    def script(request: dict[str, Any], before: int) -> str | None:
        return "hang" if "question 0" in request["messages"][-1]["content"] else None

    with FaultServer(script, delay=0.02) as server:
        found = draw([server], work[2:], Limits(4, 0))
        assert server.most == 4
        order = []
        endpoint = Endpoint(server.base_url, "secret", "the-model")
        client = Client(
            [lambda: endpoint], chat(lambda ask, to: body(ask, to, PARAMETERS, Path())), Limits(2, 0, 3.0)
        )
        for completion, _, _ in client.draw(asks(work, False, 5, 2)):
            order.append(completion)
    check(found, work[2:])
    assert order[-2:] == ["p0/0", "p0/1"]


def test_requests_ask_for_what_is_missing_with_the_seeds_that_it_has_among_the_others() -> None:
    work = wanted(2, 8)
    missing = [each for index, each in enumerate(work) if index not in (2, 3, 9)]
    with FaultServer() as server:
        whole, part = draw([server], work, Limits(), 8), draw([server], missing, Limits(), 8)
    check(whole, work)
    check(part, missing)
    sizes = {(request["n"], request["seed"]) for request in server.requests}
    first, second = (prompt_seed(5, prompt.id, 0) for prompt in prompts(2))
    assert sizes == {
        (8, first), (8, second), (2, first), (4, first + 4), (1, second), (6, second + 2)
    }  # fmt: skip
    assert len(server.requests) == 6
    request = server.requests[0]
    assert request["messages"] == [{"role": "user", "content": "question 0"}]
    assert (request["model"], request["temperature"], request["top_p"], request["max_tokens"]) == (
        "the-model", 1.0, 1.0, 16,
    )  # fmt: skip
    assert (request["top_k"], request["return_token_ids"]) == (-1, True)
    assert set(server.keys) == {"bearer secret"}


def test_a_list_of_servers_shares_the_load() -> None:
    work = wanted(9, 2)
    with FaultServer() as one, FaultServer() as other:
        check(draw([one, other], work, Limits(3), 2), work)
    assert {len(one.requests), len(other.requests)} == {4, 5}


def test_what_a_dead_server_does_not_answer_is_asked_of_the_others() -> None:
    work = wanted(6, 2)
    with FaultServer() as dead:
        pass
    with FaultServer(lambda request, before: "500") as broken, FaultServer() as sound:
        found = draw([dead, broken, sound], work, Limits(3, 1), 2)
    check(found, work)
    assert all(isinstance(outcome, Choice) for _, outcome in found.values())
    assert len(sound.requests) == 6


@pytest.mark.parametrize(
    ("fault", "message"), [("401", "the key is refused"), ("404", "no 'the-model' there")]
)
def test_what_holds_for_all_requests_ends_the_job_at_once(fault: str, message: str) -> None:
    with FaultServer(lambda request, before: fault) as server, pytest.raises(UserError, match=message):
        draw([server], wanted(50, 1), Limits(2, 5))
    assert len(server.requests) <= 2


def test_a_prompt_over_the_context_is_told_apart_from_what_fails() -> None:
    with FaultServer(lambda request, before: "too long") as server:
        found = draw([server], wanted(1, 2), Limits())
    assert {outcome.reason for _, outcome in found.values()} == {"prompt_too_long"}
    with FaultServer(lambda request, before: "400") as server:
        found = draw([server], wanted(1, 2), Limits())
    assert {(outcome.reason, outcome.detail) for _, outcome in found.values()} == {("failed", "fault 400")}
    assert len(server.requests) == 1


def image(path: Path, kind: str, keep: float = 1.0) -> None:
    """A picture of noise, or the first part of its file."""
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format=kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def test_broken_images_cost_their_own_prompts_alone(tmp_path: Path) -> None:
    root, broken = tmp_path / "images", {}
    root.mkdir()
    image(tmp_path / "outside.png", "PNG")
    (root / "fake.png").write_bytes(b"hello")
    broken["fake.png"] = "is no image: it begins with b'hello'"
    broken["../outside.png"] = "lies outside"
    broken["missing.png"] = "is not in"
    with (root / "huge.png").open("wb") as file:
        file.truncate(200 * 2**20)
    broken["huge.png"] = "has 200 MiB"
    for kind in ("PNG", "JPEG", "WEBP"):
        image(root / f"whole.{kind}", kind)
        image(root / f"half.{kind}", kind, 0.5)
        broken[f"half.{kind}"] = "is cut off after"
    with (root / "whole.JPEG").open("ab") as file:
        file.write(bytes(200_000))
    image(root / "whole.GIF", "GIF")
    small = (root / "whole.JPEG").read_bytes()[:-200_000]
    thumbnail = b"\xff\xe1" + (2 + len(small)).to_bytes(2, "big") + small
    (root / "thumbnail.jpg").write_bytes(b"\xff\xd8" + thumbnail + (root / "half.JPEG").read_bytes()[2:])
    broken["thumbnail.jpg"] = "is cut off after"
    shown = [
        Prompt(path, [{"role": "user", "content": "x"}], images=[path])
        for path in [*broken, *(f"whole.{kind}" for kind in ("PNG", "JPEG", "WEBP", "GIF"))]
    ]
    work = [(prompt, 0, f"{prompt.id}/0") for prompt in [*shown, *prompts(1)]]
    asked = []
    with FaultServer() as server:
        endpoint = Endpoint(server.base_url, "secret", "the-model")
        client = Client([lambda: endpoint], chat(lambda ask, to: body(ask, to, PARAMETERS, root)), Limits())
        found = {completion: outcome for completion, _, outcome in client.draw(asks(work, False, 5, 1))}
        asked = server.requests
    for path, reason in broken.items():
        outcome = found[f"{path}/0"]
        assert isinstance(outcome, Failed)
        assert reason in outcome.detail
        assert path.rpartition("/")[2] in outcome.detail
    assert {id for id, outcome in found.items() if isinstance(outcome, Choice)} == {
        "p0/0", "whole.PNG/0", "whole.JPEG/0", "whole.WEBP/0", "whole.GIF/0",
    }  # fmt: skip
    assert len(asked) == 5


def test_a_reader_who_leaves_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with FaultServer(delay=0.05) as server:
        endpoint = Endpoint(server.base_url, "secret", "the-model")
        client = Client([lambda: endpoint], chat(lambda ask, to: body(ask, to, PARAMETERS, Path())), Limits())
        drawn = client.draw(asks(wanted(100, 1), False, 5, 1))
        next(drawn)
        drawn.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "client"]
    assert threading.active_count() <= before
