import math

import pytest
import torch

from flashvggt_ros.scene.trajectory import MOTIONS, trajectory

ROOM = ((-2.0, -3.0, 0.5), (2.0, 3.0, 1.6))
STREET = ((-60.0, -2.5, 1.5), (60.0, 2.5, 1.7))
DESK = ((-0.4, -0.3, 1.2), (0.4, 0.3, 1.5))


def paths(motion, walk, step=0.1, turn=0.12, frames=48, count=100):
    return trajectory(
        torch.full((count,), MOTIONS[motion]), torch.tensor(walk).expand(count, 2, 3),
        torch.full((count,), step), torch.full((count,), turn), frames,
        torch.Generator().manual_seed(0))


def steps(T):
    return (T[:, 1:, :3, 3] - T[:, :-1, :3, 3])


def turns(T):
    R = T[:, :-1, :3, :3].mT @ T[:, 1:, :3, :3]
    return torch.rad2deg(((R.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1).acos())


def pitch(T):
    return torch.rad2deg(T[..., 2, 2].asin())


def roll(T):
    return torch.rad2deg(torch.atan2(-T[..., 2, 0], -T[..., 2, 1]))


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("walk", [ROOM, STREET, DESK])
def test_long_paths_stay_inside_and_never_jerk(motion, walk):
    step = {ROOM: 0.1, STREET: 0.8, DESK: 0.06}[walk]
    T = paths(motion, walk, step, frames=96)
    low, high = torch.tensor(walk)
    assert (T[..., :3, 3] > low - 1e-3).all()
    assert (T[..., :3, 3] < high + 1e-3).all()
    assert steps(T).norm(dim=-1).max() < 4.5 * step
    assert steps(T).diff(dim=1).norm(dim=-1).quantile(0.999) < 4 * step
    assert turns(T).quantile(0.99) < 36
    identity = torch.eye(3).expand(*T.shape[:2], 3, 3)
    torch.testing.assert_close(T[..., :3, :3].mT @ T[..., :3, :3], identity, atol=1e-5, rtol=0)


def test_hands_move_in_bursts():
    fast = turns(paths("hand", ROOM))
    assert 5 < fast.mean() < 10
    assert fast.quantile(0.98) > 2.3 * fast.median()
    assert fast.max() < 45


def test_hands_look_down_at_desks_and_roll_at_times():
    T = paths("hand", DESK, 0.06, count=300)
    assert pitch(T).min() < -65
    assert 0.3 < (pitch(T).mean(1) < -25).float().mean() < 0.85
    most = roll(T).abs().amax(1)
    assert 0.3 < (most < 8).float().mean() < 0.75
    assert 0.03 < (most > 25).float().mean() < 0.2
    assert most.max() < 75
    assert (pitch(paths("hand", ROOM)).mean(1) < -25).float().mean() < 0.4


def test_cars_drive_along_the_street_level_and_mostly_look_ahead():
    T = paths("drive", STREET, 0.8, 0.1, 16, 300)
    assert pitch(T).abs().max() < 3
    assert roll(T).abs().max() < 3
    moved = steps(T)
    assert moved.norm(dim=-1).median() == pytest.approx(0.8, rel=0.15)
    is_along = moved[..., 0].abs() > 0.9 * moved.norm(dim=-1)
    assert is_along.float().mean() > 0.75
    ahead = (moved / moved.norm(dim=-1, keepdim=True) * T[:, :-1, :3, 2]).sum(-1).mean(1)
    assert 0.75 < (ahead > 0.9).float().mean() < 0.93
    assert (ahead < -0.9).any()
    assert (ahead.abs() < 0.3).any()
    assert turns(T).median() < 2


def test_cars_turn_round_at_the_end_of_a_street_without_spinning():
    T = paths("drive", ((-15.0, -2.5, 1.5), (15.0, 2.5, 1.7)), 0.8, 0.1, 96)
    heading = torch.atan2(T[..., 1, 2], T[..., 0, 2])
    assert (heading[:, 0:1] - heading).cos().amin(1).median() < -0.9
    assert turns(T).max() < 30


def test_walkers_bob_and_look_around_on_their_way():
    T = paths("walk", ROOM)
    assert 0.005 < T[..., 2, 3].std(1).mean() < 0.05
    moved = steps(T)
    ahead = (moved / moved.norm(dim=-1, keepdim=True) * T[:, :-1, :3, 2]).sum(-1)
    assert 0.6 < ahead.median() < 0.98


def test_an_orbit_keeps_a_point_in_view():
    T = paths("orbit", ROOM, 0.1, 0.12, 24)
    start, view = T[..., :3, 3], T[..., :3, 2]
    A = torch.eye(3) - view[..., :, None] * view[..., None, :]
    point = torch.linalg.solve(A.sum(1), (A @ start[..., None]).sum(1))[..., 0]  # nearest to all
    to = torch.nn.functional.normalize(point[:, None] - start, dim=-1)
    angle = torch.rad2deg((to * view).sum(-1).clamp(-1, 1).acos()).mean(1)
    assert (angle < 8).float().mean() > 0.6


def test_a_path_of_one_frame_is_a_pose():
    for motion in MOTIONS:
        T = paths(motion, ROOM, frames=1, count=4)
        assert torch.isfinite(T).all()
        assert math.isclose(float(T[0, 0, :3, :3].det()), 1, abs_tol=1e-5)
