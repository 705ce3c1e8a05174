"""BDF: order, stiff reference problems, work against SciPy's, gradients, batches, dense output, continuation."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from saddlescope.flows.solvers.bdf import BDF, ResumableController, State, Tolerances
from saddlescope.flows.solvers.chord import no_chord
from saddlescope.flows.solvers.differences import (
    ERROR,
    LEADING,
    ROWS,
    DifferenceInterpolation,
    append,
    predict,
    rescale,
)
from scipy.integrate import solve_ivp


def robertson(t, y, args):
    slow, back, fast = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return jnp.stack([-slow + back, slow - back - fast, fast])


def van_der_pol(t, y, args):
    return jnp.stack([y[1], ((1 - y[0] ** 2) * y[1] - y[0]) / 1e-6])


def hires(t, y, args):
    a = 280 * y[5] * y[7]
    return jnp.stack(
        [
            -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
            1.71 * y[0] - 8.75 * y[1],
            -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
            8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
            -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6],
            -a + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
            a - 1.81 * y[6],
            -a + 1.81 * y[6],
        ]
    )


# Field, start, end, solution there, scale of the absolute tolerance. Hairer & Wanner (1996), section IV.10, and the
# test set for initial value problems of CWI Amsterdam.
PROBLEMS = {
    "robertson": (
        robertson,
        [1.0, 0.0, 0.0],
        1e11,
        [2.083340149701255e-8, 8.333360770334713e-14, 0.9999999791665050],
        1e-10,
    ),
    "van der pol": (van_der_pol, [2.0, 0.0], 2.0, [1.706167732170483, -0.8928097010247975], 1.0),
    "hires": (
        hires,
        [1.0, 0, 0, 0, 0, 0, 0, 0.0057],
        321.8122,
        [7.371312573325668e-4, 1.442485726316185e-4, 5.888729740967575e-5, 1.175651343283149e-3]
        + [2.386356198831331e-3, 6.238968252742796e-3, 2.849998395185769e-3, 2.850001604814231e-3],
        1e-2,
    ),
}


@eqx.filter_jit
def solve(field, y0, t1, rtol, atol, dt0=None, args=None, solver=None, norm=optx.rms_norm, saveat=None) -> Any:
    return dfx.diffeqsolve(
        dfx.ODETerm(field),
        BDF() if solver is None else solver,
        0.0,
        t1,
        dt0,
        y0,
        args,
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol, norm=norm),
        saveat=dfx.SaveAt(t1=True, solver_state=True) if saveat is None else saveat,
        max_steps=4096,
        throw=False,
    )


@pytest.mark.parametrize("name", PROBLEMS)
def test_stiff_problems_reach_the_reference_with_no_more_work_than_scipy(name):
    field, y0, t1, reference, small = PROBLEMS[name]
    rtol, reference = 1e-6, np.array(reference)
    atol = rtol * small
    solution = solve(field, jnp.array(y0), t1, jnp.asarray(rtol), jnp.asarray(atol))
    rate, jacobian = jax.jit(lambda y: field(0.0, y, None)), jax.jit(jax.jacfwd(lambda y: field(0.0, y, None)))
    theirs = solve_ivp(
        lambda t, y: np.asarray(rate(y)),
        (0.0, t1),
        y0,
        method="BDF",
        jac=lambda t, y: np.asarray(jacobian(y)),
        rtol=rtol,
        atol=atol,
    )

    def error(y):
        return np.sqrt(np.mean(((y - reference) / (atol + rtol * np.abs(reference))) ** 2))

    assert solution.result == dfx.RESULTS.successful
    # Each step commits an error up to the tolerance: what SciPy's has become by the end is the measure.
    assert error(np.asarray(solution.ys[0])) < max(10.0, 3 * error(theirs.y[:, -1]))
    counts = solution.solver_state.chord.counts
    assert solution.stats["num_steps"] <= 1.3 * (len(theirs.t) - 1)
    assert counts.evaluations <= 0.75 * theirs.nfev
    assert counts.jacobians <= theirs.njev
    assert counts.factorisations <= theirs.nlu


def logistic(t, y, rate):
    return rate * y * (1 - y)


def logistic_solution(t):
    return 1 / (1 + 3 * jnp.exp(-t))


def exact_state(order, h):
    """The state at t = 0 of an integration of the logistic equation that has been exact so far."""
    points = logistic_solution(-h * np.arange(ROWS))[:, None]
    rows = [points[0]]
    for _ in range(order + 1):
        points = points[:-1] - points[1:]
        rows.append(points[0])
    differences = jnp.zeros((ROWS, 1)).at[: order + 2].set(jnp.stack(rows))
    return State(differences, jnp.asarray(h), jnp.asarray(order), jnp.asarray(0), no_chord(1, jnp.float64))


@eqx.filter_jit
def march(order, state, count, y0, rate):
    """y(1) and the state there, by `count` constant steps of the logistic equation."""
    solver, term = BDF(root_finder=Tolerances(1e-13, 1e-13, optx.rms_norm), max_order=order), dfx.ODETerm(logistic)

    def step(i, carry):
        y, _, _, state, _ = solver.step(term, i / count, (i + 1) / count, carry[0], rate, carry[1], False)
        return y, state

    return jax.lax.fori_loop(0, count, step, (jnp.stack([y0]), state))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_order_of_convergence_at_constant_steps(order):
    errors = []
    for count in (32, 64):
        y, state = march(order, exact_state(order, 1.0 / count), jnp.asarray(count), jnp.asarray(0.25), 1.0)
        assert state.order == order
        errors.append(float(jnp.abs(y[0] - logistic_solution(1.0))))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_error_constants(order):
    # One step from an exact past misses the solution by ERROR ∇^(q+1) y / LEADING.
    h = 1e-2
    state, end = exact_state(order, h), logistic_solution(h)
    p, psi, leading = predict(state.differences, jnp.asarray(order))
    residual = (h / leading) * end * (1 - end) - psi - (end - p)
    difference = end - p
    assert leading == pytest.approx(LEADING[order])
    assert float(residual[0] / difference[0]) == pytest.approx(ERROR[order] / LEADING[order], rel=0.1)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_differences_of_a_polynomial(order):
    # On another spacing, at the next point and in between, the differences of a polynomial are known exactly.
    coefficients = np.random.default_rng(order).standard_normal(order + 1)

    def differences(t, h):
        points = np.polyval(coefficients, t - h * np.arange(ROWS))[:, None]
        rows = []
        while len(points):
            rows.append(points[0])
            points = points[:-1] - points[1:]
        return jnp.asarray(np.stack(rows)).at[order + 1 :].set(0.0)

    q, here = jnp.asarray(order), differences(1.0, 0.5)
    np.testing.assert_allclose(rescale(here, q, jnp.asarray(0.3)), differences(1.0, 0.15), atol=1e-12)
    np.testing.assert_allclose(rescale(here, q, jnp.asarray(4.0)), differences(1.0, 2.0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(append(here, q, jnp.zeros(1)), differences(1.5, 0.5), atol=1e-12)
    np.testing.assert_allclose(predict(here, q)[0], differences(1.5, 0.5)[0], atol=1e-12)
    dense = DifferenceInterpolation(jnp.asarray(0.5), jnp.asarray(1.0), here[:6])
    np.testing.assert_allclose(dense.evaluate(jnp.asarray(0.7))[0], np.polyval(coefficients, 0.7), atol=1e-12)


def test_dense_output_is_as_accurate_as_the_steps_and_continuous():
    ts = jnp.linspace(0.0, 10.0, 501)
    saveat = dfx.SaveAt(dense=True, steps=True)
    solution = solve(logistic, jnp.array([0.25]), 10.0, 1e-8, 1e-8, None, 1.0, saveat=saveat)
    at_steps = np.asarray(solution.ts[jnp.isfinite(solution.ts)])
    values = jax.vmap(solution.evaluate)(at_steps)[:, 0]
    np.testing.assert_allclose(values, solution.ys[: len(at_steps), 0], rtol=1e-14)
    right = jax.vmap(lambda t: solution.evaluate(t, left=False))(at_steps[:-1])[:, 0]
    np.testing.assert_allclose(right, values[:-1], rtol=1e-13)
    largest = np.max(np.abs(values - logistic_solution(at_steps)))
    assert np.max(np.abs(jax.vmap(solution.evaluate)(ts)[:, 0] - logistic_solution(ts))) < 2 * largest < 1e-6
    # Steps are long enough for a polynomial of lower degree to fail.
    assert len(at_steps) < 130


def stiff_pair(t, y, args):
    """A slow logistic growth u and a fast v that follows u², at a rate of its own; E is a quadrature."""
    (u, v), _ = y
    rate, stiffness = args
    du = rate * u * (1 - u)
    return (du, -stiffness * (v - u**2) + 2 * u * du), du**2


def pair_norm(error):
    return jnp.sqrt((error[0][0] ** 2 + error[0][1] ** 2) / 2)


def solve_pair(args, u0=0.25, rtol=1e-7):
    y0, args = ((jnp.asarray(u0), jnp.asarray(u0) ** 2), jnp.asarray(0.0)), jax.tree.map(jnp.asarray, args)
    return solve(stiff_pair, y0, 4.0, rtol, rtol, None, args, norm=pair_norm, saveat=dfx.SaveAt(t1=True))


def pair_solution(rate, u0=0.25):
    u = 1 / (1 + (1 / u0 - 1) * np.exp(-4.0 * rate))
    # E = ∫ u'² dt = ∫ rate u (1 - u) du.
    return u, u**2, rate * ((u**2 - u0**2) / 2 - (u**3 - u0**3) / 3)


def test_trees_quadratures_and_norms_that_leave_some_out():
    solution = solve_pair((1.5, 1e6))
    got = np.array([leaf[0] for leaf in jax.tree.leaves(solution.ys)])
    np.testing.assert_allclose(got, pair_solution(1.5), rtol=3e-6)
    assert solution.stats["num_steps"] < 200


def test_batch_equals_loop():
    rates, stiffness = np.array([0.5, 1.0, 3.0]), np.array([1.0, 1e3, 1e6])
    batch = jax.vmap(lambda rate, fast: solve_pair((rate, fast)))(rates, stiffness)
    for i in range(3):
        alone = solve_pair((rates[i], stiffness[i]))
        assert batch.stats["num_steps"][i] == alone.stats["num_steps"]
        for a, b in zip(jax.tree.leaves(batch.ys), jax.tree.leaves(alone.ys), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-10)


def test_gradient_against_closed_form():
    def end(rate, u0):
        return jnp.stack([leaf[0] for leaf in jax.tree.leaves(solve_pair((rate, 1e6), u0, 1e-9).ys)])

    weights = jnp.array([1.0, -2.0, 3.0])
    reverse = jax.jit(jax.grad(lambda *x: weights @ end(*x), argnums=(0, 1)))(1.5, 0.25)
    step = 1e-6
    exact = [
        weights @ (np.array(pair_solution(1.5 + step)) - np.array(pair_solution(1.5 - step))) / (2 * step),
        weights @ (np.array(pair_solution(1.5, 0.25 + step)) - np.array(pair_solution(1.5, 0.25 - step))) / (2 * step),
    ]
    np.testing.assert_allclose(reverse, exact, rtol=1e-6)


def test_gradient_of_the_discrete_solution():
    # At constant steps the solution is a smooth function of its data: differences must agree to their own accuracy.
    state, step = exact_state(3, 1 / 16), 1e-5
    end = lambda y0, rate: march(3, state, 16, y0, rate)[0][0]  # noqa: E731
    grads = jax.jit(jax.grad(end, argnums=(0, 1)))(0.25, 1.0)
    for grad, dy, drate in zip(grads, (step, 0.0), (0.0, step), strict=True):
        difference = end(jnp.asarray(0.25 + dy), 1.0 + drate) - end(jnp.asarray(0.25 - dy), 1.0 - drate)
        assert float(grad) == pytest.approx(float(difference / (2 * step)), rel=1e-7)


def test_gradient_survives_steps_that_failed():
    # y' = -sqrt(y), y = (sqrt(y0) - t/2)²; the first step tried leads to the root of a negative number.
    def end(y0):
        return solve(lambda t, y, args: -jnp.sqrt(y), y0, 1.5, 1e-8, 1e-8, 1.5, saveat=dfx.SaveAt(t1=True)).ys[0]

    value, gradient = jax.jit(jax.value_and_grad(end))(1.0)
    assert value == pytest.approx(0.0625, rel=1e-5)
    assert gradient == pytest.approx(0.25, rel=1e-4)


@eqx.filter_jit
def chunk(t0, dt0, y0, solver_state, controller_state, max_steps) -> Any:
    return dfx.diffeqsolve(
        dfx.ODETerm(robertson),
        BDF(),
        t0,
        40.0,
        dt0,
        y0,
        stepsize_controller=ResumableController(rtol=1e-6, atol=1e-10),
        saveat=dfx.SaveAt(steps=True, solver_state=True, controller_state=True),
        solver_state=solver_state,
        controller_state=controller_state,
        max_steps=max_steps,
        throw=False,
    )


def test_continuation_is_exact_to_the_bit():
    start = jnp.asarray(0.0), jnp.asarray(1e-4), jnp.array([1.0, 0.0, 0.0])
    field, controller = dfx.ODETerm(robertson), ResumableController(rtol=1e-6, atol=1e-10)
    states = (
        BDF().init(field, 0.0, 1e-4, start[2], None),
        controller.init(field, start[0], 40.0, start[2], start[1], None, None, 2)[1],
    )
    whole = chunk(*start, *states, 512)
    end = whole.stats["num_accepted_steps"]
    ts, ys, here = [], [], start
    for _ in range(9):
        part = chunk(*here, *states, 32)
        count = part.stats["num_accepted_steps"]
        ts.append(part.ts[:count])
        ys.append(part.ys[:count])
        states = part.solver_state, part.controller_state
        here = ts[-1][-1], part.controller_state[1], ys[-1][-1]
        if here[0] == whole.ts[end - 1]:
            break
    np.testing.assert_array_equal(np.concatenate(ts), whole.ts[:end])
    np.testing.assert_array_equal(np.concatenate(ys), whole.ys[:end])
    for a, b in zip(jax.tree.leaves(states[0]), jax.tree.leaves(whole.solver_state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_single_precision():
    u0, tolerance = jnp.float32(0.25), jnp.float32(1e-5)
    y0, args = ((u0, u0**2), jnp.float32(0)), (jnp.float32(1.5), jnp.float32(1e4))
    saveat = dfx.SaveAt(t1=True)
    solution = solve(stiff_pair, y0, jnp.float32(4), tolerance, tolerance, None, args, norm=pair_norm, saveat=saveat)
    leaves = jax.tree.leaves(solution.ys)
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    assert solution.stats["num_steps"] < 100
    np.testing.assert_allclose([leaf[0] for leaf in leaves], pair_solution(1.5), rtol=3e-4)


def test_failure_at_constant_steps_is_reported():
    # y = (1 - t/2)²; one step of length 1.9 would have to end at a root of a negative number.
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, args: -jnp.sqrt(y)),
        BDF(root_finder=Tolerances(1e-6, 1e-6, optx.rms_norm)),
        0.0,
        1.9,
        1.9,
        jnp.asarray(1.0),
        saveat=dfx.SaveAt(t1=True),
        throw=False,
    )
    assert solution.result == dfx.RESULTS.promote(optx.RESULTS.nonlinear_divergence)


def test_jumps_begin_again_at_order_one():
    # y' = -y before t = 1, 1 - y after.
    field = dfx.ODETerm(lambda t, y, args: jnp.where(t < 1, 0.0, 1.0) - y)
    solution = dfx.diffeqsolve(
        field,
        BDF(),
        0.0,
        2.0,
        None,
        jnp.asarray(1.0),
        stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-6, jump_ts=jnp.array([1.0])),
        saveat=dfx.SaveAt(t1=True),
    )
    assert solution.ys is not None
    assert solution.ys[0] == pytest.approx(1 - np.exp(-1) + np.exp(-2), rel=3e-5)


def test_backwards_in_time_to_given_times():
    ts = jnp.array([2.0, 1.0, 0.0])
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, args: y * (1 - y)),
        BDF(),
        3.0,
        0.0,
        None,
        logistic_solution(3.0),
        stepsize_controller=dfx.PIDController(rtol=1e-8, atol=1e-8),
        saveat=dfx.SaveAt(ts=ts),
    )
    np.testing.assert_allclose(solution.ys, logistic_solution(ts), rtol=1e-5)


def test_a_given_jacobian_is_used_and_checked():
    given = BDF(jacobian=lambda t, y, args: jnp.diag(args * (1 - 2 * y)))
    solution = solve(logistic, jnp.array([0.25]), 3.0, 1e-8, 1e-8, None, 1.0, given)
    np.testing.assert_allclose(solution.ys[0, 0], logistic_solution(3.0), rtol=1e-6)
    assert solution.solver_state.chord.counts.jacobians < 10
    with pytest.raises(ValueError, match="shape"):
        solve(logistic, jnp.array([0.25]), 10.0, 1e-6, 1e-6, None, 1.0, BDF(jacobian=lambda t, y, args: jnp.eye(2)))


def test_bad_arguments():
    with pytest.raises(ValueError, match="max_order"):
        BDF(max_order=6)
    with pytest.raises(ValueError, match="root_find_max_steps"):
        BDF(root_find_max_steps=1)


def teacher_student():
    """Gradient flow of 10 tanh units on 4 inputs towards 4 teacher units, from small weights: a long plateau."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((500, 4)))
    target = jnp.tanh(x @ rng.standard_normal((4, 4))) @ rng.standard_normal(4)
    theta = jnp.asarray(1e-2 * rng.standard_normal(50))

    def loss(theta):
        return jnp.mean((jnp.tanh(x @ theta[:40].reshape(4, 10)) @ theta[40:] - target) ** 2) / 2

    return lambda t, theta, args: -jax.grad(loss)(theta), theta


def test_gradient_flow_over_a_long_plateau():
    field, theta = teacher_student()
    ours = solve(field, theta, 1e4, 1e-8, 1e-10)
    explicit = dfx.diffeqsolve(
        dfx.ODETerm(field),
        dfx.Dopri8(),
        0.0,
        1e4,
        None,
        theta,
        stepsize_controller=dfx.PIDController(rtol=1e-10, atol=1e-12),
        saveat=dfx.SaveAt(t1=True),
        max_steps=None,
    )
    assert explicit.ys is not None
    assert jnp.linalg.norm(ours.ys[0] - explicit.ys[0]) < 1e-5
    counts = ours.solver_state.chord.counts
    assert ours.stats["num_steps"] < 0.25 * explicit.stats["num_steps"]
    assert counts.evaluations < 2 * ours.stats["num_accepted_steps"]
    assert counts.jacobians < 0.05 * ours.stats["num_accepted_steps"]
