"""Diagonal linear networks: mirror flow in closed coordinates, invariants, the dual limit, minima of least norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import conserved_drift, itinerary
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import DiagonalLinear
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

ALPHA = 1e-2


def mirror_flow(x, y, alpha, t):
    r"""$\theta = \mathrm{arcsinh}(\beta / \alpha^2)$ obeys $\dot\theta = -2 \nabla L(\alpha^2 \sinh \theta)$."""

    def field(_, theta):
        return -2 * x.T @ (x @ (alpha**2 * np.sinh(theta)) - y) / len(y)

    solution = solve_ivp(field, (0, t), np.zeros(x.shape[1]), method="LSODA", rtol=1e-12, atol=1e-13)
    return alpha**2 * np.sinh(solution.y[:, -1])


@pytest.fixture(scope="module")
def square():
    x = np.array([[2.0, 1, 0], [0, 2, 1], [1, 0, 2]])
    y = np.array([3.0, -1.5, 3.0])
    model = DiagonalLinear(3, ALPHA)
    return simulate(model, half_squared_error, (jnp.asarray(x), jnp.asarray(y[:, None])), t1=12.0, rtol=1e-11), x, y


@pytest.mark.parametrize("t", [2.0, 6.0, 12.0])
def test_the_flow_is_the_mirror_flow(square, t):
    flow, x, y = square
    np.testing.assert_allclose(flow.model(t).beta, mirror_flow(x, y, ALPHA, t), rtol=1e-7, atol=1e-9)


def test_invariant(square):
    flow, _, _ = square
    assert conserved_drift(flow) < 1e-10
    np.testing.assert_allclose(flow.initial_model.conserved(), 2 * ALPHA**2, rtol=1e-14)


def test_saddles_of_the_jump_process():
    """One coordinate after the other, β = (1.8, 0, 0), (15/7, −6/7, 0), (2, −1, ½); the indices of the limit α → 0."""
    x = np.array([[2.0, 1, 0], [0, 2, 1], [1, 0, 2]])
    y = np.array([3.0, -1.5, 3.0])
    data = jnp.asarray(x), jnp.asarray(y[:, None])
    visits = itinerary(simulate(DiagonalLinear(3, 1e-12), half_squared_error, data, t1=110.0, rtol=1e-9))
    assert [visit.kind.name for visit in visits] == 3 * ["strict saddle"] + ["minimum"]
    supports = [[], [0], [0, 1], [0, 1, 2]]
    for visit, support in zip(visits, supports, strict=True):
        best = np.zeros(3)
        best[support] = np.linalg.lstsq(x[:, support], y, rcond=None)[0]
        loss = np.sum((x @ best - y) ** 2) / 6
        assert visit.critical_point.loss == pytest.approx(loss, rel=1e-9, abs=1e-18)
        np.testing.assert_allclose(visit.critical_point.model.beta, best, atol=1e-8)
        # Inactive coordinates with a slope g have ±|g|, without one two zeros; active ones a positive eigenvalue and a
        # zero.
        slopes = x.T @ (x @ best - y) / 3
        inactive = [i for i in range(3) if i not in support and abs(slopes[i]) > 1e-12]
        spectral = visit.kind.spectrum
        flat = 3 - len(support) - len(inactive)
        assert (spectral.index, spectral.nullity) == (len(inactive), len(support) + 2 * flat)
        if inactive:
            assert spectral.eigenvalues[0] == pytest.approx(-np.max(np.abs(slopes[inactive])), rel=1e-6)


def test_underdetermined_data_leave_the_kernel_alone():
    r"""$P_{\ker X} \mathrm{arcsinh}(\beta / \alpha^2)$ stays zero; β ends where the convex dual says."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((3, 6)), random.standard_normal(3)
    alpha = 0.1
    data = jnp.asarray(x), jnp.asarray(y[:, None])
    flow = simulate(DiagonalLinear(6, alpha), half_squared_error, data, t1=400.0, rtol=1e-11)
    kernel = np.linalg.svd(x)[2][3:]
    for k in range(0, len(flow.ts), max(1, len(flow.ts) // 20)):
        theta = np.arcsinh(np.asarray(flow.model_at(k).beta) / alpha**2)
        assert np.max(np.abs(kernel @ theta)) < 1e-7

    def dual(nu):
        z = x.T @ nu
        return alpha**2 * np.sum(np.cosh(z)) - y @ nu, alpha**2 * x @ np.sinh(z) - y

    nu = minimize(dual, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-12}).x
    np.testing.assert_allclose(flow.final_model.beta, alpha**2 * np.sinh(x.T @ nu), atol=1e-8)


def test_three_layers():
    """With white data and equal weights each coordinate obeys ẇ = w²(s − w³), exactly."""
    model = DiagonalLinear(2, 0.0, layers=3, key=jax.random.key(0))
    start = np.array([0.3, 0.2])
    model = jax.tree.map(lambda _: jnp.asarray(start), model)
    x = np.sqrt(2) * np.eye(2)
    data = jnp.asarray(x), jnp.asarray(x @ np.array([[2.0], [1.0]]))
    flow = simulate(model, half_squared_error, data, t1=5.0, rtol=1e-10)
    field = lambda _, w: w**2 * (np.array([2.0, 1.0]) - w**3)  # noqa: E731
    expected = solve_ivp(field, (0, 5), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    np.testing.assert_allclose(flow.final_model.beta, expected**3, rtol=1e-8)


def test_what_is_no_diagonal_network_is_refused():
    with pytest.raises(ValueError, match="at least two layers; got 1"):
        DiagonalLinear(3, 1.0, layers=1)
    with pytest.raises(ValueError, match="scale must be finite and not negative"):
        DiagonalLinear(3, -1.0)
