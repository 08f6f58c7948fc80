"""Arms side by side: collected from a run's files, as JSON, as a table and as a figure."""
