"""BDF: orders, differences, dense output, gradients, batches, precision, direction of time, failures."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from saddlescope.flows.solvers.bdf.bdf import BDF, State
from saddlescope.flows.solvers.bdf.chord import no_chord
from saddlescope.flows.solvers.bdf.differences import (
    ERROR,
    LEADING,
    ROWS,
    DifferenceInterpolation,
    append,
    predict,
)
from saddlescope.flows.solvers.tolerances import Tolerances


def solve(field, y0, t1, rtol, atol, dt0=None, args=None, solver=None, norm=optx.rms_norm, saveat=None) -> Any:
    """A solve whose numbers are all arrays, so that others do not compile it again."""
    numbers = jax.tree.map(jnp.asarray, (y0, t1, rtol, atol, dt0, args))
    return _solve(field, *numbers, solver, norm, saveat)


@eqx.filter_jit
def _solve(field, y0, t1, rtol, atol, dt0, args, solver, norm, saveat) -> Any:
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
def march(state, count, y0, rate):
    """y(1) and the state there, by `count` constant steps of the logistic equation, of the order of the first."""
    solver, term = BDF(root_finder=Tolerances(1e-13, 1e-13, optx.rms_norm)), dfx.ODETerm(logistic)
    # As if no step had been made at this order: it is not changed then.
    fixed = lambda new: eqx.tree_at(lambda s: s.equal_steps, new, state.equal_steps)  # noqa: E731

    def step(i, carry):
        y, _, _, state, _ = solver.step(term, i / count, (i + 1) / count, carry[0], rate, carry[1], False)
        return y, fixed(state)

    return jax.lax.fori_loop(0, count, step, (jnp.stack([y0]), state))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.fast_for("2", "3", "4", "5")
def test_order_of_convergence_at_constant_steps(order):
    errors = []
    for count in (32, 64):
        y, state = march(exact_state(order, 1.0 / count), jnp.asarray(count), jnp.asarray(0.25), jnp.asarray(1.0))
        assert state.order == order
        errors.append(float(jnp.abs(y[0] - logistic_solution(1.0))))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def predicted(differences, order, ratio):
    """The prediction of an integration under way."""
    return predict(differences, order, jnp.asarray(ratio), jnp.asarray(False), lambda: jnp.zeros((2, 1)))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_error_constants(order):
    # One step from an exact past misses the solution by ERROR ∇^(q+1) y / LEADING.
    h = 1e-2
    state, end = exact_state(order, h), logistic_solution(h)
    here = predicted(state.differences, jnp.asarray(order), 1.0)
    residual = (h / here.leading) * end * (1 - end) - here.psi - (end - here.p)
    difference = end - here.p
    assert here.leading == pytest.approx(LEADING[order])
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
    for ratio, tolerance in ((1.0, 1e-12), (0.3, 1e-12), (4.0, 1e-9)):
        step = 0.5 * ratio
        next_one = predicted(here, q, ratio)
        expected = differences(1.0 + step, step)
        np.testing.assert_allclose(
            append(next_one.differences, q, jnp.zeros(1)), expected, rtol=tolerance, atol=tolerance
        )
        np.testing.assert_allclose(next_one.p, expected[0], rtol=tolerance, atol=tolerance)
    dense = DifferenceInterpolation(jnp.asarray(0.5), jnp.asarray(1.0), here, q)
    np.testing.assert_allclose(dense.evaluate(jnp.asarray(0.7))[0], np.polyval(coefficients, 0.7), atol=1e-12)


def test_an_integration_begins_with_eulers_formula():
    # Whatever the differences are, p = y + hf, and the formula's derivative at the next point is f: ψ = hf / LEADING.
    rng = np.random.default_rng(0)
    past, (y, increment) = jnp.asarray(rng.standard_normal((ROWS, 3))), jnp.asarray(rng.standard_normal((2, 3)))
    first = predict(past, jnp.asarray(1), jnp.asarray(0.7), jnp.asarray(True), lambda: jnp.stack([y, increment]))
    np.testing.assert_allclose(first.p, y + increment, rtol=1e-14)
    np.testing.assert_allclose(first.psi, increment / LEADING[1], rtol=1e-14)
    np.testing.assert_allclose(first.differences[:2], [y + increment, increment], rtol=1e-14)
    assert not first.differences[2:].any()


@eqx.filter_jit
def evaluated(solution, ts, left=True):
    return jax.vmap(lambda t: solution.evaluate(t, left=left))(ts)[:, 0]


def test_dense_output_is_as_accurate_as_the_steps_and_continuous():
    ts = jnp.linspace(0.0, 10.0, 501)
    saveat = dfx.SaveAt(dense=True, steps=True)
    solution = solve(logistic, jnp.array([0.25]), 10.0, 1e-8, 1e-8, None, 1.0, saveat=saveat)
    at_steps = np.asarray(solution.ts[jnp.isfinite(solution.ts)])
    values = evaluated(solution, at_steps)
    np.testing.assert_allclose(values, solution.ys[: len(at_steps), 0], rtol=1e-14)
    right = evaluated(solution, at_steps, left=False)[:-1]
    np.testing.assert_allclose(right, values[:-1], rtol=1e-13)
    largest = np.max(np.abs(values - logistic_solution(at_steps)))
    assert np.max(np.abs(evaluated(solution, ts) - logistic_solution(ts))) < 2 * largest < 1e-6
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


@pytest.mark.slow
def test_batch_equals_loop():
    """Also of trees with a quadrature, under a norm that leaves it out, and in agreement with the solution."""
    rates, stiffness = np.array([0.5, 1.0, 1.5]), np.array([1.0, 1e3, 1e6])
    batch = jax.vmap(lambda rate, fast: solve_pair((rate, fast)))(rates, stiffness)
    got = np.array([leaf[2, 0] for leaf in jax.tree.leaves(batch.ys)])
    np.testing.assert_allclose(got, pair_solution(1.5), rtol=3e-6)
    assert batch.stats["num_steps"][2] < 200
    for i in range(3):
        alone = solve_pair((rates[i], stiffness[i]))
        assert batch.stats["num_steps"][i] == alone.stats["num_steps"]
        for a, b in zip(jax.tree.leaves(batch.ys), jax.tree.leaves(alone.ys), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-10)


# Slow beside the two below, which show the same for less compilation.
@pytest.mark.slow
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
    end = lambda y0, rate, count: march(state, count, jnp.asarray(y0), jnp.asarray(rate))[0][0]  # noqa: E731
    # Reverse differentiation wants to know the number of steps.
    grads = jax.jit(jax.grad(lambda y0, rate: end(y0, rate, 16), argnums=(0, 1)))(0.25, 1.0)
    for grad, dy, drate in zip(grads, (step, 0.0), (0.0, step), strict=True):
        up, down = (end(0.25 + sign * dy, 1.0 + sign * drate, jnp.asarray(16)) for sign in (1, -1))
        difference = up - down
        assert float(grad) == pytest.approx(float(difference / (2 * step)), rel=1e-7)


@pytest.mark.slow
def test_gradient_survives_steps_that_failed():
    # y' = -sqrt(y), y = (sqrt(y0) - t/2)²; the first step tried leads to the root of a negative number.
    def end(y0):
        return solve(lambda t, y, args: -jnp.sqrt(y), y0, 1.5, 1e-8, 1e-8, 1.5, saveat=dfx.SaveAt(t1=True)).ys[0]

    value, gradient = jax.jit(jax.value_and_grad(end))(1.0)
    assert value == pytest.approx(0.0625, rel=1e-5)
    assert gradient == pytest.approx(0.25, rel=1e-4)


@pytest.mark.slow
def test_single_precision():
    u0, tolerance = jnp.float32(0.25), jnp.float32(1e-5)
    y0, args = ((u0, u0**2), jnp.float32(0)), (jnp.float32(1.5), jnp.float32(1e4))
    saveat = dfx.SaveAt(t1=True)
    solution = solve(stiff_pair, y0, jnp.float32(4), tolerance, tolerance, None, args, norm=pair_norm, saveat=saveat)
    leaves = jax.tree.leaves(solution.ys)
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    assert solution.stats["num_steps"] < 100
    np.testing.assert_allclose([leaf[0] for leaf in leaves], pair_solution(1.5), rtol=3e-4)


@eqx.filter_jit
def one_step(field, solver, length):
    """The result code of a step of a length from y = 1."""
    y0 = jnp.asarray(1.0)
    return solver.step(field, 0.0, length, y0, None, solver.init(field, 0.0, length, y0, None), False)[4]


def test_failure_at_constant_steps_is_reported():
    # y = (1 - t/2)²; one step of length 1.9 would have to end at a root of a negative number.
    field, solver = dfx.ODETerm(lambda t, y, args: -jnp.sqrt(y)), BDF(root_finder=Tolerances(1e-6, 1e-6, optx.rms_norm))
    assert one_step(field, solver, 1.9) == dfx.RESULTS.promote(optx.RESULTS.nonlinear_divergence)


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


@eqx.filter_jit
def logistic_step(state, made_jump):
    return BDF(root_finder=Tolerances(1e-9, 1e-9, optx.rms_norm)).step(
        dfx.ODETerm(logistic), 0.0, 1e-2, jnp.array([0.25]), jnp.asarray(1.0), state, made_jump
    )


def test_after_a_jump_the_past_does_not_count():
    """The step is that of an integration that begins there, whatever the differences were."""
    past = exact_state(4, 1e-2)
    past = eqx.tree_at(lambda state: state.differences, past, 2 * past.differences)
    here = eqx.tree_at(lambda state: state.h, exact_state(1, 1e-2), jnp.asarray(jnp.inf))
    jumped, begun = logistic_step(past, jnp.asarray(True)), logistic_step(here, jnp.asarray(False))
    np.testing.assert_array_equal(jumped[0], begun[0])
    assert float(jumped[0][0]) == pytest.approx(float(logistic_solution(1e-2)), abs=1e-4)
    assert jumped[3].order <= 2
    np.testing.assert_array_equal(jumped[3].differences, begun[3].differences)


@pytest.mark.slow
def test_backwards_in_time_to_given_times_by_a_given_jacobian():
    ts = jnp.array([2.0, 1.0, 0.0])
    given = BDF(jacobian=lambda t, y, args: jnp.reshape(1 - 2 * y, (1, 1)))
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, args: y * (1 - y)),
        given,
        3.0,
        0.0,
        None,
        logistic_solution(3.0),
        stepsize_controller=dfx.PIDController(rtol=1e-8, atol=1e-8),
        saveat=dfx.SaveAt(ts=ts, solver_state=True),
    )
    np.testing.assert_allclose(solution.ys, logistic_solution(ts), rtol=1e-5)
    assert solution.solver_state.newton.counts.jacobians < 10
    with pytest.raises(ValueError, match="shape"):
        solve(logistic, jnp.array([0.25]), 10.0, 1e-6, 1e-6, None, 1.0, BDF(jacobian=lambda t, y, args: jnp.eye(2)))


def valley(t, y, stiffness):
    """Descent from a saddle at the origin, the gradient of x² / 2 - x⁴ / 4 and of 40 stiff bonds to x."""
    forces = jnp.geomspace(1.0, stiffness, 40) * (y[1:] - y[0])
    return jnp.concatenate([(y[0] - y[0] ** 3 + jnp.sum(forces))[None], -forces])


@pytest.mark.slow
def test_without_a_matrix_the_steps_are_those_with_one():
    """The same formula, solved to the same tolerance."""
    y0, work = jnp.full(41, 1e-3), {}
    for free in (False, True):
        solver = BDF(matrix_free=free)
        solution = solve(valley, y0, 600.0, 1e-7, 1e-10, None, jnp.asarray(1e4), solver)
        assert solution.result == dfx.RESULTS.successful
        work[free] = solution
    ends = [np.asarray(work[free].ys[0]) for free in work]
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-5)
    np.testing.assert_allclose(ends[1], 1.0, rtol=1e-5)
    steps = [int(work[free].stats["num_steps"]) for free in work]
    assert steps[1] == pytest.approx(steps[0], rel=0.15)
    newton = work[True].solver_state.newton
    assert newton.evaluations < 2 * steps[1]


def test_a_step_that_growth_makes_indefinite_is_shortened():
    # At rate 1 a step of c > 1 makes I - cJ indefinite, at which conjugate gradients give up.
    field = dfx.ODETerm(lambda t, y, args: y)
    options = {"throw": False, "max_steps": 1000, "saveat": dfx.SaveAt(t1=True)}
    constant = BDF(root_finder=Tolerances(1e-6, 1e-6, optx.rms_norm), matrix_free=True)
    assert one_step(field, constant, 3.0) == dfx.RESULTS.promote(optx.RESULTS.nonlinear_divergence)
    controller = dfx.PIDController(rtol=1e-8, atol=1e-8)
    solution = dfx.diffeqsolve(
        field, BDF(matrix_free=True), 0.0, 3.0, 3.0, jnp.asarray(1.0), stepsize_controller=controller, **options
    )
    assert solution.ys is not None
    assert float(solution.ys[0]) == pytest.approx(np.exp(3.0), rel=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="either `matrix_free` or `jacobian`"):
        BDF(matrix_free=True, jacobian=lambda t, y, args: jnp.eye(1))
    with pytest.raises(ValueError, match="max_order"):
        BDF(max_order=6)
    with pytest.raises(ValueError, match="root_find_max_steps"):
        BDF(root_find_max_steps=1)


def test_a_step_makes_a_small_share_of_the_error_that_it_may():
    """Of y′ = −y, against its exact solution from the step's start: at least five times smaller on average."""

    @jax.jit
    def solved(rtol):
        controller = dfx.PIDController(rtol=rtol, atol=1e-14)
        field, start, saved = dfx.ODETerm(lambda t, y, args: -y), jnp.ones(1), dfx.SaveAt(t0=True, steps=True)
        return dfx.diffeqsolve(
            field, BDF(), 0.0, 8.0, None, start, stepsize_controller=controller, saveat=saved, max_steps=512
        )

    for rtol in (1e-4, 1e-6):
        solution = solved(rtol)
        taken = int(solution.stats["num_accepted_steps"]) + 1
        ts, ys = np.asarray(solution.ts)[:taken], np.asarray(solution.ys)[:taken, 0]
        errors = np.abs(ys[1:] - ys[:-1] * np.exp(-np.diff(ts))) / (rtol * ys[1:])
        assert 0.01 < np.mean(errors[10:]) < 0.2
