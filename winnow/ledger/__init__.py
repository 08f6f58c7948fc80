"""What a run has cost: GPU-hours, CPU-hours and tokens by stage and arm, killed attempts included."""
