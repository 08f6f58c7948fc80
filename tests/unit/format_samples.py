"""Conversations of every kind that formats have to hold, and a small selection with its records."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from winnow import formats, scoring
from winnow.formats import files
from winnow.formats.format import Answered, Conversation, Format, Origin, Pair, Unit
from winnow.formats.sources import Source, grouped, source
from winnow.records import Prompt
from winnow.scoring.streams import as_row

NAMES = formats.names()
SINGLE = [name for name in NAMES if formats.find(name).takes in ("chosen", "all")]

text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "<think>\n1</think><answer>é</answer>",
        "]\n",
        ",",
        "[",
        "a\u2028b\x85c\r\nd\\",
        '"},\n{"',
        "",
        "<image>",
    ]
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": text}),
    max_size=3,
)
images = st.none() | st.lists(text, max_size=2)
number = st.none() | st.floats(allow_nan=False, allow_infinity=False)
scores = st.dictionaries(text, number, max_size=2)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | number | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
metadata = st.dictionaries(text, json, max_size=3)
metrics = [f"{name}_mean" for name in ("alpha", "ess_ratio", "kl_theta", "kl_t")]
metrics += ["alpha_std", "ess_ratio_std"]
diagnostics = st.fixed_dictionaries(dict.fromkeys(metrics, number))
origin = st.builds(
    Origin, st.integers(0, 2**40), text, st.none() | text, metadata, scores, scores, diagnostics
)
words = text.filter(
    lambda found: "<answer>" not in found and "</answer>" not in found and found.strip()
) | st.sampled_from(
    ["image 2 is BETTER.", "Image 1 is better, by far", "Image 1 is better or Image 2 is better"]
)
answered = st.builds(lambda before, answer: f"{before}<answer>{answer}</answer>", text, words)


@st.composite
def conversations(draw: Any, completion: Any = text) -> Conversation:
    return Conversation(draw(messages), draw(completion), draw(images), draw(origin))


@st.composite
def pairs(draw: Any) -> Pair:
    chosen, told = draw(conversations()), draw(scores)
    other = Origin(0, reference=chosen.origin.reference, scores=told)
    return Pair(chosen, Conversation(chosen.messages, draw(text), chosen.images, other))


@st.composite
def judged(draw: Any) -> Conversation:
    """A judge's completion on two images, of which the first in the data set is preferred."""
    fields = {**draw(metadata), "prompt": draw(text), "path1": "a.png", "path2": "b.png"}
    for taken in ("generated_text", "predicted_answer", "reasoning", "preference"):
        fields.pop(taken, None)
    order = draw(st.permutations(["a.png", "b.png"]))
    written = draw(
        st.sampled_from(["Image {} is better", " image {}  is better.", "**Image {} is better** here"])
    )
    answer = written.format(order.index("a.png") + 1)
    completion = f"{draw(text)}<answer>{answer}</answer>"
    return Conversation(draw(messages), completion, order, Origin(metadata=fields))


def units_of(fmt: Format, name: str) -> st.SearchStrategy[Unit]:
    """Arbitrary units that a format has to hold."""
    if fmt.takes == "pairs":
        return pairs()
    if fmt.takes == "prompts":
        return st.builds(Answered, messages, st.lists(text, max_size=3), images, origin)
    if name == "lightrft_samples":
        return judged()
    return conversations(answered if name == "lightrft" else text)


SCORERS = scoring.parse(["exact_answer", 'numeric_error={"tolerance": 0.5}'])
PROMPTS = [
    Prompt(
        f"p{i}",
        [{"role": "user", "content": f"{i} + {i}?"}],
        reference=str(2 * i),
        images=[f"a{i}.png", f"b{i}.png"],
        metadata={"prompt": "sums", "path1": f"a{i}.png", "path2": f"b{i}.png", "level": i},
    )
    for i in range(3)
]


def scored(prompt: Prompt, sample: int, answer: str, **extra: Any) -> dict[str, Any]:
    """A completion's row as accepted.jsonl has it."""
    completion = f"<think>\nTry {sample} of {prompt.id}\n</think>\n<answer>{answer}</answer>"
    scores = {
        name: as_row(scorer.score(completion, prompt.reference), scorer.version)
        for name, scorer in SCORERS.items()
        if scoring.is_text_scorer(scorer)
    }
    return {
        "id": f"{prompt.id}/{sample}",
        "prompt_id": prompt.id,
        "sample": sample,
        "text": completion,
        "finish_reason": "stop",
        "scores": scores,
        **extra,
    }


def selected() -> list[Source]:
    """A right and a wrong completion of each prompt, as a pair."""
    return [
        source(scored(prompt, sample, answer, pair=0, role=role), prompt)
        for i, prompt in enumerate(PROMPTS)
        for sample, (answer, role) in enumerate([(str(2 * i), "chosen"), (str(2 * i + 9), "rejected")])
    ]


def write(tmp_path, name, members):
    """A file of these completions and its format."""
    fmt = formats.find(name)
    path = tmp_path / fmt.filename
    files.write(path, fmt, (unit for unit, _ in grouped(fmt.takes, members)))
    return path, fmt
