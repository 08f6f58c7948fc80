# Accepted completions as training data, each row read back and verified again.


rule export:
    input:
        accepted="<results>/selected/step-{step}/{alpha}/n-{n}/accepted.jsonl",
        prompts=prompts("train"),
    output:
        [
            f"<results>/training_data/step-{{step}}/{{alpha}}/n-{{n}}/{formats.find(name).filename}"
            for name in config["export"]["formats"]
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
    message:
        "Exporting step {wildcards.step}, alpha {wildcards.alpha}, n = {wildcards.n}"
    shell:
        "{params.program} --accepted {input.accepted} --prompts {params.prompts}"
        " --num_shards {params.num_shards} --formats {params.formats} --scorers {params.scorers}"
        " --output_dir {params.folder} > {log} 2>&1"
