# The checked config, and the small functions that the rules share. What is more than glue lives in winnow/.

import copy
import inspect
import json
import re
import shlex

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from winnow import config as winnow_config
from winnow import adapters, formats, plugins, scoring
from winnow.adapters.sources import is_local_dataset
from winnow.arms import Alpha, Arm, blocks_for, shard_name
from winnow.errors import UserError
from winnow.fingerprint import fingerprint
from winnow.layout import Layout
from winnow.manifest import content_hash, identity
from winnow.schema import schema, typed

# A copy: a workflow that uses this one as a module keeps the config that it wrote.
config = copy.deepcopy(config)
if workflow.modifier.namespace is None:
    # What --config nests came as text.
    update_config(config, typed(workflow.config_settings.config, schema()))
try:
    winnow_config.check(config)
except UserError as error:
    raise WorkflowError(f"{error}") from None


RESULTS = f"{config['results']}/{config['run']}"
LAYOUT = Layout("<results>", tuple(winnow_config.round_arms(config)))
ARMS = dict(winnow_config.arms(config))
TRAINED = [arm for arm, trained in ARMS.items() if trained]
EXPORTED = winnow_config.exported(config)
ERROR_SCORER = winnow_config.error_scorer(config)
BLOCK_SIZE = config["generation"]["block_size"]


def signed(function):
    """The function with its signature at hand: for each job, Snakemake asks each function for it several times."""
    function.__signature__ = inspect.signature(function)
    return function


def code(program):
    """A hash of a program and the library behind it: comments and touches do not change it."""
    return fingerprint(os.path.join(CHECKOUT, "scripts", program))


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
