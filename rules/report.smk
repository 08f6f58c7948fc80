# What the report of `snakemake --report` shows, under which heading, and the labels to find an arm by.

FIGURES = ["pass_at_k.png", "pass_rate.png", "error_distribution.png", "lengths.png"]
QSTAR_FIGURES = ["qstar.png", "alpha_along_completion.png"]

# The report sorts headings as text; the numbers keep the summary first.
HEADINGS = {
    "summary.html": "1 Summary",
    "selection.html": "2 Selection",
    "pass_at_k.png": "3 pass@k",
    "pass_rate.png": "4 Pass rates",
    "error_distribution.png": "5 Errors",
    "lengths.png": "6 Lengths",
    "qstar.png": "7 Mixture",
    "alpha_along_completion.png": "8 Alpha by token",
    "diagnostics.html": "9 Numbers",
}

# Where another workflow uses the rules as modules, one report may show several runs.
FOLDER = "" if workflow.modifier.namespace is None else f"{config['run']}, "


def of_arm(path):
    """A file of an arm, marked for the report: found by step, then alpha, then n."""
    name = os.path.basename(path)
    heading = HEADINGS[name]
    return report(
        path,
        caption=f"../report/{os.path.splitext(name)[0]}.rst",
        category=heading,
        subcategory=lambda wildcards: f"{FOLDER}step {in_order(wildcards.step, 'step')}",
        # The step and the figure tell results of a search apart.
        labels=lambda wildcards: {
            **labels_below_step(wildcards),
            "step": wildcards.step,
            "figure": heading.split(maxsplit=1)[1],
        },
    )


def labels_below_step(wildcards):
    """What tells the arms of a step apart: alpha, and n, of which the report makes a switch if it is one of two.

    Where some alpha lacks some n the switch would lead nowhere, so there both are one label.
    """
    arms = [arm for arm in ARMS if arm.step == wildcards.step]
    alphas, ns = {arm.alpha for arm in arms}, {arm.n for arm in arms}
    n = in_order(wildcards.n, "n")
    if len(arms) < len(alphas) * len(ns):
        return {"alpha, n": f"{wildcards.alpha}, n = {n}"}
    return {"alpha": wildcards.alpha, "n": n}


def in_order(value, part):
    """A step or an n with spaces before it, which no browser shows: sorted as text, 8 then comes before 16."""
    return value.rjust(max(len(f"{getattr(arm, part)}") for arm in ARMS))


def report_files(arm):
    """The files of an arm that the report shows."""
    figures = FIGURES + (QSTAR_FIGURES if Alpha.parse(arm.alpha).needs_both else [])
    return [
        LAYOUT.selected(arm, "selection.html"),
        *[LAYOUT.diagnostics(arm, name) for name in ["diagnostics.html", *figures]],
    ]
