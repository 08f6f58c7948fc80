"""A trace as a person reads it."""

from __future__ import annotations

from typing import Any

from winnow.records import is_reference
from winnow.tracing.find import Found
from winnow.tracing.run import Line
from winnow.tracing.trace import Trace

LONGEST = 2_000


def as_text(found: Trace) -> str:
    """What became of it first, then where it came from, each with its file and line."""
    entry = found.ledger[1]
    lines = [
        f"completion  {entry['id']}   (arm {found.arm.path})",
        *_section(f"{entry['outcome']}: {entry['reason']}", found.ledger, {"detail": entry.get("detail")}),
    ]
    if entry.get("role"):
        lines.append(f"            the {entry['role']} of pair {entry['pair']}, with {found.partner}")
    if found.scored:
        lines += _section(
            "scores", found.scored, {n: _score(s) for n, s in found.scored[1]["scores"].items()}
        )
    lines += _reference(found) if is_reference(entry) else _completion(found)
    if found.prompt:
        row = found.prompt[1]
        lines += _section("prompt", found.prompt, {"id": row["id"], "reference": row.get("reference")})
        lines += _messages("student", row["messages"])
        if row.get("teacher_messages"):
            lines += _messages("teacher", row["teacher_messages"])
        lines += [f"            image: {image}" for image in row.get("images") or ()]
    if found.accepted:
        lines += ["", f"kept in     {_place(found.accepted[0])}"]
        lines += [f"example     {row.place}" for row in found.examples] or ["example     not exported"]
    elif found.examples:
        lines += ["", *(f"listed in   {row.place}" for row in found.examples)]
    return "\n".join(lines) + "\n"


def as_json(found: Trace) -> dict[str, Any]:
    """The same for a program."""
    parts = ("ledger", "prompt", "completion", "scored", "accepted", "reference")
    records = {name: getattr(found, name) for name in parts}
    return {
        "arm": found.arm.path,
        **{name: _record(entry) if entry else None for name, entry in records.items()},
        "models": [
            {"role": role, "hash": hashed, "manifest": None if path is None else str(path)}
            for role, hashed, path in found.models
        ],
        "partner": found.partner,
        "examples": [
            {"file": str(row.path), "row": row.number, "line": row.lines[0] if row.lines else None}
            for row in found.examples
        ],
    }


def _reference(found: Trace) -> list[str]:
    """A reference: its scores, where they are recorded, and its text, which nobody drew."""
    lines = []
    if found.reference:
        lines += _section("scores", found.reference, found.reference[1]["reference_scores"])
    lines += ["", "not drawn   it is the reference of its prompt"]
    # What was kept comes first: it stands in the training data, whatever the prompt has now.
    if found.accepted:
        text = found.accepted[1]["text"]
    else:
        text = found.prompt[1].get("reference") if found.prompt else None
    return lines if text is None else [*lines, "            text:", *_indented(text)]


def _completion(found: Trace) -> list[str]:
    drawn = found.completion or found.scored
    if drawn is None:
        return ["", "completion  its file is not there any more"]
    row = drawn[1]
    facts = ("sample", "seed", "finish_reason", "prompt_tokens", "completion_tokens", "detail")
    lines = _section("drawn", drawn, {key: row.get(key) for key in facts})
    for role, hashed, path in found.models:
        name = "drawn by" if role == "model" else role
        lines.append(f"            {name}: {hashed}   {path or 'no manifest of this run has this hash'}")
    return [*lines, "            text:", *_indented(row["text"])]


def _section(title: str, record: Found, facts: dict[str, Any]) -> list[str]:
    lines = ["", f"{title}", f"            {_place(record[0])}"]
    return lines + [f"            {key}: {value}" for key, value in facts.items() if value is not None]


def _score(score: dict[str, Any]) -> str:
    verdict = "passed" if score["passed"] else "did not pass"
    return f"{score['value']}, {verdict}; {score['detail']!r} (version {score['version']})"


def _messages(who: str, messages: list[dict[str, Any]]) -> list[str]:
    return [
        line
        for message in messages
        for line in (f"            {who}, {message['role']}:", *_indented(str(message["content"])))
    ]


def _indented(text: str) -> list[str]:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"
    return [f"            | {line}" for line in shown.split("\n")]


def _place(line: Line) -> str:
    return f"{line[0]}, line {line[1]}"


def _record(entry: Found) -> dict[str, Any]:
    return {"file": str(entry[0][0]), "line": entry[0][1], "row": entry[1]}
