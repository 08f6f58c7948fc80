# A model becomes a manifest: the small file that everything drawn from it depends on.

MODELS = {f"policy-{step}": path for step, path in config["models"]["policy"].items()}
if config["models"]["teacher"]:
    MODELS["teacher"] = config["models"]["teacher"]

# Looked at now, so that a model that cannot be used is an error before anything runs.
IDENTITIES = {name: model_identity(path) for name, path in MODELS.items()}


rule describe_model:
    output:
        "<results>/models/{model}/manifest.json",
    log:
        "<logs>/models/{model}.log",
    benchmark:
        "<benchmarks>/models/{model}.jsonl"
    wildcard_constraints:
        model="|".join(map(re.escape, MODELS)),
    localrule: True
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("models")
    resources:
        **job_resources("models"),
    params:
        program=program("manifest.py"),
        path=lambda wildcards: MODELS[wildcards.model],
        identity=lambda wildcards: IDENTITIES[wildcards.model],
    message:
        "Describing model {wildcards.model}"
    shell:
        "{params.program} --model {params.path:q} --output {output} > {log} 2>&1"
