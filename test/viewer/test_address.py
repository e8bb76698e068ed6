import socket

import pytest

from flashvggt_ros.viewer.address import free_port


def test_the_next_free_port_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port) < port + 100


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused_with_the_remedy(host):
    with pytest.raises(ValueError, match="--host takes an address of this machine"):
        free_port(host, 8080)
