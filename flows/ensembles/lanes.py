"""A bounded number of steps of many flows in one compiled program, one flow in each lane."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ..landscapes.landscape import Landscape
from ..simulation.one_step import first_point, stepper_of, where
from ..simulation.solver_state import SolverState, strongly_typed
from ..simulation.stepping import CHUNK, Chunk, advance, advance_optimised
from ..simulation.steps import FIELDS, Steps
from ..solvers.unrolled import UnrolledTsit5


class Lane(NamedTuple):
    """What `advance` takes, for one flow.

    Attributes:
        landscape: the landscape to integrate on.
        solver: a Diffrax solver.
        start: the single record to start from.
        t1: the time to stop at.
        solver_state: what solver and controller remember.
        tolerances: rtol and atol.
        convergence: the speed below which the flow is over; `None`: never.
        limit: the number of steps to try, at most `CHUNK`.
    """

    landscape: Landscape
    solver: dfx.AbstractSolver[Any]
    start: Steps
    t1: float
    solver_state: SolverState
    tolerances: tuple[float, float]
    convergence: float | None
    limit: int


def advance_lanes(lanes: Sequence[Lane], size: int, shared: bool, devices: int = 1) -> list[Chunk]:
    """Takes a bounded number of steps of several flows together, each as `advance` would take them.

    A flow that has done its steps waits for the slowest of the call, which costs it nothing but time: all have tried
    the same number of steps, up to what is left of each.

    Args:
        lanes: the flows, at most `size`, on landscapes of one program and with solvers of one kind.
        size: the number of lanes of the compiled program; those that are left over repeat the first flow and rest.
        shared: whether all flows have the first one's landscape and solver, except for their weights.
        devices: the number of local devices among which the lanes are shared out evenly, each with a loop of its own.

    Returns:
        The steps of each flow.
    """
    resting = [lanes[0]._replace(limit=0)] * (size - len(lanes))
    each = _stacked([_of_a_call(lane) for lane in (*lanes, *resting)])
    arrays, static = eqx.partition((lanes[0].landscape, lanes[0].solver), eqx.is_array)
    stacked = None
    if not shared:
        parts = [eqx.filter((lane.landscape, lane.solver), eqx.is_array) for lane in (*lanes, *resting)]
        arrays, stacked = None, _stacked(parts)
    records, accepted, solver_states, tried, ended = jax.tree.map(
        np.asarray, _advance_lanes(static, devices, arrays, stacked, each)
    )
    chunks: list[Chunk] = []
    for k in range(len(lanes)):
        columns = [np.array(rows[accepted[:, k], k]) for rows in records]
        chunk = Chunk(
            steps=Steps(**dict(zip(FIELDS, columns, strict=True))),
            tried=int(tried[k]),
            solver_state=jax.tree.map(lambda leaf, k=k: np.array(leaf[k]), solver_states),
            ended=bool(ended[k]),
        )
        chunks.append(chunk)
    return chunks


def _of_a_call(lane: Lane) -> tuple[Any, ...]:
    """The arrays that differ from lane to lane: what `stepper_of` and `first_point` take, and the limit."""
    start, dtype = lane.start, lane.start.ts.dtype
    speed, t0, end = (np.asarray(number, dtype) for number in (start.speeds[-1], start.ts[-1], lane.t1))
    threshold = np.asarray(-np.inf if lane.convergence is None else lane.convergence, dtype)
    state, pair = (start.thetas[-1], start.energies[-1]), np.asarray(lane.tolerances, dtype)
    return end, pair, threshold, state, speed, t0, lane.solver_state, np.asarray(lane.limit)


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@eqx.filter_jit
def _advance_lanes(static: Any, devices: int, shared: Any, stacked: Any, each: Any) -> Any:
    def advanced(shared: Any, stacked: Any, each: Any) -> Any:
        return _looped(lambda own: eqx.combine(shared if own is None else own, static), stacked, each)

    if devices == 1:
        return advanced(shared, stacked, each)
    mesh = Mesh(np.array(jax.local_devices()[:devices]), ("lanes",))
    each_lane, each_step = PartitionSpec("lanes"), PartitionSpec(None, "lanes")
    # Diffrax's loops do not pass the check of what varies between devices.
    inputs, outputs = (PartitionSpec(), each_lane, each_lane), (each_step, each_step, each_lane, each_lane, each_lane)
    return jax.shard_map(advanced, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)(
        shared, stacked, each
    )


def _looped(parts: Callable[[Any], tuple[Landscape, Any]], stacked: Any, each: Any) -> Any:
    """The loop over steps: records, which of them count, solver states, steps tried, and whether flows have ended."""

    def begin(own: Any, each: Any) -> Any:
        (landscape, solver), (_, tolerances, _, state, speed, t0, solver_state, _) = parts(own), each
        return first_point(landscape, _fast(solver), state, speed, t0, solver_state, tolerances)

    def step(own: Any, each: Any, point: Any, count: Any) -> Any:
        (landscape, solver), (t1, tolerances, convergence, *_, limit) = parts(own), each
        stepper = stepper_of(landscape, _fast(solver), t1, tolerances, convergence)
        after, record, accepted = stepper.step(point)
        going = stepper.continues(point) & (count < limit)
        after = where(going, after, point)
        more = stepper.continues(after) & (count + 1 < limit)
        return after, record, accepted & going, going, more

    def body(loop: Any) -> Any:
        count, points, records, accepted, tried, _ = loop
        points, record, kept, going, more = jax.vmap(step, (0, 0, 0, None))(stacked, each, points, count)
        records = tuple(rows.at[count].set(new) for rows, new in zip(records, record, strict=True))
        return count + 1, points, records, accepted.at[count].set(kept), tried + going, more

    points = jax.vmap(begin)(stacked, each)
    t1, _, _, state, speed, t0, _, limit = each
    rows = lambda like: jnp.zeros((CHUNK, *like.shape), like.dtype)  # noqa: E731
    going = (t0 < t1) & (limit > 0)
    first = (
        jnp.asarray(0),
        points,
        (*map(rows, (t0, *state, speed, speed)),),
        rows(going),
        jnp.zeros_like(limit),
        going,
    )
    _, points, records, accepted, tried, _ = jax.lax.while_loop(lambda loop: jnp.any(loop[-1]), body, first)
    return records, accepted, strongly_typed(points.solver_state), tried, points.ended


def advance_alone(lane: Lane) -> list[Chunk]:
    """Takes a bounded number of steps of one flow."""
    if type(lane.solver) is not dfx.Tsit5:
        return [advance(*lane)]
    return [advance(*lane._replace(solver=UnrolledTsit5()), program=advance_optimised)]


def _fast(solver: dfx.AbstractSolver[Any]) -> dfx.AbstractSolver[Any]:
    """The solver that takes the same steps in less time, once it is compiled."""
    return UnrolledTsit5() if type(solver) is dfx.Tsit5 else solver
