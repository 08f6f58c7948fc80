# Accepted completions as training data, each row read back and verified again.

EVERY = bool(formats.needs_scored(config["export"]["formats"]))
TEMPLATE = config["export"]["chat_template"]
QSTAR = "vespo_diagnostics" in config["export"]["formats"]


rule export:
    input:
        accepted="<results>/selected/step-{step}/{alpha}/n-{n}/accepted.jsonl",
        prompts=prompts("train"),
        policy=lambda wildcards: [] if TEMPLATE else LAYOUT.manifest(wildcards.step),
        scored=scored_blocks if EVERY else [],
        diagnostics=diagnostics_of if QSTAR else [],
    output:
        [
            f"<results>/training_data/step-{{step}}/{{alpha}}/n-{{n}}/{name}"
            for name in formats.filenames(config["export"]["formats"])
        ],
    log:
        "<logs>/training_data/step-{step}/{alpha}/n-{n}.log",
    benchmark:
        "<benchmarks>/training_data/step-{step}/{alpha}/n-{n}.jsonl"
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("export")
    resources:
        **job_resources("export"),
    params:
        program=program("export.py"),
        code=code("export.py"),
        plugins=plugins.fingerprint(config["export"]["formats"]),
        prompts=lambda wildcards, input: os.path.dirname(input.prompts[0]),
        folder=subpath(output[0], parent=True),
        num_shards=config["data"]["train"]["shards"],
        formats=config["export"]["formats"],
        scorers=scorer_flags(),
        flags=export_flags(),
        template=lambda wildcards, input: TEMPLATE or input.policy,
        template_content=model_identity(TEMPLATE) if TEMPLATE else "",
        all_of_arm=all_of_arm,
    message:
        "Exporting step {wildcards.step}, alpha {wildcards.alpha}, n = {wildcards.n}"
    shell:
        "{params.program} --accepted {input.accepted} --prompts {params.prompts}"
        " --num_shards {params.num_shards} --formats {params.formats} --scorers {params.scorers}"
        " --chat_template {params.template} {params.flags} {params.all_of_arm}"
        " --output_dir {params.folder} > {log} 2>&1"
