"""flashvggt_evaluate: how far runs, or bags that it maps first, are from the truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.config import build_config
from flashvggt_ros.counts import positive_count
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.tools.evaluation import runner
from flashvggt_ros.tools.evaluation.inputs import (
    Job,
    absolute_truth,
    find_surfaces,
    find_truth,
    is_run_folder,
    name_inputs,
    pair_inputs,
)
from flashvggt_ros.tools.evaluation.ray_cluster import RayCluster
from flashvggt_ros.tools.evaluation.report import HTML, MARKDOWN, format_markdown, write_reports
from flashvggt_ros.tools.evaluation.runner import Outcome, RunJobs
from flashvggt_ros.tools.evaluation.scores import METRICS, evaluate, format_table, write_json
from flashvggt_ros.tools.evaluation.summary import summarize
from flashvggt_ros.tools.replay_options import add_parameter_options, parameter_values
from flashvggt_ros.tools.stop_signals import ending_as_interrupt

PROGRAM = "flashvggt_evaluate"
OF_EACH_BAG = ("image_topics", "image.transports", "image.camera_info_topics")  # parameters
EXAMPLES = """examples:
  flashvggt_evaluate out/office --ground-truth office_truth.tum
  flashvggt_evaluate out/office --ground-truth office_bag:/ground_truth/pose
  flashvggt_evaluate out/office --ground-truth office_bag:/tf:world.camera --output out/scores
  flashvggt_evaluate out/sample --ground-truth sample/groundtruth.tum --surfaces sample/surfaces.ply
  flashvggt_evaluate bags/* --ground-truth /ground_truth/pose --output out/scores
  flashvggt_evaluate walk.mcap=walk.tum drive=drive:/gps/pose --output out/scores -p chunk.size:=6

APE is the distance between matched poses after alignment, RPE the error of the motion from one
matched pose to the next; Sim(3) alignment corrects the scale, SE(3) does not. The numbers are those
of evo_ape and evo_rpe with --align, and --correct_scale for Sim(3).

One run is scored beside itself, or in --output: metrics.json, evaluation.png, errors.json,
report.md and report.html. Of several, and of bags, which are mapped first, each has a folder in
--output, and the reports there compare them. The same command again goes on where it was stopped.
Exit code 1: some could not be scored; 2: misuse."""


@silent_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 (not all could be scored), 2 (misuse) or 130 (stopped)."""
    arguments = _parser().parse_args(argv)
    try:
        with ending_as_interrupt():  # so that no replay is left behind
            return _run(arguments)
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    truths = arguments.ground_truth
    inputs = arguments.inputs
    if not inputs and len(truths) > 1:  # --ground-truth TRUTH INPUT...
        truths, inputs = truths[:1], truths[1:]
    pairs = pair_inputs(inputs, truths)
    _check_output(arguments.output)
    if len(pairs) == 1 and is_run_folder(pairs[0][0]):
        run, truth = pairs[0]
        output = expanded(arguments.output or run)
        return _score_run(run, truth, output, arguments.surfaces)
    if arguments.surfaces and not expanded(arguments.surfaces).is_file():
        raise ValueError(f"--surfaces {arguments.surfaces} is no file")
    if not arguments.output:
        if len(pairs) == 1 and not pairs[0][0].exists():
            raise ValueError(f"there is no run or bag {pairs[0][0]}")
        raise ValueError("several inputs, and bags, need --output DIR for their results")
    values = parameter_values(arguments)
    build_config({name: value for name, value in values.items() if name not in OF_EACH_BAG})
    output = expanded(arguments.output).absolute()
    jobs = _jobs(pairs, output, arguments)
    output.mkdir(parents=True, exist_ok=True)
    if not arguments.ray:
        return _score_all(jobs, output, runner.run_here)
    cluster = RayCluster(arguments.ray, values.get("device", "auto"), arguments.ray_cpus)
    with cluster, ending_as_interrupt():  # again: Ray has set its own handler
        return _score_all(jobs, output, lambda jobs, _watch: cluster.run(jobs))


def _check_output(output: str | None) -> None:
    """Raise ValueError where results would be written into a file, a bag, or over others' reports.

    Reports of ours lie beside their metrics.
    """
    folder = expanded(output) if output else None
    if folder and folder.is_file():
        raise ValueError(f"--output {output} is a file: name a folder")
    if folder and (folder / "metadata.yaml").is_file():
        raise ValueError(f"--output {output} is a bag: name a folder of its own for the results")
    if folder and not (folder / METRICS).exists():
        foreign = [name for name in (MARKDOWN, HTML) if (folder / name).is_file()]
        if foreign:
            raise ValueError(f"--output {output} holds another {foreign[0]}: name a new folder, or "
                             "one of an earlier evaluation")


def _score_run(run: Path, truth: str, output: Path, surfaces: str) -> int:
    bag = runner.bag_of(run)
    truth = find_truth(truth, bag)
    metrics = evaluate(run, truth, output, find_surfaces(surfaces, truth, bag) or None)
    summary = summarize([Outcome(run.resolve().name, metrics, "", ())])
    write_reports(output, summary, {run.resolve().name: (output, run)})
    print(format_table(metrics))
    return 0


def _score_all(jobs: Sequence[Job], output: Path, run_jobs: RunJobs) -> int:
    """Do the jobs, say and write how they went; return the exit code."""
    outcomes: dict[str, Outcome] = {}
    with _Bars(len(jobs)) as bars:
        for outcome in run_jobs(jobs, bars.watch):
            outcomes[outcome.name] = outcome
            bars.say(_line(outcome))
    summary = summarize([outcomes[job.name] for job in jobs])
    print(format_markdown(summary))
    try:
        write_json(output / METRICS, summary)
        write_reports(output, summary, {job.name: (job.output, job.path) for job in jobs})
    except OSError as error:
        print(f"{PROGRAM}: the reports cannot be written to {output}: {error}", file=sys.stderr)
        return 1
    print(f"written to {output}")
    return 1 if summary["failed"] else 0


def _line(outcome: Outcome) -> str:
    if outcome.failure:
        return f"{outcome.name}: FAILED: {outcome.failure}"
    error = outcome.metrics["ape_sim3_m"]["rmse"]
    kept = f" ({' and '.join(outcome.kept)} done before: kept)" if outcome.kept else ""
    return f"{outcome.name}: APE {error:.4f} m after Sim(3){kept}"


def _jobs(
    pairs: Sequence[tuple[Path, str]], output: Path, arguments: argparse.Namespace
) -> list[Job]:
    names = name_inputs([path for path, _ in pairs])
    surfaces = str(expanded(arguments.surfaces).absolute()) if arguments.surfaces else ""
    return [
        Job(name, path.absolute(), absolute_truth(truth), output / name, surfaces,
            _replay_options(arguments), arguments.again)
        for name, (path, truth) in zip(names, pairs, strict=True)
    ]


def _replay_options(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the parameters as words for flashvggt_replay, files by their whole paths."""
    words: list[str] = []
    for topic in arguments.image_topic or ():
        words += ["--image-topic", topic]
    for name in ("params_file", "checkpoint", "device"):
        value = getattr(arguments, name)
        if value is not None:
            file = expanded(value)
            words += [f"--{name.replace('_', '-')}",
                      str(file.absolute()) if name != "device" and file.is_file() else value]
    if arguments.max_frames:
        words += ["--max-frames", str(arguments.max_frames)]
    for assignment in arguments.set:
        words += ["--set", assignment]
    return tuple(words)


class _Bars:
    """Two progress bars: over the inputs, and over the images of the one that is replayed."""

    def __init__(self, total: int) -> None:
        interval = 0.2 if sys.stderr.isatty() else 10.0
        self._all = tqdm(total=total, unit="bag", position=0, mininterval=interval)
        self._one = tqdm(total=0, unit="frame", position=1, leave=False, mininterval=interval,
                         disable=not sys.stderr.isatty())

    def watch(self, read: int, total: int) -> None:
        """Show how far the replay of one is."""
        self._one.total = total
        self._one.update(read - self._one.n)
        if not self._one.disable:
            self._all.refresh()

    def say(self, line: str) -> None:
        """Count one input, and say what became of it."""
        self._one.reset(total=0)
        self._all.write(line, file=sys.stderr)
        self._all.update()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._one.close()
        self._all.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare runs, or bags that are mapped first, with the truth (APE and RPE by "
        "evo).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="*", metavar="RUN_OR_BAG[=TRUTH]",
                        help="folder that flashvggt_replay or the demo wrote, or a bag")
    parser.add_argument("--ground-truth", nargs="+", default=[], metavar="TRUTH",
                        help="TUM file, pose topic of a bag BAG:TOPIC (of several frames, as TF: "
                        "BAG:TOPIC:parent.child), or a TOPIC that each bag has; one for all, or "
                        "one for each input")
    parser.add_argument("--surfaces", metavar="FILE.ply", default="",
                        help="points on the true surfaces, to compare the map with; default: "
                        "surfaces.ply of the bag, where the truth is the bag's too")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for results; default, of one run alone: the run's")
    parser.add_argument("--again", action="store_true",
                        help="replay and score anew what is finished, too")
    parser.add_argument("--ray", metavar="ADDRESS",
                        help="spread the inputs over a Ray cluster (extra 'ray'); local: over one "
                        "of this machine's own")
    parser.add_argument("--ray-cpus", type=positive_count, default=2, metavar="N",
                        help="cores for each input on a cluster (default: 2)")
    add_parameter_options(parser.add_argument_group("of the replays, as flashvggt_replay has them"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
