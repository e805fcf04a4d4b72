"""The environment variables of Temporal's clients and of a server of our own."""

import os


def without_temporal() -> dict[str, str]:
    """This process's environment without TEMPORAL_*.

    The dev server reads them too, and a profile or key in them is meant for another server.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


def server_environment() -> dict[str, str]:
    """What the dev server gets: none of the settings that are meant for jobs and their clients.

    By OTEL_* it would send spans of its own, and not start where it lacks the exporter.
    """
    return {
        name: value for name, value in without_temporal().items() if not name.startswith("OTEL_")
    }


def client_environment(target: str, namespace: str) -> dict[str, str]:
    """The environment of a process whose clients shall use this server and nothing else."""
    return {
        **without_temporal(),
        "TEMPORAL_ADDRESS": target,
        "TEMPORAL_NAMESPACE": namespace,
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }
