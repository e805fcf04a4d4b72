"""The jobs of this project. A worker finds them as `jobs:jobs`."""

from datetime import timedelta

from durable_jobs import ContinuousJob, ContinuousRun, Every


class Poll(ContinuousJob[int]):
    """Reads a page every five seconds. Its state is the number of the last page."""

    name = "poll"
    schedule = Every(timedelta(seconds=5))
    keys = ("default",)  # instances that the worker starts

    def initial_state(self, key: str) -> int:
        return 0

    async def execute(self, run: ContinuousRun[int]) -> None:
        run.state += 1
        if run.state % 3 == 0 and not run.is_retry:
            # What a failed attempt did to the state is dropped: the next one reads this page again.
            raise ConnectionError("the API is down, for once")
        run.logger.info("read page %d", run.state)


jobs = [Poll()]
