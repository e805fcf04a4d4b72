"""Tests of the tracking package, against a real HTTP collector."""
