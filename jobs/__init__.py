"""Durable debounced, recurring and per-entity jobs on Temporal.

What users import: job definitions, schedules, retry, the client, the plugin and the worker.
"""
