# A shard of prompts and one or two models become a block of completions.


rule generate:
    input:
        unpack(lambda wildcards: models_of(wildcards.step, wildcards.alpha)),
        prompts="<results>/prompts/train/{shard}.jsonl",
    output:
        completions="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl",
    log:
        "<logs>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.log",
    benchmark:
        "<benchmarks>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl"
    wildcard_constraints:
        alpha="policy|teacher",
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("generate")
    resources:
        **job_resources("generate"),
        # Neither changes a text, and what is no parameter reruns nothing.
        batch_size=config["generation"]["batch_size"],
        device=config["generation"]["device"],
    params:
        program=program("generate.py"),
        code=code("generate.py"),
        devices=devices_of,
        models=model_flags,
        step=lambda wildcards: wildcards.step,
        alpha=lambda wildcards: wildcards.alpha,
        num_rollout=BLOCK_SIZE,
        first_sample=lambda wildcards: int(wildcards.block) * BLOCK_SIZE,
        temperature=config["generation"]["temperature"],
        drawing=drawing_flags(),
    message:
        "Drawing step {wildcards.step}, alpha {wildcards.alpha}, shard {wildcards.shard}, block {wildcards.block}"
    shell:
        "{params.program} --prompts {input.prompts} {params.models}"
        " --step {params.step} --alpha_method {params.alpha}"
        " --num_rollout {params.num_rollout} --first_sample {params.first_sample}"
        " --temperature {params.temperature} {params.drawing}"
        " --batch_size {resources.batch_size} --device {resources.device} --devices {params.devices}"
        " --output {output.completions} --save_diagnostics --attempts {log}.attempts > {log} 2>&1"


use rule generate as generate_qstar with:
    output:
        completions="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl",
        diagnostics="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.diagnostics.jsonl",
    wildcard_constraints:
        alpha="(?!(policy|teacher)/)[a-z_]+(-[0-9.]+)?",
    message:
        "Drawing from q*: step {wildcards.step}, alpha {wildcards.alpha}, shard {wildcards.shard}, block {wildcards.block}"
