"""Where OpenTelemetry is not installed: nothing needs it, and what callers send is carried on."""

from tests.support import Python
from tests.traces.texts import TRACEPARENT

PROGRAM = """
    import sys
    sys.modules["opentelemetry"] = None  # To import it fails.

    from durable_jobs import Retry, TaskJob, TaskRun
    from durable_jobs.testing import Simulation

    class Picky(TaskJob[str, list[str]]):
        name = "picky"
        retry = Retry(1)
        async def on_event(self, run: TaskRun[list[str]], event: str) -> None:
            raise ValueError(event)
        async def execute(self, run: TaskRun[list[str]]) -> None: ...

    sim = Simulation(Picky())
    picky = sim.task(Picky, "k")
    picky.send("a")

    async def signal() -> None:
        client = await sim.jobs._connection.link.client()
        handle = client.get_workflow_handle("task:picky:k")
        await handle.signal("send", args=["b", {"traceparent": sys.argv[1]}])

    sim.run(signal())
    print([failed.get("traceparent") for failed in picky.status().failed_events])
    print([name for name in sys.modules if name.startswith("opentelemetry.")])
"""


async def test_a_worker_without_it_ignores_traceparents_and_carries_them_on() -> None:
    with Python.code(PROGRAM, TRACEPARENT) as process:
        assert await process.exit_code() == 0, process.text
    assert process.output == [f"[None, '{TRACEPARENT}']", "[]"]
