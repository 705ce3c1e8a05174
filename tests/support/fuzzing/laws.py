"""What holds of every answer, whatever was asked."""

import io
import os
import re
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import saddlescope
from saddlescope.analysis import (
    classify,
    compare,
    critical_point,
    effective_width,
    itinerary,
    observe,
    plot,
    theory,
)
from saddlescope.analysis.symmetries.conservation import conserved_drift
from saddlescope.flows import Landscape, Result, flatten, load, simulate
from saddlescope.models.units import layers_of

HOME = str(Path(saddlescope.__file__).parent)
NOT_A_NUMBER = re.compile(r"(?<![\w.])-?(nan|inf)(?![\w])", re.IGNORECASE)


class Broken(AssertionError):
    """A law does not hold."""


def require(holds: Any, what: str) -> None:
    if not holds:
        raise Broken(what)


def refusal(call: Callable[[], Any]) -> tuple[Any, str | None]:
    """The value of a call, or the sentence with which it refuses; anything else that it raises breaks the law."""
    try:
        return call(), None
    except ValueError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = str(error)
        ours = frame.filename.startswith(HOME) and not frame.filename.startswith(f"{HOME}/tests/")
        require(ours, f"raised by {frame}: {said}")
        require(is_sentence(said), f"no sentence: {said!r}")
        return None, said
    except Exception as error:
        if os.environ.get("SADDLESCOPE_TYPES") == "on" and type(error).__name__ == "TypeCheckError":
            return None, "refused by the annotations"
        raise


def is_sentence(text: str) -> bool:
    return 10 < len(text) < 600 and text.count("\n") == 0 and text.rstrip()[-1] in ".)"


def readable(*records: Any) -> None:
    """What is printed holds no NaN."""
    for record in records:
        if found := NOT_A_NUMBER.search(str(record)):
            raise Broken(f"{found.group()} in: {record}")


def unresolved_energy(trajectory: Any) -> float:
    r"""The energy $\int (\lambda \delta)^2 dt$ of a flow that keeps on a valley's floor to within δ, at curvatures λ.

    The stages of a stiff step lie as far off it as a hundred times the tolerance. Where that is steep their gradients
    are much larger than the flow's, and so is the energy of a long descent on the floor.
    """
    if not trajectory.stats["reason"]:
        return 0.0
    values = np.linalg.eigvalsh(trajectory.landscape.hessian(trajectory.thetas[-1]))
    off = 100 * trajectory.stats["rtol"] * np.linalg.norm(trajectory.thetas[-1])
    return float((np.max(np.abs(values)) * off) ** 2 * trajectory.ts[-1])


def flow_laws(problem: Any, trajectory: Any) -> None:
    """Finite, falling, of the length asked for, with the energy and the conserved quantities of the exact flow."""
    steps, t1 = trajectory.steps, problem.settings["t1"]
    arrays = [steps.ts, steps.thetas, steps.losses, steps.speeds, steps.energies]
    require(all(np.all(np.isfinite(array)) for array in arrays), "a number of the trajectory is not finite")
    require(steps.ts[0] == 0 and np.all(np.diff(steps.ts) > 0), "times do not increase from 0")
    if trajectory.result is Result.reached_t1:
        require(np.isclose(steps.ts[-1], t1, rtol=1e-6), f"it ended at {steps.ts[-1]}, not at {t1}")
    allowed = 1e-3 if steps.thetas.dtype == np.float32 else 1e-6
    size = abs(steps.losses[0]) + np.finfo(steps.thetas.dtype).tiny
    require(np.max(np.diff(steps.losses), initial=0) <= allowed * size, "the loss increases")
    unresolved = unresolved_energy(trajectory) / size
    require(trajectory.energy_error <= 30 * allowed + unresolved, f"energy error {trajectory.energy_error}")
    drift = conserved_drift(trajectory)
    require(drift is None or drift <= 100 * allowed, f"conserved quantities drift by {drift}")
    readable(trajectory)


def lower_nearby(landscape: Landscape, theta: np.ndarray, generator: np.random.Generator) -> float:
    """By how much the loss falls below that of a point at random points nearby, beyond rounding."""
    n, value = theta.size, float(landscape.value(theta))
    directions = generator.standard_normal((64, n))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    size = max(float(np.linalg.norm(theta)), 1e-3)
    radii = size * np.repeat([1e-4, 1e-3, 1e-2, 3e-2], 16)[:, None]
    values = landscape.values_and_gradients(np.asarray(theta + radii * directions, theta.dtype))[0]
    return value - float(np.min(values)) - 1e-9 * abs(value) - 1e-13 * float(np.max(values))


def point_laws(problem: Any, point: Any, kind: Any) -> None:
    """Numbers that are in range; a zero gradient; no minimum with a lower point nearby or a negative eigenvalue."""
    n = point.theta.size
    numbers = [point.loss, point.gradient_norm, point.distance, *point.theta]
    require(np.all(np.isfinite(numbers)), "a number of the critical point is not finite")
    require((kind.index or 0) + (kind.nullity or 0) <= n, f"index {kind.index} and nullity {kind.nullity} of {n}")
    readable(point, kind)
    if kind.name == "minimum":
        generator = np.random.default_rng(0)
        lower = lower_nearby(point.landscape, np.asarray(point.theta), generator)
        require(lower <= 0, f"a minimum ({kind.evidence}), but the loss is lower nearby, by {lower:g}")
    if problem.smooth and point.theta.dtype == np.float64 and kind.name in ("minimum", "strict saddle"):
        values = np.linalg.eigvalsh(point.landscape.hessian(point.theta))
        size = np.max(np.abs(values), initial=0.0)
        if kind.name == "minimum":
            require(values[0] >= -1e-5 * size, f"a minimum with the eigenvalue {values[0]:g} of {size:g}")
        else:
            require(values[0] < 0, f"a strict saddle without a negative eigenvalue: {values[0]:g}")


def itinerary_laws(problem: Any, visits: Any) -> None:
    readable(visits)
    for visit in visits:
        require(np.isfinite(visit.loss) and np.isfinite(visit.speed), "loss or speed of a visit is not finite")
        point_laws(problem, visit.critical_point, visit.kind)
        readable(visit)


def width_laws(model: Any) -> None:
    """Of every layer of units: a number of them, and finite sizes."""
    for layer, units in enumerate(layers_of(model)):
        found = effective_width(model, layer=layer)
        slot = units.incoming[0]
        total = slot.where(model).shape[slot.axis] // (slot.blocks * slot.entries)
        require(0 <= found.width <= total, f"effective width {found.width} of {total} units")
        require(np.all(np.isfinite(found.sizes)) and not np.isnan(found.gap), "sizes or gap are not finite")


def side_laws(problem: Any, trajectory: Any, visits: Any, generator: np.random.Generator) -> None:
    """The answers beside the itinerary, one of them in each case."""
    choice = generator.integers(5)
    if choice == 0:
        # A unit of zero weights never escapes: its time is infinite.
        found = str(theory.predictions(Landscape(problem.model, problem.loss, problem.data)))
        readable(found.replace("inf", "never"))
    if choice == 1 and len(trajectory.ts) > 1:
        compared = compare(trajectory, trajectory)
        require(np.max(compared.distances) <= 1e-6 * np.max(np.abs(trajectory.thetas)) + 1e-300, "unlike itself")
        readable(compared)
    if choice == 2:
        found = observe(trajectory, {"norm": lambda model: (flatten(model) ** 2).sum()})
        expected = np.sum(trajectory.thetas**2, axis=1)
        require(np.allclose(found["norm"], expected, rtol=1e-4, atol=0), "observed norms are not those of the weights")
    if choice == 3:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "flow.npz"
            trajectory.save(path)
            again = load(path, problem.model, problem.loss, problem.data)
            require(np.array_equal(again.thetas, trajectory.thetas), "the file holds another trajectory")
    if choice == 4 and generator.random() < 0.3:
        draw(trajectory, visits)


def draw(trajectory: Any, visits: Any) -> None:
    import matplotlib.pyplot as plt

    figure = plot(trajectory, visits)
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    plt.close(figure)


def check_flow(problem: Any, seed: int) -> str | None:
    """Integrates and analyses a problem, and asks all laws; the sentence with which it is refused, if it is."""
    generator = np.random.default_rng([18, seed])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", FutureWarning)
        trajectory, said = refusal(lambda: simulate(problem.model, problem.loss, problem.data, **problem.settings))
        require(problem.valid or said is not None, "values that are not finite were not refused")
        if said is not None:
            return said
        flow_laws(problem, trajectory)
        width_laws(trajectory.final_model)
        visits, said = refusal(lambda: itinerary(trajectory, budget=60))
        if said is not None:
            return said
        itinerary_laws(problem, visits)
        side_laws(problem, trajectory, visits, generator)
        if generator.random() < 0.3:
            landscape = Landscape(problem.model, problem.loss, problem.data)
            point = critical_point(landscape)
            point_laws(problem, point, classify(point))
    return None
