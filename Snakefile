# Winnow: prompts in; verified training data, diagnostics and a better checkpoint out.
#
#   snakemake --cores all                 everything that config.yaml asks for
#   snakemake --cores all -n              what would run, and why
#   snakemake --cores all selected        up to the selected completions, and no training
#   snakemake --profile slurm             the same on a SLURM cluster

from snakemake.utils import min_version

min_version("9.21")


include: "rules/checkout.smk"


CHECKOUT = checkout(
    workflow.current_basedir.join("Snakefile"), workflow.sourcecache.cache_path
)
use_library(CHECKOUT)


# Another --configfile stands alone: merged into this one, it would inherit the example's models.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/resources.smk"
include: "rules/inputs.smk"
include: "rules/flags.smk"
include: "rules/report.smk"
include: "rules/handlers.smk"


pathvars:
    results=RESULTS,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


wildcard_constraints:
    step=r"[A-Za-z0-9][A-Za-z0-9_.-]*",
    alpha=r"[a-z_]+(-[0-9.]+)?",
    n=r"\d+",
    shard=r"\d{5}-of-\d{5}",
    block=r"\d+",
    checkpoint=r"step-[^/]+/(untrained|[^/]+/n-\d+)",


rule all:
    input:
        "<results>/summary.json",
        "<results>/summary.md",
        "<results>/summary.html",
        "<results>/summary.png",
        # Named besides the summary, so that one that is deleted is made again, with what is below it.
        all_products(),


rule selected:
    input:
        [LAYOUT.selected(arm, "statistics.txt") for arm in ARMS],


include: "rules/prompts.smk"
include: "rules/models.smk"
include: "rules/generate.smk"
include: "rules/score.smk"
include: "rules/select.smk"
include: "rules/export.smk"
include: "rules/diagnose.smk"
include: "rules/train.smk"


if "heldout" in config["data"]:

    include: "rules/evaluate.smk"


include: "rules/summarize.smk"
