"""Training-data formats: what every row holds, and that it reads back."""

from __future__ import annotations

import json
from operator import attrgetter

import pytest
from format_samples import NAMES, units_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winnow import formats, jsonl
from winnow.errors import UserError
from winnow.formats import files
from winnow.formats.format import Answered, Conversation, Origin, Pair, differing
from winnow.scoring.choice import Choice


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_round_trip(name, data, tmp_path_factory):
    fmt = formats.find(name)
    units = data.draw(st.lists(units_of(fmt, name), max_size=3))
    path = tmp_path_factory.mktemp("formats") / fmt.filename
    files.write(path, fmt, units)
    found = list(files.read(path, fmt))
    assert len(found) == len(units)
    for one, other in zip(found, units, strict=True):
        for attribute in fmt.holds:
            assert attrgetter(attribute)(one) == attrgetter(attribute)(other), attribute
    rows = [row for _, row in files.rows(path)]
    assert rows == [files.row_of(fmt, unit, "here") for unit in units]
    if path.suffix == ".json":
        assert json.loads(path.read_text(encoding="utf-8")) == rows
    elif path.suffix == ".jsonl":
        assert list(jsonl.rows(path)) == rows


ASKED = [{"role": "system", "content": "s"}, {"role": "user", "content": "<image>\n<image>q"}]
TEXT = "<think>b</think><answer>Image 1 is better</answer>"
FIELDS = {"prompt": "a cat", "path1": "1.png", "path2": "0.png", "confidence": 0.9}
SHOWN = ["1.png", "0.png"]
ORIGIN = Origin(
    index=7,
    prompt_id="p",
    reference="r",
    metadata=FIELDS,
    scores={"rm": 1.5},
    reference_scores={"rm": 2.5},
    diagnostics={"alpha_mean": 0.5, "alpha_std": 0.1, "tokens": 3},
)
TALK = Conversation(ASKED, TEXT, SHOWN, ORIGIN)
OTHER = Conversation(ASKED, "x", SHOWN, Origin(reference="r", scores={"rm": -1.0}))
PAIR = Pair(TALK, OTHER)


def said(text):
    return {"role": "assistant", "content": text}


TURNS = [{"from": "system", "value": "s"}, {"from": "human", "value": "<image>\n<image>q"}]
SHAPES = {
    "messages": (TALK, {"messages": [*ASKED, said(TEXT)], "images": SHOWN}),
    "prompt_completion": (TALK, {"prompt": ASKED, "completion": [said(TEXT)], "images": SHOWN}),
    "preference": (
        PAIR,
        {"prompt": ASKED, "chosen": [said(TEXT)], "rejected": [said("x")], "images": SHOWN},
    ),
    "sharegpt": (TALK, {"conversations": [*TURNS, {"from": "gpt", "value": TEXT}], "images": SHOWN}),
    "sharegpt_preference": (
        PAIR,
        {
            "conversations": TURNS,
            "chosen": {"from": "gpt", "value": TEXT},
            "rejected": {"from": "gpt", "value": "x"},
            "images": SHOWN,
        },
    ),
    "parquet": (
        Answered(ASKED, [TEXT, "x"], SHOWN, ORIGIN),
        {
            "data_source": "winnow",
            "prompt": ASKED,
            "images": [{"image": "1.png"}, {"image": "0.png"}],
            "ability": "general",
            "reward_model": {"style": "rule", "ground_truth": "r"},
            "extra_info": {"index": 7, "id": "p"},
            "responses": [TEXT, "x"],
        },
    ),
    "agiqa": (
        Answered(ASKED, [TEXT], SHOWN, Origin(metadata={"problem": "<image>q", "answer": 3.25})),
        {"problem": "<image>q", "answer": 3.25, "images": SHOWN},
    ),
    "lightrft": (
        TALK,
        {
            "conversations": [
                {"from": "system", "value": "s"},
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "<think>\nb\n</think>\n<answer>Image 1 is better</answer>"},
            ],
            "images": SHOWN,
        },
    ),
    "lightrft_samples": (
        TALK,
        {
            "prompt": "a cat",
            "path1": "1.png",
            "path2": "0.png",
            "preference": "A",
            "generated_text": TEXT,
            "predicted_answer": "Image 1 is better",
            "reasoning": "b",
            "confidence": 0.9,
        },
    ),
    "vespo": (
        TALK,
        {"messages": [*ASKED, said(TEXT)], "sample_idx": 7, "id": "p", "images": SHOWN, **FIELDS},
    ),
    "vespo_diagnostics": (
        TALK,
        {
            "sample_idx": 7,
            "alpha_mean": 0.5,
            "alpha_std": 0.1,
            "ess_ratio_mean": None,
            "ess_ratio_std": None,
            "kl_theta_mean": None,
            "kl_t_mean": None,
        },
    ),
    "open_instruct": (
        PAIR,
        {
            "chosen": [*ASKED, said(TEXT)],
            "rejected": [*ASKED, said("x")],
            "reference_completion": "r",
            "reference_completion_score": {"rm": 2.5},
            "chosen_score": {"rm": 1.5},
            "rejected_score": {"rm": -1.0},
            "images": SHOWN,
        },
    ),
    "open_instruct_completions": (
        TALK,
        {
            "messages": [*ASKED, said(TEXT)],
            "model_completion": TEXT,
            "reference_completion": "r",
            "images": SHOWN,
        },
    ),
    "open_instruct_scores": (
        TALK,
        {
            "messages": [*ASKED, said(TEXT)],
            "model_completion": TEXT,
            "reference_completion": "r",
            "images": SHOWN,
            "score": {"rm": 1.5},
        },
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_shapes_that_trainers_know(name):
    unit, row = SHAPES[name]
    found = formats.find(name).to_row(unit)
    assert found == row
    assert list(found) == list(row)


def test_a_file_for_each_format():
    assert {name: formats.find(name).filename for name in NAMES} == {
        "messages": "messages.jsonl",
        "prompt_completion": "prompt_completion.jsonl",
        "preference": "preference.jsonl",
        "sharegpt": "sharegpt.json",
        "sharegpt_preference": "sharegpt_preference.json",
        "parquet": "train.parquet",
        "agiqa": "filtered_dataset.jsonl",
        "lightrft": "rejection_sampling_train.json",
        "lightrft_samples": "filtered_samples.json",
        "vespo": "vespo.jsonl",
        "vespo_diagnostics": "vespo.diagnostics.jsonl",
        "open_instruct": "rejected_sampling_completions.jsonl",
        "open_instruct_completions": "completions.jsonl",
        "open_instruct_scores": "completion_scores.jsonl",
    }
    beside = ["filtered_samples.json", "sharegpt.json", "filtered_samples_stats.txt", "dataset_info.json"]
    assert formats.filenames(["lightrft_samples", "sharegpt"]) == beside
    assert formats.filenames(["vespo"]) == ["vespo.jsonl"]


def test_unknown_formats_are_named():
    with pytest.raises(UserError, match="did you mean 'sharegpt'"):
        formats.find("share_gpt")


def test_images_without_a_place_stand_where_the_model_saw_them():
    asked = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    row = formats.find("sharegpt").to_row(Conversation(asked, "d", ["0.png", "1.png"]))
    assert [turn["value"] for turn in row["conversations"]] == ["a", "b", "<image><image>c", "d"]
    assert formats.find("messages").to_row(Conversation(asked, "d", ["0.png"]))["messages"][2] == asked[2]


@pytest.mark.parametrize(
    ("completion", "reasoning", "answer"),
    [
        ("<think> a\n</think>\n<answer> x </answer>", "a", "x"),
        ("I see it.\n<answer>x</answer>", "I see it.", "x"),
        ("<answer>x</answer>", None, "x"),
        ("<think></think><answer>x</answer>", None, "x"),
        ("<think>a <answer>y</answer></think><answer>x</answer>", "a <answer>y</answer>", "x"),
        ("<think>a<answer>x</answer>", "a", "x"),
        ("<think>a</think>", "a", None),
        ("a<answer>x", "a<answer>x", None),
    ],
)
def test_reasoning_and_answer(completion, reasoning, answer):
    talk = Conversation([], completion)
    assert (talk.reasoning, talk.answer) == (reasoning, answer)


def test_lightrft_invents_no_reasoning():
    row = formats.find("lightrft").to_row(Conversation([], "<answer>Image 2 is better</answer>"))
    assert row == {"conversations": [{"from": "gpt", "value": "<answer>Image 2 is better</answer>"}]}


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        ("Image 1 is better", "Image 1 is better"),
        ("image 1 is better.", "Image 1 is better"),
        (" IMAGE 2\n is better ", "Image 2 is better"),
        ("**Image 2 is better**, by far", "Image 2 is better"),
        (r"\boxed{Image 1 is better}", "Image 1 is better"),
        ("Image 1 is better than Image 2", "Image 1 is better"),
        ("Image 1 is better, or Image 2 is better", "Image 1 is better, or Image 2 is better"),
        ("image 12 is better", "image 12 is better"),
        (r"Image 2 is better? No: \boxed{\text{Image 1 is better}}", "Image 1 is better"),
        ("subimage 1 is better", "subimage 1 is better"),
        ("image 1 is better² ", "image 1 is better²"),
        ("_Image 1 is better_", "Image 1 is better"),
        ("3.5", "3.5"),
    ],
)
def test_lightrft_writes_the_choice_in_its_own_words(answer, written):
    thought = "image 2 is better. Or is Image 1 is better right"
    talk = Conversation([], f"<think>{thought}</think>\n<answer>{answer}</answer>")
    fmt = formats.find("lightrft")
    row = fmt.to_row(talk)
    wanted = f"<think>\n{thought}\n</think>\n<answer>{written}</answer>"
    assert row == {"conversations": [{"from": "gpt", "value": wanted}]}
    read = Choice().score(f"<answer>{answer}</answer>", "Image 1 is better")
    assert written == (answer.strip() if read.value is None else read.detail)
    # It reads back as what it was made of, and as no other choice.
    assert differing(fmt, fmt.from_row(row), talk) is None
    other = Conversation([], f"<think>{thought}</think>\n<answer>Image 1 is worse</answer>")
    assert differing(fmt, fmt.from_row(row), other) == "another choice"


def test_samples_keep_the_models_own_text_beside_the_choice():
    row = formats.find("lightrft_samples").to_row(judged("image 1 is better."))
    assert row["predicted_answer"] == "Image 1 is better"
    assert row["generated_text"] == "<answer>image 1 is better.</answer>"


def judged(answer="Image 1 is better", images=None, **fields):
    return Conversation(
        [], f"<answer>{answer}</answer>", images or SHOWN, Origin(0, "p7", None, {**FIELDS, **fields})
    )


@pytest.mark.parametrize("name", ["lightrft", "lightrft_samples"])
@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (judged("Image 2 is better"), "the answer is B, where the preferred image, 1.png, was shown first"),
        (judged("image 2  is better."), "the answer is B, where the preferred image, 1.png, was shown first"),
        (judged("Image 2 is better, by far"), "the answer is B, where the preferred image, 1.png, was shown"),
        (judged(images=SHOWN[::-1]), "the answer is A, where the preferred image, 1.png, was shown second"),
        (judged(preference="B"), "the data set's preference is B"),
        (judged(images=["1.png", "2.png"]), "the images"),
        (Conversation([], "no tags", SHOWN, Origin(0, "p7", None, FIELDS)), "no <answer> in 'no tags'"),
    ],
)
def test_labels_that_contradict_the_order_of_the_images(name, talk, words):
    with pytest.raises(UserError) as error:
        formats.find(name).to_row(talk)
    assert "p7" in str(error.value)
    assert words in error.value.found


def test_samples_of_other_data_sets():
    fmt = formats.find("lightrft_samples")
    with pytest.raises(UserError, match="no field 'path1'"):
        fmt.to_row(Conversation([], "<answer>x</answer>", SHOWN, Origin(metadata={"prompt": "a"})))
    with pytest.raises(UserError, match="a field 'reasoning'"):
        fmt.to_row(judged(reasoning="b"))


def test_vespo_keeps_every_field_and_refuses_one_of_its_own_name():
    fmt = formats.find("vespo")
    told = {"solution": "s", "id": 7, "images": [1], "messages": []}
    row = fmt.to_row(Conversation([], "a", None, Origin(2, "7", None, told)))
    assert row == {"messages": [said("a")], "sample_idx": 2, "id": "7", "solution": "s"}
    with pytest.raises(UserError, match="sample_idx"):
        fmt.to_row(Conversation([], "a", None, Origin(metadata={"sample_idx": 1})))
