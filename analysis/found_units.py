"""Landscapes of models that declare no units: these are found in the program."""

import dataclasses
import weakref

from ..flows import Landscape, Trajectory
from ..models import with_units_found
from ..models.units import layers_of

# By the landscape's identity: a model is traced once, also where no units are found.
_KNOWN: dict[int, Landscape] = {}


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
    if id(landscape) not in _KNOWN:
        _KNOWN[id(landscape)] = _found(landscape)
        weakref.finalize(landscape, _KNOWN.pop, id(landscape), None)
    return _KNOWN[id(landscape)]


def with_units_along(trajectory: Trajectory) -> Trajectory:
    """The same flow, of a model that declares its units, as by `with_units`."""
    return dataclasses.replace(trajectory, landscape=with_units(trajectory.landscape))


def _found(landscape: Landscape) -> Landscape:
    try:
        model = with_units_found(landscape.model, landscape.data)
        found = Landscape(model, landscape.loss, landscape.data) if model.units else landscape
    except Exception:  # noqa: BLE001 a model of somebody's own can refuse a single input in any way
        return landscape
    return found if found.program.program == landscape.program.program else landscape
