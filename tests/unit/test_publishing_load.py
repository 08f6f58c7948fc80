"""What was published loads with `datasets`, by the names that the card gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import finished_run
import orjson
from hub_pages import TOKEN
from hub_server import HubServer

from winnow.arms import Arm

ROOT = Path(__file__).parents[2]
LOAD = """
import sys, json
from datasets import get_dataset_config_names, load_dataset
names = get_dataset_config_names("someone/small")
rows = {name: load_dataset("someone/small", name, split="train").to_list() for name in names}
default = load_dataset("someone/small", split="train").to_list()
print(json.dumps({"names": names, "rows": rows, "default": default}))
"""


def test_load_dataset_from_the_hub_that_was_pushed_to(tmp_path):
    run = finished_run.FinishedRun(tmp_path / "work")
    folder = run.add_arm(Arm("460", "policy", 4), prompts=40, text="Ünïcode\u2028 <answer>1</answer>")
    with HubServer() as hub:
        environment = {
            **os.environ,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "home"),
        }

        def call(*command):
            done = subprocess.run(
                [sys.executable, *command],
                env=environment,
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        call("scripts/publish.py", "--results", str(run.results), "--repo_id", "someone/small")
        found = orjson.loads(call("-c", LOAD).splitlines()[-1])
    assert found["names"] == list(finished_run.FORMATS)
    lines = [orjson.loads(line) for line in (folder / "messages.jsonl").read_bytes().split(b"\n")[:-1]]
    assert found["rows"]["messages"] == found["default"] == lines
    assert found["rows"]["sharegpt"] == orjson.loads((folder / "sharegpt.json").read_bytes())
    assert len(found["rows"]["prompt_completion"]) == 20
