"""Histories of instances that lived once, kept so that a change that breaks running ones shows."""
