"""Jobs in a Django project: put `durable_jobs.contrib.django` into INSTALLED_APPS."""

from functools import cache

from durable_jobs.sync import SyncJobClient

__all__ = ["jobs"]


@cache
def jobs() -> SyncJobClient:
    """The project's client, for every thread and every process.

    It connects with its first call, as the settings and the environment say. A call takes effect at
    once, whatever becomes of the transaction around it: `transaction.on_commit` puts it behind.
    """
    return SyncJobClient.connect(lazy=True)
