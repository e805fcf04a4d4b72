"""Activities: run the user's handlers, read a definition, flush tracking events.

This is the one place where user code runs.
"""
