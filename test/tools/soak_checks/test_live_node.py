"""The node under load and under kills is measured from outside, in seconds instead of hours."""

import importlib.util
from pathlib import Path

import pytest
from recorded_bag import compressed_image, pose_stamped, write_bag

from flashvggt_ros.tools.soak_checks import kills, live_node
from flashvggt_ros.tools.soak_checks.live_node import Load, growth, measure
from flashvggt_ros.tools.soak_checks.load import findings, latency_findings
from flashvggt_ros.worlds import make_world, walk

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed"
)

TIMED = ("later than", "slowest", "period", "memory", "lost")  # of a machine that others share


def few_images(folder: Path) -> Path:
    """A bag of a walk with its true poses, as sample_images makes, but not rendered."""
    world = make_world(walk(12))
    messages = [("/image/compressed", frame.stamp_ns, compressed_image(frame))
                for frame in world.frames]
    messages += [("/pose", frame.stamp_ns, pose_stamped(T, frame.stamp_ns))
                 for frame, T in zip(world.frames, world.T_world_camera, strict=True)]
    return write_bag(folder / "images", messages)


def test_a_node_under_load_accounts_for_every_image_and_answers(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    small = {"chunk.size": "4", "image.queue_size": "8", "checkpoint": str(tiny_checkpoint)}
    load = Load(3.0, rate=20.0, clouds=2, parameters=small)
    measured = measure(load, few_images(tmp_path), tmp_path / "run")
    found = list(findings("short", load, measured))
    assert len(found) == 10
    assert [one for one in found
            if not one.is_ok and not any(word in one.what for word in TIMED)] == []
    assert measured["received"] > 30 and measured["used"] > 0
    assert measured["images"] > 5 and measured["tf_delay"]["most"] > 0
    assert measured["answers"] > 5 and measured["statuses"] > 5
    assert min(size for _, size in measured["memory"]) > 100e6


def test_a_node_that_is_killed_leaves_a_whole_map(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kills, "sample_images", few_images)
    monkeypatch.setitem(kills.SMALL, "checkpoint", str(tiny_checkpoint))
    monkeypatch.setattr(kills, "LATEST_S", 0.3)
    damage = kills._kill(1, tmp_path)
    assert (damage.broken, damage.left) == (0, [])
    assert damage.litter <= 1  # the save in which it was killed
    assert kills._is_whole(tmp_path / "maps" / "room")
    (tmp_path / "maps" / "room" / "clouds.npz").write_bytes(b"")
    assert not kills._is_whole(tmp_path / "maps" / "room")


@pytest.mark.parametrize(
    ("used", "latency", "dropped", "is_ok"),
    [
        (80, 1.4, 0, [True, True]),  # 8 of 8 images a second, and half a second for the model
        (80, 1.6, 0, [True, False]),
        (80, 1.4, 1, [False, True]),
        (8, 2.4, 0, [True, True]),  # a chunk that does not fill waits for 2 s
        (8, 2.6, 0, [True, False]),
        (0, 2.6, 0, [True, False]),
    ],
)
def test_a_node_that_keeps_up_is_late_by_a_chunk_and_its_mapping(
    used: int, latency: float, dropped: int, is_ok: list[bool]
) -> None:
    measured = {"used": used, "dropped": dropped, "tf_latency_p95": latency,
                "chunk_latency_p95": 0.5}
    found = latency_findings("walk", Load(10.0), measured)
    assert [finding.is_ok for finding in found] == is_ok


def test_broken_promises_show() -> None:
    spread = {"p50": 0.1, "p95": 3.0, "most": 3.0}
    measured = {
        "sent": 100, "received": 80, "used": 1, "dropped": 0, "unaccounted": 3, "waiting": 0,
        "queue_most": 99, "errors": 1, "tf_late": [0.1, 0.6], "tf_tolerance": 0.2,
        "tf_latency_p50": 1.0, "tf_latency_p95": 2.0, "tf_uncovered": 22, "images": 2,
        "tf_delay": spread, "answer": spread, "answers": 4, "status_period": spread,
        "diagnostics_period": spread, "clouds": [3, 0],
        "memory": [(0.0, 10**8), (5.0, 2 * 10**8), (10.0, 3 * 10**8)],
    }
    found = list(findings("bad", Load(10.0, clouds=2), measured))
    assert [finding.value for finding in found] == [3, 20, 99, 1, 4, 3000, 3.0, 3.0, 100, 0]
    assert [finding.value for finding in findings("raw", Load(10.0, arrival=0.5), measured)][4] == 3
    assert not any(finding.is_ok for finding in found)
    assert growth(measured["memory"]) == 10**8
    assert live_node.Load(1.0, cameras=2).topics == ["/camera_0/image", "/camera_1/image"]
