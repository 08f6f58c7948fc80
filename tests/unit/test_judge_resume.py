"""score.py with a judge: killed half-way, it asks only for what it has not heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from judge_server import JudgeServer, shown

from winnow import jsonl, scoring
from winnow.errors import UserError
from winnow.journal import Journal
from winnow.scoring.streams import scored

ROOT = Path(__file__).parents[2]
KEY = "sk-very-secret"
PROMPTS, N = 12, 4
QUESTIONS = PROMPTS * 4 * 2


def write(folder: Path, reference: str | None = "3") -> None:
    """With one round, each prompt's four completions make four comparisons."""
    prompts, completions = [], []
    for number in range(PROMPTS):
        question = [{"role": "user", "content": f"question {number}"}]
        prompts.append({"id": f"p{number}", "messages": question, "reference": reference})
        completions += [
            {
                "id": f"p{number}/{i}",
                "prompt_id": f"p{number}",
                "text": f"{number} {i}",
                "finish_reason": "stop",
            }
            for i in range(N)
        ]
    for name, rows in (("p", prompts), ("c", completions)):
        (folder / name).write_bytes(b"".join(map(jsonl.dumps, rows)))


def score(folder: Path, url: str, **options: Any) -> subprocess.Popen[str]:
    given = {
        "model": "the-judge",
        "rounds": 1,
        "concurrency": 3,
        "max_retries": 1,
        "base_url": url,
        **options,
    }
    return subprocess.Popen(
        [
            sys.executable, ROOT / "scripts" / "score.py", "--input", folder / "c", "--prompts", folder / "p",
            "--output", folder / "scored", "--scorers", "exact_answer", f"llm_judge={json.dumps(given)}",
        ],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OPENAI_API_KEY": KEY},
    )  # fmt: skip


def verdicts(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "scored.partial").read_bytes().split(b"\n")[1:-1]
    return [row for row in map(orjson.loads, lines) if "verdict" in row]


def test_killed_and_resumed(tmp_path: Path) -> None:
    write(tmp_path)
    with JudgeServer(delay=0.03) as server:
        first = score(tmp_path, server.base_url)
        while len(server.requests) < QUESTIONS // 2:
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert not (tmp_path / "scored").exists()
        kept, asked = len(verdicts(tmp_path)), len(server.requests)
        # Lost is only what was in flight.
        assert asked - 2 * 3 <= kept < QUESTIONS
    # The judge has moved meanwhile, and only how it is reached differs.
    with JudgeServer() as server:
        second = score(tmp_path, server.base_url, concurrency=2, timeout=20)
        told = second.communicate(timeout=60)[1]
        assert second.returncode == 0, told
        assert len(server.requests) == QUESTIONS - kept
        pairs = [
            (shown(body)["prompt"], shown(body)["first"], shown(body)["second"]) for body in server.requests
        ]
        assert len(set(pairs)) == len(pairs)
    rows = [row for _, row in jsonl.numbered(tmp_path / "scored")]
    assert len(rows) == PROMPTS * N
    # The best wins both of its comparisons, the worst none.
    assert [row["scores"]["llm_judge"]["value"] for row in rows[::N]] == [0.0] * PROMPTS
    assert [row["scores"]["llm_judge"]["value"] for row in rows[N - 1 :: N]] == [1.0] * PROMPTS
    assert f"{QUESTIONS - kept:,} questions asked now, {kept:,} before" in told
    assert KEY not in told + (tmp_path / "scored").read_text()
    assert not (tmp_path / "scored.partial").exists()


@pytest.mark.slow
def test_a_judge_that_gives_up_leaves_what_it_has_said(tmp_path: Path) -> None:
    """The next attempt, with the judge mended, asks for the rest; another judge does not go on with it."""
    write(tmp_path)

    def script(body: dict[str, Any], before: int) -> str | None:
        return "prose" if int(shown(body)["prompt"].split()[1]) >= PROMPTS // 2 else None

    with JudgeServer(script) as server:
        first = score(tmp_path, server.base_url, max_failed_fraction=0.25)
        told = first.communicate(timeout=60)[1]
    assert first.returncode == 2
    assert "25 of 96 questions have no verdict. 25 times: an answer without a verdict" in told
    assert KEY not in told + (tmp_path / "scored.partial").read_text()
    kept = len(verdicts(tmp_path))
    assert QUESTIONS // 2 - 3 <= kept <= QUESTIONS // 2
    with JudgeServer() as server:
        other = score(tmp_path, server.base_url, max_tokens=7)
        assert "unfinished work of other parameters" in other.communicate(timeout=60)[1]
        assert not server.requests
        second = score(tmp_path, server.base_url)
        assert second.wait(timeout=60) == 0
        assert len(server.requests) == QUESTIONS - kept


def test_two_judges_keep_their_verdicts_apart(tmp_path: Path) -> None:
    write(tmp_path)
    with JudgeServer() as server, Journal(tmp_path / "scored", {}) as journal:
        given = {"model": "the-judge", "rounds": 1, "base_url": server.base_url}
        judges = [scoring.build(f"llm_judge/{name}", given) for name in "ab"]
        rows = list(scored(tmp_path / "c", [tmp_path / "p"], judges, journal))
        assert len(server.requests) == 2 * QUESTIONS
    assert rows[0]["scores"].keys() == {"llm_judge/a", "llm_judge/b"}


def test_references_that_are_missing_are_refused_in_every_attempt(tmp_path: Path) -> None:
    write(tmp_path, reference=None)
    for _ in range(2):
        scorer = scoring.build("llm_judge", {"model": "m", "against": "reference"})
        with Journal(tmp_path / "scored", {}) as journal:
            with pytest.raises(UserError, match="can use no reference for 48 of 48 completions"):
                list(scored(tmp_path / "c", [tmp_path / "p"], [scorer], journal))
            assert not len(journal)
