"""The benchmark's numbers are what they say, checked at small sizes on the CPU."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recorded_bag import raw_image, write_bag

from flashvggt_ros.model.precision import PRECISIONS
from flashvggt_ros.tools.benchmark import _image_source, main
from flashvggt_ros.tools.benchmarking.accuracy import Errors, measure_errors, relative_rms
from flashvggt_ros.tools.benchmarking.case import (
    RANDOM,
    Case,
    bag_images,
    named_precision,
    noise,
)
from flashvggt_ros.tools.benchmarking.dense import dense_config, measure_dense
from flashvggt_ros.tools.benchmarking.host_copies import HostCopies, Uploads
from flashvggt_ros.tools.benchmarking.measurement import Measurement, Run, measure, run_once
from flashvggt_ros.tools.benchmarking.report import Report
from flashvggt_ros.worlds import make_world, walk

SMALL = ["--preset", "flashvggt-mini", "--frames", "5", "--chunk", "2", "--height", "56",
         "--width", "70", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def case() -> Case:
    return Case("flashvggt-mini", RANDOM, 5, 2, 56, 70, PRECISIONS["fp32"], "fp32",
                torch.device("cpu"))


def test_the_command_prints_a_table_and_writes_everything_as_json(tmp_path, capsys):
    path = tmp_path / "result.json"

    status = main([*SMALL, "--dtype", "bf16", "--stages", "--errors", "--compare-dense",
                   "--dense-blocks", "2", "--repeats", "2", "--json", str(path)])

    assert status == 0
    table = capsys.readouterr().out
    for row in ("torch", "frames/s", "depth head", "peak memory", "2 of 6 blocks", "% of that",
                "bf16 / autocast", "median of 2 runs"):
        assert row in table
    result = json.loads(path.read_text())
    (measured,) = result["measurements"]
    assert [len(run["chunk_s"]) for run in measured["runs"]] == [3, 3]
    for run in measured["runs"]:
        assert 0 < sum(run["chunk_s"]) <= run["total_s"]
        assert run["cpu_s"] > 0
    assert sum(measured["stages_s"].values()) <= measured["stages_total_s"]
    assert result["case"]["precision"]["weights"] == "bfloat16"
    assert [row["label"] for row in result["errors_against_fp32"]] == ["bf16", "autocast"]


def test_options_that_make_no_sense_are_refused(capsys):
    assert main([*SMALL, "--checkpoint", "flashvggt-mini", "--compare-dense"]) == 2
    assert "leave --checkpoint out" in capsys.readouterr().err
    assert main([*SMALL, "--height", "57"]) == 2
    assert "multiples of 14" in capsys.readouterr().err
    for bound in ("0.1", "1e-9"):
        assert main([*SMALL, "--max-cache-mb", bound]) == 2
        assert "needs at least" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*SMALL, "--chunk", "0"])
    assert "less than 1" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "remedy"), [
    ("--height 57", "multiples of 14"),
    ("--height 1400000", "height is 1400000: it must be within 1 to 16384"),
    ("--frames 100000000000000000000", "it must be within 1 to 1000000000"),
    ("--max-cache-mb -1", "max_cache_mb is -1.0: it must be within 0 to"),
    ("--max-cache-mb nan", "max_cache_mb is nan: it must be within 0 to"),
    ("--max-cache-mb inf", "max_cache_mb is inf: it must be within 0 to"),
    ("--depth-frames-at-once -1", "depth_frames_at_once is -1: it must be within 0 to"),
    ("--seed 99999999999999999999", "it must be within 0 to 9223372036854775807"),
    ("--threads -1", "--threads is -1: it must be within 0 to 1024"),
    ("--threads 100000", "--threads is 100000: it must be within 0 to 1024"),
    ("--attention cudnn", "attention cudnn cannot be had on cpu in"),
    ("--kernels triton", "need a CUDA device"),
    ("--dtype autocast --residual fp16", "take bf16 or fp32 for either"),
    ("--dense-blocks 2", "--dense-blocks is of --compare-dense: add that"),
    ("--errors-only --compare-dense", "leave --compare-dense and --stages out"),
    ("--errors-only --stages", "leave --compare-dense and --stages out"),
    ("--errors-only --sequences 2", "--sequences are of --errors-only with --bag: add these"),
])
def test_what_cannot_be_measured_is_said_before_a_model_is_made(
    capsys, monkeypatch, options, remedy
):
    monkeypatch.delattr("flashvggt_ros.tools.benchmarking.case.random_model")
    assert main([*SMALL, *options.split()]) == 2
    assert remedy in capsys.readouterr().err


def test_a_sequence_that_needs_more_memory_than_there_is_is_refused_with_a_remedy(capsys):
    assert main([*SMALL, "--frames", "1000000000"]) == 2
    assert "not enough memory: fewer --frames" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "gone/speed.json"):
        assert main([*SMALL, "--frames", "1000000", "--json", str(path)]) == 2
        assert f"--json {path} cannot be a file" in capsys.readouterr().err


def test_a_file_on_a_disk_that_is_full_is_said_after_the_table(capsys):
    assert main([*SMALL, "--frames", "1", "--json", "/dev/full"]) == 2
    printed = capsys.readouterr()
    assert "peak memory" in printed.out
    assert "--json /dev/full was not written: No space left on device" in printed.err


def test_a_benchmark_that_is_refused_leaves_a_file_as_it_was(tmp_path):
    earlier, later = tmp_path / "earlier.json", tmp_path / "later.json"
    earlier.write_text("{}")
    for path in (earlier, later):
        assert main([*SMALL, "--height", "57", "--json", str(path)]) == 2
    assert earlier.read_text() == "{}"
    assert not later.exists()
    assert main([*SMALL, "--json", "/proc/speed.json"]) == 2


def test_a_benchmark_that_is_stopped_says_so(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("flashvggt_ros.tools.benchmark.measure", stop)
    assert main(SMALL) == 130
    assert "flashvggt_benchmark: stopped" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_gpu_that_is_not_there_is_not_replaced_in_silence(capsys):
    assert main([*SMALL[:-1], "cuda"]) == 2
    assert "finds no CUDA device" in capsys.readouterr().err


def test_the_cache_is_measured_and_allocated_once(case):
    run = run_once(case, case.model(), noise(case), progress="")

    specials, cells, reference = 5, 2 * 2, 4 * 5
    tokens = reference + 5 * (specials + cells)
    assert run.cache_bytes == run.cache_allocated_bytes == tokens * 6 * 2 * 320 * 4


def test_a_bounded_cache_stays_within_its_bound(case):
    bounded = dataclasses.replace(case, max_cache_mb=0.8)
    model = case.model()
    unbounded = run_once(case, model, noise(case), progress="")
    run = run_once(bounded, model, noise(case), progress="")
    assert run.cache_allocated_bytes <= 0.8e6 < unbounded.cache_allocated_bytes


def test_the_same_case_makes_the_same_model_and_the_same_images(case):
    one, other = case.model().state_dict(), case.model().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(noise(case), noise(case))


def test_fp32_has_no_error_and_bf16_has_one(case):
    (autocast,) = measure_errors(
        dataclasses.replace(case, precision=PRECISIONS["autocast"], precision_name="autocast"),
        noise(case),
    )
    exact, yardstick = measure_errors(case, noise(case))
    assert exact.poses == exact.depth == exact.confidence == exact.log_depth == 0
    assert yardstick == autocast
    assert 0 < autocast.poses < 0.1
    assert 0 < autocast.depth < 0.01


def test_rounding_errors_are_of_equal_frames_in_a_bounded_cache(case):
    bounded = dataclasses.replace(case, precision=PRECISIONS["bf16"], precision_name="bf16",
                                  max_cache_mb=0.4)
    rounded, _ = measure_errors(bounded, noise(case))
    assert 0 < rounded.poses < 0.03
    exact, _ = measure_errors(dataclasses.replace(case, max_cache_mb=0.8), noise(case))
    assert exact.poses == 0


def test_errors_of_several_sequences_are_those_of_all_their_frames(case):
    """Each is a submap of its own, whatever comes before it."""
    rounded = dataclasses.replace(case, precision=PRECISIONS["bf16"], precision_name="bf16")
    first, second = noise(case), noise(dataclasses.replace(case, seed=1))
    one, other, both = (
        measure_errors(rounded, torch.cat(parts), len(parts))[0]
        for parts in ([first], [second], [first, second])
    )
    assert min(one.depth, other.depth) < both.depth < max(one.depth, other.depth)
    assert min(one.poses, other.poses) < both.poses < max(one.poses, other.poses)


def test_int8_has_errors_of_its_own(case):
    rounded = dataclasses.replace(case, precision=PRECISIONS["int8"], precision_name="int8")
    (row,) = measure_errors(rounded, noise(case))
    assert row.label == "int8"
    assert 0 < row.poses < 0.3


def test_relative_rms_is_relative():
    exact = torch.tensor([3.0, -4.0])
    assert relative_rms(1.1 * exact, exact) == pytest.approx(0.1, rel=1e-6)


def test_parts_of_a_precision_can_be_chosen():
    cpu = torch.device("cpu")
    chosen = named_precision("bf16", cpu, residual="bf16", depth_head="")
    assert chosen == dataclasses.replace(PRECISIONS["bf16"], residual=torch.bfloat16)
    assert named_precision("fp32", cpu, depth_head="bf16").depth_head == torch.bfloat16


def test_a_dense_model_attends_to_every_token(case):
    model_config = dense_config(case.config(), 3)
    assert model_config.kv_downfactor == 1
    assert list(model_config.descriptor_blocks) == [0, 1, 2]

    few = measure_dense(case, noise(case), 2)

    assert (few.blocks, few.of_blocks) == (2, 6)
    assert few.total_s > few.stages_s["frame blocks"] + few.stages_s["global blocks"]
    assert measure_dense(case, noise(case), 0).blocks == 6


def test_images_repeat_when_a_sequence_is_longer():
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(-1, 2, 2, 3)
    uploads = Uploads(images, torch.device("cpu"))
    chunk = uploads.chunk(3, 4)
    assert chunk.shape == (4, 3, 2, 2)
    torch.testing.assert_close(chunk[:, 0, 0, 0] * 255, torch.tensor([3.0, 4.0, 0.0, 1.0]))


def test_of_several_image_topics_one_is_named(case, tmp_path):
    world = make_world(walk(6), cameras=("left", "right"))
    bag = write_bag(tmp_path / "bag", [
        (f"/{frame.camera}/image", frame.stamp_ns, raw_image(frame)) for frame in world.frames
    ])
    with pytest.raises(ValueError, match="choose with --image-topic"):
        bag_images(bag, "", case.config(), 9)
    assert len(bag_images(bag, "/left/image", case.config(), 9)) == 3


def test_images_that_repeat_are_said():
    assert _image_source(None, 5, 5) == "noise"
    assert _image_source(Path("kitchen"), 5, 9) == "kitchen, 5 images again and again"
    assert _image_source(Path("kitchen"), 10, 5, 2) == "kitchen, 2 times as many"


def test_a_bag_without_images_for_all_sequences_is_refused(case, tmp_path, capsys):
    world = make_world(walk(6))
    bag = write_bag(tmp_path / "bag", [
        (f"/{frame.camera}/image", frame.stamp_ns, raw_image(frame)) for frame in world.frames
    ])
    options = ["--device", "cpu", "--checkpoint", "flashvggt-mini", "--bag", str(bag), "--frames",
               "2", "--chunk", "2", "--dtype", "bf16", "--errors-only", "--sequences"]
    assert main([*options, "4"]) == 2
    assert "need 8 images, of which there are 6" in capsys.readouterr().err
    assert main([*options, "3"]) == 0
    assert "3 times as many" in capsys.readouterr().out


def test_numbers_that_json_does_not_have_are_null(case):
    row = Errors("fp16", 1.0, math.nan, math.inf, 0.5, 0.5, 0.5)
    (written,) = Report({}, case, "noise", (), (), (row,)).to_json()["errors_against_fp32"]
    assert written["label"] == "fp16"
    assert (written["poses"], written["translation"], written["rotation"]) == (1.0, None, None)


def test_late_chunks_are_compared_with_early_ones():
    def measured(chunks):
        return Measurement("", 1, 0.0, (Run(1.0, 1.0, chunks, 0, 0),), {}, 0.0, 0)

    assert measured((1.0,) * 299).late_over_early is None
    growing = (9.0,) * 100 + (2.0,) * 100 + (5.0,) * 50 + (3.0,) * 100
    assert measured(growing).late_over_early == pytest.approx(1.5)


def test_medians_are_over_runs():
    runs = tuple(Run(total, 2 * total, (total,), 0, 0) for total in (3.0, 1.0, 2.0))
    measurement = Measurement("", 1, 0.0, runs, {}, 0.0, 0)
    assert measurement.total_s == 2.0
    assert measurement.cpu_s == 4.0


def test_synchronous_runs_and_a_checkpoint_are_measured(case):
    embedded = dataclasses.replace(case, checkpoint="flashvggt-mini")
    result = measure(embedded, embedded.model(), noise(case), repeats=1, has_stages=False,
                     is_synchronous=True)
    assert result.label == "flashvggt-mini fp32"
    assert len(result.runs[0].chunk_s) == 3
    assert result.stages_s == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seed", range(3))
def test_on_a_gpu_the_embedded_checkpoint_errs_less_than_by_autocast(capsys, tmp_path, seed):
    file = tmp_path / "errors.json"
    arguments = (f"--checkpoint flashvggt-mini --frames 24 --chunk 8 --height 168 --width 224 "
                 f"--errors-only --seed {seed} --json {file}")

    assert main(arguments.split()) == 0

    ours, autocast = json.loads(file.read_text())["errors"]
    for part in ("poses", "depth"):
        assert ours[part] < 0.9 * autocast[part], part


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_results_of_the_last_chunk_reach_the_host_unchanged():
    copies = HostCopies(torch.device("cuda"))
    for size in (10, 1000, 30, 5000):
        values = torch.rand(size, device="cuda")
        copies.take({"depth": values})
        torch.cuda.synchronize()
        assert torch.equal(copies.latest["depth"], values.cpu())


def test_help_is_printed():
    done = subprocess.run([sys.executable, "-m", "flashvggt_ros.tools.benchmark", "--help"],
                          capture_output=True, text=True, check=True)
    assert "--compare-dense" in done.stdout
