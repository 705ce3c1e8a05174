"""Exact gradient flow of a model."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import diffrax as dfx
import jax.numpy as jnp
import numpy as np

from ..landscapes.landscape import Landscape, flatten
from ..losses.statistics import SufficientStatistics, reduced_data
from .checkpoint import Checkpoint, fingerprint
from .checks import check_data, check_loss, check_model, check_times, check_tolerances
from .march import Limits, March, march_on
from .patience import Patience
from .sign_changes import check_sign_changes
from .stepping import Steps
from .trajectory import Trajectory


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
    save_times: Iterable[float] | None = None,
    convergence: float | None = None,
    max_steps: int = 200_000,
    budget: float | None = None,
    reduce_data: bool = True,
    sign_changes: Mapping[str, Callable[[Any], Any]] | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory:
    r"""Integrates $\dot\theta = -\nabla L(\theta)$ from the model's weights to time t1.

    Every accepted step is kept (beyond 2e7 numbers every second, fourth, …), so that a fast transition, where steps
    are short, is resolved as finely as the integrator needed it; loss, speed $\|\nabla L\|$ and the energy
    $\int \|\nabla L\|^2 dt$ are recorded as it goes.

    **Arguments:**

    - `model`: any Equinox module with floating-point arrays, which are the state θ.
    - `loss`: scalar function of (model, data).
    - `data`: any PyTree of arrays.
    - `t1`: end of the time interval [0, t1].
    - `solver`: a Diffrax solver with error estimate. By default Tsit5, which gives way to one for stiff fields (`BDF`,
      `MatrixFreeBDF`, `Rodas5P`, `ExtrapolatedRKC`, `KrylovRosenbrock`) once most of what is left would be steps held
      short by stability alone; `stats["solver_history"]` and `stats["reason"]` say so.
    - `rtol`, `atol`: tolerances of the step; by default rtol is 1e-10 in float64 and atol is rtol times the size of
      the small initial weights.
    - `save_times`: increasing times in (0, t1] to step onto exactly, besides the steps that the integrator chooses.
    - `convergence`: stop once $\|\nabla L\|$ falls below this after having been above it; `None`: run to t1.
    - `max_steps`: number of steps, rejected ones included, after which to stop.
    - `budget`: wall-clock seconds after which to stop, also within a step, but not before the first gradient.
    - `reduce_data`: for squared errors of models that declare features, integrate with exact sufficient statistics
      instead of the sample (the same loss, at a cost that does not depend on the number of samples); the trajectory's
      `loss` and `data` are then `statistics_loss` and the `SufficientStatistics`.
    - `sign_changes`: named functions from the model to real numbers of any shape, whose changes of sign the trajectory
      records without stopping: `{"low": lambda model: loss(model, data) - 0.1}` is a loss level.
    - `checkpoint`: a file to which the flow's whole state is written every minute and at the end. Where it exists, the
      flow goes on from it, and ends with the same bits as an uninterrupted one; with a larger t1 than before, from the
      old t1, onto which the last step was cut. Delete it to start again.
    - `progress`: called with (t, loss) every two seconds or more often.

    **Returns:** a `Trajectory`; its `result` names why it ended. A failure (non-finite values, too many steps, a spent
    budget, interruption by Ctrl-C) keeps what was computed until then, but for half a second or one step.

    **Raises:** `ValueError` for weights, data, loss, tolerances or times that make no sense, and for the checkpoint of
    another flow.
    """
    began = time.monotonic()
    check_model(model)
    check_data(data)
    check_loss(loss, model, data)
    theta = flatten(model)
    rtol = default_rtol(theta.dtype) if rtol is None else rtol
    atol = default_atol(np.asarray(theta), rtol) if atol is None else atol
    check_tolerances(rtol, atol, theta.dtype)
    check_sign_changes(sign_changes := sign_changes or {}, model)
    stops = check_times(t1, save_times).astype(theta.dtype)
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1; got {max_steps}.")

    loss, data = reduced_data(model, loss, data) if reduce_data else (loss, data)
    landscape = Landscape(model, loss, data)
    with Patience() as patience:
        start = patience.wait(_first, landscape)
        patience.end = began + budget if budget is not None else patience.end
        march = March(landscape, (rtol, atol), solver, _first_step(start, stops[-1]), sign_changes, patience)
        settings = {"rtol": rtol, "atol": atol, "save_times": stops[:-1].tolist(), "convergence": convergence}
        saving = None
        if checkpoint is not None:
            saving = Checkpoint(checkpoint, fingerprint(landscape, solver, march.watch.functions, **settings))
        path, result = march_on(march, start, stops, Limits(convergence, max_steps), saving, progress)
    steps = path.steps()
    if result.failed:
        warnings.warn(f"gradient flow stopped early at t = {steps.ts[-1]:.6g}: {result.value}.", stacklevel=2)
    stats = {
        "num_steps": march.tried,
        "num_accepted_steps": path.accepted,
        "num_rejected_steps": march.tried - path.accepted,
        "rtol": rtol,
        "atol": atol,
        "solver_history": march.history,
        "reason": march.reason,
        "reduced_data": isinstance(data, SufficientStatistics),
    }
    return Trajectory(
        steps=steps,
        result=result,
        stats=stats,
        landscape=landscape,
        solver=march.solver,
        sign_changes=march.watch.found,
    )


def _first(landscape: Landscape) -> Steps:
    theta = landscape.theta
    loss, gradient = landscape.value_and_gradient(theta)
    speed = np.linalg.norm(gradient)
    if not (np.isfinite(loss) and np.isfinite(speed)):
        raise ValueError("the loss or its gradient is not finite at the initial weights.")
    zero = np.zeros(1, theta.dtype)
    return Steps(zero, theta[None], zero, np.asarray(loss)[None], np.asarray(speed, theta.dtype)[None])


def _first_step(start: Steps, t1: float) -> float:
    """A hundredth of the time in which the weights would change by their own size; the controller corrects it."""
    size, speed = np.linalg.norm(start.thetas[0]), start.speeds[0]
    return float(min(0.01 * size / speed, t1)) if size > 0 and speed > 0 else 1e-3 * t1
