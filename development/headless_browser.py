"""Chromium without a window, driven over a pipe by its DevTools protocol: opens pages as a person would from a disk."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 120.0  # seconds for any one answer


def chromium() -> str | None:
    """The browser, where there is one that can be driven in this way."""
    if sys.platform == "win32":
        return None
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab. Requests that it makes are in `requested`, what its console says in `said`."""

    def __init__(self, program: str, profile: Path, *flags: str) -> None:
        theirs, ours = os.pipe()
        answers, answering = os.pipe()
        moved = f'exec 3<&{theirs} 4>&{answering}; exec "$@"'
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                moved,
                "bash",
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-dev-shm-usage",
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
                *flags,
            ],
            pass_fds=(theirs, answering),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answering)
        self._to, self._from = ours, answers
        self._number, self._rest, self._session = 0, b"", ""
        self.requested: list[str] = []
        self.said: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        """One command, and what the browser answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self._to, left) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            got = os.read(self._from, 1 << 20)
            if not got:
                raise RuntimeError("the browser has ended")
            self._rest += got
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(told["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Log.entryAdded":
            self.said.append(told["entry"]["text"])

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; a promise is waited for."""
        given = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in given:
            raise RuntimeError(given["exceptionDetails"]["exception"].get("description"))
        return given["result"].get("value")

    def open(self, path: Path) -> str:
        """Open a page from the disk; what it says of its proof, once it has tried that."""
        self.requested.clear()
        self.said.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            state = self.run("location.protocol === 'file:' && document.documentElement?.dataset.state")
            if state:
                break
            time.sleep(0.05)
        return str(self.run("document.getElementById('proof').textContent"))

    def give(self, path: Path) -> dict[str, Any]:
        """Choose a file as a person does, and wait for the page's answer."""
        self.run(
            "globalThis.answered = new Promise((resolve) => document.addEventListener('pellucid:answer', "
            "(event) => resolve(event.detail), { once: true })); 0"
        )
        found = self.send("Runtime.evaluate", expression="document.getElementById('file')")["result"]["objectId"]
        self.send("DOM.setFileInputFiles", files=[str(path.resolve())], objectId=found)
        answer: dict[str, Any] = self.run("answered")
        return answer

    def text(self, element: str) -> str:
        """What stands in an element, as it is shown."""
        return str(self.run(f"document.getElementById({element!r}).innerText"))

    def look(self, path: Path, *, width: int, height: int, dark: bool = False, whole: bool = True) -> None:
        """A picture of the page as a PNG."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)
        phone = width < 600
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(b64decode(data))

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self._session = ""
            self.send("Browser.close")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        os.close(self._to)
        os.close(self._from)


@contextlib.contextmanager
def browser(profile: Path, *flags: str) -> Iterator[Browser]:
    """A browser that ends with the block."""
    program = chromium()
    assert program is not None
    opened = Browser(program, profile, *flags)
    try:
        yield opened
    finally:
        opened.close()
