# The config as the programs of scripts/ take it: one function a program.


def flag(name, value):
    """``--name='value'``, or nothing where the config says null."""
    return "" if value is None else f"--{name}={shlex.quote(str(value))}"


def with_options(scorers):
    """Scorers as the programs take them, ``name={"option": value}`` each."""
    return " ".join(
        shlex.quote(f"{name}={json.dumps(options, sort_keys=True)}")
        for name, options in scorers.items()
    )


def scorer_flags(scorers=None):
    """Scorers as score.py and export.py take them, with what decides their scores; all unless some are given."""
    deciding, _ = scoring.divided(scorers or config["scoring"])
    return with_options(deciding)


def heldout_scorers():
    """What a held-out completion is scored with: the scorer that evaluates it, and what this one combines."""
    return scoring.behind(config["evaluation"]["scorer"], config["scoring"])


def access_flags(scorers=None):
    """How scorers reach what they ask: a judge's server, its retries and timeouts."""
    _, access = scoring.divided(scorers or config["scoring"])
    return [f"--scorer_access {with_options(access)}"] if access else []


def dataset_flags(split):
    """The flags that say how to read a split and what to show of it."""
    source, data, prompt = config["data"][split], config["data"], config["prompt"]
    options, adapter = data["adapter_options"], data["adapter"]
    # Only where the prompts depend on it: another seed reads no data set again.
    seed = config["seed"] if adapters.takes(adapter, "seed") else None
    # Likewise: a run that drops nothing is what it was before it could.
    duplicates = None if data["duplicates"] == "error" else data["duplicates"]
    return " ".join(
        filter(
            None,
            [
                flag("dataset", source["path"]),
                flag("dataset_split", source["split"]),
                flag("start_idx", source["start_idx"]),
                flag("num_samples", source["num_samples"]),
                flag("dataset_adapter", adapter),
                flag(
                    "adapter_options",
                    json.dumps(options, sort_keys=True) if options else None,
                ),
                flag("seed", seed),
                flag("image_root", data["image_root"]),
                flag("prompt_field", data["prompt_field"]),
                flag("response_field", data["response_field"]),
                flag("duplicates", duplicates),
                flag("prompt_template", prompt["student"]),
                flag("system_prompt", prompt["student_system"]),
                flag("teacher_template", prompt["teacher"]),
                flag("teacher_system_prompt", prompt["teacher_system"]),
            ],
        )
    )


def model_flags(input):
    """--model_theta and --model_t, for the models that are inputs of the job."""
    return " ".join(
        f"--{name} {input[key]}"
        for name, key in (("model_theta", "policy"), ("model_t", "teacher"))
        if key in input.keys()
    )


def drawing_flags(temperature, served=True, selected=True):
    """The slice of the config that determines a completion; q* is `served` by nobody.

    Log-probabilities are kept of what is `selected` from: nothing looks at those of held-out completions.
    """
    generation = config["generation"]
    logprobs = generation["save_logprobs"] and selected
    keys = ("top_k", "top_p", "max_new_tokens", "dtype")
    return " ".join(
        [flag("temperature", temperature), flag("seed", config["seed"])]
        + [flag(key, generation[key]) for key in keys]
        + [flag("stop", string) for string in generation["stop"]]
        + image_root_flags()
        + (["--save_token_ids"] if generation["save_token_ids"] else [])
        # An arg-max is drawn with certainty: there is nothing to keep.
        + (["--save_logprobs"] if logprobs and temperature else [])
        + (
            [flag("backend", "vllm")]
            if served and generation["backend"] == "vllm"
            else []
        )
    )


def image_root_flags():
    """Where the prompts' images lie, if the config says so."""
    root = config["data"]["image_root"]
    return [flag("image_root", root)] if root else []


def speed_flags():
    """The slice that decides only where and how fast."""
    generation = config["generation"]
    keys = ("batch_size", "device", "device_t", "draft_tokens")
    return " ".join(
        [flag(key, generation[key]) for key in keys if generation[key] is not None]
        + progress_flags()
        + (
            serving_flags()
            if generation["backend"] == "vllm"
            else [flag("max_failed_fraction", config["serving"]["max_failed_fraction"])]
        )
    )


def progress_flags():
    """The verdict that is told while a job draws: the selection's, unless it is a user's own, or dear."""
    name = config["selection"]["scorer"]
    if scoring.kind(name) not in ("exact_answer", "numeric_error"):
        return []
    options = json.dumps(config["scoring"][name], sort_keys=True)
    return [flag("progress_scorer", f"{name}={options}")]


def serving_flags():
    """Servers and their client."""
    serving = config["serving"]
    named = {
        "vllm_python": "python",
        "vllm_args": "arguments",
        "server_timeout": "start_seconds",
        "request_timeout": "request_seconds",
    }
    same = (
        "tensor_parallel_size",
        "gpu_memory_utilization",
        "max_model_len",
        "served_model_name",
        "concurrency",
        "max_retries",
        "max_failed_fraction",
    )
    given = {name: serving[key] for name, key in named.items()} | {
        key: serving[key] for key in same
    }
    return [
        flag(name, value) for name, value in given.items() if value not in (None, "")
    ] + [flag("base_url", url) for url in serving["base_url"]]


def selection_flags():
    """The rules of selection as select.py takes them; what is not asked for is left to its defaults."""
    selection, preset = config["selection"], schema()["properties"]["selection"]
    always = ("strategy", "scorer", "max_error", "max_per_prompt")
    always += ("min_pass_rate", "max_pass_rate", "num_examples")
    changed = [
        key
        for key, part in preset["properties"].items()
        if key not in always + OF_THE_RULE and selection[key] != part["default"]
    ]
    values = [key for key in changed if not isinstance(selection[key], (bool, list))]
    lists = [key for key in changed if isinstance(selection[key], list)]
    return " ".join(
        [
            flag(key, selection[key])
            for key in (*always, *values)
            if selection[key] is not None
        ]
        + [
            f"--{key} " + " ".join(shlex.quote(each) for each in selection[key])
            for key in lists
        ]
        + ["--skip_identical"] * selection["skip_identical"]
        + ["--include_reference_completion_for_rejection_sampling"]
        * selection["include_reference"]
        + ([] if selection["deduplicate"] else ["--keep_duplicates"])
    )


def export_flags():
    """What rows are verified with, beside the scorers and the chat template."""
    return " ".join(
        flag(name, value)
        for name, value in (
            ("scorer", config["selection"]["scorer"]),
            ("image_root", config["data"]["image_root"]),
        )
        if value is not None
    )


def all_of_arm(wildcards, input):
    """The flags of the formats that look at more than the accepted completions."""
    folders = [
        (name, os.path.dirname(input.get(name)[0]))
        for name in ("scored", "diagnostics")
        if input.get(name)
    ]
    sizes = [flag("n", wildcards.n), flag("block_size", BLOCK_SIZE)] if folders else []
    return " ".join([flag(name, folder) for name, folder in folders] + sizes)


# Keys of the selection that name inputs of its job.
OF_THE_RULE = ("deduplicate", "decontaminate", "decontaminate_heldout", "unhinted")


def training_flags():
    """The recipe as train.py takes it."""
    training = config["training"]
    keys = (
        "max_epochs",
        "train_batch_size",
        "micro_train_batch_size",
        "learning_rate",
        "lr_scheduler",
        "warmup_ratio",
        "weight_decay",
        "max_length",
        "max_prompt_length",
        "dtype",
        "attn_implementation",
        "save_steps",
    )
    switches = ("bf16", "gradient_checkpointing")
    return " ".join(
        [flag(key, training[key]) for key in keys if training[key] is not None]
        + [f"--{key}" for key in switches if training[key]]
        + image_root_flags()
    )
