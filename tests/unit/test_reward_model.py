"""Rewards against what transformers itself says, one completion at a time; and models that are refused."""

from __future__ import annotations

import logging
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from own_modules import refused
from reward_models import END, FAMILIES, LETTERS, PAD, SOME, build, direct, items, save, values
from transformers import LlamaForSequenceClassification

from winnow import jsonl, scoring
from winnow.records import Prompt
from winnow.scoring import Item, Score
from winnow.scoring.reward_batches import Shared
from winnow.scoring.reward_schedule import OutOfMemory
from winnow.scoring.streams import scored

CLOSE = 1e-4
WAYS = {
    "llama": "shared", "qwen2": "shared", "qwen3": "shared", "gpt2": "shared",
    "mistral": "padded", "dynamic": "alone", "bert": "pooled",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A directory of each family's model, by its name."""
    folder = tmp_path_factory.mktemp("rewards")
    return {family: save(folder / family, family, seed) for seed, family in enumerate(FAMILIES)}


def counted(scorer, monkeypatch):
    """The tokens of each call of the model's inner part, padding included, from here on."""
    loaded, _ = scorer._ready()
    sizes: list[tuple[int, ...]] = []
    base = loaded.forward._base
    forward = base.forward

    def count(*arguments, **options):
        sizes.append(tuple(options["input_ids"].shape))
        return forward(*arguments, **options)

    monkeypatch.setattr(base, "forward", count)
    return sizes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pad", [PAD, END, None])
def test_rewards_are_those_of_transformers_alone(family, pad, tmp_path):
    if family == "bert" and pad is None:
        pytest.skip("its embeddings want a padding token")
    model = save(tmp_path / "model", family, pad=pad)
    scorer = build(model, batch_tokens=150)
    expected = direct(model, SOME)
    assert values(scorer) == pytest.approx(expected, abs=CLOSE)
    assert max(expected) - min(expected) > 0.1
    assert scorer._loaded.forward.way == WAYS[family]


completions = st.lists(st.text(LETTERS, max_size=14), min_size=1, max_size=4)
prompts = st.lists(st.tuples(st.text(LETTERS, max_size=40), completions), min_size=1, max_size=5)


@settings(max_examples=25)
@given(prompts, st.integers(1, 400), st.randoms())
def test_rewards_depend_on_no_batch_and_no_order(made, drawn, budget, chance):
    scorer = cached(made["gpt2"])
    those = items(*drawn)
    scorer._schedule.budget, scorer._schedule.share = budget, True
    shared = dict(zip([item.id for item in those], values(scorer, those), strict=True))
    by_prompt = [[item for item in those if item.prompt.id == f"p{index}"] for index in range(len(drawn))]
    chance.shuffle(by_prompt)
    mixed = [item for family in by_prompt for item in chance.sample(family, len(family))]
    scorer._schedule.budget, scorer._schedule.share = 1, False
    alone = dict(zip([item.id for item in mixed], values(scorer, mixed), strict=True))
    assert alone == pytest.approx(shared, abs=CLOSE)


SCORERS: dict[str, scoring.ItemScorer] = {}


def cached(directory):
    if str(directory) not in SCORERS:
        SCORERS[str(directory)] = build(directory)
        SCORERS[str(directory)]._ready()
    return SCORERS[str(directory)]


def test_a_prompt_runs_once_for_its_completions(made, monkeypatch):
    scorer = build(made["llama"])
    sizes = counted(scorer, monkeypatch)
    those = items(("a" * 60, ["b" * 5, "c" * 6, "d" * 7]), ("e" * 50, ["f" * 4] * 3))
    found = values(scorer, those)
    # <|user|> … <|end|><|assistant|> before the texts, and one of the three equal ones' ends has to be read.
    assert sizes == [(2, 63), (6, 8)]
    assert found == pytest.approx(direct(made["llama"], those), abs=CLOSE)


def test_padding_behind_a_long_prompt_leaves_the_context(made, monkeypatch):
    scorer = build(made["gpt2"])
    sizes = counted(scorer, monkeypatch)
    those = items(("a" * 80, ["b", "cc"]), ("a" * 20, ["b" * 60, "c" * 60]))
    found = values(scorer, those)
    assert sizes == [(2, 83), (4, 61)]
    assert found == pytest.approx(direct(made["gpt2"], those), abs=CLOSE)


def test_a_prompt_with_one_completion_goes_the_plain_way(made, monkeypatch):
    scorer = build(made["llama"])
    sizes = counted(scorer, monkeypatch)
    values(scorer, items(("a" * 60, ["b" * 5]), ("e" * 50, ["f" * 4])))
    assert sizes == [(2, 69)]


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("mistral", "prompts are not shared by their completions: not all of its layers keep every key"),
        ("bert", "prompts are not shared by their completions: it is no causal model with a head"),
        ("dynamic", "its positions (dynamic) depend on a batch's longest row: one at a time"),
    ],
)
def test_what_cannot_be_shared_says_so(family, words, made, caplog):
    caplog.set_level(logging.INFO)
    build(made[family])._ready()
    assert [r.message for r in caplog.records if r.message.startswith(f"{made[family]}: {words}")]


def test_a_classifier_that_does_more_than_its_head_is_left_to_itself(made, monkeypatch):
    plain = LlamaForSequenceClassification.forward

    def doubled(self, *arguments, **options):
        found = plain(self, *arguments, **options)
        found.logits = found.logits * 2
        return found

    monkeypatch.setattr(LlamaForSequenceClassification, "forward", doubled)
    scorer = build(made["llama"])
    assert values(scorer) == pytest.approx(direct(made["llama"], SOME), abs=CLOSE)
    assert scorer._loaded.forward.way == "pooled"


def test_passed_is_what_lies_above_the_threshold(made):
    first, *_ = values(build(made["llama"]))
    for threshold in (first - 0.01, first + 0.01):
        score = build(made["llama"], passes_above=threshold).score_items(SOME)[0]
        assert score == Score(pytest.approx(first, abs=CLOSE), first > threshold, "")


def test_what_is_too_long_has_no_reward_and_is_never_cut(made):
    scorer = build(made["gpt2"], max_length=40)
    those = items(("a" * 20, ["b" * 16, "b" * 17, "c"]))
    scores = scorer.score_items(those)
    expected = direct(made["gpt2"], those)
    assert scores[0].value == pytest.approx(expected[0], abs=CLOSE)
    assert scores[1] == Score(None, False, "41 tokens, more than the 40 that the reward model reads")
    assert scores[2].value == pytest.approx(expected[2], abs=CLOSE)
    whole = build(made["gpt2"]).score_items(items(("a" * 20, ["b" * 72, "b" * 73])))
    assert whole[0].value is not None
    assert whole[1].detail == "97 tokens, more than the 96 that the reward model reads"
    error = refused(build(made["gpt2"], max_length=97).score_items, those)
    assert "max_length 97" in error.found


def test_prompts_with_images_have_no_reward(made):
    score = build(made["llama"]).score_items(items(("a", ["b"]), images=["x.png"]))[0]
    assert score == Score(None, False, "the prompt has images, and a reward model reads text alone")


def test_memory_that_runs_out(made, monkeypatch, caplog):
    scorer = build(made["llama"], batch_tokens=300)
    large = Item("large/0", Prompt("large", [{"role": "user", "content": "a" * 50}]), "b", {})
    expected = values(scorer, [*SOME, large])
    loaded, schedule = scorer._ready()
    base = loaded.forward._base
    forward = base.forward

    def tight(*arguments, **options):
        rows, width = options["input_ids"].shape
        if rows * width > 46:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*arguments, **options)

    monkeypatch.setattr(base, "forward", tight)
    scores = scorer.score_items([*SOME, large])
    assert scores[-1] == Score(None, False, "it does not fit into memory, even alone")
    assert [score.value for score in scores[:-1]] == pytest.approx(expected[:-1], abs=CLOSE)
    assert sum("out of memory" in record.message for record in caplog.records) == 1
    assert schedule.budget == 46


def test_a_cpu_without_memory_is_told_from_a_fault(made, monkeypatch):
    scorer = build(made["llama"])
    loaded, _ = scorer._ready()
    batch = next(iter(_batches(scorer)))
    for message, kind in (
        ("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", OutOfMemory),
        ("mat1 and mat2 shapes cannot be multiplied", RuntimeError),
    ):

        def raises(*arguments, message=message, **options):
            raise RuntimeError(message)

        monkeypatch.setattr(loaded.forward._base, "forward", raises)
        with pytest.raises(kind, match=r"memory|shapes"):
            list(loaded.forward(batch))


def _batches(scorer):
    from winnow.scoring.reward_batches import Row, planned

    found = planned([Row(0, "a", (5, 6, 7, 8)), Row(1, "a", (5, 6, 7, 9))], 100)
    assert isinstance(found[0], Shared)
    return found


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_types_of_numbers(dtype, made):
    scorer = build(made["llama"], dtype=dtype)
    assert values(scorer) == pytest.approx(direct(made["llama"], SOME), abs=0.1)
    assert scorer._loaded.forward.way == "shared"


def test_a_scorer_is_made_and_known_without_torch():
    code = (
        "import sys; from winnow import scoring\n"
        "scoring.versions({'reward_model/a': {'model': 'org/name'}})\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_another_model_means_another_version(made, tmp_path):
    shutil.copytree(made["llama"], tmp_path / "m")
    config = {"reward_model/a": {"model": str(tmp_path / "m")}, "exact_answer": {}}
    before = scoring.versions(config)
    (tmp_path / "m" / "config.json").touch()
    assert scoring.versions(config) == before
    save(tmp_path / "m", "llama", seed=5)
    after = scoring.versions(config)
    assert after["reward_model/a"] != before["reward_model/a"]
    assert after["exact_answer"] == before["exact_answer"]
    revisions = [scoring.versions({"reward_model": {"model": f"org/name@{r}"}}) for r in ("main", "v2")]
    assert revisions[0] != revisions[1]
    faster = scoring.build("reward_model", {"model": "org/name", "batch_tokens": 64, "device": "cpu"})
    assert faster.identity == scoring.build("reward_model", {"model": "org/name"}).identity
    shutil.rmtree(tmp_path / "m")
    assert "scorer 'reward_model/a'" in refused(scoring.versions, config).where


def test_several_models_score_side_by_side(made, tmp_path):
    rows, shown = [], random.Random(0)
    with jsonl.writer(tmp_path / "prompts.jsonl") as write:
        for index in range(3):
            write({"id": f"p{index}", "messages": [{"role": "user", "content": "abc"}], "reference": "1"})
            for sample in range(2):
                text = "".join(shown.choices(LETTERS, k=6)).strip()
                rows.append({"id": f"p{index}/{sample}", "prompt_id": f"p{index}", "text": text})
    rows[3]["finish_reason"] = "failed"
    with jsonl.writer(tmp_path / "completions.jsonl") as write:
        for row in rows:
            write(row)
    models = {"reward_model/a": made["llama"], "reward_model/b": made["gpt2"]}
    built = [scoring.build(name, {"model": str(model)}) for name, model in models.items()]
    found = list(scored(tmp_path / "completions.jsonl", [tmp_path / "prompts.jsonl"], built))
    prompt = Prompt("p", [{"role": "user", "content": "abc"}])
    for name, model in models.items():
        expected = direct(model, [Item(row["id"], prompt, row["text"], row) for row in rows])
        got = [row["scores"][name]["value"] for row in found]
        assert got.pop(3) is None
        assert got == pytest.approx([*expected[:3], *expected[4:]], abs=CLOSE)
    assert found[3]["scores"]["reward_model/b"]["detail"].startswith("not generated")
    assert built[0]._loaded is None


def test_the_reference_is_scored_as_a_completion_of_its_prompt(made, tmp_path):
    with (
        jsonl.writer(tmp_path / "prompts.jsonl") as write,
        jsonl.writer(tmp_path / "completions.jsonl") as add,
    ):
        for index, reference in enumerate(("abba", None)):
            asked = [{"role": "user", "content": "abc"}]
            write({"id": f"p{index}", "messages": asked, **({"reference": reference} if reference else {})})
            for sample in range(2):
                add({"id": f"p{index}/{sample}", "prompt_id": f"p{index}", "text": "ab"[: sample + 1]})
    built = [
        scoring.build("reward_model", {"model": str(made["llama"]), "score_references": True}),
        scoring.build("length"),
    ]
    found = list(scored(tmp_path / "completions.jsonl", [tmp_path / "prompts.jsonl"], built))
    prompt = Prompt("p", [{"role": "user", "content": "abc"}])
    expected = direct(made["llama"], [Item(text, prompt, text, {}) for text in ("abba", "a", "ab")])
    for row in found[:2]:
        assert row["reference_scores"]["reward_model"] == pytest.approx(expected[0], abs=CLOSE)
        assert row["reference_scores"]["length"] is None
    assert all("reference_scores" not in row for row in found[2:])
    got = [row["scores"]["reward_model"]["value"] for row in found]
    assert got == pytest.approx(expected[1:] * 2, abs=CLOSE)
