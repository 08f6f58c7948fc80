#!/usr/bin/env python
"""Served completions: over bare vLLM, over a client as system A's, and q* over the teacher alone.

    python benchmarks/serving.py [--quick] [--json FILE] [--vllm PYTHON] [--repeats 2]
        [--parts generate clients qstar memory]

generate   completions a second of `generate.py --backend vllm` after start-up, over `LLM.generate` of the
           same engine settings, model (120 M parameters, random weights, float32), prompts, n and lengths;
           and what the time from the job's start to its first token consists of
clients    Winnow's client over one that sends n requests for a prompt and waits for each batch, as system A's
           does: same server, prompts, seeds and lengths (geometric, 8 to 160 tokens, by a bias of the end
           token). A model of 7 M parameters: its steps take as long for few sequences as for many, as those
           of large models on GPUs do; those of 120 M on a CPU do not, and nobody gains by waiting less
qstar      q* over the teacher alone, by the same engine in turn: 120 M teacher, 7 M student, 16 sequences
memory     the most memory of a generate.py that asks for 100,000 prompts with images, over a tenth of them

The first three need a Python that has vLLM (`make vllm`); --quick leaves them out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")

from benchmarks import serving_clients as clients
from benchmarks import serving_models as made
from benchmarks.report import flags, tell
from winnow.records import Prompt
from winnow.serving.server import Launch, Server

ENGINE = ["--dtype=float32", "--max-model-len=256", "--max-num-seqs=64", "--enforce-eager"]
PROMPTS, N, TOKENS = 16, 8, 64
CONCURRENCY, SAMPLES = 8, 4


@dataclass(frozen=True)
class Setting:
    """Where the parts work, and with what.

    Attributes:
        python: has vLLM.
        folder: for models and files.
        repeats: of each side.
    """

    python: str
    folder: Path
    repeats: int

    def model(self, name: str) -> Path:
        """A checkpoint, made once."""
        found = self.folder / name
        return found if found.exists() else made.save(name, self.folder)


Result = tuple[dict[str, float], list[dict[str, Any]]]
"""(ratios, rows)"""


def token_ids(texts: list[str]) -> list[list[int]]:
    """Prompts as the server's chat template renders them."""
    tokenizer = made.tokenizer()
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
        )
        for text in texts
    ]
    return [tokenizer.encode(each, add_special_tokens=False) for each in rendered]


def offline(setting: Setting, part: str, settings: dict[str, Any]) -> dict[str, float]:
    """What a program that vLLM's Python runs has measured.

    Raises:
        SystemExit: it failed; its last lines are shown.
    """
    file = setting.folder / f"{part}.json"
    file.write_text(json.dumps(settings))
    done = subprocess.run(
        [setting.python, str(ROOT / "benchmarks/serving_offline.py"), part, str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "VLLM_USE_V2_MODEL_RUNNER": "0", "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        raise SystemExit(f"vLLM did not run:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def generate(setting: Setting) -> Result:
    """generate.py beside `LLM.generate`, in turn."""
    model, texts = setting.model("120M"), made.prompts(PROMPTS)
    settings = {
        "model": str(model), "prompts": token_ids(texts), "n": N, "tokens": TOKENS,
        "longest": 256, "sequences": 64,
    }  # fmt: skip
    bare, served, stages = [], [], {}
    for _ in range(setting.repeats):
        found = offline(setting, "bare", settings)
        bare.append(PROMPTS * N / found["seconds"])
        rate, stages = _served(setting, model, texts)
        served.append(rate)
    row = {"completions/s bare": max(bare), "completions/s served": max(served), "of": f"{PROMPTS} × {N}"}
    ratios = {
        f"generate.py --backend vllm over LLM.generate, {PROMPTS} × {N} × {TOKENS}": max(served) / max(bare)
    }
    return ratios, [row, {"seconds from the job's start to": "", **stages}]


UP, DRAWN = re.compile(r" is up after "), re.compile(r"completions, .* tok/s, .* [\d.]+ s$")


def _served(setting: Setting, model: Path, texts: list[str]) -> tuple[float, dict[str, float]]:
    """(completions a second between the server's start and the last one, seconds of a start's stages)."""
    output = setting.folder / "served.jsonl"
    output.unlink(missing_ok=True)
    log = setting.folder / "served.log"
    log.unlink(missing_ok=True)
    command = [
        sys.executable, str(ROOT / "scripts/generate.py"), "--backend", "vllm",
        "--vllm_python", setting.python, "--vllm_log", str(log), f"--vllm_args={' '.join(ENGINE[1:])}",
        "--dataset", str(made.write_dataset(texts, setting.folder / "served_prompts.jsonl")),
        "--model_theta", str(model), "--num_rollout", str(N), "--max_new_tokens", str(TOKENS),
        "--output", str(output),
    ]  # fmt: skip
    start = time.time()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    up = drawn = 0.0
    said = []
    for line in process.stderr:
        said.append(line)
        if UP.search(line):
            up = time.time()
        elif DRAWN.search(line.rstrip()):
            drawn = time.time()
    if process.wait() or not (up and drawn):
        raise SystemExit("".join(said))
    return PROMPTS * N / (drawn - up), _stages(log, start, up)


MARKS = (
    ("Python, flags and prompts, and vLLM's imports", r"vLLM API server version|version \d"),
    ("the engine's process", r"Initializing a V1 LLM engine"),
    ("the weights", r"Loading weights took|Model loading took"),
    ("its cache and a first pass", r"init engine .* took"),
    ("the interface", r"Application startup complete"),
)
"""What has been done when a line of vLLM's log comes."""


def _stages(log: Path, start: float, up: float) -> dict[str, float]:
    """Seconds of each stage of a start, by vLLM's own log."""
    found, before = {}, start
    lines = log.read_text(errors="replace").splitlines()
    for name, mark in MARKS:
        stamps = [_stamp(line) for line in lines if re.search(mark, line)]
        known = [stamp for stamp in stamps if stamp is not None]
        if known:
            found[name] = max(known[-1] - before, 0.0)
            before = max(known[-1], before)
    found["noticed by the job"] = max(up - before, 0.0)
    found["all"] = up - start
    return found


def _stamp(line: str) -> float | None:
    found = re.search(r"(\d\d)-(\d\d) (\d\d:\d\d:\d\d)", line)
    if not found:
        return None
    year = time.localtime().tm_year
    return time.mktime(time.strptime(f"{year}-{found[1]}-{found[2]} {found[3]}", "%Y-%m-%d %H:%M:%S"))


def two_clients(setting: Setting) -> Result:
    """Both clients at one server, in turn."""
    model = setting.model("7M")
    # On CPU, vLLM 0.32 ends over a prompt with a seed that it reads in parts.
    engine = [*ENGINE, "--no-enable-chunked-prefill"]
    launch = Launch(model, "served", engine, setting.python)
    with Server(launch, setting.folder / "clients.log") as server:
        endpoint = server.endpoint()
        assert endpoint is not None
        return compare(lambda side, *work: side(endpoint, *work), setting.repeats)


def compare(ask: Callable[..., tuple[float, int]], repeats: int) -> Result:
    """The ratios of both clients' tokens a second: as they are run, and with as much in flight."""
    asked = [
        Prompt(f"p{index}", [{"role": "user", "content": text}])
        for index, text in enumerate(made.prompts(80))
    ]
    sides = {
        "ours": (clients.ours, CONCURRENCY),
        "theirs": (clients.theirs, CONCURRENCY),
        "theirs with as much in flight": (clients.theirs, 2 * CONCURRENCY),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, (side, concurrency) in sides.items():
            seconds, tokens = ask(side, asked, SAMPLES, concurrency)
            rates[name].append(tokens / seconds)
    best = {name: max(each) for name, each in rates.items()}
    rows = [{f"{name} tok/s": rate for name, rate in best.items()}]
    what = f"Winnow's client over one as system A's, --concurrency {CONCURRENCY}, n = {SAMPLES}"
    return {
        what: best["ours"] / best["theirs"],
        f"{what}; A's with {2 * CONCURRENCY}, as much in flight": best["ours"]
        / best["theirs with as much in flight"],
    }, rows


def qstar(setting: Setting) -> Result:
    """The teacher's engine with and without the student in it."""
    longest = 256
    settings = {
        "model": str(setting.model("120M")),
        "prompts": token_ids(made.prompts(64)),
        "tokens": TOKENS,
        "longest": longest,
        "sequences": 16,
        "repeats": setting.repeats + 1,
        "winnow": {
            "student": str(setting.model("7M")),
            "alpha": "kl_symmetry",
            "dtype": "float32",
            "capacity": longest,
        },
    }
    found = offline(setting, "qstar", settings)
    ratio = found["qstar"] / found["teacher"]
    return {"q* over the teacher alone in vLLM, 16 sequences, 120M/7M": ratio}, [
        {f"{name} tok/s": rate for name, rate in found.items()}
    ]


def memory(prompts: int) -> Result:
    """The most memory that a job takes for so many prompts, and for a tenth of them."""
    few, _ = clients.peak(prompts // 10, 20_000)
    many, seconds = clients.peak(prompts, 20_000)
    row = {"prompts": prompts, "MiB": many, "MiB for a tenth": few, "prompts/s": prompts / seconds}
    return {f"memory for {prompts // 10:,} prompts with images over that for {prompts:,}": few / many}, [row]


PARTS = ("generate", "clients", "qstar", "memory")


def main() -> None:
    parser = flags(__doc__)
    beside = ROOT / ".venv-vllm/bin/python"
    parser.add_argument("--vllm", default=str(beside if beside.exists() else sys.executable))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    ratios: dict[str, float] = {}
    found: list[dict[str, Any]] = []

    def add(result: Result) -> None:
        ratios.update(result[0])
        found.extend(result[1])
        print(*result[1], sep="\n", flush=True)

    with tempfile.TemporaryDirectory() as name:
        setting = Setting(arguments.vllm, Path(name), arguments.repeats)
        if arguments.quick:
            add(memory(3_000))
        else:
            parts = {"generate": generate, "clients": two_clients, "qstar": qstar}
            for part in arguments.parts:
                add(memory(100_000) if part == "memory" else parts[part](setting))
    tell("serving", ratios, found, arguments.json)


if __name__ == "__main__":
    main()
