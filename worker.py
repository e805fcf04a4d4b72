"""`durable-jobs worker` for a checkout: python worker.py --jobs examples.github.jobs:jobs."""

import sys

from durable_jobs.cli import main

if __name__ == "__main__":
    main(["worker", *sys.argv[1:]])
