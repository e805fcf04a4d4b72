"""`pytest --kill-workers` shows what handlers would do twice."""

from pathlib import Path

from tests.support import Python

TESTS = """
from datetime import timedelta
from durable_jobs import DebounceJob, collect

class Mail:
    def __init__(self):
        self.sent = []
    async def send(self, to):
        self.sent.append(to)
    def send_once(self, to, key):
        if (to, key) not in self.sent:
            self.sent.append((to, key))

class Careless(DebounceJob[str, list[str]]):
    name = "careless"
    flush_after = timedelta(minutes=10)
    reduce = collect
    def __init__(self, mail):
        self.mail = mail
    async def execute(self, run):
        for to in run.state:
            await self.mail.send(to)

class Careful(Careless):
    name = "careful"
    async def execute(self, run):
        for to in run.state:
            self.mail.send_once(to, key=run.idempotency_key)

def played(jobs, job):
    window = jobs.debounce(type(job), "ada")
    window.add("ada@example.org")
    window.add("bob@example.org")
    jobs.advance("10m")

def test_careless(effects):
    played(Simulation(job := Careless(effects.watch(Mail()))), job)

def test_careful(effects):
    mail = Mail()
    played(Simulation(job := Careful(effects.watch(mail))), job)
    assert len(mail.sent) == 2

def test_careful_live(effects, live_jobs):
    mail = Mail()
    live = live_jobs(job := Careful(effects.watch(mail)))
    played(live, job)
    live.until("debounce.flushed")
    assert len(mail.sent) == 2
    assert [each.attempt for each in effects.made] in ([1, 1], [1, 1, 2, 2])
"""


def write(folder: Path) -> None:
    """The tests of a user."""
    code = f"from durable_jobs.testing import Simulation\n{TESTS}"
    (folder / "test_mail.py").write_text(code)


async def test_nothing_is_done_twice_where_no_worker_is_killed(tmp_path: Path) -> None:
    write(tmp_path)
    with Python("-m", "pytest", "-q", "test_mail.py", cwd=tmp_path) as process:
        assert await process.exit_code() == 0, process.text
        assert "3 passed" in process.text


async def test_an_effect_that_does_not_pass_the_key_on_is_reported(tmp_path: Path) -> None:
    write(tmp_path)
    with Python("-m", "pytest", "-q", "--kill-workers", "test_mail.py", cwd=tmp_path) as process:
        assert await process.exit_code() == 1, process.text
        assert "3 passed, 1 error" in process.text
        for text in (
            "Done twice, by two attempts of one run:",
            "careless.execute of key 'ada', run 1: Mail.send('bob@example.org')",
            "Pass run.idempotency_key on, so that whoever is called can tell a repetition.",
        ):
            assert text in process.text
        assert "careful.execute" not in process.text
