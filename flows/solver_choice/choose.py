"""Which solver: estimated run times of the candidates, and an explicit one until another pays."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...models.units import layers_of, unit_vectors
from ..curvature.hessian import FlowJacobian, UnitHessian, hessian_of
from ..landscapes.landscape import Landscape
from ..solvers import BDF, ExtrapolatedRKC, KrylovRosenbrock, Rodas5P

# Parameters up to which a dense Hessian is kept and factorised: 8 MB, a factorisation takes some 50 ms.
DENSE_LIMIT = 1000
# Explicit steps of this many fastest times are as long as stability allows (at most 3.3 for Tsit5), not accuracy.
STABILITY_BOUND, LONGEST = 1.0, 3.3
# The spectral radius grows along a flow: twofold in a two-layer linear network, more in deeper ones.
GROWTH = 2.0
# What follows models run times of the suite in benchmarks/ on one core, within a factor of two or so.
# Steps of a flow of a few plateaus at rtol 1e-6, and the order with which they grow with the tolerance. They are those
# of equal errors: at equal tolerances BDF's is some ten times that of Rodas5P, that of ExtrapolatedRKC a third.
TSIT5_STEPS, RODAS_STEPS, BDF_STEPS, RKC_STEPS, KRYLOV_STEPS = (300, 5), (150, 6), (425, 6), (130, 5), (100, 6)
# BDF's steps per Hessian, and per factorisation; its evaluations per step.
STEPS_PER_HESSIAN, STEPS_PER_FACTORISATION, BDF_EVALUATIONS = 20, 6, 1.8
# Of BDF without a matrix: evaluations per step; products per step, one for a stiffness up to the second number, and so
# many more for each tenfold.
FREE_EVALUATIONS, FREE_STIFFNESS, FREE_PRODUCTS = 1.1, 1e3, 1.3
# Numbers read and written per parameter in a step of it besides, and in a product.
FREE_NUMBERS, PRODUCT_NUMBERS = 220, 12
# Evaluations of ExtrapolatedRKC over √(radius × time × steps), and for each step at least; products for each step of
# KrylovRosenbrock.
RKC_EVALUATIONS, RKC_LEAST, KRYLOV_PRODUCTS = 3.5, 10, 40
# Operations per nanosecond; the operations that a transcendental function is worth; numbers read from memory, or pairs
# of a triangular solve, per nanosecond.
SPEED, TRANSCENDENTAL, BANDWIDTH = 20.0, 60.0, 4.0
# In nanoseconds: a gradient or a product within compiled code, and each product of matrices in it; what a step of
# Tsit5, of Rodas5P or ExtrapolatedRKC, of BDF, and of BDF without a matrix, and a stage of ExtrapolatedRKC take
# besides.
CALL, PRODUCT, TSIT5_STEP, STEP, BDF_STEP, FREE_STEP, STAGE = 300.0, 400.0, 3e3, 1.5e4, 2e4, 1e4, 1.5e3
# A change of solver on the way must promise to halve what is left.
GAIN = 2.0


class Choice(NamedTuple):
    """A solver, its name among the `candidate_solvers`, and why it was chosen."""

    name: str
    solver: dfx.AbstractSolver
    reason: str


class Candidate(NamedTuple):
    """A solver, and nanoseconds for a flow as a function of spectral radius × time."""

    solver: dfx.AbstractSolver
    time: Callable[[float], float]


def candidate_solvers(landscape: Landscape, rtol: float) -> dict[str, Candidate]:
    """The solvers that may replace the explicit one, by name; a function of the landscape and rtol alone.

    `ExtrapolatedRKC` and `MatrixFreeBDF`, which is `BDF(matrix_free=True)`, for any flow; with up to 1000 parameters
    `BDF` with a Hessian and, where the field has no kinks, on which its stages are wasted, `Rodas5P`; beyond,
    `KrylovRosenbrock`.
    """
    n, (gradient, product) = landscape.theta.size, _times(landscape)
    rkc_steps = _steps(RKC_STEPS, rtol)

    def rkc(stiffness: float) -> float:
        evaluations = max(RKC_LEAST * rkc_steps, RKC_EVALUATIONS * (stiffness * rkc_steps) ** 0.5)
        return rkc_steps * STEP + evaluations * (gradient + STAGE + 6 * n / BANDWIDTH)

    def free(stiffness: float) -> float:
        products = 1 + FREE_PRODUCTS * math.log10(max(stiffness / FREE_STIFFNESS, 1.0))
        step = FREE_EVALUATIONS * gradient + FREE_STEP + FREE_NUMBERS * n / BANDWIDTH
        step += products * (product + PRODUCT_NUMBERS * n / BANDWIDTH)
        return _steps(BDF_STEPS, rtol) * step

    found: dict[str, Candidate] = {
        "ExtrapolatedRKC": Candidate(ExtrapolatedRKC(quadratures=1), rkc),
        "MatrixFreeBDF": Candidate(BDF(matrix_free=True, quadratures=1), free),
    }
    if n > DENSE_LIMIT:
        # A product costs what a gradient does, and is made orthogonal to a dozen vectors, which are read thrice.
        step = KRYLOV_PRODUCTS * (gradient + 3 * 12 * n / BANDWIDTH) + STEP
        krylov = _steps(KRYLOV_STEPS, rtol) * step
        return found | {"KrylovRosenbrock": Candidate(KrylovRosenbrock(quadratures=1), lambda _: krylov)}
    jacobian = FlowJacobian(hessian_of(landscape))
    rodas, bdf = _dense_step_times(jacobian.hessian, n, gradient)
    rodas, bdf = rodas * _steps(RODAS_STEPS, rtol), bdf * _steps(BDF_STEPS, rtol)
    found["BDF"] = Candidate(BDF(jacobian=jacobian), lambda _: bdf)
    if all(units.law.smooth for units in layers_of(landscape.model)):
        found["Rodas5P"] = Candidate(Rodas5P(True, 1, jacobian), lambda _: rodas)
    return found


def choose(
    landscape: Landscape,
    theta: Float[Any, " n"],
    remaining: float,
    dt: float,
    offers: Callable[[], dict[str, Candidate]],
) -> Choice | None:
    r"""A better solver than the explicit one for the rest of a flow, or `None`.

    The spectral radius ρ of the Hessian tells whether the steps are as short as they are for stability's sake,
    $\rho\,dt > 1$; a model of run time tells what the rest costs either way.

    **Arguments:** `theta`: the parameters now; `remaining`: time to go; `dt`: the explicit solver's present step;
    `offers`: makes the flow's `candidate_solvers`, or has them; called only where the steps are held short.
    """
    steps = remaining / dt
    # No solver starts, crosses and ends a plateau in fewer.
    if steps < RODAS_STEPS[0]:
        return None
    radius = float(landscape.sharpness(theta))
    if radius * dt < STABILITY_BOUND:
        return None
    name, solver, expected = _fastest(offers(), GROWTH * radius * remaining)
    if steps * _explicit_step_time(landscape) < GAIN * expected:
        return None
    reason = (
        f"spectral radius {radius:.3g} × remaining time {remaining:.3g} = {radius * remaining:.2g}: "
        f"{steps:.2g} explicit steps to go, held short by stability; {theta.size} parameters"
    )
    return Choice(name, solver, reason)


def first_choice(landscape: Landscape, horizon: float, rtol: float) -> Choice:
    """The solver for a whole flow, judged by its first point alone: Tsit5 or one of the `candidate_solvers`.

    `simulate` need not judge so early. It starts explicitly and asks `choose` again after every chunk of steps.
    """
    theta = landscape.theta
    radius = float(landscape.sharpness(theta)) * _growth_from_small_units(landscape.model)
    explicit = lambda stiffness: (  # noqa: E731
        max(_steps(TSIT5_STEPS, rtol), stiffness / LONGEST) * _explicit_step_time(landscape)
    )
    offers = {"Tsit5": Candidate(dfx.Tsit5(), explicit), **candidate_solvers(landscape, rtol)}
    name, solver, expected = _fastest(offers, GROWTH * radius * horizon)
    reason = f"spectral radius {radius:.3g} × horizon {horizon:.3g} = {radius * horizon:.2g}, {theta.size} parameters"
    return Choice(name, solver, f"{reason}: some {expected / 1e9:.2g} s")


def _fastest(offers: dict[str, Candidate], stiffness: float) -> tuple[str, dfx.AbstractSolver, float]:
    name = min(offers, key=lambda name: offers[name].time(stiffness))
    return name, offers[name].solver, offers[name].time(stiffness)


def _steps(typical: tuple[int, int], rtol: float) -> float:
    at_six, order = typical
    return at_six * (1e-6 / rtol) ** (1 / order)


def _growth_from_small_units(model: Any) -> float:
    """How much larger the curvature of units of size one is, if the output is homogeneous of degree > 2 in them all."""
    layers, total = layers_of(model), 1
    for units in layers:
        if units.law.degree is None:
            return 1.0
        total = units.law.degree * total + 1
    norms = [jnp.linalg.norm(unit_vectors(model, layer), axis=1) for layer in range(len(layers))]
    size = max((float(jnp.max(norm, initial=0.0)) for norm in norms), default=0.0)
    return max(1.0, size ** (2 - total)) if size > 0 else 1.0


def _explicit_step_time(landscape: Landscape) -> float:
    return 6 * _times(landscape)[0] + TSIT5_STEP


def _dense_step_times(hessian: Any, n: int, gradient: float) -> tuple[float, float]:
    """Estimated nanoseconds of a step of Rodas5P and of BDF."""
    # A Hessian from its parts is worth some gradients, products of Jacobians, and its assembly; else products, ten for
    # a gradient's price.
    matrix = n**2 / BANDWIDTH
    from_parts = isinstance(hessian, UnitHessian)
    hessian_time = 7 * gradient + hessian.count * n**2 / SPEED + 4 * matrix if from_parts else gradient * n / 10
    rodas = 8 * gradient + hessian_time + n**3 / 3 / SPEED + 16 * matrix + STEP
    bdf = BDF_EVALUATIONS * gradient + 4 * matrix + BDF_STEP
    bdf += hessian_time / STEPS_PER_HESSIAN + 2 * n**3 / 3 / SPEED / STEPS_PER_FACTORISATION
    return rodas, bdf


def _times(landscape: Landscape) -> tuple[float, float]:
    """Estimated nanoseconds of a gradient, and of a Hessian–vector product where the gradient has been evaluated."""
    leaves, structure = jax.tree.flatten(eqx.filter((landscape, landscape.theta), eqx.is_array))
    return _counted_times(structure, tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves))


@functools.lru_cache(maxsize=64)
def _counted_times(structure: Any, shapes: tuple[jax.ShapeDtypeStruct, ...]) -> tuple[float, float]:
    def gradient(*leaves: Any) -> Array:
        landscape, theta = jax.tree.unflatten(structure, leaves)
        return landscape.gradient(theta)

    def product(*leaves: Any) -> tuple[Array, Array]:
        landscape, theta = jax.tree.unflatten(structure, leaves)
        # The primal beside the tangent, as solvers have it: products that share it are cheaper.
        return jax.jvp(landscape.gradient, (theta,), (theta,))

    arithmetic, transcendental = _counted(gradient, *shapes)
    # A product needs no transcendental functions that the gradient did not.
    return CALL + arithmetic + transcendental, CALL + _counted(product, *shapes)[0] - arithmetic


def _counted(function: Callable, *arguments: Any) -> tuple[float, float]:
    """Nanoseconds of arithmetic and of transcendental functions, as the compiler counts them before optimisation.

    They are counted, not measured, so that a flow that is resumed makes the same choice.
    """
    lowered: Any = jax.jit(function).lower(*arguments)
    cost = lowered.cost_analysis() or {}
    arithmetic = PRODUCT * lowered.as_text().count("dot_general") + cost.get("flops", 0.0) / SPEED
    return arithmetic, TRANSCENDENTAL * cost.get("transcendentals", 0.0) / SPEED
