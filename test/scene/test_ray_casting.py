import numpy as np
import pytest
import torch

from flashvggt_ros.scene import primitives, ray_casting
from flashvggt_ros.scene.primitives import BOX, CYLINDER, ELLIPSOID, primitive
from flashvggt_ros.scene.shutter import Shutter
from flashvggt_ros.scene.textures import pack
from flashvggt_ros.scene.visibility import Visible

SIZE = (15, 21)
FOCAL = 20.0


def cast(rows, samples=1, shadows=False, T=None, lights=None, shutter=None):
    table = torch.from_numpy(np.stack(rows))[None]
    poses = (torch.eye(4) if T is None else T)[None]
    atlas = pack(torch.full((1, 256, 256, 3), 255, dtype=torch.uint8))
    lights = torch.zeros(1, primitives.LIGHTS) if lights is None else lights
    shutter = Shutter.still(1, poses.device) if shutter is None else shutter
    counts, scene = torch.tensor([len(rows)]), torch.zeros(1, dtype=torch.int32)
    intrinsics = torch.tensor([[FOCAL, FOCAL, 10.0, 7.0]])
    visible = Visible.of(table, counts, scene, poses, shutter, intrinsics, SIZE)
    return ray_casting.render(table, counts, lights, atlas, scene, poses, shutter, visible,
                              intrinsics, SIZE, samples, shadows)


def shape(kind, center, half, R=None, **options):
    options = {"textures": (0,), "macro": 0.0} | options
    R = np.eye(3) if R is None else R
    return primitive(kind, np.array(center, float), np.array(half, float), R, **options)


def test_depth_of_a_plane_is_constant_whatever_the_pixel():
    _, depth = cast([shape(BOX, (0, 0, 5), (50, 50, 1))])
    torch.testing.assert_close(depth, torch.full((1, *SIZE), 4.0))


def test_depth_of_a_slanted_plane_obeys_its_equation():
    c, s = np.cos(0.4), np.sin(0.4)
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    _, depth = cast([shape(BOX, (0, 0, 6), (80, 80, 1), R)])
    u = (torch.arange(SIZE[1]) - 10.0) / FOCAL
    normal, offset = R[:, 2], np.dot(R[:, 2], [0, 0, 6]) - 1
    expected = offset / (normal[0] * u + normal[2])
    torch.testing.assert_close(depth[0], expected.float().expand(SIZE), rtol=1e-4, atol=1e-4)


def test_a_ray_through_the_middle_meets_each_shape_at_its_near_face():
    for kind, half in ((BOX, (1, 1, 2)), (ELLIPSOID, (1, 1, 2)), (CYLINDER, (1, 1, 2))):
        _, depth = cast([shape(kind, (0, 0, 7), half)])
        assert depth[0, 7, 10] == pytest.approx(5.0, rel=1e-5)


def test_a_sphere_bulges_as_the_sphere_equation_says():
    _, depth = cast([shape(ELLIPSOID, (0, 0, 5), (2, 2, 2))])
    ray = np.array([(13 - 10) / FOCAL, (9 - 7) / FOCAL, 1.0])
    b, c = ray @ [0, 0, 5], 25 - 4
    t = (b - np.sqrt(b * b - (ray @ ray) * c)) / (ray @ ray)
    assert depth[0, 9, 13] == pytest.approx(t, rel=1e-4)


def test_a_camera_inside_a_box_sees_its_inner_walls():
    _, depth = cast([shape(BOX, (0, 0, 0), (3, 3, 4))])
    assert depth[0, 7, 10] == pytest.approx(4.0)


def test_the_nearer_of_two_shapes_hides_the_other_in_either_order():
    far, near = shape(BOX, (0, 0, 9), (50, 50, 1)), shape(BOX, (0, 0, 4), (1, 1, 1))
    _, one = cast([far, near])
    _, other = cast([near, far])
    torch.testing.assert_close(one, other)
    assert one[0, 7, 10] == pytest.approx(3.0)
    assert one[0, 0, 0] == pytest.approx(8.0)


def test_an_absent_primitive_is_never_met():
    _, depth = cast([shape(BOX, (0, 0, 5), (50, 50, 1)), primitives.absent()])
    assert (depth == 4).all()


def test_a_surface_facing_the_light_has_the_light_times_the_albedo():
    lights = torch.zeros(1, primitives.LIGHTS)
    lights[0, 0:7] = torch.tensor([0.0, 0, 0, 0.5, 0.5, 0.5, 0.0])
    radiance, _ = cast([shape(BOX, (0, 0, 5), (50, 50, 1), tint=(0.8, 0.4, 0.2))], lights=lights)
    torch.testing.assert_close(radiance[0, :, 7, 10], torch.tensor([0.4, 0.2, 0.1]))


def test_a_box_between_light_and_wall_casts_a_shadow():
    lights = torch.zeros(1, primitives.LIGHTS)
    lights[0, 0:7] = torch.tensor([6.0, 0, 0, 1, 1, 1, 0.0])
    lights[0, 17] = 1.0
    room = shape(BOX, (0, 0, 0), (8, 8, 6))
    screen = shape(BOX, (3, 0, 3), (0.6, 0.6, 0.6))
    lit, depth = cast([room, screen], lights=lights)
    dark, _ = cast([room, screen], lights=lights, shadows=True)
    assert depth[0, 7, 10] == pytest.approx(6.0)
    assert lit[0, 0, 7, 10] > 0.3
    assert dark[0, 0, 7, 10] == 0.0


def test_samples_soften_edges_and_leave_depth_as_it_is():
    rows = [shape(BOX, (0, 0, 9), (50, 50, 1), emission=1.0, tint=(0.1, 0.1, 0.1)),
            shape(BOX, (0.0, 0, 5), (1.01, 1.01, 1), emission=1.0)]
    sharp, depth = cast(rows)
    soft, same = cast(rows, samples=4)
    torch.testing.assert_close(depth, same)
    assert len(sharp.unique()) == 2
    assert len(soft.unique()) > 2
