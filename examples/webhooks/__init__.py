"""Webhooks, delivered by a worker pool: in order for each receiver, five at a time."""
