"""The live view with many points: what is sent, and how evenly a browser draws them.

Run as ``python -m benchmarks.view_points``; it takes Chromium. The map is a made one: rooms whose
walls and floor are covered with points. Chromium runs without a window and draws in software, as
in the tests of the page, unless ``--gpu`` is given. The page itself counts frames while the mouse
turns the map.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import viser
from numpy.typing import NDArray
from websockets.sync.client import connect

from flashvggt_ros.viewer.page import Page

sys.path.append(str(Path(__file__).parents[1] / "test"))
from viewer.browser import PROGRAM, SIZE, Browser

ROOM, ROOMS, HEIGHT = 4.0, 3, 2.5  # [m], along each side, [m]
QUIET_S = 1.0  # after which nothing more is expected to be sent
COUNT_FRAMES = """(() => { window.drawn = []; const count = now => {
    window.drawn.push(now); requestAnimationFrame(count); };
    requestAnimationFrame(count); })()"""


def main() -> None:
    """Print the costs of a map on the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=2_000_000, help="of the map [count]")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which the map is turned")
    parser.add_argument("--gpu", action="store_true", help="let Chromium draw with the GPU")
    parser.add_argument("--port", type=int, default=8900)
    options = parser.parse_args()
    points, colors = building(options.points)
    with Page("127.0.0.1", options.port, options.points) as page:
        report("map shown, computing", timed(lambda: page.show_cloud(points, colors)), "s")
        size, seconds = received(page.address)
        report(f"{page.cloud.shown_points:,} points sent", size / 1e6, "MB")
        report("over loopback", seconds, "s")
        report("shown again, computing", timed(lambda: page.show_cloud(points, colors)), "s")
        report("again, points sent", page.cloud.sent_points, "")
        if PROGRAM is None:
            parser.exit(1, "there is no Chromium here to draw them\n")
        turn(page.address, options.seconds, is_gpu=options.gpu)


def building(count: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return points (count, 3) [m] on floor and walls of rooms, and colors (count, 3)."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (count, 3)) * (ROOM * ROOMS, ROOM * ROOMS, HEIGHT)
    surface = rng.integers(0, 3, count)
    for axis in (0, 1):  # walls across x and across y
        on_wall = surface == axis
        points[on_wall, axis] = ROOM * rng.integers(0, ROOMS + 1, int(on_wall.sum()))
    points[surface == 2, 2] = 0.0
    shades = 127.5 * (1 + np.sin(points * (0.7, 1.1, 2.3)))
    return points.astype(np.float32), shades.astype(np.uint8)


def received(address: str) -> tuple[int, float]:
    """Return bytes that one who opens the page gets of the map, and the time [s] it takes."""
    size, last = 0, (began := time.perf_counter())
    with connect(address.replace("http", "ws", 1), max_size=None,
                 subprotocols=[f"viser-v{viser.__version__}"]) as browser:  # fmt: skip
        while True:
            try:
                size += len(browser.recv(QUIET_S))
            except TimeoutError:
                return size, last - began
            last = time.perf_counter()


def turn(address: str, seconds: float, *, is_gpu: bool) -> None:
    """Open the page, turn the map with the mouse, and print how frames come."""
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder), is_gpu=is_gpu) as browser:
        began = time.perf_counter()
        browser.open(address)
        browser.wait(has_colors, 300.0)
        report("page opened, until the map is on screen", time.perf_counter() - began, "s")
        browser.evaluate(COUNT_FRAMES)
        delays = browser.drag((250, 400), (400, 420), seconds)
        drawn = np.diff(np.array(browser.evaluate("window.drawn"))) / 1e3
        report("frames while the map is turned", 1 / drawn.mean(), "a second")
        report("time of a frame, median", 1e3 * float(np.median(drawn)), "ms")
        report("95 % within", 1e3 * float(np.percentile(drawn, 95)), "ms")
        report("a move of the mouse is answered, median", 1e3 * float(np.median(delays)), "ms")
        browser.leave()


def has_colors(browser: Browser) -> bool:
    """Say whether a good part of the 3D view is drawn on."""
    view = browser.screenshot()[200:, : SIZE[0] * 6 // 10]
    return bool((np.ptp(view, axis=2) > 20).mean() > 0.1)


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes [s]."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def report(name: str, value: float, unit: str) -> None:
    """Print one line."""
    print(f"{name:42} {value:8.2f} {unit}", flush=True)


if __name__ == "__main__":
    main()
