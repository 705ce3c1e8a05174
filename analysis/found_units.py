"""Landscapes of models that declare no units: these are found in the program."""

import dataclasses

from ..flows import Landscape, Trajectory
from ..models import with_units_found
from ..models.units import layers_of
from .kept import kept


def with_units(landscape: Landscape) -> Landscape:
    """The same landscape, of a model that declares its units: as it is, or else as they are found in its program.

    Args:
        landscape: the loss, of any model.

    Returns:
        The landscape itself where units are declared, where none are found, and where the model cannot be traced on one
        of the data's inputs.
    """
    if layers_of(landscape.model):
        return landscape
    return _with_units_found(landscape) or landscape


def with_units_along(trajectory: Trajectory) -> Trajectory:
    """The same flow, of a model that declares its units, as by `with_units`."""
    return dataclasses.replace(trajectory, landscape=with_units(trajectory.landscape))


# Kept, as a model takes a while to trace, also where no units are found.
@kept
def _with_units_found(landscape: Landscape) -> Landscape | None:
    try:
        model = with_units_found(landscape.model, landscape.data)
        found = Landscape(model, landscape.loss, landscape.data) if model.units else None
    except Exception:  # noqa: BLE001 a model of somebody's own can refuse a single input in any way
        return None
    return found if found is not None and found.program.program == landscape.program.program else None
