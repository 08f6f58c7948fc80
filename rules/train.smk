# Training data becomes the next checkpoint; its manifest comes last.


rule train:
    input:
        policy=lambda wildcards: LAYOUT.manifest(wildcards.step),
        data="<results>/training_data/step-{step}/{alpha}/n-{n}/prompt_completion.jsonl",
    output:
        manifest="<results>/checkpoints/step-{step}/{alpha}/n-{n}/manifest.json",
    log:
        "<logs>/checkpoints/step-{step}/{alpha}/n-{n}.log",
    benchmark:
        "<benchmarks>/checkpoints/step-{step}/{alpha}/n-{n}.jsonl"
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("train")
    resources:
        **job_resources("train"),
    params:
        program=program("train.py"),
        code=code("train.py"),
        folder=subpath(output.manifest, parent=True),
        accelerate_config=flag(
            "accelerate_config", config["training"]["accelerate_config"]
        ),
        seed=config["seed"],
        flags=training_flags(),
    message:
        "Training on step {wildcards.step}, alpha {wildcards.alpha}, n = {wildcards.n}"
    shell:
        "{params.program} --pretrain {input.policy} --train_data {input.data}"
        " --save_path {params.folder} {params.accelerate_config}"
        " --nodes {resources.nodes} --devices {resources.gpu} --gres={resources.gres}"
        " --seed {params.seed} {params.flags}"
        " --attempts {log}.attempts > {log} 2>&1"
