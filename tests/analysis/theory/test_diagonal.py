"""Diagonal linear networks: exact solutions at every initial scale, invariants, and the jump process of small ones."""

import warnings

import diffrax as dfx
import equinox as eqx
import numpy as np
import pytest
from saddlescope.analysis import itinerary, spectrum, theory
from saddlescope.analysis.symmetries.conservation import conserved_drift
from saddlescope.flows import Landscape, half_squared_error, mirror_flow, simulate
from saddlescope.models import DiagonalLinear
from scipy.integrate import solve_ivp
from scipy.optimize import minimize


def data(x, y):
    return x, y[:, None]


def followed(x, y, alpha, times, rtol=1e-12):
    """β at given times, by the flow of (u, v)."""
    settings = {"save_times": times, "rtol": rtol, "atol": rtol * alpha * 1e-3, "solver": dfx.Dopri8()}
    flow = simulate(
        DiagonalLinear(inputs=x.shape[1], scale=alpha), half_squared_error, data(x, y), t1=times[-1], **settings
    )
    models = [flow.model_at_index(int(k)) for k in np.searchsorted(flow.ts, times)]
    return np.array([model.beta for model in models])


# Coordinates that come one after the other; and a design in which the first is dropped when the third comes.
DESIGN_A = np.array([[2.0, 1, 0], [0, 2, 1], [1, 0, 2]]), np.array([3.0, -1.5, 3])
DESIGN_B = np.array([[1.0, 0, 1], [-2, -2, -1]]), np.array([3.0, -1])


def test_orthonormal_design_is_one_unbalanced_mode_per_coordinate():
    """u² − v² = 2α² is conserved: the unbalanced pair of a linear network from (√2 α, 0)."""
    alpha, target = 1e-2, np.array([2.0, -1.0, 0.5])
    x = np.sqrt(3) * np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    times = np.linspace(0.5, 12, 7)
    beta = followed(x, x @ target, alpha, times)
    for end, values in zip(target, beta.T, strict=True):
        expected = theory.unbalanced_mode(times, abs(end), np.sqrt(2) * alpha, 0.0)
        np.testing.assert_allclose(values, np.sign(end) * expected, atol=1e-8)


@pytest.fixture(scope="module")
def underdetermined():
    random = np.random.default_rng(4)
    x, y, alpha = random.standard_normal((3, 5)), random.standard_normal(3), 0.05
    return x, y, alpha, followed(x, y, alpha, np.array([0.3, 1, 3, 10, 30, 300.0]))


def test_the_kernel_of_the_data_is_never_entered(underdetermined):
    """P_ker arcsinh(β/α²) = 0 for all times, exactly."""
    x, _, alpha, beta = underdetermined
    kernel = np.linalg.svd(x)[2][3:]
    assert np.max(np.abs(theory.mirror_state(beta, alpha) @ kernel.T)) < 1e-8


def test_the_end_is_the_maximiser_of_the_dual(underdetermined):
    """By damped Newton steps, and by a general method."""
    x, y, alpha, beta = underdetermined

    def dual(nu):
        z = x.T @ nu
        return alpha**2 * np.sum(np.cosh(z)) - y @ nu, alpha**2 * x @ np.sinh(z) - y

    np.testing.assert_allclose(x @ beta[-1], y, atol=1e-10)
    np.testing.assert_allclose(beta[-1], theory.implicit_bias(x, y, alpha), atol=1e-9)
    nu = minimize(dual, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-12}).x
    np.testing.assert_allclose(beta[-1], alpha**2 * np.sinh(x.T @ nu), atol=1e-8)


@pytest.mark.slow
def test_mirror_coordinates_are_the_same_flow(underdetermined):
    x, y, alpha, beta = underdetermined
    times = np.array([0.3, 1, 3, 10, 30, 300.0])
    np.testing.assert_allclose(mirror_flow(x, y, alpha, times, rtol=1e-12), beta, atol=1e-9)
    # By a general integrator of the mirror state.
    field = lambda _, theta: -2 * x.T @ (x @ (alpha**2 * np.sinh(theta)) - y) / len(y)  # noqa: E731
    by_scipy = solve_ivp(field, (0, 300), np.zeros(5), method="LSODA", t_eval=times, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(alpha**2 * np.sinh(by_scipy.y.T), beta, atol=1e-8)


def test_the_jump_process_of_both_designs():
    """By hand; in B the support does not only grow."""
    process = theory.jump_process(*DESIGN_A)
    np.testing.assert_allclose(process.times, [1 / 3, 7 / 6, 14 / 9], rtol=1e-12)
    expected = [[0, 0, 0], [9 / 5, 0, 0], [15 / 7, -6 / 7, 0], [2, -1, 1 / 2]]
    np.testing.assert_allclose(process.saddles, expected, atol=1e-12)
    np.testing.assert_array_equal(process.indices(), [2, 2, 1, 0])
    process = theory.jump_process(*DESIGN_B)
    np.testing.assert_allclose(process.times, [2 / 5, 4 / 5, 9 / 5], rtol=1e-12)
    expected = [[0, 0, 0], [1, 0, 0], [0, 0, 2], [0, -1, 3]]
    np.testing.assert_allclose(process.saddles, expected, atol=1e-12)


@pytest.mark.parametrize("design", [DESIGN_A, DESIGN_B])
def test_index_and_nullity_of_the_saddles(design):
    """Inactive coordinates give ±|∇L|, active ones a positive and a zero eigenvalue."""
    process = theory.jump_process(*design)
    for beta, gradient, index, nullity in zip(
        process.saddles, process.gradients, process.indices(), process.nullities(), strict=True
    ):
        root = np.sqrt(np.abs(beta))
        model = eqx.tree_at(lambda m: m.weights, DiagonalLinear(inputs=3, scale=1.0), (root, np.sign(beta) * root))
        found = spectrum(Landscape(model, half_squared_error, data(*design)))
        assert (found.index, found.nullity) == (index, nullity)
        inactive = np.abs(gradient[beta == 0])
        if index:
            assert found.eigenvalues[0] == pytest.approx(-inactive.max(), rel=1e-10)


def half_jumps(design, alpha):
    """When each jump of the flow is half done, and β in the middle between jumps."""
    x, y = design
    process = theory.jump_process(x, y)
    unit = np.log(1 / alpha)
    ends = np.append(process.times, 1.3 * process.times[-1])
    grid = np.unique(np.concatenate([t * unit + np.linspace(-12, 12, 481) for t in process.times]))
    middles = (ends[1:] + ends[:-1]) / 2 * unit
    times = np.unique(np.concatenate([grid[grid > 0], middles]))
    beta = mirror_flow(x, y, alpha, times, rtol=1e-10)
    found = []
    for before, after, t in zip(process.saddles[:-1], process.saddles[1:], process.times, strict=True):
        near = np.abs(times - t * unit) < 12.01
        # The largest component's way from one saddle to the next.
        k = np.argmax(np.abs(after - before))
        share = (beta[near, k] - before[k]) / (after[k] - before[k])
        found.append(np.interp(0.5, share, times[near]))
    return np.array(found), beta[np.searchsorted(times, middles)]


@pytest.mark.parametrize("design", [DESIGN_A, DESIGN_B])
@pytest.mark.fast_for("design0")
def test_jumps_of_vanishing_weights_have_the_slopes_of_the_process(design):
    """T_k(α) = t_k ln(1/α) + C_k: the constants cancel between 1e-20 and 1e-80; plateaus are the saddles."""
    process = theory.jump_process(*design)
    late, middle = half_jumps(design, 1e-80)
    early, _ = half_jumps(design, 1e-20)
    np.testing.assert_allclose((late - early) / (60 * np.log(10)), process.times, rtol=1e-3)
    np.testing.assert_allclose(middle, process.saddles[1:], atol=1e-8)
    assert late[0] == pytest.approx(theory.first_jump_time(*design, 1e-80), rel=1e-4)


def test_saddles_of_the_jump_process():
    """One coordinate after the other, β = (1.8, 0, 0), (15/7, −6/7, 0), (2, −1, ½); the indices of the limit α → 0."""
    x, y = DESIGN_A
    flow = simulate(DiagonalLinear(inputs=3, scale=1e-12), half_squared_error, data(x, y), t1=110.0, rtol=1e-9)
    assert conserved_drift(flow) < 1e-8
    np.testing.assert_allclose(flow.initial_model.conserved(), 2e-24, rtol=1e-14)
    visits = itinerary(flow)
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


@pytest.mark.slow
@pytest.mark.parametrize(("design", "alpha", "exact"), [(DESIGN_A, 1e-40, True), (DESIGN_B, 1e-40, False)])
def test_rounding_that_decides_is_told_and_only_then(design, alpha, exact):
    """In A weights of 1e-40 are as exact as those beside them. In B coordinates that grew return, and the u and v of
    each, equal to the last place, have forgotten u² − v² = 2α²: the flow stays where that of the mirror map goes on."""
    x, y = design
    process = theory.jump_process(x, y)
    t1 = 1.2 * process.times[-1] * np.log(1 / alpha)
    flow = simulate(DiagonalLinear(inputs=3, scale=alpha), half_squared_error, data(x, y), t1=t1, rtol=1e-9)
    end = mirror_flow(x, y, alpha, np.array([t1]))[0]
    assert np.allclose(np.asarray(flow.final_model.beta), end, atol=1e-3) == exact
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        visits = itinerary(flow)
    assert [visit.escape.seeded_by_rounding for visit in visits[:-1]] == (len(visits) - 1) * [False]
    assert visits[-1].held_by_rounding != exact
    assert ["by rounding" in str(warning.message) for warning in said] == (not exact) * [True]
    assert ("the flow stays by rounding" in str(visits)) != exact
    if exact:
        times = theory.jump_process(x, y).times * np.log(1 / alpha)
        dwells = [visit.passage.dwell for visit in visits[1:-1]]
        np.testing.assert_allclose(dwells, np.diff(times), rtol=0.1)


def test_a_difference_that_rounding_has_made_seeds_the_escape():
    """B from 1e-20: the last jump comes 0.28 too early, as a third of u − v is rounding."""
    flow = simulate(DiagonalLinear(inputs=3, scale=1e-20), half_squared_error, data(*DESIGN_B), t1=110.0, rtol=1e-9)
    with pytest.warns(UserWarning, match="seeded by rounding"):
        visits = itinerary(flow)
    assert [visit.escape.seeded_by_rounding for visit in visits[:3]] == [False, False, True]


def test_three_layers():
    """With white data and equal weights each coordinate obeys ẇ = w²(s − w³), exactly."""
    start = np.array([0.3, 0.2])
    model = eqx.tree_at(lambda m: m.weights, DiagonalLinear(inputs=2, layers=3, scale=0.0), 3 * (start,))
    x = np.sqrt(2) * np.eye(2)
    flow = simulate(model, half_squared_error, data(x, x @ np.array([2.0, 1.0])), t1=5.0, rtol=1e-10)
    field = lambda _, w: w**2 * (np.array([2.0, 1.0]) - w**3)  # noqa: E731
    expected = solve_ivp(field, (0, 5), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    np.testing.assert_allclose(flow.final_model.beta, expected**3, rtol=1e-8)


@pytest.mark.parametrize(
    ("alpha", "times", "words"),
    [(0.0, [1.0], "alpha must be positive"), (1e-160, [1.0], "at least"), (0.1, [1.0, 1.0], "must be increasing")],
)
def test_mirror_flow_refuses_what_it_cannot_follow(alpha, times, words):
    with pytest.raises(ValueError, match=words):
        mirror_flow(*DESIGN_A, alpha, np.array(times))


def test_what_is_no_diagonal_network_is_refused():
    with pytest.raises(ValueError, match="at least two layers; got 1"):
        DiagonalLinear(inputs=3, layers=1, scale=1.0)
    with pytest.raises(ValueError, match="scale must be finite and not negative"):
        DiagonalLinear(inputs=3, scale=-1.0)
