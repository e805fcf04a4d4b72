"""The set-up of docs/traces.md in code makes spans."""

import json
import re
from pathlib import Path

from tests.support import Python

PAGE = Path(__file__).parents[2] / "docs" / "traces.md"
PROGRAM = """
from durable_jobs.testing import Simulation
from tests.traces.jobs import Deliver

Simulation(Deliver()).worker_pool(Deliver).enqueue(1)
"""


async def test_the_provider_that_the_docs_set_gets_the_spans() -> None:
    [setting_up] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with Python("-c", setting_up + PROGRAM) as process:
        assert await process.exit_code() == 0, process.text
    spans = [json.loads(text) for text in re.findall(r"^\{.*?^\}", process.text, re.M | re.S)]
    assert {(span["name"], span["kind"]) for span in spans} >= {
        ("enqueue deliver", "SpanKind.PRODUCER"),
        ("execute deliver", "SpanKind.CONSUMER"),
    }
