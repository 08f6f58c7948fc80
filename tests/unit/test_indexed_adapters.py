"""A user's own adapter with options, and one that is a class: get_prompt(idx) and get_metadata(idx)."""

from __future__ import annotations

import pytest
from own_modules import module, refused

from winnow.adapters import Example, adapter, code, read_dataset, takes
from winnow.prompting import PromptTemplates, read_prompts

pytestmark = pytest.mark.usefixtures("working_directory")

CLASS = """
    class Riddles:
        def __init__(self, dataset, prefix="Q: ", *, seed=0):
            self.dataset, self.prefix, self.seed = dataset, prefix, seed
            self.field = dataset.column_names[0]
            assert dataset[0]

        def get_prompt(self, idx):
            return self.prefix + self.dataset[idx][self.field]

        def get_metadata(self, idx):
            row = self.dataset[idx]
            return {"sample_idx": idx, "answer": row["gold"], "id": row["key"], "seed": self.seed}
"""
ROWS = [{"riddle": f"{i}?", "gold": i, "key": f"k{i}"} for i in range(4)]


def made(name, rows=ROWS, **options):
    numbered = [(f"d.json, row {i}", row) for i, row in enumerate(rows)]
    return list(read_prompts(numbered, adapter(name, options=options, seed=9), PromptTemplates()))


def test_a_class_reads_by_index():
    prompts = made(module(CLASS) + ":Riddles")
    assert [p.messages[0]["content"] for p in prompts] == [f"Q: {i}?" for i in range(4)]
    assert [(p.id, p.reference) for p in prompts] == [(f"k{i}", str(i)) for i in range(4)]
    assert prompts[2].metadata == {"sample_idx": 2, "answer": 2, "seed": 9}


def test_its_options_come_from_the_config():
    name = module(CLASS) + ":Riddles"
    assert made(name, prefix="", seed=1)[0].messages[0]["content"] == "0?"
    assert "did you mean 'prefix'" in refused(adapter, name, options={"prefx": ""}).found
    assert takes(name, "seed")
    needed = module(CLASS.replace('prefix="Q: "', "prefix")) + ":Riddles"
    assert refused(adapter, needed).found == "no option 'prefix'"
    assert len({code(name), code(needed)}) == 2


def test_it_may_return_a_conversation():
    talk = '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'
    name = module(CLASS.replace("self.prefix + self.dataset[idx][self.field]", talk)) + ":Riddles"
    [prompt] = made(name, ROWS[:1])
    assert prompt.messages == [{"role": "user", "content": "q"}]
    # The metadata's answer goes before the conversation's own.
    assert prompt.reference == "0"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("self.dataset[idx][", "self.dataset[0 if idx < 3 else 1][", "row 1 is not at hand"),
        ("self.prefix +", "0 if idx > 2 else", "the prompt 0"),
        (
            'return {"sample_idx"',
            'return {} if idx < 3 else 5, {"sample_idx"',
            "get_metadata returned a tuple",
        ),
        ("assert dataset[0]", "assert len(dataset)", "has no len()"),
    ],
)
def test_what_it_does_wrong_is_named(old, new, words):
    assert old in CLASS
    error = refused(made, module(CLASS.replace(old, new)) + ":Riddles")
    assert error.where.startswith("d.json, row ")
    assert words in error.found


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def get_prompt(self, idx)", "def get_prompt(self)", "cannot be called as get_prompt(idx)"),
        ("def get_metadata", "def metadata", "for get_metadata(idx)"),
    ],
)
def test_a_class_that_lacks_what_is_called(old, new, words):
    assert words in refused(adapter, module(CLASS.replace(old, new)) + ":Riddles").found


def test_a_function_has_options_too():
    name = module("""
        from winnow.adapters import Example

        def adapt(row, where, *, suffix, image_root=None):
            return Example(prompt=row["riddle"] + suffix + str(image_root), metadata={"kept": 1})
    """)
    name += ":adapt"
    read = adapter(name, options={"suffix": "!"}, image_root="pictures")
    assert read(ROWS[0], "here") == Example(prompt="0?!pictures", metadata={"kept": 1})
    assert refused(adapter, name).found == "no option 'suffix'"
    assert "'sufix'" in refused(adapter, name, options={"sufix": 1}).found


def test_rows_are_let_go(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("riddle,gold,key\n" + "".join(f"{i}?,{i},k{i}\n" for i in range(50)))
    read = adapter(module(CLASS) + ":Riddles")
    found = [read(row, where) for where, row in read_dataset(str(path), start=7)]
    assert [example.reference for example in found] == [str(i) for i in range(7, 50)]
    assert found[0].metadata == {"sample_idx": 0, "answer": "7", "seed": 0}
