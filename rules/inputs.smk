# Which files a job reads, where that depends on its wildcards or on the config.


def prompts(split):
    """The prompt files of a split."""
    return [f"<results>/prompts/{split}/{shard}.jsonl" for shard in shards(split)]


def arm_of(wildcards):
    """The arm that a job's wildcards name."""
    return Arm(wildcards.step, wildcards.alpha, int(wildcards.n))


def dataset_input(split):
    """The data set where it is a local file; `ancient`, for its content is a parameter.

    `local`, so that a module's prefix leaves it where the importing workflow's user has it.
    """
    path = config["data"][split]["path"]
    return [ancient(local(path))] if is_local_dataset(path) else []


def models_of(step, alpha):
    """The manifests that an alpha needs: policy and teacher run one model, the others mix both."""
    student = LAYOUT.manifest(step)
    teacher = (
        "<results>/models/teacher/manifest.json"
        if config["models"]["teacher"]
        else student
    )
    method = Alpha.parse(alpha).method
    return {
        **({"policy": student} if method != "teacher" else {}),
        **({"teacher": teacher} if method != "policy" else {}),
    }


def checkpoint_manifest(wildcards):
    """The manifest of a step itself, or of the checkpoint that an arm trained."""
    step, _, trained = wildcards.checkpoint.partition("/")
    if trained == "untrained":
        return LAYOUT.manifest(step.removeprefix("step-"))
    return f"<results>/checkpoints/{wildcards.checkpoint}/manifest.json"


def scored_blocks(wildcards):
    """The scored blocks that hold an arm's first n samples, in order."""
    arm = arm_of(wildcards)
    return [
        f"{LAYOUT.scored(arm)}/{shard}.block-{block}.jsonl"
        for shard in shards("train")
        for block in blocks_for(arm.n, BLOCK_SIZE)
    ]


def test_sets():
    """The files of the test sets that the selection is kept clear of, by name."""
    named = config["selection"]["decontaminate"]
    return {
        name: [files] if isinstance(files, str) else files
        for name, files in named.items()
    }


def test_set_contents():
    """What identifies these files."""
    found = {}
    for name, paths in test_sets().items():
        for path in paths:
            if not os.path.isfile(path):
                raise WorkflowError(
                    f"{path}: no such test set\n  expected: a local .jsonl, .json, .parquet or text file"
                    f"\n  to mend:  correct selection.decontaminate.{name} in the config"
                )
            found[path] = content_hash(path)
    return found


def unhinted_arm(wildcards):
    """The policy's own arm at this step with the most samples, or None: what saw no hint, to compare with."""
    if not config["selection"]["unhinted"] or wildcards.alpha == "policy":
        return None
    found = [arm for arm in ARMS if (arm.step, arm.alpha) == (wildcards.step, "policy")]
    return max(found, key=lambda arm: arm.n, default=None)


def unhinted_blocks(wildcards):
    """The scored blocks of that arm."""
    arm = unhinted_arm(wildcards)
    return scored_blocks(arm) if arm else []


def beyond_scores(wildcards, input):
    """The flags of select.py that name files: test sets, and completions that saw no hint."""
    sets = [f"{name}={path}" for name, paths in test_sets().items() for path in paths]
    sets += [f"heldout={path}" for path in input.heldout]
    arm = unhinted_arm(wildcards)
    given = [shlex.quote(each) for each in sets]
    unhinted = (
        f"--unhinted {os.path.dirname(input.unhinted[0])} --unhinted_n {arm.n}"
        if arm
        else ""
    )
    return " ".join((["--decontaminate", *given] if given else []) + [unhinted])


def diagnostics_of(wildcards):
    """The q* diagnostics of an arm's blocks; none where one model ran."""
    if not Alpha.parse(wildcards.alpha).needs_both:
        return []
    arm = arm_of(wildcards)
    return [
        f"{LAYOUT.completions(arm)}/{shard}.block-{block}.diagnostics.jsonl"
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
    files += [file for arm in ARMS for file in report_files(arm)]
    files += [
        LAYOUT.diagnostics(arm, "reject_sampling_results.json")
        for arm in ARMS
        if ERROR_SCORER
    ]
    files += [
        LAYOUT.training_data(arm, name)
        for arm in EXPORTED
        for name in formats.filenames(config["export"]["formats"])
    ]
    files += [LAYOUT.checkpoint(arm) for arm in TRAINED]
    return list(dict.fromkeys(blocks)) + files
