"""Pairwise comparison by a judge model: who meets whom, what the judge is shown, what it has said."""
