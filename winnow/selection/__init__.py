"""Which completions become training data, and the account of all the others."""
