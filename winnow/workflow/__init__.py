"""What a run would do, seen before it does it: the plan, and the pictures of the DAG.

The one room of the library that may import Snakemake. `dry_run` and `dag` read the DAG once into the
plain records of `snapshot`; what draws, estimates and words works on these alone. Programs of the
stages never import this package. `profile` resolves a profile for the doctor.
"""
