"""The `durable-jobs` command."""
