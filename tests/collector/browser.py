"""Headless Chromium, driven by its own DevTools protocol over a pipe; no driver is needed."""

import asyncio
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from functools import cache
from typing import Any, Self

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_SECONDS = 60.0  # for one answer

NO_BROWSER = "the collector's page is not tested: no Chromium (apt-get install -y chromium)"


@cache
def chromium() -> str | None:
    """The path of a browser that runs; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path and _runs(path)), None)


def _runs(path: str) -> bool:
    """Whether it does: on some systems the name stands for an advice to install it."""
    try:
        version = subprocess.run([path, "--version"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return version.returncode == 0


class Browser:
    """One page in a browser with a profile of its own.

    Raises FileNotFoundError where there is no browser.
    """

    def __init__(self) -> None:
        if (path := chromium()) is None:
            raise FileNotFoundError(NO_BROWSER)
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4.
        shell = f'exec "$@" 3<&{commands} 4>&{answers}'
        profile = f"--user-data-dir={self._profile.name}"
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", path, *_FLAGS, profile, "about:blank"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._numbers = itertools.count(1)
        self._session: str | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._attach)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        os.close(self._out)
        os.close(self._in)
        self._profile.cleanup()

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command of the protocol to the page."""
        return await asyncio.to_thread(self._call, method, parameters)

    async def go(self, url: str) -> None:
        """Open an address."""
        await self.call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def text(self, selector: str = "body") -> str:
        """What is to be read in an element; empty where there is none."""
        quoted = json.dumps(selector)
        return await self.evaluate(f"document.querySelector({quoted})?.innerText ?? ''")

    def _attach(self) -> None:
        targets = self._call("Target.getTargets", {})["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self._call("Target.attachToTarget", {"targetId": page, "flatten": True})
        self._session = attached["sessionId"]
        self._call("Page.enable", {})

    def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while (answer := self._message(deadline)).get("id") != number:
            pass
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._in, 1 << 16)
            if not part:
                raise ConnectionError("the browser ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
