"""Workers, the Temporal server and the collector fail again and again; then everything is counted.

`jobs` are the jobs, `worker` runs them in a process, `load` drives them, `weather` breaks things,
`accounts` counts, `run` puts them together.
"""
