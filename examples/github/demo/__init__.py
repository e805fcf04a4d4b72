"""The demonstration: real deliveries, replayed over HTTP through the whole service.

Run it with `python -m examples.github.demo`, or `make demo`.
"""
