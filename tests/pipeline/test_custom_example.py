"""examples/custom through Snakemake: a user's own scorer, adapter and format, and what their edits rerun."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import orjson
import pytest
import yaml
from workspace import GENERATION, Outcome, Workspace

pytestmark = pytest.mark.slow

ARM = "step-530/policy/n-8"
SCORER = "examples.custom.scorers:Brevity"


def rows(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


class Custom:
    """The example with fewer prompts, up to its training data."""

    target = f"results/custom/training_data/{ARM}/alpaca.json"

    def __init__(self, space: Workspace) -> None:
        self.space, self.root, self.results = space, space.root, space.root / "results/custom"

    def snakemake(self, *arguments: str) -> Outcome:
        return self.space.snakemake(self.target, "--configfile", "custom.yaml", *arguments)

    def jobs(self, *arguments: str) -> Counter[str]:
        outcome = self.snakemake(*arguments)
        assert outcome.code == 0, outcome.text[-6000:]
        return outcome.jobs

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / "examples/custom" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @property
    def completions(self) -> Path:
        return self.results / "completions/train/step-530/policy/00000-of-00001.block-0.jsonl"

    @property
    def scored(self) -> list[dict]:
        return rows(self.results / "scored/train/step-530/policy/00000-of-00001.block-0.jsonl")


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Custom:
    example = Custom(Workspace.fresh(tmp_path_factory.mktemp("custom")))
    config = yaml.safe_load((example.root / "examples/custom/config.yaml").read_text())
    config["data"]["train"]["num_samples"] = 12
    (example.root / "custom.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert example.jobs() == dict.fromkeys(
        ["prompts_train", "describe_model", "generate", "score", "select", "export"], 1
    )
    return example


def test_the_scores_and_the_rows(custom: Custom) -> None:
    given = rows(custom.root / "examples/custom/data/train.jsonl")[:12]
    prompts = rows(custom.results / "prompts/train/00000-of-00001.jsonl")
    assert [p["messages"] for p in prompts] == [
        [{"role": "user", "content": r["instruction"]}] for r in given
    ]
    assert [p["reference"] for p in prompts] == [r["output"].rpartition("#### ")[2] for r in given]
    asked = {p["id"]: p["messages"][0]["content"] for p in prompts}
    reward: dict[str, dict[str, float]] = {question: {} for question in asked.values()}
    for row in custom.scored:
        right, brief = row["scores"]["exact_answer"]["passed"], row["scores"][SCORER]
        expected = min(1.0, max(0.0, (68 - len(row["text"])) / 10)) if right else 0.0
        assert brief["value"] == pytest.approx(expected)
        assert brief["passed"] == (expected > 0)
        reward[asked[row["prompt_id"]]][row["text"]] = expected
    assert len({value for texts in reward.values() for value in texts.values()}) > 3
    exported = json.loads((custom.root / custom.target).read_text())
    assert all(row.keys() == {"instruction", "input", "output"} for row in exported)
    kept = [(row["instruction"], reward[row["instruction"]][row["output"]]) for row in exported]
    best = [(question, max(texts.values())) for question, texts in reward.items()]
    assert kept == [(question, value) for question, value in best if value > 0]


def test_a_comment_reruns_nothing(custom: Custom) -> None:
    for name in ("scorers.py", "adapters.py", "formats.py"):
        custom.edit(
            name, "from __future__ import annotations\n", "from __future__ import annotations  # why\n"
        )
    assert custom.snakemake("--dry-run").nothing_to_do


def test_another_format_exports_again_and_does_no_more(custom: Custom) -> None:
    custom.edit("formats.py", '"input": ""', '"input": str()')
    assert custom.jobs("--dry-run") == {"export": 1}
    custom.edit("formats.py", '"input": str()', '"input": ""')


def test_another_adapter_reads_the_data_again(custom: Custom) -> None:
    custom.edit("adapters.py", '"\\n\\n".join', '"\\n".join')
    assert custom.jobs("--dry-run")["prompts_train"] == 1
    custom.edit("adapters.py", '"\\n".join', '"\\n\\n".join')


def test_another_scorer_scores_again_and_generates_nothing(custom: Custom) -> None:
    before, drawn = custom.scored, custom.completions.stat()
    custom.edit("scorers.py", "value = 1.0 - min(max(over, 0.0), 1.0)", "value = float(over < 1)")
    jobs = custom.jobs()
    assert jobs == {"score": 1, "select": 1, "export": 1}
    assert not GENERATION & set(jobs)
    assert custom.completions.stat() == drawn
    values = {row["scores"][SCORER]["value"] for row in custom.scored}
    assert values == {0.0, 1.0} != {row["scores"][SCORER]["value"] for row in before}


def test_a_misspelt_name_is_an_error_before_anything_runs(custom: Custom) -> None:
    config = (custom.root / "custom.yaml").read_text()
    (custom.root / "wrong.yaml").write_text(config.replace("scorers:Brevity", "scorers:Brevty"))
    outcome = custom.space.snakemake("--dry-run", "--configfile", "wrong.yaml")
    assert outcome.code != 0
    assert "Traceback" not in outcome.text
    for part in ("config, key scoring", "examples/custom/scorers.py", "did you mean 'Brevity'?", "to mend:"):
        assert part in outcome.text
