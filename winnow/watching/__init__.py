"""A run while it runs: one line of progress for the whole pipeline, and what failed with its log."""
