"""Which solver: an explicit one while it is cheap, a stiff one once stability alone holds its steps short."""

from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .field import GradientFlow
from .hessian import FlowJacobian, UnitHessian, hessian_of
from .solvers import BDF, KrylovRosenbrock
from .solvers.spectral_radius import cold_start, power_iteration

# Parameters up to which a dense Hessian is kept and factorised: 8 MB, a factorisation takes some 50 ms.
DENSE_LIMIT = 1000
# Explicit steps of this many fastest times are as long as stability allows (at most 3.3 for Tsit5), not accuracy.
STABILITY_BOUND = 1.0
# Evaluations of the field per explicit step, one to record loss and speed included.
EXPLICIT_EVALUATIONS = 7
# What a stiff solver needs for a flow of a few plateaus at rtol 1e-6 … 1e-10: steps; evaluations per step, the record's
# included; steps per Jacobian.
STIFF_STEPS, STIFF_EVALUATIONS, STEPS_PER_JACOBIAN = 1000, 2.3, 25
# Work in operations: calling a compiled kernel; a transcendental function.
DISPATCH, TRANSCENDENTAL = 5e3, 10.0
# A change of solver must promise to halve what is left.
GAIN = 2.0


class Choice(NamedTuple):
    """A solver and why it was chosen."""

    solver: dfx.AbstractSolver
    reason: str


def stiff_solver(flow: GradientFlow, data: Any) -> dfx.AbstractSolver:
    """The solver for long plateaus: `BDF` with a cheap Hessian, `KrylovRosenbrock` beyond 1000 parameters."""
    if _size(flow) > DENSE_LIMIT:
        return KrylovRosenbrock(quadratures=1)
    return BDF(jacobian=FlowJacobian(hessian_of(flow, data)))


def choose(flow: GradientFlow, theta: Float[Array, " n"], data: Any, remaining: float, dt: float) -> Choice | None:
    r"""A better solver than the explicit one for the rest of a flow, or `None`.

    The spectral radius ρ of the Hessian tells whether the steps are as short as they are for stability's sake,
    $\rho\,dt > 1$; the operations in a gradient and a Hessian tell what the rest costs either way.

    **Arguments:** `theta`: the parameters now; `remaining`: time to go; `dt`: the explicit solver's present step.
    """
    steps = remaining / dt
    if steps * EXPLICIT_EVALUATIONS < STIFF_STEPS * STIFF_EVALUATIONS:
        return None
    radius = float(spectral_radius(flow, theta, data))
    if radius * dt < STABILITY_BOUND:
        return None
    solver = stiff_solver(flow, data)
    gradient = _operations(flow, theta, data)
    explicit = steps * EXPLICIT_EVALUATIONS * gradient
    stiff = STIFF_STEPS * (STIFF_EVALUATIONS * gradient + _overhead(solver, theta, data, gradient))
    if explicit < GAIN * stiff:
        return None
    reason = (
        f"spectral radius {radius:.3g} × remaining time {remaining:.3g} = {radius * remaining:.2g}: "
        f"{steps:.2g} explicit steps to go, held short by stability; {theta.size} parameters"
    )
    return Choice(solver, reason)


def first_choice(flow: GradientFlow, theta: Float[Array, " n"], data: Any, horizon: float) -> Choice:
    """The solver for a whole flow, judged by its first point alone: Tsit5, or a stiff one.

    `simulate` need not judge so early. It starts explicitly and asks `choose` again after every chunk of steps.
    """
    radius = float(spectral_radius(flow, theta, data))
    # The longest steps that stability allows Tsit5.
    choice = choose(flow, theta, data, horizon, 3.3 / max(radius, 1e-300))
    return choice or Choice(dfx.Tsit5(), f"spectral radius {radius:.3g} × horizon {horizon:.3g}: explicit is cheap")


def _overhead(solver: dfx.AbstractSolver, theta: Array, data: Any, gradient: float) -> float:
    """Operations of a stiff solver per step besides its gradients."""
    n = theta.size
    if isinstance(solver, KrylovRosenbrock):
        # Some forty products a step, each worth two gradients, with as many orthogonalisations.
        return 40 * (2 * gradient + 4 * 40 * n)
    # A Hessian is worth a few gradients from its parts, two per parameter otherwise.
    products = 10 if isinstance(solver.jacobian.hessian, UnitHessian) else 2 * n  # pyright: ignore
    factorisation = 2 * n**3 / 3
    return 4 * n**2 + (products * gradient + 3 * factorisation) / STEPS_PER_JACOBIAN


def _operations(flow: GradientFlow, theta: Array, data: Any) -> float:
    """Floating-point operations of a gradient, as the compiler counts them before optimisation."""
    cost: Any = jax.jit(jax.grad(flow.value)).lower(theta, data).cost_analysis() or {}
    return cost.get("flops", 0.0) + TRANSCENDENTAL * cost.get("transcendentals", 0.0) + DISPATCH


@eqx.filter_jit
def spectral_radius(flow: GradientFlow, theta: Float[Array, " n"], data: Any) -> Float[Array, ""]:
    r"""$\max|\lambda(\nabla^2 L)|$ at θ, from below, by power iteration."""
    gradient = jax.grad(flow.value)
    product = lambda v: jax.jvp(lambda p: gradient(p, data), (theta,), (v,))[1]  # noqa: E731
    return power_iteration(product, cold_start(theta.size, theta.dtype), jnp.zeros_like(theta)).radius


def _size(flow: GradientFlow) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow.model, eqx.is_inexact_array)))
