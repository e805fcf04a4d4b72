"""`python -m durable_jobs.cli` is `durable-jobs`."""

from . import main

main()
