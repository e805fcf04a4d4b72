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
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY examples examples
USER app
CMD ["durable-jobs", "worker", "--jobs", "examples.github.jobs:jobs"]
