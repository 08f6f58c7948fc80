# What a job asks of the machine or the cluster. Nothing here is a parameter: changing it reruns nothing.


def program(name):
    """The command that starts a program of scripts/: a function of the output, so that Snakemake records no path."""
    # With an environment of Snakemake's own making, that one's Python; else the one that a cluster's
    # user names, for a driver without torch; else the one that runs Snakemake, activated or not.
    methods = workflow.deployment_settings.deployment_method
    python = "python" if methods else os.getenv("WINNOW_PYTHON", sys.executable)
    path = os.path.relpath(os.path.join(CHECKOUT, "scripts", name))
    # Told of the job's end, the shell would die of it and take the program along before that has stopped.
    command = f"trap : TERM; {shlex.quote(python)} {shlex.quote(path)}"
    return lambda wildcards, output: command


def threads_of(stage):
    """The CPU cores of a stage's job."""
    return config["resources"][stage]["threads"]


def job_resources(stage):
    """Memory (MB), run time (minutes), nodes and GPUs of a stage's job, under Snakemake's portable names."""
    asked = config["resources"][stage]
    return {
        "mem_mb": grown(asked["mem_mb"]),
        "runtime": grown(asked["runtime"]),
        **gpu_resources(
            asked.get("gpu", 0), asked.get("gpu_model"), asked.get("nodes", 1)
        ),
    }


def grown(amount):
    """An amount that grows with each attempt: what ran out of time or memory gets more."""
    return lambda wildcards, attempt: amount * attempt


def gpu_resources(count, model, nodes):
    """GPUs, `count` on each of so many nodes, as the cluster likes to be asked; nothing for no GPU."""
    several = {}
    if nodes > 1:
        # `mpi` says that the program calls srun itself: one task a node, whatever the GPUs.
        several = {"nodes": nodes, "mpi": "srun", "tasks": nodes, "tasks_per_gpu": 0}
    if not count:
        return several
    kind = f"{model}:{count}" if model else f"{count}"
    if GPU_REQUEST == "gres":
        return {"gres": f"gpu:{kind}", "gpus_in_flight": count * nodes, **several}
    if several:
        several["slurm_extra"] = f"--gpus-per-node={kind}"
    named = {"gpu_model": model} if model else {}
    return {"gpu": count * nodes, **named, **several}


def nodes_of(wildcards, resources):
    """The nodes that a job was given in the end: a profile's set-resources may have changed them."""
    return resources.get("nodes", 1)


def devices_of(wildcards, resources):
    """The GPUs that a job was given in the end, on each of its nodes."""
    if resources.get("gres"):
        return int(resources.gres.rpartition(":")[2])
    return resources.get("gpu", 0) // nodes_of(wildcards, resources)


def default_resource(name):
    """A default resource of the profile or the command line as it was written; None where there is none."""
    # The one form that Snakemake's versions share: its objects hold an expression, not yet a value.
    given = getattr(workflow.resource_settings.default_resources, "args", [])
    said = dict(each.split("=", 1) for each in given)
    return said.get(name, "").strip("'\"") or None


# The profile slurm-gres says it.
GPU_REQUEST = default_resource("gpu_request")
