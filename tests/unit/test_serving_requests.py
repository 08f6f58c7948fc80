"""What is sent, and what of an answer is believed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.qstar.parameters import SamplingParameters
from winnow.records import Prompt
from winnow.serving.answers import Unusable, read
from winnow.serving.endpoint import Endpoint
from winnow.serving.requests import asks, body, prompt_seed

VLLM = Endpoint("http://127.0.0.1:1/v1", "k", "m")
OTHER = Endpoint("https://elsewhere/v1", "k", "m", vllm=False)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)

samples = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), unique=True).map(sorted)


@given(wanted=samples, most=st.integers(1, 5))
def test_asks_cover_what_is_wanted_once_with_seeds_of_their_own(
    wanted: list[tuple[int, int]], most: int
) -> None:
    prompts = [Prompt(f"p{i}", [{"role": "user", "content": str(i)}]) for i in range(4)]
    work = [(prompts[i], sample, f"p{i}/{sample}") for i, sample in wanted]
    found = list(asks(work, False, 3, most))
    assert [completion for ask in found for completion in ask.ids] == [completion for *_, completion in work]
    for ask in found:
        assert 1 <= len(ask) <= most
        assert len({completion.partition("/")[0] for completion in ask.ids}) == 1
        for index, completion in enumerate(ask.ids):
            sample = int(completion.partition("/")[2])
            assert ask.seed + index == prompt_seed(3, ask.prompt.id, sample) == ask.only(index).seed
            assert ask.only(index).ids == (completion,)
            assert 0 <= ask.seed + index < 2**63


def test_the_teacher_sees_its_own_messages_and_the_student_never() -> None:
    prompt = Prompt("p", [{"role": "user", "content": "x"}], [{"role": "user", "content": "x, it is 3"}])
    for teacher, shown in ((True, "x, it is 3"), (False, "x")):
        (ask,) = asks([(prompt, 0, "p/0")], teacher, 0, 1)
        assert body(ask, VLLM, SamplingParameters(), Path())["messages"][0]["content"] == shown
    (ask,) = asks([(Prompt("q", [{"role": "user", "content": "y"}]), 0, "q/0")], True, 0, 1)
    assert ask.messages == [{"role": "user", "content": "y"}]


def test_a_request_for_vllm_and_one_for_others() -> None:
    (ask,) = asks([(Prompt("p", [{"role": "user", "content": "x"}]), 0, "p/0")], False, 0, 1)
    parameters = SamplingParameters(0.7, 5, 0.9, 100, ("END",))
    endpoint = Endpoint(VLLM.base_url, "k", "m", context=64)
    sent = body(ask, endpoint, parameters, Path())
    # More than the context is refused by vLLM, which cuts at its end by itself.
    assert (sent["max_tokens"], sent["top_k"], sent["stop"]) == (64, 5, ["END"])
    assert (sent["temperature"], sent["top_p"], sent["return_token_ids"]) == (0.7, 0.9, True)
    plain = body(ask, OTHER, SamplingParameters(), Path())
    assert not {"top_k", "return_token_ids", "stop"} & plain.keys()
    with pytest.raises(UserError, match="OpenAI's interface has no top_k"):
        body(ask, OTHER, parameters, Path())


def test_images_are_shown_in_order_as_data_urls(tmp_path: Path) -> None:
    files = {
        "a.png": PNG + b"aIEND",
        "b.dat": b"\xff\xd8\xff\xdabb\xff\xd9",
        "c.txt": b"RIFF\5\0\0\0WEBPc",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    prompt = Prompt(
        "p", [{"role": "user", "content": "<image> or <image>, not <image>?"}], images=list(files)
    )
    (ask,) = asks([(prompt, 0, "p/0")], False, 0, 1)
    (turn,) = body(ask, VLLM, SamplingParameters(), tmp_path)["messages"]
    urls = [part["image_url"]["url"] for part in turn["content"] if part["type"] == "image_url"]
    assert [url.partition(",")[0] for url in urls] == [
        f"data:image/{kind};base64" for kind in ("png", "jpeg", "webp")
    ]
    assert [base64.b64decode(url.partition(",")[2]) for url in urls] == list(files.values())
    assert [part["text"] for part in turn["content"] if part["type"] == "text"] == [" or ", ", not ", "?"]
    # The prompt itself stays as it was: another request reads the files again.
    assert prompt.messages[0]["content"].startswith("<image>")
    for name, message in (("../a.png", "lies outside"), ("none.png", "is not in"), ("d.png", "is no image")):
        (tmp_path / "d.png").write_bytes(b"hello")
        (ask,) = asks([(Prompt("p", prompt.messages, images=[name] * 3), 0, "p/0")], False, 0, 1)
        with pytest.raises(UserError, match=message):
            body(ask, VLLM, SamplingParameters(), tmp_path)


json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(["stop", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "index", "finish_reason", "token_ids", "usage"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(answer=json | st.fixed_dictionaries({"choices": st.lists(json, max_size=2), "usage": json}))
def test_any_answer_is_read_or_said_to_be_unusable(answer: Any) -> None:
    try:
        found = read(orjson.dumps(answer), 2)
    except Unusable as error:
        assert str(error)
        return
    assert all(isinstance(choice.text, str) and choice.index in (0, 1) for choice in found)


@given(content=st.binary(max_size=40))
def test_any_bytes(content: bytes) -> None:
    with pytest.raises(Unusable):
        read(content, 1)


def answer_of(**choice: Any) -> bytes:
    whole = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "token_ids": [1, 2]}
    return orjson.dumps(
        {"choices": [{**whole, **choice}], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}
    )


def test_what_is_kept_of_a_choice() -> None:
    (choice,) = read(answer_of(message={"content": "x", "reasoning": "because"}), 1)
    assert (choice.text, choice.reasoning, choice.tokens, choice.prompt_tokens) == ("x", "because", 2, 5)
    (choice,) = read(answer_of(message={"content": None, "reasoning": "be"}, finish_reason="length"), 1)
    assert (choice.text, choice.reasoning, choice.finish_reason) == ("", "be", "length")
    (choice,) = read(answer_of(token_ids=None), 1)
    assert (choice.token_ids, choice.tokens) == (None, 9)
    for wrong in (
        {"index": 1}, {"index": -1}, {"index": True}, {"finish_reason": "content_filter"},
        {"token_ids": ["1"]}, {"message": {"content": None}}, {"message": None},
    ):  # fmt: skip
        with pytest.raises(Unusable):
            read(answer_of(**wrong), 1)
