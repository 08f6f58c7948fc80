# Tables and figures of an arm.

# Rollouts prompt by prompt, where an error is measured.
ROLLOUTS = [
    f"<results>/diagnostics/step-{{step}}/{{alpha}}/n-{{n}}/{name}"
    for name in ["reject_sampling_results.json"]
    if ERROR_SCORER
]


rule diagnose:
    input:
        prompts=prompts("train"),
        scored=scored_blocks,
    output:
        table="<results>/diagnostics/step-{step}/{alpha}/n-{n}/diagnostics.json",
        text="<results>/diagnostics/step-{step}/{alpha}/n-{n}/statistics.txt",
        page=of_arm("<results>/diagnostics/step-{step}/{alpha}/n-{n}/diagnostics.html"),
        rollouts=ROLLOUTS,
        figures=[
            of_arm(f"<results>/diagnostics/step-{{step}}/{{alpha}}/n-{{n}}/{name}")
            for name in FIGURES
        ],
    log:
        "<logs>/diagnostics/step-{step}/{alpha}/n-{n}.log",
    benchmark:
        "<benchmarks>/diagnostics/step-{step}/{alpha}/n-{n}.jsonl"
    wildcard_constraints:
        alpha="policy|teacher",
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("diagnose")
    resources:
        **job_resources("diagnose"),
    params:
        program=program("diagnose.py"),
        code=code("diagnose.py"),
        prompts=lambda wildcards, input: os.path.dirname(input.prompts[0]),
        scored=lambda wildcards, input: os.path.dirname(input.scored[0]),
        folder=subpath(output.table, parent=True),
        diagnostics="",
        num_shards=config["data"]["train"]["shards"],
        block_size=BLOCK_SIZE,
        n=lambda wildcards: int(wildcards.n),
        scorer=config["selection"]["scorer"],
        rollouts=f"--rollouts {flag('error_scorer', ERROR_SCORER)}" if ROLLOUTS else "",
        title=lambda wildcards: f"{config['run']}, step {wildcards.step}, {wildcards.alpha}, n = {wildcards.n}",
    message:
        "Diagnosing step {wildcards.step}, alpha {wildcards.alpha}, n = {wildcards.n}"
    shell:
        "{params.program} --prompts {params.prompts} --scored {params.scored}"
        " {params.diagnostics} --num_shards {params.num_shards} --block_size {params.block_size}"
        " --n {params.n} --scorer {params.scorer:q} {params.rollouts} --title {params.title:q}"
        " --output_dir {params.folder} > {log} 2>&1"


use rule diagnose as diagnose_qstar with:
    input:
        prompts=prompts("train"),
        scored=scored_blocks,
        diagnostics=diagnostics_of,
    output:
        table="<results>/diagnostics/step-{step}/{alpha}/n-{n}/diagnostics.json",
        text="<results>/diagnostics/step-{step}/{alpha}/n-{n}/statistics.txt",
        page=of_arm("<results>/diagnostics/step-{step}/{alpha}/n-{n}/diagnostics.html"),
        rollouts=ROLLOUTS,
        figures=[
            of_arm(f"<results>/diagnostics/step-{{step}}/{{alpha}}/n-{{n}}/{name}")
            for name in FIGURES + QSTAR_FIGURES
        ],
    wildcard_constraints:
        alpha="(?!(policy|teacher)/)[a-z_]+(-[0-9.]+)?",
    params:
        program=program("diagnose.py"),
        code=code("diagnose.py"),
        prompts=lambda wildcards, input: os.path.dirname(input.prompts[0]),
        scored=lambda wildcards, input: os.path.dirname(input.scored[0]),
        folder=subpath(output.table, parent=True),
        diagnostics=lambda wildcards, input: f"--diagnostics {os.path.dirname(input.diagnostics[0])}",
        num_shards=config["data"]["train"]["shards"],
        block_size=BLOCK_SIZE,
        n=lambda wildcards: int(wildcards.n),
        scorer=config["selection"]["scorer"],
        rollouts=f"--rollouts {flag('error_scorer', ERROR_SCORER)}" if ROLLOUTS else "",
        title=lambda wildcards: f"{config['run']}, step {wildcards.step}, {wildcards.alpha}, n = {wildcards.n}",
