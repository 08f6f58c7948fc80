# A data set becomes prompt shards, once for each split.


def dataset_input(split):
    """The data set as an input where it is a local file; `ancient`, for its content is a parameter."""
    path = config["data"][split]["path"]
    return [ancient(path)] if is_local_dataset(path) else []


def dataset_flags(split):
    """The flags that say how to read a split and what to show of it."""
    source, data, prompt = config["data"][split], config["data"], config["prompt"]
    return " ".join(
        filter(
            None,
            [
                flag("dataset", source["path"]),
                flag("dataset_split", source["split"]),
                flag("start_idx", source["start_idx"]),
                flag("num_samples", source["num_samples"]),
                flag("dataset_adapter", data["adapter"]),
                flag("prompt_field", data["prompt_field"]),
                flag("response_field", data["response_field"]),
                flag("prompt_template", prompt["student"]),
                flag("system_prompt", prompt["student_system"]),
                flag("teacher_template", prompt["teacher"]),
                flag("teacher_system_prompt", prompt["teacher_system"]),
            ],
        )
    )


rule prompts_train:
    input:
        dataset_input("train"),
    output:
        prompts("train"),
    log:
        "<logs>/prompts/train.log",
    benchmark:
        "<benchmarks>/prompts/train.jsonl"
    params:
        code=code("prompts.py"),
        content=content(config["data"]["train"]["path"]),
        folder=subpath(output[0], parent=True),
        num_shards=config["data"]["train"]["shards"],
        flags=lambda wildcards: dataset_flags("train"),
    message:
        "Reading the training prompts"
    shell:
        "python {SCRIPTS}/prompts.py {params.flags}"
        " --num_shards {params.num_shards} --output_dir {params.folder} > {log} 2>&1"


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
        code=code("prompts.py"),
        content=content(config["data"]["heldout"]["path"]),
        folder=subpath(output[0], parent=True),
        num_shards=config["data"]["heldout"]["shards"],
        flags=lambda wildcards: dataset_flags("heldout"),
    message:
        "Reading the held-out prompts"
