import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.map_io import write_ply, write_tum
from flashvggt_ros.tools.evaluate import main
from flashvggt_ros.tools.evaluation.scores import evaluate, format_table, measure_drift
from flashvggt_ros.worlds import walk

START = 1_700_000_000_123_456_789
STAMPS = [START + i * 100_000_000 for i in range(60)]
TRUTH = walk(60)
S_TRUTH_MAP = Sim3(2.0, se3.matrix_from_quaternion(np.array([0.1, 0.7, -0.3, 0.6])),
                   np.array([4.0, -3.0, 1.0]))


def run_folder(path, T_map_camera, stamps=STAMPS, **report):
    path.mkdir()
    write_tum(path / "trajectory.tum", stamps, T_map_camera)
    (path / "report.json").write_text(json.dumps({"frames_read": 80, **report}))
    return path


def truth_file(path):
    write_tum(path, STAMPS, TRUTH)
    return str(path)


def in_map_frame(T_world_camera):
    """What a perfect run in a frame and a scale of its own would have written."""
    return S_TRUTH_MAP.inverse().transform_pose(T_world_camera)


def shaken(sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, (60, 3))
    poses = TRUTH.copy()
    poses[:, :3, 3] += noise
    return poses, noise


def evo_by_hand(tmp_path, metric, truth, run, *options):
    archive = tmp_path / "by_hand.zip"
    archive.unlink(missing_ok=True)
    subprocess.run(
        [str(Path(sys.executable).parent / f"evo_{metric}"), "tum", truth,
         str(run / "trajectory.tum"), "-a", *options, "--save_results", str(archive)],
        check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)},
    )
    return json.loads(zipfile.ZipFile(archive).read("stats.json"))


def test_a_perfect_run_in_another_frame_and_scale_has_no_error_but_the_scale(tmp_path):
    run = run_folder(tmp_path / "run", in_map_frame(TRUTH))
    metrics = evaluate(run, truth_file(tmp_path / "truth.tum"), run)
    assert metrics["ape_sim3_m"]["rmse"] < 1e-6
    assert metrics["ape_rotation_deg"]["rmse"] < 1e-4
    assert metrics["rpe_sim3_m"]["rmse"] < 1e-6
    assert metrics["ape_se3_m"]["rmse"] > 0.1
    assert metrics["scale_factor"] == pytest.approx(2.0, rel=1e-6)
    assert metrics["scale_error"] == pytest.approx(-0.5, rel=1e-6)
    assert metrics["drift_percent"] < 1e-3
    assert metrics["frames_read"] == 80
    assert metrics["frames_placed"] == metrics["matched_poses"] == 60
    assert metrics["frames_interpolated"] == 0
    length = np.linalg.norm(np.diff(TRUTH[:, :3, 3], axis=0), axis=1).sum()
    assert metrics["path_length_m"] == pytest.approx(length, rel=1e-6)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert (run / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    assert "-50.00%" in format_table(metrics)


def test_a_known_error_is_measured_and_the_numbers_are_those_of_evo_by_hand(tmp_path):
    poses, noise = shaken(0.05)
    run = run_folder(tmp_path / "run", in_map_frame(poses), checkpoint={"is_trained": False})
    truth = truth_file(tmp_path / "truth.tum")
    metrics = evaluate(run, truth, tmp_path / "scores")
    rmse = np.sqrt((noise**2).sum(axis=1).mean())
    assert metrics["ape_sim3_m"]["rmse"] == pytest.approx(rmse, rel=0.05)
    assert metrics["ape_sim3_percent"] == pytest.approx(
        100 * metrics["ape_sim3_m"]["rmse"] / metrics["path_length_m"], rel=1e-9
    )
    assert "untrained weights: the geometry means nothing" in format_table(metrics)
    for key, metric, options in (
        ("ape_sim3_m", "ape", ["-s"]),
        ("ape_se3_m", "ape", []),
        ("ape_rotation_deg", "ape", ["-r", "angle_deg"]),
        ("rpe_sim3_m", "rpe", ["-s"]),
        ("rpe_se3_m", "rpe", []),
        ("rpe_rotation_deg", "rpe", ["-r", "angle_deg"]),
    ):
        by_hand = evo_by_hand(tmp_path, metric, truth, run, *options)
        options_said = f"{key} against evo_{metric} {options}"
        assert metrics[key] == pytest.approx(by_hand, abs=1e-6), options_said


def test_a_truth_with_commas_tabs_and_empty_lines_scores_as_its_plain_form(tmp_path):
    run = run_folder(tmp_path / "run", in_map_frame(shaken(0.05)[0]))
    plain = Path(truth_file(tmp_path / "truth.tum"))
    scores = evaluate(run, str(plain), tmp_path / "scores")
    first, *rest = plain.read_text().splitlines()
    other = tmp_path / "truth.csv"
    other.write_text("\ufeff" + first.replace(" ", ",") + "\n\n" + "  # seconds x y z\n"
                     + "\n".join(line.replace(" ", "\t") + "  # pose" for line in rest) + "\n\n")
    assert evaluate(run, str(other), tmp_path / "scores") == {**scores, "ground_truth": str(other)}


def test_lines_of_a_truth_that_are_not_finite_change_no_score_and_are_counted(tmp_path):
    run = run_folder(tmp_path / "run", in_map_frame(shaken(0.05)[0]))
    truth = tmp_path / "truth.tum"
    scores = evaluate(run, truth_file(truth), tmp_path / "scores")
    lost = "".join(f"{(stamp + 10**6) / 1e9:.9f}" + 7 * " nan" + "\n" for stamp in STAMPS[:3])
    truth.write_text(truth.read_text() + lost)
    warning = "3 true poses are not finite and were left out"
    assert evaluate(run, str(truth), tmp_path / "scores") == {**scores, "warning": warning}


def test_a_truth_that_is_not_in_order_scores_as_one_that_is(tmp_path):
    poses, _ = shaken(0.05)
    run = run_folder(tmp_path / "run", poses)
    truth = tmp_path / "truth.tum"
    rows = np.arange(0, 60, 2)  # fewer than the run has: evo goes by the truth's order then
    write_tum(truth, [STAMPS[row] for row in rows], TRUTH[rows])
    in_order = evaluate(run, str(truth), tmp_path / "out")
    lines = truth.read_text().splitlines(keepends=True)
    truth.write_text("".join(lines[::3] + lines[2::3] + lines[1::3]))
    assert evaluate(run, str(truth), tmp_path / "out") == in_order
    curves = json.loads((tmp_path / "out/errors.json").read_text())
    assert curves["seconds"] == sorted(curves["seconds"])


def test_the_images_of_all_cameras_count_and_a_run_that_was_ended_is_no_whole_one(tmp_path):
    run = run_folder(tmp_path / "run", TRUTH, frames_read=120, frames_placed=120,
                     frames_lost=7, stopped_by="signal",
                     trajectories={"left": "trajectory.tum"})
    said = format_table(evaluate(run, truth_file(tmp_path / "truth.tum"), run))
    assert "placed  120 frames of 120 frames read (100%)" in said
    assert "truth   60 poses have a true pose" in said
    assert "WARNING: the run was ended by signal: what came after is not scored" in said
    assert "7 images of the bag could not be read" in said


def test_drift_is_what_evo_says_of_motions_by_a_tenth_of_the_path(tmp_path):
    poses, _ = shaken(0.05)
    run = run_folder(tmp_path / "run", in_map_frame(poses))
    truth = truth_file(tmp_path / "truth.tum")
    length = np.linalg.norm(np.diff(TRUTH[:, :3, 3], axis=0), axis=1).sum()
    by_hand = evo_by_hand(tmp_path, "rpe", truth, run, "-s", "--all_pairs", "-u", "m",
                          "-d", f"{length / 10:.12f}")
    percent = measure_drift(Path(truth), run / "trajectory.tum", length)
    assert percent == pytest.approx(1000 * by_hand["rmse"] / length, abs=1e-6)
    assert 0.1 < percent < 100
    assert measure_drift(Path(truth), run / "trajectory.tum", 0.0) is None


def test_the_map_is_compared_with_true_surfaces_in_the_frame_of_the_truth(tmp_path, capsys):
    run = run_folder(tmp_path / "run", in_map_frame(TRUTH))
    surfaces = np.random.default_rng(0).uniform(-3, 3, (500, 3)).astype(np.float32)
    colors = np.zeros((500, 3), np.uint8)
    off = surfaces[:400].copy()
    off[:100] += 20  # a quarter of the map is nowhere near
    write_ply(run / "map.ply", S_TRUTH_MAP.inverse().transform_points(off), colors[:400])
    write_ply(tmp_path / "surfaces.ply", surfaces, colors)
    assert main([str(run), "--ground-truth", truth_file(tmp_path / "truth.tum"),
                 "--surfaces", str(tmp_path / "surfaces.ply")]) == 0
    assert "75.0% of 400 points lie within" in capsys.readouterr().out
    written = json.loads((run / "metrics.json").read_text())["map"]
    assert written["near_share"] == 0.75
    assert written["median_m"] < 1e-4
    assert "scale_against_path" in json.loads((run / "metrics.json").read_text())["map_fitted"]
    (tmp_path / "surfaces.ply").write_text("nothing")
    assert main([str(run), "--ground-truth", truth_file(tmp_path / "truth.tum"),
                 "--surfaces", str(tmp_path / "surfaces.ply")]) == 2
    assert "is not a binary PLY file" in capsys.readouterr().err


def test_other_times_are_an_error_that_names_both_ranges(tmp_path, capsys):
    run = run_folder(tmp_path / "run", TRUTH, [stamp - 10**12 for stamp in STAMPS])
    assert main([str(run), "--ground-truth", truth_file(tmp_path / "truth.tum")]) == 2
    said = capsys.readouterr().err
    assert "only 0 poses have a true pose" in said
    assert "60 poses from 1699999000.123 s to 1699999006.023 s" in said
    assert "60 poses from 1700000000.123 s to 1700000006.023 s" in said


def test_a_truth_that_cannot_be_aligned_is_an_error_in_plain_words(tmp_path, capsys):
    run = run_folder(tmp_path / "run", TRUTH)
    straight = np.tile(np.eye(4), (60, 1, 1))
    straight[:, 0, 3] = np.arange(60)
    write_tum(tmp_path / "truth.tum", STAMPS, straight)
    assert main([str(run), "--ground-truth", str(tmp_path / "truth.tum")]) == 2
    said = capsys.readouterr().err
    assert "Umeyama alignment is not possible; the true path or the mapped one is" in said
    assert "\x1b" not in said and "settings.json" not in said


def test_a_run_that_placed_nothing_is_an_error(tmp_path, capsys):
    run = run_folder(tmp_path / "run", np.empty((0, 4, 4)), [])
    assert main([str(run), "--ground-truth", truth_file(tmp_path / "truth.tum")]) == 2
    assert "The run has no poses at all" in capsys.readouterr().err


def test_a_folder_that_is_no_run_and_a_truth_that_is_missing_are_named(tmp_path, capsys):
    assert main([str(tmp_path), "--ground-truth", truth_file(tmp_path / "truth.tum")]) == 2
    said = capsys.readouterr().err
    assert "no trajectory.tum" in said and "holds no bag (metadata.yaml, .mcap or .db3)" in said
    run = run_folder(tmp_path / "run", TRUTH)
    assert main([str(run), "--ground-truth", str(tmp_path / "nothing.tum")]) == 2
    assert "nothing.tum is no ground-truth file" in capsys.readouterr().err


def test_without_evo_the_remedy_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("flashvggt_ros.tools.evo_command._folders", lambda: ())
    monkeypatch.setenv("PATH", str(tmp_path))
    run = run_folder(tmp_path / "run", TRUTH)
    assert main([str(run), "--ground-truth", truth_file(tmp_path / "truth.tum")]) == 2
    assert "pip install 'flashvggt_ros[evaluate]'" in capsys.readouterr().err
