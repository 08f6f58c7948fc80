"""What publish.py reads of a run, and what it refuses to publish."""

from __future__ import annotations

import copy
import shutil
from types import SimpleNamespace

import finished_run
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow import jsonl
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.publishing.job_records import JobRecords, parse_command, record_name
from winnow.publishing.run_files import find_arms, public_name, read_run
from winnow.publishing.totals import contradictions

POLICY, MIXED = Arm("460", "policy", 4), Arm("460", "kl_symmetry", 4)


@pytest.fixture
def run(tmp_path):
    found = finished_run.FinishedRun(tmp_path)
    found.add_arm(POLICY)
    return found


def read(run, *arms, names=()):
    return read_run(run.results, arms or (POLICY,), names)


def test_what_is_read(run):
    run.add_arm(MIXED)
    found = read(run, POLICY, MIXED)
    assert [(f.name, f.rows) for f in found.arms[0].formats] == [(name, 6) for name in finished_run.FORMATS]
    assert found.arms[0].models == (finished_run.POLICY,) and found.arms[0].teachers == ()
    assert found.arms[1].teachers == (finished_run.TEACHER,)
    assert [model.name for model in found.models] == ["policy-460", "teacher"]
    assert [model.source for model in found.models] == ["policy-460", "teacher"], "no folder of this machine"
    assert found.prompts.first("dataset") == "/home/me/train.jsonl" and found.source_sha256 == "d" * 64
    assert not found.arms[0].images
    assert [m.name for m in read(run).models] == ["policy-460"], "models that drew nothing here stay out"


def test_a_run_without_records(tmp_path):
    run = finished_run.FinishedRun(tmp_path, records=False)
    folder = run.add_arm(POLICY)
    (folder / "dataset_info.json").write_text("{}")
    found = read(run)
    assert found.prompts is None and not found.arms[0].records
    assert [f.name for f in found.arms[0].formats] == list(finished_run.FORMATS)


def edit(path, change):
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


def drop_last(lines):
    del lines[-1]


def exchange(lines):
    lines[1], lines[2] = lines[2], lines[1]


def repeat(lines):
    lines.append(lines[-1])


def tear(lines):
    lines[-1] = lines[-1][:-20]


def cut_end(lines):
    lines[-1] = lines[-1].rstrip(b"\n")


DATA, SELECTED = "training_data/step-460/policy/n-4", "selected/step-460/policy/n-4"


@pytest.mark.parametrize(
    "path, change, told",
    [
        (f"{DATA}/messages.jsonl", drop_last, "5 rows.*6, as many as"),
        (f"{DATA}/messages.jsonl", repeat, "7 rows.*6, as many as"),
        (f"{DATA}/messages.jsonl", exchange, "row 2: its completion is not the one that was selected"),
        (f"{DATA}/messages.jsonl", tear, "its end is missing"),
        (f"{DATA}/messages.jsonl", cut_end, "its end is missing"),
        (f"{DATA}/sharegpt.json", drop_last, "its end is missing"),
        (f"{DATA}/sharegpt.json", exchange, "row 1: its completion is not the one"),
        (f"{SELECTED}/accepted.jsonl", drop_last, "5 completions.*6, which statistics.json"),
        (f"{SELECTED}/accepted.jsonl", exchange, "it was made of another"),
        (f"{SELECTED}/ledger.jsonl", drop_last, "'rejected: did not pass'.*as statistics.json says"),
        (f"{SELECTED}/ledger.jsonl", tear, "torn line"),
    ],
)
def test_files_that_do_not_hold_what_was_selected(run, path, change, told):
    edit(run.results / path, change)
    with pytest.raises(UserError, match=f"(?s){told}") as error:
        read(run)
    assert path.rpartition("/")[2] in str(error.value)


def test_a_row_of_another_format(run):
    edit(run.results / DATA / "messages.jsonl", lambda lines: lines.__setitem__(0, b'{"text": "x"}\n'))
    with pytest.raises(UserError, match="none of its format"):
        read(run)


@pytest.mark.parametrize("name", ["unverified-messages.jsonl", "messages.jsonl.partial"])
def test_an_export_that_runs(run, name):
    (run.results / DATA / name).write_text("")
    with pytest.raises(UserError, match=f"{name} lies beside it: it is being written"):
        read(run)


def test_an_export_that_was_killed_under_snakemake(run):
    path = run.results / DATA / "sharegpt.json"
    mark = run.root / ".snakemake" / "incomplete" / record_name(str(path.relative_to(run.root)))
    mark.parent.mkdir(parents=True)
    mark.touch()
    with pytest.raises(UserError, match="its job runs, or was killed"):
        read(run)


@pytest.mark.parametrize("name", ["accepted.jsonl", "ledger.jsonl", "statistics.json"])
def test_a_selection_without_a_file(run, name):
    (run.results / SELECTED / name).unlink()
    with pytest.raises(UserError, match="no such file"):
        read(run)


def test_a_format_that_was_not_exported(run):
    (run.results / DATA / "messages.jsonl").unlink()
    with pytest.raises(UserError, match=r"messages\.jsonl: no such file"):
        read(run)
    assert [f.name for f in read(run, names=["sharegpt"]).arms[0].formats] == ["sharegpt"]
    with pytest.raises(UserError, match="did you mean 'sharegpt'"):
        read(run, names=["sharegtp"])


def test_an_arm_that_accepted_nothing(tmp_path):
    run = finished_run.FinishedRun(tmp_path)
    run.add_arm(POLICY, prompts=0)
    with pytest.raises(UserError, match="no completion was accepted"):
        read(run)


class Rows:
    """A format whose rows are what is selected, as lists of texts."""

    filename = "rows.jsonl"

    def __init__(self, takes, holds):
        self.takes, self.holds = takes, holds

    def from_row(self, row):
        if self.takes == "pairs":
            both = [SimpleNamespace(completion=text, images=row.get("images")) for text in row["texts"]]
            return SimpleNamespace(chosen=both[0], rejected=both[1])
        if self.takes == "prompts":
            return SimpleNamespace(completions=row["texts"], images=None)
        return SimpleNamespace(completion=row["texts"][0], images=None)


@pytest.fixture
def pairs(run, monkeypatch):
    """Three pairs of two prompts, one completion chosen twice; each kind of format reads rows of texts."""
    path = run.results / SELECTED / "accepted.jsonl"
    first, second, third, fourth, fifth, _ = jsonl.rows(path)
    places = ((first, second, "p0"), (first, third, "p0"), (fourth, fifth, "p2"))
    with jsonl.writer(path) as write:
        for number, (chosen, rejected, prompt) in enumerate(places):
            for role, row in (("chosen", chosen), ("rejected", rejected)):
                write({**row, "prompt_id": prompt, "pair": number, "role": role})
    outcomes = {"accepted: best_worst": 5, "rejected: did not pass": 43}
    totals = {
        **jsonl.read_json(run.results / SELECTED / "statistics.json"),
        "accepted": 5, "eligible": 5, "yield": 5 / 48, "prompts_with_accepted": 2, "outcomes": outcomes,
    }  # fmt: skip
    jsonl.write_json(run.results / SELECTED / "statistics.json", totals)
    with jsonl.writer(run.results / SELECTED / "ledger.jsonl") as enter:
        for number in range(48):
            outcome = ("accepted", "best_worst") if number < 5 else ("rejected", "did not pass")
            enter({"id": str(number), "outcome": outcome[0], "reason": outcome[1]})
    texts = [row["text"] for row in (first, second, third, fourth, fifth)]

    def published(takes, rows, holds=("completion", "completions", "chosen")):
        monkeypatch.setattr("winnow.formats.find_all", lambda names: [Rows(takes, holds)])
        with jsonl.writer(run.results / DATA / "rows.jsonl") as write:
            for row in rows:
                write({"texts": row})
        return read(run, names=["rows"]).arms[0].formats[0].rows

    return texts, published


def test_rows_of_pairs_prompts_and_single_completions(pairs):
    (a, b, c, d, e), published = pairs
    assert published("pairs", [[a, b], [a, c], [d, e]]) == 3
    assert published("chosen", [[a], [d]]) == 2, "chosen in two pairs, trained on once"
    assert published("prompts", [[a], [d]]) == 2
    assert published("all", [["x"]] * 48) == 48
    assert published("chosen", [["answer only"]] * 2, holds=("answer",)) == 2


@pytest.mark.parametrize("takes", ["pairs", "chosen", "prompts", "all"])
def test_a_row_too_few_of_each_kind(pairs, takes):
    (a, b, c, *_), published = pairs
    rows = {"pairs": [[a, b], [a, c]], "chosen": [[a]], "prompts": [[a]], "all": [["x"]] * 47}
    with pytest.raises(UserError, match=f"{len(rows[takes])} rows"):
        published(takes, rows[takes])


def test_members_of_a_pair_exchanged(pairs):
    (a, b, c, d, e), published = pairs
    with pytest.raises(UserError, match="row 3: its completion is not the one"):
        published("pairs", [[a, b], [a, c], [e, d]])


def test_parquet_is_counted(run, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    class Parquet:
        filename = "verl.parquet"
        takes = "prompts"

    monkeypatch.setattr("winnow.formats.find_all", lambda names: [Parquet()])
    table = pyarrow.table({"prompt": ["a"] * 6, "images": [["x.png"]] * 6})
    pyarrow.parquet.write_table(table, run.results / DATA / "verl.parquet")
    found = read(run, names=["parquet"]).arms[0]
    assert [(f.name, f.rows) for f in found.formats] == [("verl", 6)] and found.images
    pyarrow.parquet.write_table(table.slice(0, 5), run.results / DATA / "verl.parquet")
    with pytest.raises(UserError, match="5 rows"):
        read(run, names=["parquet"])
    (run.results / DATA / "verl.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match="no table"):
        read(run, names=["parquet"])


def test_which_arms(run):
    run.add_arm(MIXED)
    run.add_arm(Arm("530", "policy", 8))
    results = run.results
    assert find_arms(results, "460", "policy", None, False) == [POLICY]
    assert find_arms(results, None, None, None, True) == [MIXED, POLICY, Arm("530", "policy", 8)]
    assert find_arms(results, "460", None, None, True) == [MIXED, POLICY]
    with pytest.raises(UserError, match="2 arms: step-460/kl_symmetry/n-4, step-460/policy/n-4"):
        find_arms(results, "460", None, None, False)
    with pytest.raises(
        UserError, match=r"no training data of such an arm.*\n.*one of step-460/kl_symmetry/n-4"
    ):
        find_arms(results, "461", None, None, True)
    with pytest.raises(UserError, match=r"no training_data/ and no selected/ in it(?s:.*)correct --results"):
        find_arms(results / "nowhere", None, None, None, True)


def test_arms_that_were_selected_and_never_exported(run):
    told = (
        r"none of the arms .* \(step-460/policy/n-4\)(?s:.*)`export: true` \(or `train: true`\) for the arm"
    )
    shutil.rmtree(run.results / DATA)
    with pytest.raises(UserError, match=told):
        find_arms(run.results, None, None, None, True)
    shutil.rmtree(run.results / "training_data")
    with pytest.raises(UserError, match=told):
        find_arms(run.results, "460", None, None, False)


@pytest.fixture(scope="module")
def totals(tmp_path_factory):
    run = finished_run.FinishedRun(tmp_path_factory.mktemp("run"))
    run.add_arm(POLICY)
    return jsonl.read_json(run.results / SELECTED / "statistics.json")


def test_totals_that_add_up(totals):
    assert contradictions(totals) == []


@pytest.mark.parametrize(
    "change, told",
    [
        ({"prompts": 13}, "48 completions"),
        ({"completions": 47}, "47 completions"),
        ({"generated": 47}, "47 generated"),
        ({"accepted": 5}, "5 accepted"),
        ({"eligible": 5}, "5 eligible"),
        ({"passed": 49}, "49 passed"),
        ({"prompts_with_accepted": 7}, "7 prompts with accepted"),
        ({"yield": 0.2}, "a yield of 0.2"),
        ({"yield": None}, "a yield of None"),
        ({"outcomes": {"accepted: correct": 6}}, "the outcomes sum to 6"),
    ],
)
def test_totals_that_do_not_add_up(run, totals, change, told):
    jsonl.write_json(run.results / SELECTED / "statistics.json", {**totals, **change})
    with pytest.raises(UserError, match=r"(statistics do not add up|rows of)") as error:
        read(run)
    assert told in str(error.value)


@given(st.data())
def test_one_count_that_is_off_is_noticed(totals, data):
    broken = copy.deepcopy(totals)
    reason = data.draw(st.sampled_from(sorted(broken["outcomes"])))
    off = data.draw(st.integers(-3, 3).filter(bool))
    broken["outcomes"][reason] += off
    assert contradictions(broken)


@pytest.mark.parametrize("value", [None, -1, 1.5, True, "6"])
def test_counts_that_are_none(run, totals, value):
    jsonl.write_json(run.results / SELECTED / "statistics.json", {**totals, "accepted": value})
    with pytest.raises(UserError, match="'accepted' is"):
        read(run)


def test_recorded_commands():
    command = (
        "trap : TERM; /py scripts/generate.py --stop='a b' --stop=c --formats x y --flag --n 4 > log 2>&1"
    )
    program, options = parse_command(command)
    assert program == "generate.py"
    assert options == {"stop": ("a b", "c"), "formats": ("x", "y"), "flag": (), "n": ("4",)}
    assert parse_command("") == parse_command("echo 'torn") == ("", {})


def test_records_of_long_names_lie_where_snakemake_puts_them(tmp_path):
    from snakemake.persistence.file import FilePersistence

    class Home(FilePersistence):
        def __init__(self):
            self._max_len = 255

    for name in ("results/a.json", "results/" + "x" * 300 + "/" + "y" * 200):
        assert str(record_name(name)) == Home()._record_path("", name)
    assert not JobRecords(tmp_path / "results" / "a").interrupted(tmp_path / "results" / "a" / "b")


def test_names_for_the_public():
    assert public_name("/home/me/models/teacher") == "teacher" and public_name("~/x/y") == "y"
    assert public_name("Qwen/Qwen2.5-7B") == "Qwen/Qwen2.5-7B"


def test_a_record_that_cannot_be_read_is_none(run):
    path = run.results / DATA / "messages.jsonl"
    place = run.root / ".snakemake" / "metadata" / record_name(str(path.relative_to(run.root)))
    assert JobRecords(run.results).of(path).program == "export.py"
    place.write_bytes(orjson.dumps({})[:1])
    assert JobRecords(run.results).of(path) is None
