"""BDF on stiff problems with known solutions, on a gradient flow, and continued after a stop."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from saddlescope.flows.solvers import BDF
from saddlescope.flows.solvers.controller import ResumableController
from scipy.integrate import solve_ivp

from stiff_fields import ENDS, FIELDS, any_of, hires, padded, robertson, unpadded_norm, van_der_pol

# Field, start, end, scale of the absolute tolerance. Hairer & Wanner (1996), section IV.10.
PROBLEMS = {
    "robertson": (robertson, [1.0, 0.0, 0.0], 1e11, 1e-10),
    "van der pol": (van_der_pol, [2.0, 0.0], 2.0, 1.0),
    "hires": (hires, [1.0, 0, 0, 0, 0, 0, 0, 0.0057], 321.8122, 1e-2),
}


@eqx.filter_jit
def solve(field, y0, t1, rtol, atol, args=None, norm=optx.rms_norm) -> Any:
    return dfx.diffeqsolve(
        dfx.ODETerm(field),
        BDF(),
        0.0,
        t1,
        None,
        y0,
        args,
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=atol, norm=norm),
        saveat=dfx.SaveAt(t1=True, solver_state=True),
        max_steps=4096,
        throw=False,
    )


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.fast_for("hires")
def test_stiff_problems_reach_the_reference_with_no_more_work_than_scipy(name):
    field, y0, t1, small = PROBLEMS[name]
    rtol, reference = 1e-6, np.array(ENDS[name])
    atol = rtol * small
    number = jnp.asarray(list(FIELDS).index(name))
    solution = solve(any_of, padded(y0), *map(jnp.asarray, (t1, rtol, atol)), number, unpadded_norm)
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
    assert error(np.asarray(solution.ys[0, : len(y0)])) < max(10.0, 3 * error(theirs.y[:, -1]))
    counts = solution.solver_state.newton.counts
    assert solution.stats["num_steps"] <= 1.3 * (len(theirs.t) - 1)
    assert counts.evaluations <= 0.75 * theirs.nfev
    assert counts.jacobians <= theirs.njev
    assert counts.factorisations <= theirs.nlu


def teacher_student():
    """Gradient flow of 10 tanh units on 4 inputs towards 4 teacher units, from small weights: a long plateau."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((100, 4)))
    target = jnp.tanh(x @ rng.standard_normal((4, 4))) @ rng.standard_normal(4)
    theta = jnp.asarray(1e-2 * rng.standard_normal(50))

    def loss(theta):
        return jnp.mean((jnp.tanh(x @ theta[:40].reshape(4, 10)) @ theta[40:] - target) ** 2) / 2

    return lambda t, theta, args: -jax.grad(loss)(theta), theta


@pytest.mark.slow
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
    counts = ours.solver_state.newton.counts
    assert ours.stats["num_steps"] < 0.25 * explicit.stats["num_steps"]
    assert counts.evaluations < 2 * ours.stats["num_accepted_steps"]
    assert counts.jacobians < 0.05 * ours.stats["num_accepted_steps"]


@eqx.filter_jit
def chunk(t0, dt0, y0, solver_state, controller_state, max_steps) -> Any:
    return dfx.diffeqsolve(
        dfx.ODETerm(robertson),
        BDF(),
        t0,
        40.0,
        dt0,
        y0,
        stepsize_controller=ResumableController(dfx.PIDController(rtol=1e-6, atol=1e-10)),
        saveat=dfx.SaveAt(steps=True, solver_state=True, controller_state=True),
        solver_state=solver_state,
        controller_state=controller_state,
        max_steps=max_steps,
        throw=False,
    )


@pytest.mark.slow
def test_continuation_is_exact_to_the_bit():
    start = jnp.asarray(0.0), jnp.asarray(1e-4), jnp.array([1.0, 0.0, 0.0])
    field, controller = dfx.ODETerm(robertson), ResumableController(dfx.PIDController(rtol=1e-6, atol=1e-10))
    states = eqx.filter_jit(
        lambda: (
            BDF().init(field, 0.0, 1e-4, start[2], None),
            controller.init(field, start[0], 40.0, start[2], start[1], None, None, 2)[1],
        )
    )()
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
