# All arms side by side.

STEPS = sorted({arm.step for arm in ARMS})
MEASURED = "heldout" in config["data"]


rule summarize:
    input:
        statistics=[LAYOUT.selected(arm, "statistics.json") for arm in ARMS],
        diagnostics=[LAYOUT.diagnostics(arm, "diagnostics.json") for arm in ARMS],
        before=[LAYOUT.evaluation_before(step) for step in STEPS if MEASURED],
        after=[LAYOUT.evaluation_after(arm) for arm in TRAINED],
    output:
        json="<results>/summary.json",
        table="<results>/summary.md",
        figure="<results>/summary.png",
        page=report(
            "<results>/summary.html",
            caption="../report/summary.rst",
            category=HEADINGS["summary.html"],
            labels={"run": config["run"], "figure": "arms side by side"},
        ),
    log:
        "<logs>/summary.log",
    benchmark:
        "<benchmarks>/summary.jsonl"
    conda:
        "../envs/winnow.yaml"
    threads: threads_of("summarize")
    resources:
        **job_resources("summarize"),
    params:
        program=program("summarize.py"),
        code=code("summarize.py"),
        folder=subpath(output.json, parent=True),
        arms=[arm.path for arm in ARMS],
        trained=[arm.path for arm in TRAINED],
        rounds=[arm.path for arm in LAYOUT.rounds],
        measured="" if MEASURED else " --no_heldout",
        num_shards=config["data"]["train"]["shards"],
        block_size=BLOCK_SIZE,
        # A function of the output, so that Snakemake records nothing: other resources rerun nothing.
        resources=lambda wildcards, output: json.dumps(config["resources"]),
    message:
        "Summing up the arms"
    shell:
        "{params.program} --run_dir {params.folder} --arms {params.arms}"
        " --trained {params.trained} --rounds {params.rounds}"
        "{params.measured} --num_shards {params.num_shards} --block_size {params.block_size}"
        " --resources {params.resources:q} > {log} 2>&1"
