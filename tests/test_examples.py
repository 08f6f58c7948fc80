"""The shipped examples: small enough, loadable, disjoint; and the README's links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).parents[1]
ARITHMETIC = ROOT / "examples" / "arithmetic"
MODELS = sorted((ARITHMETIC / "models").iterdir())


def test_the_models_are_together_under_8_mb() -> None:
    assert len(MODELS) == 4
    assert sum(f.stat().st_size for f in (ARITHMETIC / "models").rglob("*") if f.is_file()) < 8_000_000


def test_models_and_chat_template_load_as_any_other() -> None:
    for directory in MODELS:
        tokenizer = AutoTokenizer.from_pretrained(directory)
        model = AutoModelForCausalLM.from_pretrained(directory)
        assert model.config.vocab_size >= len(tokenizer)
        text = "<think>1+2=3</think><answer>3</answer>"
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        for tag in ("<think>", "</think>", "<answer>", "</answer>"):
            assert len(tokenizer.encode(tag, add_special_tokens=False)) == 1
        prompt = [{"role": "user", "content": "What is 1+2?"}]
        answered = [*prompt, {"role": "assistant", "content": text}]
        asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        assert tokenizer.apply_chat_template(answered, tokenize=False).startswith(asked)


def test_training_and_held_out_prompts_are_disjoint() -> None:
    train, heldout = (
        [orjson.loads(line) for line in (ARITHMETIC / "data" / name).read_bytes().splitlines()]
        for name in ("train.jsonl", "heldout.jsonl")
    )
    assert (len(train), len(heldout)) == (2000, 400)
    assert not {row["problem"] for row in train} & {row["problem"] for row in heldout}
    assert len({row["id"] for row in train + heldout}) == 2400
    assert all(eval(row["problem"]) == int(row["answer"]) for row in train + heldout)


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")):
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document}: {target}"


def test_what_stands_for_other_systems_flags_is_there() -> None:
    text = (ROOT / "docs" / "from-other-systems.md").read_text()
    keys = set(re.findall(r"^\| `([^`]+)`", (ROOT / "config" / "README.md").read_text(), re.MULTILINE))
    keys |= {key.replace("<split>", "train") for key in keys} | {"models.policy.<step>"}
    sections = {key.split(".")[0].removesuffix("[]") for key in keys if "." in key}
    programs = "".join(path.read_text() for path in ROOT.glob("scripts/*.py"))
    programs += "".join(path.read_text() for path in ROOT.glob("winnow/**/*flags.py"))
    ours = [line.split("|", 2)[2] for line in text.splitlines() if line.startswith("| ")]
    found = 0
    for cell in ours:
        for key in re.findall(r"`([a-z]+(?:\[\])?\.[a-z_.<>]+)(?=[`:])", cell):
            if key.split(".")[0].removesuffix("[]") in sections:
                assert key in keys, key
                found += 1
        for flag in re.findall(r"(--[a-z_]+)", cell):
            assert f'"{flag}"' in programs, flag
            found += 1
    assert found > 70
