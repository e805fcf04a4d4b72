"""Traces: from the call that brings an event to the attempts that handle it."""
