"""The data card: every figure in it is the run's, and text of others stays text."""

from __future__ import annotations

import re
from unicodedata import category

import finished_run
import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from winnow import formats
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.publishing.contents import contents
from winnow.publishing.front_matter import size_category
from winnow.publishing.markup import fenced, plain, table
from winnow.publishing.recipe import options
from winnow.publishing.run_files import read_run

POLICY, MIXED = Arm("460", "policy", 4), Arm("460", "kl_symmetry", 4)
READER = MarkdownIt("gfm-like", {"linkify": False})


@pytest.fixture
def run(tmp_path):
    found = finished_run.FinishedRun(tmp_path)
    found.add_arm(POLICY)
    return found


def published(run, *arms, license_name="apache-2.0"):
    found = contents(read_run(run.results, arms or (POLICY,), ()), "someone/small", "main", license_name)
    return {file.path: file.source for file in found}


def read_card(files):
    _, front, text = files["README.md"].decode().split("---\n", 2)
    return yaml.safe_load(front), text


def cells(text, heading):
    """The cells of the tables below a heading, as a reader of Markdown sees them."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [shown_text(t) for t in READER.parse(section) if t.type == "inline" and t.level >= 4]


def shown_text(token):
    return "".join(child.content for child in token.children)


def test_the_front_matter_of_an_arm(run):
    front, _ = read_card(published(run))
    assert front == {
        "pretty_name": "small",
        "license": "apache-2.0",
        "size_categories": ["n<1K"],
        "tags": ["winnow", "synthetic", "rejection-sampling"],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": f"training_data/step-460/policy/n-4/{file}"}],
                **({"default": True} if name == "messages" else {}),
            }
            for name, file in zip(
                finished_run.FORMATS,
                ("messages.jsonl", "prompt_completion.jsonl", "sharegpt.json"),
                strict=True,
            )
        ],
    }
    assert "license" not in read_card(published(run, license_name=None))[0]


def test_the_front_matter_of_several_arms(run):
    run.add_arm(MIXED)
    front, text = read_card(published(run, MIXED, POLICY))
    names = [config["config_name"] for config in front["configs"]]
    assert names[0] == "step-460-kl_symmetry-n-4-messages" and len(set(names)) == 6
    assert not any(config.get("default") for config in front["configs"])
    assert "load_dataset('someone/small', 'step-460-kl_symmetry-n-4-messages'" in text


def test_the_hub_and_datasets_read_the_front_matter(run):
    from huggingface_hub import DatasetCard

    datasets = pytest.importorskip("datasets.utils.metadata")
    data = DatasetCard(published(run)["README.md"].decode()).data
    assert data.license == "apache-2.0" and data.pretty_name == "small"
    configs = datasets.MetadataConfigs.from_dataset_card_data(data)
    assert list(configs) == list(finished_run.FORMATS) and configs.get_default_config_name() == "messages"


def test_the_figures_are_those_of_the_files(run):
    files = published(run)
    _, text = read_card(files)
    shown = cells(text, "Arms")
    assert shown[:18] == [
        "step", "alpha", "n", "prompts", "completions", "passed", "eligible", "yield", "accepted",
        "460", "policy", "4", "12", "48", "12", "6", "12.5%", "6",
    ]  # fmt: skip
    shown = cells(text, "What became of every completion")
    assert shown[3:] == [
        "accepted",
        "correct",
        "6",
        "rejected",
        "did not pass",
        "42",
        "total",
        "12 prompts × 4",
        "48",
    ]
    shown = cells(text, "Files")
    from winnow.manifest import file_hash

    for path in (run.results / "training_data").rglob("*.json*"):
        at = shown.index(str(path.relative_to(run.results)))
        assert shown[at + 1 : at + 4] == ["6", f"{path.stat().st_size:,}", file_hash(path)]
    for text_of_run in (finished_run.POLICY, "c" * 64, "Seed of drawing: 17; of the selection: 3.", "d" * 64):
        assert text_of_run in text
    assert "--max_error 0.75" in text and "--temperature 0.8" in text
    assert finished_run.TEACHER not in text


def test_facts_for_programs(run):
    facts = orjson.loads(published(run)["winnow.json"])
    (arm,) = facts["arms"]
    assert arm["statistics"]["accepted"] == 6 and arm["models"] == [finished_run.POLICY]
    assert [file["configuration"] for file in arm["files"]] == list(finished_run.FORMATS)
    assert facts["commands"]["prompts"].startswith("scripts/prompts.py --dataset train.jsonl")
    assert facts["models"][0]["name"] == "policy-460"


def test_the_same_run_gives_the_same_files_and_tells_nothing_of_the_machine(run):
    files = published(run)
    assert files == published(run)
    for name in ("README.md", "winnow.json"):
        assert not re.search(rb"/home|/opt|node7|trap", files[name])


def test_without_records_nothing_is_claimed(tmp_path):
    run = finished_run.FinishedRun(tmp_path, records=False)
    run.add_arm(POLICY)
    _, text = read_card(published(run, license_name=None))
    assert text.count("is no record of the commands") == 3
    assert not re.search("[Ss]eed|scored again|server", text)
    assert "Its publisher named none." in text


def test_a_served_arm_says_so(run):
    block = run.results / "completions/train/step-460/policy/00000-of-00001.block-0.jsonl"
    run.record(block, "generate", "generate.py", "--seed=17 --backend=vllm")
    _, text = read_card(published(run))
    assert "the server does not promise the same tokens" in text and "give the same completions" not in text


def test_images_are_told(run):
    path = run.results / "training_data/step-460/policy/n-4/messages.jsonl"
    rows = [{**orjson.loads(line), "images": ["0.png"]} for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    text = read_card(published(run))[1]
    assert "The rows name 1 images. The images themselves were not published with them" in text
    assert cells(text, "Images") == ["configuration", "rows with images", "messages", "6"]


def test_options_without_secrets_and_folders(run):
    shard = run.results / "prompts/train/00000-of-00001.jsonl"
    scorer = (
        '{"api_key": "sk-1", "model": "/srv/judge", "max_tokens": 5, "base": "a/b", "base_url": "http://n7"}'
    )
    run.record(shard, "score", "score.py", f"--scorers 'judge={scorer}' --attempts /tmp/x")
    found = options(read_run(run.results, (POLICY,), ()).prompts)
    assert found == {
        "scorers": (
            'judge={"api_key": "…", "model": "judge", "max_tokens": 5, "base": "a/b", "base_url": "…"}',
        )
    }


def test_paths_that_datasets_would_take_for_patterns(tmp_path):
    run = finished_run.FinishedRun(tmp_path)
    run.add_arm(Arm("[46]0", "policy", 4))
    with pytest.raises(UserError, match="marks that mean something in a pattern"):
        published(run, Arm("[46]0", "policy", 4))


def test_two_formats_of_one_name(run, monkeypatch):
    class Twin:
        filename = "messages.json"  # without a name, as a user's own

    both = [formats.find("messages"), Twin()]
    folder = run.results / "training_data/step-460/policy/n-4"
    rows = [orjson.loads(line) for line in (folder / "messages.jsonl").read_bytes().splitlines()]
    (folder / "messages.json").write_bytes(b"[\n" + b",\n".join(map(orjson.dumps, rows)) + b"\n]\n")
    Twin.from_row = both[0].from_row
    monkeypatch.setattr("winnow.formats.find_all", lambda names: both)
    with pytest.raises(UserError, match="two files for the configuration 'messages'"):
        published(run)


@pytest.mark.parametrize(
    "rows, name",
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "n>1B"), (10**12, "n>1T")],
)
def test_sizes(rows, name):
    assert size_category(rows) == name


NASTY = (
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "| a | b |", "```\n# h", "&lt;b&gt;", "1. a",
    "- a", "# a", "a\n---\nb", "www.example.com http://a.b", "*a* _b_ ~~c~~ `d` $e$", "![i](j)", "\\",
    "&#x41;", "123) x",
)  # fmt: skip
HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(NASTY)


def one_line(text):
    """Text without control characters and line breaks."""
    return " ".join("".join(" " if category(c) in ("Cc", "Zl", "Zp") else c for c in text).split())


@given(HOSTILE)
def test_plain_text_shows_as_it_is(text):
    shown = [t for t in READER.parse(plain(text)) if t.type != "inline"]
    inline = [t for t in READER.parse(plain(text)) if t.type == "inline"]
    assert {t.type for t in shown} <= {"paragraph_open", "paragraph_close"}
    assert "".join(child.content for t in inline for child in t.children) == one_line(text)
    assert all(child.type in ("text", "text_special") for t in inline for child in t.children)


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=4))
def test_a_table_keeps_its_cells(rows):
    tokens = READER.parse(table(("a", "b"), rows))
    shown = [shown_text(t) for t in tokens if t.type == "inline"]
    assert shown == ["a", "b", *(one_line(cell) for row in rows for cell in row)]
    assert not [t for t in tokens if t.type in ("html_block", "html_inline", "link_open")]


@given(HOSTILE)
def test_a_fence_cannot_be_closed_from_within(text):
    tokens = READER.parse(fenced(text, "bash") + "\n\nafter")
    assert [t.type for t in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]


@given(HOSTILE)
def test_names_in_the_front_matter_read_back(text):
    from winnow.publishing.front_matter import as_yaml

    written = as_yaml({"pretty_name": text, "tags": [text]})
    assert yaml.safe_load(written.removeprefix("---\n").removesuffix("---\n")) == {
        "pretty_name": text,
        "tags": [text],
    }
    assert written.count("\n---\n") == 1
