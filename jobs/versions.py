"""Which version of which deployment a worker is: Temporal's Worker Versioning."""

import os

from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from .errors import InvalidSettings

# The names by which Temporal's own documentation and its Kubernetes controller call them.
DEPLOYMENT, BUILD = "TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID"


def deployment_of_worker() -> WorkerDeploymentConfig | None:
    """What the environment says, None for a worker without versions.

    Raises InvalidSettings where only one of the two variables is set, or a name has a character
    that separates the two in Temporal.
    """
    name, build = os.environ.get(DEPLOYMENT), os.environ.get(BUILD)
    if not name and not build:
        return None
    if not name or not build:
        given, missing = (DEPLOYMENT, BUILD) if name else (BUILD, DEPLOYMENT)
        raise InvalidSettings(
            f"{given} is set and {missing} is not: set both for a versioned worker, else none"
        )
    if "." in name or ":" in name:
        raise InvalidSettings(f"{DEPLOYMENT}: {name!r} has '.' or ':', which Temporal refuses")
    return WorkerDeploymentConfig(WorkerDeploymentVersion(name, build), use_worker_versioning=True)
