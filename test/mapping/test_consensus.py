"""The median and quantiles are those of numpy."""

import numpy as np
import pytest

from flashvggt_ros.mapping.consensus import median, quantile


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1001])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_median_is_that_of_numpy(count, kind):
    values = np.random.default_rng(count).normal(size=count).astype(kind)
    before = values.copy()
    assert median(values) == float(np.median(values))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1001])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.77, 1.0])
def test_a_quantile_is_that_of_numpy(count, kind, share):
    values = np.random.default_rng(count).normal(size=count).astype(kind)
    before = values.copy()
    assert quantile(values, share) == float(np.quantile(values, share))
    np.testing.assert_array_equal(values, before)
