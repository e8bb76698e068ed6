"""Does the jobs of an evaluation; how they are spread, here or over a cluster, is the caller's."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashvggt_ros.mapping.map_io import read_ply
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.evaluation.bag_replay import Watch, replay_bag, watch_nothing
from flashvggt_ros.tools.evaluation.finished_work import FinishedWork, replay_basis, score_basis
from flashvggt_ros.tools.evaluation.inputs import Job, find_surfaces, find_truth
from flashvggt_ros.tools.evaluation.scores import ERRORS, METRICS, PICTURE, evaluate
from flashvggt_ros.tools.evaluation.truth_matching import check_truth
from flashvggt_ros.tools.evo_command import check_evo
from flashvggt_ros.tools.ground_truth import read_ground_truth
from flashvggt_ros.tools.replay_options import replay_config, replay_parser
from flashvggt_ros.tools.run_folder import REPORT, RunFolder, read_run

logger = logging.getLogger(__name__)
REPLAY, SCORES = "replay", "scores"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: ``metrics``, or why there are none; ``kept``: steps not done again."""

    name: str
    metrics: dict[str, Any]
    failure: str
    kept: tuple[str, ...]


RunJobs = Callable[[Sequence[Job], Watch], Iterable[Outcome]]
"""Does jobs, here or elsewhere; outcomes come in any order."""


def run_here(jobs: Sequence[Job], watch: Watch = watch_nothing) -> Iterator[Outcome]:
    """Do jobs one after the other, in this process."""
    for job in jobs:
        yield run_job(job, watch)


def run_job(job: Job, watch: Watch = watch_nothing) -> Outcome:
    """Replay a job's bag, unless it is a run, and score it, as far as that is not done yet.

    Whatever is wrong with this job is said in the outcome; nothing is raised.
    """
    kept: list[str] = []
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        run, bag = (job.path, bag_of(job.path)) if job.is_run else (job.output, job.path)
        finished = FinishedWork(job.output)
        truth = find_truth(job.truth, bag)
        surfaces = find_surfaces(job.surfaces, truth, bag)
        if not job.is_run and _replay(job, truth, surfaces, finished, watch):
            kept.append(REPLAY)
        basis = score_basis(run, truth, surfaces)
        is_finished = finished.has(SCORES, basis) and not job.is_again
        metrics = _finished_scores(job.output) if is_finished else {}
        if metrics:
            kept.append(SCORES)
        else:
            metrics = evaluate(run, truth, job.output, surfaces or None)
            finished.add(SCORES, basis)
    except (ValueError, OSError) as error:
        return Outcome(job.name, {}, str(error) or type(error).__name__, tuple(kept))
    except Exception as error:  # none of one bag's surprises may stop the others
        logger.exception("%s", job.name)
        return Outcome(job.name, {}, repr(error), tuple(kept))
    return Outcome(job.name, metrics, "", tuple(kept))


def _replay(
    job: Job, truth: str, surfaces: str, finished: FinishedWork, watch: Watch
) -> bool:
    """Map a job's bag into its folder; return whether that was done before.

    Raises ValueError first where it could not be scored afterwards.
    """
    RunFolder(job.output)  # raises where the folder is somebody else's
    words = [str(job.path), "--output", str(job.output), *job.replay]
    arguments = replay_parser().parse_args(words)
    with Bag(job.path) as bag:
        config = replay_config(arguments, bag)
        basis = replay_basis(job.path, config, arguments.max_frames)
        if finished.has(REPLAY, basis) and not job.is_again and _is_whole(job.output):
            return True
        check_evo()
        if surfaces:
            read_ply(Path(surfaces))
        check_truth(read_ground_truth(truth), bag, config.image_topics, arguments.max_frames)
    replay_bag(words, job.output.with_name(f"{job.name}.log"), watch)
    finished.add(REPLAY, basis)
    return False


def _is_whole(run: Path) -> bool:
    """Whether a finished run still has what its scores are made from."""
    try:
        read_run(run)
    except (ValueError, OSError):
        return False
    return (run / REPORT).is_file()


def _finished_scores(folder: Path) -> dict[str, Any]:
    """The metrics of an earlier evaluation; empty where its files are not whole any more."""
    if not all((folder / name).is_file() for name in (PICTURE, ERRORS)):
        return {}
    try:
        content = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def bag_of(run: Path) -> Path | None:
    """The bag that a run was made from; None where the run does not say."""
    try:
        report = json.loads((run / REPORT).read_text(encoding="utf-8"))
        return Path(report["bag"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
