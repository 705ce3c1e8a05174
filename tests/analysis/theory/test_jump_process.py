"""The jump process of small diagonal linear networks and the implicit bias of any, in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import theory


def random_design(seed, n=4, inputs=3):
    random = np.random.default_rng(seed)
    return random.standard_normal((n, inputs)), random.standard_normal(n)


def test_jump_process_of_an_orthonormal_design_is_one_sign_after_the_other():
    x = np.sqrt(3) * np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    target = np.array([2.0, -0.5, 1.0])
    process = theory.jump_process(x, x @ target)
    np.testing.assert_allclose(process.times, 1 / np.array([2.0, 1.0, 0.5]), rtol=1e-12)
    expected = [[0, 0, 0], [2, 0, 0], [2, 0, 1], [2, -0.5, 1]]
    np.testing.assert_allclose(process.saddles, expected, atol=1e-12)
    np.testing.assert_array_equal(process.indices(), [3, 2, 1, 0])


@given(seed=st.integers(0, 10**6))
def test_jump_process_ends_at_the_least_squares_solution(seed):
    x, y = random_design(seed)
    process = theory.jump_process(x, y)
    np.testing.assert_allclose(process.saddles[-1], np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-8)
    assert np.all(np.diff(process.losses) < 0) and np.all(np.diff(process.times) >= 0)
    # At every saddle the gradient vanishes on the active coordinates.
    assert np.max(np.abs(process.gradients * (process.saddles != 0))) < 1e-8


@given(seed=st.integers(0, 10**6), alpha=st.sampled_from([1e-6, 1e-2, 1.0, 30.0]))
def test_implicit_bias_satisfies_its_two_equations(seed, alpha):
    x, y = random_design(seed, n=2, inputs=4)
    beta = theory.implicit_bias(x, y, alpha)
    np.testing.assert_allclose(x @ beta, y, atol=1e-9)
    kernel = np.linalg.svd(x)[2][2:]
    state = theory.mirror_state(beta, alpha)
    assert np.max(np.abs(kernel @ state)) < 1e-9 * max(1.0, np.max(np.abs(state)))


@pytest.mark.parametrize(("seed", "alpha"), [(32, 30.0), (42, 10.0), (42, 1.0), (52, 30.0)])
def test_implicit_bias_is_solved_to_rounding(seed, alpha):
    """Where sums of cosh are flat: steps that are halved until they go uphill stop at 1e-7."""
    x, y = random_design(seed, n=2, inputs=4)
    np.testing.assert_allclose(x @ theory.implicit_bias(x, y, alpha), y, rtol=0, atol=1e-13)


def test_implicit_bias_goes_from_l2_to_l1():
    x, y = random_design(3, n=2, inputs=4)
    np.testing.assert_allclose(theory.implicit_bias(x, y, 1e4), np.linalg.pinv(x) @ y, atol=1e-7)
    # The smallest ℓ1 norm is attained at a vertex: two of four coordinates.
    sparse = theory.implicit_bias(x, y, 1e-60)
    assert np.sum(np.abs(sparse) > 1e-6) == 2
    vertices = [(i, j) for i in range(4) for j in range(i)]
    norms = [np.sum(np.abs(np.linalg.solve(x[:, list(pair)], y))) for pair in vertices]
    assert np.sum(np.abs(sparse)) == pytest.approx(min(norms), rel=1e-9)
    with pytest.raises(ValueError, match="no β fits"):
        theory.implicit_bias(np.ones((2, 1)), np.array([1.0, 2.0]), 0.1)


def test_diagonal_times_tend_to_the_jump_process():
    for alpha in (1e-3, 1e-8):
        assert theory.diagonal_times(np.ones(1), alpha)[0] == pytest.approx(math.log(1 / alpha), rel=1e-9)
    with pytest.raises(ValueError, match="between 0 and 1/√2"):
        theory.diagonal_times(np.ones(1), 0.8)
