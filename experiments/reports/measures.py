"""Numbers of a flow against time: the Hessian's eigenvalues, and observables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ...analysis import effective_rank, units_in_use, weight_norms
from ...analysis.curvature.spectrum import hessian
from ...analysis.figures.frames import Frames
from ...analysis.observables.evaluation import evaluate_at
from ...analysis.observables.observable import Observable, Quantity, checked
from ...analysis.observables.observe import labelled
from ...analysis.observables.weights import named_arrays
from ...analysis.threads import in_one_thread
from ...flows import Landscape, Trajectory
from ...models.units import layers_of

if TYPE_CHECKING:
    from xarray import Dataset

# A hundred spectra of this many parameters take about ten seconds.
SPECTRA_UP_TO = 300
# Curves that a small panel can show.
CURVES = 12


def spectra(chosen: Frames) -> Float[np.ndarray, "F n"] | None:
    """Eigenvalues of the Hessian at each state, ascending; `None` beyond 300 parameters."""
    large = chosen.thetas.shape[1] > SPECTRA_UP_TO
    return None if large else _spectra(chosen.trajectory.landscape, chosen.thetas)


@in_one_thread
def _spectra(landscape: Landscape, thetas: Float[np.ndarray, "F n"]) -> Float[np.ndarray, "F n"]:
    return np.stack([np.linalg.eigvalsh(hessian(landscape, theta)) for theta in thetas])


def observables_of(trajectory: Trajectory) -> dict[str, Observable]:
    """The observables that every report shows, as far as the model has them."""
    model = trajectory.initial_model
    arrays = named_arrays(model).values()
    found = {"norms": weight_norms(model)}
    if any(array.ndim >= 2 for array in arrays):
        found["ranks"] = effective_rank(model)
    if layers_of(model):
        found["in_use"] = units_in_use(trajectory)
    return found


def observed(chosen: Frames, more: Mapping[str, Any]) -> "Dataset":
    """What every report shows of the model at each state, and further observables.

    Args:
        chosen: the states.
        more: functions of the model by name.

    Returns:
        A dataset of what is no more than a panel can show.
    """
    trajectory = chosen.trajectory
    observables = {**observables_of(trajectory), **(checked(more) if more else {})}
    arrays: dict[str, np.ndarray] = {}
    quantities: dict[str, Quantity] = {}
    for name, values in evaluate_at(trajectory.initial_model, observables, chosen.thetas).items():
        for key, array in values.arrays.items():
            if array[0].size <= CURVES:
                arrays[f"{name}_{key}".removesuffix("_")] = array
                quantities[f"{name}_{key}".removesuffix("_")] = observables[name].quantities.get(key, Quantity(name))
    return labelled(chosen.ts, arrays, quantities)
