import hashlib
import io
import logging

import pytest
import torch
from hub_server import Hub

from flashvggt_ros.model import checkpoint
from flashvggt_ros.model.checkpoint import resolve_checkpoint
from flashvggt_ros.model.released_weights import released_weights

constants = pytest.importorskip("huggingface_hub.constants")
CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


@pytest.fixture
def serving(monkeypatch):
    """Where downloads go instead of to the Internet."""

    def serve(hub: Hub):
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        return hub

    return serve


def fetch(has_own_hash=False):
    return released_weights("flashvggt-mini", has_own_hash=has_own_hash)


def downloads(hub):
    return [method for method, _ in hub.requests].count("GET")


def test_weights_are_downloaded_once_and_then_need_no_network(
    serving, caplog, capsys, monkeypatch
):
    with Hub(CONTENT, SHA256).serving() as hub:
        serving(hub)
        path, declared = fetch()
        assert "flashvggt_stream.pt: 100%" in capsys.readouterr().err
        assert "non-commercial" in caplog.text
        assert f"has SHA-256 {SHA256}" in caplog.text
        assert "set checkpoint_sha256 to that value" in caplog.text
        asked = len(hub.requests)
        caplog.clear()
        assert fetch() == (path, SHA256)
        assert len(hub.requests) == asked
        assert "non-commercial" in caplog.text
        assert "downloading" not in caplog.text
    assert declared == SHA256
    assert path.read_bytes() == CONTENT
    assert fetch()[0] == path  # the hub is gone
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch()[0] == path


def test_a_download_that_breaks_off_goes_on(serving):
    with Hub(CONTENT, SHA256, cut_after=[100_000]).serving() as hub:
        serving(hub)
        assert fetch()[0].read_bytes() == CONTENT
        assert downloads(hub) >= 2


def test_a_download_that_always_breaks_off_leaves_nothing_that_is_taken_for_weights(serving):
    with Hub(CONTENT, SHA256, cut_after=[1000] * 50).serving() as hub:
        serving(hub)
        with pytest.raises(ValueError, match=r"could not be downloaded .*closed connection"):
            fetch()
        hub.cut_after.clear()
        assert fetch()[0].read_bytes() == CONTENT  # the next start


def test_without_network_the_remedy_is_named(monkeypatch, caplog):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="give its path as the checkpoint, or use flashvggt-mini"):
        resolve_checkpoint("flashvggt-r2")
    assert "non-commercial" in caplog.text


def test_a_missing_file_on_the_hub_is_an_error_with_a_remedy(serving, monkeypatch):
    monkeypatch.setattr("flashvggt_ros.model.released_weights.RELEASED_FILE", "gone.pt")
    with Hub(CONTENT, SHA256).serving() as hub:
        serving(hub)
        with pytest.raises(ValueError, match=r"could not be downloaded .*404.*download gone\.pt"):
            fetch()


def test_a_full_disk_is_an_error_with_a_remedy(serving, empty_cache, monkeypatch):
    def write(*_, **__):
        raise OSError(28, "No space left on device")

    with Hub(CONTENT, SHA256).serving() as hub:
        serving(hub)
        monkeypatch.setattr("huggingface_hub.file_download.http_get", write)
        with pytest.raises(ValueError, match=r"No space left on device.*give its path"):
            fetch()


def test_weights_without_a_declared_hash_need_one_from_the_user(serving):
    with Hub(CONTENT, "0123456789abcdef").serving() as hub:  # of a file that git itself keeps
        serving(hub)
        with pytest.raises(ValueError, match=r"declares no SHA-256 .* set checkpoint_sha256"):
            fetch()
        path, declared = fetch(has_own_hash=True)
    assert declared == ""
    assert path.read_bytes() == CONTENT


@pytest.fixture
def released(make_model, monkeypatch):
    """A model that is taken for the released one, and its file."""
    model = make_model()
    monkeypatch.setitem(checkpoint.PRESETS, "flashvggt-r2", model.config)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return model, file.getvalue()


def test_a_released_name_gives_the_downloaded_model(serving, released, caplog):
    model, content = released
    with Hub(content, hashlib.sha256(content).hexdigest()).serving() as hub:
        serving(hub)
        with caplog.at_level(logging.WARNING):
            loaded, card = resolve_checkpoint("flashvggt-r2")
    theirs = loaded.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    assert card.name == "flashvggt-r2"
    assert card.sha256 == hashlib.sha256(content).hexdigest()
    assert resolve_checkpoint("flashvggt-r2", sha256=card.sha256)[1] == card


def test_weights_of_another_hash_than_declared_are_refused_with_the_file_to_delete(
    serving, released
):
    _, content = released
    with Hub(content, "f" * 64).serving() as hub:
        serving(hub)
        with pytest.raises(ValueError, match=r"the hub says ffff.*delete .*blobs/ffff"):
            resolve_checkpoint("flashvggt-r2")


def test_weights_of_another_hash_than_the_user_gave_are_refused(serving, released):
    _, content = released
    for etag in (hashlib.sha256(content).hexdigest(), "not-a-hash"):
        with Hub(content, etag).serving() as hub:
            serving(hub)
            with pytest.raises(ValueError, match="checkpoint_sha256 says 0000"):
                resolve_checkpoint("flashvggt-r2", sha256="0" * 64)


def test_weights_that_changed_on_the_disk_are_refused(serving, released):
    _, content = released
    with Hub(content, hashlib.sha256(content).hexdigest()).serving() as hub:
        serving(hub)
        path, _ = fetch()
    path.resolve().write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match="damaged or was replaced"):
        resolve_checkpoint("flashvggt-r2")
