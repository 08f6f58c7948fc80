"""The results of a small run as its stages leave them, made without a model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from winnow import formats, jsonl
from winnow.arms import Arm
from winnow.formats import files
from winnow.formats.format import Answered, Conversation
from winnow.publishing.job_records import record_name
from winnow.publishing.published_file import PublishedFile
from winnow.selection.ledger import Ledger
from winnow.selection.rules import Decision

POLICY, TEACHER = "a" * 64, "b" * 64
FORMATS = ("messages", "prompt_completion", "sharegpt")


class FinishedRun:
    """``<root>/results/small`` with its arms.

    Args:
        root: the working directory of the run.
        records: whether Snakemake's records lie beside it.
        results: another folder for ``small``, which is absolute in the config.
    """

    def __init__(self, root: Path, records: bool = True, results: Path | None = None) -> None:
        self.root, self.records = root, records
        self.results = (results or root / "results") / "small"
        for name, model in (("policy-460", POLICY), ("teacher", TEACHER)):
            manifest = {
                "directory": f"/home/me/{name}",
                "model": model,
                "tokenizer": "c" * 64,
                "parent": None,
            }
            jsonl.write_json(self.results / "models" / name / "manifest.json", manifest)
        shard = self.results / "prompts" / "train" / "00000-of-00001.jsonl"
        jsonl.write_text(shard, '{"id": "p0", "messages": []}\n')
        source = "--dataset=/home/me/train.jsonl --prompt_template='{{ problem }} | <b>?'"
        self.record(shard, "prompts", "prompts.py", source, {"/home/me/train.jsonl": "d" * 64})

    def add_arm(
        self,
        arm: Arm,
        prompts: int = 12,
        text: str = "The sum is <answer>",
        images: Callable[[int], list[str] | None] = lambda number: None,
        names: Sequence[str] = FORMATS,
    ) -> Path:
        """An arm whose even prompts have one accepted completion; returns its training data's folder."""
        selected = self.results / "selected" / arm.path
        ledger = Ledger(arm.n)
        accepted, conversations = [], []
        with jsonl.writer(selected / "ledger.jsonl") as enter:
            for number in range(prompts):
                rows = [row(arm, number, sample, text) for sample in range(arm.n)]
                kept = [number % 2 == 0 and sample == 0 for sample in range(arm.n)]
                decisions = [
                    Decision("accepted", "correct") if keep else Decision("rejected", "did not pass")
                    for keep in kept
                ]
                ledger.enter(rows, decisions, "exact_answer")
                for each, decision in zip(rows, decisions, strict=True):
                    enter(
                        {
                            "id": each["id"],
                            "stage": "select",
                            "outcome": decision.outcome,
                            "reason": decision.reason,
                        }
                    )
                    if decision.outcome == "accepted":
                        accepted.append(each)
                        asked = [{"role": "user", "content": f"What is {number}?"}]
                        conversations.append(Conversation(asked, each["text"], images(number)))
        with jsonl.writer(selected / "accepted.jsonl") as write:
            for each in accepted:
                write(each)
        jsonl.write_json(selected / "statistics.json", {**ledger.statistics(), "num_examples_asked": None})
        folder = self.results / "training_data" / arm.path
        for name in names:
            fmt = formats.find(name)
            answered = [Answered(c.messages, [c.completion], c.images) for c in conversations]
            files.write(folder / fmt.filename, fmt, answered if fmt.takes == "prompts" else conversations)
            export = f"--formats {' '.join(names)} --scorers 'exact_answer={{}}'"
            checksum = PublishedFile.of_file("", selected / "accepted.jsonl").sha256
            made_of = {self.named(selected / "accepted.jsonl"): checksum}
            self.record(folder / fmt.filename, "export", "export.py", export, made_of)
        self.record(
            selected / "accepted.jsonl", "select", "select.py", "--strategy=correct --seed 3 --max_error=0.75"
        )
        block = self.results / f"completions/train/step-{arm.step}/{arm.alpha}/00000-of-00001.block-0.jsonl"
        jsonl.write_text(block, "")
        self.record(
            block, "generate", "generate.py", "--seed=17 --temperature=0.8 --base_url=http://node7:8000"
        )
        return folder

    def record(
        self, output: Path, rule: str, program: str, flags: str, checksums: dict[str, str] | None = None
    ) -> None:
        """Snakemake's record of the job that made a file."""
        if not self.records:
            return
        command = f"trap : TERM; /opt/python /home/me/winnow/scripts/{program} {flags} > some.log 2>&1"
        assert shlex.split(command)
        content: dict[str, Any] = {
            "rule": rule,
            "shellcmd": command,
            "input_checksums": {path: f"sha256:{value}" for path, value in (checksums or {}).items()},
        }
        place = self.root / ".snakemake" / "metadata" / record_name(self.named(output))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(orjson.dumps(content))

    def named(self, path: Path) -> str:
        """A path as it stands in the DAG."""
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def row(arm: Arm, prompt: int, sample: int, text: str) -> dict[str, Any]:
    """A scored completion."""
    return {
        "id": f"p{prompt}/{sample}",
        "prompt_id": f"p{prompt}",
        "sample": sample,
        "text": f"{text} {prompt}/{sample}",
        "completion_tokens": 7,
        "model": POLICY,
        **({} if arm.alpha == "policy" else {"teacher": TEACHER}),
        "scores": {"exact_answer": {"value": 1.0, "passed": sample == 0, "detail": None, "version": 1}},
    }
