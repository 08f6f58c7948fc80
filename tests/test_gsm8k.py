"""Real data through the real programs: GSM8K's own answers pass, and other rows' answers do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "gsm8k" / "data"


def program(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, f"scripts/{name}.py", *arguments], cwd=ROOT, check=True)


def final(answer: str) -> str:
    return answer.rpartition("####")[2].strip().replace(",", "")


@pytest.mark.parametrize(("name", "count"), [("train", 1000), ("test", 300)])
def test_reference_answers_score_as_right_and_those_of_the_next_row_as_wrong(
    tmp_path: Path, name: str, count: int
) -> None:
    rows = [orjson.loads(line) for line in (DATA / f"{name}.jsonl").read_bytes().splitlines()]
    assert len(rows) == count
    program(
        "prompts", "--dataset", str(DATA / f"{name}.jsonl"), "--dataset_adapter", "generic",
        "--prompt_field", "question", "--response_field", "answer", "--output_dir", str(tmp_path),
        "--prompt_template", "{{ question }}",
    )  # fmt: skip
    prompts = tmp_path / "00000-of-00001.jsonl"
    ids = [orjson.loads(line)["id"] for line in prompts.read_bytes().splitlines()]

    def passed(answers: list[str]) -> list[bool]:
        completions, scored = tmp_path / "completions.jsonl", tmp_path / "scored.jsonl"
        completions.write_bytes(
            b"".join(
                orjson.dumps({"id": f"{i}/0", "prompt_id": i, "text": text, "finish_reason": "stop"}) + b"\n"
                for i, text in zip(ids, answers, strict=True)
            )
        )
        program(
            "score", "--input", str(completions), "--prompts", str(prompts), "--output", str(scored)
        )  # fmt: skip
        return [orjson.loads(x)["scores"]["exact_answer"]["passed"] for x in scored.read_bytes().splitlines()]

    answers = [row["answer"] for row in rows]
    assert passed(answers) == [True] * count
    shifted = answers[1:] + answers[:1]
    equal = [float(final(a)) == float(final(b)) for a, b in zip(answers, shifted, strict=True)]
    assert sum(equal) < count / 10
    assert passed(shifted) == equal
