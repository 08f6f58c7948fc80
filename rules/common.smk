# The checked config, and the small functions that the rules share. What is more than glue lives in winnow/.

import json
import re
import shlex

from snakemake.exceptions import WorkflowError

from winnow import config as winnow_config
from winnow import formats, scoring
from winnow.adapters.sources import is_local_dataset
from winnow.arms import Alpha, Arm, blocks_for, shard_name
from winnow.errors import UserError
from winnow.fingerprint import fingerprint
from winnow.layout import Layout
from winnow.manifest import content_hash, identity

try:
    winnow_config.check(config)
except UserError as error:
    raise WorkflowError(f"{error}") from None


RESULTS = f"{config['results']}/{config['run']}"
LAYOUT = Layout("<results>", tuple(winnow_config.round_arms(config)))
ARMS = dict(winnow_config.arms(config))
TRAINED = [arm for arm, trained in ARMS.items() if trained]
BLOCK_SIZE = config["generation"]["block_size"]

# Relative where it can be, so that a printed command can be copied and a moved checkout reruns nothing.
SCRIPTS = os.path.relpath(os.path.join(workflow.basedir, "scripts"))

# The programs run on the Python that runs Snakemake, whether or not its environment is activated.
shell.prefix(
    f'set -euo pipefail; export PATH="{os.path.dirname(sys.executable)}:$PATH"; '
)


def code(program):
    """A hash of a program and the library behind it: comments and touches do not change it."""
    return fingerprint(os.path.join(workflow.basedir, "scripts", program))


def content(path):
    """What identifies a data set: its content, or its name on the hub."""
    if not is_local_dataset(path):
        return path
    if not os.path.isfile(path):
        raise WorkflowError(
            f"{path}: no such data set\n  expected: a local file, or a data set's name on the hub"
            "\n  to mend:  correct data.train.path or data.heldout.path in the config"
        )
    return content_hash(path)


def model_identity(path):
    """What identifies a model; a model that cannot be used is an error before anything runs."""
    try:
        return identity(path)
    except UserError as error:
        raise WorkflowError(f"{error}") from None


def shards(split):
    """The shard names of a split."""
    count = config["data"][split]["shards"]
    return [shard_name(index, count) for index in range(count)]


def prompts(split):
    """The prompt files of a split."""
    return [f"<results>/prompts/{split}/{shard}.jsonl" for shard in shards(split)]


def arm_of(wildcards):
    """The arm that a job's wildcards name."""
    return Arm(wildcards.step, wildcards.alpha, int(wildcards.n))


def scored_blocks(wildcards):
    """The scored blocks that hold an arm's first n samples, in order."""
    arm = arm_of(wildcards)
    return [
        f"{LAYOUT.scored(arm)}/{shard}.block-{block}.jsonl"
        for shard in shards("train")
        for block in blocks_for(arm.n, BLOCK_SIZE)
    ]


def all_products():
    """Every file of a run that somebody may keep, from the completions down."""
    blocks = [
        f"{folder}/{shard}.block-{block}.jsonl"
        for arm in ARMS
        for folder in (LAYOUT.completions(arm), LAYOUT.scored(arm))
        for shard in shards("train")
        for block in blocks_for(arm.n, BLOCK_SIZE)
    ]
    files = [LAYOUT.selected(arm, "accepted.jsonl") for arm in ARMS]
    files += [LAYOUT.diagnostics(arm, "diagnostics.json") for arm in ARMS]
    files += [
        LAYOUT.training_data(arm, formats.find(name).filename)
        for arm in TRAINED
        for name in config["export"]["formats"]
    ]
    files += [LAYOUT.checkpoint(arm) for arm in TRAINED]
    return list(dict.fromkeys(blocks)) + files


def flag(name, value):
    """``--name='value'``, or nothing where the config says null."""
    return "" if value is None else f"--{name}={shlex.quote(str(value))}"


def scorer_flags():
    """The configured scorers as score.py and export.py take them."""
    return " ".join(
        shlex.quote(f"{name}={json.dumps(options, sort_keys=True)}")
        for name, options in config["scoring"].items()
    )
