"""From a client to the journal: what failed is told or asked for again, never both and never neither."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from fault_server import FaultServer

from winnow.errors import UserError
from winnow.generation import Block, finish, generate
from winnow.journal import Journal
from winnow.qstar.parameters import SamplingParameters
from winnow.records import Prompt
from winnow.serving.client import Client, Limits, chat
from winnow.serving.completions import Terms, completions
from winnow.serving.endpoint import Endpoint
from winnow.serving.requests import body
from winnow.serving.token_metrics import ENTRY, Reader, Writer

N = 4


def block(prompts: int, alpha: str = "policy") -> Block:
    shown = [
        Prompt(f"p{i}", [{"role": "user", "content": f"q{i}"}], [{"role": "user", "content": f"hint {i}"}])
        for i in range(prompts)
    ]
    return Block(shown, range(N), 7, "1", alpha, "hash", None)


def run(work: Block, server: FaultServer, output: Path, fraction: float) -> list[dict[str, Any]]:
    endpoint = Endpoint(server.base_url, "k", "m")
    make = functools.partial(body, parameters=SamplingParameters(), image_root=Path())
    client = Client([lambda: endpoint], chat(make), Limits(2, 0))
    with Journal(output, work.parameters()) as journal:
        generate(
            work,
            journal,
            lambda missing: completions(work, missing, client, Terms(N, fraction, True)),
        )
        finish(work, journal, output, None)
    return [orjson.loads(line) for line in output.read_bytes().splitlines()]


def refuse(*prompts: str):
    return lambda request, before: "400" if request["messages"][-1]["content"] in prompts else None


def test_few_failures_are_told_each_with_its_reason(tmp_path: Path) -> None:
    with FaultServer(refuse("q3")) as server:
        rows = run(block(10), server, tmp_path / "out.jsonl", 0.1)
    assert [row["id"] for row in rows] == [f"p{i}/{sample}" for i in range(10) for sample in range(N)]
    failed = [row for row in rows if row["finish_reason"] == "failed"]
    assert {(row["prompt_id"], row["detail"], row["text"]) for row in failed} == {("p3", "fault 400", "")}
    assert len({row["seed"] for row in rows}) == len(rows)
    assert all(row["token_ids"] == [1, 2, 3] for row in rows if row not in failed)


def test_of_too_many_none_is_kept_and_the_next_attempt_asks_for_them_again(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with FaultServer(refuse("q3", "q5")) as server:
        with pytest.raises(UserError, match="times: fault 400") as error:
            run(block(10), server, output, 0.1)
        assert "at most 4 " in error.value.expected
        kept = (tmp_path / "out.jsonl.partial").read_text()
    assert "fault 400" not in kept
    done = kept.count("\n") - 1
    assert not output.exists()
    with FaultServer() as server:
        rows = run(block(10), server, output, 0.0)
        assert sum(request["n"] for request in server.requests) == 10 * N - done
    assert {row["finish_reason"] for row in rows} == {"stop"}
    assert len(rows) == 10 * N


def test_a_prompt_over_the_context_is_no_failure(tmp_path: Path) -> None:
    with FaultServer(lambda request, before: "too long") as server:
        rows = run(block(3), server, tmp_path / "out.jsonl", 0.0)
    assert {row["finish_reason"] for row in rows} == {"prompt_too_long"}


@pytest.mark.parametrize(("alpha", "said"), [("policy", "q0"), ("teacher", "hint 0")])
def test_each_model_is_shown_its_own_messages(alpha: str, said: str, tmp_path: Path) -> None:
    with FaultServer() as server:
        rows = run(block(1, alpha), server, tmp_path / "out.jsonl", 0.0)
    assert {row["text"].partition("#")[0] for row in rows} == {said}


def test_what_the_engine_tells_of_tokens_is_found_by_seed_and_place(tmp_path: Path) -> None:
    reader, writer = Reader(tmp_path), Writer(tmp_path)
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    writer.write([11, 2**62], [0, 0], rows)
    writer.write([2**62, 11], [1, 1], rows + 100)
    # A step that is told again, by an engine that was started anew, stands for the former one.
    writer.write([11], [1], rows[:1] + 200)
    (tmp_path / "metrics-0.bin").write_bytes(bytes(ENTRY.itemsize - 1))
    assert reader.take(11, 2).tolist() == [rows[0].tolist(), (rows[0] + 200).tolist()]
    assert reader.take(2**62, 2).tolist() == [rows[1].tolist(), (rows[0] + 100).tolist()]
    writer.write([5], [0], rows[:1])
    assert reader.take(5, 1).shape == (1, 6)
    with pytest.raises(KeyError):
        reader.take(5, 1)
