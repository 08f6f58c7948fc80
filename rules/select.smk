# The completions that become training data, and the account of all the others.


rule select:
    input:
        prompts=prompts("train"),
        scored=scored_blocks,
        heldout=(
            prompts("heldout") if config["selection"]["decontaminate_heldout"] else []
        ),
        unhinted=unhinted_blocks,
    output:
        accepted="<results>/selected/step-{step}/{alpha}/n-{n}/accepted.jsonl",
        ledger="<results>/selected/step-{step}/{alpha}/n-{n}/ledger.jsonl",
        statistics="<results>/selected/step-{step}/{alpha}/n-{n}/statistics.json",
        text="<results>/selected/step-{step}/{alpha}/n-{n}/statistics.txt",
        page=of_arm("<results>/selected/step-{step}/{alpha}/n-{n}/selection.html"),
    log:
        "<logs>/selected/step-{step}/{alpha}/n-{n}.log",
    benchmark:
        "<benchmarks>/selected/step-{step}/{alpha}/n-{n}.jsonl"
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("select")
    resources:
        **job_resources("select"),
    params:
        program=program("select.py"),
        code=code("select.py"),
        prompts=lambda wildcards, input: os.path.dirname(input.prompts[0]),
        scored=lambda wildcards, input: os.path.dirname(input.scored[0]),
        folder=subpath(output.accepted, parent=True),
        num_shards=config["data"]["train"]["shards"],
        block_size=BLOCK_SIZE,
        n=lambda wildcards: int(wildcards.n),
        seed=config["seed"],
        title=lambda wildcards: f"{config['run']}, step {wildcards.step}, {wildcards.alpha}, n = {wildcards.n}",
        flags=selection_flags(),
        # By content: a test set that is touched reruns nothing.
        sets=test_set_contents(),
        beyond=beyond_scores,
    message:
        "Selecting from step {wildcards.step}, alpha {wildcards.alpha}, n = {wildcards.n}"
    shell:
        "{params.program} --prompts {params.prompts} --input {params.scored}"
        " --num_shards {params.num_shards} --block_size {params.block_size} --n {params.n}"
        " --seed {params.seed} {params.flags} {params.beyond} --title {params.title:q}"
        " --output_dir {params.folder} > {log} 2>&1"
