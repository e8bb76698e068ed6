"""Pose graphs survive the way through a g2o file; other files are refused by line."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_measurements import Between, covariance_at
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.pose_graph_file import (
    PoseGraphFileError,
    read_pose_graph,
    write_pose_graph,
)


def make_graph() -> PoseGraph:
    rng = np.random.default_rng(0)
    graph = PoseGraph()
    for number in range(4):
        turn = Rotation.random(random_state=number).as_matrix()
        graph.add(Sim3(float(rng.uniform(0.5, 2)), turn, rng.normal(size=3)))
    for first, second in ((0, 1), (1, 2), (2, 3), (0, 3)):
        S = graph.poses[first].inverse() @ graph.poses[second]
        covariance = covariance_at(S, rng.normal(size=3), rng.uniform(0.01, 0.1, 7))
        graph.add_between(first, second, S, covariance, is_robust=second - first > 1)
    graph.fix(2, graph.poses[2])
    graph.set_scale(1, 0.7, 0.03)
    graph.set_up(3, np.array([0.6, 0.0, 0.8]), 0.02)
    return graph


def test_a_graph_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    graph = make_graph()
    write_pose_graph(graph, tmp_path / "graph.g2o")
    again = read_pose_graph(tmp_path / "graph.g2o")
    assert again.fixed == graph.fixed
    for a, b in zip(graph.poses, again.poses, strict=True):
        np.testing.assert_allclose(a.matrix, b.matrix, rtol=1e-13, atol=1e-14)
    for a, b in zip(graph.factors.values(), again.factors.values(), strict=True):
        assert type(a) is type(b)
        if isinstance(a, Between) and isinstance(b, Between):
            assert (a.first, a.second, a.is_robust) == (b.first, b.second, b.is_robust)
            np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-6, atol=1e-12)
    moved, moved_again = graph.optimize(), again.optimize()
    for a, b in zip(moved.poses, moved_again.poses, strict=True):
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-6)


def test_edges_have_the_information_in_the_order_of_g2o(tmp_path: Path) -> None:
    graph = PoseGraph()
    graph.add(Sim3.identity())
    graph.add(Sim3(2.0, np.eye(3), np.array([1.0, 2, 3])))
    sigmas = np.array([0.1] * 3 + [0.5] * 3 + [0.2])
    graph.add_between(0, 1, graph.poses[1], np.diag(sigmas**2), is_robust=False)
    write_pose_graph(graph, tmp_path / "graph.g2o")
    lines = (tmp_path / "graph.g2o").read_text().splitlines()
    assert lines[1] == "VERTEX_SIM3:QUAT 1 1.0 2.0 3.0 0.0 0.0 0.0 1.0 2.0"
    tag, *numbers = lines[2].split()
    assert tag == "EDGE_SIM3:QUAT"
    values = [float(number) for number in numbers]
    assert values[:10] == [0, 1, 1, 2, 3, 0, 0, 0, 1, 2]
    information = np.zeros((7, 7))
    information[np.triu_indices(7)] = values[10:]
    np.testing.assert_allclose(np.diag(information), [4, 4, 4, 100, 100, 100, 25])


@pytest.mark.parametrize(
    "line",
    [
        "VERTEX_SE2 0 1 2 3",
        "VERTEX_SIM3:QUAT 2 0 0 0 0 0 0 1 1",
        "VERTEX_SIM3:QUAT 4 0 0 0 0 0 0 1",
        "VERTEX_SIM3:QUAT 4 0 0 0 0 0 0 1 0",
        "VERTEX_SIM3:QUAT 4 0 0 nan 0 0 0 1 1",
        "EDGE_SIM3:QUAT 0 1 0 0 0 0 0 0 1 1 1 1",
        "FIX",
        "FIX 9",
        "SCALE 1 2",
        "ROBUST x",
        "\x00\x01",
    ],
)
def test_a_broken_line_is_refused(tmp_path: Path, line: str) -> None:
    write_pose_graph(make_graph(), tmp_path / "graph.g2o")
    with (tmp_path / "graph.g2o").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(PoseGraphFileError, match=r"graph\.g2o"):
        read_pose_graph(tmp_path / "graph.g2o")
