"""Maps survive the disk exactly, and nothing is written where it should not be."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping import map_io
from flashvggt_ros.mapping.trails import Trajectory


@pytest.fixture
def trajectory() -> Trajectory:
    rng = np.random.default_rng(8)
    rotations = Rotation.from_quat(rng.normal(size=(5, 4))).as_matrix()
    stamps = [0, 1, 999_999_999, 1_700_000_000_000_000_001, 2**62]
    frames = tuple(FrameStamp(stamp, "camera") for stamp in stamps)
    return Trajectory(frames, se3.pose(rotations, rng.normal(0, 9, (5, 3))))


@pytest.fixture
def cloud() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    points = rng.normal(size=(7, 3)).astype(np.float32)
    return points, rng.integers(0, 256, (7, 3)).astype(np.uint8)


def test_ply_round_trip_is_exact(tmp_path: Path, cloud: tuple[np.ndarray, np.ndarray]) -> None:
    map_io.write_ply(tmp_path / "a.ply", *cloud)
    points, colors = map_io.read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(points, cloud[0])
    np.testing.assert_array_equal(colors, cloud[1])


def test_an_empty_cloud_is_a_valid_ply(tmp_path: Path) -> None:
    map_io.write_ply(tmp_path / "a.ply", np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    assert map_io.read_ply(tmp_path / "a.ply")[0].shape == (0, 3)


def test_a_foreign_or_truncated_ply_is_refused(
    tmp_path: Path, cloud: tuple[np.ndarray, np.ndarray]
) -> None:
    path = tmp_path / "a.ply"
    for content in (
        b"",
        b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n",
        b"no ply at all",
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a binary PLY"):
            map_io.read_ply(path)
    map_io.write_ply(path, *cloud)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="ends after"):
        map_io.read_ply(path)


def test_tum_keeps_every_nanosecond_and_the_poses(tmp_path: Path, trajectory: Trajectory) -> None:
    stamps = [frame.stamp_ns for frame in trajectory.frames]
    map_io.write_tum(tmp_path / "a.tum", stamps, trajectory.T_map_camera)
    read_stamps, poses = map_io.read_tum(tmp_path / "a.tum")
    assert read_stamps == stamps
    np.testing.assert_allclose(poses, trajectory.T_map_camera, atol=1e-10)


def test_tum_lines_have_nine_decimals(tmp_path: Path) -> None:
    map_io.write_tum(tmp_path / "a.tum", [1_000_000_001], np.eye(4)[None])
    assert (tmp_path / "a.tum").read_text() == "1.000000001 0 0 0 0 0 0 1\n"


def test_tum_comments_and_other_notations_are_read(tmp_path: Path) -> None:
    text = "\ufeff# stamp x y z\n\n1.5e9 1 2 3 0 0 0 2\n12,1,2,3,0,0,0,1\n"
    (tmp_path / "a.tum").write_text(text)
    stamps, poses = map_io.read_tum(tmp_path / "a.tum")
    assert stamps == [1_500_000_000 * 10**9, 12 * 10**9]
    np.testing.assert_allclose(poses[0], se3.pose(np.eye(3), np.array([1.0, 2, 3])))


@pytest.mark.parametrize(
    "line", ["1 2 3", "1 a 0 0 0 0 0 1", "nan 0 0 0 0 0 0 1", "1 inf 0 0 0 0 0 1"]
)
def test_a_line_that_is_no_pose_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.tum").write_text(f"0 0 0 0 0 0 0 1\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        map_io.read_tum(tmp_path / "a.tum")


@pytest.mark.parametrize(
    "line", ["1 nan nan nan nan nan nan nan", "1,NaN,0,0,0,0,0,1", "1 0 0 0 0 0 0 -inf"]
)
def test_a_line_that_a_tracker_lost_is_left_out_where_that_is_asked(tmp_path, line):
    (tmp_path / "a.tum").write_text(f"{line}\n2 0 0 0 0 0 0 1\n{line}\n")
    stamps, poses, lost = map_io.read_tracked_tum(tmp_path / "a.tum")
    assert (stamps, poses.shape, lost) == ([2 * 10**9], (1, 4, 4), 2)
    with pytest.raises(ValueError, match="line 1"):
        map_io.read_tum(tmp_path / "a.tum")


@pytest.mark.parametrize(
    "line", ["nan 0 0 0 0 0 0 1", "1 nan", "1 nan a 0 0 0 0 1", "1 0 0 0 0 0 0 0"]
)
def test_a_line_that_is_no_pose_is_named_among_those_that_a_tracker_lost(tmp_path, line):
    (tmp_path / "a.tum").write_text(f"1 nan nan nan nan nan nan nan\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        map_io.read_tracked_tum(tmp_path / "a.tum")


@pytest.mark.parametrize("name", ["kitchen", "A-1_b.c", "_x", "-", "a" * 128])
def test_a_plain_name_is_a_folder_of_the_map_directory(tmp_path: Path, name: str) -> None:
    assert map_io.safe_map_folder(tmp_path, name) == tmp_path.resolve() / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../a",
        "/etc",
        "a\\b",
        "a b",
        "a\n",
        "a\0",
        "ä",
        "~",
        "a" * 129,
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        map_io.safe_map_folder(tmp_path, name)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="symbolic link"):
        map_io.safe_map_folder(tmp_path / "maps", "link")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert map_io.safe_map_folder("~/maps", "a") == tmp_path.resolve() / "maps" / "a"


def test_a_home_that_there_is_not_is_said_with_the_parameter() -> None:
    with pytest.raises(ValueError, match=r"map_directory is '~nobody-of-that-name/maps'.*in full"):
        map_io.safe_map_folder("~nobody-of-that-name/maps", "a")


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="pathlib leaves that to whoever opens it")
def test_links_that_lead_in_a_ring_are_not_called_a_home(tmp_path: Path) -> None:
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    with pytest.raises(ValueError, match=r"nowhere: Symlink loop from .*ring"):
        map_io.safe_map_folder(tmp_path / "ring", "a")


@pytest.mark.parametrize(
    "line",
    ["1e999999999 0 0 0 0 0 0 1", "1e12 0 0 0 0 0 0 1", "nan 0 0 0 0 0 0 1", "1 0 0 0 0 0 0 0",
     "1 0 0 0 1e-200 0 0 0", "1 1e300 0 0 0 0 0 1", "1 1e999 0 0 0 0 0 1", "sNaN 0 0 0 0 0 0 1",
     "\x80 0 0 0 0 0 0 1"],
)
def test_what_is_no_stamp_or_no_rotation_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "poses.tum"
    path.write_bytes(b"0 0 0 0 0 0 0 1\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=r"poses\.tum, line 2: not a pose"):
        map_io.read_tum(path)


def test_points_that_are_not_finite_are_refused(tmp_path):
    points = np.array([[0, 0, 0], [0, np.nan, 0]], np.float32)
    map_io.write_ply(tmp_path / "a.ply", points, np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a\.ply has points that are not finite"):
        map_io.read_ply(tmp_path / "a.ply")
