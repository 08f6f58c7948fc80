# The completions that become training data, and the account of all the others.


def selection_flags():
    """The rules of selection as select.py takes them."""
    selection = config["selection"]
    keys = (
        "strategy",
        "scorer",
        "max_error",
        "max_per_prompt",
        "min_pass_rate",
        "max_pass_rate",
        "num_examples",
    )
    return " ".join(
        [flag(key, selection[key]) for key in keys if selection[key] is not None]
        + ([] if selection["deduplicate"] else ["--keep_duplicates"])
    )


rule select:
    input:
        prompts=prompts("train"),
        scored=scored_blocks,
    output:
        accepted="<results>/selected/step-{step}/{alpha}/n-{n}/accepted.jsonl",
        ledger="<results>/selected/step-{step}/{alpha}/n-{n}/ledger.jsonl",
        statistics="<results>/selected/step-{step}/{alpha}/n-{n}/statistics.json",
        text="<results>/selected/step-{step}/{alpha}/n-{n}/statistics.txt",
    log:
        "<logs>/selected/step-{step}/{alpha}/n-{n}.log",
    benchmark:
        "<benchmarks>/selected/step-{step}/{alpha}/n-{n}.jsonl"
    params:
        code=code("select.py"),
        prompts=lambda wildcards, input: os.path.dirname(input.prompts[0]),
        scored=lambda wildcards, input: os.path.dirname(input.scored[0]),
        folder=subpath(output.accepted, parent=True),
        num_shards=config["data"]["train"]["shards"],
        block_size=BLOCK_SIZE,
        n=lambda wildcards: int(wildcards.n),
        seed=config["seed"],
        flags=selection_flags(),
    message:
        "Selecting from step {wildcards.step}, alpha {wildcards.alpha}, n = {wildcards.n}"
    shell:
        "python {SCRIPTS}/select.py --prompts {params.prompts} --input {params.scored}"
        " --num_shards {params.num_shards} --block_size {params.block_size} --n {params.n}"
        " --seed {params.seed} {params.flags} --output_dir {params.folder} > {log} 2>&1"
