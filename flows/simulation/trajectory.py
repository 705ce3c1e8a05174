"""What a flow leaves behind."""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax as dfx
import equinox as eqx
import numpy as np
from jaxtyping import Float

from ..landscapes.landscape import Landscape, flatten, unflatten
from ..losses.statistics import reduced_data
from ..solver_choice.choose import candidates
from . import files
from .events import Occurrences, pack, unpack
from .stepping import Steps, step_onto

KIND, FORMAT = "trajectory", 3  # of the saved file
ARRAYS = ("ts", "ys", "losses", "speeds", "energies")


class Result(enum.Enum):
    """Why a flow ended."""

    reached_t1 = "t1 reached"
    converged = "converged: the speed fell below the convergence threshold"
    max_steps = "the maximum number of steps was reached"
    diverged = "diverged: the iteration's loss stopped being finite"
    not_finite = "the loss or its gradient stopped being finite, or no step was short enough"
    sliding = "steps shrank without end: the flow slides along a kink, where its field is discontinuous"
    budget = "the wall-clock budget was spent"
    interrupted = "interrupted"

    @property
    def failed(self) -> bool:
        """Whether the flow ended before what was asked for."""
        return self not in (Result.reached_t1, Result.converged)


class Trajectory(eqx.Module):
    r"""A flow's path: every accepted step, with loss, speed and energy.

    - `ts`: times; `ys`: parameters θ at these times, flattened; `losses`: $L$; `speeds`: $\|\nabla L\|$;
      `energies`: $\int_0^t \|\nabla L\|^2 ds$, integrated with the flow.
    - `result`: why it ended; `stats`: steps tried, accepted and rejected, tolerances, solver.
    - `landscape`, `solver`: what was integrated, from the landscape's own θ; where the data could be replaced by exact
      sufficient statistics, loss and data are these. An optimiser's trajectory (`descend`) has no solver.
    - `events`: the sign changes of watched quantities, by name.
    """

    ts: Float[np.ndarray, " T"]
    ys: Float[np.ndarray, "T n"]
    losses: Float[np.ndarray, " T"]
    speeds: Float[np.ndarray, " T"]
    energies: Float[np.ndarray, " T"]
    result: Result
    stats: dict[str, Any]
    landscape: Landscape
    solver: dfx.AbstractSolver | None
    events: dict[str, Occurrences] = eqx.field(default_factory=dict)

    @property
    def initial_model(self) -> Any:
        """The model at time 0."""
        return self.landscape.model

    @property
    def loss(self) -> Callable[[Any, Any], Any]:
        """The loss that was integrated."""
        return self.landscape.loss

    @property
    def data(self) -> Any:
        """The data that it was integrated on."""
        return self.landscape.data

    @property
    def energy_error(self) -> float:
        r"""The integrator's error in the energy identity.

        $\max_t |L(0) - L(t) - \int_0^t \|\nabla L\|^2 ds| / L(0)$, not divided where L(0) is not positive.
        """
        error = np.max(np.abs(self.losses[0] - self.losses - self.energies))
        return float(error / self.losses[0]) if self.losses[0] > 0 else float(error)

    def evaluate(self, t: float) -> Float[np.ndarray, " n"]:
        """The parameters at time t, stepped onto from the last saved time before it, not interpolated."""
        return self.steps_at(t).ys[0]

    def steps_at(self, t: float) -> Steps:
        """Parameters, energy, loss and speed at time t, stepped onto from the last saved time before it."""
        if not self.ts[0] <= t <= self.ts[-1]:
            raise ValueError(f"t must lie in [{self.ts[0]:g}, {self.ts[-1]:g}]; got {t}.")
        before = int(np.searchsorted(self.ts, t, side="right")) - 1
        steps = Steps(self.ts, self.ys, self.energies, self.losses, self.speeds)[before : before + 1]
        if self.solver is None:
            if steps.ts[0] != t:
                raise ValueError(f"an optimiser is nowhere between its steps; the record before {t} is {steps.ts[0]}.")
            return steps
        tolerances = self.stats["rtol"], self.stats["atol"]
        return step_onto(self.landscape, self.solver, steps, t, tolerances)

    def model(self, t: float) -> Any:
        """The model at time t."""
        return self.landscape.at(self.evaluate(t))

    def model_at(self, index: int) -> Any:
        """The model at saved time number `index`."""
        return self.landscape.at(self.ys[index])

    @property
    def final_model(self) -> Any:
        """The model at the last saved time."""
        return self.model_at(-1)

    def __str__(self) -> str:
        statistics = ", on exact sufficient statistics of the data" if self.stats.get("statistics") else ""
        return (
            f"{self.stats.get('method', 'gradient flow')} to t = {self.ts[-1]:.6g} ({self.result.value})\n"
            f"  loss {self.losses[0]:.6g} → {self.losses[-1]:.6g}, speed {self.speeds[-1]:.2g} at the end\n"
            f"  {self.stats['num_accepted_steps']} steps of {self.stats['solver']}, "
            f"{self.stats['num_rejected_steps']} rejected{statistics}; energy error {self.energy_error:.1e}"
            + (f"\n  {self.stats['reason']}" if self.stats.get("reason") else "")
        )

    def save(self, path: str | Path, **extra: Any) -> None:
        """Writes the path to one `.npz` file, whole or not at all; `extra` goes into its JSON header."""
        header = {"kind": KIND, "format": FORMAT, "result": self.result.name, "stats": self.stats, **extra}
        header["events"] = list(self.events)
        arrays = {**{name: getattr(self, name) for name in ARRAYS}, **pack(self.events)}
        files.write(path, header, arrays, compress=True)


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON header of a saved trajectory."""
    return files.read(path, KIND, FORMAT)[0]


def load(
    path: str | Path, model: Any, loss: Callable, data: Any, solver: dfx.AbstractSolver | None = None
) -> Trajectory:
    """Reads a trajectory back.

    **Arguments:** `path`: the file; `model`, `loss`, `data`, `solver`: what `simulate` was given (the file holds the
    path only); the model's weights do not matter, their number does.
    """
    header, arrays = files.read(path, KIND, FORMAT)
    ts, ys, losses, speeds, energies = (arrays[name] for name in ARRAYS)
    if ys.shape[1] != flatten(model).size:
        raise ValueError(f"{path} holds {ys.shape[1]} parameters; the model has {flatten(model).size}.")
    start = unflatten(model, ys[0])
    result = Result[header["result"]]
    if header["stats"]["statistics"]:
        loss, data = reduced_data(model, loss, data)
    landscape = Landscape(start, loss, data)
    if solver is None and "method" not in header["stats"]:
        solver = dfx.Tsit5()
        if header["stats"]["reason"]:
            offers = candidates(landscape, header["stats"]["rtol"])
            solver = offers[header["stats"]["solver"].split()[-1]].solver
    events = unpack(arrays, header["events"])
    return Trajectory(ts, ys, losses, speeds, energies, result, header["stats"], landscape, solver, events)
