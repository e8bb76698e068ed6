import fcntl
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded_bag import (
    add_checksums,
    camera_info,
    compressed_image,
    raw_image,
    record,
    write_bag,
)

from flashvggt_ros.config import build_config
from flashvggt_ros.mapping.map_io import read_ply, read_tum
from flashvggt_ros.model.checkpoint import CheckpointCard
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools import run_folder
from flashvggt_ros.tools.replay import Replay, main
from flashvggt_ros.tools.replay_report import format_summary
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

ROOT = Path(__file__).resolve().parents[2]
IMAGES = "/camera/image_raw"
CARD = CheckpointCard("truth", "0" * 64, is_trained=True, parameters=0, revision="")
STAGES = {"read", "gate", "model", "map", "write"}


def replay(
    bag_path, world, output, *, max_frames=0, topics=(IMAGES,), predictor=None, **values
):
    """Map a bag with a predictor that knows the answer; return the report."""
    values = {"bundle_adjustment.enabled": False, **values}  # the predictor needs no correction
    config = build_config({"image_topics": list(topics), **values})
    with Bag(bag_path) as bag:
        run = Replay(bag, config, predictor or TruthPredictor(world), CARD)
        run.run(max_frames)
        folder = RunFolder(output)
        folder.create()
        return run.write(folder)


def accounted(report):
    return (report["frames_used"] + report["frames_gated"] + report["frames_rejected"]
            + report["frames_dropped"])


def test_a_bag_becomes_a_true_map(tmp_path):
    world = make_world(walk(20))
    report = replay(record(tmp_path / "bag", world.frames), world, tmp_path / "out")
    stamps, T_map_camera = read_tum(tmp_path / "out/trajectory.tum")
    assert stamps == [frame.stamp_ns for frame in world.frames]
    true_steps = np.linalg.norm(np.diff(world.T_world_camera[:, :3, 3], axis=0), axis=1)
    steps = np.linalg.norm(np.diff(T_map_camera[:, :3, 3], axis=0), axis=1)
    assert steps / steps.sum() == pytest.approx(true_steps / true_steps.sum(), abs=1e-6)
    points, colors = read_ply(tmp_path / "out/map.ply")
    assert len(points) == len(colors) == report["map_points"] > 1000
    assert report["path_length_m"] == pytest.approx(steps.sum(), rel=1e-6)
    for picture in ("trajectory.png", "map_top.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "out/report.json").read_text())
    assert written == json.loads(json.dumps(report))


def test_every_image_is_accounted_for(tmp_path):
    world = make_world(np.repeat(walk(6), 3, axis=0))
    good = list(world.frames)
    messages = [(IMAGES, frame.stamp_ns, raw_image(frame)) for frame in good]
    short = raw_image(good[4])
    short.step = 7
    unknown = raw_image(good[7])
    unknown.encoding = "32FC7"
    backwards = raw_image(good[0])
    for position, broken in ((5, short), (8, unknown), (12, backwards)):
        messages[position] = (IMAGES, messages[position][1], broken)
    report = replay(write_bag(tmp_path / "bag", messages), world, tmp_path / "out")
    assert report["frames_read"] == 18 == accounted(report)
    assert report["frames_rejected"] == 3 == sum(report["rejected"].values())
    assert report["rejected"]["stamp_backwards"] == 1
    assert report["frames_gated"] >= 6
    assert report["frames_used"] == len(read_tum(tmp_path / "out/keyframes.tum")[0]) >= 5


def test_every_good_image_has_a_pose(tmp_path):
    poses = np.repeat(walk(6), 3, axis=0)  # the camera stops, three images at each place
    world = make_world(poses)
    messages = [(IMAGES, frame.stamp_ns, raw_image(frame)) for frame in world.frames]
    messages[10][2].encoding = "32FC7"
    good = [row for row in range(18) if row != 10]
    report = replay(write_bag(tmp_path / "bag", messages), world, tmp_path / "out")
    keyframe_stamps, keyframe_poses = read_tum(tmp_path / "out/keyframes.tum")
    stamps, T_map_camera = read_tum(tmp_path / "out/trajectory.tum")
    assert stamps == [world.frames[row].stamp_ns for row in good]
    assert report["frames_placed"] == 17 == report["frames_used"] + report["frames_interpolated"]
    assert report["frames_interpolated"] == report["frames_gated"] == 11
    rows = [stamps.index(stamp) for stamp in keyframe_stamps]
    assert np.array_equal(T_map_camera[rows], keyframe_poses)
    positions = T_map_camera[:, :3, 3]
    between = positions[0] + (positions[3] - positions[0]) / np.array([[3], [1.5]])
    assert positions[1:3] == pytest.approx(between, abs=1e-6)
    assert positions[-1] == pytest.approx(positions[-3], abs=1e-9)  # after the last keyframe



def test_the_report_says_where_the_time_went_and_what_was_set(tmp_path):
    world = make_world(walk(10))
    report = replay(record(tmp_path / "bag", world.frames), world, tmp_path / "out",
                    **{"chunk.size": 4})
    assert set(report["seconds_per_stage"]) == STAGES
    assert all(seconds > 0 for seconds in report["seconds_per_stage"].values())
    assert report["frames_per_second"] > 0
    assert report["peak_memory_mb"] > 10
    assert report["scale"]["value"] > 0
    assert {**report["scale"], "value": 0} == {
        "value": 0, "sigma": None, "source": "fixed", "is_metric": False
    }
    assert (report["up"], report["loops"]) == ("ground", 0)
    assert report["checkpoint"] == {"name": "truth", "sha256": "0" * 64, "is_trained": True}
    assert report["config"]["chunk.size"] == 4
    assert report["stopped_by"] == "end of bag"


def test_the_report_names_the_bag_so_that_it_is_found_from_everywhere(tmp_path, monkeypatch):
    world = make_world(walk(4))
    record(tmp_path / "bag", world.frames)
    monkeypatch.chdir(tmp_path)
    assert replay("bag", world, tmp_path / "out")["bag"] == str(tmp_path / "bag")


def test_only_the_first_frames_are_read_on_request(tmp_path):
    world = make_world(walk(12))
    path = record(tmp_path / "bag", world.frames)
    report = replay(path, world, tmp_path / "out", max_frames=5)
    assert report["frames_read"] == 5 == accounted(report)
    assert report["stopped_by"] == "max-frames"


def test_two_cameras_share_a_map_and_each_has_its_trajectory(tmp_path):
    world = make_world(walk(16), cameras=("left", "right"))
    messages = []
    for frame in world.frames:
        messages.append((f"/{frame.camera}/camera_info", frame.stamp_ns, camera_info(frame)))
        messages.append((f"/{frame.camera}/image_raw", frame.stamp_ns, raw_image(frame)))
    report = replay(write_bag(tmp_path / "bag", messages), world, tmp_path / "out",
                    topics=("/left/image_raw", "/right/image_raw"))
    assert report["frames_used"] == 16 == len(read_tum(tmp_path / "out/trajectory.tum")[0])
    assert set(report["trajectories"]) == {"left", "right"}
    stamps = {camera: read_tum(tmp_path / "out" / name)[0]
              for camera, name in report["trajectories"].items()}
    for camera, own in stamps.items():
        assert own == [frame.stamp_ns for frame in world.frames if frame.camera == camera]


def test_the_calibration_holds_from_the_first_image_on(tmp_path):
    world = make_world(walk(4))
    messages = [(IMAGES, frame.stamp_ns, raw_image(frame)) for frame in world.frames]
    late = world.frames[2]
    messages.append(("/camera/camera_info", late.stamp_ns, camera_info(late)))
    seen = []

    class Watcher(TruthPredictor):
        def predict(self, frames, cache):
            seen.extend(frame.calibration for frame in frames)
            return super().predict(frames, cache)

    with Bag(write_bag(tmp_path / "bag", messages)) as bag:
        config = build_config({"image_topics": [IMAGES]})
        Replay(bag, config, Watcher(world), CARD).run()
    assert len(seen) == 4
    assert all(calibration.pinhole.fx == 100.0 for calibration in seen)


def test_a_damaged_bag_leaves_what_came_before(tmp_path):
    world = make_world(walk(8))
    pairs = [(IMAGES, frame.stamp_ns, compressed_image(frame)) for frame in world.frames]
    path = write_bag(tmp_path / "bag", pairs, "sqlite3")
    (file,) = path.glob("*.db3")
    data = file.read_bytes()
    middle = len(data) // 2
    file.write_bytes(data[:middle] + b"\xff" * 8192 + data[middle + 8192 :])
    report = replay(path, world, tmp_path / "out")
    assert report["stopped_by"] == "damaged bag"
    assert report["frames_read"] < 8


def test_a_damaged_chunk_costs_its_images_and_they_are_counted(tmp_path):
    world = make_world(walk(44))
    path = record(tmp_path / "bag", world.frames)
    (file,) = path.glob("*.mcap")
    content = bytearray(add_checksums(file).read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    report = replay(path, world, tmp_path / "out")
    assert report["stopped_by"] == "end of bag"
    assert 10 < report["frames_lost"] == 44 - report["frames_read"]
    assert accounted(report) == report["frames_read"]
    assert f"{report['frames_lost']} more images could not be read" in format_summary(
        report, tmp_path
    )


class Failing(TruthPredictor):
    """A predictor whose model fails at the given calls."""

    def __init__(self, world, failing_calls):
        super().__init__(world)
        self.failing_calls, self.calls = failing_calls, 0

    def predict(self, frames, cache):
        self.calls += 1
        if self.calls - 1 in self.failing_calls:
            raise RuntimeError("the model gave depth that are not finite")
        return super().predict(frames, cache)


def test_a_chunk_that_fails_is_counted_as_dropped_and_the_map_goes_on(tmp_path):
    world = make_world(walk(16))
    values = {"chunk.size": 4}
    bag = record(tmp_path / "bag", world.frames)
    report = replay(bag, world, tmp_path / "out", predictor=Failing(world, [1]), **values)
    assert report["frames_read"] == 16 == accounted(report)
    assert report["frames_dropped"] == 4
    assert report["frames_used"] == 12 == len(read_tum(tmp_path / "out/trajectory.tum")[0])
    assert report["stopped_by"] == "end of bag"


def test_a_model_that_always_fails_ends_the_run(tmp_path):
    world = make_world(walk(20))
    bag = record(tmp_path / "bag", world.frames)
    predictor = Failing(world, range(100))
    report = replay(bag, world, tmp_path / "out", predictor=predictor, **{"chunk.size": 4})
    assert report["stopped_by"] == "failure"
    assert report["frames_used"] == 0
    assert report["frames_read"] == 16 == accounted(report)  # the model begins with a chunk ahead


@pytest.mark.parametrize(
    ("bag", "words"),
    [("nowhere", "there is no bag at"), ("file.mcap", "not a readable rosbag2")],
)
def test_the_command_refuses_what_is_no_bag(tmp_path, capsys, bag, words):
    (tmp_path / "file.mcap").write_bytes(b"nothing")
    assert main([str(tmp_path / bag), "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_the_command_lists_image_topics_where_it_cannot_choose(tmp_path, capsys):
    frame = make_world(walk(1)).frames[0]
    pairs = [("/left/image", 1, raw_image(frame)), ("/right/image", 2, raw_image(frame))]
    path = write_bag(tmp_path / "bag", pairs)
    assert main([str(path), "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "/left/image" in said
    assert "/right/image" in said
    assert "--image-topic" in said


def test_the_command_spares_folders_that_hold_other_files(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    path = record(tmp_path / "bag", make_world(walk(2)).frames)
    assert main([str(path), "--output", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


def test_the_command_names_the_limit_of_a_bad_parameter(tmp_path, capsys):
    path = record(tmp_path / "bag", make_world(walk(2)).frames)
    assert main([str(path), "--output", str(tmp_path / "out"), "--set", "chunk.size=1"]) == 2
    assert "chunk.size is 1: it must be within 2 to 64" in capsys.readouterr().err


def test_the_command_names_the_remedy_where_released_weights_cannot_be_had(
    tmp_path, capsys, monkeypatch
):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    path = record(tmp_path / "bag", make_world(walk(2)).frames)
    assert main([str(path), "--output", str(tmp_path / "out"), "--checkpoint", "flashvggt-r2"]) == 2
    said = capsys.readouterr().err
    assert "give its path as the checkpoint, or use flashvggt-mini" in said
    assert "Traceback" not in said


def command(bag, output, checkpoint, *more):
    return [str(bag), "--output", str(output), "--checkpoint", str(checkpoint), "--device", "cpu",
            "--set", "chunk.size=4", *more]


@pytest.mark.parametrize(("storage", "is_compressed"), [("mcap", True), ("sqlite3", False)])
def test_two_runs_of_the_command_give_the_same_map(
    tmp_path, capsys, tiny_checkpoint, storage, is_compressed
):
    world = make_world(walk(10))
    bag = record(tmp_path / "bag", world.frames, storage=storage, is_compressed=is_compressed)
    for output in ("first", "second"):
        assert main(command(bag, tmp_path / output, tiny_checkpoint)) == 0
    said = capsys.readouterr().out
    assert "10 frames read: 10 used, 0 gated, 0 dropped, 0 rejected" in said
    assert "10 placed: 10 keyframes, 0 gated ones between them" in said
    stamps, first = read_tum(tmp_path / "first/trajectory.tum")
    again, second = read_tum(tmp_path / "second/trajectory.tum")
    assert stamps == again == [frame.stamp_ns for frame in world.frames]
    assert second == pytest.approx(first, abs=1e-6)
    clouds = [read_ply(tmp_path / output / "map.ply")[0] for output in ("first", "second")]
    assert clouds[1] == pytest.approx(clouds[0], abs=1e-6)


def test_images_that_the_model_cannot_take_are_rejected_one_by_one(
    tmp_path, capsys, tiny_checkpoint
):
    frames = list(make_world(walk(6)).frames)
    frames[2:4] = [replace(frame, image=frame.image[:8]) for frame in frames[2:4]]
    bag = record(tmp_path / "bag", frames)
    assert main(command(bag, tmp_path / "out", tiny_checkpoint)) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["rejected"] == {"unfit_for_model": 2}
    assert report["frames_used"] == 4
    assert "Traceback" not in capsys.readouterr().err


def test_the_command_may_write_over_its_own_results_and_takes_a_parameter_file(
    tmp_path, tiny_checkpoint
):
    bag = record(tmp_path / "bag", make_world(walk(6)).frames)
    params = tmp_path / "params.yaml"
    params.write_text("/**:\n  ros__parameters:\n    image_topics: [elsewhere]\n"
                      "    chunk: {overlap: 3}\n")
    output = tmp_path / "out"
    for _ in range(2):
        more = ("--params-file", str(params), "--max-frames", "4")
        assert main(command(bag, output, tiny_checkpoint, *more)) == 0
    report = json.loads((output / "report.json").read_text())
    assert report["config"]["chunk.overlap"] == 3
    assert report["config"]["chunk.size"] == 4
    assert report["frames_read"] == 4
    assert report["checkpoint"]["name"] == "tiny.safetensors"
    assert len(report["checkpoint"]["sha256"]) == 64


def test_two_runs_at_once_into_one_folder_do_not_mix(
    tmp_path, capsys, tiny_checkpoint, monkeypatch
):
    monkeypatch.setattr(run_folder, "LOCK_TIMEOUT_S", 0.3)
    bag = record(tmp_path / "bag", make_world(walk(4)).frames)
    first = RunFolder(tmp_path / "out")
    first.create()
    assert main(command(bag, tmp_path / "out", tiny_checkpoint)) == 2
    assert "is in use: another run writes there" in capsys.readouterr().err
    del first
    assert main(command(bag, tmp_path / "out", tiny_checkpoint)) == 0


def test_results_that_the_disk_does_not_take_are_said(tmp_path, capsys, tiny_checkpoint):
    bag = record(tmp_path / "bag", make_world(walk(4)).frames)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        code = main(command(bag, tmp_path / "out", tiny_checkpoint))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    said = capsys.readouterr().err
    assert "flashvggt_replay: the results cannot be written: [Errno 27] File too large" in said
    assert "Traceback" not in said


def long_bag(folder):
    """A bag that takes longer to map than a test waits before it stops that."""
    frames = make_world(walk(20)).frames
    return record(folder, [replace(frames[i % 20], stamp_ns=(i + 1) * 10**8) for i in range(600)])


def begun(arguments, output, **options):
    """Start the command; return its process once it maps."""
    process = subprocess.Popen([sys.executable, "-m", "flashvggt_ros.tools.replay", *arguments],
                               cwd=ROOT, text=True, **options)
    deadline = time.monotonic() + 60
    while not output.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    return process


def test_a_signal_ends_the_command_with_what_was_mapped(tmp_path, tiny_checkpoint):
    output = tmp_path / "out"
    arguments = command(long_bag(tmp_path / "bag"), output, tiny_checkpoint)
    process = begun(arguments, output, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "INCOMPLETE: ended by signal" in said
    report = json.loads((output / "report.json").read_text())
    assert 0 < report["frames_read"] < 600
    assert report["frames_read"] == accounted(report)
    assert len(read_tum(output / "trajectory.tum")[0]) == report["frames_placed"] > 0


@pytest.mark.parametrize("has_nohup", [False, True])
def test_what_was_mapped_is_written_although_the_terminal_is_gone(
    tmp_path, tiny_checkpoint, has_nohup
):
    output = tmp_path / "out"
    arguments = command(long_bag(tmp_path / "bag"), output, tiny_checkpoint)
    if has_nohup:
        arguments += ["--max-frames", "60"]
    master, terminal = pty.openpty()

    def take_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_IGN if has_nohup else signal.SIG_DFL)
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    words = subprocess.DEVNULL if has_nohup else terminal
    process = begun(arguments, output, stdin=terminal, stdout=words, stderr=words,
                    start_new_session=True, preexec_fn=take_terminal)
    os.close(terminal)
    os.close(master)
    if not has_nohup:
        process.send_signal(signal.SIGHUP)  # the shell's, beside the kernel's
    code = process.wait(60)
    report = json.loads((output / "report.json").read_text())
    assert (code, report["stopped_by"]) == ((0, "max-frames") if has_nohup else (130, "signal"))
    assert report["frames_placed"] > 0
