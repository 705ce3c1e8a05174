"""Exact gradient flow of a model."""

import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .auto import choose
from .checks import check_data, check_loss, check_model, check_times, check_tolerances
from .field import GradientFlow, flatten
from .path import Path
from .statistics import Statistics, reduced_data
from .stepping import Continuation, Steps, advance, begin, observe
from .trajectory import Result, Trajectory


def default_rtol(dtype: Any) -> float:
    """1e-10 in float64, where conserved quantities then drift by less than 1e-8; a thousand epsilons otherwise."""
    return max(1e-10, 1000 * float(jnp.finfo(dtype).eps))


def default_atol(theta: np.ndarray, rtol: float) -> float:
    """rtol times the size of the small initial weights (their tenth percentile, zeros left out).

    An absolute tolerance above the dormant weights would erase the very growth that ends a plateau.
    """
    sizes = np.abs(theta[theta != 0])
    # With all weights zero the flow has no scale of its own and starts at a critical point of most networks.
    return rtol * float(np.quantile(sizes, 0.1)) if sizes.size else rtol


def simulate(
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    *,
    t1: float,
    solver: dfx.AbstractSolver | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    saveat: Iterable[float] | None = None,
    convergence: float | None = None,
    max_steps: int = 200_000,
    budget: float | None = None,
    statistics: bool = True,
    progress_meter: Callable[[float, float], None] | None = None,
) -> Trajectory:
    r"""Integrates $\dot\theta = -\nabla L(\theta)$ from the model's weights to time t1.

    Every accepted step is kept (beyond 4e7 numbers every second, fourth, …), so that a fast transition, where steps
    are short, is resolved as finely as the integrator needed it; loss, speed $\|\nabla L\|$ and the energy
    $\int \|\nabla L\|^2 dt$ are recorded as it goes.

    **Arguments:**

    - `model`: any Equinox module with floating-point arrays, which are the state θ.
    - `loss`: scalar function of (model, data).
    - `data`: any PyTree of arrays.
    - `t1`: end of the time interval [0, t1].
    - `solver`: a Diffrax solver with error estimate. By default Tsit5, which gives way to `BDF`, or `KrylovRosenbrock`
      beyond 1000 parameters, once most of what is left would be steps held short by stability alone; `stats["solver"]`
      and `stats["reason"]` say so.
    - `rtol`, `atol`: tolerances of the step; by default rtol is 1e-10 in float64 and atol is rtol times the size of
      the small initial weights.
    - `saveat`: increasing times in (0, t1] to step onto exactly, besides the steps that the integrator chooses.
    - `convergence`: stop once $\|\nabla L\|$ falls below this after having been above it; `None`: run to t1.
    - `max_steps`: number of steps, rejected ones included, after which to stop.
    - `budget`: wall-clock seconds after which to stop.
    - `statistics`: for squared errors of models that declare features, integrate with exact sufficient statistics
      instead of the sample (the same loss, at a cost that does not depend on the number of samples); the trajectory's
      `loss` and `data` are then `statistics_loss` and the `Statistics`.
    - `progress_meter`: called with (t, loss) now and then.

    **Returns:** a `Trajectory`; its `result` names why it ended. A failure (non-finite values, too many steps,
    interruption by Ctrl-C) keeps everything computed until then.

    **Raises:** `ValueError` for weights, data, loss, tolerances or times that make no sense.
    """
    check_model(model)
    check_data(data)
    check_loss(loss, model, data)
    theta = flatten(model)
    rtol = default_rtol(theta.dtype) if rtol is None else rtol
    atol = default_atol(np.asarray(theta), rtol) if atol is None else atol
    check_tolerances(rtol, atol, theta.dtype)
    stops = check_times(t1, saveat)
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1; got {max_steps}.")

    loss, data = reduced_data(model, loss, data) if statistics else (loss, data)
    flow = GradientFlow(model, loss)
    start = _first(flow, theta, data)
    limits = _Limits(convergence, max_steps, budget)
    march = _March(flow, data, (rtol, atol), solver, _first_step(start, stops[-1]))
    path, result = _run(march, start, stops, limits, progress_meter)
    steps = path.steps()
    if result.failed:
        warnings.warn(f"gradient flow stopped early at t = {steps.ts[-1]:.6g}: {result.value}.", stacklevel=2)
    stats = {
        "num_steps": march.tried,
        "num_accepted_steps": path.accepted,
        "num_rejected_steps": march.tried - path.accepted,
        "rtol": rtol,
        "atol": atol,
        "solver": march.name,
        "reason": march.reason,
        "statistics": isinstance(data, Statistics),
    }
    return Trajectory(
        steps.ts, steps.ys, steps.losses, steps.speeds, steps.energies, result, stats, model, loss, data, march.solver
    )


# Crossing a kink once shrinks the steps for a few dozen tries; sliding along it shrinks them for good.
CRAWLING_CHUNKS = 4


class _Limits(eqx.Module):
    convergence: float | None
    max_steps: int
    budget: float | None


def _first(flow: GradientFlow, theta: Any, data: Any) -> Steps:
    zero = jnp.zeros((), theta.dtype)
    y, energy, loss, speed = (np.asarray(value)[None] for value in observe(flow, (theta, zero), data))
    if not (np.isfinite(loss[0]) and np.isfinite(speed[0])):
        raise ValueError("the loss or its gradient is not finite at the initial weights.")
    return Steps(np.zeros(1, theta.dtype), y, energy, loss, speed)


def _first_step(start: Steps, t1: float) -> float:
    """A hundredth of the time in which the weights would change by their own size; the controller corrects it."""
    size, speed = np.linalg.norm(start.ys[0]), start.speeds[0]
    return float(min(0.01 * size / speed, t1)) if size > 0 and speed > 0 else 1e-3 * t1


class _March:
    """Steps of the chosen solver, and of a better one once it pays."""

    def __init__(self, flow: GradientFlow, data: Any, tolerances: tuple[float, float], solver: Any, dt: float):
        self.flow, self.data, self.tolerances = flow, data, tolerances
        self.solver, self.free = (dfx.Tsit5(), True) if solver is None else (solver, False)
        self.name, self.reason = type(self.solver).__name__, ""
        self.tried, self._dt = 0, dt
        self._memory: Continuation | None = None

    def steps(self, start: Steps, stop: float) -> Steps:
        """A chunk of accepted steps from the record `start` towards `stop`."""
        if self._memory is None:
            self._memory = begin(self.flow, self.solver, start, self._dt, self.data)
        steps, tried, self._memory = advance(
            self.flow, self.solver, start, stop, self._memory, self.tolerances, self.data
        )
        self.tried += tried
        return steps

    def reconsider(self, now: Steps, remaining: float) -> None:
        """Changes to a stiff solver if the rest of the flow costs less with it."""
        if not self.free or self._memory is None or remaining <= 0:
            return
        choice = choose(self.flow, jnp.asarray(now.ys[-1]), self.data, remaining, self._memory.dt)
        if choice is not None:
            self.solver, self.free, self._memory, self._dt = choice.solver, False, None, self._memory.dt
            self.name += f", from t = {now.ts[-1]:.4g} {type(choice.solver).__name__}"
            self.reason = choice.reason


def _run(march, start, stops, limits, progress_meter):
    """Steps onto each stop in turn, in chunks, until the end or a reason to stop."""
    path, began = Path(start, stops), time.monotonic()
    watch = _Crawling(_shortest_time(start) if start.ys.any() else float("inf"), march.tolerances[0])
    try:
        for stop in stops:
            while path.last.ts[-1] < stop:
                last = path.last
                steps, result = _truncate(last, march.steps(last, stop), limits.convergence)
                if len(steps.ts):
                    path.extend(steps)
                    if progress_meter is not None:
                        progress_meter(float(steps.ts[-1]), float(steps.losses[-1]))
                if result is None and steps.ts[-1] < stops[-1]:
                    late = limits.budget is not None and time.monotonic() - began > limits.budget
                    result = Result.budget if late else Result.max_steps if march.tried >= limits.max_steps else None
                    result = Result.sliding if watch(last, steps, stop) else result
                if result is not None:
                    return path, result
                march.reconsider(path.last, stops[-1] - path.last.ts[-1])
    except KeyboardInterrupt:
        return path, Result.interrupted
    return path, Result.reached_t1


class _Crawling:
    """Notices when several chunks in a row get nowhere, compared with the flow's shortest natural time so far.

    On a discontinuity of the field that attracts from both sides the error control allows only steps that overshoot
    it by less than the tolerance: a step takes about rtol of that time, where smooth fields of any stiffness that an
    explicit method can bear take more than a millionth of it over a chunk.
    """

    def __init__(self, natural: float, rtol: float):
        self.natural, self.share, self.chunks = natural, min(1e4 * rtol, 1e-6), 0

    def __call__(self, last: Steps, steps: Steps, stop: float) -> bool:
        self.natural = min(self.natural, _shortest_time(steps))
        crawls = steps.ts[-1] < stop and steps.ts[-1] - last.ts[-1] < self.share * self.natural
        self.chunks = self.chunks + 1 if crawls else 0
        return self.chunks == CRAWLING_CHUNKS


def _shortest_time(steps: Steps) -> float:
    r"""The shortest time, over some steps, in which the weights would change by their own size, ‖θ‖ / ‖∇L‖."""
    return float(np.min(np.linalg.norm(steps.ys, axis=1) / np.maximum(steps.speeds, 1e-300)))


def _truncate(last: Steps, steps: Steps, convergence: float | None) -> tuple[Steps, Result | None]:
    """The steps up to the first that ends the flow, and why it does; `None` to go on."""
    if len(steps.ts) == 0:
        return steps, Result.not_finite
    bad = ~(np.isfinite(steps.losses) & np.isfinite(steps.speeds))
    if np.any(bad):
        return steps[: int(np.argmax(bad))], Result.not_finite
    if convergence is not None:
        before = np.concatenate([last.speeds, steps.speeds[:-1]])
        crossed = (steps.speeds < convergence) & (before >= convergence)
        if np.any(crossed):
            return steps[: int(np.argmax(crossed)) + 1], Result.converged
    return steps, None
