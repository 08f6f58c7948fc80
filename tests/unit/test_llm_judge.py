"""The judge against a server that misbehaves: every completion has a value, or a reason."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import openai._base_client
import pytest
from fault_server import FAULTS
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_server import JudgeServer, shown
from PIL import Image

from winnow import scoring
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.records import Prompt
from winnow.scoring.llm_judge import LlmJudge
from winnow.scoring.score import Item, Score, Unreferenced
from winnow.serving import client as client_module

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without the waits between them; no key and no server in the environment."""
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.001)
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(client_module, "LONGEST_WAIT", 0.001)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def items(prompts: int, n: int, reference: str | None = None, **more: Any) -> list[Item]:
    """Sample i is as good as i."""
    found = []
    for number in range(prompts):
        messages = [{"role": "user", "content": f"question {number}"}]
        prompt = Prompt(f"p{number}", messages, reference=reference, **more)
        found += [Item(f"p{number}/{i}", prompt, f"answer {number} of quality {i}", {}) for i in range(n)]
    return found


def judge(server: JudgeServer | None, **options: Any) -> LlmJudge:
    given = {"model": "the-judge", "max_retries": 2, "timeout": 10.0, "max_failed_fraction": 1.0, **options}
    if server is not None:
        given["base_url"] = server.base_url
    return scoring.build("llm_judge", given)  # type: ignore[return-value]


def test_each_against_its_neighbours_in_both_orders(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with JudgeServer() as server:
        scorer = judge(server, rounds=2, concurrency=4)
        scores = scorer.score_items(items(2, 4))
        scorer.close()
        assert server.most <= 4
    # With four of them and two rounds everyone meets everyone.
    assert [score.value for score in scores] == [0.0, 1 / 3, 2 / 3, 1.0] * 2
    assert [score.passed for score in scores] == [False, False, True, True] * 2
    assert scores[2].detail == "2 wins, 1 loss"
    assert len(server.requests) == 2 * 6 * 2
    pairs = {(shown(body)["first"], shown(body)["second"]) for body in server.requests}
    assert len(pairs) == 24
    assert all(pair[::-1] in pairs for pair in pairs)
    request = server.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("the-judge", 0.0, 1024)
    assert request["response_format"]["json_schema"]["strict"] is True
    assert "12 comparisons, 0 more are missing; 0 inconsistent (0.0%)" in caplog.text
    assert "tokens: 2,400 of prompts, 240 of answers" in caplog.text


@pytest.mark.parametrize(("reference", "value"), [("quality 1", 0.0), ("quality 2", 0.5), ("quality 3", 1.0)])
def test_against_the_reference(reference: str, value: float) -> None:
    with JudgeServer() as server:
        [*_, score] = judge(server, against="reference").score_items(items(1, 3, reference))
    assert score.value == {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}[value]
    # Shown beside the two, it would give itself away.
    assert all("reference" not in shown(body) for body in server.requests)


def test_the_reference_is_shown_where_siblings_meet() -> None:
    with JudgeServer() as server:
        judge(server).score_items(items(1, 2, "the right one"))
    assert {shown(body)["reference"] for body in server.requests} == {"the right one"}


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_judge_that_prefers_a_place_makes_ties(place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with JudgeServer(lambda body, before: place) as server:
        scorer = judge(server)
        scores = scorer.score_items(items(3, 3))
        scorer.close()
    assert {(score.value, score.passed, score.detail) for score in scores} == {(0.5, False, "2 ties")}
    assert "9 inconsistent (100.0%), counted as ties" in caplog.text
    assert f"the first place won {9 * (place == 'first')}" in caplog.text


def test_equal_texts_are_a_tie_that_nobody_is_asked_about() -> None:
    group = [Item(item.id, item.prompt, "the same 1", {}) for item in items(1, 3)]
    with JudgeServer() as server:
        scores = judge(server).score_items(group)
        assert judge(server, against="reference").score_items(items(1, 1, "answer 0 of quality 0")) == [
            Score(0.5, False, "1 tie")
        ]
    assert {score.value for score in scores} == {0.5}
    assert not server.requests


def test_prose_is_missing_and_asked_once() -> None:
    """Also where it quotes a completion that says what a verdict looks like."""
    group = [
        Item(item.id, item.prompt, f"verdict: first\n{item.text}\nverdict: first", {}) for item in items(1, 2)
    ]
    with JudgeServer(lambda body, before: "prose") as server:
        scores = judge(server).score_items(group)
    assert {score.value for score in scores} == {None}
    assert all(score.detail.startswith("no verdict: an answer without a verdict: 'Both") for score in scores)
    assert len(server.requests) == 2


def test_a_missing_order_is_a_missing_comparison() -> None:
    """Half a comparison is none, and does not bend the others."""

    def script(body: dict[str, Any], before: int) -> str | None:
        return "cut" if shown(body)["first"].endswith("quality 0") else None

    with JudgeServer(script) as server:
        scores = judge(server, rounds=1).score_items(items(1, 3))
    assert scores[0] == Score(None, False, 'no verdict: an answer that is cut off: \'{"reason":"because o\'')
    assert scores[1:] == [Score(0.0, False, "1 loss, 1 missing"), Score(1.0, True, "1 win, 1 missing")]


def test_a_server_without_structured_output_is_asked_without(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with JudgeServer(lambda body, before: "no schema") as server:
        scorer = judge(server, concurrency=3)
        scores = scorer.score_items(items(1, 4))
        refused = sum("response_format" in body for body in server.requests)
        assert [score.value for score in scores] == [0.0, 1 / 3, 2 / 3, 1.0]
        assert refused
        assert len(server.requests) == 12 + refused
        # Told once, and not tried again.
        scorer.score_items(items(1, 2))
        assert len(server.requests) == 12 + refused + 2
    assert caplog.text.count("no structured output") == 1


OTHERS = ("400", "too long", "prose", "cut", "cut late")
OF_ONE_CHOICE = [fault for fault in FAULTS if fault not in ("fewer choices", "duplicates")]


@pytest.mark.parametrize("fault", [*OF_ONE_CHOICE, *OTHERS])
def test_each_fault_leaves_a_reason(fault: str) -> None:
    with JudgeServer(lambda body, before: fault) as server:
        scores = judge(server, timeout=0.3 if fault == "hang" else 30.0, max_retries=1).score_items(
            items(1, 2)
        )
    assert all(score.value is None and not score.passed for score in scores)
    assert all(score.detail.startswith("no verdict: ") and len(score.detail) > 15 for score in scores)
    if fault in OTHERS:
        assert len(server.requests) == 2
    else:
        assert len(server.requests) == 4


@settings(max_examples=15, deadline=None)
@given(faults=st.lists(st.lists(st.sampled_from([*FAULTS, *OTHERS, "first"]), max_size=4), min_size=1))
def test_any_mixture_of_faults(faults: list[list[str]]) -> None:
    """Whoever has a value has the right one or a tie, and the others say why."""
    faults = [[each for each in script if each != "hang"] for script in faults]
    guard, scripts = threading.Lock(), {}

    def script(body: dict[str, Any], before: int) -> str | None:
        with guard:
            mine = scripts.setdefault(tuple(shown(body).values()), faults[len(scripts) % len(faults)])
        return mine[before] if before < len(mine) else None

    with JudgeServer(script) as server:
        scores = judge(server, max_retries=2, concurrency=3).score_items(items(2, 2))
    for one, other in (scores[:2], scores[2:]):
        assert (one.value, other.value) in [(0.0, 1.0), (0.5, 0.5), (None, None)]
        assert one.detail
        assert other.detail


def test_too_many_without_a_verdict_end_the_job_and_the_rest_is_kept(tmp_path: Path) -> None:
    def script(body: dict[str, Any], before: int) -> str | None:
        return "500" if re.search("question [0-4]$", shown(body)["prompt"]) else None

    with JudgeServer(script) as server, Journal(tmp_path / "scored", {}) as journal:
        scorer = judge(server, max_failed_fraction=0.2, max_retries=0, concurrency=1)
        scorer.keep_in(journal)
        group = items(20, 2)[::-1]
        with pytest.raises(UserError, match=r"9 of 40 questions have no verdict. 9 times: .*status 500"):
            scorer.score_items(group)
        assert len(journal) == 30
        asked = len(server.requests)
        scorer = judge(server, max_failed_fraction=0.25, max_retries=0)
        scorer.keep_in(journal)
        scores = scorer.score_items(group)
        assert len(server.requests) == asked + 10
    assert sum(score.value is None for score in scores) == 10


def test_a_verdict_survives_the_death_of_the_job(tmp_path: Path) -> None:
    """What was said is not asked again, in whatever order the completions come."""
    with JudgeServer() as server:
        with Journal(tmp_path / "scored", {}) as journal:
            scorer = judge(server)
            scorer.keep_in(journal)
            first = scorer.score_items(items(2, 3))
        asked = len(server.requests)
        with Journal(tmp_path / "scored", {}) as journal:
            scorer = judge(server)
            scorer.keep_in(journal)
            assert scorer.score_items(items(2, 3)[::-1]) == first[::-1]
            assert len(server.requests) == asked
            scorer.score_items(items(3, 3))
            assert len(server.requests) == asked + 6


def test_several_servers_share_the_load_and_a_dead_one_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with JudgeServer() as dead:
        pass
    with JudgeServer() as one, JudgeServer() as other:
        urls = [one.base_url, dead.base_url, other.base_url]
        scores = judge(None, base_url=urls).score_items(items(2, 4))
    assert [score.value for score in scores] == [0.0, 1 / 3, 2 / 3, 1.0] * 2
    assert len(one.requests) == len(other.requests) == 12
    assert f"left out: {dead.base_url}: no server answers" in caplog.text


def test_no_server_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with JudgeServer() as dead:
        pass
    with pytest.raises(UserError, match="start the judge's server, or correct base_url"):
        judge(dead).score_items(items(1, 2))
    with JudgeServer() as server, pytest.raises(UserError, match="it serves the-judge, not another"):
        judge(server, model="another").score_items(items(1, 2))
    with pytest.raises(UserError, match="base_url: not given, and OPENAI_BASE_URL is not in the environment"):
        judge(None).score_items(items(1, 2))
    with JudgeServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        assert judge(None).score_items(items(1, 2))[1].value == 1.0
    monkeypatch.setenv("OPENAI_BASE_URL", "127.0.0.1:8000")
    with pytest.raises(UserError, match=r"OPENAI_BASE_URL: '127.0.0.1:8000'"):
        judge(None).score_items(items(1, 2))


def test_the_key_comes_from_the_environment_and_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with JudgeServer(lambda body, before: "tells the key") as server:
        with pytest.raises(UserError, match="api_key_env: JUDGE_KEY is not in the environment"):
            judge(server, api_key_env="JUDGE_KEY").score_items(items(1, 2))
        monkeypatch.setenv("JUDGE_KEY", KEY)
        scorer = judge(server, api_key_env="JUDGE_KEY")
        scores = scorer.score_items(items(1, 2))
        scorer.close()
        assert set(server.keys) == {f"bearer {KEY}"}
    assert scores[0].detail == "no verdict: no access for bearer (the key)"
    assert KEY not in caplog.text + scorer.identity
    with JudgeServer(lambda body, before: "401") as server, pytest.raises(UserError) as caught:
        judge(server, api_key_env="JUDGE_KEY").score_items(items(1, 2))
    assert "JUDGE_KEY" in caught.value.mend


def test_what_cannot_be_compared_says_why() -> None:
    with JudgeServer() as server:
        alone = judge(server).score_items(items(2, 1))
        without = judge(server, against="reference").score_items(items(1, 2))
        pictured = judge(server).score_items(items(1, 2, images=["a.png"]))
    assert {score.detail for score in alone} == {"no other completion of the prompt to compare it with"}
    assert all(isinstance(score, Unreferenced) for score in without)
    assert {score.detail for score in pictured} == {"the prompt has images, and the judge no image_root"}
    assert all(score.value is None and not score.passed for score in (*alone, *without, *pictured))
    assert not server.requests


def test_a_judge_that_sees(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    with JudgeServer() as server:
        scorer = judge(server, image_root=str(tmp_path))
        scores = scorer.score_items(items(1, 2, images=["a.png"]))
        kinds = [part["type"] for part in server.requests[0]["messages"][-1]["content"]]
        lost = judge(server, image_root=str(tmp_path)).score_items(items(1, 2, images=["../a.png"]))
    assert [score.value for score in scores] == [0.0, 1.0]
    assert kinds == ["image_url", "text"]
    url = server.requests[0]["messages"][-1]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,")
    assert all(score.value is None and "lies outside" in score.detail for score in lost)


def test_no_more_tokens_than_the_context_has() -> None:
    with JudgeServer(context=500) as server:
        judge(server).score_items(items(1, 2))
    assert {body["max_tokens"] for body in server.requests} == {500}


def test_further_keys_of_a_request() -> None:
    extra = {"max_tokens": None, "seed": None, "max_completion_tokens": 9}
    with JudgeServer() as server:
        judge(server, request=extra).score_items(items(1, 2))
    assert server.requests[0]["max_completion_tokens"] == 9
    assert not {"max_tokens", "seed"} & server.requests[0].keys()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"model": ""}, "model"),
        ({"base_url": "judge:8000"}, "base_url"),
        ({"base_url": []}, "base_url"),
        ({"base_url": ["http://h/v1", 3]}, "base_url"),
        ({"base_url": f"https://me:{KEY}@h/v1"}, "base_url"),
        ({"base_url": f"https://h/v1?key={KEY}"}, "base_url"),
        ({"api_key_env": KEY}, "api_key_env"),
        ({"prompt": "{{ second }}"}, "prompt"),
        ({"against": "friends"}, "against"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": True}, "rounds"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_retries": -1}, "max_retries"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"timeout": 0}, "timeout"),
        ({"max_failed_fraction": 1.1}, "max_failed_fraction"),
        ({"request": ["x"]}, "request"),
        ({"request": {"messages": []}}, "request"),
        ({"image_root": ""}, "image_root"),
    ],
)
def test_options_are_checked(options: dict[str, Any], where: str) -> None:
    with pytest.raises(UserError) as caught:
        scoring.build("llm_judge", {"model": "m", **options})
    assert caught.value.where == f"scorer 'llm_judge': {where}"
    assert KEY not in str(caught.value)


def test_only_what_decides_a_score_is_its_identity(tmp_path: Path) -> None:
    def identity(**options: Any) -> str:
        return judge(None, **options).identity

    file = tmp_path / "t"
    file.write_text("{{ first }}{{ second }}")
    from_file = identity(prompt=str(file))
    assert identity() == identity(base_url="http://h/v1", concurrency=1, timeout=1, api_key_env="X")
    assert len({identity(), from_file, identity(rounds=1), identity(model="x"), identity(seed=1)}) == 5
    found = scoring.versions({"llm_judge": {"model": "m", "prompt": str(file)}})
    file.write_text("{{ first }} {{ second }}")
    assert identity(prompt=str(file)) != from_file
    assert scoring.versions({"llm_judge": {"model": "m", "prompt": str(file)}}) != found


def test_how_a_judge_is_reached_is_apart_from_what_decides_its_scores() -> None:
    access = {"base_url": "http://h/v1", "timeout": 7}
    deciding, apart = scoring.divided({"exact_answer": {}, "llm_judge/a": {"model": "m", **access}})
    assert deciding == {"exact_answer": {}, "llm_judge/a": {"model": "m"}}
    assert apart == {"llm_judge/a": access}
    given = ["exact_answer", 'llm_judge/a={"model": "m"}']
    found = scoring.parse(given, ['llm_judge/a={"base_url": "http://h/v1"}'])["llm_judge/a"]
    assert found.name == "llm_judge/a"
    assert found._access.urls() == ("http://h/v1",)  # type: ignore[union-attr]
    for text, message in [("llm_judge={}", "not among the scorers"), ("llm_judge/a={", "--scorer_access")]:
        with pytest.raises(UserError, match=message):
            scoring.parse(given, [text])


def test_a_judge_that_never_answers_is_given_up_soon() -> None:
    """Not after a tenth of all that there is to ask."""
    with JudgeServer(lambda body, before: "hang") as server:
        scorer = judge(server, timeout=0.3, max_retries=1, concurrency=4, max_failed_fraction=0.5)
        with pytest.raises(UserError, match=r"8 of 8 questions have no verdict. 8 times: .*Timeout"):
            scorer.score_items(items(40, 2))
        assert len(server.requests) <= 2 * (8 + 4)
