"""Activities: run the user's handlers, read a definition, deliver tracking events.

This is the one place where user code runs.
"""
