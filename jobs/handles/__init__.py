"""Typed handles: what a client does with one instance."""
