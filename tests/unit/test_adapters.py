"""The adapters for data sets of their own: deepscaler, hpdv3, agiqa; parts of messages; options."""

from __future__ import annotations

import base64
import io

import orjson
import pytest
from PIL import Image

from winnow.adapters import adapter, code, takes
from winnow.adapters.hpdv3 import WITH_COT, WITHOUT_COT, preferred_first
from winnow.errors import UserError
from winnow.prompting import PromptTemplates, read_prompts

PAIR = {
    "path1": "good.png",
    "path2": "bad.png",
    "prompt": "a cat",
    "confidence": 0.9,
    "choice_dist": [9, 1],
    "model1": "x",
    "model2": "y",
}


def png(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def prompts(name, *rows, templates=PromptTemplates(), image_root=None, **options):  # noqa: B008 (frozen)
    numbered = [(f"d.json, row {number}", row) for number, row in enumerate(rows)]
    read = adapter(name, options=options, seed=5, image_root=image_root)
    return list(read_prompts(numbered, read, templates, image_root))


def refused(call, *arguments, **options) -> UserError:
    with pytest.raises(UserError) as error:
        call(*arguments, **options)
    assert error.value.expected
    assert error.value.mend
    return error.value


def test_deepscaler_takes_the_answer_and_keeps_the_solution():
    row = {"problem": "1+1", "answer": "2", "solution": "\\boxed{2}"}
    [prompt] = prompts("deepscaler", row, templates=PromptTemplates(teacher="{{ prompt }} = {{ reference }}"))
    assert prompt.messages == [{"role": "user", "content": "1+1"}]
    assert prompt.teacher_messages == [{"role": "user", "content": "1+1 = 2"}]
    assert (prompt.reference, prompt.metadata) == ("2", row)
    [again] = prompts("deepscaler", row, templates=PromptTemplates("Problem: {{ prompt }}"))
    assert again.id == prompt.id
    assert len({p.id for p in prompts("deepscaler", row, row | {"answer": "3"}, row | {"id": "own"})}) == 3


@pytest.mark.parametrize("row", [{"problem": "1+1"}, {"problem": "1+1", "answer": " "}, {"answer": "2"}])
def test_deepscaler_names_what_is_missing(row):
    error = refused(prompts, "deepscaler", row)
    assert error.where == "d.json, row 0"
    assert ("'answer'" if "problem" in row else "'problem'") in error.found


def test_pairs_are_shown_in_the_order_of_which_the_answer_speaks():
    rows = [PAIR | {"prompt": f"cat {index}"} for index in range(400)]
    made = prompts("hpdv3", *rows)
    for row, prompt in zip(rows, made, strict=True):
        assert sorted(prompt.images) == ["bad.png", "good.png"]
        place = prompt.images.index("good.png")
        assert prompt.reference == f"Image {place + 1} is better"
        assert prompt.metadata == row | {"preference": "AB"[place]}
        [message] = prompt.messages
        assert message["content"].count("<image>") == 2
        assert row["prompt"] in message["content"]
        assert row["path1"] not in message["content"]
    first = sum(prompt.metadata["preference"] == "A" for prompt in made)
    assert abs(first - 200) < 60, "a fair draw: six standard deviations"


def test_the_order_depends_on_the_seed_and_the_id_alone():
    rows = [PAIR | {"prompt": f"cat {index}"} for index in range(64)]
    order = {prompt.id: prompt.images for prompt in prompts("hpdv3", *rows)}
    # Another order of rows, other fields, another question: the same pictures in the same places.
    again = prompts("hpdv3", *[r | {"confidence": 1} for r in reversed(rows)], use_cot=False)
    assert {prompt.id: prompt.images for prompt in again} == order
    assert {prompt.id: prompt.images for prompt in prompts("hpdv3", *rows, seed=6)} != order
    assert [preferred_first(17, f"row-{i}") for i in range(12)] == RECORDED


RECORDED = [True, False, True, True, True, True, True, True, True, False, False, True]
"""What was drawn once: another machine or version of Python draws the same."""


def test_with_and_without_reasoning_and_with_a_question_of_ones_own():
    [prompt] = prompts("hpdv3", PAIR)
    assert prompt.messages[0]["content"].endswith(WITH_COT)
    assert "<think>" in WITH_COT
    [prompt] = prompts(
        "hpdv3", PAIR, use_cot=False, task_instruction="{{ prompt }} by {{ model1 }}? {{ answer_form }}"
    )
    assert prompt.messages[0]["content"] == f"a cat by x? {WITHOUT_COT}"
    [prompt] = prompts("hpdv3", PAIR, task_instruction="{{ prompt }}?{% if use_cot %} Think.{% endif %}")
    assert prompt.messages[0]["content"] == "a cat? Think."
    error = refused(adapter, "hpdv3", options={"use_cot": False, "task_instruction": "{{ prompt }}? Think."})
    assert "{{ answer_form }}" in error.mend
    assert "<think>" not in WITHOUT_COT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path1": None}, "'path1'"),
        ({"path2": "good.png"}, "path1 and path2 are 'good.png'"),
        ({"prompt": " "}, "'prompt'"),
        ({"prompt": "<image>"}, "2 images, and 3 times <image>"),
    ],
)
def test_pairs_that_cannot_be_read(change, words):
    error = refused(prompts, "hpdv3", PAIR, PAIR | change)
    assert error.where.startswith("d.json, row 1")
    assert words in error.found


@pytest.mark.parametrize("score", [3.25, "3.25", " <answer> 3.25 </answer>"])
@pytest.mark.parametrize("image", ["a/b.png", ["a/b.png"], {"bytes": None, "path": "a/b.png"}])
def test_a_score_and_an_image(score, image):
    [prompt] = prompts("agiqa", {"images": image, "problem": "<image>How good?", "answer": score, "id": 7})
    assert (prompt.reference, prompt.images, prompt.id) == ("3.25", ["a/b.png"], "7")
    assert prompt.messages == [{"role": "user", "content": "<image>How good?"}]
    assert prompt.metadata == {"problem": "<image>How good?", "answer": score}


def test_bytes_are_written_once_and_found_again(tmp_path):
    def row(index, shade):
        return {"photo": {"bytes": png(shade), "path": "x"}, "question": f"{index}?", "mos": index}

    rows = [row(0, 1), row(1, 2), row(2, 1)]
    made = prompts("agiqa", *rows, image_field="photo", image_root=str(tmp_path))
    first, second, third = (prompt.images for prompt in made)
    assert first == third != second
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    assert (tmp_path / first[0]).read_bytes() == png(1)
    assert (tmp_path / first[0]).suffix == ".png"
    before = (tmp_path / first[0]).stat()
    assert prompts("agiqa", *rows, image_field="photo", image_root=str(tmp_path)) == made
    assert (tmp_path / first[0]).stat() == before
    # What an interrupted copy left is written again.
    (tmp_path / first[0]).write_bytes(b"")
    prompts("agiqa", *rows, image_field="photo", image_root=str(tmp_path))
    assert (tmp_path / first[0]).read_bytes() == png(1)


def test_the_other_adapters_write_images_too(tmp_path):
    row = {"images": [{"bytes": png(), "path": None}], "prompt": "q", "thumb": {"bytes": b"", "path": "t"}}
    [prompt] = prompts("auto", row, image_root=str(tmp_path))
    assert (tmp_path / prompt.images[0]).read_bytes() == png()
    assert prompt.metadata == {"prompt": "q"}


def test_bytes_do_not_leave_the_image_root(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "images-of-rows").symlink_to(elsewhere)
    row = {"image": {"bytes": png(), "path": "../../x.png"}, "problem": "q", "answer": 1}
    error = refused(prompts, "agiqa", row, image_root=str(root))
    assert error.where == "d.json, row 0"
    assert "leads out of" in error.found
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "good"}, "the score 'good'"),
        ({"answer": None}, "the score None"),
        ({"answer": True}, "the score True"),
        ({"answer": "nan"}, "the score 'nan'"),
        ({"image": None}, "0 images"),
        ({"image": ["a.png", "b.png"]}, "2 images"),
        ({"image": 3}, "the image 3"),
        ({"image": {"bytes": b"GARBAGE", "path": "x"}}, "no image"),
        ({"image": {"bytes": png()[:40], "path": "x"}}, "cut off"),
        ({"image": "gone.png"}, "'gone.png' is not in"),
        ({"image": "../a.png"}, "lies outside"),
        ({"problem": "<image> or <image>?"}, "1 images, and 2 times <image>"),
    ],
)
def test_rows_of_scores_that_cannot_be_read(tmp_path, change, words):
    (tmp_path / "a.png").write_bytes(png())
    row = {"image": "a.png", "problem": "How good?", "answer": "3"}
    error = refused(prompts, "agiqa", row, row | {"problem": "How bad?"} | change, image_root=str(tmp_path))
    assert error.where.startswith("d.json, row 1")
    assert words in error.found


def test_bytes_without_a_place_are_refused():
    row = {"image": {"bytes": png(), "path": None}, "problem": "q", "answer": 1}
    assert "image_root" in refused(prompts, "agiqa", row).expected


def test_parts_of_messages_become_text_and_images(tmp_path):
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "or ", "image_url": None},
        {"type": "image", "image": "b.png"},
        {"type": "text", "text": "?"},
    ]
    (tmp_path / "b.png").write_bytes(png(9))
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "the first"}]}
    [prompt] = prompts("messages", row, image_root=str(tmp_path))
    assert prompt.messages == [{"role": "user", "content": "<image>or <image>?"}]
    assert prompt.reference == "the first"
    assert (tmp_path / prompt.images[0]).read_bytes() == png()
    assert prompt.images[1] == "b.png"
    talk = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    [prompt] = prompts("auto", {"messages": talk, "images": ["b.png"]})
    assert (prompt.messages[0]["content"], prompt.images) == ("<image>?", ["b.png"])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "input_audio"}, "'input_audio'"),
        ("text", "'text'"),
        ({"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}, "https://x.org/a.png"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "file:///etc/passwd"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,*"}}, "data:image/png"),
    ],
)
def test_parts_that_cannot_be_read(part, words):
    error = refused(prompts, "messages", {"messages": [{"role": "user", "content": [part]}]})
    assert error.where == "d.json, row 0"
    assert words in error.found


@pytest.mark.parametrize("content", [None, 5, {"text": "q"}])
def test_content_that_is_no_text_is_named(content):
    asked = {"role": "user", "content": "q"}
    for talk in ([asked | {"content": content}], [asked, {"role": "assistant", "content": content}]):
        error = refused(prompts, "messages", {"messages": talk})
        assert error.where == "d.json, row 0"
        assert f"a message of {talk[-1]['role']!r} with the content" in error.found
    told = [{"type": "text", "text": "a"}]
    [prompt] = prompts("messages", {"messages": [asked, {"role": "assistant", "content": told}]})
    assert prompt.reference == "a"


def test_what_json_cannot_hold_is_named():
    error = refused(prompts, "auto", {"prompt": "q", "thumb": b"x"})
    assert error.where == "d.json, row 0"
    assert "'thumb' (bytes)" in error.found


def test_options_are_checked_before_a_row_is_read():
    assert "did you mean 'use_cot'" in refused(adapter, "hpdv3", options={"use_cott": False}).found
    assert refused(adapter, "hpdv3", options={"use_cot": "no"}).where.endswith("option 'use_cot'")
    assert refused(adapter, "hpdv3", options={"task_instruction": 3}).found == "3"
    assert "'prompt_field'" in refused(adapter, "deepscaler", "ask").found
    assert "did you mean 'hpdv3'" in refused(adapter, "hpdv").found


def test_an_adapter_is_given_of_the_run_what_it_takes():
    assert takes("hpdv3", "seed")
    assert not takes("auto", "seed")
    rows = [("x", PAIR | {"prompt": str(i)}) for i in range(64)]
    runs = [[adapter("hpdv3", options=o, seed=s)(r, w).images for w, r in rows] for s, o in
            ((1, {}), (2, {}), (2, {"seed": 1}))]  # fmt: skip
    assert runs[0] == runs[2] != runs[1]


def test_adapters_of_their_own_modules_have_hashes_of_their_own():
    assert len({code(name) for name in ("auto", "deepscaler", "hpdv3", "agiqa")}) == 4
    assert code("auto") == code("generic")


def test_records_are_json():
    [prompt] = prompts("hpdv3", PAIR)
    assert orjson.loads(orjson.dumps(prompt.to_row()))["images"] == prompt.images


def test_one_image_may_stand_without_a_list_and_what_is_none_is_refused():
    read = adapter("auto")
    assert read({"problem": "x", "images": "a.png"}, "here").images == ["a.png"]
    assert read({"problem": "x", "images": ["a.png", "b.png"]}, "here").images == ["a.png", "b.png"]
    assert read({"problem": "x", "images": None}, "here").images is None
    with pytest.raises(UserError, match="here: 'images' is 3"):
        read({"problem": "x", "images": 3}, "here")
