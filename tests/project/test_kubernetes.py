"""The Kubernetes manifests, as far as they can be judged without a cluster."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from durable_jobs import JobClient
from durable_jobs.cli.app import app
from durable_jobs.embedded.ports import free_port
from durable_jobs.health import Health, response
from durable_jobs.settings import Settings
from durable_jobs.tracking.sinks.signing import signed_headers, signing_key
from durable_jobs.worker import _AFTER_GRACE  # pyright: ignore[reportPrivateUsage]
from tests.project.test_compose import DOCKERFILE, EVENT
from tests.support import eventually
from tests.support.shop import Quick

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
Resource = dict[str, Any]
RESOURCES: list[Resource] = [
    resource
    for path in sorted(FOLDER.glob("*.yaml"))
    for resource in yaml.safe_load_all(path.read_text())
]
BY_NAME = {f"{each['kind']} {each['metadata']['name']}": each for each in RESOURCES}
WORKER = BY_NAME["Deployment jobs-worker"]
COLLECTOR = BY_NAME["StatefulSet jobs-collector"]
SETTINGS: dict[str, str] = BY_NAME["ConfigMap durable-jobs"]["data"]
SECRET = "whsec_" + "c2VjcmV0" * 4

each_workload = pytest.mark.parametrize(
    "workload", [WORKER, COLLECTOR], ids=["worker", "collector"]
)


def pod(workload: Resource) -> Resource:
    """What a workload's pods are made of."""
    return workload["spec"]["template"]["spec"]


def container(workload: Resource) -> Resource:
    """The one container of each pod."""
    [only] = pod(workload)["containers"]
    return only


def option(workload: Resource, name: str) -> str:
    """What a command's option says."""
    arguments = container(workload)["args"]
    return arguments[arguments.index(name) + 1]


def test_each_resource_is_of_a_kind_that_the_checkers_know() -> None:
    """`kubernetes-validate` passes over kinds that it does not know."""
    kinds = {(each["apiVersion"], each["kind"]) for each in RESOURCES}
    assert kinds == {
        ("v1", "ConfigMap"),
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("policy/v1", "PodDisruptionBudget"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("keda.sh/v1alpha1", "ScaledObject"),
        ("keda.sh/v1alpha1", "TriggerAuthentication"),
    }
    assert len(BY_NAME) == len(RESOURCES)


def values(part: Any) -> Iterator[str]:
    """All texts in a resource."""
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from values(each)
    else:
        yield str(part)


def test_no_manifest_holds_a_secret() -> None:
    assert not [each for each in RESOURCES if each["kind"] == "Secret"]
    assert not [text for each in RESOURCES for text in values(each) if "whsec_" in text]
    for workload in (WORKER, COLLECTOR):
        for variable in container(workload).get("env", []):
            secret = re.search("SECRET|TOKEN|KEY", variable["name"])
            assert ("valueFrom" in variable) == bool(secret)


@each_workload
def test_tracking_is_signed_with_a_secret_that_must_be_there(workload: Resource) -> None:
    [reference] = [
        each["valueFrom"]["secretKeyRef"]
        for each in container(workload)["env"]
        if each["name"].endswith("_SECRET")
    ]
    assert reference == {"name": "durable-jobs-tracking", "key": "secret"}


def test_the_command_for_a_secret_makes_one_that_is_taken() -> None:
    text = (FOLDER / "settings.yaml").read_text()
    [made] = re.findall(r"--from-literal=secret=(\"whsec_.*?\")$", text, re.MULTILINE)
    secret = subprocess.check_output(["bash", "-c", f"printf %s {made}"], text=True)
    assert len(signing_key(secret)) == 32


@each_workload
def test_a_container_is_confined(workload: Resource) -> None:
    of_pod, own = pod(workload)["securityContext"], container(workload)["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(workload)["automountServiceAccountToken"] is False


@each_workload
def test_a_pod_runs_as_the_user_of_the_image(workload: Resource) -> None:
    [user] = re.findall(r"useradd --uid (\d+)", DOCKERFILE)
    context = pod(workload)["securityContext"]
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == int(user)


@each_workload
def test_only_what_is_mounted_is_written(workload: Resource) -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in container(workload)["volumeMounts"]}
    assert mounts["/tmp"] == "tmp"
    assert {"name": "tmp", "emptyDir": {}} in pod(workload)["volumes"]
    databases = [text for text in container(workload)["args"] if text.endswith(".db")]
    assert all(str(Path(path).parent) in mounts for path in databases)


@each_workload
def test_memory_has_a_limit_and_the_processor_none(workload: Resource) -> None:
    resources = container(workload)["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}


def test_kubernetes_sets_no_variable_that_we_would_read() -> None:
    """A Service `durable-jobs-collector` would give `DURABLE_JOBS_COLLECTOR_PORT=tcp://…`."""
    assert pod(WORKER)["enableServiceLinks"] is False
    assert pod(COLLECTOR)["enableServiceLinks"] is False


def test_the_worker_gets_more_time_to_end_than_it_takes() -> None:
    grace = float(option(WORKER, "--grace")) + _AFTER_GRACE.total_seconds()
    # The last tracking events are sent after it.
    assert pod(WORKER)["terminationGracePeriodSeconds"] >= grace + 10


@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe"])
def test_a_probe_of_the_worker_asks_what_the_worker_answers(probe: str) -> None:
    asked = container(WORKER)[probe]["httpGet"]
    ports = {each["name"]: each["containerPort"] for each in container(WORKER)["ports"]}
    assert SETTINGS["DURABLE_JOBS_HEALTH"] == f"0.0.0.0:{ports[asked['port']]}"
    assert SETTINGS["DURABLE_JOBS_METRICS"] == f"0.0.0.0:{ports['metrics']}"
    path = {"livenessProbe": "/livez", "readinessProbe": "/readyz"}[probe]
    assert asked["path"] == path
    assert b"404" not in response(f"GET {path} HTTP/1.1".encode(), Health())


def test_each_setting_is_one_that_the_worker_knows() -> None:
    known = {f"DURABLE_JOBS_{name.upper()}" for name in Settings.model_fields}
    known |= {"DURABLE_JOBS_LOG_FORMAT", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}
    assert set(SETTINGS) <= known
    variables = {each["name"] for each in container(WORKER)["env"]}
    assert variables <= known


def test_both_commands_take_their_arguments() -> None:
    for workload in (WORKER, COLLECTOR):
        name, command, *arguments = container(workload)["args"]
        assert name == "durable-jobs"
        [known] = [each for each in app.registered_commands if _name(each) == command]
        assert known.callback is not None
        given = {text[2:].replace("-", "_") for text in arguments if text.startswith("--")}
        assert given <= set(known.callback.__annotations__)


def _name(command: Any) -> str:
    return command.name or command.callback.__name__


def test_the_worker_sends_to_the_service_of_the_collector() -> None:
    service = BY_NAME["Service jobs-collector"]
    url = urlsplit(SETTINGS["DURABLE_JOBS_TRACKING_URL"])
    assert url.hostname == service["metadata"]["name"]
    [port] = service["spec"]["ports"]
    assert url.port == port["port"] == int(option(COLLECTOR, "--port"))
    names = {each["name"]: each.get("value") for each in container(COLLECTOR)["env"]}
    assert names["DURABLE_JOBS_COLLECTOR_NAMES"] == url.hostname


def test_what_selects_pods_finds_them() -> None:
    labels = WORKER["spec"]["template"]["metadata"]["labels"]
    of_collector = COLLECTOR["spec"]["template"]["metadata"]["labels"]
    policy = BY_NAME["NetworkPolicy jobs-collector"]["spec"]
    for selector, found in [
        (WORKER["spec"]["selector"]["matchLabels"], labels),
        (BY_NAME["PodDisruptionBudget jobs-worker"]["spec"]["selector"]["matchLabels"], labels),
        (policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"], labels),
        (policy["podSelector"]["matchLabels"], of_collector),
        (COLLECTOR["spec"]["selector"]["matchLabels"], of_collector),
        (BY_NAME["Service jobs-collector"]["spec"]["selector"], of_collector),
    ]:
        assert selector
        assert selector.items() <= found.items()
    assert COLLECTOR["spec"]["replicas"] == 1


def test_the_scaler_asks_the_same_server_for_the_queue_of_the_workers() -> None:
    scaled = BY_NAME["ScaledObject jobs-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == WORKER["metadata"]["name"]
    # Else each `kubectl apply` would set it back.
    assert "replicas" not in WORKER["spec"]
    [trigger] = scaled["triggers"]
    assert trigger["metadata"]["endpoint"] == SETTINGS["TEMPORAL_ADDRESS"]
    assert trigger["metadata"]["namespace"] == SETTINGS["TEMPORAL_NAMESPACE"]
    assert trigger["metadata"]["taskQueue"] == SETTINGS["DURABLE_JOBS_TASK_QUEUE"]
    assert scaled["minReplicaCount"] >= 2
    assert f"TriggerAuthentication {trigger['authenticationRef']['name']}" in BY_NAME


def test_the_scaler_shows_the_credentials_of_the_workers() -> None:
    [secret] = [each["secretRef"] for each in container(WORKER)["envFrom"] if "secretRef" in each]
    shown = BY_NAME["TriggerAuthentication durable-jobs-temporal"]["spec"]["secretTargetRef"]
    assert {each["name"] for each in shown} == {secret["name"]}
    text = (FOLDER / "settings.yaml").read_text()
    assert all(f"={each['key']}=" in text for each in shown)


async def test_what_the_scaler_asks_grows_with_the_instances_that_wait_for_a_worker(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    for number in range(10):
        await jobs.debounce(Quick, f"{queue}:{number}").add({})

    async def waiting() -> int:
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            report_stats=True,
        )
        answer = await client.workflow_service.describe_task_queue(request)
        return answer.stats.approximate_backlog_count

    async def all_wait() -> bool:
        return await waiting() == 10

    await eventually(all_wait)


@contextmanager
def started_collector(folder: Path) -> Iterator[str]:
    """The collector as its manifest starts it, but on a free port, with its file in `folder`."""
    port = free_port()
    moved = {"4000": str(port), "0.0.0.0": "127.0.0.1", "/data/events.db": str(folder / "a.db")}
    arguments = [moved.get(text, text) for text in container(COLLECTOR)["args"][1:]]
    variables = {each["name"]: each.get("value", SECRET) for each in container(COLLECTOR)["env"]}
    command = [sys.executable, "-m", "durable_jobs.cli", *arguments]
    with subprocess.Popen(command, env={**os.environ, **variables}) as collector:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            collector.terminate()


async def test_the_collector_of_the_manifest_answers_the_probes_and_takes_signed_events(
    tmp_path: Path,
) -> None:
    service = {"Host": str(urlsplit(SETTINGS["DURABLE_JOBS_TRACKING_URL"]).netloc)}
    body = json.dumps({"events": [EVENT]}).encode()
    headers = {"Content-Type": "application/json", **service}
    signed = signed_headers(signing_key(SECRET), "msg_1", int(time.time()), body)
    with started_collector(tmp_path) as address:
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:

            async def well(path: str) -> bool:
                # As the kubelet asks: with the address of the pod as the host.
                return (await client.get(path)).status_code == 200

            for probe in ("livenessProbe", "readinessProbe"):
                path = container(COLLECTOR)[probe]["httpGet"]["path"]
                await eventually(partial(well, path))
            unsigned = await client.post("/events", content=body, headers=headers)
            taken = await client.post("/events", content=body, headers={**headers, **signed})
    assert (unsigned.status_code, taken.status_code) == (401, 200)
