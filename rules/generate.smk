# A shard of prompts and one or two models become a block of completions.


rule generate:
    input:
        unpack(signed(lambda wildcards: models_of(wildcards.step, wildcards.alpha))),
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
    params:
        # What changes no text goes with the program, which is not recorded: changing it reruns nothing.
        program=program("generate.py", speed_flags(), of_input=model_flags),
        code=code("generate.py"),
        step="{step}",
        alpha="{alpha}",
        num_rollout=BLOCK_SIZE,
        drawing=drawing_flags(config["generation"]["temperature"]),
    message:
        "Drawing step {wildcards.step}, alpha {wildcards.alpha}, shard {wildcards.shard}, block {wildcards.block}"
    shell:
        "{params.program} --prompts {input.prompts}"
        " --step {params.step} --alpha_method {params.alpha}"
        " --num_rollout {params.num_rollout} --block {wildcards.block} {params.drawing}"
        " --devices {resources.gpu} --gres={resources.gres}"
        " --output {output.completions} --save_diagnostics --attempts {log}.attempts"
        " --vllm_log {log}.vllm.log > {log} 2>&1"


use rule generate as generate_qstar with:
    output:
        completions="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl",
        diagnostics="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.diagnostics.jsonl",
    wildcard_constraints:
        alpha="(?!(policy|teacher)/)[a-z_]+(-[0-9.]+)?",
    params:
        program=program("generate.py", speed_flags(), of_input=model_flags),
        code=code("generate.py"),
        step="{step}",
        alpha="{alpha}",
        num_rollout=BLOCK_SIZE,
        drawing=drawing_flags(config["generation"]["temperature"], served=False),
    message:
        "Drawing from q*: step {wildcards.step}, alpha {wildcards.alpha}, shard {wildcards.shard}, block {wildcards.block}"
