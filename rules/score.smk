# Every completion gets its scores; nothing is dropped here.


rule score:
    input:
        completions="<results>/completions/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl",
        prompts="<results>/prompts/train/{shard}.jsonl",
    output:
        "<results>/scored/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl",
    log:
        "<logs>/scored/train/step-{step}/{alpha}/{shard}.block-{block}.log",
    benchmark:
        "<benchmarks>/scored/train/step-{step}/{alpha}/{shard}.block-{block}.jsonl"
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("score")
    resources:
        **job_resources("score"),
    params:
        # How a judge is reached decides no score: it goes with the program, which is not recorded.
        program=program("score.py", *access_flags()),
        code=code("score.py"),
        versions=scoring.versions(config["scoring"]),
        scorers=scorer_flags(),
    message:
        "Scoring step {wildcards.step}, alpha {wildcards.alpha}, shard {wildcards.shard}, block {wildcards.block}"
    shell:
        "{params.program} --input {input.completions} --prompts {input.prompts}"
        " --scorers {params.scorers} --devices {resources.gpu} --gres={resources.gres} --output {output} --attempts {log}.attempts > {log} 2>&1"
