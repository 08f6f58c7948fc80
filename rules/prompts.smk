# A data set becomes prompt shards, once for each split.


rule prompts_train:
    input:
        dataset_input("train"),
    output:
        prompts("train"),
    log:
        "<logs>/prompts/train.log",
    benchmark:
        "<benchmarks>/prompts/train.jsonl"
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("prompts")
    resources:
        **job_resources("prompts"),
    params:
        program=program("prompts.py"),
        code=code("prompts.py"),
        adapter=adapters.code(config["data"]["adapter"]),
        content=content(config["data"]["train"]["path"]),
        folder=subpath(output[0], parent=True),
        num_shards=config["data"]["train"]["shards"],
        flags=lambda wildcards: dataset_flags("train"),
    message:
        "Reading the training prompts"
    shell:
        "{params.program} {params.flags}"
        " --num_shards {params.num_shards} --output_dir {params.folder} > {log} 2>&1"
