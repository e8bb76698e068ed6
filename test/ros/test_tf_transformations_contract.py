"""What is used of tf_transformations, for every implementation that is present."""

import numpy as np
import pytest
from implementations import implementations
from scipy.spatial.transform import Rotation

every_implementation = pytest.mark.parametrize("module", implementations("tf_transformations"))


@every_implementation
def test_a_third_of_a_turn_about_the_diagonal_permutes_the_axes(module):
    matrix = module.quaternion_matrix([0.5, 0.5, 0.5, 0.5])
    permutation = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(matrix, permutation, atol=1e-12)


@every_implementation
def test_the_norm_of_a_quaternion_does_not_matter(module):
    matrix = module.quaternion_matrix([0.1, 0.2, -0.3, 0.4])
    np.testing.assert_allclose(module.quaternion_matrix([0.2, 0.4, -0.6, 0.8]), matrix, atol=1e-12)


@every_implementation
def test_quaternions_are_scalar_last_and_not_negative_there(module):
    for rotation in Rotation.random(50, random_state=np.random.default_rng(0)):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.as_matrix()
        matrix[:3, 3] = 1.0, 2.0, 3.0
        expected = rotation.as_quat(canonical=True)
        np.testing.assert_allclose(module.quaternion_from_matrix(matrix), expected, atol=1e-9)
