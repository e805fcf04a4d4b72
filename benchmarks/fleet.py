"""What an operator of thousands of instances waits for: lists, and a pause of a thousand.

    make bench-fleet ARGS="--scene 'JobStatus'"

A worker process of its own has 5,000 instances that wait for an hour, as many of them failing as an
outage of one customer makes. The commands run as processes, their start included.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client

from durable_jobs import ContinuousJob, ContinuousRun, Every, JobClient, Retry, run_worker
from durable_jobs.cli.setup import create_job_status
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.many.calls import results

from .frame import Asked, Findings, Row, command

INSTANCES = int(os.environ.get("INSTANCES", "5000"))
FAILING = 30
PAUSED = min(INSTANCES, 1_000)

NONE = "no instance fits the choice"

PLAIN, WITH_JOB_STATUS = "as it is", "with JobStatus"
WORKER = "import asyncio, benchmarks.fleet as fleet; asyncio.run(fleet.serve())"


class Poll(ContinuousJob[int]):
    """Fails for some keys."""

    name = "poll"
    schedule = Every(timedelta(hours=1))
    start_immediately = False
    retry = Retry(1)

    def initial_state(self, key: str) -> int:
        """See base class."""
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        """See base class."""
        raise ConnectionError(f"the API of {run.key} is down")


async def serve() -> None:
    """The worker process."""
    await run_worker([Poll()])


@asynccontextmanager
async def fleet(*, job_status: bool) -> AsyncIterator["Fleet"]:
    """A server, a worker and all the instances."""
    async with EmbeddedServer(ui=False) as server:
        client = await Client.connect(server.target)
        if job_status:
            await create_job_status(client)
        worker = await _process(server.target, "-c", WORKER)
        try:
            yield await Fleet(server.target, client).opened()
        finally:
            worker.send_signal(signal.SIGKILL)
            await worker.wait()


async def _process(target: str, *words: str, quiet: bool = True) -> asyncio.subprocess.Process:
    told = asyncio.subprocess.DEVNULL if quiet else asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env={**os.environ, "TEMPORAL_ADDRESS": target, "COLUMNS": "120"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=told,
        stderr=told,
    )


class Fleet:
    """The instances, and the commands about them."""

    def __init__(self, target: str, client: Client) -> None:
        self._target = target
        self._jobs = JobClient(client)

    async def opened(self) -> "Fleet":
        """The same once all instances wait, and visibility knows them."""
        keys = [f"acct-{number:05}" for number in range(INSTANCES)]
        async for _ in results(keys, lambda key: self._jobs.continuous(Poll, key).start()):
            pass
        for key in keys[:: INSTANCES // FAILING][:FAILING]:
            await self._jobs.continuous(Poll, key).trigger()
        # A list that asks all of them ends once the worker has taken all up.
        await self.timed(f"scheduled {INSTANCES:,}", "list", "--sort", "status", looks=20)
        return self

    async def said(self, *words: str) -> str:
        """What a command prints."""
        process = await _process(self._target, "-m", "durable_jobs.cli", *words, quiet=False)
        printed, complained = await process.communicate()
        return printed.decode() + complained.decode()

    async def timed(self, expected: str, *words: str, looks: int = 1) -> float:
        """The seconds of a command which says what is expected, at the latest at the last look.

        What instances were told they heed a little later, and visibility learns of it later still.
        """
        said = ""
        for _ in range(looks):
            began = time.monotonic()
            said = await self.said(*words)
            took = time.monotonic() - began
            if expected in said:
                return round(took, 2)
        raise AssertionError(f"{words} said: {said[-2_000:]}")

    async def kill_in_the_middle(self, verb: str, *words: str) -> None:
        """Begin a command, and kill it once it says how far it is."""
        process = await _process(self._target, "-m", "durable_jobs.cli", verb, *words, quiet=False)
        assert process.stderr is not None
        async for line in process.stderr:
            if line.startswith(f"{verb}: ".encode()):
                process.send_signal(signal.SIGKILL)
                await process.wait()
                return
        raise AssertionError(f"{verb} ended before it said how far it is")


async def measure(asked: Asked) -> Findings:
    """Run the commands without the attribute and with it."""
    findings = Findings()
    for scene, job_status in ((PLAIN, False), (WITH_JOB_STATUS, True)):
        if asked.wants(scene):
            async with fleet(job_status=job_status) as instances:
                findings.rows.append(await _row(instances, scene))
    for row in findings.rows:
        findings.promise(f"list, {row['scene']}, s", float(row["list s"] or 0), 2, at_most=True)
        pause = float(row["pause of 1,000 s"] or 0)
        findings.promise(f"pause, {row['scene']}, s", pause, 60, at_most=True)
    return findings


async def _row(instances: Fleet, scene: str) -> Row:
    every, paused = f"{INSTANCES:,} found", f"{PAUSED:,}"
    pause = ("pause", "--job", "poll", "--key-prefix", "acct-00", "--yes", "--note", "bench")
    resume = ("resume", "--job", "poll", "--key-prefix", "acct-00", "--yes", "--rate", "1000")
    row: Row = {"scene": scene, "system": f"{INSTANCES:,} instances"}
    row["list s"] = await instances.timed(every, "list", "--job", "poll")
    row["list --failing s"] = await instances.timed(
        f"{FAILING} found", "list", "--failing", looks=20
    )
    row["list --overdue s"] = await instances.timed(NONE, "list", "--overdue")
    row["pause of 1,000 s"] = await instances.timed(f"{paused} paused", *pause)
    row["list --status paused s"] = await instances.timed(
        f"{paused} found", "list", "--status", "paused", looks=20
    )
    row["resume of them s"] = await instances.timed(f"{paused} resumed", *resume)
    await instances.timed(NONE, "list", "--status", "paused", looks=20)
    await instances.kill_in_the_middle(*pause)
    row["pause of the rest after a kill s"] = await instances.timed("paused already", *pause)
    row["list --status paused, after it s"] = await instances.timed(
        f"{paused} found", "list", "--status", "paused", looks=20
    )
    return row


if __name__ == "__main__":
    command("fleet", "What an operator waits for", measure)
