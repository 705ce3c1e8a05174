"""Exact gradient flow of a model."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import diffrax as dfx

from ...models import partly_trainable
from ..compilation.memory import return_freed_memory
from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten
from ..losses.statistics import reduced_data
from .checkpoint import Checkpoint, fingerprint
from .checks import check_data, check_loss, check_max_steps, check_model, check_times, checked_tolerances
from .ending import trajectory_of
from .integration import Integration, integrate
from .limits import Limits, check_limits
from .patience import Patience
from .sign_changes import SignChangeRecorder, check_sign_changes
from .start import first_record, first_step, is_finite
from .trajectory import Trajectory
from .usable_solver import check_solver


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
            of an `AttentionOnly` transformer on sequences that begin alike becomes a `PrefixCrossEntropy`, which
            computes what they share once.
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
    tolerances = checked_tolerances(flatten(model), rtol, atol)
    stops = check_times(t1, save_times, flatten(model).dtype)
    check_max_steps(max_steps)
    check_limits(budget, convergence, progress)
    check_solver(solver)

    loss, data = reduced_data(model, loss, data) if reduce_data else (loss, data)
    landscape = Landscape(model, loss, data)
    recorder = SignChangeRecorder(landscape, sign_changes, tolerances)
    saving = None
    if checkpoint is not None:
        settings = dict(zip(("rtol", "atol"), tolerances, strict=True))
        settings |= {"save_times": stops[:-1].tolist(), "convergence": convergence}
        saving = Checkpoint(checkpoint, fingerprint(landscape, solver, recorder.functions, **settings))
    with Patience() as patience:
        start = patience.wait(first_record, landscape)
        if not is_finite(start):
            raise ValueError("the loss or its gradient is not finite at the initial weights.")
        patience.end = began + budget if budget is not None else patience.end
        limits, dt = Limits(convergence=convergence, max_steps=max_steps), first_step(start, float(stops[-1]))
        integration = Integration(landscape, tolerances, solver, dt, start, stops, limits, recorder, patience)
        outcome = integrate(integration, saving, progress)
    if not landscape.small:
        return_freed_memory()
    if outcome.result.failed:
        message = f"gradient flow stopped early at t = {outcome.steps.ts[-1]:.6g}: {outcome.result.value}."
        warnings.warn(message, stacklevel=2)
    return trajectory_of(outcome, landscape, tolerances)
