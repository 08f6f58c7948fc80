# What goes into the report of `snakemake --report`: under which heading, and the labels to find an arm by.

# The report sorts its headings as text; the numbers keep the summary first.
HEADINGS = {
    "summary.html": "1 Summary",
    "summary.png": "1 Summary",
    "selection.html": "2 Selection",
    "pass_at_k.png": "3 pass@k",
    "pass_rate.png": "4 Pass rates",
    "error_distribution.png": "5 Errors",
    "lengths.png": "6 Lengths",
    "qstar.png": "7 Mixture",
    "alpha_along_completion.png": "8 Mixture along the completion",
    "diagnostics.html": "9 Numbers behind the figures",
}


def of_run(path, label):
    """A file of the whole run, marked for the report."""
    name = os.path.basename(path)
    stem = os.path.splitext(name)[0]
    return report(
        path,
        caption=f"../report/{stem}.rst",
        category=HEADINGS[name],
        labels={"result": label},
    )


def of_arm(path):
    """A file of an arm, marked for the report: found by step, then alpha, then n."""
    name = os.path.basename(path)
    stem = os.path.splitext(name)[0]
    return report(
        path,
        caption=f"../report/{stem}.rst",
        category=HEADINGS[name],
        subcategory=lambda wildcards: "step " + padded(wildcards.step, "step"),
        labels=lambda wildcards: {**labels_of_arm(wildcards), "result": stem},
    )


def labels_of_arm(wildcards):
    """The columns that tell arms apart; the report makes n a switch where it has two values.

    Where some alpha lacks some n that switch would lead nowhere, so there both are one column.
    """
    arms = [arm for arm in ARMS if arm.step == wildcards.step]
    alphas, ns = {arm.alpha for arm in arms}, {arm.n for arm in arms}
    n = padded(wildcards.n, "n")
    if len(arms) < len(alphas) * len(ns):
        return {
            "alpha, n": f"{wildcards.alpha}, n = {n}",
            "step": wildcards.step,
        }
    return {"alpha": wildcards.alpha, "n": n, "step": wildcards.step}


def padded(value, part):
    """A step or an n with spaces before it, which no browser shows: sorted as text, 8 then precedes 16."""
    return value.rjust(max(len(f"{getattr(arm, part)}") for arm in ARMS))
