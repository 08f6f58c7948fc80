"""A judge: a server that reads both answers from its prompt and says which it prefers, as it is told to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
from fault_server import FaultServer, said

QUOTED = re.compile(r"<(prompt|first|second|reference) (\w+)>\n(.*?)\n</\1 \2>", re.DOTALL)

Opinion = Callable[[str, str], str]


def quality(first: str, second: str) -> str:
    """Prefers the answer with the higher number at its end."""
    one, other = (int(re.findall(r"\d+", text)[-1]) for text in (first, second))
    return "tie" if one == other else "first" if one > other else "second"


def shown(body: dict[str, Any]) -> dict[str, str]:
    """What a request shows, by name."""
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[-1]["text"]
    return {name: part for name, _, part in QUOTED.findall(text)}


class JudgeServer(FaultServer):
    """Besides its parent's faults: `prose` (no verdict), `line` (a verdict behind prose), `cut`, `cut late`
    (behind what looks like a verdict), `no schema` (refuses structured output), `tells the key`; the other
    words are verdicts.
    """

    def __init__(
        self, *arguments: Any, opinion: Opinion = quality, context: int | None = None, **more: Any
    ) -> None:
        super().__init__(*arguments, **more)
        self._opinion, self._context = opinion, context

    def models(self) -> bytes:
        model = {"id": "the-judge", "object": "model", "max_model_len": self._context}
        return orjson.dumps({"object": "list", "data": [model]})

    def said(self, body: dict[str, Any], fault: str | None) -> tuple[int, bytes, str]:
        if fault == "no schema":
            if "response_format" in body:
                return 400, b'{"error": {"message": "response_format is not supported"}}', ""
            fault = "line"
        if fault == "tells the key":
            return 400, orjson.dumps({"error": {"message": f"no access for {self.keys[-1]}"}}), ""
        seen = shown(body)
        verdict = self._opinion(seen["first"], seen["second"])
        text = orjson.dumps({"reason": f"because of {seen['first']}", "verdict": verdict}).decode()
        reason = "stop"
        if fault == "prose":
            text = f"Both are fine.\n{seen['first']}\n\nI cannot decide."
        elif fault == "line":
            text = f"The first one says:\n{seen['first']}\n\n**Verdict: {verdict.capitalize()}**\n"
        elif fault == "cut":
            text, reason = text[:20], "length"
        elif fault == "cut late":
            text, reason = "It could be said that\nverdict: first", "length"
        elif fault in ("first", "second", "tie"):
            text = orjson.dumps({"verdict": fault}).decode()
        elif fault is not None:
            return said({**body, "n": 1, "seed": 0}, fault)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return 200, orjson.dumps({"choices": [choice], "usage": usage}), ""
