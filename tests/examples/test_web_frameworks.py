"""The FastAPI app and the Django project of docs/sync.md, with their real servers and commands."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from temporalio.client import Client

from durable_jobs import JobClient, JobsError
from durable_jobs.contrib.fastapi import Jobs, SyncJobs, jobs_lifespan, jobs_of
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from tests.client.sync_jobs import Letters
from tests.support import Python, eventually
from tests.support.jobs import new_key
from tests.support.recipes import write_recipe


def fetch(url: str, method: str = "GET") -> tuple[int, str]:
    """The status and the body of an answer."""
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def answered(url: str, method: str = "GET") -> tuple[int, str]:
    """The answer to a request, made in a thread."""
    return await asyncio.to_thread(fetch, url, method)


# -- FastAPI --------------------------------------------------------------------------------


async def test_the_fastapi_app_adds_events_and_asks_for_the_status(
    server: EmbeddedServer, queue: str, tmp_path: Path
) -> None:
    write_recipe(tmp_path, "sync.md", "digest.py", "api.py")
    environment = {"TEMPORAL_ADDRESS": server.target, "DURABLE_JOBS_TASK_QUEUE": queue}
    url, key = f"http://127.0.0.1:{(port := free_port())}", new_key()
    command = ["-m", "uvicorn", "--port", str(port), "api:app"]
    with Python(*command, cwd=tmp_path, **environment) as api:
        await api.line("Uvicorn running")
        for text in ("one", "two", "three"):
            assert await answered(f"{url}/{key}/{text}", "POST") == (202, "null")
        arguments = ["-m", "durable_jobs.cli", "worker", "--jobs", "digest:jobs"]
        with Python(*arguments, cwd=tmp_path, **environment) as worker:
            await worker.line(f"{key}: one, two, three")
            assert await answered(f"{url}/{key}") == (200, "0")


def app_with(lifespan: Any) -> FastAPI:
    """An app that tells what kind of client each kind of endpoint gets."""
    app = FastAPI(lifespan=lifespan)

    @app.get("/async")
    async def of_async(jobs: Jobs) -> str:
        return type(jobs).__name__

    @app.get("/plain")
    def plain(jobs: SyncJobs) -> str:
        return type(jobs).__name__

    return app


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """An app as a server runs it: what its lifespan gives is the state of each request."""
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            yield http


async def test_an_app_with_a_lifespan_of_its_own_passes_the_client_on() -> None:
    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with jobs_lifespan(app) as state:
            yield {**state, "pool": 5}

    async with served(app_with(own)) as http:
        assert (await http.get("/async")).json() == "JobClient"
        assert (await http.get("/plain")).json() == "SyncJobClient"


async def test_an_app_without_the_lifespan_says_what_to_do() -> None:
    async with served(app_with(None)) as http:
        with pytest.raises(JobsError, match=r"FastAPI\(lifespan=jobs_lifespan\)"):
            await http.get("/plain")


async def test_a_test_puts_its_own_client_in(client: Client, queue: str) -> None:
    app = app_with(None)

    @app.get("/status")
    def status(jobs: SyncJobs) -> bool:
        return jobs.debounce(Letters, new_key()).status() is None

    app.dependency_overrides[jobs_of] = lambda: JobClient(client, task_queue=queue)
    async with served(app) as http:
        assert (await http.get("/status")).json() is True


# -- Django ---------------------------------------------------------------------------------

SETTINGS = """
SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["shop"]
"""

MODELS = """
from django.db import models

class Line(models.Model):
    run = models.CharField(max_length=200, unique=True)
    key = models.CharField(max_length=200)
    text = models.TextField()
"""

URLS = """
from django.db import transaction
from django.http import JsonResponse
from django.urls import path
from shop.models import Line
from shop.views import add

def lines(request, key):
    return JsonResponse([line.text for line in Line.objects.filter(key=key)], safe=False)

@transaction.atomic
def broken(request, key, text):
    add(request, key, text)
    raise ValueError("rolled back")

urlpatterns = [
    path("add/<key>/<text>", add), path("broken/<key>/<text>", broken), path("lines/<key>", lines)
]
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
"""

WSGI = """
import os
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
"""


class Site:
    """A Django project in a folder: what `startproject` makes, with the docs' code."""

    def __init__(self, folder: Path, server: EmbeddedServer, queue: str) -> None:
        self.folder = folder
        shop = folder / "shop"
        shop.mkdir()
        files = {"settings": SETTINGS, "models": MODELS, "urls": URLS, "wsgi": WSGI}
        for name, text in (files | {"__init__": ""}).items():
            (shop / f"{name}.py").write_text(text)
        (folder / "manage.py").write_text(MANAGE)
        write_recipe(folder, "sync.md", "settings.py", "shop/jobs.py", "shop/views.py")
        snippet = (folder / "settings.py").read_text()
        snippet = snippet.replace("127.0.0.1:7233", server.target).replace('"shop",', f'"{queue}",')
        with (shop / "settings.py").open("a") as settings:
            settings.write(snippet)

    def manage(self, *arguments: str, **environment: str) -> Python:
        """Run a command of manage.py."""
        return Python("manage.py", *arguments, cwd=self.folder, **environment)

    async def done(self, *arguments: str) -> str:
        """What a command of manage.py prints; it is to succeed."""
        with self.manage(*arguments) as command:
            assert await command.exit_code() == 0, command.text
            return command.text


@pytest.fixture
async def site(tmp_path: Path, server: EmbeddedServer, queue: str) -> Site:
    """The project, with its tables."""
    site = Site(tmp_path, server, queue)
    await site.done("migrate", "--run-syncdb")
    return site


async def test_a_django_project_adds_events_and_runs_its_jobs(site: Site) -> None:
    url, key = f"http://127.0.0.1:{(port := free_port())}", new_key()
    arguments = ["--preload", "--workers", "2", "--threads", "3", "--bind", f"127.0.0.1:{port}"]
    with (
        Python("-m", "gunicorn", *arguments, "shop.wsgi", cwd=site.folder) as web,
        site.manage("durable_jobs", "worker") as worker,
    ):
        await worker.line("Working on task queue")
        await web.line("Listening at")

        async def lines() -> list[str]:
            return json.loads((await answered(f"{url}/lines/{key}"))[1])

        assert await lines() == []
        assert (await answered(f"{url}/broken/{key}/lost"))[0] == 500
        for text in ("one", "two", "three"):
            assert (await answered(f"{url}/add/{key}/{text}"))[0] == 202
        assert await eventually(lines) == ["one two three"]


async def test_the_plain_command_makes_django_ready_too(site: Site) -> None:
    command = ["-m", "durable_jobs.cli", "worker", "--jobs", "shop.jobs:jobs"]
    with Python(*command, cwd=site.folder, DJANGO_SETTINGS_MODULE="shop.settings") as worker:
        await worker.line("Working on task queue")
    with Python(*command, cwd=site.folder, DJANGO_SETTINGS_MODULE="shop.none") as worker:
        assert await worker.exit_code() == 2
        assert "Django cannot be set up with DJANGO_SETTINGS_MODULE=shop.none" in worker.text


async def test_commands_of_the_project_know_its_settings_and_take_options(site: Site) -> None:
    with site.manage("durable_jobs", "status", "debounce:digest:nobody") as status:
        assert await status.exit_code() == 3
        assert "no instance debounce:digest:nobody" in status.text
    assert "worker" in await site.done("help", "durable_jobs")
    with site.manage("durable_jobs", "worker", DURABLE_JOBS_JOBS="shop.none:jobs") as worker:
        assert await worker.exit_code() == 2
        assert "no module 'shop.none'" in worker.text


async def test_a_wrong_setting_is_named(site: Site) -> None:
    settings = site.folder / "shop" / "settings.py"
    text = settings.read_text()
    settings.write_text(text + "DURABLE_JOBS['TASKQUEUE'] = 'shop'\n")
    with site.manage("check") as check:
        assert await check.exit_code() == 1
        assert "DURABLE_JOBS: there is no 'TASKQUEUE'. It takes JOBS, TASK_QUEUE" in check.text
    settings.write_text(text + "DURABLE_JOBS['TASK_QUEUE'] = 5\n")
    with site.manage("check") as check:
        assert await check.exit_code() == 1
        assert "DURABLE_JOBS: TASK_QUEUE is a text, not 5" in check.text


CLOSING = """
import asyncio, threading
from django.db import connection
from durable_jobs.definitions.threads import in_thread

def handler():
    connection.ensure_connection()
    return threading.current_thread(), connection.connection

async def main():
    held = {}
    while True:
        thread, now = await in_thread(handler)
        if thread in held:
            return print("kept" if held[thread] is now else "a fresh one")
        held[thread] = now

asyncio.run(main())
"""


async def test_a_plain_handler_leaves_no_old_connection_to_the_next_one(site: Site) -> None:
    assert "a fresh one" in await site.done("shell", "-c", CLOSING)
