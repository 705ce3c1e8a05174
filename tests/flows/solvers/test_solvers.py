"""Laws that every solver of ours must keep, over the registry of solvers."""

import functools
import itertools

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
import scipy.integrate
from jax.flatten_util import ravel_pytree
from saddlescope.flows import half_squared_error, simulate
from saddlescope.flows.solvers import ExponentialRosenbrock, KrylovRosenbrock, Rodas5P
from saddlescope.flows.solvers.tolerances import Tolerances
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.quick import quickly_compiled
from saddlescope.models.units import with_units

from solver_cases import SOLVERS
from stiff_fields import ENDS, hires, robertson, van_der_pol

STIFF_SOLVERS = [name for name, case in SOLVERS.items() if case.general and case.stiff]


def cases(*names, fast):
    """Parameters of a test, one or all combinations of several; compilation is long, and those not `fast` are slow."""
    combinations = list(itertools.product(*names)) if len(names) > 1 else list(names[0])
    return [
        pytest.param(*([c] if isinstance(c, str) else c), marks=() if c in fast else pytest.mark.slow)
        for c in combinations
    ]


# Solvers of one class share the code that batching and differentiation go through, and its compilation is long.
ONE_OF_EACH = list({(type(case.flow), "free" in name): name for name, case in SOLVERS.items()}.values())


def potential(theta):
    return jnp.sum(jnp.cos(theta)) + 0.3 * jnp.sum(theta**2) * jnp.sum(jnp.sin(theta)) + 0.1 * jnp.sum(theta) ** 4


def descent(t, state, args):
    """A nonlinear gradient flow with its dissipated energy."""
    gradient = jax.grad(potential)(state[0])
    return -gradient, jnp.sum(gradient**2)


def driven(t, y, args):
    """A field that depends on time, with a Jacobian that is not symmetric."""
    return {"x": -(y["x"] ** 2) * y["z"] + jnp.sin(t), "z": y["x"] - y["z"] ** 3 + 0.3 * t * y["z"]}


START = (jnp.array([0.3, 0.2, -0.5]), jnp.array(0.0))
DRIVEN_START = {"x": jnp.array(1.2), "z": jnp.array(0.7)}
TIGHT = dfx.PIDController(rtol=1e-13, atol=1e-14)
# Between two steps, away from any end.
BETWEEN = 1.37


def solve(field, start, solver, t1, dt, controller, saveat=dfx.SaveAt(t1=True), max_steps=10_000):  # noqa: B008
    """A solve whose numbers are all arrays, so that others do not compile it again."""
    dtype = jax.tree.leaves(start)[0].dtype
    numbers = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, dtype) if isinstance(x, float) else x, tree)  # noqa: E731
    return _solve(field, start, solver, numbers(t1), numbers(dt), numbers(controller), saveat, max_steps)


@eqx.filter_jit
def _solve(field, start, solver, t1, dt, controller, saveat, max_steps):
    term = dfx.ODETerm(field)
    # Programs that may throw are compiled anew by every process. What failed is far from what is expected.
    return dfx.diffeqsolve(
        term,
        solver,
        0.0,
        t1,
        dt,
        start,
        saveat=saveat,
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )


def flat_end(solution):
    return ravel_pytree(jax.tree.map(lambda leaf: leaf[-1], solution.ys))[0]


def constant_steps(field, start, solver, count):
    """The end and a point between two steps, with steps of constant length."""
    if isinstance(solver, KrylovRosenbrock):
        tolerances = Tolerances(rtol=1e-13, atol=1e-15, norm=optx.rms_norm)
        solver = KrylovRosenbrock(solver.order(None), solver.quadratures, root_finder=tolerances)
    saveat = dfx.SaveAt(t1=True, dense=True)
    dt = jnp.asarray(2.0 / count)
    solution = solve(field, start, solver, 2.0, dt, dfx.ConstantStepSize(), saveat, max_steps=512)
    return flat_end(solution), ravel_pytree(solution.evaluate(BETWEEN))[0]


@functools.cache
def reference(problem, t1=2.0):
    """The end of a problem's solution by an explicit method of order 8."""
    field, start = {"descent": (descent, START), "driven": (driven, DRIVEN_START)}[problem]
    return flat_end(solve(field, start, dfx.Dopri8(), t1, 0.01, TIGHT))


# Krylov methods have the coefficients of the exponential ones; Chebyshev methods are in test_stabilised, the orders of
# BDF in test_bdf.
ORDERS = {("rodas5p", "driven"), ("exponential-5", "driven")}
WITH_ORDER = [name for name, case in SOLVERS.items() if case.order]


@pytest.mark.parametrize(("name", "problem"), cases(WITH_ORDER, ["descent", "driven"], fast=ORDERS))
def test_order_of_convergence(name, problem):
    """At constant steps errors go with the order's power of the step, those of dense output with one less at least."""
    case = SOLVERS[name]
    if problem == "driven" and not case.general:
        pytest.skip("needs a symmetric Jacobian")
    # So many steps that the next order's share is small, so few that rounding is smaller still.
    field, start, solver, counts = (
        (descent, START, case.flow, (192, 384))
        if problem == "descent"
        else (driven, DRIVEN_START, case.plain, (48, 96))
    )
    errors, expected = [], [reference(problem), reference(problem, BETWEEN)]
    for count in counts:
        found = constant_steps(field, start, solver, count)
        errors.append([np.linalg.norm(a - b) for a, b in zip(found, expected, strict=True)])
    orders = np.log2(np.array(errors[0]) / np.array(errors[1]))
    assert abs(orders[0] - case.order) < 0.1
    # Dense output is allowed one order less, and no more.
    assert orders[1] > case.order - 1.1


def wide_model():
    """A two-layer linear network with a zero unit and two equal ones, and data that it cannot fit exactly."""
    model = TwoLayer(Dense(linear, inputs=3, outputs=2), width=5, scale=0.1, key=jax.random.key(0))
    u, v = model.u, model.v
    u, v = (rows.at[1].set(rows[0]).at[2].set(0.0) for rows in (u, v))
    x = jax.random.normal(jax.random.key(1), (12, 3))
    y = x @ jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) + 0.1 * jax.random.normal(jax.random.key(2), (12, 2))
    return with_units(model, u, v), (x, y)


@pytest.fixture(scope="module")
def true_flow():
    model, data = wide_model()
    return simulate(model, half_squared_error, data, t1=20.0, solver=dfx.Dopri8(), rtol=1e-11)


# By the Hessian's eigenvectors, and by its products; what solves with it as a matrix, BDF, ends the flows of all other
# tests, and those that do without have test_stabilised.
@pytest.mark.parametrize("name", cases(SOLVERS, fast={"exponential-4", "bdf-matrix-free"}))
def test_flows_keep_their_laws(name, true_flow):
    """Energy, loss, balancedness, equal and zero units, and agreement with a more accurate flow."""
    model, data = wide_model()
    rtol = SOLVERS[name].rtol
    flow = simulate(model, half_squared_error, data, t1=20.0, solver=SOLVERS[name].flow, rtol=rtol)
    assert not flow.result.failed
    # The same flow as an explicit method of order 8 makes a thousand times more accurately.
    distance = np.linalg.norm(flow.thetas[-1] - true_flow.thetas[-1]) / np.linalg.norm(true_flow.thetas[-1])
    assert distance < 100 * rtol
    # The loss falls by what is dissipated, and never rises but by rounding.
    assert flow.energy_error < 1000 * rtol
    assert np.all(np.diff(flow.losses) <= 1e-14 * flow.losses[0])
    start, end = (m.u @ m.u.T - m.v @ m.v.T for m in (model, flow.final_model))
    np.testing.assert_allclose(end, start, atol=100 * rtol)
    # Equal units stay equal and a zero unit stays zero, up to rounding that the flow amplifies.
    u = flow.final_model.u
    assert float(jnp.max(jnp.abs(u[1] - u[0]))) < 1e-10
    assert float(jnp.max(jnp.abs(u[2]))) < 1e-10


# Start, horizon, absolute tolerance. Hairer & Wanner (1996), sections IV.1 and IV.10.
STIFF = {
    "robertson": (robertson, [1.0, 0.0, 0.0], 40.0, 1e-12),
    "robertson-long": (robertson, [1.0, 0.0, 0.0], 1e11, 1e-19),
    "van-der-pol": (van_der_pol, [2.0, -0.66], 2.0, 1e-6),
    "hires": (hires, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057], 321.8122, 1e-9),
}


@functools.cache
def peer(problem, method, rtol, atol):
    """What SciPy makes of a stiff problem."""
    field, start, t1, _ = STIFF[problem]
    right, jacobian = jax.jit(lambda y: field(0.0, y, None)), jax.jit(jax.jacfwd(lambda y: field(0.0, y, None)))
    options = {"jac": lambda t, y: np.asarray(jacobian(y)), "rtol": rtol, "atol": atol}
    return scipy.integrate.solve_ivp(lambda t, y: np.asarray(right(y)), (0, t1), start, method=method, **options)


# BDF has all three in test_bdf_problems, Chebyshev methods in test_stabilised.
STIFFEST = {("rodas5p", "robertson"), ("rodas5p", "robertson-long")}


@pytest.mark.parametrize(("name", "problem"), cases(STIFF_SOLVERS, STIFF, fast=STIFFEST))
@pytest.mark.fast_for("rodas5p-robertson-long")
def test_classical_stiff_problems(name, problem):
    """Accurate to 100 times the tolerance, in steps of the number of SciPy's BDF, whose counts are the usual ones."""
    if problem == "robertson-long" and isinstance(SOLVERS[name].plain, ExponentialRosenbrock):
        pytest.skip("exponentials of a general matrix of norm 1e14 lose its slow directions")
    field, start, t1, atol = STIFF[problem]
    known = {"robertson-long": ENDS["robertson"], "hires": ENDS["hires"]}
    expected = np.array(known[problem]) if problem in known else peer(problem, "Radau", 1e-11, 1e-5 * atol).y[:, -1]
    controller = dfx.PIDController(rtol=1e-6, atol=atol)
    solution = solve(field, jnp.array(start), SOLVERS[name].plain, t1, 1e-6, controller)
    scale = 100 * (1e-6 * np.abs(expected) + atol)
    assert np.all(np.abs(flat_end(solution) - expected) < scale)
    assert solution.stats["num_steps"] < 2 * len(peer(problem, "BDF", 1e-6, atol).t)


def end(solver, scale):
    options = {"stepsize_controller": dfx.PIDController(rtol=1e-6, atol=1e-8), "throw": False}
    solution = dfx.diffeqsolve(dfx.ODETerm(descent), solver, 0.0, 2.0, 0.01, (scale * START[0], START[1]), **options)
    return solution.ys[0][0]


@functools.cache
def true_derivative():
    """By a difference quotient of flows so accurate that the choice of their steps does not show."""
    far, near = (
        flat_end(solve(descent, (a * START[0], START[1]), dfx.Dopri8(), 2.0, 0.01, TIGHT)) for a in (1.001, 0.999)
    )
    return jnp.sum(far[:3] - near[:3]) / 0.002


# Also in test_bdf and, for an explicit method, in test_stabilised.
@pytest.mark.parametrize("name", cases(ONE_OF_EACH, fast={"rodas5p"}))
@pytest.mark.slow
def test_many_at_once_and_derivatives(name):
    """A batch is a loop, and the derivative by reverse differentiation that of the flow."""
    solver = SOLVERS[name].flow
    scales = jnp.array([1.0, 0.7])
    batched = quickly_compiled(eqx.filter_vmap(end, in_axes=(None, 0)), eqx.filter_jit)(solver, scales)
    alone = quickly_compiled(
        eqx.filter_value_and_grad(lambda scale, solver: jnp.sum(end(solver, scale))), eqx.filter_jit
    )
    values, derivatives = zip(*(alone(scale, solver) for scale in scales), strict=True)
    np.testing.assert_allclose(jnp.sum(batched, axis=-1), values, rtol=1e-9)
    # Of a flow at rtol 1e-6 by methods of order 2 and more.
    np.testing.assert_allclose(derivatives[0], true_derivative(), rtol=1e-3)


def kinked(t, y, place):
    """A velocity that doubles at a place, beside a stiff component."""
    return jnp.stack([jnp.where(y[0] < place, 1.0, 2.0), -100.0 * (y[1] - jnp.cos(t))])


# One of each way to estimate the error: the last difference, an embedded solution, an extrapolation, Chebyshev's own.
@pytest.mark.parametrize("name", cases(SOLVERS, fast={"bdf", "rkc2"}))
@pytest.mark.slow
def test_a_kink_anywhere_in_a_step_is_noticed(name):
    """A step with all its stages before the kink must not pass for a good one."""
    tolerance, places = 1e-6, jnp.linspace(0.05, 1.5, 200)

    @jax.jit
    def end(place):
        options = {"args": place, "stepsize_controller": dfx.PIDController(tolerance, tolerance), "max_steps": 20_000}
        options["throw"] = False
        return dfx.diffeqsolve(dfx.ODETerm(kinked), SOLVERS[name].plain, 0.0, 2.0, 1e-3, jnp.zeros(2), **options).ys

    errors = jnp.abs(jax.vmap(end)(places)[:, 0, 0] - (places + 2 * (2 - places)))
    assert jnp.max(errors) < 100 * tolerance
    assert jnp.mean(errors) < 20 * tolerance


# The others of the fast tests' in test_bdf and test_stabilised.
@pytest.mark.parametrize("name", cases(ONE_OF_EACH, fast={"rodas5p"}))
@pytest.mark.slow
def test_single_precision(name):
    """Nothing is promoted, and the solution is right to the tolerance's order."""
    start = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), START)
    controller = dfx.PIDController(rtol=1e-4, atol=1e-5)
    found = solve(descent, start, SOLVERS[name].flow, 2.0, jnp.float32(0.01), controller)
    assert flat_end(found).dtype == jnp.float32
    np.testing.assert_allclose(flat_end(found), reference("descent"), rtol=1e-2)


def test_bad_settings_raise():
    with pytest.raises(ValueError, match="order 4 and 5 here; got 3"):
        ExponentialRosenbrock(3)
    with pytest.raises(ValueError, match="order 4 and 5 here; got 6"):
        KrylovRosenbrock(6)
    with pytest.raises(ValueError, match="set symmetric=True"):
        ExponentialRosenbrock(5, quadratures=1)
    with pytest.raises(ValueError, match="max_vectors must be at least 2; got 1"):
        KrylovRosenbrock(5, max_vectors=1)
    with pytest.raises(ValueError, match="quadratures must be at least 0 and below .* 4; got 4"):
        solve(descent, START, Rodas5P(quadratures=4), 1.0, 0.1, TIGHT)
    with pytest.raises(ValueError, match=r"shape \(4, 4\); the given function's is \(2, 2\)"):
        solve(descent, START, Rodas5P(jacobian=lambda t, y, args: jnp.eye(2)), 1.0, 0.1, TIGHT)


# BDF's in test_bdf.
@pytest.mark.parametrize("name", cases(ONE_OF_EACH, fast={"rkc2"}))
def test_backwards_in_time(name):
    """Of a logistic growth at a rate t, whose logit grows by t²/2."""
    controller = dfx.PIDController(rtol=1e-8, atol=1e-10)
    logistic = dfx.ODETerm(lambda t, y, args: t * y * (1 - y))
    rate = lambda y: jnp.log(y / (1 - y))  # noqa: E731
    solution = dfx.diffeqsolve(
        logistic,
        SOLVERS[name].plain,
        2.0,
        1.0,
        -0.01,
        jnp.array([0.9]),
        stepsize_controller=controller,
        max_steps=20_000,
        throw=False,
    )
    np.testing.assert_allclose(rate(solution.ys[0]), rate(0.9) - 1.5, rtol=1e-5)
