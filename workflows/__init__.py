"""Temporal workflows that drive instances: they decide from history alone and do no I/O."""
