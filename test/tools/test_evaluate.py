import json
from pathlib import Path

import numpy as np
import pytest
from recorded_bag import camera_info, pose_stamped, raw_image, write_bag

from flashvggt_ros.mapping.map_io import write_tum
from flashvggt_ros.tools.evaluate import main
from flashvggt_ros.worlds import make_world, walk

TRUTH = "/ground_truth/pose"


@pytest.fixture(scope="module")
def world():
    return make_world(walk(16))


@pytest.fixture(scope="module")
def bag(tmp_path_factory, world):
    messages = []
    for frame, T in zip(world.frames, world.T_world_camera, strict=True):
        messages += [("/camera/camera_info", frame.stamp_ns, camera_info(frame)),
                     ("/camera/image_raw", frame.stamp_ns, raw_image(frame)),
                     (TRUTH, frame.stamp_ns, pose_stamped(T, frame.stamp_ns))]
    return write_bag(tmp_path_factory.mktemp("bags") / "walk", messages)


def run_folder(path, world, bag):
    """What a run would have written of this bag, in which each place is a little off."""
    path.mkdir()
    poses = world.T_world_camera.copy()
    poses[:, :3, 3] += np.random.default_rng(0).normal(0, 0.01, (len(poses), 3))
    write_tum(path / "trajectory.tum", [frame.stamp_ns for frame in world.frames], poses)
    (path / "report.json").write_text(json.dumps({"bag": str(bag), "frames_read": 16}))
    return path


def test_bags_and_runs_are_mapped_scored_reported_and_not_done_twice(
    tmp_path, world, bag, tiny_checkpoint, capsys
):
    run = run_folder(tmp_path / "earlier", world, bag)
    output = tmp_path / "scores"
    words = [str(bag), str(tmp_path / "gone"), str(run), "--ground-truth", TRUTH, "--output",
             str(output), "--checkpoint", str(tiny_checkpoint), "-p", "predictor.dtype:=float32"]
    assert main(words) == 1  # one is gone
    first = capsys.readouterr()
    assert f"gone: FAILED: there is no bag at {tmp_path / 'gone'}" in first.err
    assert "kept" not in first.err
    summary = json.loads((output / "metrics.json").read_text())
    assert list(summary["bags"]) == ["walk", "earlier"]
    assert list(summary["failed"]) == ["gone"]
    mapped = summary["bags"]["walk"]
    assert mapped["frames_read"] == mapped["matched_poses"] == 16
    assert mapped["placed_percent"] == 100
    assert mapped["peak_memory_mb"] > 50 and mapped["frames_per_second"] > 0
    assert json.loads((output / "walk/report.json").read_text())["config"]["predictor.dtype"] == (
        "float32"
    )
    assert 0.005 < summary["bags"]["earlier"]["ape_sim3_m"]["rmse"] < 0.03
    assert "| gone | there is no bag" in (output / "report.md").read_text()
    assert (output / "report.html").read_text().count("data:image/png;base64,") == 4

    changes = {file: file.stat().st_mtime_ns for file in output.glob("*/*") if file.is_file()}
    assert main(words) == 1
    again = capsys.readouterr().err
    assert "after Sim(3) (replay and scores done before: kept)" in again
    assert "after Sim(3) (scores done before: kept)" in again
    assert json.loads((output / "metrics.json").read_text()) == summary
    assert changes == {file: file.stat().st_mtime_ns for file in changes}

    (output / "walk/trajectory.tum").unlink()
    assert main(words) == 1
    assert "walk: APE" in capsys.readouterr().err
    assert (output / "walk/trajectory.tum").is_file()


def test_a_replay_that_fails_says_why_and_what_it_says_is_kept(tmp_path, bag, capsys):
    assert main([f"{bag}={TRUTH}", "--output", str(tmp_path), "--checkpoint", "teapot"]) == 1
    said = capsys.readouterr().err
    assert "walk: FAILED: exit code 2: " in said and "teapot" in said
    assert "teapot" in Path(tmp_path / "walk.log").read_text()
    assert json.loads((tmp_path / "metrics.json").read_text())["bags"] == {}


def test_misuse_is_named_before_anything_is_done(tmp_path, bag, capsys):
    assert main([str(bag), "--ground-truth", TRUTH]) == 2
    assert "need --output" in capsys.readouterr().err
    assert main(["--ground-truth", TRUTH]) == 2
    assert "nothing to score" in capsys.readouterr().err
    for wrong, said in (("chunk.sizes:=3", "chunk.sizes"), ("chunk.size:=999", "within 2 to 64")):
        words = [str(bag), "--ground-truth", TRUTH, "--output", str(tmp_path / "no"), "-p", wrong]
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    for words, said in (
        ([str(tmp_path / "gone"), "--ground-truth", TRUTH], "there is no run or bag"),
        ([str(bag), "--ground-truth", TRUTH, "--output", str(tmp_path / "no"), "--surfaces",
          str(tmp_path / "no.ply")], "no.ply is no file"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    (tmp_path / "scores").write_text("mine")
    words = [str(bag), "--ground-truth", TRUTH, "--output", str(tmp_path / "scores")]
    assert main(words) == 2
    assert "scores is a file: name a folder" in capsys.readouterr().err
    assert main([*words[:-1], str(bag)]) == 2
    assert f"--output {bag} is a bag: name a folder of its own" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--ray", "local", "--ray-cpus", "0"])
    assert "--ray-cpus: 0 is no whole number, or less than 1" in capsys.readouterr().err
    for count in ("many", "-1"):
        with pytest.raises(SystemExit):
            main([*words, "--max-frames", count])
        assert f"{count} is no number of 0 or more" in capsys.readouterr().err


def test_reports_that_cannot_be_written_are_printed_all_the_same(tmp_path, world, bag, capsys):
    run = run_folder(tmp_path / "earlier", world, bag)
    (tmp_path / "scores/report.md").mkdir(parents=True)
    words = [str(run), f"{tmp_path / 'gone'}", "--ground-truth", TRUTH, "--output"]
    assert main([*words, str(tmp_path / "scores")]) == 1
    said = capsys.readouterr()
    assert "| earlier | 16 |" in said.out
    assert f"the reports cannot be written to {tmp_path / 'scores'}: " in said.err


@pytest.mark.parametrize(
    ("truth", "said"),
    [("no.tum", "no.tum is no ground-truth file"), ("/no/pose", "has no poses on '/no/pose'"),
     (f"{TRUTH}:map", "has no poses of 'map': name frames as")],
)
def test_a_bag_without_its_truth_is_not_mapped_in_vain(tmp_path, bag, capsys, truth, said):
    assert main([str(bag), "--ground-truth", truth, "--output", str(tmp_path / "scores")]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "scores/walk.log").exists()


def line(count):
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.arange(count)
    return poses


@pytest.mark.parametrize(
    ("count", "late_ns", "poses", "said"),
    [(16, 10**12, walk, "only 0 images have a true pose within 0.01 s; at least 3 are needed. The "
      "bag has 16 images from"),
     (16, 20_000_000, walk, "only 0 images have a true pose"), (2, 0, walk, "has only 2 poses; at"),
     (16, 0, line, "cannot be aligned; the true path or the mapped one is a point or a straight")],
)
def test_a_truth_that_cannot_score_a_bag_is_told_before_it_is_mapped(
    tmp_path, world, bag, capsys, count, late_ns, poses, said
):
    truth = tmp_path / "truth.tum"
    stamps = [frame.stamp_ns + late_ns for frame in world.frames]
    write_tum(truth, stamps[:count], poses(count))
    assert main([f"{bag}={truth}", "--output", str(tmp_path / "scores")]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "scores/walk.log").exists()


def test_a_truth_of_later_images_than_are_mapped_is_told_before_they_are(
    tmp_path, world, bag, capsys
):
    truth = tmp_path / "truth.tum"
    write_tum(truth, [frame.stamp_ns for frame in world.frames[4:]], walk(12))
    words = [f"{bag}={truth}", "--output", str(tmp_path / "scores"), "--max-frames", "6"]
    assert main(words) == 1
    assert "only 2 images have a true pose" in capsys.readouterr().err
    assert not (tmp_path / "scores/walk.log").exists()


def test_surfaces_and_evo_are_looked_for_before_a_bag_is_mapped(
    tmp_path, bag, capsys, monkeypatch
):
    words = [f"{bag}={TRUTH}", "--output", str(tmp_path / "scores")]
    (tmp_path / "surfaces.ply").write_text("nothing")
    assert main([*words, "--surfaces", str(tmp_path / "surfaces.ply")]) == 1
    assert "is not a binary PLY file" in capsys.readouterr().err
    monkeypatch.setattr("flashvggt_ros.tools.evo_command._folders", lambda: ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(words) == 1
    assert "pip install 'flashvggt_ros[evaluate]'" in capsys.readouterr().err
    assert not (tmp_path / "scores/walk.log").exists()


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_a_report_of_another_is_not_overwritten(tmp_path, world, bag, capsys, name):
    run = run_folder(tmp_path / "earlier", world, bag)
    scores = tmp_path / "scores"
    scores.mkdir()
    (scores / name).write_text("precious")
    words = ["--ground-truth", TRUTH, "--output", str(scores)]
    for inputs in ([str(run)], [str(run), str(bag)]):
        assert main([*inputs, *words]) == 2
        assert f"--output {scores} holds another {name}: name a new" in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in scores.iterdir()] == [(name, "precious")]


def test_a_folder_with_other_files_is_never_written_into(tmp_path, bag, capsys):
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk/thesis.tex").write_text("precious")
    assert main([str(bag), "--ground-truth", TRUTH, "--output", str(tmp_path)]) == 1
    assert "holds other files (thesis.tex)" in capsys.readouterr().err
    assert [entry.name for entry in (tmp_path / "walk").iterdir()] == ["thesis.tex"]
