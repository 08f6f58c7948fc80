"""Is this machine ready: Python, packages, GPUs, disk, hub, SLURM and the profile, each with its mend.

Only the standard library is imported here, so that the doctor starts where nothing else does. What
asks an outside program or another Python does so in a process of its own, with a time limit.
"""
