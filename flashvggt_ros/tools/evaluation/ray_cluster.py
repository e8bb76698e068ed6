"""Spreads the jobs of an evaluation over the machines of a Ray cluster (extra ``ray``)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flashvggt_ros import __version__
from flashvggt_ros.tools.evaluation.inputs import Job
from flashvggt_ros.tools.evaluation.runner import Outcome, run_job
from flashvggt_ros.tools.evaluation.scores import METRICS

LOCAL = "local"
REMEDY = "Ray is not installed: pip install 'flashvggt_ros[ray]' (or: pip install ray)"
ATTEMPTS = 2  # at a job whose worker is lost


class RayCluster:
    """A connection to a cluster, or with the address ``local`` one of this machine's own.

    Each job gets ``cpus`` cores, which its replay then uses, and a GPU if ``device`` is cuda, or
    auto and the cluster has any. All machines must see inputs and outputs under the same paths,
    and have this version installed. Raises ValueError where Ray is missing, does not answer, or has
    no machine of that kind.
    """

    def __init__(self, address: str, device: str, cpus: int) -> None:
        if cpus < 1:
            raise ValueError(f"--ray-cpus is {cpus}: a replay needs at least one")
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise ValueError(REMEDY) from None
        try:
            self._connect(address, cpus)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(f"--ray {address}: {error}") from None
        total = self._ray.cluster_resources()
        wants_gpu = device == "cuda" or (device == "auto" and total.get("GPU", 0) >= 1)
        self._need = {"CPU": float(cpus), "GPU": float(wants_gpu)}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(_has(node, self._need) for node in nodes):
            self.close()
            raise ValueError(
                f"--ray {address}: no machine has {cpus} CPUs{' and a GPU' * wants_gpu}: ask for "
                "less with --ray-cpus or --device, or add machines"
            )

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Do jobs, as many at a time as there is room for; outcomes come as they are ready."""
        task = self._ray.remote(_run_checked).options(
            num_cpus=self._need["CPU"], num_gpus=self._need["GPU"], max_retries=ATTEMPTS - 1
        )
        waiting = {task.remote(job, __version__): job for job in jobs}
        while waiting:
            ready, _ = self._ray.wait(list(waiting), num_returns=1)
            for reference in ready:
                yield self._outcome(waiting.pop(reference), reference)

    def close(self) -> None:
        """Leave the cluster; what still runs is cancelled, and one of our own ends."""
        self._ray.shutdown()

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, address: str, cpus: int) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address == LOCAL:
            cores = max(os.cpu_count() or 1, cpus)
            self._ray.init("local", num_cpus=cores, include_dashboard=False, **options)
        else:
            self._ray.init(address, **options)

    def _outcome(self, job: Job, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:  # its worker was lost, or could not begin
            reason = str(error).strip().splitlines()
            return Outcome(job.name, {}, f"Ray: {reason[-1] if reason else error!r}", ())
        if not outcome.failure and not (job.output / METRICS).is_file():
            missing = f"{job.output} was written on another machine only: name a shared folder"
            return Outcome(job.name, {}, missing, ())
        return outcome


def _run_checked(job: Job, version: str) -> Outcome:
    """Do a job on a worker, if that has the version of who asks."""
    if version != __version__:
        return Outcome(job.name, {}, f"a worker has flashvggt_ros {__version__}, not {version}", ())
    return run_job(job)


def _has(node: Mapping[str, float], need: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= value for name, value in need.items())
