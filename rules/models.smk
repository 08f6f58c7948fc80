# A model becomes a manifest: the small file that everything drawn from it depends on.


def configured_model(wildcards):
    """The directory or hub name behind a manifest's name."""
    models = config["models"]
    if wildcards.model == "teacher":
        return models["teacher"]
    return models["policy"][wildcards.model.removeprefix("policy-")]


rule describe_model:
    output:
        "<results>/models/{model}/manifest.json",
    log:
        "<logs>/models/{model}.log",
    benchmark:
        "<benchmarks>/models/{model}.jsonl"
    wildcard_constraints:
        model=r"teacher|policy-[^/]+",
    params:
        path=configured_model,
        identity=lambda wildcards: model_identity(configured_model(wildcards)),
    message:
        "Describing model {wildcards.model}"
    shell:
        "python {SCRIPTS}/manifest.py --model {params.path:q} --output {output} > {log} 2>&1"
