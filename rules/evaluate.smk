# The same rules on the held-out prompts, for every checkpoint: draw, score, measure.


use rule prompts_train as prompts_heldout with:
    input:
        dataset_input("heldout"),
    output:
        prompts("heldout"),
    log:
        "<logs>/prompts/heldout.log",
    benchmark:
        "<benchmarks>/prompts/heldout.jsonl"
    params:
        program=program("prompts.py"),
        code=code("prompts.py"),
        adapter=adapters.code(config["data"]["adapter"]),
        content=content(config["data"]["heldout"]["path"]),
        folder=subpath(output[0], parent=True),
        num_shards=config["data"]["heldout"]["shards"],
        flags=lambda wildcards: dataset_flags("heldout"),
    message:
        "Reading the held-out prompts"


use rule generate as generate_heldout with:
    input:
        prompts="<results>/prompts/heldout/{shard}.jsonl",
        policy=checkpoint_manifest,
    output:
        completions="<results>/evaluation/{checkpoint}/completions/{shard}.block-{block}.jsonl",
    log:
        "<logs>/evaluation/{checkpoint}/completions/{shard}.block-{block}.log",
    benchmark:
        "<benchmarks>/evaluation/{checkpoint}/completions/{shard}.block-{block}.jsonl"
    params:
        # What changes no text goes with the program, which is not recorded: changing it reruns nothing.
        program=program("generate.py", speed_flags(), of_input=model_flags),
        code=code("generate.py"),
        step="{checkpoint}",
        alpha="policy",
        num_rollout=config["evaluation"]["n"],
        drawing=drawing_flags(config["evaluation"]["temperature"], selected=False),
    message:
        "Drawing held-out completions of {wildcards.checkpoint}"


use rule score as score_heldout with:
    input:
        completions="<results>/evaluation/{checkpoint}/completions/{shard}.block-{block}.jsonl",
        prompts="<results>/prompts/heldout/{shard}.jsonl",
    output:
        "<results>/evaluation/{checkpoint}/scored/{shard}.block-{block}.jsonl",
    log:
        "<logs>/evaluation/{checkpoint}/scored/{shard}.block-{block}.log",
    benchmark:
        "<benchmarks>/evaluation/{checkpoint}/scored/{shard}.block-{block}.jsonl"
    params:
        # Nothing else is asked: a judge costs.
        program=program("score.py", *access_flags(heldout_scorers())),
        code=code("score.py"),
        versions=scoring.versions(heldout_scorers()),
        scorers=scorer_flags(heldout_scorers()),
    message:
        "Scoring held-out completions of {wildcards.checkpoint}"


rule evaluate:
    input:
        prompts=prompts("heldout"),
        scored=[
            f"<results>/evaluation/{{checkpoint}}/scored/{shard}.block-0.jsonl"
            for shard in shards("heldout")
        ],
    output:
        "<results>/evaluation/{checkpoint}/evaluation.json",
    log:
        "<logs>/evaluation/{checkpoint}/evaluation.log",
    benchmark:
        "<benchmarks>/evaluation/{checkpoint}/evaluation.jsonl"
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("evaluate")
    resources:
        **job_resources("evaluate"),
    params:
        program=program("evaluate.py"),
        code=code("evaluate.py"),
        prompts=lambda wildcards, input: os.path.dirname(input.prompts[0]),
        scored=lambda wildcards, input: os.path.dirname(input.scored[0]),
        num_shards=config["data"]["heldout"]["shards"],
        n=config["evaluation"]["n"],
        scorer=config["evaluation"]["scorer"],
    message:
        "Evaluating {wildcards.checkpoint}"
    shell:
        "{params.program} --prompts {params.prompts} --input {params.scored}"
        " --num_shards {params.num_shards} --block_size {params.n} --n {params.n}"
        " --scorer {params.scorer:q} --output {output} > {log} 2>&1"
