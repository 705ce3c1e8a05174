"""A bounded number of adaptive steps in one compiled program, with loss and speed recorded beside them."""

import dataclasses
import functools
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int

from ..compilation.traced import compiled
from ..landscapes.field import GradientFlow
from ..landscapes.landscape import Landscape
from ..solvers.controller import ResumableController

# Steps that one call may take: the program records as many.
CHUNK = 128
# A step that would end this many units of rounding before the end, or later, ends there (Diffrax's number).
CLOSE = 100


class Steps(eqx.Module):
    """Accepted steps: time, parameters, dissipated energy, loss and speed at each step's end."""

    ts: Float[np.ndarray, " T"]
    thetas: Float[np.ndarray, "T n"]
    energies: Float[np.ndarray, " T"]
    losses: Float[np.ndarray, " T"]
    speeds: Float[np.ndarray, " T"]

    def __getitem__(self, index: Any) -> "Steps":
        return jax.tree.map(lambda array: array[index], self)


# The order in which steps are packed into files.
FIELDS = tuple(field.name for field in dataclasses.fields(Steps))


def join(parts: list[Steps]) -> Steps:
    """Several runs of steps, one after the other."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def parameter_norm(scaled_error: tuple[Array, Array]) -> Array:
    """The norm of θ's error alone: the energy rides along, the flow must not depend on being measured."""
    return jnp.sqrt(jnp.mean(scaled_error[0] ** 2))


class Continuation(eqx.Module):
    """What solver and controller remember from one step to the next, and where the next one would end.

    - `end`: the end of the next step as proposed; `kept`: whether the last step was accepted; `fresh`: whether nothing
      is remembered yet.
    """

    solver: Any
    controller: Any
    end: Float[Any, ""]
    kept: Bool[Any, ""]
    fresh: Bool[Any, ""]

    @property
    def dt(self) -> float:
        """The step proposed next."""
        return float(self.controller[1])


class Leg(NamedTuple):
    """Accepted steps (possibly none), the number of steps tried, the memory to go on with, and whether that is over."""

    steps: Steps
    tried: int
    memory: Continuation
    ended: bool


# What Diffrax puts where an implicit solver is to iterate to the controller's tolerances.
_CONTROLLERS = dfx.with_stepsize_controller_tols(optx.Newton)().rtol


def _with_tolerances(solver: dfx.AbstractSolver, controller: ResumableController) -> dfx.AbstractSolver:
    """The solver, iterating to the controller's tolerances where it has none of its own, as in `diffeqsolve`."""
    if not isinstance(solver, dfx.AbstractImplicitSolver):
        return solver
    names = [name for name in ("rtol", "atol", "norm") if getattr(solver.root_finder, name) is _CONTROLLERS]
    pick = lambda owner: [getattr(owner, name) for name in names]  # noqa: E731
    return eqx.tree_at(lambda solver: pick(solver.root_finder), solver, pick(controller))


def _initial(landscape, solver, state, t0, end, tolerances) -> Continuation:
    """The memory of a solver whose first step ends at `end`."""
    terms, controller = dfx.ODETerm(GradientFlow(landscape)), _controller(tolerances)
    solver = _with_tolerances(solver, controller)
    solver_state = solver.init(terms, t0, end, state, None)
    order = solver.error_order(terms)
    end, controller_state = controller.init(terms, t0, end, state, end - t0, None, solver.func, order)
    return _typed(Continuation(solver_state, controller_state, end, True, False))  # pyright: ignore


def _typed(tree: Any) -> Any:
    """Arrays of plain types: one that was made of a Python number would be of another type, and compiled again."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)


def _controller(tolerances: Float[Array, " 2"]) -> ResumableController:
    return ResumableController(dfx.PIDController(rtol=tolerances[0], atol=tolerances[1], norm=parameter_norm))


def begin(
    landscape: Landscape, solver: dfx.AbstractSolver, start: Steps, dt: float, tolerances: tuple[float, float]
) -> Continuation:
    """The memory of a solver that starts from the single record `start` with a step of dt.

    It is empty, and filled by the first call; not absent, so that one program takes the first steps and all others.
    """
    dtype = start.ts.dtype
    t0 = np.asarray(start.ts[-1])
    end = np.asarray(t0 + dt, dtype)
    arrays, static = eqx.partition(
        (landscape, solver, _state(start), t0, end, np.asarray(tolerances, dtype)), eqx.is_array
    )
    leaves, structure = jax.tree.flatten(arrays)
    others, rest = jax.tree.flatten(static)
    shapes = _memory_shapes(structure, tuple((a.shape, np.dtype(a.dtype)) for a in leaves), rest, tuple(others))
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return Continuation(empty.solver, empty.controller, end, np.asarray(True), np.asarray(True))


# Searches for events begin anew again and again.
@functools.lru_cache(maxsize=64)
def _memory_shapes(structure: Any, shapes: Any, rest: Any, others: Any) -> Continuation:
    def initial(leaves: Any) -> Continuation:
        return _initial(*eqx.combine(jax.tree.unflatten(structure, leaves), jax.tree.unflatten(rest, others)))

    return jax.eval_shape(initial, [jax.ShapeDtypeStruct(*shape) for shape in shapes])


def _state(start: Steps) -> tuple[np.ndarray, np.ndarray]:
    return start.thetas[-1], start.energies[-1]


class _March(eqx.Module):
    """The state of the loop over steps; `records` holds (t, θ, E, L, ‖∇L‖) of the accepted ones."""

    t: Float[Array, ""]
    state: tuple[Array, Array]
    speed: Float[Array, ""]
    memory: Continuation
    tried: Int[Array, ""]
    accepted: Int[Array, ""]
    ended: Bool[Array, ""]
    records: tuple[Array, ...]


@compiled
def _advance(landscape, solver, state, speed, t0, t1, memory, tolerances, convergence, limit):
    terms, controller = dfx.ODETerm(GradientFlow(landscape)), _controller(tolerances)
    memory = jax.lax.cond(
        memory.fresh, lambda: _initial(landscape, solver, state, t0, memory.end, tolerances), lambda: memory
    )
    solver = _with_tolerances(solver, controller)
    near = t1 - CLOSE * jnp.finfo(t1.dtype).eps * jnp.abs(t1)

    def step(march: _March) -> _March:
        kept, end = march.memory.kept, march.memory.end
        end = jnp.where(end > near, jnp.where(kept, t1, march.t + 0.5 * (t1 - march.t)), end)
        y, error, _, solver_state, outcome = solver.step(
            terms, march.t, end, march.state, None, march.memory.solver, False
        )
        error = jax.tree.map(lambda x: jnp.where(jnp.isnan(x), jnp.inf, x), error)
        kept, t, next_end, _, controller_state, refused = controller.adapt_step_size(
            march.t, end, march.state, y, None, error, solver.error_order(terms), march.memory.controller
        )
        y, solver_state = _where(kept, (y, solver_state), (march.state, march.memory.solver))
        memory = Continuation(solver_state, controller_state, next_end, kept, march.memory.fresh)
        value, gradient = landscape.value_and_gradient(y[0])
        speed = jnp.linalg.norm(gradient)
        over = (speed < convergence) & (march.speed >= convergence) | ~jnp.isfinite(value) | ~jnp.isfinite(speed)
        ended = kept & (over | (outcome != dfx.RESULTS.successful)) | (refused != dfx.RESULTS.successful)
        # A rejected step's record is written beyond the end, that is nowhere.
        row = jnp.where(kept, march.accepted, CHUNK)
        records = tuple(
            rows.at[row].set(new, mode="drop") for rows, new in zip(march.records, (t, *y, value, speed), strict=True)
        )
        return _March(t, y, speed, memory, march.tried + 1, march.accepted + kept, ended, records)

    rows = lambda like: jnp.zeros((CHUNK, *like.shape), like.dtype)  # noqa: E731
    zero = jnp.asarray(0)
    records = (*map(rows, (t0, *state, speed, speed)),)
    # The first step goes on from what is proposed, also where the former end cut it short.
    first = _March(t0, state, speed, memory, zero, zero, jnp.asarray(False), records)
    last = jax.lax.while_loop(lambda march: (march.t < t1) & (march.tried < limit) & ~march.ended, step, first)
    return last.records, _typed(last.memory), (last.tried, last.accepted, last.ended)


def _where(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def step_onto(
    landscape: Landscape, solver: dfx.AbstractSolver, start: Steps, t: float, tolerances: tuple[float, float]
) -> Steps:
    """The record at time t, stepped onto from the single record `start`; a `FloatingPointError` if no step succeeds."""
    if t <= start.ts[-1]:
        return start
    memory = begin(landscape, solver, start, t - float(start.ts[-1]), tolerances)
    while start.ts[-1] < np.asarray(t, start.ts.dtype):
        leg = advance(landscape, solver, start, t, memory, tolerances)
        if leg.ended or len(leg.steps.ts) == 0:
            raise FloatingPointError(f"no step from t = {start.ts[-1]:g} towards {t:g} succeeds.")
        start, memory = leg.steps[-1:], leg.memory
    return start


def advance(
    landscape: Landscape,
    solver: dfx.AbstractSolver,
    start: Steps,
    t1: float,
    memory: Continuation,
    tolerances: tuple[float, float],
    convergence: float | None = None,
    limit: int = CHUNK,
) -> Leg:
    r"""Takes at most `limit` steps, up to `CHUNK`, from the single record `start` towards t1.

    It ends for good at a step after which loss or speed are not finite, the last of the accepted ones, or the speed has
    fallen below `convergence` from above.
    """
    dtype = start.ts.dtype
    # Arrays, not Python numbers: numbers would be compiled in.
    speed, t0, end = (np.asarray(number, dtype) for number in (start.speeds[-1], start.ts[-1], t1))
    threshold = np.asarray(-np.inf if convergence is None else convergence, dtype)
    records, memory, counts = _advance(
        landscape,
        solver,
        _state(start),
        speed,
        t0,
        end,
        memory,
        np.asarray(tolerances, dtype),
        threshold,
        np.asarray(limit),
    )
    tried, accepted, ended = (int(count) for count in counts)
    return Leg(Steps(*(np.array(np.asarray(rows)[:accepted]) for rows in records)), tried, memory, bool(ended))
