"""Stop strings: the first token that completes one ends a completion, however it came in rounds."""

from __future__ import annotations

import pytest
from direct import ask, sampler, samples
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import UserError
from winnow.qstar.parameters import SamplingParameters
from winnow.qstar.stops import StopStrings

STOPS = ("ca", "dd", "ab", "bc", "ac", "ad")
PIECES = ["a", "b", "ab", "ba", "", "é"]


def decode(tokens) -> str:
    return "".join(PIECES[token] for token in tokens)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=24),
    st.lists(st.text("abé", min_size=1, max_size=4), min_size=1, max_size=3),
    st.data(),
)
def test_ends_with_the_token_that_completes_the_first(tokens, strings, data):
    stops = StopStrings(strings, decode)
    whole = [n for n in range(1, len(tokens) + 1) if any(each in decode(tokens[:n]) for each in strings)]
    expected = whole[0] if whole else None
    seen, found = 0, None
    while seen < len(tokens) and found is None:
        new = data.draw(st.integers(1, min(5, len(tokens) - seen)))
        seen += new
        found = stops.end(tokens[:seen], new)
    assert found == expected


BYTES = [bytes([each]) for each in sorted(set("aé日🙂".encode()))] + ["日".encode(), b"a\xc3", b""]


def decode_bytes(tokens) -> str:
    return b"".join(BYTES[token] for token in tokens).decode(errors="replace")


@given(
    st.lists(st.integers(0, len(BYTES) - 2), max_size=6),
    st.lists(st.sampled_from("aé日🙂"), min_size=1, max_size=4).map("".join),
    st.lists(st.integers(0, len(BYTES) - 2), max_size=6),
    st.data(),
)
def test_a_stop_string_may_begin_and_end_within_a_character_s_tokens(before, string, after, data):
    """A token for each byte, and tokens that hold the end of one character and half of the next."""
    tokens = [*before, *(BYTES.index(bytes([each])) for each in string.encode()), *after]
    stops = StopStrings([string], decode_bytes)
    whole = [n for n in range(1, len(tokens) + 1) if string in decode_bytes(tokens[:n])]
    seen, found = 0, None
    while seen < len(tokens) and found is None:
        new = data.draw(st.integers(1, min(5, len(tokens) - seen)))
        seen += new
        found = stops.end(tokens[:seen], new)
    assert found == (whole[0] if whole else None)


def test_the_text_ends_before_the_first():
    assert StopStrings(["ba", "é"], decode).cut("aabéba") == "aab"
    assert StopStrings(["zz"], decode).cut("aab") == "aab"
    assert StopStrings([], decode).cut("aab") == "aab"
    assert StopStrings([], decode).end([1], 1) is None


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("alpha", ["policy", "kl_symmetry"])
def test_completions_end_there(student, teacher, alpha, depth):
    free = sampler(student, teacher, alpha, 16, depth)
    rows = samples(free, ask("ab"), 40)
    whole = {entry.row.id: entry for entry in free.draw(rows, 11)}
    source = sampler(student, teacher, alpha, 16, depth, stop=STOPS)
    ended = 0
    for entry in source.draw(rows, 11):
        text = free.text(whole[entry.row.id])
        before = min((at for stop in STOPS if (at := text.find(stop)) >= 0), default=None)
        assert source.text(entry) == text[:before]
        assert entry.token_ids == whole[entry.row.id].token_ids[: len(entry.token_ids)]
        assert entry.logprobs == pytest.approx(whole[entry.row.id].logprobs[: len(entry.token_ids)])
        if before is not None:
            ended += 1
            assert entry.finish_reason == "stop"
            assert len(free._models.loaded[0].decode(entry.token_ids)) == before + 2
        if entry.metrics is not None:
            assert len(entry.metrics) == len(entry.token_ids)
    assert ended > 5


def test_a_special_token_is_no_stop_string(student, teacher):
    source = sampler(student, teacher, "kl_symmetry", stop=("<|end|>",))
    with pytest.raises(UserError, match="a special token of"):
        list(source.draw(samples(source, ask("ab"), 2), 2))


def test_an_empty_stop_string_is_refused():
    with pytest.raises(UserError, match="stop"):
        SamplingParameters(stop=("a", ""))
