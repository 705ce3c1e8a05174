"""What a flow leaves behind."""

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ...models.arguments import file_path, real, whole
from .. import files
from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten, unflatten
from ..losses.statistics import SufficientStatistics, reduced_data
from ..solver_choice.choose import candidate_solvers
from .checks import check_data, check_loss
from .result import Result
from .saved import checked_contents
from .sign_changes import SignChanges, pack
from .stepping import step_onto
from .steps import FIELDS, Steps

KIND, FORMAT = "trajectory", 4  # of the saved file


class Trajectory(eqx.Module):
    r"""The path of a flow: every accepted step, with loss, speed and dissipated energy.

    The fields of `steps` are also the trajectory's own: `ts`, `thetas`, `losses`, `speeds`, `energies`.

    Attributes:
        steps: the accepted steps. The energies $\int_0^t \|\nabla L\|^2 ds$ are integrated with the flow.
        result: why it ended.
        stats: numbers of steps tried, accepted and rejected, tolerances (`None` for an optimiser), and the names of the
            solvers with the times from which on they integrated, `solver_history`.
        landscape: the landscape of the flow, with the initial weights; where the data could be replaced by exact
            sufficient statistics, its loss and data are these.
        solver: the last solver; `None` for an optimiser (`descend`).
        sign_changes: the recorded sign changes by name.
    """

    steps: Steps
    result: Result
    stats: dict[str, Any]
    landscape: Landscape
    solver: dfx.AbstractSolver[Any] | None
    sign_changes: dict[str, SignChanges] = eqx.field(default_factory=dict)

    @property
    def ts(self) -> Float[np.ndarray, " T"]:
        """Times of the accepted steps."""
        return self.steps.ts

    @property
    def thetas(self) -> Float[np.ndarray, "T n"]:
        """The flattened parameters θ at these times."""
        return self.steps.thetas

    @property
    def ys(self) -> Any:
        """The models at these times, as one model whose arrays have a leading axis of time, like Diffrax's `ys`."""
        return jax.vmap(self.landscape.at)(self.thetas)

    @property
    def losses(self) -> Float[np.ndarray, " T"]:
        """The loss L at these times."""
        return self.steps.losses

    @property
    def speeds(self) -> Float[np.ndarray, " T"]:
        r"""The speed $\|\nabla L\|$ at these times."""
        return self.steps.speeds

    @property
    def norms(self) -> Float[np.ndarray, " T"]:
        """The norm ‖θ‖ of the parameters at these times."""
        return np.linalg.norm(self.thetas, axis=1)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.thetas.shape[1]

    @property
    def energies(self) -> Float[np.ndarray, " T"]:
        r"""The dissipated energy $\int_0^t \|\nabla L\|^2 ds$ at these times."""
        return self.steps.energies

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
        """The parameters at time t; see `record`."""
        return self.record(t).thetas[0]

    def record(self, t: float) -> Steps:
        """Parameters, energy, loss and speed at time t, stepped onto from the last saved time before it.

        Args:
            t: a time from 0 to the last one.

        Returns:
            The single record at t, which is not interpolated.

        Raises:
            ValueError: when t lies outside, or between two steps of an optimiser.
        """
        if not self.ts[0] <= real("t", t) <= self.ts[-1]:
            raise ValueError(f"t must lie in [{self.ts[0]:g}, {self.ts[-1]:g}]; got {t}.")
        before = int(np.searchsorted(self.ts, t, side="right")) - 1
        steps = self.steps[before : before + 1]
        if self.solver is None:
            if steps.ts[0] != t:
                raise ValueError(
                    f"an optimiser has no state between its steps; the last before {t} is at {steps.ts[0]}."
                )
            return steps
        tolerances = self.stats["rtol"], self.stats["atol"]
        return step_onto(self.landscape, self.solver, steps, t, tolerances)

    def model(self, t: float) -> Any:
        """The model at time t."""
        return self.landscape.at(self.evaluate(t))

    def model_at_index(self, index: int) -> Any:
        """The model at saved time number `index`; negative numbers count from the end."""
        if not -len(self.ts) <= whole("index", index) < len(self.ts):
            raise ValueError(f"the trajectory has {len(self.ts)} saved times; got index {index}.")
        return self.landscape.at(self.thetas[index])

    @property
    def final_model(self) -> Any:
        """The model at the last saved time."""
        return self.model_at_index(-1)

    def __str__(self) -> str:
        on_statistics = isinstance(self.landscape.data, SufficientStatistics)
        statistics = ", on exact sufficient statistics of the data" if on_statistics else ""
        return (
            f"{self.stats.get('method', 'gradient flow')} to t = {self.ts[-1]:.6g} ({self.result.value})\n"
            f"  loss {self.losses[0]:.6g} → {self.losses[-1]:.6g}, speed {self.speeds[-1]:.2g} at the end\n"
            f"  {self.stats['num_accepted_steps']} steps of {told(self.stats['solver_history'])}, "
            f"{self.stats['num_rejected_steps']} rejected{statistics}; energy error {self.energy_error:.1e}"
            + (f"\n  {self.stats['reason']}" if self.stats.get("reason") else "")
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def save(self, path: str | Path, **extra: Any) -> None:
        """Writes the trajectory to one `.npz` file.

        Args:
            path: the file; an old one is replaced once the new one is complete, and intact after an `OSError`.
            **extra: values for the JSON header; a `ValueError` for those that JSON cannot hold.
        """
        path = file_path("path", path)
        header = {"kind": KIND, "format": FORMAT, "result": self.result.name, "stats": self.stats, **extra}
        header["sign_changes"] = list(self.sign_changes)
        arrays = {**{name: getattr(self.steps, name) for name in FIELDS}, **pack(self.sign_changes)}
        files.write(path, header, arrays, compress=True)


def told(history: Sequence[tuple[float, str]]) -> str:
    """A history of solvers in words: "Tsit5, from t = 3.2 BDF"."""
    (_, first), *later = history
    return ", ".join([first, *(f"from t = {time:.4g} {name}" for time, name in later)])


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON header of a saved trajectory; a `ValueError` for any other file."""
    return files.read(path, KIND, FORMAT)[0]


def load(
    path: str | Path,
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    solver: dfx.AbstractSolver[Any] | None = None,
) -> Trajectory:
    """Reads back a trajectory that `Trajectory.save` wrote.

    Args:
        path: the file, which holds the path only.
        model: a model of the same structure as the one given to `simulate`; its weights do not matter.
        loss: the loss given to `simulate`.
        data: the data given to `simulate`.
        solver: the solver given to `simulate`.

    Returns:
        The trajectory.

    Raises:
        ValueError: when the file is not a saved trajectory or damaged, or its weights are not as many and as precise as
            the model's.
    """
    header, arrays = files.read(path, KIND, FORMAT)
    steps, stats, result, sign_changes = checked_contents(path, header, arrays)
    check_data(data)
    check_loss(loss, model, data)
    theta = flatten(model)
    if steps.thetas.shape[1] != theta.size:
        raise ValueError(f"{path} holds {steps.thetas.shape[1]} parameters; the model has {theta.size}.")
    if steps.thetas.dtype != theta.dtype:
        raise ValueError(f"{path} holds weights in {steps.thetas.dtype}; those of the model are in {theta.dtype}.")
    if stats["reduced_data"]:
        loss, data = reduced_data(model, loss, data)
    landscape = Landscape(unflatten(model, steps.thetas[0]), loss, data)
    if solver is None and "method" not in stats:
        _, name = stats["solver_history"][-1]
        candidates = candidate_solvers(landscape, stats["rtol"]) if stats["reason"] else {}
        if stats["reason"] and name not in candidates:
            raise ValueError(f"{path} is damaged: its last solver is {name[:40]!r}.")
        solver = candidates[name].solver if stats["reason"] else dfx.Tsit5()
    return Trajectory(
        steps=steps, result=result, stats=stats, landscape=landscape, solver=solver, sign_changes=sign_changes
    )
