# Training data becomes the next checkpoint; its manifest comes last.


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
        "dtype",
        "save_steps",
    )
    switches = ("bf16", "gradient_checkpointing")
    return " ".join(
        [flag(key, training[key]) for key in keys if training[key] is not None]
        + [f"--{key}" for key in switches if training[key]]
    )


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
    resources:
        gpu=1,
    params:
        code=code("train.py"),
        folder=subpath(output.manifest, parent=True),
        accelerate_config=config["training"]["accelerate_config"],
        seed=config["seed"],
        flags=training_flags(),
    message:
        "Training on step {wildcards.step}, alpha {wildcards.alpha}, n = {wildcards.n}"
    shell:
        "python {SCRIPTS}/train.py --pretrain {input.policy} --train_data {input.data}"
        " --save_path {params.folder} --accelerate_config {params.accelerate_config:q}"
        " --seed {params.seed} {params.flags} > {log} 2>&1"
