"""What solver and controller remember between two calls."""

import functools
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Float

from ..landscapes.field import GradientFlow
from ..landscapes.landscape import Landscape
from ..solvers.controller import ResumableController
from .steps import Steps


class SolverState(eqx.Module):
    """What solver and controller remember from one step to the next, and where the next step would end.

    Attributes:
        solver: the Diffrax solver's state.
        controller: the state of `ResumableController`.
        end: the proposed end of the next step.
        accepted: whether the last step was accepted.
        fresh: whether nothing is remembered yet.
    """

    solver: Any
    controller: Any
    end: Float[Any, ""]
    accepted: Bool[Any, ""]
    fresh: Bool[Any, ""]

    @property
    def dt(self) -> float:
        """The length of the step that the controller proposes next."""
        return float(self.controller[1])


def parameter_norm(scaled_error: tuple[Array, Array]) -> Array:
    """The root mean square of θ's error alone: measuring the energy must not change the flow's steps."""
    return jnp.sqrt(jnp.mean(scaled_error[0] ** 2))


def controller_of(tolerances: Float[Array, " 2"]) -> ResumableController:
    """The step-size controller for (rtol, atol)."""
    return ResumableController(dfx.PIDController(rtol=tolerances[0], atol=tolerances[1], norm=parameter_norm))


# What Diffrax puts where an implicit solver is to iterate to the controller's tolerances.
_CONTROLLERS = dfx.with_stepsize_controller_tols(optx.Newton)().rtol


def with_tolerances(solver: dfx.AbstractSolver[Any], controller: ResumableController) -> dfx.AbstractSolver[Any]:
    """The solver, iterating to the controller's tolerances where it has none of its own, as in `diffeqsolve`."""
    if not isinstance(solver, dfx.AbstractImplicitSolver):
        return solver
    names = [name for name in ("rtol", "atol", "norm") if getattr(solver.root_finder, name) is _CONTROLLERS]
    pick = lambda owner: [getattr(owner, name) for name in names]  # noqa: E731
    return eqx.tree_at(lambda solver: pick(solver.root_finder), solver, pick(controller))


def initial_state(
    landscape: Landscape,
    solver: dfx.AbstractSolver[Any],
    state: tuple[Float[Any, " n"], Float[Any, ""]],
    t0: Float[Any, ""],
    end: Float[Any, ""],
    tolerances: Float[Any, " 2"],
) -> SolverState:
    """The state of a solver at (θ, E) = `state` and time `t0` whose first step ends at `end`; to be traced."""
    terms, controller = dfx.ODETerm(GradientFlow(landscape)), controller_of(tolerances)
    solver = with_tolerances(solver, controller)
    solver_state = solver.init(terms, t0, end, state, None)
    order = solver.error_order(terms)
    end, controller_state = controller.init(terms, t0, end, state, end - t0, None, solver.func, order)
    accepted, fresh = jnp.asarray(True), jnp.asarray(False)
    made = SolverState(solver=solver_state, controller=controller_state, end=end, accepted=accepted, fresh=fresh)
    return strongly_typed(made)


def strongly_typed(tree: Any) -> Any:
    """The same arrays without weak types: one made of a Python number would be compiled for again."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)


def fresh_state(
    landscape: Landscape, solver: dfx.AbstractSolver[Any], start: Steps, dt: float, tolerances: tuple[float, float]
) -> SolverState:
    """The state of a solver that starts from a single record.

    It is empty and filled by the first call; not absent, so that one program takes the first steps and all others.

    Args:
        landscape: the landscape to integrate on.
        solver: a Diffrax solver.
        start: the single record to start from.
        dt: length of the first step.
        tolerances: rtol and atol.

    Returns:
        The state to hand to the first call.
    """
    dtype = start.ts.dtype
    t0 = np.asarray(start.ts[-1])
    end = np.asarray(t0 + dt, dtype)
    everything = landscape, solver, (start.thetas[-1], start.energies[-1]), t0, end, np.asarray(tolerances, dtype)
    arrays, static = eqx.partition(everything, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    others, rest = jax.tree.flatten(static)
    shapes = _state_shapes(structure, tuple((a.shape, np.dtype(a.dtype)) for a in leaves), rest, tuple(others))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    yes = np.asarray(True)
    return SolverState(solver=empty.solver, controller=empty.controller, end=end, accepted=yes, fresh=yes)


# The search for sign changes starts afresh many times.
@functools.lru_cache(maxsize=64)
def _state_shapes(structure: Any, shapes: Any, rest: Any, others: Any) -> SolverState:
    def initial(leaves: Any) -> SolverState:
        return initial_state(*eqx.combine(jax.tree.unflatten(structure, leaves), jax.tree.unflatten(rest, others)))

    return jax.eval_shape(initial, [jax.ShapeDtypeStruct(*shape) for shape in shapes])
