"""Exact gradient flow of a model."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import diffrax as dfx
import numpy as np
from jaxtyping import Float

from ...models import partly_trainable
from ..compilation.memory import return_freed_memory
from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten
from ..losses.statistics import is_reduced, reduced_data
from .checkpoint import Checkpoint, fingerprint
from .checks import check_data, check_loss, check_model, check_times, check_tolerances
from .integration import Integration, Limits, integrate
from .patience import Patience
from .result import Outcome
from .sign_changes import SignChangeRecorder, check_sign_changes
from .steps import Steps
from .tolerances import default_atol, default_rtol
from .trajectory import Trajectory


def simulate(
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    *,
    t1: float,
    solver: dfx.AbstractSolver[Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    save_times: Iterable[float] | None = None,
    convergence: float | None = None,
    max_steps: int = 200_000,
    budget: float | None = None,
    reduce_data: bool = True,
    trainable: Any = None,
    sign_changes: Mapping[str, Callable[[Any], Any]] | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Trajectory:
    r"""Integrates the gradient flow $\dot\theta = -\nabla L(\theta)$ from the model's weights to time t1.

    Every accepted step is recorded (beyond 2e7 numbers every second, fourth, …), so that a fast transition, where steps
    are short, is resolved as finely as the integrator needed it. Loss, speed $\|\nabla L\|$ and dissipated energy
    $\int \|\nabla L\|^2 dt$ are recorded with it.

    Args:
        model: any Equinox module with floating-point arrays, which make up the state θ.
        loss: scalar function of (model, data).
        data: any PyTree of arrays.
        t1: end of the time interval [0, t1].
        solver: a Diffrax solver with error estimate. By default Tsit5, which is replaced by a solver for stiff fields
            (`BDF`, `MatrixFreeBDF`, `Rodas5P`, `ExtrapolatedRKC`, `KrylovRosenbrock`) once most of the remaining steps
            would be limited by stability; `stats["solver_history"]` and `stats["reason"]` record it.
        rtol: relative tolerance per step; by default 1e-10 in float64 and a thousand machine epsilons otherwise.
        atol: absolute tolerance per step; by default rtol times the tenth percentile of the non-zero initial |θ|, since
            a larger one would erase the growth that ends a plateau.
        save_times: increasing times in (0, t1] to step onto exactly, besides the steps that the integrator chooses.
        convergence: the speed $\|\nabla L\|$ below which to stop once it has been above; `None`: integrate to t1.
        max_steps: number of steps, rejected ones included, after which to stop.
        budget: wall-clock seconds after which to stop, also within a step, but not before the first gradient.
        reduce_data: whether to integrate squared errors of models that declare features with exact sufficient
            statistics instead of the sample (the same loss, at a cost independent of the number of samples); the
            trajectory's `loss` and `data` are then `statistics_loss` and the `SufficientStatistics`. The cross-entropy
            of a large `AttentionOnly` transformer on sequences that share tokens becomes a `GridCrossEntropy`, which
            computes each of them once.
        trainable: which of the model's leaves are weights, as `eqx.filter` takes it; the others are constants, and the
            trajectory's models are `PartlyTrainable`. By default all floating-point arrays are weights.
        sign_changes: named functions from the model to real numbers of any shape, whose sign changes the trajectory
            records without stopping: `{"low": lambda model: loss(model, data) - 0.1}` is a loss level.
        checkpoint: a file to which the flow's whole state is written every minute and at the end. Where it exists, the
            flow continues from it and ends with the same bits as an uninterrupted one; with a larger t1 than before,
            from the old t1, onto which the last step was cut. Delete it to start again.
        progress: called with (t, loss) at least every two seconds.

    Returns:
        A `Trajectory`, whose `result` says why it ended. After a failure (non-finite values, too many steps, a spent
        budget, interruption by Ctrl-C) it holds what was computed until then, except for the last half second or step.

    Raises:
        ValueError: when weights, data, loss, tolerances or times are invalid, and for the checkpoint of another flow.
            (Where a checkpoint cannot be written later, the flow warns and goes on; the former one is intact.)
    """
    began = time.monotonic()
    model, loss = (model, loss) if trainable is None else partly_trainable(model, loss, trainable)
    check_model(model)
    check_data(data)
    check_loss(loss, model, data)
    check_sign_changes(sign_changes := sign_changes or {}, model)
    tolerances = _tolerances(flatten(model), rtol, atol)
    stops = check_times(t1, save_times).astype(flatten(model).dtype)
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1; got {max_steps}.")

    loss, data = reduced_data(model, loss, data) if reduce_data else (loss, data)
    landscape = Landscape(model, loss, data)
    recorder = SignChangeRecorder(landscape, sign_changes, tolerances)
    saving = None
    if checkpoint is not None:
        settings = dict(zip(("rtol", "atol"), tolerances, strict=True))
        settings |= {"save_times": stops[:-1].tolist(), "convergence": convergence}
        saving = Checkpoint(checkpoint, fingerprint(landscape, solver, recorder.functions, **settings))
    with Patience() as patience:
        start = patience.wait(_first_record, landscape)
        patience.end = began + budget if budget is not None else patience.end
        limits, dt = Limits(convergence=convergence, max_steps=max_steps), _first_step(start, float(stops[-1]))
        integration = Integration(landscape, tolerances, solver, dt, start, stops, limits, recorder, patience)
        outcome = integrate(integration, saving, progress)
    if not landscape.small:
        return_freed_memory()
    if outcome.result.failed:
        message = f"gradient flow stopped early at t = {outcome.steps.ts[-1]:.6g}: {outcome.result.value}."
        warnings.warn(message, stacklevel=2)
    return _trajectory(outcome, landscape, tolerances)


def _tolerances(theta: Float[np.ndarray, " n"], rtol: float | None, atol: float | None) -> tuple[float, float]:
    """The tolerances given or the default ones, checked."""
    relative = default_rtol(theta.dtype) if rtol is None else rtol
    absolute: float = default_atol(theta, relative) if atol is None else atol
    check_tolerances(relative, absolute, theta.dtype)
    return relative, absolute


def _first_record(landscape: Landscape) -> Steps:
    theta = landscape.theta
    loss, gradient = landscape.value_and_gradient(theta)
    speed = np.linalg.norm(gradient)
    if not (np.isfinite(loss) and np.isfinite(speed)):
        raise ValueError("the loss or its gradient is not finite at the initial weights.")
    zero = np.zeros(1, theta.dtype)
    losses, speeds = np.asarray(loss)[None], np.asarray(speed, theta.dtype)[None]
    return Steps(ts=zero, thetas=theta[None], energies=zero, losses=losses, speeds=speeds)


def _first_step(start: Steps, t1: float) -> float:
    """A hundredth of the time in which the weights would change by their own size; the controller corrects it."""
    size, speed = np.linalg.norm(start.thetas[0]), start.speeds[0]
    return float(min(0.01 * size / speed, t1)) if size > 0 and speed > 0 else 1e-3 * t1


def _trajectory(outcome: Outcome, landscape: Landscape, tolerances: tuple[float, float]) -> Trajectory:
    rtol, atol = tolerances
    stats = {
        "num_steps": outcome.num_steps,
        "num_accepted_steps": outcome.num_accepted_steps,
        "num_rejected_steps": outcome.num_steps - outcome.num_accepted_steps,
        "rtol": rtol,
        "atol": atol,
        "solver_history": outcome.solver_history,
        "reason": outcome.reason,
        "reduced_data": is_reduced(landscape),
    }
    return Trajectory(
        steps=outcome.steps,
        result=outcome.result,
        stats=stats,
        landscape=landscape,
        solver=outcome.solver,
        sign_changes=outcome.sign_changes,
    )
