"""scripts/publish.py --images: what it sends, what it refuses, and that what arrived can be shown."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import finished_run
import orjson
import pytest
import test_publishing
from hub_pages import TOKEN
from PIL import Image

from winnow import jsonl
from winnow.arms import Arm
from winnow.errors import UserError
from winnow.prompt_images import ReplacedImage
from winnow.publishing import image_files
from winnow.publishing.image_files import check_limits, find_prompts, find_root, named_images, read_images
from winnow.publishing.run_files import read_run

POLICY, MIXED = Arm("460", "policy", 4), Arm("460", "kl_symmetry", 4)
REPO = "someone/small"
SHOWN = ["deep/b.png", "./ä #%41?.png"]
"""What row 1 shows: in this order, the second not in its shortest form."""
PLACES = {
    "images/ä #%41?.png": "ä #%41?.png",
    "images/deep/b.png": "deep/b.png",
    "images/link.png": "ä #%41?.png",
}
ROOT = Path(__file__).parents[2]

hub, program = test_publishing.hub, test_publishing.program


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def paint(path, seed):
    """Noise: a file that the server of the tests stores as a large one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (24, 24), random.Random(seed).randbytes(24 * 24 * 3)).save(path, "PNG")


def shown(number):
    return SHOWN if number == 0 else ["link.png"] if number == 2 else None


def record(run, root, digests=True):
    """The prompts as they were read with an image root."""
    rows = [
        {"id": "p0", "messages": [], "images": SHOWN},
        {"id": "p2", "messages": [], "images": ["link.png"]},
    ]
    if digests:
        rows = [{**row, "image_sha256": [sha256(root / path) for path in row["images"]]} for row in rows]
    shard = run.results / "prompts" / "train" / "00000-of-00001.jsonl"
    with jsonl.writer(shard) as write:
        for row in [*rows, {"id": "p4", "messages": []}]:
            write(row)
    run.record(shard, "prompts", "prompts.py", "--dataset=a.jsonl --image_root pictures")


@pytest.fixture
def run(tmp_path):
    """A run whose first row shows two images, the second one, the others none."""
    found = finished_run.FinishedRun(tmp_path)
    root = tmp_path / "pictures"
    paint(root / "ä #%41?.png", 1)
    paint(root / "deep" / "b.png", 2)
    paint(root / "unnamed.png", 3)
    (root / "link.png").symlink_to("ä #%41?.png")
    found.add_arm(POLICY, images=shown)
    record(found, root)
    return found


@pytest.fixture
def root(run):
    return run.root / "pictures"


def test_each_image_goes_once_in_the_one_commit(run, root, hub, program, caplog):
    run.add_arm(MIXED, images=shown)
    caplog.set_level(logging.INFO)
    program(run, "--images", "--all")
    _, pushed = hub.repositories[REPO].branches["main"]
    sent = {path: entry for path, entry in pushed.files.items() if path.startswith("images/")}
    assert {path: entry.content for path, entry in sent.items()} == {
        place: (root / name).read_bytes() for place, name in PLACES.items()
    }
    assert hub.count("PUT", f"/lfs/{sha256(root / 'ä #%41?.png')}") == 1, "one content, one upload"
    size = sum(len(entry.content) for entry in sent.values())
    assert f"images: 3 files, {size:,} bytes, to images/: whoever may read the repository gets" in caplog.text
    # The rows are those of the export.
    path = "training_data/step-460/policy/n-4/messages.jsonl"
    assert pushed.files[path].content == (run.results / path).read_bytes()
    facts = orjson.loads(pushed.files["winnow.json"].content)
    assert facts["images"] == {"files": 3, "bytes": size, "compared": 3}
    card = pushed.files["README.md"].content.decode()
    assert f"The 3 image files ({size:,} bytes) lie in `images/`" in card
    assert "Each has the SHA-256 that was recorded" in card and "step-460-policy-n-4-messages | 2 |" in card
    before = len(hub.requests)
    program(run, "--images", "--all")
    assert not [path for method, path in hub.requests[before:] if method == "PUT"]
    assert len(hub.repositories[REPO].branches["main"]) == 2


def test_images_stay_unless_asked_for(run, hub, program, caplog):
    caplog.set_level(logging.INFO)
    program(run)
    assert not [path for path in hub.head(REPO).files if path.startswith("images/")]
    assert "images" not in orjson.loads(hub.head(REPO).files["winnow.json"].content)
    assert "3 that rows name are not published, and others cannot show them; --images sends" in caplog.text
    assert "were not published with them" in hub.head(REPO).files["README.md"].content.decode()


def test_a_dry_run_counts_them(run, root, program, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    program(run, "--images", "--dry_run")
    told = capsys.readouterr().out
    size = {name: (root / name).stat().st_size for name in ("ä #%41?.png", "deep/b.png")}
    total = 2 * size["ä #%41?.png"] + size["deep/b.png"]
    assert (
        f"images      3 files, {total:,} bytes, to images/:" in told and "publish only what you may" in told
    )
    lines = [line.split() for line in told.splitlines() if line.startswith("  images/")]
    assert lines == [
        ["images/", f"{2 * size['ä #%41?.png']:,}", "2", "images"],
        ["images/deep/", f"{size['deep/b.png']:,}", "1", "images"],
    ]
    files = int(re.search(r"^files +(\d+)", told, re.M)[1])
    assert files == 3 + len(finished_run.FORMATS) + 3


def test_killed_between_images_and_run_again(run, root, hub, monkeypatch):
    monkeypatch.undo()
    late, arrived = sha256(root / "deep" / "b.png"), sha256(root / "ä #%41?.png")
    hub.held = {late}
    process = test_publishing.start(run, hub, "--images")
    deadline = time.monotonic() + 30
    while not (hub.waiting.is_set() and arrived in hub.objects):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert len(hub.repositories[REPO].branches["main"]) == 1, "nothing is committed before all is there"
    hub.held = set()
    hub.release.set()
    again = test_publishing.start(run, hub, "--images")
    text, _ = again.communicate(timeout=60)
    assert again.returncode == 0, text
    assert hub.asked["PUT", f"/lfs/{arrived}"] == 1 and hub.asked["PUT", f"/lfs/{late}"] == 2
    assert PLACES.keys() <= hub.head(REPO).files.keys()


def test_a_failure_half_way_and_run_again(run, root, hub, program):
    arrived = sha256(root / "ä #%41?.png")
    hub.script = lambda method, path, before: 500 if path.endswith(sha256(root / "deep" / "b.png")) else None
    with pytest.raises(UserError, match="it answers 500"):
        program(run, "--images")
    assert len(hub.repositories[REPO].branches["main"]) == 1
    hub.script = lambda method, path, before: None
    program(run, "--images")
    assert hub.asked["PUT", f"/lfs/{arrived}"] <= 1 and PLACES.keys() <= hub.head(REPO).files.keys()


def test_an_image_that_changes_on_the_way(run, root, hub, program):
    def touched(method, request, before):
        if method == "PUT" and request.endswith(sha256(root / "deep" / "b.png")):
            os.utime(root / "ä #%41?.png", (1, 1))

    hub.script = touched
    with pytest.raises(UserError, match="it has changed while it was being published"):
        program(run, "--images")
    assert len(hub.repositories[REPO].branches["main"]) == 1


def leave(root, target):
    (root.parent / "outside.png").write_bytes((root / "unnamed.png").read_bytes())
    target.unlink()
    target.symlink_to(root.parent / "outside.png")


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda root, target: target.unlink(), r"the image 'deep/b\.png' is not in"),
        (leave, r"the image 'deep/b\.png' lies outside"),
        (lambda root, target: paint(target, 9), r"'deep/b\.png' is another since the prompts were read"),
        (lambda root, target: target.write_bytes(b"key=1"), "is no image: it begins with b'key=1'"),
        (lambda root, target: target.write_bytes(target.read_bytes()[:300]), "is cut off after 300 bytes"),
        (lambda root, target: target.chmod(0), "cannot be read"),
    ],
)
def test_images_that_are_not_those_that_were_shown(run, root, hub, program, change, told):
    target = root / "deep" / "b.png"
    if told == "cannot be read" and os.geteuid() == 0:
        pytest.skip("root reads every file")
    change(root, target)
    with pytest.raises(UserError, match=told) as error:
        program(run, "--images")
    assert error.value.where.endswith("training_data/step-460/policy/n-4/messages.jsonl, row 1")
    assert not hub.requests, "nothing is asked of the hub before all images are looked at"


def test_a_folder_that_leads_out(run, root, hub, program):
    (root / "deep").rename(root.parent / "deep")
    (root / "deep").symlink_to("../deep")
    with pytest.raises(UserError, match="lies outside"):
        program(run, "--images")
    assert not hub.requests


@pytest.mark.parametrize(
    "path",
    [
        "/a.png",
        "deep/../a.png",
        "../a.png",
        "a\nb.png",
        "a\\b.png",
        "",
        ".",
        "a.png/",
        ".git/a.png",
        "x/.cache/a",
    ],
)
def test_paths_that_no_row_of_a_repository_should_have(tmp_path, path):
    with pytest.raises(UserError, match="a path below the image root as a repository has it") as error:
        read_images({path: "m.jsonl, row 7"}, tmp_path, [])
    assert error.value.where == "m.jsonl, row 7"


def test_the_token_in_a_name(run, root, hub, program):
    paint(root / f"{TOKEN}.png", 5)
    run.add_arm(POLICY, images=lambda number: [f"{TOKEN}.png"])
    with pytest.raises(UserError, match="it has the value of HF_TOKEN in it") as error:
        program(run, "--images")
    assert TOKEN not in str(error.value) and not hub.requests


def test_private_unless_public_is_said(run, hub, program):
    program(run, "--images")
    assert hub.repositories[REPO].private
    with pytest.raises(UserError, match="the repository is private, and --public is given"):
        program(run, "--images", "--public")


def test_an_update_removes_images_that_rows_no_longer_name(run, hub, program):
    program(run, "--images")
    run.add_arm(POLICY, images=lambda number: ["link.png"])
    with pytest.raises(UserError, match=r"images/deep/b\.png, images/ä #%41\?\.png not of this push"):
        program(run, "--images")
    program(run, "--images", "--update")
    assert [path for path in hub.head(REPO).files if path.startswith("images/")] == ["images/link.png"]
    program(run, "--update")
    assert "images/link.png" in hub.head(REPO).files, "a push without images leaves the folder as it is"


def test_prompts_without_digests(run, root, hub, program, caplog):
    record(run, root, digests=False)
    paint(root / "deep" / "b.png", 9)
    program(run, "--images")
    assert "3 of 3 images were not compared" in caplog.text
    card = hub.head(REPO).files["README.md"].content.decode()
    assert "0 of them have the SHA-256 that was recorded" in card


def test_prompt_files_of_another_number_of_shards(run, root):
    """Of shards that were written before, the digests are not those of the rows."""
    folder = run.results / "prompts" / "train"
    stale = folder / "00000-of-00002.jsonl"
    stale.write_bytes(b'{"id": "p0", "messages": [], "images": ["link.png"], "image_sha256": ["0"]}\n')
    os.utime(stale, (1, 1))
    found = read_run(run.results, (POLICY,), ())
    assert find_prompts(found, run.results) == [folder / "00000-of-00001.jsonl"]
    images = read_images(named_images(found), root, find_prompts(found, run.results))
    assert images.compared == 3
    with pytest.raises(ReplacedImage):
        read_images(named_images(found), root, [folder / "00000-of-00001.jsonl", stale])


def test_where_the_images_lie(run, root, tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path.parent)
    found = read_run(run.results, (POLICY,), ())
    assert find_root(found, None) == root, "as recorded, from the folder in which Snakemake ran"
    with pytest.raises(UserError, match="no folder"):
        find_root(found, tmp_path / "nowhere")
    run.record(
        run.results / "prompts" / "train" / "00000-of-00001.jsonl", "prompts", "prompts.py", "--dataset a"
    )
    with pytest.raises(UserError, match="no record of the prompts' job names one"):
        program(run, "--images", "--dry_run")
    program(run, "--images", "--dry_run", "--image_root", str(root))
    with pytest.raises(UserError, match="given, and --images is not"):
        program(run, "--dry_run", "--image_root", str(root))


def test_a_run_without_images(tmp_path, hub, program):
    run = finished_run.FinishedRun(tmp_path)
    run.add_arm(POLICY)
    program(run, "--images")
    assert "## Images" not in hub.head(REPO).files["README.md"].content.decode()


def test_what_the_hub_takes():
    check_limits(f"images/{n}.png" for n in range(10_000))
    with pytest.raises(UserError, match=r"images/ of the repository: 10,001 entries") as error:
        check_limits([*(f"images/{n}.png" for n in range(10_000)), "images/deep/a.png"])
    assert "spread the images over folders below data.image_root" in error.value.mend
    check_limits(f"images/{n // 5_000}/{n}.png" for n in range(25_000))
    with pytest.raises(UserError, match="25,001 images"):
        check_limits(f"images/{n // 5_000}/{n}.png" for n in range(25_001))


def test_too_many_images_are_refused_before_any_is_read(run, hub, program, monkeypatch):
    monkeypatch.setattr(image_files, "MOST_IN_A_FOLDER", 2)
    with pytest.raises(UserError, match="3 entries"):
        program(run, "--images")
    assert not hub.requests


@pytest.mark.parametrize("name", ["messages", "parquet"])
def test_the_cards_code_shows_the_images_of_a_row_in_its_order(run, root, hub, program, tmp_path, name):
    run.add_arm(POLICY, images=shown, names=("messages", "parquet"))
    program(run, "--images", "--formats", name, "--revision", "pictures")
    card = hub.head(REPO, "pictures").files["README.md"].content.decode()
    code = re.search(r"```python\n(from datasets import Image.*?)\n```", card, re.S)[1]
    show = "print([[[image.size, image.tobytes().hex()] for image in row['shown']] for row in rows])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"],
        env={
            **os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HOME": str(tmp_path / "home"),
        },
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pixels = {file: Image.open(root / file).tobytes().hex() for file in ("ä #%41?.png", "deep/b.png")}
    rows = [["deep/b.png", "ä #%41?.png"], ["ä #%41?.png"], [], [], [], []]
    assert eval(done.stdout.splitlines()[-1]) == [[[(24, 24), pixels[file]] for file in row] for row in rows]


def test_the_cards_code_for_pairs_of_images():
    """`lightrft_samples` has the preferred image first: its row says in which order they were shown."""
    from winnow.formats.lightrft import LightRftSamples
    from winnow.publishing.image_section import PATHS

    for preference in "AB":
        row = {"path1": "x", "path2": "y", "preference": preference, "generated_text": ""}
        assert eval(PATHS["lightrft_samples"], {"row": row}) == LightRftSamples().from_row(row).images


def test_the_first_row_that_names_an_image_is_told(run):
    run.add_arm(POLICY, images=lambda number: ["link.png"] if number else None)
    ((path, row),) = named_images(read_run(run.results, (POLICY,), ())).items()
    assert path == "link.png" and row.endswith("messages.jsonl, row 2")
