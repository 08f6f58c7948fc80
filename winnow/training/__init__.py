"""Supervised fine-tuning on what was selected: TRL trains, this package makes it resumable."""
