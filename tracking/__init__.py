"""Tracking events: their models, the outbox, the interceptor that makes them, the sinks.

An event is born in an activity or a workflow, waits in the workflow's outbox and leaves in batches.
"""
