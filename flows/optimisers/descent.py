"""Discrete dynamics: an optimiser's steps, recorded as a trajectory on the flow's time axis."""

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten
from ..losses.statistics import SufficientStatistics, is_reduced, reduced_data
from ..simulation.checks import check_data, check_loss, check_model, check_times
from ..simulation.patience import OutOfTime, Patience
from ..simulation.recorder import KEPT_NUMBERS
from ..simulation.result import Result
from ..simulation.steps import Steps
from ..simulation.trajectory import Trajectory
from .optimiser import Optimiser

# Records per compiled call: what an interruption may cost; a call of small networks takes a second at most.
ROWS = 32


class Minibatches(eqx.Module):
    """Random minibatches without replacement: all samples once per epoch, except an incomplete last batch.

    Attributes:
        size: samples per batch.
        count: samples in all.
    """

    size: int = eqx.field(static=True)
    count: int = eqx.field(static=True)

    def draw(self, step: Array, order: Array, key: PRNGKeyArray, data: Any) -> tuple[Any, Array]:
        """The batch of step number `step`, and the order of the samples in its epoch."""
        per_epoch = self.count // self.size

        def shuffled():
            return jax.random.permutation(jax.random.fold_in(key, step // per_epoch), self.count)

        order = jax.lax.cond(step % per_epoch == 0, shuffled, lambda: order)
        chosen = jax.lax.dynamic_slice(order, (step % per_epoch * self.size,), (self.size,))
        return jax.tree.map(lambda array: array[chosen], data), order


class _Descent(eqx.Module):
    """What is compiled: the landscape, the optimiser, and how batches are drawn (`None`: all samples)."""

    landscape: Landscape
    sampled: Landscape | None
    optimiser: Optimiser
    batches: Minibatches | None

    def begin(self, theta: Float[Any, " n"]) -> tuple[Any, ...]:
        order = jnp.arange(0 if self.batches is None else self.batches.count)
        return jnp.zeros((), int), theta, self.optimiser.transformation.init(theta), order

    def step(self, state: tuple[Any, ...], sample: Any, key: PRNGKeyArray) -> tuple[Any, ...]:
        number, theta, memory, order = state
        if self.batches is None or self.sampled is None:
            gradient = self.landscape.gradient(theta)
        else:
            batch, order = self.batches.draw(number, order, key, sample)
            gradient = eqx.tree_at(lambda landscape: landscape.data, self.sampled, batch).gradient(theta)
        update, memory = self.optimiser.transformation.update(gradient, memory, theta)
        return number + 1, theta + update, memory, order

    @eqx.filter_jit
    def rows(self, state: tuple[Any, ...], strides: Any, sample: Any, key: PRNGKeyArray) -> tuple[tuple[Any, ...], Any]:
        """Takes each stride of steps in turn; the last state, and the records (θ, L, ‖∇L‖) after each stride."""

        def row(state: Any, stride: Any) -> Any:
            state = jax.lax.fori_loop(0, stride, lambda _, s: self.step(s, sample, key), state)
            loss, gradient = self.landscape.value_and_gradient(state[1])
            return state, (state[1], loss, jnp.linalg.norm(gradient))

        return jax.lax.scan(row, state, strides)


def descend(
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    *,
    optimiser: Optimiser,
    t1: float,
    batch: int | None = None,
    key: PRNGKeyArray | None = None,
    records: int = 2000,
    budget: float | None = None,
    reduce_data: bool = True,
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory:
    r"""Minimises a loss by an optimiser's steps, as a `Trajectory` over time = steps × time per step.

    It is the counterpart of `simulate` for discrete steps, and every analysis of a flow applies to its trajectory;
    `compare` in `saddlescope.analysis` compares the two. Invalid arguments raise `ValueError`.

    Args:
        model: the initial model, as for `simulate`.
        loss: scalar function of (model, data).
        data: any PyTree of arrays.
        optimiser: `gradient_descent(…)`, `momentum(…)`, `adam(…)`, or an `Optimiser` of any optax transformation.
        t1: end of the time interval [0, t1]; the last step is the one that reaches it.
        batch: number of samples per step, at most all; `None`: all. Every array of `data` must then have the samples on
            its first axis, and the loss must be an average over them.
        key: random key for the batches.
        records: number of equally spaced times at which weights, loss and speed (both of all samples) are recorded.
        budget: wall-clock seconds after which to stop, as for `simulate`.
        reduce_data: whether to use exact sufficient statistics, as for `simulate`.
        progress: called with (t, loss) at least every two seconds.

    Returns:
        A `Trajectory` without a `solver`, since there is nothing to step onto between its times. Its `energies` are
        $\int \|\nabla L\|^2 dt$ over the records by the trapezoidal rule, so that `energy_error` measures the distance
        from gradient flow. An iteration that stops being finite ends there with the result `diverged`.
    """
    _check(model, loss, data, t1, records)
    batches = None if batch is None else Minibatches(size=batch, count=_sample_size(data, batch, key))
    landscape = Landscape(model, *(reduced_data(model, loss, data) if reduce_data else (loss, data)))
    sampled, sample, theta = None, None, flatten(model)
    if batches is not None:
        sample = data
        sampled = Landscape(model, loss, jax.tree.map(lambda array: np.asarray(array)[:batch], data))
    descent = _Descent(landscape=landscape, sampled=sampled, optimiser=optimiser, batches=batches)
    numbers = _recorded_steps(t1 / optimiser.time, min(records, max(KEPT_NUMBERS // theta.size, 2)))
    key = jax.random.key(0) if key is None else key
    columns, result = _run(descent, theta, numbers, (sample, key), budget, progress)
    name = optimiser.name if batch is None else f"{optimiser.name}, batches of {batch}"
    trajectory = _trajectory(descent, name, numbers, columns, result)
    if result is Result.diverged:
        warnings.warn(f"{optimiser.name}: diverged after t = {trajectory.ts[-1]:.6g}.", stacklevel=2)
    return trajectory


def _check(model: Any, loss: Callable[[Any, Any], Any], data: Any, t1: float, records: int) -> None:
    check_model(model)
    check_data(data)
    check_loss(loss, model, data)
    check_times(t1, None)
    if records < 2:
        raise ValueError(f"records must be at least 2; got {records}.")


def _recorded_steps(steps: float, records: int) -> Int[np.ndarray, " T"]:
    """The numbers of the steps to record, from 0 to the last."""
    # Half an ulp of slack: t1 = 10 steps of 0.1 is ten steps.
    last = max(math.ceil(steps * (1 - 1e-12)), 1)
    return np.round(np.linspace(0, last, min(records, last) + 1)).astype(int)


def _trajectory(
    descent: _Descent, name: str, numbers: Int[np.ndarray, " T"], columns: list[np.ndarray], result: Result
) -> Trajectory:
    thetas, losses, speeds = columns
    optimiser = descent.optimiser
    ts = (numbers[: len(losses)] * optimiser.time).astype(thetas.dtype)
    taken = int(numbers[len(losses) - 1])
    stats = {
        "method": name,
        "time_per_step": optimiser.time,
        "follows_flow": optimiser.follows_flow,
        "num_steps": taken,
        "num_accepted_steps": taken,
        "num_rejected_steps": 0,
        "rtol": None,
        "atol": None,
        "solver_history": [(0.0, optimiser.name)],
        "reason": "",
        "reduced_data": is_reduced(descent.landscape),
    }
    energies = np.asarray(scipy.integrate.cumulative_trapezoid(speeds**2, ts, initial=0.0), thetas.dtype)
    steps = Steps(ts=ts, thetas=thetas, energies=energies, losses=losses, speeds=speeds)
    return Trajectory(steps=steps, result=result, stats=stats, landscape=descent.landscape, solver=None)


def _run(
    descent: _Descent,
    theta: Float[np.ndarray, " n"],
    numbers: Int[np.ndarray, " T"],
    arguments: tuple[Any, PRNGKeyArray],
    budget: float | None,
    progress: Callable[[float, float], None] | None,
) -> tuple[list[np.ndarray], Result]:
    """Records (θ, L, ‖∇L‖) at the given step numbers, the first of them zero, and why they end."""
    strides = np.diff(numbers, prepend=0)
    # Rows that fill up the last chunk take no steps.
    chunks = np.pad(strides, (0, -len(strides) % ROWS)).reshape(-1, ROWS)
    began, state, parts, result = time.monotonic(), descent.begin(theta), [], Result.reached_t1

    def tell() -> None:
        if progress is not None and parts:
            done = numbers[sum(len(rows[1]) for rows in parts) - 1]
            progress(float(done * descent.optimiser.time), float(parts[-1][1][-1]))

    def rows_of(state: tuple[Any, ...], chunk: np.ndarray) -> tuple[tuple[Any, ...], list[np.ndarray]]:
        state, rows = descent.rows(state, chunk, *arguments)
        return state, [np.asarray(column) for column in rows]

    try:
        with Patience() as patience:
            patience.idle = tell
            for k, chunk in enumerate(chunks):
                state, rows = patience.wait(rows_of, state, chunk)
                rows = [column[: len(strides) - k * ROWS] for column in rows]
                finite = np.isfinite(rows[1]) & np.isfinite(rows[2])
                if not np.all(finite):
                    parts.append([column[: int(np.argmin(finite))] for column in rows])
                    result = Result.diverged
                    break
                parts.append(rows)
                tell()
                # Not before there is something to return.
                patience.end = began + budget if budget is not None else patience.end
    except OutOfTime:
        result = Result.budget
    except KeyboardInterrupt:
        if not parts:
            raise
        result = Result.interrupted
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if len(columns[0]) == 0:
        raise ValueError("the loss or its gradient is not finite at the initial weights.")
    return columns, result


def _sample_size(data: Any, batch: int, key: PRNGKeyArray | None) -> int:
    """The number of samples; a `ValueError` where batches of that size cannot be drawn."""
    if key is None:
        raise ValueError("minibatches are random: give a key, such as key=jax.random.key(0).")
    counts = {np.shape(array)[0] if np.ndim(array) else 0 for array in jax.tree.leaves(data)}
    if isinstance(data, SufficientStatistics) or len(counts) != 1:
        raise ValueError("minibatches need a sample: every array of the data with the samples on its first axis.")
    (count,) = counts
    if not 1 <= batch <= count:
        raise ValueError(f"the batch must hold between 1 and all {count} samples; got {batch}.")
    return count
