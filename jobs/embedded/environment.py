"""The environment variables of Temporal's clients."""

import os


def without_temporal() -> dict[str, str]:
    """This process's environment without TEMPORAL_*.

    The dev server reads them too, and a profile or key in them is meant for another server.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


def client_environment(target: str, namespace: str) -> dict[str, str]:
    """The environment of a process whose clients shall use this server and nothing else."""
    return {
        **without_temporal(),
        "TEMPORAL_ADDRESS": target,
        "TEMPORAL_NAMESPACE": namespace,
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }
