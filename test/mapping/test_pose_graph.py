"""The pose graph puts submaps where all measurements together say, and leaves wrong ones out."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_measurements import covariance_at
from flashvggt_ros.mapping.pose_graph import PoseGraph

STIFF = np.array([0.003] * 3 + [0.01] * 3 + [0.003])
SOFT = np.array([0.02] * 3 + [0.05] * 3 + [0.03])


def noise(rng: np.random.Generator, sigmas: np.ndarray) -> np.ndarray:
    return rng.normal(size=7) * sigmas


def shaken(S: Sim3, error: np.ndarray) -> Sim3:
    """S with an error (7,): rotation and place along the first frame's axes, log scale."""
    turn = Rotation.from_rotvec(error[:3]).as_matrix()
    return Sim3(S.scale * np.exp(error[6]), turn @ S.rotation, S.translation + error[3:6])


def circle(count: int, rng: np.random.Generator) -> list[Sim3]:
    """Submaps on a round of 10 m radius, of random scales; the last lies on the first."""
    places = []
    for angle in np.linspace(0, 2 * np.pi, count):
        turn = Rotation.from_euler("z", angle).as_matrix()
        place = np.array([10 * np.sin(angle), 10 - 10 * np.cos(angle), 0.0])
        places.append(Sim3(float(np.exp(rng.normal(0, 0.3))), turn, place))
    places[0] = Sim3(1.0, np.eye(3), np.zeros(3))
    return places


def chain(truth: list[Sim3], errors: np.ndarray, sigmas: np.ndarray = SOFT) -> PoseGraph:
    """A graph that knows each submap by the one before it, with errors (n - 1, 7)."""
    graph = PoseGraph()
    graph.add(truth[0])
    for i, error in enumerate(errors):
        measured = shaken(truth[i].inverse() @ truth[i + 1], error)
        graph.add(graph.poses[-1] @ measured)
        graph.add_between(i, i + 1, measured, np.diag(sigmas**2), is_robust=False)
    return graph


def add_loop(
    graph: PoseGraph, truth: list[Sim3], first: int, second: int, error: np.ndarray
) -> int:
    measured = shaken(truth[first].inverse() @ truth[second], error)
    return graph.add_between(first, second, measured, np.diag(STIFF**2), is_robust=True)


def gap(graph: PoseGraph, truth: list[Sim3], node: int = -1) -> float:
    return float(np.linalg.norm(graph.poses[node].translation - truth[node].translation))


def drifted(seed: int = 0, count: int = 21) -> tuple[PoseGraph, list[Sim3]]:
    """A round with 2 % of scale and half a degree of yaw lost in each submap."""
    truth = circle(count, np.random.default_rng(seed))
    errors = np.tile([0, 0, np.radians(0.5), 0, 0, 0, 0.02], (count - 1, 1))
    return chain(truth, errors), truth


def test_consistent_measurements_are_met_exactly_from_a_bad_start() -> None:
    rng = np.random.default_rng(1)
    truth = circle(8, rng)
    graph = chain(truth, np.zeros((7, 7)))
    for first, second in ((0, 7), (1, 5)):
        add_loop(graph, truth, first, second, np.zeros(7))
    for node in range(1, 8):
        graph.move(node, shaken(graph.poses[node], noise(rng, np.full(7, 0.4))))
    result = graph.optimize()
    assert result.cost_after < 1e-9 < result.cost_before
    assert result.rejected == ()
    for found, true in zip(result.poses, truth, strict=True):
        np.testing.assert_allclose(found.matrix, true.matrix, atol=1e-5)


def test_a_loop_takes_away_95_percent_of_the_drift_of_a_round() -> None:
    graph, truth = drifted()
    before = gap(graph, truth)
    add_loop(graph, truth, 0, 20, np.zeros(7))
    assert graph.optimize().rejected == ()
    assert before > 2
    assert gap(graph, truth) < 0.05 * before


def test_of_true_and_wrong_loops_the_wrong_ones_are_left_out() -> None:
    graph, truth = drifted()
    good = [add_loop(graph, truth, i, 20 - j, np.zeros(7)) for i, j in ((0, 0), (1, 0), (0, 1))]
    bad = [add_loop(graph, truth, *pair, np.array([0, 0, 0.5, 3, -2, 0, 0.2]))
           for pair in ((2, 12), (5, 17))]  # fmt: skip
    result = graph.optimize()
    assert set(result.rejected) == set(bad)
    assert not set(good) & set(result.rejected)
    assert gap(graph, truth) < 0.1


def test_a_single_wrong_loop_that_could_bend_the_chain_is_left_out() -> None:
    graph, truth = drifted()
    before = graph.poses
    wrong = add_loop(graph, truth, 3, 9, np.array([0, 0, 0.0, 4, 4, 0, 0]))
    result = graph.optimize()
    assert result.rejected == (wrong,)
    for a, b in zip(before, result.poses, strict=True):
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-6)


def test_a_loop_that_was_left_out_is_believed_once_others_say_the_same() -> None:
    """A chain that lost more than it claims to: one loop is not believed, three alike are."""
    truth = circle(21, np.random.default_rng(0))
    claimed = np.array([0.002] * 3 + [0.05] * 3 + [0.03])
    graph = chain(truth, np.tile([0, 0, 0.0, 0, 0, 0.1, 0.0], (20, 1)), claimed)
    alone = add_loop(graph, truth, 0, 20, np.zeros(7))
    assert graph.optimize().rejected == (alone,)
    for first, second in ((0, 19), (1, 20), (0, 18)):
        add_loop(graph, truth, first, second, np.zeros(7))
    assert graph.optimize().rejected == ()
    assert gap(graph, truth) < 0.05


def test_without_scale_or_up_the_first_node_stays_as_it_is() -> None:
    graph, truth = drifted()
    add_loop(graph, truth, 0, 20, np.zeros(7))
    graph.optimize()
    np.testing.assert_array_equal(graph.poses[0].matrix, truth[0].matrix)


def test_a_scale_measured_anywhere_scales_the_whole_chain_about_the_first_place() -> None:
    truth = circle(6, np.random.default_rng(2))
    graph = chain(truth, np.zeros((5, 7)), STIFF)
    graph.set_scale(3, 2.5 * truth[3].scale, 0.01)
    graph.optimize()
    for found, true in zip(graph.poses, truth, strict=True):
        assert found.scale == pytest.approx(2.5 * true.scale, rel=1e-3)
        np.testing.assert_allclose(found.translation, 2.5 * true.translation, atol=0.02)


def test_of_many_scales_the_few_wrong_ones_do_not_count() -> None:
    truth = circle(12, np.random.default_rng(3))
    graph = chain(truth, np.zeros((11, 7)), STIFF)
    for node in range(12):
        graph.set_scale(node, truth[node].scale * (3.0 if node % 4 == 1 else 1.2), 0.02)
    result = graph.optimize()
    assert len(result.rejected) == 3
    assert graph.poses[0].scale == pytest.approx(1.2, rel=2e-3)


def test_a_scale_set_again_replaces_the_first() -> None:
    graph = PoseGraph()
    graph.add(Sim3.identity())
    assert graph.set_scale(0, 2.0, 0.1) == graph.set_scale(0, 3.0, 0.1)
    graph.optimize()
    assert graph.poses[0].scale == pytest.approx(3.0, rel=1e-4)


def test_up_levels_the_chain_and_keeps_yaw_and_place_of_the_first_node() -> None:
    rng = np.random.default_rng(4)
    truth = circle(6, rng)
    tilt = Sim3(1.0, Rotation.from_euler("x", 0.3).as_matrix(), np.zeros(3))
    graph = chain([tilt @ S for S in truth], np.zeros((5, 7)), STIFF)
    for node in range(6):
        graph.set_up(node, truth[node].rotation.T @ [0, 0, 2.0], 0.01)
    graph.optimize()
    for found, true in zip(graph.poses, truth, strict=True):
        np.testing.assert_allclose(found.rotation[2], true.rotation[2], atol=1e-5)
        np.testing.assert_allclose(found.matrix[:3, :3], true.matrix[:3, :3], atol=0.005)
        np.testing.assert_allclose(found.translation, true.translation, atol=0.05)


def test_fixed_nodes_stay_and_the_others_come_to_them() -> None:
    truth = circle(8, np.random.default_rng(5))
    moved = Sim3(2.0, Rotation.from_euler("z", 1.0).as_matrix(), np.array([5.0, 0, 1]))
    graph = chain(truth, np.zeros((7, 7)))
    for node in (5, 6):
        graph.fix(node, moved @ truth[node])
    graph.optimize()
    for found, true in zip(graph.poses, truth, strict=True):
        np.testing.assert_allclose(found.matrix, (moved @ true).matrix, atol=1e-4)
    np.testing.assert_array_equal(graph.poses[5].matrix, (moved @ truth[5]).matrix)


def test_a_part_that_nothing_joins_keeps_its_place_and_has_no_relative_pose() -> None:
    truth = circle(6, np.random.default_rng(6))
    graph = chain(truth[:3], np.zeros((2, 7)))
    first = graph.add(truth[3])
    second = graph.add(truth[4])
    graph.add_between(first, second, truth[3].inverse() @ truth[4], np.eye(7), is_robust=False)
    graph.set_scale(0, 3.0, 0.01)
    graph.optimize()
    assert graph.poses[0].scale == pytest.approx(3.0, rel=1e-4)
    np.testing.assert_array_equal(graph.poses[first].matrix, truth[3].matrix)
    assert graph.relative(0, first) is None
    assert graph.relative(first, second) is not None


def test_a_removed_factor_no_longer_acts() -> None:
    graph, truth = drifted()
    loop = add_loop(graph, truth, 0, 20, np.zeros(7))
    graph.remove(loop)
    before = gap(graph, truth)
    graph.optimize()
    assert gap(graph, truth) == pytest.approx(before)
    with pytest.raises(KeyError):
        graph.remove(loop)


def test_the_covariance_of_a_relative_pose_is_that_of_its_error() -> None:
    rng = np.random.default_rng(7)
    distances = []
    for _ in range(40):
        truth = circle(9, rng)
        graph = chain(truth, np.stack([noise(rng, SOFT / 4) for _ in range(8)]), SOFT / 4)
        add_loop(graph, truth, 0, 8, noise(rng, STIFF))
        assert graph.optimize().rejected == ()
        found = graph.relative(2, 6)
        assert found is not None
        true = truth[2].inverse() @ truth[6]
        turn = Rotation.from_matrix(found.S_first_second.rotation @ true.rotation.T).as_rotvec()
        place = found.S_first_second.translation - true.translation
        error = np.append(np.append(turn, place), np.log(found.S_first_second.scale / true.scale))
        distances.append(error @ np.linalg.solve(found.covariance, error))
    assert 0.8 < np.mean(distances) / 7 < 1.25
    assert np.mean(np.array(distances) < chi2.ppf(0.9, 7)) > 0.8


def test_a_covariance_at_a_point_is_that_of_turns_and_growth_about_it() -> None:
    rng = np.random.default_rng(8)
    S = Sim3(1.7, Rotation.random(random_state=1).as_matrix(), rng.normal(size=3))
    anchor, sigmas = np.array([2.0, -1.0, 4.0]), STIFF / 5
    place = S.transform_points(anchor)
    errors = []
    for _ in range(4000):
        error = noise(rng, sigmas)
        turned = Rotation.from_rotvec(error[:3]).as_matrix() @ S.rotation
        scale = S.scale * np.exp(error[6])
        origin = place + error[3:6] - scale * (turned @ anchor)
        errors.append([*error[:3], *(origin - S.translation), error[6]])
    np.testing.assert_allclose(
        np.cov(np.array(errors).T), covariance_at(S, anchor, sigmas),
        atol=0.07 * np.max(np.array(errors).std(axis=0)) ** 2,
    )  # fmt: skip


def test_optimizing_is_deterministic_and_a_second_time_changes_nothing() -> None:
    results = []
    for _ in range(2):
        graph, truth = drifted()
        add_loop(graph, truth, 0, 20, np.full(7, 0.002))
        results.append(graph.optimize())
    for a, b in zip(results[0].poses, results[1].poses, strict=True):
        np.testing.assert_array_equal(a.matrix, b.matrix)
    again = graph.optimize()
    for a, b in zip(results[0].poses, again.poses, strict=True):
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-4)
        assert se3.rotation_angle(b.rotation @ a.rotation.T) < 1e-4


def test_misuse_is_refused() -> None:
    graph = PoseGraph()
    with pytest.raises(ValueError, match="without nodes"):
        graph.optimize()
    graph.add(Sim3.identity())
    graph.add(Sim3.identity())
    with pytest.raises(ValueError, match="positive definite"):
        graph.add_between(0, 1, Sim3.identity(), np.zeros((7, 7)), is_robust=False)
    with pytest.raises(ValueError, match="twice"):
        graph.add_between(1, 1, Sim3.identity(), np.eye(7), is_robust=False)
    with pytest.raises(ValueError, match="node 2"):
        graph.set_scale(2, 1.0, 0.1)
    with pytest.raises(ValueError, match="positive"):
        graph.set_scale(0, 0.0, 0.1)
    with pytest.raises(ValueError, match="zero"):
        graph.set_up(0, np.zeros(3), 0.1)
