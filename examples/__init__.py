"""Runnable examples, one folder each; `examples.github` is the main one."""
