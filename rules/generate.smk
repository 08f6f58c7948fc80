# A shard of prompts and one or two models become a block of completions.


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


def model_flags(wildcards, input):
    """--model_theta and --model_t, for the models that are inputs of the job."""
    return " ".join(
        f"--{name} {input[key]}"
        for name, key in (("model_theta", "policy"), ("model_t", "teacher"))
        if key in input.keys()
    )


def drawing_flags():
    """The slice of the config that determines a completion."""
    generation = config["generation"]
    keys = ("top_k", "top_p", "max_new_tokens", "dtype")
    return " ".join(
        [flag("seed", config["seed"]), *(flag(key, generation[key]) for key in keys)]
        + (["--save_token_ids"] if generation["save_token_ids"] else [])
    )


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
    resources:
        gpu=1,
        # Neither changes a text, and what is no parameter reruns nothing.
        batch_size=config["generation"]["batch_size"],
        device=config["generation"]["device"],
    params:
        code=code("generate.py"),
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
        "python {SCRIPTS}/generate.py --prompts {input.prompts} {params.models}"
        " --step {params.step} --alpha_method {params.alpha}"
        " --num_rollout {params.num_rollout} --first_sample {params.first_sample}"
        " --temperature {params.temperature} {params.drawing}"
        " --batch_size {resources.batch_size} --device {resources.device}"
        " --output {output.completions} --save_diagnostics > {log} 2>&1"


use rule generate as generate_qstar with:
    output:
        completions="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl",
        diagnostics="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.diagnostics.jsonl",
    wildcard_constraints:
        alpha="(?!(policy|teacher)/)[a-z_]+(-[0-9.]+)?",
    message:
        "Drawing from q*: step {wildcards.step}, alpha {wildcards.alpha}, shard {wildcards.shard}, block {wildcards.block}"
