"""Which solver: an explicit one while it is cheap, a stiff one once stability alone holds its steps short."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..models import units_of
from .field import GradientFlow, flatten
from .hessian import FlowJacobian, UnitHessian, hessian_of
from .solvers import BDF, KrylovRosenbrock, Rodas5P
from .solvers.spectral_radius import cold_start, power_iteration

# Parameters up to which a dense Hessian is kept and factorised: 8 MB, a factorisation takes some 50 ms.
DENSE_LIMIT = 1000
# Explicit steps of this many fastest times are as long as stability allows (at most 3.3 for Tsit5), not accuracy.
STABILITY_BOUND, LONGEST = 1.0, 3.3
# The spectral radius grows along a flow: twofold in a two-layer linear network, more in deeper ones.
GROWTH = 2.0
# Typical steps for a flow of a few plateaus at rtol 1e-6: of BDF, of methods of order 5.
BDF_STEPS, ORDER_5_STEPS = 450, 200
# BDF's steps per Hessian, and per factorisation; its evaluations per step.
STEPS_PER_HESSIAN, STEPS_PER_FACTORISATION, BDF_EVALUATIONS = 25, 8, 1.8
# A model of run time in nanoseconds on one core, from the suite in benchmarks/: five operations in each, ten operations
# for a transcendental function; calling compiled code; what a step of Tsit5 or Rodas5P, and of BDF, takes besides.
SPEED, TRANSCENDENTAL, CALL, STEP, BDF_STEP = 5.0, 10.0, 5e3, 2e4, 6e4
# A change of solver on the way must promise to halve what is left.
GAIN = 2.0


class Choice(NamedTuple):
    """A solver and why it was chosen."""

    solver: dfx.AbstractSolver
    reason: str


class Offer(NamedTuple):
    """The stiff solver for a flow, and estimated times in nanoseconds: of a gradient, and of the flow with the solver.

    It depends on model, loss and data alone, not on where the flow is.
    """

    solver: dfx.AbstractSolver
    gradient: float
    whole: float


def stiff_offer(flow: GradientFlow, data: Any) -> Offer:
    """The solver for long plateaus, by number of parameters, cost of a gradient and smoothness alone.

    Beyond 1000 parameters `KrylovRosenbrock`. Below, `Rodas5P` where gradients and factorisations are cheaper than the
    bookkeeping of BDF's more numerous steps, else `BDF`; always `BDF` where the field may have kinks, on which a method
    of order 5 wastes its stages.
    """
    n, gradient = flatten(flow.model).size, _gradient_time(flow, data)
    if n > DENSE_LIMIT:
        # Some thirty products, each worth two gradients, for each of four vectors.
        step = 120 * (2 * gradient + 4 * 30 * n / SPEED) + STEP
        return Offer(KrylovRosenbrock(quadratures=1), gradient, ORDER_5_STEPS * step)
    jacobian = FlowJacobian(hessian_of(flow, data))
    rodas, bdf = _dense_times(jacobian.hessian, n, gradient)
    units = units_of(flow.model)
    smooth = units is not None and units.law.smooth
    if smooth and rodas < bdf:
        return Offer(Rodas5P(True, 1, jacobian), gradient, rodas)
    return Offer(BDF(jacobian=jacobian), gradient, bdf)


def choose(
    flow: GradientFlow,
    theta: Float[Array, " n"],
    data: Any,
    remaining: float,
    dt: float,
    offer: Callable[[], Offer],
) -> Choice | None:
    r"""A better solver than the explicit one for the rest of a flow, or `None`.

    The spectral radius ρ of the Hessian tells whether the steps are as short as they are for stability's sake,
    $\rho\,dt > 1$; a model of run time tells what the rest costs either way.

    **Arguments:** `theta`: the parameters now; `remaining`: time to go; `dt`: the explicit solver's present step;
    `offer`: makes the flow's `stiff_offer`, or has it; called only where the steps are held short.
    """
    steps = remaining / dt
    # No solver starts, crosses and ends a plateau in fewer.
    if steps < ORDER_5_STEPS:
        return None
    radius = float(spectral_radius(flow, theta, data))
    if radius * dt < STABILITY_BOUND:
        return None
    return _if_cheaper(offer(), theta.size, radius, remaining, steps, GAIN)


def first_choice(flow: GradientFlow, theta: Float[Array, " n"], data: Any, horizon: float) -> Choice:
    """The solver for a whole flow, judged by its first point alone: Tsit5, or a stiff one.

    `simulate` need not judge so early. It starts explicitly and asks `choose` again after every chunk of steps.
    """
    radius = float(spectral_radius(flow, theta, data))
    steps = GROWTH * radius * horizon / LONGEST
    choice = _if_cheaper(stiff_offer(flow, data), theta.size, radius, horizon, steps, 1.0)
    return choice or Choice(dfx.Tsit5(), f"spectral radius {radius:.3g} × horizon {horizon:.3g}: explicit is cheap")


def _if_cheaper(offer: Offer, n: int, radius: float, remaining: float, steps: float, gain: float) -> Choice | None:
    """The stiff solver if the rest takes so many times as long in that many explicit steps."""
    if steps * (6 * offer.gradient + STEP) < gain * offer.whole:
        return None
    reason = (
        f"spectral radius {radius:.3g} × remaining time {remaining:.3g} = {radius * remaining:.2g}: "
        f"{steps:.2g} explicit steps to go, held short by stability; {n} parameters"
    )
    return Choice(offer.solver, reason)


def _dense_times(hessian: Any, n: int, gradient: float) -> tuple[float, float]:
    """Estimated run times, in nanoseconds, of Rodas5P and BDF on a flow of a few plateaus."""
    # A Hessian from its parts is worth some gradients; else products in batches, ten for the price of one gradient.
    hessian_time = gradient * (7 if isinstance(hessian, UnitHessian) else n / 10)
    rodas = 8 * gradient + hessian_time + (n**3 / 3 + 16 * n**2) / SPEED + STEP
    factorisation = 2 * n**3 / 3 / SPEED
    bdf = BDF_EVALUATIONS * gradient + 4 * n**2 / SPEED + BDF_STEP
    bdf += hessian_time / STEPS_PER_HESSIAN + factorisation / STEPS_PER_FACTORISATION
    return ORDER_5_STEPS * rodas, BDF_STEPS * bdf


def _gradient_time(flow: GradientFlow, data: Any) -> float:
    """Nanoseconds of a gradient, from the operations that the compiler counts before optimisation."""
    cost: Any = jax.jit(jax.grad(flow.value)).lower(flatten(flow.model), data).cost_analysis() or {}
    operations = cost.get("flops", 0.0) + TRANSCENDENTAL * cost.get("transcendentals", 0.0)
    return CALL + operations / SPEED


@eqx.filter_jit
def spectral_radius(flow: GradientFlow, theta: Float[Array, " n"], data: Any) -> Float[Array, ""]:
    r"""$\max|\lambda(\nabla^2 L)|$ at θ, from below, by power iteration."""
    gradient = jax.grad(flow.value)
    product = lambda v: jax.jvp(lambda p: gradient(p, data), (theta,), (v,))[1]  # noqa: E731
    return power_iteration(product, cold_start(theta.size, theta.dtype), jnp.zeros_like(theta)).radius
