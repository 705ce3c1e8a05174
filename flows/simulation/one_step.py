"""One adaptive step of a gradient flow, to be traced: tried, accepted or rejected, its loss and speed evaluated."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..landscapes.field import GradientFlow
from ..landscapes.landscape import Landscape
from ..solvers.controller import ResumableController
from .solver_state import SolverState, controller_of, initial_state, with_tolerances

# A step that would end this many units of rounding before the end, or later, ends there (Diffrax's number).
CLOSE = 100


class Point(eqx.Module):
    """Where a flow is between two steps.

    Attributes:
        t: the time.
        state: (θ, E).
        speed: ‖∇L‖ after the last step, accepted or not.
        solver_state: what solver and controller remember.
        ended: whether the flow is over.
    """

    t: Float[Array, ""]
    state: tuple[Array, Array]
    speed: Float[Array, ""]
    solver_state: SolverState
    ended: Bool[Array, ""]


class Stepper(eqx.Module):
    """What every step of a call needs; `near` is the first time that is too close to t1 to end a step at."""

    landscape: Landscape
    terms: Any
    solver: Any
    controller: ResumableController
    t1: Float[Array, ""]
    near: Float[Array, ""]
    convergence: Float[Array, ""]

    def continues(self, point: Point) -> Bool[Array, ""]:
        """Whether there is another step to take."""
        return (point.t < self.t1) & ~point.ended

    def step(self, point: Point) -> tuple[Point, tuple[Array, ...], Bool[Array, ""]]:
        """Tries a step: the point after it, its record (t, θ, E, L, ‖∇L‖), and whether it is accepted."""
        t, state, solver_state, failed = self._tried(point)
        accepted = solver_state.accepted
        value, gradient = self.landscape.value_and_gradient(state[0])
        speed = jnp.linalg.norm(gradient)
        converged = (speed < self.convergence) & (point.speed >= self.convergence)
        over = converged | ~jnp.isfinite(value) | ~jnp.isfinite(speed)
        after = Point(t=t, state=state, speed=speed, solver_state=solver_state, ended=accepted & over | failed)
        return after, (t, *state, value, speed), accepted

    def _tried(self, point: Point) -> tuple[Array, tuple[Array, Array], SolverState, Bool[Array, ""]]:
        """Time, (θ, E) and solver state after a step, those before it if it is rejected; whether the flow fails."""
        old, end = point.solver_state, point.solver_state.end
        end = jnp.where(end > self.near, jnp.where(old.accepted, self.t1, point.t + 0.5 * (self.t1 - point.t)), end)
        y, error, _, solver, outcome = self.solver.step(self.terms, point.t, end, point.state, None, old.solver, False)
        error = jax.tree.map(lambda x: jnp.where(jnp.isnan(x), jnp.inf, x), error)
        order = self.solver.error_order(self.terms)
        accepted, t, next_end, _, controller, failure = self.controller.adapt_step_size(
            point.t, end, point.state, y, None, error, order, old.controller
        )
        y, solver = where(accepted, (y, solver), (point.state, old.solver))
        new = SolverState(solver=solver, controller=controller, end=next_end, accepted=accepted, fresh=old.fresh)
        failed = accepted & (outcome != dfx.RESULTS.successful) | (failure != dfx.RESULTS.successful)
        return t, y, new, failed


def stepper_of(landscape: Landscape, solver: Any, t1: Any, tolerances: Any, convergence: Any) -> Stepper:
    """What the steps towards t1 need: the solver's and the controller's tolerances, the threshold of convergence."""
    controller = controller_of(tolerances)
    return Stepper(
        landscape=landscape,
        terms=dfx.ODETerm(GradientFlow(landscape)),
        solver=with_tolerances(solver, controller),
        controller=controller,
        t1=t1,
        near=t1 - CLOSE * jnp.finfo(t1.dtype).eps * jnp.abs(t1),
        convergence=convergence,
    )


def first_point(
    landscape: Landscape, solver: Any, state: Any, speed: Any, t0: Any, solver_state: Any, tolerances: Any
) -> Point:
    """The point before the first step of a call: that of (θ, E) = `state` at t0, its solver's state filled if fresh."""
    solver_state = jax.lax.cond(
        solver_state.fresh,
        lambda: initial_state(landscape, solver, state, t0, solver_state.end, tolerances),
        lambda: solver_state,
    )
    # The first step has the length that was proposed, also where the former end cut it short.
    return Point(t=t0, state=state, speed=speed, solver_state=solver_state, ended=jnp.asarray(False))


def where(condition: Any, yes: Any, no: Any) -> Any:
    """One of two PyTrees of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
