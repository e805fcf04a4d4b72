# syntax=docker/dockerfile:1
# One image for the worker, the collector and the example's receiver; docker-compose.yml says which runs.

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
# No pip in the environment that is shipped: the build stage's own pip fills it from outside.
RUN python -m venv --without-pip /opt/venv
# What the project needs, from pyproject.toml alone, so that this layer stays when only code changed.
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip <<'SH'
set -e
python -c 'import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], *project["optional-dependencies"]["collector"], sep="\n")' > /tmp/requirements.txt
pip --python /opt/venv/bin/python install --disable-pip-version-check -r /tmp/requirements.txt
SH
COPY README.md LICENSE ./
COPY jobs jobs
COPY workflows workflows
COPY activities activities
COPY tracking tracking
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --disable-pip-version-check '.[github]'

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# /data is made here, because a new named volume takes its owner from the image.
RUN useradd --uid 10001 --create-home app && install -d -o app -g app /app /data
# The worker is well while the server has lately seen this container poll; it opens no port to ask.
COPY --chmod=755 <<'PY' /usr/local/bin/worker-polls
#!/opt/venv/bin/python
import asyncio, os, socket, time
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig


async def polls() -> bool:
    client = await Client.connect(**ClientConfig.load_client_connect_config())
    queue = os.environ.get("DURABLE_JOBS_TASK_QUEUE", "durable-jobs")
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=1
    )
    pollers = (await client.workflow_service.describe_task_queue(request)).pollers
    since = time.time() - 120  # a poll waits up to a minute
    return any(
        socket.gethostname() in poller.identity and poller.last_access_time.seconds > since
        for poller in pollers
    )


well = asyncio.run(asyncio.wait_for(polls(), 8))
print("polls" if well else "no recent poll from this worker", flush=True)
os._exit(not well)  # at once: a thread of the SDK that ends late can abort the interpreter
PY
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY examples examples
USER app
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --start-interval=2s CMD ["worker-polls"]
CMD ["durable-jobs", "worker", "--jobs", "examples.github.jobs:jobs"]
