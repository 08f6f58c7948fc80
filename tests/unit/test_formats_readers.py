"""The libraries that the files are for read them: `datasets`, TRL's trainers, LLaMA-Factory."""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from pathlib import Path

import pytest
from format_samples import NAMES, PROMPTS, selected

from winnow import formats
from winnow.formats import dataset_info, files
from winnow.formats.sources import grouped, source

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples/arithmetic/models/policy-step-460"
LISTED = ["messages", "sharegpt", "sharegpt_preference"]
pytestmark = pytest.mark.slow


def written(folder, name, members):
    fmt = formats.find(name)
    path = folder / fmt.filename
    files.write(path, fmt, (unit for unit, _ in grouped(fmt.takes, members)))
    return path


def loaded(path, **options):
    from datasets import load_dataset

    kind = "parquet" if path.suffix == ".parquet" else "json"
    return load_dataset(
        kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"), **options
    )


@pytest.mark.parametrize("name", NAMES)
def test_datasets_reads_every_file(name, tmp_path):
    path = written(tmp_path, name, selected())
    rows = [row for _, row in files.rows(path)]
    assert loaded(path).to_list() == rows
    assert list(loaded(path, streaming=True)) == rows


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL)


def pairs_in_words():
    members = selected()
    prompts = [
        type(prompt)(prompt.id, [{"role": "user", "content": f"What is {i}+{i}?"}], reference=str(2 * i))
        for i, prompt in enumerate(PROMPTS)
    ]
    texts = [f"<think>{i}</think><answer>{2 * i}</answer>" for i in range(len(members))]
    return [
        source(each.row | {"text": text}, prompts[int(each.prompt.id[1:])])
        for each, text in zip(members, texts, strict=True)
    ]


@pytest.mark.parametrize("name", ["messages", "prompt_completion", "vespo"])
def test_sft_trainer_reads_what_was_written(name, tmp_path, tokenizer):
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    members = pairs_in_words()
    rows = loaded(written(tmp_path, name, members))
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(MODEL),
        processing_class=tokenizer,
        args=SFTConfig(output_dir=str(tmp_path / "out"), report_to="none", use_cpu=True, max_length=None),
        train_dataset=rows,
    )
    texts = [tokenizer.decode(row["input_ids"]).replace(" ", "") for row in trainer.train_dataset]
    assert len(texts) == 3
    for text, each in zip(texts, members[::2], strict=True):
        for part in (each.prompt.messages[0]["content"], each.row["text"]):
            assert part.replace(" ", "") in text


@pytest.mark.parametrize("name", ["preference", "open_instruct"])
def test_dpo_trainer_reads_pairs(name, tmp_path, tokenizer):
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    members = pairs_in_words()
    rows = loaded(written(tmp_path, name, members))
    kept = rows.select_columns([key for key in ("prompt", "chosen", "rejected") if key in rows.column_names])
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(MODEL),
        processing_class=tokenizer,
        args=DPOConfig(output_dir=str(tmp_path / "out"), report_to="none", use_cpu=True, max_length=None),
        train_dataset=kept,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    assert {key for key in batch if "ids" in key}
    row = trainer.train_dataset[0]
    for side, each in (("chosen", members[0]), ("rejected", members[1])):
        text = tokenizer.decode(row[f"{side}_ids"] if f"{side}_ids" in row else row[f"{side}_input_ids"])
        assert each.row["text"] in text.replace(" ", "")


@pytest.fixture
def llama_factory():
    """LLaMA-Factory's own parser, converter and loader; its requirements forbid to install it beside ours."""
    source = os.environ.get("LLAMAFACTORY_SOURCE") or ROOT / ".llamafactory"
    if not Path(source, "llamafactory").is_dir():
        reason = f"no llamafactory in {source}: make llamafactory, or set LLAMAFACTORY_SOURCE"
        (pytest.fail if os.getenv("CI") else pytest.skip)(reason)
    for name in ("llamafactory", "llamafactory.data"):
        # Not its __init__: that imports the trainers.
        package = types.ModuleType(name)
        package.__path__ = [str(Path(source, *name.split(".")))]
        sys.modules[name] = package
    yield [importlib.import_module(f"llamafactory.data.{part}") for part in ("parser", "converter", "loader")]
    for name in [name for name in sys.modules if name.split(".")[0] == "llamafactory"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", LISTED)
def test_llama_factory_converts_every_row(name, tmp_path, llama_factory):
    parser, converters, _ = llama_factory
    shows = name != "messages"
    members = selected() if shows else pairs_in_words()
    path = written(tmp_path, name, members)
    dataset_info.write(tmp_path, {path.name: shows})
    [attributes] = parser.get_dataset_list([path.stem], str(tmp_path))
    arguments = types.SimpleNamespace(media_dir=str(tmp_path))
    convert = converters.get_dataset_converter("sharegpt", attributes, arguments)
    for i, row in enumerate(json.loads(json.dumps([row for _, row in files.rows(path)]))):
        found = convert(row)
        asked = found["_prompt"][0]["content"]
        assert asked == (f"<image><image>{i} + {i}?" if shows else f"What is {i}+{i}?")
        answers = [each["content"] for each in found["_response"]]
        kept = members[2 * i : 2 * i + 1 + ("preference" in name)]
        assert answers == [each.row["text"] for each in kept]
        assert found["_images"] == ([f"a{i}.png", f"b{i}.png"] if shows else None)


@pytest.mark.parametrize("name", LISTED)
def test_llama_factory_loads_the_file_with_its_images(name, tmp_path, llama_factory):
    parser, _, loader = llama_factory
    shows = name != "messages"
    members = selected() if shows else pairs_in_words()
    path = written(tmp_path, name, members)
    dataset_info.write(tmp_path, {path.name: shows})
    for i in range(len(PROMPTS) * shows):
        for letter in "ab":
            (tmp_path / f"{letter}{i}.png").touch()
    [attributes] = parser.get_dataset_list([path.stem], str(tmp_path))
    rows = loader._load_single_dataset(
        attributes,
        types.SimpleNamespace(cache_dir=str(tmp_path / "cache"), hf_hub_token=None),
        types.SimpleNamespace(
            dataset_dir=str(tmp_path), media_dir=str(tmp_path), streaming=False, max_samples=None,
            preprocessing_num_workers=None, overwrite_cache=True,
        ),
        types.SimpleNamespace(local_process_index=0),
    )  # fmt: skip
    assert len(rows) == len(PROMPTS)
    for i, row in enumerate(rows):
        shown = [str(tmp_path / f"{letter}{i}.png") for letter in "ab"] if shows else None
        assert row["_images"] == shown
        assert row["_response"][0] == {"role": "assistant", "content": members[2 * i].row["text"]}
        assert len(row["_response"]) == 1 + ("preference" in name)


KEYS = {"file_name", "formatting", "ranking", "columns", "tags"}
COLUMNS = {"messages", "system", "tools", "images", "chosen", "rejected"}
ROLES = ("role", "content", "user", "assistant", "observation", "function", "system")
TAGS = {f"{each}_tag" for each in ROLES}


@pytest.mark.parametrize("name", LISTED)
def test_dataset_info_has_the_documented_keys(name, tmp_path):
    """As LLaMA-Factory's data/README.md lists them; every column that is named is in the rows."""
    path = written(tmp_path, name, selected())
    dataset_info.write(tmp_path, {path.name: name != "messages"})
    [entry] = json.loads((tmp_path / dataset_info.FILENAME).read_text()).values()
    assert entry.keys() <= KEYS
    assert entry["formatting"] == "sharegpt"
    assert entry["columns"].keys() <= COLUMNS
    assert entry.get("tags", {}).keys() in (set(), TAGS)
    [*_, (_, row)] = files.rows(path)
    assert set(entry["columns"].values()) <= row.keys()
    tags = entry.get("tags", {"role_tag": "from", "content_tag": "value"})
    turns = row[entry["columns"]["messages"]]
    assert all(turn.keys() == {tags["role_tag"], tags["content_tag"]} for turn in turns)


def test_an_empty_selection_is_a_whole_file(tmp_path):
    for name in NAMES:
        path = written(tmp_path, name, [])
        assert [row for _, row in files.rows(path)] == []
