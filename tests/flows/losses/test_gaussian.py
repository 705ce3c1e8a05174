"""Gaussian population losses: kernels against quadrature, and critical points known in closed form or in print."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import classify, critical_point, null_space_form, spectrum
from saddlescope.analysis.critical_points.critical_point import solve_gradient
from saddlescope.flows import Landscape, flatten, gaussian_loss, simulate
from saddlescope.models import Committee, Dense, TwoLayer, cubic, erf, linear, quadratic, relu, sine, tanh
from saddlescope.models.initialisation import normal_array, split_key
from saddlescope.models.quick import quickly_compiled
from saddlescope.models.units import as_jax

SMOOTH = [linear, quadratic, cubic, sine, erf]


def committee(activation, weights):
    width, inputs = np.shape(weights)
    model = Committee(activation, inputs=inputs, width=width, scale=1.0, key=jax.random.key(0))
    return eqx.tree_at(lambda m: m.weights, model, as_jax(np.asarray(weights, float)))


def quadrature(activation, u, v):
    """E[σ(u·x)σ(v·x)] in the plane of u and v, by Gauss–Hermite points."""
    points, weights = np.polynomial.hermite_e.hermegauss(120)
    q, r = np.linalg.qr(np.stack([u, v], axis=1))
    first, second = r[0, 0] * points, r[0, 1] * points
    values = np.asarray(_values(activation, np.vstack([first, second[:, None] + r[1, 1] * points])))
    return float(np.sum(values[0, :, None] * values[1:] * weights[:, None] * weights) / (2 * np.pi))


@eqx.filter_jit
def _values(activation, x):
    return activation(x)


@eqx.filter_jit
def kernel_of(activation, u, v):
    """The kernel with its first and second derivatives in u."""
    kernel = activation.kernel
    return kernel(u, v), jax.grad(kernel)(u, v), jax.hessian(kernel)(u, v)


@pytest.mark.parametrize("activation", SMOOTH, ids=lambda a: a.name)
@given(seed=st.integers(0, 10**6), size=st.floats(0.01, 1.2))
def test_kernels_are_the_averages(activation, seed, size):
    u, v = size * np.random.default_rng(seed).standard_normal((2, 3))
    assert float(kernel_of(activation, u, v)[0]) == pytest.approx(quadrature(activation, u, v), rel=1e-9, abs=1e-13)


@given(angle=st.floats(1e-6, np.pi - 1e-6), sizes=st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)))
def test_relu_kernel_is_the_average(angle, sizes):
    """In polar coordinates the average over the sector where both are active is elementary; here by quadrature."""
    points, weights = np.polynomial.legendre.leggauss(60)
    # Active where both cosines are positive: directions between angle - π/2 and π/2; E[r²] = 2 over 2π.
    low, high = angle - np.pi / 2, np.pi / 2
    directions = (high + low) / 2 + (high - low) / 2 * points
    average = np.sum(weights * np.cos(directions) * np.cos(directions - angle)) * (high - low) / 2 * 2 / (2 * np.pi)
    u, v = sizes[0] * np.array([1.0, 0.0]), sizes[1] * np.array([np.cos(angle), np.sin(angle)])
    assert float(kernel_of(relu, u, v)[0]) == pytest.approx(sizes[0] * sizes[1] * average, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 1.0, np.pi])
def test_relu_kernel_has_its_derivatives_everywhere_but_at_zero(angle):
    r"""$\partial K/\partial u = (|v| \sin\varphi\, \hat u + (\pi - \varphi) v)/2\pi$, and its derivatives."""
    u, v = 2.0 * np.array([1.0, 0.0]), 0.5 * np.array([np.cos(angle), np.sin(angle)])
    _, found, second = kernel_of(relu, u, v)
    expected = (0.5 * np.sin(angle) * np.array([1.0, 0.0]) + (np.pi - angle) * v) / (2 * np.pi)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    e = np.cos(angle) * np.array([1.0, 0.0]) - v / 0.5
    # sin²φ (1 - ûûᵀ) + eeᵀ over sin φ vanishes with φ.
    limit = np.zeros((2, 2))
    if 0 < np.sin(angle) and angle < np.pi:
        limit = 0.5 / (4 * np.pi * np.sin(angle)) * (np.sin(angle) ** 2 * np.diag([0.0, 1.0]) + np.outer(e, e))
    np.testing.assert_allclose(second, limit, atol=1e-6)


def test_loss_is_the_limit_of_samples():
    keys = split_key(jax.random.key(0), 3)
    student, teacher = (
        TwoLayer(Dense(relu, inputs=3, outputs=2), width=width, scale=1.0, key=key)
        for width, key in zip((4, 2), keys, strict=False)
    )
    x = np.asarray(normal_array(keys[2], (400_000, 3)))
    outputs = (np.maximum(x @ np.asarray(model.u).T, 0) @ np.asarray(model.v) for model in (student, teacher))
    errors = np.sum((next(outputs) - next(outputs)) ** 2, axis=1) / 2
    exact = float(eqx.filter_jit(gaussian_loss)(student, teacher))
    assert abs(exact - errors.mean()) < 4 * errors.std() / len(x) ** 0.5


# Compilation takes seconds for each size; (3, 4) has all parts of the spectrum, each more than once but the last.
@pytest.mark.slow
@pytest.mark.parametrize(("k", "n"), [(2, 2), (3, 4), (2, 5), (4, 7)])
def test_symmetric_plateau_of_the_error_function_committee(k, n):
    r"""Saad & Solla (1995): $w_i = R \sum_n v_n$, $R = 1/\sqrt{K(2K - 1)}$; loss and whole Hessian spectrum."""
    teacher = committee(erf, np.eye(k, n))
    plateau = committee(erf, np.full((k, 1), 1 / np.sqrt(k * (2 * k - 1))) * np.eye(k, n).sum(axis=0))
    point = critical_point(Landscape(plateau, gaussian_loss, teacher))
    assert point.gradient_norm < 1e-14
    assert point.loss == pytest.approx(k / np.pi * (np.pi / 6 - k * np.arcsin(1 / (2 * k))), abs=1e-14)
    rate = 2 / np.pi * k / ((2 * k + 1) * np.sqrt(4 * k**2 - 1))
    mu = 2 * k / np.pi * np.sqrt((2 * k - 1) / (2 * k + 1))
    parts = [(-rate, (k - 1) ** 2), (0, (k - 1) * (n - k + 1)), (mu - rate, k - 1), (mu, n - k)]
    parts.append((mu * (2 * k - 1) / (2 * k + 1), 1))
    expected = np.sort(np.concatenate([np.full(count, value) for value, count in parts]))
    found = spectrum(Landscape(plateau, gaussian_loss, teacher))
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-12)
    kind = classify(point)
    assert (kind.name, kind.spectrum.index) == ("strict saddle", (k - 1) ** 2)
    # E[e φ″] = 0 for the error function: the zero modes belong to no critical manifold, the loss rises at fourth order.
    assert kind.null_space.unexplained == (k - 1) * (n - k + 1)
    assert kind.unexplained_form.order == 4
    assert "unexplained" in kind.evidence and "the loss changes at order 4" in str(kind.unexplained_form)


@pytest.mark.slow
def test_zero_modes_of_the_committee_plateau_are_quartic():
    """Two units, two inputs: beside the closed-form point the relaxed loss rises like F₄ δ⁴, by two computations."""
    teacher, k = committee(erf, np.eye(2)), 2
    plateau = committee(erf, np.full((k, 1), 1 / np.sqrt(k * (2 * k - 1))) * np.ones((1, 2)))
    landscape = Landscape(plateau, gaussian_loss, teacher)
    theta, spectral = landscape.theta, spectrum(landscape)
    form = null_space_form(landscape, theta, spectral)
    assert (form.order, form.dimension, form.rises) == (4, 1, True)
    # Relax what is not null by minimisation and Newton steps at finite distance, and extrapolate.
    kept, null = spectral.eigenvectors[:, np.abs(spectral.eigenvalues) > 1e-9], spectral.null_space[:, 0]

    def relaxed(delta):
        point = theta + delta * null
        for _ in range(8):
            step = np.linalg.solve(kept.T @ landscape.hessian(point) @ kept, kept.T @ landscape.gradient(point))
            point = point - kept @ step
        return float(null @ landscape.gradient(point)) / (4 * delta**3)

    assert (4 * relaxed(0.02) - relaxed(0.04)) / 3 == pytest.approx(form.lowest, rel=1e-4)


def test_flow_escapes_the_committee_plateau_at_its_rate():
    """The difference of the two units, odd under their exchange, grows as exp(λt) on the plateau."""
    teacher = committee(erf, np.eye(2, 3))
    rng = np.random.default_rng(0)
    plateau = np.full((2, 1), 1 / np.sqrt(6)) * np.eye(2, 3).sum(axis=0)
    start = committee(erf, plateau + 1e-7 * rng.standard_normal((2, 3)))
    flow = simulate(start, gaussian_loss, teacher, t1=160.0, save_times=[80.0])
    early, late = (abs(np.array([1, -1]) @ flow.evaluate(t).reshape(2, 3) @ [1, -1, 0]) for t in (80.0, 160.0))
    assert late < 1e-2
    assert np.log(late / early) / 80 == pytest.approx(0.065749807367, rel=1e-5)


# p1 … p5, loss and index of the branch W_ii = p1, W_ij = p2, W_ik = p3, W_kj = p4, W_kk = p5 (Safran & Shamir 2018).
BRANCH = {
    6: (
        [0.986703818889, -0.050413403217, 0.308010991479, 0.224515807599, -0.601511923561],
        0.025080581002,
        0.0047003547,
    ),
    7: (
        [0.996922798803, -0.035080155927, 0.261691075807, 0.185991046296, -0.632703904915],
        0.023202714914,
        0.0140590132,
    ),
    8: (
        [1.001434253469, -0.025883628038, 0.228089016409, 0.159816042917, -0.658256262009],
        0.021508037172,
        0.0213465892,
    ),
    10: (
        [1.004354823262, -0.015811925806, 0.182367755789, 0.126042360843, -0.699036817494],
        0.018702194586,
        0.0319640276,
    ),
}


def branch_point(k, p):
    weights = np.full((k, k), p[1])
    np.fill_diagonal(weights, p[0])
    weights[:-1, -1], weights[-1, :-1], weights[-1, -1] = p[2:]
    return weights


@pytest.mark.parametrize("k", BRANCH)
@pytest.mark.slow
def test_spurious_minima_of_relu_committees(k):
    p, loss, lowest = BRANCH[k]
    teacher = committee(relu, np.eye(k))
    point = critical_point(Landscape(committee(relu, branch_point(k, p)), gaussian_loss, teacher))
    assert point.converged and point.gradient_norm < 1e-13
    np.testing.assert_allclose(point.model.weights, branch_point(k, p), atol=1e-10)
    assert point.loss == pytest.approx(loss, abs=1e-11)
    kind = classify(point)
    assert (kind.name, kind.spectrum.index) == ("minimum", 0)
    assert kind.spectrum.eigenvalues[0] == pytest.approx(lowest, abs=1e-9)


def branch_gradient(p, k):
    """The five gradient components of the branch, by the loss on it as a function of p."""
    return jax.grad(lambda q: gaussian_loss(branch_model(q, k), committee(relu, np.eye(k))))(p)


def branch_model(p, k):
    weights = jnp.full((k, k), p[1]).at[jnp.arange(k), jnp.arange(k)].set(p[0])
    weights = weights.at[:-1, -1].set(p[2]).at[-1, :-1].set(p[3]).at[-1, -1].set(p[4])
    return eqx.tree_at(lambda m: m.weights, committee(relu, np.eye(k)), weights)


@pytest.mark.slow
def test_the_branch_for_every_number_of_units():
    """Followed from k = 20 down to 4: minima with no negative eigenvalue down to 6, saddles of index 3 and 2 below."""
    p = np.array([1.003003746007, -0.003655140678, 0.093187408299, 0.063714710241, -0.810020575613])
    for k in range(20, 3, -1):
        gradient = quickly_compiled(lambda q, k=k: branch_gradient(q, k))
        p = scipy.optimize.root(gradient, p, jac=quickly_compiled(jax.jacfwd(gradient)), tol=1e-14).x
        teacher = committee(relu, np.eye(k))
        model = branch_model(jnp.asarray(p), k)
        point = critical_point(Landscape(model, gaussian_loss, teacher))
        assert point.gradient_norm < 1e-13 and point.distance < 1e-9
        if k in BRANCH:
            np.testing.assert_allclose(p, BRANCH[k][0], atol=1e-10)
            assert point.loss == pytest.approx(BRANCH[k][1], abs=1e-11)
        if k == 20:
            assert point.loss == pytest.approx(0.011275581948, abs=1e-11)
        kind = classify(point)
        index = {4: 2, 5: 3}.get(k, 0)
        assert (kind.name, kind.spectrum.index) == ("strict saddle" if index else "minimum", index), k


@pytest.mark.parametrize(("k", "index"), [(4, 2), (5, 3)])
@pytest.mark.slow
def test_below_six_units_the_branch_consists_of_saddles(k, index):
    teacher = committee(relu, np.eye(k))
    start = committee(relu, branch_point(k, [1.0, 0.0, 2 / k, 0.3, -0.6]))
    landscape = Landscape(start, gaussian_loss, teacher)
    solved = landscape.at(solve_gradient(landscape, landscape.theta))
    # Beside the saddle, the solver comes back to it instead of sliding to a minimum.
    noise = 1e-2 * np.random.default_rng(0).standard_normal((k, k))
    point = critical_point(Landscape(committee(relu, solved.weights + noise), gaussian_loss, teacher))
    assert point.gradient_norm < 1e-13
    assert point.loss > 1e-3
    kind = classify(point)
    assert (kind.name, kind.spectrum.index) == ("strict saddle", index)


def test_other_models_raise():
    keys = jax.random.split(jax.random.key(0), 2)
    networks = {
        a.name: TwoLayer(Dense(a, inputs=2, outputs=1), width=2, scale=1.0, key=keys[0]) for a in (tanh, relu, erf)
    }
    for student, teacher, words in (
        (networks["tanh"], networks["tanh"], "tanh has no Gaussian kernel"),
        (networks["relu"], networks["erf"], "must have one activation"),
        (
            networks["relu"],
            TwoLayer(Dense(relu, inputs=3, outputs=1), width=2, scale=1.0, key=keys[1]),
            "differ in inputs or outputs",
        ),
        (jnp.zeros(3), networks["relu"], "TwoLayer networks of Dense units without biases and Committees"),
    ):
        with pytest.raises(ValueError, match=words):
            gaussian_loss(student, teacher)
    assert flatten(networks["relu"]).size == 6
