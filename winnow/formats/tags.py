"""Reasoning and answer as their tags delimit them in a completion."""

from __future__ import annotations

import re

THINK, ANSWER = "think", "answer"
# Of its own: training rests on this module, and is not to be done again because a scorer was changed.
BETTER_IMAGE = re.compile(r"(?<![^\W_])image ([12]) is better(?![^\W_])")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def answer_of(text: str) -> str | None:
    """What stands in the last ``<answer>…</answer>``, stripped; None where there is none."""
    place = _answer(text)
    return None if place is None else text[place[0] + len("<answer>") : place[1]].strip()


def choice_of(answer: str | None) -> str | None:
    """An answer in the words of the choice that the scorer `choice` reads in it; else as it stands."""
    if answer is None:
        return None
    _, box, boxed = answer.rpartition("\\boxed{")
    # Of a box, what stands in it.
    stated = boxed.partition("}")[0] if box else answer
    named = set(BETTER_IMAGE.findall(" ".join(stated.casefold().split())))
    return f"Image {named.pop()} is better" if len(named) == 1 else answer


def reasoning_of(text: str) -> str | None:
    """What stands in the first ``<think>…</think>``, or else all but the answer; None if that is nothing."""
    start = text.find("<think>")
    end = text.find("</think>", start)
    if 0 <= start < end:
        return text[start + len("<think>") : end].strip() or None
    place = _answer(text)
    rest = text if place is None else text[: place[0]] + text[place[1] + len("</answer>") :]
    for tag in TAGS[:2]:
        rest = rest.replace(tag, "")
    return rest.strip() or None


def tagged(reasoning: str | None, answer: str) -> str:
    """A completion of these two, in the layout of LightRFT's training data; no reasoning, no tag for it."""
    thought = f"<think>\n{reasoning}\n</think>\n" if reasoning else ""
    return f"{thought}<answer>{answer}</answer>"


def _answer(text: str) -> tuple[int, int] | None:
    """Where the last ``<answer>`` begins, and its ``</answer>``."""
    start = text.rfind("<answer>")
    end = text.find("</answer>", start)
    return (start, end) if 0 <= start < end else None
