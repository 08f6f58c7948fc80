# What a job asks of the machine or the cluster. Nothing here is a parameter: changing it reruns nothing.


def program(name, *flags, of_input=None):
    """The command that starts a program of scripts/: a function of the output, so that Snakemake records no path.

    `flags` come behind it, and what `of_input` makes of the job's input.
    """
    # With an environment of Snakemake's own making, that one's Python; else the one that a cluster's
    # user names, for a driver without torch; else the one that runs Snakemake, activated or not.
    methods = workflow.deployment_settings.deployment_method
    python = "python" if methods else os.getenv("WINNOW_PYTHON", sys.executable)
    path = os.path.relpath(os.path.join(CHECKOUT, "scripts", name))
    # Told of the job's end, the shell would die of it and take the program along before that has stopped.
    command = " ".join(["trap : TERM;", shlex.quote(python), shlex.quote(path), *flags])
    if of_input:
        return signed(lambda wildcards, input: f"{command} {of_input(input)}")
    return signed(lambda wildcards, output: command)


def threads_of(stage):
    """The CPU cores of a stage's job."""
    return config["resources"][stage]["threads"]


def job_resources(stage):
    """Memory (MB), run time (minutes), nodes and GPUs of a stage's job, under Snakemake's portable names."""
    asked = config["resources"][stage]
    gpus = {}
    if "gpu" in asked:
        gpus = gpu_resources(
            asked["gpu"], asked.get("gpu_model"), asked.get("nodes", 1)
        )
    return {
        "mem_mb": grown(asked["mem_mb"]),
        "runtime": grown(asked["runtime"]),
        **gpus,
    }


def grown(amount):
    """An amount that grows with each attempt: what ran out of time or memory gets more."""
    return signed(lambda wildcards, attempt: amount * attempt)


def gpu_resources(count, model, nodes):
    """GPUs, `count` on each of so many nodes, as the cluster likes to be asked.

    Always all of `gpu`, `gres` and `nodes`, for the commands name them: a profile may set them for a rule.
    """
    kind = f"{model}:{count}" if model else f"{count}"
    asked = {"gpu": count * nodes, "gres": "", "nodes": nodes}
    if count and GPU_REQUEST == "gres":
        asked |= {"gpu": 0, "gres": f"gpu:{kind}", "gpus_in_flight": count * nodes}
    elif count and model:
        asked["gpu_model"] = model
    if nodes > 1:
        # `mpi` says that the program calls srun itself: one task a node, whatever the GPUs.
        asked |= {"mpi": "srun", "tasks": nodes, "tasks_per_gpu": 0}
        if asked["gpu"]:
            asked["slurm_extra"] = f"--gpus-per-node={kind}"
    return asked


def default_resource(name):
    """A default resource of the profile or the command line as it was written; None where there is none."""
    # The one form that Snakemake's versions share: its objects hold an expression, not yet a value.
    given = getattr(workflow.resource_settings.default_resources, "args", [])
    said = dict(each.split("=", 1) for each in given)
    return said.get(name, "").strip("'\"") or None


# The profile slurm-gres says it.
GPU_REQUEST = default_resource("gpu_request")
