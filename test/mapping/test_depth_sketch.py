import numpy as np

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.depth_sketch import sketch_depth

CAMERA = Pinhole(200.0, 210.0, 111.5, 83.0, 224, 168)


def test_a_sketch_shows_the_same_points_with_fewer_pixels():
    depth = np.fromfunction(lambda v, u: 2 + 0.01 * u + 0.02 * v, (168, 224), dtype=np.float32)
    sketch = sketch_depth(depth.astype(np.float32), np.ones((168, 224), np.float32), CAMERA, 0.0)

    assert (sketch.camera.width, sketch.camera.height) == (56, 42)
    assert sketch.nbytes == 2 * 56 * 42
    points = sketch.camera.backproject(sketch.depth.astype(np.float32))
    whole = CAMERA.backproject(depth.astype(np.float32))[2::4, 2::4]
    np.testing.assert_allclose(points, whole, rtol=1e-3, atol=1e-3)


def test_what_is_unknown_or_not_trusted_stays_unknown():
    depth = np.full((168, 224), 3, np.float32)
    depth[:, :112] = 0
    confidence = np.ones((168, 224), np.float32)
    confidence[84:, 112:] = 2

    sketch = sketch_depth(depth, confidence, CAMERA, 0.5)

    assert (sketch.depth[:, :28] == 0).all()
    assert (sketch.depth[21:, 28:] == 3).all()
    rest = sketch_depth(np.zeros_like(depth), confidence, CAMERA, 0.5)
    assert (rest.depth == 0).all()


def test_a_small_image_is_kept_whole():
    camera = Pinhole(30.0, 30.0, 16.0, 12.0, 32, 24)
    sketch = sketch_depth(np.ones((24, 32), np.float32), np.ones((24, 32), np.float32), camera, 0)
    assert sketch.camera == camera
