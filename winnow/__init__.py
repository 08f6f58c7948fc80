"""Winnow: sample, verify, select and train, as files that Snakemake knows how to make."""

__version__ = "0.1.0"
