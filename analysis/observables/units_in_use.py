"""The share of a network's units that its map needs."""

from typing import Any

import numpy as np

from ...flows import Trajectory, flatten
from ...models.units import layers_of, width
from ..embeddings.width import effective_width, leading_size
from ..found_units import with_units_along
from ..thresholds import STANDARD, Thresholds
from .observable import Observable, Quantity


def units_in_use(trajectory: Trajectory, *, thresholds: Thresholds = STANDARD) -> Observable:
    """The effective width of each layer of units as a share of its number of units, as an observable.

    Units count against the largest part that the layer has at the end of the flow or where its weights are largest.
    Units that the model does not declare are found in its program.

    Args:
        trajectory: the flow that will be observed.
        thresholds: what counts as a unit, as for `effective_width`.

    Returns:
        The observable, with an axis `layer`.

    Raises:
        ValueError: for a model without units.
    """
    declared = with_units_along(trajectory)
    layers = layers_of(declared.initial_model)
    if not layers:
        raise ValueError(f"{type(trajectory.initial_model).__name__} has no units, of which some could be in use.")
    largest = int(np.argmax(np.linalg.norm(trajectory.thetas, axis=1)))
    grown = [declared.model_at_index(index) for index in (largest, -1)]
    scales = [max(leading_size(each, n, thresholds=thresholds) for each in grown) for n in range(len(layers))]

    def function(model: Any) -> np.ndarray:
        model = declared.landscape.at(flatten(model))
        found = [effective_width(model, scale=s, layer=n, thresholds=thresholds) for n, s in enumerate(scales)]
        return np.array([effective.width / width(model, effective.layer) for effective in found])

    names = tuple(layer.name or f"layer {n + 1}" for n, layer in enumerate(layers))
    quantity = Quantity("share of units in use", axes=("layer",), labels={"layer": names})
    return Observable(function, quantities={"": quantity}, compiled=False)
