"""A headless Chromium, driven through the DevTools protocol; tests without one are skipped."""

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    "--window-size=1000,640", "--no-first-run",
    "--disable-features=BackForwardCache",  # which keeps the connections of pages left
)
SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SIZE = (1000, 640)
START_S, ANSWER_S = 60.0, 60.0
MOVE_S = 1 / 60  # from one move of the mouse to the next, if the page keeps up
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason=f"no Chromium: none of {NAMES}")


class Browser:
    """A page in Chromium. ``errors`` are those of its console, and exceptions nobody caught.

    It draws in software, the same on every machine, unless ``is_gpu``.
    """

    def __init__(self, folder: Path, *, is_gpu: bool = False) -> None:
        from websockets.sync.client import connect

        log = folder / "chromium.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [PROGRAM, *OPTIONS, *(() if is_gpu else SOFTWARE),
                 f"--user-data-dir={folder / 'profile'}", "about:blank"],
                stdout=output, stderr=output,
            )
        self.errors: list[str] = []
        self._number = 0
        browser = connect(_address(self._process, log), max_size=None)
        self._socket, self._session = browser, None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self.resize(*SIZE)

    def resize(self, width: int, height: int) -> None:
        """Make the window so large [px]."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                   deviceScaleFactor=1, mobile=False)

    def open(self, address: str, words: str = "Layers") -> None:
        """Open the page, and wait until it has the words; errors are its own from here on."""
        self.errors.clear()
        self._call("Page.navigate", url=address)
        self.wait(lambda browser: words in browser.text())

    def leave(self) -> None:
        """Close the page: it would go on to look for its server."""
        self._call("Page.navigate", url="about:blank")

    def text(self) -> str:
        """What there is to read on the page."""
        return self.evaluate("document.body?.innerText") or ""

    def evaluate(self, expression: str):
        """The value of an expression in JavaScript."""
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    def click(self, words: str) -> None:
        """Click on the button with these words."""
        assert self.evaluate(f"""(() => {{
            const button = [...document.querySelectorAll("button")].find(
                each => each.innerText.trim() === {json.dumps(words)});
            button?.click();
            return Boolean(button); }})()"""), f"no button {words}"

    def drag(self, start: tuple[int, int], end: tuple[int, int], seconds: float) -> list[float]:
        """Move the mouse to and fro, its button down; return how long each move took [s]."""
        self._mouse("mousePressed", start)
        delays, began = [], time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            share = abs((now - began) % 2 - 1)
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            self._mouse("mouseMoved", (x, y))
            delays.append(time.monotonic() - now)
            time.sleep(max(0.0, MOVE_S - delays[-1]))
        self._mouse("mouseReleased", start)
        return delays

    def screenshot(self) -> np.ndarray:
        """The page as a picture (H, W, 3) RGB."""
        content = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)

    def wait(self, is_done, seconds: float = 60.0):
        """Wait until the page is as it should be; return what ``is_done(browser)`` says."""
        end = time.monotonic() + seconds
        while (answer := is_done(self)) is None or answer is False:
            assert time.monotonic() < end, f"the page says: {self.text()}; errors: {self.errors}"
            time.sleep(0.2)
        return answer

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(START_S)

    def _mouse(self, event: str, place: tuple[float, float]) -> None:
        self._call("Input.dispatchMouseEvent", type=event, x=place[0], y=place[1], button="left",
                   buttons=1, clickCount=1)

    def _call(self, method: str, **values):
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(ANSWER_S))
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _note(self, event) -> None:
        values = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(values["exceptionDetails"]))
        is_error = values.get("type") == "error" or values.get("entry", {}).get("level") == "error"
        if event.get("method") in ("Runtime.consoleAPICalled", "Log.entryAdded") and is_error:
            self.errors.append(json.dumps(values))


def _address(process: subprocess.Popen, log: Path) -> str:
    """Where Chromium says that it listens."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("DevTools listening on "):
                return line.removeprefix("DevTools listening on ")
        time.sleep(0.05)
    raise RuntimeError(log.read_text(errors="replace"))
