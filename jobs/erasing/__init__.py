"""Erasing an instance: what Temporal has of it goes for good."""
