"""`manage.py durable_jobs`: the `durable-jobs` command with the settings of a Django project."""

from django.core.management.base import BaseCommand

from durable_jobs.cli import main


class Command(BaseCommand):
    """Hands its arguments on as they are: `manage.py durable_jobs worker --log-level debug`."""

    help: str = "Run jobs and look after them: worker, dev, status, pause, … --help tells all."

    def run_from_argv(self, argv: list[str]) -> None:
        """See base class."""
        main(argv[2:])

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """See base class."""
        main(["--help"])
