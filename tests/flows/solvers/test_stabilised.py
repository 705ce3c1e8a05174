"""Stabilised explicit solvers: order, intervals of stability, spectral radius, stiff problems, gradient flows."""

from functools import partial

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from saddlescope.flows import GradientFlow, Landscape, simulate
from saddlescope.flows.solvers import BDF
from saddlescope.flows.solvers.bdf.bdf import State
from saddlescope.flows.solvers.bdf.chord import no_chord
from saddlescope.flows.solvers.bdf.newton_krylov import NewtonKrylov
from saddlescope.flows.solvers.exponential.krylov import KrylovState
from saddlescope.flows.solvers.stabilised.extrapolated_rkc import ExtrapolatedRKC
from saddlescope.flows.solvers.stabilised.rkc2 import RKC2
from saddlescope.flows.solvers.stabilised.solver import StabilisedState
from saddlescope.flows.solvers.stabilised.spectral_radius import (
    SpectralRadius,
    cold_start,
    power_iteration,
    sharpness,
)
from scipy.integrate import solve_ivp

from stiff_fields import FIELDS, any_of, hires, padded, robertson, unpadded_norm, van_der_pol

SOLVERS = {"rkc2": RKC2, "extrapolated": ExtrapolatedRKC}
ORDERS = {"rkc2": 2, "extrapolated": 4}
# Length of the interval of stability over the square of the number of stages.
INTERVALS = {"rkc2": 0.65, "extrapolated": 0.58}
# Error at the end of a long flow over the tolerance of each of its hundreds of steps.
GAINS = {"rkc2": 20, "extrapolated": 2}
# Steps to t = 2, few enough for the error to stay above rounding.
STEPS = {"rkc2": (80, 160, 320), "extrapolated": (40, 80, 160)}
each_solver = pytest.mark.parametrize("name", SOLVERS)
# What both inherit, and what the second makes by steps of the first, is tested on the second; on the first when slow.
shared = pytest.mark.parametrize("name", [pytest.param("rkc2", marks=pytest.mark.slow), "extrapolated"])


def solve(field, solver, y0, t1, dt=None, tolerances=None, args=None, **options):
    """A solve with constant steps dt, or with adaptive steps and tolerances (rtol, atol), its numbers all arrays."""
    dtype = jnp.result_type(float if isinstance(t1, float) else t1)
    t1, dt, tolerances = jax.tree.map(lambda x: jnp.asarray(x, dtype), (t1, dt, tolerances))
    return _solve(field, solver, y0, t1, dt, tolerances, args, **options)


@eqx.filter_jit
def _solve(field, solver, y0, t1, dt, tolerances, args, norm=optx.rms_norm, **options):
    controller = dfx.ConstantStepSize() if tolerances is None else dfx.PIDController(*tolerances, norm=norm)
    options = {"saveat": dfx.SaveAt(t1=True, solver_state=True, controller_state=True), "max_steps": 20_000} | options
    return dfx.diffeqsolve(
        dfx.ODETerm(field), solver, 0.0, t1, dt, y0, args, stepsize_controller=controller, throw=False, **options
    )


def forced_predator(t, y, args):
    prey, predator = y["prey"], y["predator"]
    return {
        "prey": prey * (1 - predator) * (1 + 0.3 * jnp.sin(t)),
        "predator": predator * (prey[0] - prey[1]) + 0.1 * jnp.cos(2 * t) * prey[0] ** 2,
    }


PREDATORS = {"prey": jnp.array([1.0, 2.0]), "predator": jnp.array(0.5)}


@pytest.fixture(scope="module")
def predators_at_2():
    return solve(forced_predator, dfx.Dopri8(), PREDATORS, 2.0, None, (1e-13, 1e-13)).ys


def distance(a, b):
    return max(float(jnp.max(jnp.abs(x - y))) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@each_solver
@pytest.mark.parametrize("safety", [1.0, 1000.0])
@pytest.mark.fast_for("1.0-extrapolated", "1000.0-extrapolated", "1000.0-rkc2")
def test_order_of_convergence(name, safety, predators_at_2):
    # A large safety factor makes for many stages: the order must hold for them as for few.
    solver = SOLVERS[name](safety=jnp.asarray(safety))
    errors = [
        distance(solve(forced_predator, solver, PREDATORS, 2.0, jnp.asarray(2.0 / n)).ys, predators_at_2)
        for n in STEPS[name]
    ]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert slopes == pytest.approx(ORDERS[name], abs=0.1)


@shared
def test_dense_output_is_the_cubic_of_both_ends(name):
    """With values and slopes of the ends a, b: at the middle $(a + b)/2 + h (a' - b')/8$."""
    solver, h, y0 = SOLVERS[name](), 0.3, jnp.array([1.0, 0.5])
    field = lambda t, y, args: -(y**2) + jnp.cos(t)  # noqa: E731
    term = dfx.ODETerm(field)

    @jax.jit
    def halfway(y0):
        state = solver.init(term, 0.0, h, y0, None)
        y1, _, dense, _, _ = solver.step(term, 0.0, h, y0, None, state, False)
        return y1, solver.interpolation_cls(t0=0.0, t1=h, **dense).evaluate(h / 2)

    y1, found = halfway(y0)
    expected = (y0 + y1) / 2 + h * (field(0.0, y0, None) - field(h, y1, None)) / 8
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.slow
@shared
def test_order_of_dense_output(name, predators_at_2):
    reference = solve(
        forced_predator, dfx.Dopri8(), PREDATORS, 2.0, None, (1e-13, 1e-13), saveat=dfx.SaveAt(dense=True)
    )
    times = jnp.linspace(0.0, 2.0, 1999)
    expected = jax.vmap(reference.evaluate)(times)
    errors = []
    for n in STEPS[name][1:] + (2 * STEPS[name][-1],):
        saveat = dfx.SaveAt(ts=times)
        found = solve(forced_predator, SOLVERS[name](), PREDATORS, 2.0, jnp.asarray(2.0 / n), saveat=saveat).ys
        errors.append(distance(found, expected))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(slopes > ORDERS[name] - 0.2)


@partial(jax.jit, static_argnums=0)
def linear_step(make, products, safety):
    """One step of length 1 on y' = zy for each product z: the stability polynomial, and the stages taken."""
    solver = make(max_stages=200)

    def step(z, safety):
        term, y0 = dfx.ODETerm(lambda t, y, args: z * y), jnp.ones(1)
        # An unknown safety factor is not checked.
        pushed = eqx.tree_at(lambda solver: solver.safety, solver, safety)
        state = pushed.init(term, 0.0, 1.0, y0, None)
        y1, _, _, state, _ = pushed.step(term, 0.0, 1.0, y0, None, state, False)
        spent = state.evaluations - 1
        return y1[0], spent if isinstance(solver, RKC2) else (spent + 2) // 6

    return jax.vmap(step)(products, safety)


# As many products as are looked at in one call, so that the other's program is the same.
COUNT = 4000


@each_solver
@pytest.mark.fast_for("extrapolated")
def test_stability_polynomial_is_bounded_on_the_whole_interval(name):
    z = -jnp.concatenate([jnp.linspace(0.01, 100, 1000), jnp.geomspace(100, INTERVALS[name] * 199**2, COUNT - 1000)])
    value, stages = linear_step(SOLVERS[name], z, jnp.ones(COUNT))
    assert jnp.max(jnp.abs(value)) < 1
    assert jnp.all(stages <= 200)
    # Every number of stages is pushed to the end of its interval, and no more stages are taken than it needs.
    assert jnp.all((stages <= 6) | (INTERVALS[name] * (stages - 2) ** 2 < 1.1 * -z))


@each_solver
def test_stability_polynomial_approximates_the_exponential(name):
    z = -(0.5 ** np.arange(3, 6))
    for stiffness in (0.0, 100.0):  # the safety factor makes each step take the stages of hρ = 100, many and equal
        products = np.resize(z, COUNT)
        values = linear_step(SOLVERS[name], products, np.maximum(1.0, stiffness / -products))[0][: len(z)]
        errors = np.abs(values - np.exp(z))
        assert np.log2(errors[:-1] / errors[1:]) == pytest.approx(ORDERS[name] + 1, abs=0.1)


def test_spectral_radius_of_random_symmetric_matrices():
    # Eigenvalues of both signs are nearly as large as each other here: the hardest case for a power iteration.
    matrices = jax.random.normal(jax.random.key(1), (200, 40, 40))
    matrices = matrices + jnp.swapaxes(matrices, 1, 2)
    exact = jnp.max(jnp.abs(jnp.linalg.eigvalsh(matrices)), axis=1)

    def estimates(matrix):
        first = power_iteration(lambda v: matrix @ v, cold_start(40, matrix.dtype), jnp.zeros(40))
        warm = lambda known, _: (power_iteration(lambda v: matrix @ v, known, jnp.zeros(40)), None)  # noqa: E731
        return first.radius, jax.lax.scan(warm, first, length=30)[0].radius

    first, later = jax.jit(jax.vmap(estimates))(matrices)
    assert jnp.all(first <= exact * (1 + 1e-12)) and jnp.all(later <= exact * (1 + 1e-12))  # lower bounds
    assert jnp.mean(first > exact / 1.1) >= 0.99
    assert jnp.all(later > exact / 1.1)


def teacher_student(teacher_units=4, students=10, samples=500, scale=1e-2):
    """A tanh network that learns another one."""
    keys = jax.random.split(jax.random.key(0), 5)
    x = jax.random.normal(keys[0], (samples, 4))
    y = jnp.tanh(x @ jax.random.normal(keys[1], (4, teacher_units))) @ jax.random.normal(keys[2], (teacher_units,))
    w = scale * jax.random.normal(keys[3], (students, 4))
    a = scale * jax.random.normal(keys[4], (students,))

    def loss(model, data):
        return jnp.mean((jnp.tanh(data[0] @ model[0].T) @ model[1] - data[1]) ** 2)

    return Landscape((w, a), loss, (x, y))


def of_parameters(scaled_error):
    return jnp.sqrt(jnp.mean(scaled_error[0] ** 2))


def solve_flow(landscape, solver, t1, tolerances, **options):
    """A solve of a gradient flow, the energy without a say in the step length."""
    # Programs that may throw are compiled anew by every process. What failed is far from what is expected.
    options = {"saveat": dfx.SaveAt(t1=True, solver_state=True), "max_steps": 50_000, "throw": False} | options
    controller = dfx.PIDController(*tolerances, norm=of_parameters)
    field, state = dfx.ODETerm(GradientFlow(landscape)), (jnp.asarray(landscape.theta), jnp.zeros(()))
    return eqx.filter_jit(dfx.diffeqsolve)(
        field, solver, 0.0, t1, None, state, stepsize_controller=controller, **options
    )


@pytest.fixture(scope="module")
def plateau():
    """The teacher–student flow's end at t = 1e4 by BDF, and the evaluations that Tsit5 spends at 1e-4."""
    landscape = teacher_student()
    end = simulate(landscape.model, landscape.loss, landscape.data, t1=1e4, rtol=1e-9, solver=BDF()).thetas[-1]
    explicit = solve_flow(landscape, dfx.Tsit5(), 1e4, (1e-4, 1e-6))
    return landscape, end, 6 * explicit.stats["num_steps"]


@pytest.mark.slow
@pytest.mark.parametrize("quadratures", [0, 1])
def test_spectral_radius_along_a_flow(quadratures):
    landscape = teacher_student(samples=50)
    solver = RKC2(quadratures=quadratures)
    hessian = jax.jit(jax.hessian(landscape.value))
    for t1 in (1.0, 30.0, 100.0):
        solution = solve_flow(landscape, solver, jnp.asarray(t1), (1e-4, 1e-6))
        exact = jnp.max(jnp.abs(jnp.linalg.eigvalsh(hessian(solution.ys[0][0]))))
        assert float(sharpness(solution.solver_state)) == pytest.approx(float(exact), rel=0.03)


def test_states_say_what_they_know():
    number = jnp.asarray
    spectrum = SpectralRadius(radius=number(12.34567), vector=jnp.ones(3), products=number(50))
    assert str(spectrum) == "spectral radius 12.35 by 50 Jacobian–vector products"
    state = StabilisedState(rate=jnp.ones(3), spectrum=spectrum, evaluations=number(700))
    assert str(state).splitlines() == [str(spectrum), "700 evaluations of the field in the accepted steps"]
    products = "7 evaluations of the field, 11 products with its Jacobian"
    assert str(KrylovState(evaluations=number(7), products=number(11))) == products
    newton = NewtonKrylov(rate=number(1.0), evaluations=number(7), products=number(11))
    bdf = State(differences=jnp.zeros((8, 3)), h=number(0.25), order=number(3), equal_steps=number(0), newton=newton)
    assert str(bdf).splitlines() == ["BDF of order 3 at steps of 0.25", f"{products} in the accepted steps"]
    chord = eqx.tree_at(lambda state: state.newton, bdf, no_chord(3, float), is_leaf=lambda x: x is newton)
    assert str(chord).splitlines()[1].startswith("0 evaluations of the field, 0 Jacobians, 0 factorisations")


@pytest.mark.slow
@each_solver
def test_plateau_costs_a_fraction_of_an_explicit_method(name, plateau):
    landscape, expected, explicit_cost = plateau
    tolerances = (1e-4, 1e-6)
    saveat = dfx.SaveAt(steps=True, solver_state=True)
    solution = solve_flow(landscape, SOLVERS[name](quadratures=1), 1e4, tolerances, saveat=saveat)
    accepted = int(solution.stats["num_accepted_steps"])
    thetas, energies = solution.ys[0][:accepted], solution.ys[1][:accepted]
    assert jnp.linalg.norm(thetas[-1] - expected) < GAINS[name] * 1e-4 * jnp.linalg.norm(expected)
    losses, _ = landscape.values_and_gradients(thetas)
    assert np.all(np.diff(losses) < 1e-4 * losses[:-1])
    dissipated = float(landscape.value(landscape.theta) - losses[-1])
    assert float(energies[-1]) == pytest.approx(dissipated, rel=GAINS[name] * 1e-4)
    # A product costs two evaluations at most, as a forward derivative does.
    cost = solution.solver_state.evaluations + 2 * solution.solver_state.spectrum.products
    assert cost < explicit_cost / 9


def deep_linear(scale=0.1):
    """A linear network with three layers and whitened inputs that learns a fixed map."""
    keys = jax.random.split(jax.random.key(3), 3)
    layers = tuple(
        scale * jax.random.normal(key, shape) for key, shape in zip(keys, [(4, 3), (4, 4), (2, 4)], strict=True)
    )
    target = jnp.array([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])

    def loss(model, data):
        return jnp.sum((model[2] @ model[1] @ model[0] - data) ** 2) / 2

    return Landscape(layers, loss, target)


@shared
@pytest.mark.slow
def test_balancedness_is_kept_to_tolerance(name):
    landscape = deep_linear()
    solution = solve_flow(landscape, SOLVERS[name](quadratures=1), 40.0, (1e-5, 1e-7))

    def balance(theta):
        first, second, third = landscape.at(theta)
        return jnp.stack([first @ first.T - second.T @ second, second @ second.T - third.T @ third])

    theta = solution.ys[0][0]
    assert landscape.value(theta) < 1e-6
    assert jnp.max(jnp.abs(balance(theta) - balance(landscape.theta))) < GAINS[name] * 1e-5


# Field, initial state, end, and sizes of the components that matter (Hairer & Wanner 1996, chapter IV.10).
STIFF = {
    "robertson": (robertson, [1.0, 0.0, 0.0], 40.0, 1e-4),
    "van der pol": (van_der_pol, [2.0, 0.0], 2.0, 1.0),
    "hires": (hires, [1.0, 0, 0, 0, 0, 0, 0, 0.0057], 321.8122, 1e-2),
}


@each_solver
@pytest.mark.parametrize("problem", STIFF)
@pytest.mark.slow
def test_stiff_problems_end_within_tolerance(name, problem):
    field, y0, t1, size = STIFF[problem]
    jacobian = jax.jit(jax.jacfwd(lambda y: field(0.0, y, None)))
    vector_field = jax.jit(lambda y: field(0.0, y, None))
    expected = solve_ivp(
        lambda t, y: np.asarray(vector_field(y)),
        (0, t1),
        y0,
        method="Radau",
        jac=lambda t, y: np.asarray(jacobian(y)),
        rtol=1e-9,
        atol=1e-13,
    ).y[:, -1]
    tolerance = 1e-5
    number, tolerances = jnp.asarray(list(FIELDS).index(problem)), (tolerance, tolerance * size)
    solution = solve(any_of, SOLVERS[name](), padded(y0), t1, 1e-6, tolerances, number, norm=unpadded_norm)
    assert solution.result == dfx.RESULTS.successful
    error = np.abs(np.asarray(solution.ys[0, : len(y0)]) - expected) / (np.abs(expected) + size)
    assert np.max(error) < 50 * tolerance


@pytest.mark.slow
@shared
def test_cut_and_resumed_solve_has_the_same_bits(name):
    solver, term, saveat = SOLVERS[name](), dfx.ODETerm(forced_predator), dfx.SaveAt(t1=True, solver_state=True)
    times = jnp.concatenate([jnp.geomspace(0.01, 1.0, 21), jnp.linspace(1.1, 3.0, 20)])

    @eqx.filter_jit
    def steps(state, times, solver_state):
        """Given steps, so that the controller has no say."""
        options = {
            "saveat": saveat,
            "stepsize_controller": dfx.StepTo(times),
            "solver_state": solver_state,
            "throw": False,
        }
        solution = dfx.diffeqsolve(term, solver, times[0], times[-1], None, state, **options)
        return jax.tree.map(lambda leaf: leaf[0], solution.ys), solution.solver_state

    start = (PREDATORS, jax.jit(lambda: solver.init(term, times[0], times[1], PREDATORS, None))())
    whole = steps(start[0], times, start[1])
    middle = steps(start[0], times[:21], start[1])
    resumed = steps(middle[0], times[20:], middle[1])
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        assert np.array_equal(one, other)


@shared
def test_a_step_beyond_the_stages_is_rejected(name):
    field = lambda t, y, args: -1000.0 * (y - jnp.cos(t))  # noqa: E731
    solver = SOLVERS[name](max_stages=10)
    at_constant_steps = solve(field, solver, jnp.ones(1), 10.0, jnp.asarray(1.0))
    assert at_constant_steps.result == dfx.RESULTS.dt_min_reached
    adaptive = solve(field, solver, jnp.ones(1), 10.0, 1.0, (1e-3, 1e-3))
    assert adaptive.result == dfx.RESULTS.successful
    assert float(adaptive.ys[0, 0]) == pytest.approx(np.cos(10.0), abs=2e-3)


def relaxing(t, y, strength):
    return {"a": -strength * (y["a"] - jnp.cos(t) * y["b"]), "b": -(y["b"] ** 3)}


@pytest.mark.slow
@shared
def test_gradient_through_a_solve(name):
    @jax.jit
    def end(y0, strength):
        solution = solve(
            relaxing, SOLVERS[name](), {"a": y0, "b": jnp.asarray(1.0)}, 1.0, jnp.asarray(0.05), args=strength
        )
        return solution.ys["a"][0] ** 2

    point = (jnp.asarray(0.3), jnp.asarray(200.0))
    gradient = jax.jit(jax.grad(end, argnums=(0, 1)))(*point)
    for i in range(2):
        h = 1e-5 * point[i]
        moved = [end(*(p + sign * h * (i == j) for j, p in enumerate(point))) for sign in (1, -1)]
        assert float(gradient[i]) == pytest.approx(float((moved[0] - moved[1]) / (2 * h)), rel=1e-5, abs=1e-9)


@pytest.mark.slow
@shared
def test_batch_is_a_loop(name):
    starts = jnp.array([[1.0, 2.0], [0.5, 0.1], [3.0, 1.0]])

    @jax.jit
    def end(y0):
        solution = solve(swinging, SOLVERS[name](), y0, 1.0, 0.01, (1e-4, 1e-6))
        return solution.ys[0], solution.stats["num_steps"]

    batch = jax.jit(jax.vmap(end))(starts)
    for i, y0 in enumerate(starts):
        one = end(y0)
        assert one[1] == batch[1][i]
        assert one[0] == pytest.approx(np.asarray(batch[0][i]), rel=1e-12)


def swinging(t, y, args):
    return -50.0 * jnp.sin(y) * (1 + y[::-1] ** 2)


@pytest.mark.slow
@shared
def test_single_precision(name):
    expected = solve_ivp(
        lambda t, y: [-1e3 * (y[0] - np.cos(t) * y[1]), -(y[1] ** 3)], (0, 1), [0.3, 1.0], "Radau", rtol=1e-8, atol=1e-9
    ).y[0, -1]
    y0 = {"a": jnp.float32(0.3), "b": jnp.float32(1.0)}
    solution = solve(relaxing, SOLVERS[name](), y0, jnp.float32(1.0), None, (1e-4, 1e-4), jnp.float32(1e3))
    assert solution.ys["a"].dtype == jnp.float32
    assert solution.stats["num_steps"] < 100
    assert float(solution.ys["a"][0]) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("option", [{"max_stages": 1}, {"safety": 0.9}])
@each_solver
def test_bad_options_raise(name, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        SOLVERS[name](**option)
