"""Who reaches the page: over real sockets."""

import contextlib
import logging
import socket

import pytest
import viser
import websockets.asyncio.server as websocket_server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from flashvggt_ros.viewer.options import open_page, view_parser
from flashvggt_ros.viewer.page import Page
from flashvggt_ros.viewer.server import Server

PORT = 8500


@pytest.fixture(scope="module")
def port():
    with open_page(view_parser().parse_args(["--port", str(PORT)])) as page:
        yield int(page.address.rpartition(":")[2])


def speak(origin, name, port):
    """Open a WebSocket to the page, asked for as ``name``; return its first bytes."""
    with (
        socket.create_connection(("127.0.0.1", port)) as wire,
        connect(f"ws://{name}:{port}", sock=wire, origin=origin,
                subprotocols=[f"viser-v{viser.__version__}"]) as browser,
    ):
        return browser.recv(10)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_own_page_gets_its_messages(port, name):
    assert speak(f"http://{name}:{port}", name, port)


@pytest.mark.parametrize(("origin", "name"), [
    ("http://site.example", "127.0.0.1"), ("null", "127.0.0.1"),
    (f"http://site.example:{PORT}", "site.example"),
])  # fmt: skip
def test_the_page_of_another_origin_is_refused_before_it_gets_or_says_anything(port, origin, name):
    with pytest.raises(InvalidStatus) as refused:
        speak(origin, name, port)
    assert refused.value.response.status_code == 403


def test_who_was_refused_is_said_once(port, caplog):
    with caplog.at_level(logging.WARNING, "flashvggt_ros"):
        for _ in range(3):
            with pytest.raises(InvalidStatus):
                speak("http://said.example", "127.0.0.1", port)
    assert [record for record in caplog.messages if "said.example" in record] == caplog.messages
    assert len(caplog.messages) == 1


def test_by_default_the_page_is_served_at_loopback_alone(port):
    with socket.create_connection(("127.0.0.1", port)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port))  # an address of this machine, as any other
    with Page("0.0.0.0", port + 1, 10) as everywhere:
        number = int(everywhere.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.2", number)):
            pass


def test_connections_that_ask_for_nothing_do_not_hold_up_the_end(port):
    with socket.create_connection(("127.0.0.1", port)) as idle:
        idle.settimeout(8.0)  # websockets' own patience is 10 s
        while idle.recv(1024):
            pass


def test_viser_without_the_gate_is_not_served(monkeypatch):
    monkeypatch.setattr("flashvggt_ros.viewer.server.OriginGate.in_front_of_viser",
                        lambda _: contextlib.nullcontext())
    with pytest.raises(ValueError, match="pip install 'viser"):
        Server("127.0.0.1", PORT + 50, "unguarded")


def test_other_servers_of_the_process_are_left_alone(port):
    assert websocket_server.serve.__module__ == "websockets.asyncio.server"
