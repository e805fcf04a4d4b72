"""The process that sends to a collector in `benchmarks.collector_intake`.

It makes its requests first, says `ready`, waits for a line on its input, sends as fast as they are
taken and prints what it saw as JSON.
"""

import argparse
import http.client
import json
import queue
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from .collector_events import events

CONNECTIONS = 4


def bodies(count: int, batch: int, seed: int) -> list[bytes]:
    """Requests of `batch` events each, as the library's sink writes them."""
    random.seed(seed)
    source = events(datetime.now(UTC), timedelta(milliseconds=0.15))
    return [
        json.dumps({"events": [next(source) for _ in range(batch)]}, separators=(",", ":")).encode()
        for _ in range(count)
    ]


class Sender:
    """Sends over a few connections until the time is over or nothing is left."""

    def __init__(self, url: str, waiting: list[bytes], seconds: float) -> None:
        self._netloc = urlsplit(url).netloc
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for body in waiting:
            self._waiting.put(body)
        self._seconds = seconds
        self.took: list[float] = []
        self.accepted = 0
        self.others = 0
        """Answers that took nothing."""

    def run(self) -> float:
        """Send; gives the seconds it took."""
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._send, args=(began + self._seconds,))
            for _ in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    def _send(self, end: float) -> None:
        connection = http.client.HTTPConnection(self._netloc, timeout=60)
        headers = {"Content-Type": "application/json"}
        while (began := time.perf_counter()) < end:
            try:
                body = self._waiting.get_nowait()
            except queue.Empty:
                return
            connection.request("POST", "/events", body, headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            self.took.append(time.perf_counter() - began)
            if answer.status == 200 and not said["rejected"]:
                self.accepted += said["accepted"]
            else:
                self.others += 1


def main() -> None:
    """Do what the module says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--requests", type=int, required=True, help="at most")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sender = Sender(given.url, bodies(given.requests, given.batch, given.seed), given.seconds)
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    seconds = sender.run()
    figures = {
        "seconds": seconds,
        "accepted": sender.accepted,
        "others": sender.others,
        "took": sender.took,
    }
    print(json.dumps(figures))  # noqa: T201


if __name__ == "__main__":
    main()
