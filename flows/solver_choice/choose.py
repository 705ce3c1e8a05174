"""Which solver: an explicit one until another one is estimated to be faster."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import jax.numpy as jnp
from jaxtyping import Float

from ...models.units import layers_of, unit_vectors
from ..curvature.hessian import FlowJacobian, hessian_of
from ..landscapes.landscape import Landscape
from ..solvers import BDF, ExtrapolatedRKC, KrylovRosenbrock, Rodas5P
from .run_time import (
    RODAS_STEPS,
    dense_times,
    explicit_step_time,
    explicit_time,
    krylov_time,
    matrix_free_time,
    stabilised_time,
)

# Parameters up to which a dense Hessian is kept and factorised: 8 MB, a factorisation takes some 50 ms.
DENSE_LIMIT = 1000
# Explicit steps longer than this over λ_max are as long as stability allows (at most 3.3 for Tsit5), not accuracy.
STABILITY_BOUND = 1.0
# Factor by which λ_max grows along a flow: two in a two-layer linear network, more in deeper ones.
GROWTH = 2.0
# A change of solver on the way must promise to halve the rest of the run time.
GAIN = 2.0


class Choice(NamedTuple):
    """A solver and why it was chosen.

    Attributes:
        name: its name among the `candidate_solvers`.
        solver: the solver.
        reason: the estimate behind the choice, in words.
    """

    name: str
    solver: dfx.AbstractSolver[Any]
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Candidate(NamedTuple):
    """A solver and what a flow by it would cost.

    Attributes:
        solver: the solver.
        time: the stiffness λ_max T of a flow ↦ nanoseconds.
    """

    solver: dfx.AbstractSolver[Any]
    time: Callable[[float], float]


def candidate_solvers(landscape: Landscape, rtol: float) -> dict[str, Candidate]:
    """The solvers that may replace the explicit one.

    `ExtrapolatedRKC` and `MatrixFreeBDF`, which is `BDF(matrix_free=True)`, for any flow; with up to 1000 parameters
    `BDF` with a Hessian and, where the field has no kinks, on which its stages are wasted, `Rodas5P`; beyond,
    `KrylovRosenbrock`.

    Args:
        landscape: the landscape of the flow.
        rtol: its relative tolerance.

    Returns:
        The candidates by name, a function of the arguments alone.
    """
    found: dict[str, Candidate] = {
        "ExtrapolatedRKC": Candidate(ExtrapolatedRKC(quadratures=1), stabilised_time(landscape, rtol)),
        "MatrixFreeBDF": Candidate(BDF(matrix_free=True, quadratures=1), matrix_free_time(landscape, rtol)),
    }
    if landscape.theta.size > DENSE_LIMIT:
        krylov = krylov_time(landscape, rtol)
        return found | {"KrylovRosenbrock": Candidate(KrylovRosenbrock(quadratures=1), lambda _: krylov)}
    jacobian = FlowJacobian(hessian_of(landscape))
    rodas, bdf = dense_times(landscape, jacobian.hessian, rtol)
    found["BDF"] = Candidate(BDF(jacobian=jacobian), lambda _: bdf)
    if all(units.law.smooth for units in layers_of(landscape.model)):
        solver = Rodas5P(symmetric=True, quadratures=1, jacobian=jacobian)
        found["Rodas5P"] = Candidate(solver, lambda _: rodas)
    return found


def choose(
    landscape: Landscape,
    theta: Float[Any, " n"],
    remaining: float,
    dt: float,
    offers: Callable[[], dict[str, Candidate]],
) -> Choice | None:
    r"""A better solver than the explicit one for the rest of a flow.

    The largest curvature λ_max tells whether stability limits the steps, $\lambda_{\max}\,dt > 1$; a model of run time
    tells what the rest costs either way.

    Args:
        landscape: the landscape of the flow.
        theta: the parameters now.
        remaining: the time to go.
        dt: the explicit solver's present step.
        offers: makes the flow's `candidate_solvers`, or has them; called only where stability limits the steps.

    Returns:
        The better solver, or `None` where there is none.
    """
    steps = remaining / dt
    # No solver starts, crosses and ends a plateau in fewer.
    if steps < RODAS_STEPS[0]:
        return None
    radius = landscape.sharpness(theta)
    if radius * dt < STABILITY_BOUND:
        return None
    name, solver, expected = _fastest(offers(), GROWTH * radius * remaining)
    if steps * explicit_step_time(landscape) < GAIN * expected:
        return None
    reason = (
        f"spectral radius {radius:.3g} × remaining time {remaining:.3g} = {radius * remaining:.2g}: "
        f"{steps:.2g} explicit steps to go, held short by stability; {theta.size} parameters"
    )
    return Choice(name=name, solver=solver, reason=reason)


def first_choice(landscape: Landscape, horizon: float, rtol: float) -> Choice:
    """The solver for a whole flow, judged by its first point alone: Tsit5 or one of the `candidate_solvers`.

    `simulate` need not judge so early. It starts explicitly and asks `choose` again after every chunk of steps.

    Args:
        landscape: the landscape of the flow, with the weights at which it starts.
        horizon: the time T to integrate.
        rtol: the relative tolerance.

    Returns:
        The choice, with the estimated run time in its reason.
    """
    theta = landscape.theta
    radius = landscape.sharpness(theta) * _growth_from_small_units(landscape.model)
    explicit = Candidate(dfx.Tsit5(), explicit_time(landscape, rtol))
    offers = {"Tsit5": explicit, **candidate_solvers(landscape, rtol)}
    name, solver, expected = _fastest(offers, GROWTH * radius * horizon)
    reason = f"spectral radius {radius:.3g} × horizon {horizon:.3g} = {radius * horizon:.2g}, {theta.size} parameters"
    return Choice(name=name, solver=solver, reason=f"{reason}: some {expected / 1e9:.2g} s")


def _fastest(offers: dict[str, Candidate], stiffness: float) -> tuple[str, dfx.AbstractSolver[Any], float]:
    name = min(offers, key=lambda name: offers[name].time(stiffness))
    return name, offers[name].solver, offers[name].time(stiffness)


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
