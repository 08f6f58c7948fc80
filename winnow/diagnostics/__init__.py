"""What an arm's completions look like: pass@k, pass rates, errors, lengths, and q* along the way.

`completions` and `qstar` read the rows once and keep numbers, no texts; the modules beside them turn
these numbers into one JSON report; the figures show that report and nothing else.
"""
