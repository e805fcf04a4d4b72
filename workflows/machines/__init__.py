"""Machines: what an instance does next, decided without Temporal, clock or chance.

A machine takes messages and outcomes, and names the next step. The driver, or a test, does it.
"""
