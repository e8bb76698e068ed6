import pytest

from flashvggt_ros.viewer.origin import is_own_page


@pytest.mark.parametrize(("origin", "asked", "host"), [
    ("http://127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1"),
    ("http://localhost:8080", "localhost:8080", "127.0.0.1"),
    ("http://localhost:9000", "localhost:9000", "127.0.0.1"),  # by ssh, from another port
    ("http://LOCALHOST:8080", "localhost:8080", "127.0.0.1"),
    ("http://[::1]:8080", "[::1]:8080", "::1"),
    ("http://robot:8080", "robot:8080", "0.0.0.0"),
    ("https://robot", "robot", "0.0.0.0"),
    ("http://192.168.1.5:8080", "192.168.1.5:8080", "192.168.1.5"),
    (None, "127.0.0.1:8080", "127.0.0.1"),  # no browser
])  # fmt: skip
def test_the_own_page_is_let_in(origin, asked, host):
    assert is_own_page(origin, asked, host)


@pytest.mark.parametrize(("origin", "asked", "host"), [
    ("http://site.example", "127.0.0.1:8080", "127.0.0.1"),
    ("http://localhost:3000", "localhost:8080", "127.0.0.1"),  # another server's page
    ("http://127.0.0.1.site.example:8080", "127.0.0.1:8080", "127.0.0.1"),
    ("http://site.example:8080", "site.example:8080", "127.0.0.1"),  # DNS rebinding
    ("http://site.example:8080", "site.example:8080", "localhost"),
    ("http://site.example", "robot:8080", "0.0.0.0"),
    ("null", "127.0.0.1:8080", "127.0.0.1"),  # a file, or a frame in a sandbox
    ("", "", "127.0.0.1"),
    ("http://[::1:8080", "[::1:8080", "::1"),
    ("http://", "", "0.0.0.0"),
])  # fmt: skip
def test_other_pages_are_not(origin, asked, host):
    assert not is_own_page(origin, asked, host)
