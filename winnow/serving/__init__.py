"""Completions from served models: vLLM's life cycle, and a client that loses nothing."""
