"""Closed forms of times and directions against independent computations, without a flow."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import theory
from saddlescope.analysis.theory.closed_forms.directions import mode_starts
from saddlescope.experiments import modular_addition
from saddlescope.experiments.data.cyclic_shifts import fourier_template
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize


def integrated(field, start, t):
    """An ordinary differential equation, by SciPy."""
    return solve_ivp(lambda _, y: field(y), (0, t), np.atleast_1d(start), "DOP853", rtol=1e-12, atol=1e-14).y[:, -1]


def test_logistic_mode_solves_its_equation():
    s, d, start = 1.3, 0.7, 1e-3
    half = float(theory.logistic_half_time(s, start, s / d))
    assert theory.logistic_mode(half, s, start, s / d) == pytest.approx(s / d / 2, rel=1e-12)
    # a' = a(s − d a²), u = a².
    found = integrated(lambda a: a * (s - d * a**2), math.sqrt(start), half) ** 2
    assert found == pytest.approx(s / d / 2, rel=1e-9)


@pytest.mark.parametrize(("depth", "start"), [(2, 0.05), (3, 0.1), (4, 0.2), (5, 0.3)])
def test_deep_mode_time_solves_its_equation(depth, start):
    s, end = 2.0, 1.1
    time = float(theory.deep_mode_time(end, s, depth, start))
    by_quadrature = quad(lambda a: 1 / (a ** (depth - 1) * (s - a**depth)), start, end, epsrel=1e-12)[0]
    assert time == pytest.approx(by_quadrature, rel=1e-10)
    if depth > 2:
        leading = theory.deep_escape_time(s, depth, math.sqrt(depth) * 1e-3)
        assert theory.deep_mode_time(end, s, depth, 1e-3) == pytest.approx(leading, rel=1e-2)


def test_unbalanced_mode_time_solves_its_equation():
    s, a, b = 2.0, 0.3, 0.01
    for u in (0.05, 1.0, 1.9):
        time = float(theory.unbalanced_mode_time(u, s, a, b))
        end = integrated(lambda w: w[::-1] * (s - w[0] * w[1]), [a, b], time)
        assert end[0] * end[1] == pytest.approx(u, rel=1e-9)
        assert theory.unbalanced_mode(time, s, a, b) == pytest.approx(u, rel=1e-12)
    assert theory.unbalanced_mode(100.0, s, 1e-9, 0.0) == pytest.approx(s, rel=1e-12)
    nearly = float(theory.unbalanced_mode_time(1.0, s, 0.1 + 1e-7, 0.1))
    assert nearly == pytest.approx(float(theory.deep_mode_time(1.0, s, 2, 0.1)), rel=1e-6)


def test_pivots_are_where_modes_start():
    """W of the exact Riccati solution at a time when mode k is at its middle, to the order of the separation."""
    random = np.random.default_rng(0)
    strengths, parts = np.array([3.0, 1.0]), 1e-3 * random.standard_normal((2, 4))
    starts = mode_starts(parts)
    assert starts[0] == pytest.approx(parts[0] @ parts[0])
    for k in range(2):
        t = float(theory.logistic_half_time(strengths[k], starts[k], strengths[k]))
        grown = np.exp(strengths * t)[:, None] * parts
        # Fukumizu (1998): e^{Ft}Q(1 + Qᵀ∫e^{2Fs}ds Q)⁻¹Qᵀe^{Ft}, restricted to the growing parts.
        integral = (np.exp(2 * strengths * t) - 1) / (2 * strengths)
        inner = np.eye(4) + 2 * parts.T @ (integral[:, None] * parts)
        product = grown @ np.linalg.solve(inner, grown.T)
        assert product[k, k] == pytest.approx(strengths[k] / 2, rel=1e-3)


@given(seed=st.integers(0, 10**6), width=st.integers(1, 4))
def test_escape_time_of_a_unit_is_when_it_is_infinite(seed, width):
    """Against the ordinary differential equation, followed to a size where what is left is 1/(2 s v)."""
    random = np.random.default_rng(seed)
    half = random.standard_normal((width, width))
    form, u, v = half + half.T, random.standard_normal(width), float(random.standard_normal())
    time = theory.unit_escape_time(form, u, v)

    def field(_, w):
        return np.append(2 * w[-1] * form @ w[:-1], w[:-1] @ form @ w[:-1])

    large = lambda _, w: np.linalg.norm(w) - 1e7  # noqa: E731
    large.terminal = True
    horizon = 60.0 if math.isinf(time) else 2 * time
    flow = solve_ivp(field, (0, horizon), np.append(u, v), "DOP853", rtol=1e-11, atol=1e-13, events=large)
    if math.isinf(time):
        assert not len(flow.t_events[0])
    else:
        assert flow.t_events[0][0] == pytest.approx(time, rel=1e-6)


@given(u=st.floats(0.01, 2), v=st.floats(-2, 2), s=st.floats(0.1, 3))
def test_escape_time_along_one_direction_is_elementary(u, v, s):
    closed = theory.single_direction_escape_time(s, u, v)
    # Beside the border of c = 0 the logarithm of the closed form cancels.
    if abs(v**2 - u**2 / 2) > 1e-4:
        found = theory.unit_escape_time(np.array([[s]]), np.array([u]), v)
        assert found == pytest.approx(closed, rel=1e-8)


def test_a_unit_may_turn_round():
    """v > 0 at first, yet the unit follows the negative eigenvalue: the published sign(v(0)) does not always hold."""
    form, u, v = np.diag([1.0, -4.0]), np.array([1e-3, 1.0]), 0.1
    end = integrated(lambda w: np.append(2 * w[-1] * form @ w[:-1], w[:-1] @ form @ w[:-1]), np.append(u, v), 0.4)
    assert end[-1] < 0
    assert theory.unit_escape_time(form, u, v) < 1
    assert theory.unit_escape_time(np.eye(1), np.ones(1), -2.0) == math.inf


@pytest.mark.parametrize("s", [1e-2, 1e-5, 1e-9])
def test_a_slow_direction_escapes_after_fast_ones_have_vanished(s):
    r"""Of $v^2 - u_1^2 / 2$ what the fast direction leaves is conserved, while the slow one grows from its start."""
    v, u = 0.5, np.array([0.4, 0.02])
    left = np.sqrt(v**2 - u[0] ** 2 / 2)
    time = theory.unit_escape_time(np.diag([-1.0, s]), u, v)
    assert time == pytest.approx(theory.single_direction_escape_time(s, u[1], left), rel=5 * s)


@pytest.mark.parametrize("s", [1e-2, 1e-5, 1e-9])
def test_a_slow_direction_turns_a_unit_round_after_fast_ones_have_vanished(s):
    """The way to the turning point takes half of what a negative start adds to the time along the slow direction."""
    v, u = -0.5, np.array([0.4, 0.9])
    left = np.sqrt(v**2 - u[0] ** 2 / 2)
    there_and_back = theory.single_direction_escape_time(s, u[1], -left)
    there_and_back -= theory.single_direction_escape_time(s, u[1], left)
    form = np.diag([1.0, s])
    assert theory.unit_escape_time(form, u, v) == pytest.approx(
        there_and_back + theory.unit_escape_time(form, u, -v), rel=5 * s
    )


def test_a_unit_on_the_border_between_both_sides_stays():
    assert theory.unit_escape_time(np.diag([1.0, -1.0]), np.ones(2), 0.0) == math.inf


@pytest.mark.parametrize(("share", "escapes"), [(1e-9, True), (1e-11, False)])
def test_a_direction_counts_as_long_as_its_eigenvalue_is_no_rounding(share, escapes):
    alone = theory.unit_escape_time(np.array([[share]]), np.array([0.3]), 0.1)
    time = theory.unit_escape_time(np.diag([1.0, share]), np.array([0.0, 0.3]), 0.1)
    assert time == (pytest.approx(alone, rel=1e-9) if escapes else math.inf)


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_activation_time_solves_its_equation(degree):
    time = theory.activation_time(0.7, 0.05, degree)
    assert integrated(lambda r: degree * 0.7 * r ** (degree - 1), 0.05, time) == pytest.approx(1.0, rel=1e-8)
    with pytest.raises(ValueError, match="at least 2"):
        theory.activation_time(1.0, 0.1, 1)


def test_linear_schedule_of_white_inputs_is_one_over_the_singular_values():
    random = np.random.default_rng(0)
    x = np.sqrt(5) * np.linalg.qr(random.standard_normal((5, 3)))[0]
    target = random.standard_normal((2, 3))
    times = theory.linear_schedule(x, x @ target.T)
    np.testing.assert_allclose(times, 1 / np.linalg.svd(target, compute_uv=False), rtol=1e-10)


@pytest.mark.parametrize(("p", "frequency"), [(7, 1), (7, 2), (9, 2), (10, 3)])
@pytest.mark.fast_for("7-1", "7-2")
def test_modular_addition_utility_is_the_maximum_over_the_sphere(p, frequency):
    x = fourier_template(p, {frequency: 3.0}, key=jax.random.key(0))
    pairs, y = map(np.asarray, modular_addition(x))

    def negative(theta):
        uv, w = np.split(theta / np.linalg.norm(theta), [2 * p])
        return -np.mean((pairs @ uv) ** 2 * (y @ w))

    random = np.random.default_rng(0)
    found = min(minimize(negative, random.standard_normal(3 * p), tol=1e-13).fun for _ in range(4))
    assert -found == pytest.approx(theory.modular_addition_utilities(x)[0], rel=1e-7)


def test_half_times_of_heads_solve_their_equation():
    """v' = λ²v² − λ³(1 + (1 + tr Λ/λ)/N) v⁵, from 0.02 to half of its cube."""
    values, n = (0.4, 0.3, 0.2, 0.1), 31
    times = theory.head_half_times(values, n, 0.02)
    for value, time in zip(values, times, strict=True):
        second = value**3 * (1 + (1 + 1 / value) / n)
        end = (value**2 / second / 2) ** (1 / 3)
        by_quadrature = quad(lambda v, a=value**2, c=second: 1 / (a * v**2 - c * v**5), 0.02, end, epsrel=1e-12)[0]
        assert time == pytest.approx(by_quadrature, rel=1e-9)
        assert time == pytest.approx(1 / (value**2 * 0.02), rel=0.02)
